"""Told to stop, the server answers what it has begun, refuses what is new, and goes."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from service import shutdown
from service.api import create_api
from service.shutdown import Server, server_of
from tests.load.clients import form, post
from tests.test_service_predict import PNG, problem_of

REQUEST = post("/predict", form("a.png", PNG), "192.0.2.1")
PATIENCE = 300  # seconds for what should not take one


@contextlib.contextmanager
def running(served) -> Iterator[tuple[Server, int, threading.Thread]]:
    """(server, port, its thread)"""
    api, is_open = create_api(served), threading.Event()
    server = server_of(api, api.state.traffic, "127.0.0.1", 0, is_open.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert is_open.wait(PATIENCE)
        yield server, server.servers[0].sockets[0].getsockname()[1], thread
    finally:
        for _ in range(2):
            server.handle_exit(signal.SIGTERM, None)
        thread.join(PATIENCE)
    assert not thread.is_alive()


@contextlib.contextmanager
def half_a_request(server: Server, port: int) -> Iterator[socket.socket]:
    """A connection over which half of an upload has come."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST[: len(REQUEST) // 2])
        deadline = time.monotonic() + PATIENCE
        while not server.traffic.inside:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield connection


def test_what_is_under_way_is_answered_and_what_is_new_is_refused(served):
    with running(served) as (server, port, thread), half_a_request(server, port) as connection:
        server.handle_exit(signal.SIGTERM, None)
        for response in (
            httpx.get(f"http://127.0.0.1:{port}/readyz"),
            httpx.post(f"http://127.0.0.1:{port}/predict", files={"files": PNG}),
        ):
            problem_of(response, 503)
            assert response.headers["connection"] == "close" and int(response.headers["retry-after"]) > 0
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        connection.sendall(REQUEST[len(REQUEST) // 2 :])
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_with_nothing_under_way_it_goes_at_once(served, monkeypatch):
    monkeypatch.setattr(shutdown, "PATIENCE", 10**6)
    with running(served) as (server, port, thread):
        httpx.get(f"http://127.0.0.1:{port}/healthz")
        server.handle_exit(signal.SIGTERM, None)
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("signals", [1, 2])
def test_patience_ends_and_a_second_signal_ends_it_too(served, monkeypatch, signals):
    monkeypatch.setattr(shutdown, "PATIENCE", 0 if signals == 1 else 10**6)
    with running(served) as (server, port, thread), half_a_request(server, port):
        for _ in range(signals):
            server.handle_exit(signal.SIGTERM, None)
        thread.join(PATIENCE)
        assert not thread.is_alive()
