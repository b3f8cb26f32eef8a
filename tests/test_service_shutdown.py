"""The server over real sockets: graceful shutdown, and clients that trickle or never ask hold no place."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from service import limits, shutdown
from service.api import create_api
from service.guard import MAX_UPLOAD, UPLOAD
from service.limits import CAPACITY, MAX_BODY
from service.shutdown import Server, server_of
from tests.in_process import PNG, problem_of
from tests.load.clients import form, post
from tests.server import ask

REQUEST = post("/predict", form("a.png", PNG), "192.0.2.1")
PATIENCE = 300  # seconds for what should not take one
LARGE, SMALL = 7, CAPACITY  # requests: their promised bodies, and that they were opened, once took all there was


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


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def half_a_request(server: Server, port: int) -> Iterator[socket.socket]:
    """A connection over which half of an upload has come."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST[: len(REQUEST) // 2])
        wait_until(lambda: server.traffic.inside)
        yield connection


@contextlib.contextmanager
def trickling(port: int, path: str, promised: int, clients: int) -> Iterator[list[socket.socket]]:
    """Connections over which the beginning of a request has come that promises so many bytes."""
    size = len(form("a.png", PNG))
    request = post(path, form("a.png", PNG), "192.0.2.1")[:-100]
    begun = request.replace(f"Content-Length: {size}".encode(), f"Content-Length: {promised}".encode())
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(clients)]
        for one in sockets:
            one.settimeout(PATIENCE)
            one.sendall(begun)
        yield sockets


def all_of(connection: socket.socket) -> bytes:
    """What is sent until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(2**16), b""))


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


@pytest.mark.parametrize(
    ("signals", "patience", "is_idle"), [(1, 10**6, True), (1, 0, False), (2, 10**6, False)], ids=str
)
def test_it_ends_with_nothing_under_way_or_without_patience_or_by_a_second_signal(
    served, monkeypatch, signals, patience, is_idle
):
    monkeypatch.setattr(shutdown, "PATIENCE", patience)
    with running(served) as (server, port, thread), contextlib.ExitStack() as stack:
        if not is_idle:
            stack.enter_context(half_a_request(server, port))
        httpx.get(f"http://127.0.0.1:{port}/healthz")
        for _ in range(signals):
            server.handle_exit(signal.SIGTERM, None)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_requests_that_trickle_leave_the_service_answering(served, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", PATIENCE)
    with (
        running(served) as (server, port, _),
        trickling(port, "/predict", MAX_BODY, LARGE),
        trickling(port, "/predict", len(form("a.png", PNG)), SMALL),
    ):
        wait_until(lambda: server.traffic.inside == LARGE + SMALL)
        assert httpx.post(f"http://127.0.0.1:{port}/predict", files={"files": PNG}, timeout=PATIENCE).status_code == 200


def test_uploads_of_the_page_that_trickle_leave_it_answering(app_server, client, tmp_path):
    (tmp_path / "slice.png").write_bytes(PNG)
    with trickling(httpx.URL(app_server).port, UPLOAD, MAX_UPLOAD, SMALL):
        assert ask(client, tmp_path / "slice.png")[0]["probabilities"]


def test_a_request_that_trickles_for_too_long_is_refused_and_its_connection_closed(served, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(limits, "DISCARD_SECONDS", 0.1)
    with running(served) as (_, port, _), trickling(port, "/predict", MAX_BODY, 1) as (connection,):
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b"connection: close" in answer.lower()


def test_the_connection_of_who_does_not_ask_is_closed_but_of_nobody_who_asked(served, monkeypatch):
    monkeypatch.setattr(shutdown, "HEAD_SECONDS", 1)
    with contextlib.ExitStack() as stack:
        server, port, _ = stack.enter_context(running(served))
        asking = stack.enter_context(half_a_request(server, port))  # first, so that its time is over first, too
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        for one, sent in zip(idle, (b"", REQUEST[:40], REQUEST + REQUEST[:40]), strict=True):
            one.settimeout(PATIENCE)
            one.sendall(sent)
        answers = [all_of(one) for one in idle]
        assert answers[:2] == [b"", b""] and answers[2].startswith(b"HTTP/1.1 200")
        asking.sendall(REQUEST[len(REQUEST) // 2 :])
        assert asking.recv(20).startswith(b"HTTP/1.1 200")
