"""What browsers are told, who may ask from where, and the optional password."""

import base64

import pytest
from fastapi.testclient import TestClient

from service import password
from service.api import create_api
from service.doors import API
from tests.in_process import send
from tests.test_service_predict import PNG, problem_of

SECRET, TOKEN = "correct horse", "admin-token"


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


def test_guessing_is_slowed_down_for_the_guesser(locked):
    statuses = [locked.get("/model", headers=basic(str(guess))).status_code for guess in range(password.GUESSES + 1)]
    assert statuses == [401] * password.GUESSES + [429]
    assert locked.get("/model", headers=basic(SECRET)).status_code == 200


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
