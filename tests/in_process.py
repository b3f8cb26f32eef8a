"""Fixtures that run the service without the page, in this process."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from model.serving import ServedModel
from service.api import create_api


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


def send(client: TestClient, *files: tuple[str, bytes], path: str = "/predict"):
    """POST files, each a name and a content, as a form."""
    return client.post(path, files=[("files", file) for file in files])


def finished(coroutine: Coroutine) -> object:
    """What `coroutine` returns, run in a thread of its own: Playwright keeps an event loop in the tests' one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
