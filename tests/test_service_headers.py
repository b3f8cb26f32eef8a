"""What browsers are told, who may ask from where, and the optional password."""

import asyncio
import base64
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service.api import create_api
from service.guard import API, GUESSES, GUESSES_PER_SECOND, SHORTEST, AskForPassword, Guesses
from service.problems import Problem
from tests.in_process import finished, send
from tests.test_service_limits import Clock
from tests.test_service_predict import PNG, problem_of

SECRET, TOKEN = "correct horse battery", "an-administrator-s-token"


def directives(response) -> dict[str, str]:
    policy = response.headers["content-security-policy"]
    return dict(one.strip().partition(" ")[::2] for one in policy.split(";"))


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'anybody:{secret}'.encode()).decode()}"}


@pytest.fixture
def locked(served, monkeypatch) -> TestClient:
    monkeypatch.setenv("PASSWORD", SECRET)
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    return TestClient(create_api(served))


@pytest.mark.parametrize("path", ["/healthz", "/model", "/nothing", "/predict", "/monitoring", f"{API}file=a.svg"])
def test_every_response_forbids_sniffing_and_foreign_frames_and_scripts(api, path):
    response = api.get(path)
    told = directives(response)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert told["frame-ancestors"] == "'self'"
    assert "http" not in response.headers["content-security-policy"]
    assert ("sandbox" in told) == ("file=" in path)
    assert "server" not in response.headers


def test_a_space_may_be_shown_where_spaces_are_shown(served, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/something")
    response = TestClient(create_api(served)).get("/healthz")
    assert directives(response)["frame-ancestors"] == "'self' https://huggingface.co"


def test_pages_of_other_sites_may_ask_only_if_they_are_named(served, monkeypatch):
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://pacs.example https://ris.example")
    client = TestClient(create_api(served))
    for origin, allowed in (("https://ris.example", "https://ris.example"), ("https://evil.example", None)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for response in (client.get("/model", headers={"Origin": origin}), client.options("/predict", headers=asked)):
            assert response.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in response.headers


def test_without_names_no_other_site_may_ask(api):
    response = api.get("/model", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in response.headers


def test_with_a_password_only_the_health_checks_answer_without(locked):
    for response in (send(locked, ("a.png", PNG)), locked.get("/model"), locked.get("/openapi.json"), locked.get("/")):
        problem_of(response, 401)
        assert response.headers["www-authenticate"].startswith("Basic")
    assert locked.get("/healthz").status_code == locked.get("/readyz").status_code == 200
    assert locked.get("/model", headers=basic(SECRET)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        basic(""),
        basic(SECRET + "r"),
        basic(TOKEN),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?"},
        {"Authorization": "Basic YW55Ym9keQ=="},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Digest {SECRET}"},
        {"Authorization": "Bearer é".encode("latin-1")},
    ],
    ids=str,
)
def test_what_is_not_the_password_does_not_open(locked, given):
    problem_of(locked.get("/model", headers=given), 401)


def test_the_token_of_the_administrator_opens_too(locked, served, monkeypatch):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert locked.get("/model", headers=bearer).status_code == 200
    monkeypatch.delenv("ADMIN_TOKEN")
    problem_of(TestClient(create_api(served)).get("/model", headers={"Authorization": "Bearer "}), 401)


@pytest.mark.parametrize("name", ["PASSWORD", "ADMIN_TOKEN"])
def test_a_short_secret_keeps_the_server_from_starting_and_a_sentence_says_why(served, monkeypatch, name):
    monkeypatch.setenv(name, "x" * SHORTEST)
    create_api(served)
    monkeypatch.setenv(name, "x" * (SHORTEST - 1))
    with pytest.raises(SystemExit, match=f"^{name} has fewer than {SHORTEST} characters"):
        create_api(served)


def test_whoever_guesses_is_locked_out_even_with_the_right_password_and_token(locked):
    statuses = [locked.get("/model", headers=basic(str(guess))).status_code for guess in range(GUESSES + 1)]
    assert statuses == [401] * GUESSES + [429]
    for right in (basic(SECRET), {"Authorization": f"Bearer {TOKEN}"}):
        response = locked.get("/model", headers=right)
        assert response.headers["retry-after"] in problem_of(response, 429)["detail"]
    assert locked.get("/healthz").status_code == 200


def test_the_right_password_costs_no_guess(locked):
    assert {locked.get("/model", headers=basic(SECRET)).status_code for _ in range(3 * GUESSES)} == {200}


def test_a_burst_of_guesses_by_many_threads_compares_no_more_than_the_budget(monkeypatch):
    guesses, compared, all_there = Guesses(Clock()), [], threading.Barrier(8)
    monkeypatch.setattr(hmac, "compare_digest", lambda given, secret: compared.append(given) or given == secret)

    def burst(thread: int) -> int:
        all_there.wait()
        return sum(is_refused(guesses, f"{thread} {guess}") for guess in range(GUESSES))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(burst, range(8))) == 7 * GUESSES
    assert len(compared) == GUESSES and is_refused(guesses, SECRET)


def is_refused(guesses: Guesses, word: str) -> bool:
    try:
        guesses.is_right("192.0.2.7", word.encode(), SECRET.encode())
    except Problem:
        return True
    return False


def test_a_burst_of_requests_at_once_is_no_way_round_the_budget():
    statuses = []

    async def app(scope, receive, send):
        statuses.append(200)

    async def nothing_more_comes():
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def all_at_once():
        door = AskForPassword(app, SECRET.encode(), b"", Guesses(Clock()))
        words = [*map(str, range(5 * GUESSES)), SECRET]
        scopes = ({"type": "http", "path": "/", "client": ("192.0.2.7", 1), "headers": raw(word)} for word in words)
        await asyncio.gather(*(door(scope, nothing_more_comes, send) for scope in scopes))

    def raw(word: str) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", basic(word)["Authorization"].encode())]

    finished(all_at_once())
    assert sorted(statuses) == [401] * GUESSES + [429] * (4 * GUESSES + 1)


@given(guesses=st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
def test_the_lock_opens_in_time_and_wrong_guesses_never_outrun_the_rate(guesses):
    clock = Clock()
    door, wrong = Guesses(clock), []
    for pause, is_right in guesses:
        clock.now += pause
        try:
            assert door.is_right("a", SECRET.encode() if is_right else b"?", SECRET.encode()) == is_right
            wrong += [] if is_right else [clock.now]
        except Problem as locked:
            assert len(wrong) >= GUESSES
            clock.now += float(locked.headers["Retry-After"])
            assert door.is_right("a", SECRET.encode(), SECRET.encode())
    for first, begin in enumerate(wrong):
        for last in range(first, len(wrong)):
            assert last - first + 1 <= GUESSES + GUESSES_PER_SECOND * (wrong[last] - begin) + 1e-6


def test_secrets_stand_in_no_log(locked, caplog, capfd):
    caplog.set_level("DEBUG")
    for headers in (basic(SECRET), basic("wrong guess"), {"Authorization": f"Bearer {TOKEN}"}):
        send(locked, ("a.png", PNG))
        locked.get("/nothing", headers=headers)
        locked.post("/predict", headers=headers, content=b"x")
    logged = caplog.text + "".join(capfd.readouterr())
    for secret in (
        SECRET,
        TOKEN,
        "wrong guess",
        *(basic(word)["Authorization"][6:] for word in (SECRET, "wrong guess")),
    ):
        assert secret not in logged
