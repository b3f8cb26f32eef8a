"""The service without the page, in this process: fixtures, and what its tests share."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from model.serving import ServedModel
from service.api import create_api
from tests.regressions.valid import VALID

PNG = VALID["PNG, 16 bits"]()


@pytest.fixture(scope="session")
def served(weights, tmp_path_factory) -> ServedModel:
    """The model that answers, loaded as the server loads it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEIGHTS", str(weights))
        environment.setenv("STATE_FOLDER", str(tmp_path_factory.mktemp("state")))
        served = ServedModel()
        served.load()
    return served


@pytest.fixture
def api(served, tmp_path) -> TestClient:
    """A client of a service of its own; its uploads lie in `uploads` under `tmp_path`."""
    (tmp_path / "uploads").mkdir()
    return TestClient(create_api(served, tmp_path / "uploads"), raise_server_exceptions=False)


class Clock:
    """Time of a test."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def send(client: TestClient, *files: tuple[str, bytes], path: str = "/predict"):
    """POST files, each a name and a content, as a form."""
    return client.post(path, files=[("files", file) for file in files])


def problem_of(response, status: int) -> dict:
    """The body of a refusal, which must be one as RFC 9457 has it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"] and problem["detail"].endswith((".", "why."))
    return problem


def without_time(entries: list[dict]) -> list[dict]:
    return [{key: value for key, value in entry.items() if key not in ("seconds", "answered")} for entry in entries]


def finished(coroutine: Coroutine) -> object:
    """What `coroutine` returns, run in a thread of its own: Playwright keeps an event loop in the tests' one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
