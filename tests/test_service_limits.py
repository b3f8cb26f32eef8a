"""How much one client may ask, how many may wait, and that what they are told about waiting is true."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import limits
from service.admission import UNIT_BYTES, Admission
from service.limits import IDLE_SECONDS, SLOWEST, Body, RateLimit, client_of
from service.problems import Problem
from tests.in_process import finished
from tests.test_service_predict import problem_of


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(pauses=st.lists(st.floats(0, 3), max_size=80), burst=st.integers(1, 5))
def test_nobody_gets_more_than_a_burst_and_the_rate(pauses, burst):
    clock = Clock()
    limit, admitted = RateLimit(2, burst, clock), []
    for pause in pauses:
        clock.now += pause
        if not limit.wait_seconds("a"):
            admitted.append(clock.now)
    for first, begin in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + 2 * (admitted[last] - begin) + 1e-6


@given(pauses=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_whoever_waits_as_long_as_told_is_let_in_and_not_a_moment_before(pauses):
    clock = Clock()
    limit = RateLimit(2, 3, clock)
    for pause in pauses:
        clock.now += pause
        told = limit.wait_seconds("a")
        if told:
            clock.now += told - 1e-6
            assert limit.wait_seconds("a") > 0
            clock.now += 2e-6
            assert limit.wait_seconds("a") == 0


def test_clients_do_not_share_their_rate_and_are_forgotten_in_time(monkeypatch):
    monkeypatch.setattr(limits, "MAX_CLIENTS", 3)
    limit = RateLimit(1, 1, Clock())
    for client in "abcd":
        assert limit.wait_seconds(client) == 0
    assert limit.wait_seconds("d") > 0 and limit.wait_seconds("a") == 0


def test_a_client_is_an_address_or_a_network_of_ipv6():
    assert client_of({"client": ("192.0.2.7", 1)}) == "192.0.2.7"
    assert client_of({"client": ("2001:db8::1", 1)}) == client_of({"client": ("2001:db8::2", 1)})
    assert client_of({"client": ("2001:db8:0:1::1", 1)}) != client_of({"client": ("2001:db8::1", 1)})


def test_whoever_sends_too_fast_is_told_when_to_go_on(api, monkeypatch):
    monkeypatch.setattr(limits, "BURST", 3)
    monkeypatch.setattr(limits, "PER_SECOND", 0.001)
    assert [api.post("/predict", json={}).status_code for _ in range(3)] == [415] * 3
    response = api.post("/predict", json={})
    assert response.headers["retry-after"] in problem_of(response, 429)["detail"]
    assert 990 < int(response.headers["retry-after"]) <= 1000
    problem_of(api.post("/gradio_api/upload"), 429)
    assert api.get("/healthz").status_code == 200


def test_a_request_is_refused_when_full_with_the_time_that_those_before_need():
    admission = Admission(capacity=2, workers=1)
    admission.seconds = 7.0
    with admitted(admission), admitted(admission):
        with pytest.raises(Problem) as refused, admitted(admission):
            pass
        assert refused.value.status_code == 503 and refused.value.headers["Retry-After"] == "14"
    with admitted(admission):
        assert admission.wait_seconds == 7


@contextmanager
def admitted(admission: Admission, body_bytes: int = 0) -> Iterator[None]:
    """A request in the admission of which all has come."""
    with admission.taking() as take:
        take(body_bytes, True)
        yield


def test_large_bodies_take_more_capacity_and_one_alone_always_finds_room():
    admission = Admission(capacity=3)
    with admitted(admission, UNIT_BYTES), pytest.raises(Problem), admitted(admission, UNIT_BYTES):
        pass
    with admitted(admission, 100 * UNIT_BYTES):
        pass


def test_as_many_small_requests_find_room_as_there_is_capacity_for():
    admission = Admission()
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


@given(arrivals=st.lists(st.tuples(st.integers(0, IDLE_SECONDS), st.integers(0, 2 * SLOWEST)), max_size=30))
def test_a_body_is_refused_when_it_is_slower_than_the_slowest_line(arrivals):
    clock, sent = Clock(), iter(arrivals)

    async def receive() -> dict:
        pause, size = next(sent)
        clock.now += pause
        return {"type": "http.request", "body": bytes(size), "more_body": True}

    body, waited, taken = Body(receive), 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "monotonic", clock)
        for pause, size in arrivals:
            waited, taken = waited + pause, taken + size
            if waited > IDLE_SECONDS + taken / SLOWEST:
                with pytest.raises(Problem) as refused:
                    finished(body())
                assert refused.value.status_code == 408 and refused.value.headers["Connection"] == "close"
                return
            finished(body())


def test_work_is_done_in_turn_and_not_for_those_who_left():
    admission, begun, most_at_once = Admission(workers=1), [], []

    async def work(number: int, stays: bool):
        async def is_wanted():
            return stays

        def job():
            begun.append(number)
            most_at_once.append(admission._turn.borrowed_tokens)
            return number

        return await admission.work(job, is_wanted)

    async def all_at_once():
        return await asyncio.gather(*(work(number, number != 1) for number in range(4)))

    assert finished(all_at_once()) == [0, None, 2, 3]
    assert begun == [0, 2, 3] and set(most_at_once) == {1}


def test_the_waiting_time_follows_what_requests_really_take(monkeypatch):
    admission, now = Admission(workers=1), Clock()
    monkeypatch.setattr("service.admission.time.perf_counter", now)

    async def is_wanted():
        return True

    def job():
        now.now += 4

    async def many():
        for _ in range(60):
            await admission.work(job, is_wanted)

    finished(many())
    assert admission.seconds == pytest.approx(4, rel=0.01)


def test_a_full_server_says_so(api):
    admission = api.app.state.admission
    with admitted(admission, admission.capacity * UNIT_BYTES):
        response = api.post("/predict", files={"files": b"x"})
    assert response.headers["retry-after"] in problem_of(response, 503)["detail"]
    problem_of(api.post("/predict", files={"files": b"x"}), 415)
