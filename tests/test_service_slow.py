"""Clients that trickle hold no place: real sockets, a real server. Deadlines are short, or by a clock of the test."""

import contextlib
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from service import limits, shutdown
from service.admission import CAPACITY
from service.guard import API, MAX_UPLOAD, UPLOAD, CheckCalls, Guesses
from service.limits import IDLE_SECONDS, MAX_BODY
from service.problems import install
from service.retraining.access import Administrator
from service.retraining.routes import router
from tests.load.clients import BOUNDARY, form, post
from tests.server import ask
from tests.test_service_limits import Clock
from tests.test_service_predict import PNG, problem_of
from tests.test_service_shutdown import PATIENCE, REQUEST, half_a_request, running

TOKEN = b"an-administrator-s-token"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
LARGE, SMALL = 7, CAPACITY  # requests: their promised bodies, and that they were opened, once took all there was


def begun(path: str, promised: int) -> bytes:
    """The beginning of a request that promises so many bytes."""
    whole = post(path, form("a.png", PNG), "192.0.2.1")
    size = f"Content-Length: {len(form('a.png', PNG))}".encode()
    return whole[:-100].replace(size, f"Content-Length: {promised}".encode())


@contextlib.contextmanager
def trickling(port: int, path: str, promised: int, clients: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(clients)]
        for one in sockets:
            one.settimeout(PATIENCE)
            one.sendall(begun(path, promised))
        yield sockets


def test_requests_that_trickle_leave_the_service_answering(served, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", PATIENCE)
    with (
        running(served) as (server, port, _),
        trickling(port, "/predict", MAX_BODY, LARGE),
        trickling(port, "/predict", len(form("a.png", PNG)), SMALL),
    ):
        deadline = time.monotonic() + PATIENCE
        while server.traffic.inside < LARGE + SMALL:
            assert time.monotonic() < deadline
            time.sleep(0.01)
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


def all_of(connection: socket.socket) -> bytes:
    """What is sent until the server hangs up."""
    return b"".join(iter(lambda: connection.recv(2**16), b""))


def test_whoever_does_not_ask_is_hung_up_on_but_nobody_who_asked(served, monkeypatch):
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


@pytest.fixture
def slow(monkeypatch):
    """A body that comes a byte at a time, each just before it would have stalled."""
    clock = Clock()
    monkeypatch.setattr(limits, "monotonic", clock)

    def content(start: bytes = b""):
        yield start
        for _ in range(100):
            clock.now += IDLE_SECONDS - 1
            yield b"x"

    return content


def test_no_route_waits_for_a_body_without_end(api, slow):
    answer = api.post("/predict", content=slow(begun("", 1).partition(b"\r\n\r\n")[2]), headers=FORM)
    assert "faster line" in problem_of(answer, 408)["detail"]


def test_neither_does_the_page_nor_retraining(slow):
    app = FastAPI()
    install(app)
    app.add_middleware(CheckCalls)
    app.include_router(router(None, Administrator(TOKEN, Guesses())))

    @app.post(f"{API}{{path:path}}")
    async def read(request: Request) -> int:
        return len(await request.body())

    client = TestClient(app, headers={"Authorization": f"Bearer {TOKEN.decode()}", "Content-Type": "application/zip"})
    for path in (UPLOAD, f"{API}queue/join", "/retrain"):
        assert "faster line" in problem_of(client.post(path, content=slow()), 408)["detail"]
