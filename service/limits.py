"""Limits on what clients send: how much, how slowly, how often, and how many requests are admitted at once."""

import asyncio
import ipaddress
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model import scans
from model.wording import many

from .problems import Problem, whole_seconds

MAX_BODY = scans.MAX_BYTES + 28 * 2**20  # bytes of one request: the largest file and its form, or many small ones
IDLE_SECONDS = 20  # without a byte: a bad line stalls for a few, a client that only holds a place for ever
SLOWEST = 2**15  # bytes a second: a body of n bytes must have come after IDLE_SECONDS + n / SLOWEST of waiting for it
DISCARDED = 8 * 2**20  # bytes of a refused request that are read: a client that still sends does not hear the refusal
DISCARD_SECONDS = 2
CLOSE = {"Connection": "close"}  # what follows on this connection would be the rest of the body
FORM = "multipart/form-data"
PER_SECOND = 10.0  # of one client, steadily: more than a person clicks, a tenth of what two cores answer
BURST = 100  # at once: a folder of slices, dropped or sent file by file
MAX_CLIENTS = 10_000  # remembered at a time, about 2 MB
IPV6_NETWORK = 64  # bits: what one household or server is given to choose addresses from
COSTLY = ("/predict", "/gradio_api/upload")  # routes that take files; all others cost next to nothing
CAPACITY = 64  # for requests under way or waiting: a second's work in single slices, and as many as wait for the page
UNIT_BYTES = 16 * 2**20  # of a body that take one unit: all waiting bodies together hold up to a gigabyte
MARGIN = 1  # workers more than cores, so that the cores have work while a file is being read in another process
FIRST_GUESS = 0.1  # seconds that a request takes, until some were measured
WEIGHT = 0.1  # of the last request in the running mean: about ten back


class Body:
    """An ASGI `receive` that refuses with 413 what grows beyond `most` bytes (MAX_BODY) and with 408 what is too slow.

    Args: `claimed`, the header Content-Length.
    Attributes: `arrived`, called after each message with the bytes that have come in all and whether the body is
        whole; it may raise `Problem`, too.
    """

    arrived: Callable[[int, bool], None] | None = None

    def __init__(self, receive: Receive, claimed: str = "", most: int | None = None):
        self._receive, self._most = receive, most or MAX_BODY
        self._claimed = int(claimed) if claimed.isdecimal() else 0
        self._taken, self._waited, self._has_ended = 0, 0.0, False

    async def __call__(self) -> Message:
        """The next part of the body. Raises: Problem."""
        if self._has_ended:
            return await self._receive()  # that the client is gone, whenever it goes
        begin = monotonic()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await self._next()
        except TimeoutError:
            detail = f"Nothing came for {IDLE_SECONDS} s. Check the connection and send the files again."
            raise Problem(408, detail, "Upload stalled", headers=CLOSE) from None
        self._waited += monotonic() - begin
        if max(self._claimed, self._taken) > self._most:
            detail = f"One request may bring up to {self._most // 2**20} MB. Send fewer files at once, or smaller ones."
            raise Problem(413, detail, "Too large", headers=CLOSE)
        if self._waited > IDLE_SECONDS + self._taken / SLOWEST:
            detail = f"Less than {SLOWEST // 2**10} kB a second came. Send fewer files at once, or over a faster line."
            raise Problem(408, detail, "Upload too slow", headers=CLOSE)
        if self.arrived:
            self.arrived(self._taken, self._has_ended)
        return message

    async def discard(self) -> None:
        """Read what is still being sent, up to a bound: closing the connection on it would lose the answer as well."""
        until = self._taken + DISCARDED
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self._has_ended and self._taken < until:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        self._has_ended = not message.get("more_body", False)
        return message


class Refuse:
    """ASGI middleware: answers a request with the `Problem` that one of `checks` raises of its scope, if any does."""

    def __init__(self, app: ASGIApp, *checks: Callable[[Scope], object]):
        self.app, self.checks = app, checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass the request on."""
        try:
            for check in self.checks if scope["type"] == "http" else ():
                check(scope)
        except Problem as problem:
            await Body(receive).discard()
            await problem.response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class RateLimit:
    """The generic cell rate algorithm: one number for each client. Source: ITU-T I.371, section 5."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = monotonic):
        self.interval, self.tolerance, self.clock = 1 / per_second, (burst - 1) / per_second, clock
        self._due: OrderedDict[str, float] = OrderedDict()  # by client: when its next request would be in step

    def wait_seconds(self, client: str) -> float:
        """0 if `client` may ask now, which is then counted; else the seconds until it may."""
        now = self.clock()
        due = max(self._due.get(client, now), now)
        if due - now > self.tolerance:
            return due - now - self.tolerance
        self._due[client] = due + self.interval
        self._due.move_to_end(client)
        while len(self._due) > MAX_CLIENTS:
            self._due.popitem(last=False)  # the one that has been quiet longest
        return 0.0

    def give_back(self, client: str) -> None:
        """Do not count the last request of `client`."""
        self._due[client] -= self.interval


def client_of(scope: Scope) -> str:
    """What counts as one client: its address, of IPv6 the network.

    Behind a proxy it is the address that the proxy names, if uvicorn trusts it (FORWARDED_ALLOW_IPS).
    """
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a Unix socket, or a test
        return host
    return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False)) if address.version == 6 else host


def rate_check() -> Callable[[Scope], None]:
    """A check for `Refuse`: 429 and Retry-After for a client that sends files too fast."""
    limit, burst, per_second = RateLimit(PER_SECOND, BURST), BURST, PER_SECOND

    def check(scope: Scope) -> None:
        if scope["method"] != "POST" or scope["path"].rstrip("/") not in COSTLY:
            return
        if seconds := limit.wait_seconds(client_of(scope)):
            detail = (
                f"You have sent {burst} requests faster than {per_second:g} a second. "
                f"Send the next one in {whole_seconds(seconds)} s."
            )
            raise Problem(429, detail, "Too many requests", retry_after=seconds)

    return check


class Admission:
    """Admission control: queue a request, or refuse it with 503 and Retry-After.

    Args: `capacity` for bodies under way or waiting, in units of UNIT_BYTES; `workers` that answer at once.
    """

    def __init__(self, capacity: int = CAPACITY, workers: int | None = None):
        self.capacity, self.workers = capacity, workers or (os.cpu_count() or 1) + MARGIN
        self.seconds = FIRST_GUESS  # that a request takes, a running mean
        self._taken, self._requests = 0.0, 0
        self._turn: anyio.CapacityLimiter | None = None  # made in the event loop

    @contextmanager
    def taking(self) -> Iterator[Callable[[int, bool], None]]:
        """Hold, for one request, what it takes by calling this with the bytes that have come, and whether it is whole.

        What has come takes its share of a unit, and a whole request whole units: a promise to send takes none.
        The call raises `Problem` if there is no room.
        """
        held, requests = 0.0, 0

        def take(body_bytes: int, is_whole: bool) -> None:
            nonlocal held, requests
            needed = min(self.capacity, 1 + body_bytes // UNIT_BYTES if is_whole else body_bytes / UNIT_BYTES)
            if self._taken - held + needed > self.capacity:
                wait = self.wait_seconds
                others = many(self._requests, "request")
                detail = f"The server is full, with {others} to answer. Send yours again in {whole_seconds(wait)} s."
                raise Problem(503, detail, "Too busy", retry_after=wait)
            self._taken += needed - held
            self._requests += is_whole - requests
            held, requests = needed, int(is_whole)

        try:
            yield take
        finally:
            self._taken -= held
            self._requests -= requests

    @property
    def wait_seconds(self) -> float:
        """How long all requests that are here now will take, judged by the last ones."""
        return self._requests * self.seconds / self.workers

    async def work(self, job: Callable[[], Any], is_wanted: Callable[[], Awaitable[bool]]) -> Any:
        """Run `job` in a thread when it is its turn; None if nobody waits for it any more by then."""
        self._turn = self._turn or anyio.CapacityLimiter(self.workers)
        async with self._turn:
            if not await is_wanted():
                return None
            start = time.perf_counter()
            try:
                return await run_sync(job)
            finally:
                self.seconds += WEIGHT * (time.perf_counter() - start - self.seconds)


class UploadRoute(APIRoute):
    """A route that refuses a request whose body is no form, or for whose body there is no room as it comes."""

    def get_route_handler(self) -> Callable:
        """FastAPI's own handler behind the limits."""
        answer = super().get_route_handler()

        async def admit(request: Request) -> Response:
            body = Body(request.receive, request.headers.get("content-length", ""))
            try:
                kind = request.headers.get("content-type", "nothing")
                if kind.partition(";")[0].strip().lower() != FORM:
                    detail = f"The body is {kind[:60]}. Send the files as {FORM}, in fields named files."
                    raise Problem(415, detail, "Not a form with files")
                with request.app.state.admission.taking() as body.arrived:
                    return await answer(Request(request.scope, body))
            except Problem:
                await body.discard()
                raise

        return admit
