"""What browsers learn from headers, who may ask from where, the optional password, and what reaches Gradio's routes."""

import base64
import hmac
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from service import guard
from service.api import create_api
from service.guard import API, GUESSES, GUESSES_PER_SECOND, SHORTEST, CheckCalls, Guesses
from service.problems import Problem
from tests.in_process import PNG, Clock, problem_of, send

SECRET, TOKEN = "correct horse battery", "an-administrator-s-token"
CALL = f"{API}queue/join"
FILE = {"path": "/tmp/a.png", "url": "http://127.0.0.1:7860/gradio_api/file=a.png", "meta": {"_type": "FileData"}}


def directives(response) -> dict[str, str]:
    policy = response.headers["content-security-policy"]
    return dict(one.strip().partition(" ")[::2] for one in policy.split(";"))


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'anybody:{secret}'.encode()).decode()}"}


BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def locked(served, monkeypatch) -> TestClient:
    monkeypatch.setenv("PASSWORD", SECRET)
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    return TestClient(create_api(served))


# ---- headers and other sites


def test_every_response_forbids_sniffing_and_foreign_frames_and_scripts(api):
    for path in ("/healthz", "/model", "/nothing", "/predict", "/monitoring", f"{API}file=a.svg"):
        response = api.get(path)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert directives(response)["frame-ancestors"] == "'self'"
        assert "http" not in response.headers["content-security-policy"]
        assert ("sandbox" in directives(response)) == ("file=" in path)
        assert "server" not in response.headers


def test_a_space_may_be_shown_where_spaces_are_shown(served, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/something")
    response = TestClient(create_api(served)).get("/healthz")
    assert directives(response)["frame-ancestors"] == "'self' https://huggingface.co"


@pytest.mark.parametrize("named", ["", "https://pacs.example https://ris.example"])
def test_pages_of_other_sites_may_ask_only_if_they_are_named(served, monkeypatch, named):
    monkeypatch.setenv("ALLOWED_ORIGINS", named)
    client = TestClient(create_api(served))
    for origin in ("https://ris.example", "https://evil.example"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for response in (client.get("/model", headers={"Origin": origin}), client.options("/predict", headers=asked)):
            assert response.headers.get("access-control-allow-origin") == (origin if origin in named else None)
            assert "access-control-allow-credentials" not in response.headers


# ---- password


def test_with_a_password_only_the_health_checks_answer_without(locked):
    for response in (send(locked, ("a.png", PNG)), locked.get("/model"), locked.get("/openapi.json"), locked.get("/")):
        problem_of(response, 401)
        assert response.headers["www-authenticate"].startswith("Basic")
    assert locked.get("/healthz").status_code == locked.get("/readyz").status_code == 200
    assert {locked.get("/model", headers=basic(SECRET)).status_code for _ in range(2 * GUESSES)} == {200}  # no guesses
    assert locked.get("/model", headers=BEARER).status_code == 200


def test_what_is_not_the_password_does_not_open(served, monkeypatch):
    monkeypatch.setattr(guard, "GUESSES", 100)
    monkeypatch.setenv("PASSWORD", SECRET)
    for token in (TOKEN, ""):
        monkeypatch.setenv("ADMIN_TOKEN", token)
        client = TestClient(create_api(served))
        wrong = ["Basic", "Basic ?", "Basic YW55Ym9keQ==", f"Bearer {SECRET}", "Bearer ", f"Digest {SECRET}"]
        for value in (
            *wrong,
            "Bearer é".encode("latin-1"),
            *(basic(s)["Authorization"] for s in ("", SECRET + "r", TOKEN)),
        ):
            problem_of(client.get("/model", headers={"Authorization": value}), 401)


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
    for right in (basic(SECRET), BEARER):
        response = locked.get("/model", headers=right)
        assert response.headers["retry-after"] in problem_of(response, 429)["detail"]
    assert locked.get("/healthz").status_code == 200


def is_refused(guesses: Guesses, word: str) -> bool:
    try:
        guesses.is_right("192.0.2.7", word.encode(), SECRET.encode())
    except Problem:
        return True
    return False


def test_a_burst_of_guesses_by_many_threads_compares_no_more_than_the_budget(monkeypatch):
    clock, compared, all_there = Clock(), [], threading.Barrier(8)
    guesses = Guesses(clock)
    monkeypatch.setattr(hmac, "compare_digest", lambda given, secret: compared.append(given) or given == secret)

    def burst(thread: int) -> int:
        all_there.wait()
        return sum(is_refused(guesses, f"{thread} {guess}") for guess in range(GUESSES))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(burst, range(8))) == 7 * GUESSES
    assert len(compared) == GUESSES and is_refused(guesses, SECRET)
    clock.now += 1 / GUESSES_PER_SECOND + 1e-6
    assert guesses.is_right("192.0.2.7", SECRET.encode(), SECRET.encode())  # the lock opens in time


def test_secrets_stand_in_no_log(locked, caplog, capfd):
    caplog.set_level("DEBUG")
    for headers in (basic(SECRET), basic("wrong guess"), BEARER):
        send(locked, ("a.png", PNG))
        locked.get("/nothing", headers=headers)
        locked.post("/predict", headers=headers, content=b"x")
    logged = caplog.text + "".join(capfd.readouterr())
    encoded = [basic(word)["Authorization"][6:] for word in (SECRET, "wrong guess")]
    assert not [secret for secret in (SECRET, TOKEN, "wrong guess", *encoded) if secret in logged]


# ---- calls of the page


@pytest.fixture
def counting() -> TestClient:
    """Of a service that says how many bytes reached it."""
    app = FastAPI()
    app.add_middleware(CheckCalls)

    @app.post("/{path:path}")
    async def count(request: Request) -> int:
        return len(await request.body())

    return TestClient(app)


@pytest.mark.parametrize("address", ["http://a.b/a.png", "https://8.8.8.8/", " HTTP://x", "ftp://x", "file:///etc"])
def test_a_file_that_is_named_by_an_address_is_not_passed_on(counting, address):
    for path in ("queue/join", "call/predict", "call/v2/predict", "run/predict"):
        for encoding in ("utf-8", "utf-16"):
            content = json.dumps({"data": [None, [FILE, {"image": FILE | {"path": address}}]]}).encode(encoding)
            response = counting.post(f"{API}{path}", content=content)
            assert "upload the file itself" in problem_of(response, 422)["detail"]


def test_all_other_calls_are_passed_on_as_they_came_but_not_what_is_nested_too_deeply(counting):
    for content in (json.dumps({"data": [[FILE], "http://a"]}).encode(), b"{", b""):
        assert counting.post(CALL, content=content).json() == len(content)
    problem_of(counting.post(CALL, content=b"[" * 100_000), 422)


def test_calls_and_uploads_are_bounded_whether_they_say_their_size_or_not(counting, monkeypatch):
    monkeypatch.setattr(guard, "MAX_CALL", 100)
    monkeypatch.setattr(guard, "MAX_UPLOAD", 1000)
    upload = f"{API}upload"
    for path, content in (
        (CALL, bytes(101)),
        (CALL, [bytes(60)] * 2),
        (upload, bytes(1001)),
        (upload, [bytes(600)] * 2),
    ):
        problem_of(counting.post(path, content=content if isinstance(content, bytes) else iter(content)), 413)
    assert counting.post(upload, content=bytes(1000)).json() == 1000
    assert counting.post("/predict", content=bytes(1001)).json() == 1001  # which has a bound of its own
