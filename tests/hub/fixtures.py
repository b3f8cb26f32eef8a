"""The `hub` fixture: the real client, in this process or in another, talks to a Hub that the test has in its hands."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from huggingface_hub import constants

from .faults import Faults
from .repositories import Repository
from .server import OWNER, READ_TOKEN, WRITE_TOKEN, Hub

START_SECONDS = 120


@dataclass
class LocalHub:
    """A Hub that runs, and a home of its own for its client. Repositories belong to "hospital": "hospital/NAME"."""

    url: str
    server: Hub
    faults: Faults  # `faults.add("GET .*safetensors", status=503, times=1)`; `faults.requests` are those seen
    home: Path  # HF_HOME, empty at first
    owner: str = OWNER
    token: str = WRITE_TOKEN
    read_token: str = READ_TOKEN

    def add(self, name: str, **properties) -> Repository:
        """An empty repository: see `Hub.add`. `repository.commit({path: bytes})` fills it."""
        return self.server.add(name, **properties)

    def repository(self, name: str, kind: str = "model") -> Repository | None:
        """What was created under that name, to look into; None if nothing was."""
        return self.server.repositories.get((kind, name))

    @property
    def environment(self) -> dict[str, str]:
        """For a client in another process."""
        return {
            **{"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HOME": str(self.home)},
            **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"},
        }


@pytest.fixture(scope="session")
def hub_server() -> Iterator[tuple[str, Hub, Faults]]:
    server = Hub()
    faults = Faults(server)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(faults, log_level="critical", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not running.started:
            assert thread.is_alive() and time.monotonic() < deadline
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", server, faults
        running.should_exit = True
        thread.join()


@pytest.fixture
def hub(hub_server, tmp_path, monkeypatch) -> LocalHub:
    """An empty Hub without faults. The client in this process is set to it, as the environment would on import."""
    url, server, faults = hub_server
    server.clear()
    faults.clear()
    home = tmp_path / "hf_home"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    return LocalHub(url, server, faults, home)
