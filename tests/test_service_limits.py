"""How much one client may ask, how slowly it may send, how many may wait, and that announced waiting times are true."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service import limits
from service.api import create_api
from service.guard import API, UPLOAD, CheckCalls, Guesses
from service.limits import IDLE_SECONDS, SLOWEST, UNIT_BYTES, Admission, Body, RateLimit, client_of
from service.problems import Problem, install
from service.retraining import router, token_check
from tests.in_process import Clock, finished, problem_of

TOKEN = b"an-administrator-s-token"


@given(pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60), burst=st.integers(1, 5))
def test_nobody_gets_more_than_a_burst_and_the_rate_and_the_announced_wait_is_exact(pauses, burst):
    clock = Clock()
    limit, admitted = RateLimit(2, burst, clock), []
    for pause in pauses:
        clock.now += pause
        if wait := limit.wait_seconds("a"):
            clock.now += wait - 1e-6
            assert limit.wait_seconds("a") > 0
            clock.now += 2e-6
            assert limit.wait_seconds("a") == 0
        admitted.append(clock.now)
    for first, begin in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + 2 * (admitted[last] - begin) + 1e-4


def test_clients_do_not_share_their_rate_and_are_forgotten_in_time(monkeypatch):
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    limit = RateLimit(1, 1, Clock())
    assert [limit.wait_seconds(client) for client in "abcd"] == [0] * 4
    assert limit.wait_seconds("d") > 0 and limit.wait_seconds("a") == 0


def test_a_client_is_an_address_or_a_network_of_ipv6():
    assert client_of({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert client_of({"client": ("2001:db8::1", 1)}) == client_of({"client": ("2001:db8::2", 1)})
    assert client_of({"client": ("2001:db8:0:1::1", 1)}) != client_of({"client": ("2001:db8::1", 1)})


def test_whoever_sends_too_fast_learns_when_to_go_on(served, monkeypatch):
    monkeypatch.setattr(limits, "BURST", 3)
    monkeypatch.setattr(limits, "PER_SECOND", 0.001)
    api = TestClient(create_api(served))
    assert [api.post("/predict", json={}).status_code for _ in range(3)] == [415] * 3
    response = api.post("/predict", json={})
    assert response.headers["retry-after"] in problem_of(response, 429)["detail"]
    assert 990 < int(response.headers["retry-after"]) <= 1000
    problem_of(api.post("/gradio_api/upload"), 429)
    assert api.get("/healthz").status_code == 200


@contextmanager
def admitted(admission: Admission, body_bytes: int = 0) -> Iterator[None]:
    """An admitted request of which all has come."""
    with admission.taking() as take:
        take(body_bytes, True)
        yield


def test_a_request_is_refused_when_full_with_the_time_that_those_before_need():
    admission = Admission(capacity=2, workers=1)
    admission.seconds = 7.0
    with admitted(admission), admitted(admission):
        with pytest.raises(Problem) as refused, admitted(admission):
            pass
        assert refused.value.status_code == 503 and refused.value.headers["Retry-After"] == "14"
    with admitted(admission):
        assert admission.wait_seconds == 7


def test_large_bodies_take_more_capacity_small_ones_a_unit_and_one_alone_always_finds_room():
    admission = Admission(capacity=3)
    with admitted(admission, UNIT_BYTES), pytest.raises(Problem), admitted(admission, UNIT_BYTES):
        pass
    with admitted(admission, 100 * UNIT_BYTES):
        pass
    with ExitStack() as stack:
        for _ in range(admission.capacity):
            stack.enter_context(admitted(admission, UNIT_BYTES - 1))


@given(arrivals=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2 * UNIT_BYTES), st.booleans()), max_size=40))
def test_what_has_come_of_all_bodies_never_takes_more_than_there_is_and_is_given_back(arrivals):
    admission, held = Admission(capacity=4), [0] * 6
    with ExitStack() as stack:
        takes = [stack.enter_context(admission.taking()) for _ in held]
        for request, more, is_whole in arrivals:
            with suppress(Problem):
                takes[request](held[request] + more, is_whole)
                held[request] += more
            assert sum(min(4 * UNIT_BYTES, one) for one in held) <= 4 * UNIT_BYTES
    with admitted(admission, 4 * UNIT_BYTES):
        pass


def test_who_only_opens_a_request_takes_no_capacity():
    admission = Admission(capacity=1)
    with admission.taking(), admission.taking() as take, admitted(admission):
        with pytest.raises(Problem):
            take(1, False)
        assert admission.wait_seconds == admission.seconds / admission.workers


def test_a_full_server_says_so_and_keeps_nothing_of_who_was_refused(api):
    admission = api.app.state.admission
    with admitted(admission, admission.capacity * UNIT_BYTES):
        response = api.post("/predict", files={"files": b"x"})
    assert response.headers["retry-after"] in problem_of(response, 503)["detail"]
    problem_of(api.post("/predict", files={"files": b"x"}), 415)


def test_work_is_done_in_turn_and_not_for_those_who_left_and_its_time_is_learned(monkeypatch):
    admission, begun, most_at_once, clock = Admission(workers=1), [], [], Clock()
    monkeypatch.setattr("service.limits.time.perf_counter", clock)

    async def work(number: int):
        async def is_wanted():
            return number != 1

        def job():
            begun.append(number)
            most_at_once.append(admission._turn.borrowed_tokens)
            clock.now += 4
            return number

        return await admission.work(job, is_wanted)

    async def all_at_once():
        return await asyncio.gather(*map(work, range(60)))

    assert finished(all_at_once()) == [0, None, *range(2, 60)]
    assert begun == [0, *range(2, 60)] and set(most_at_once) == {1}
    assert admission.seconds == pytest.approx(4, rel=0.01)


@given(arrivals=st.lists(st.tuples(st.integers(0, IDLE_SECONDS), st.integers(0, 2 * SLOWEST)), max_size=30))
def test_a_body_is_refused_when_it_is_slower_than_the_slowest_line(arrivals):
    clock, sent = Clock(), iter(arrivals)

    async def receive() -> dict:
        pause, size = next(sent)
        clock.now += pause
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    async def read() -> None:
        body, waited, taken = Body(receive), 0, 0
        for pause, size in arrivals:
            waited, taken = waited + pause, taken + size
            if waited > IDLE_SECONDS + taken / SLOWEST:
                with pytest.raises(Problem) as refused:
                    await body()
                assert refused.value.status_code == 408 and refused.value.headers["Connection"] == "close"
                return
            await body()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "monotonic", clock)
        finished(read())


def test_an_upload_that_stalls_is_given_up(monkeypatch):
    async def nothing_more_comes():
        await asyncio.Event().wait()

    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.01)
    with pytest.raises(Problem) as given_up:
        finished(Body(nothing_more_comes)())
    assert given_up.value.status_code == 408 and "connection" in given_up.value.detail


def test_no_route_waits_for_a_body_without_end(api, monkeypatch):
    clock, app = Clock(), FastAPI()
    monkeypatch.setattr(limits, "monotonic", clock)
    install(app)
    app.state.admission = Admission()
    app.add_middleware(CheckCalls)
    app.include_router(router(None, token_check(TOKEN, Guesses())))

    def trickle():
        yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(100):
            clock.now += IDLE_SECONDS - 1
            yield b"x"

    @app.post(f"{API}{{path:path}}")
    async def read(request: Request) -> int:
        return len(await request.body())

    client = TestClient(app, headers={"Authorization": f"Bearer {TOKEN.decode()}", "Content-Type": "application/zip"})
    for path in (UPLOAD, f"{API}queue/join", "/retrain"):
        assert "faster line" in problem_of(client.post(path, content=trickle()), 408)["detail"]
    response = api.post("/predict", content=trickle(), headers={"Content-Type": "multipart/form-data; boundary=B"})
    assert "faster line" in problem_of(response, 408)["detail"]
