"""What reaches Gradio's routes: nothing that it would fetch from elsewhere, and nothing without a bound."""

import json

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from service import guard
from service.guard import CheckCalls
from tests.test_service_predict import problem_of

CALL = "/gradio_api/queue/join"
FILE = {
    "path": "/tmp/gradio/a.png",
    "url": "http://127.0.0.1:7860/gradio_api/file=a.png",
    "meta": {"_type": "FileData"},
}


@pytest.fixture
def client() -> TestClient:
    """Of a service that says how many bytes reached it."""
    app = FastAPI()
    app.add_middleware(CheckCalls)

    @app.post("/{path:path}")
    async def count(request: Request) -> int:
        return len(await request.body())

    return TestClient(app)


@pytest.mark.parametrize(
    "address", ["http://example.com/a.png", "https://8.8.8.8/", " HTTP://x", "ftp://x", "file:///etc"]
)
@pytest.mark.parametrize(
    "path", [CALL, "/gradio_api/call/predict", "/gradio_api/call/v2/predict", "/gradio_api/run/predict"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_that_is_named_by_an_address_is_not_passed_on(client, address, path, encoding):
    content = json.dumps({"data": [None, [FILE, {"image": FILE | {"path": address}}]]}).encode(encoding)
    assert "upload the file itself" in problem_of(client.post(path, content=content), 422)["detail"]


@pytest.mark.parametrize("content", [json.dumps({"data": [[FILE], "http://a"]}).encode(), b"{", b""])
def test_all_other_calls_are_passed_on_as_they_came(client, content):
    assert client.post(CALL, content=content).json() == len(content)


def test_what_is_nested_too_deeply_is_refused(client):
    problem_of(client.post(CALL, content=b"[" * 100_000), 422)


def test_calls_and_uploads_are_bounded_whether_they_say_their_size_or_not(client, monkeypatch):
    monkeypatch.setattr(guard, "MAX_CALL", 100)
    problem_of(client.post(CALL, content=bytes(101)), 413)
    problem_of(client.post(CALL, content=iter([bytes(60), bytes(60)])), 413)
    monkeypatch.setattr(guard, "MAX_UPLOAD", 1000)
    assert client.post("/gradio_api/upload", content=bytes(1000)).json() == 1000
    problem_of(client.post("/gradio_api/upload", content=bytes(1001)), 413)
    assert client.post("/gradio_api/upload", content=iter([bytes(600), bytes(600)])).status_code == 413
    assert client.post("/predict", content=bytes(1001)).json() == 1001  # which has a bound of its own
