"""Limits on what a client may send: how much, how slowly, in which form, and how often."""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model import scans

from .problems import Problem, whole_seconds

MAX_BODY = scans.MAX_BYTES + 28 * 2**20  # bytes of one request: the largest file with what wraps it, or many small ones
IDLE_SECONDS = 20  # without a byte: a bad line stalls for a few, a client that only holds a place for ever
SLOWEST = 2**15  # bytes a second: a body of n bytes must have come after IDLE_SECONDS + n / SLOWEST of waiting for it
DISCARDED = 8 * 2**20  # bytes of a refused request that are read: a client that still sends does not hear the refusal
DISCARD_SECONDS = 2
CLOSE = {"Connection": "close"}  # what follows on this connection would be the rest of the body


class Body:
    """An ASGI `receive` that refuses with 413 what grows beyond `most` bytes (MAX_BODY) and with 408 what is too slow.

    Args: `claimed`, the header Content-Length.
    Attributes: `arrived`, told after each message how many bytes have come in all and whether the body is whole; it
        may raise `Problem`, too.
    """

    arrived: Callable[[int, bool], None] | None = None

    def __init__(self, receive: Receive, claimed: str = "", most: int | None = None):
        self._receive, self._most = receive, most or MAX_BODY
        self._claimed = int(claimed) if claimed.isdecimal() else 0
        self._taken, self._waited, self._has_ended = 0, 0.0, False

    async def __call__(self) -> Message:
        if self._has_ended:
            return await self._receive()  # that the client is gone, whenever it goes
        begin = monotonic()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                message = await self._next()
        except TimeoutError:
            detail = f"Nothing came for {IDLE_SECONDS} s. Check the connection and send the files again."
            raise Problem(408, "Upload stalled", detail, headers=CLOSE) from None
        self._waited += monotonic() - begin
        if max(self._claimed, self._taken) > self._most:
            detail = f"One request may bring up to {self._most // 2**20} MB. Send fewer files at once, or smaller ones."
            raise Problem(413, "Too large", detail, headers=CLOSE)
        if self._waited > IDLE_SECONDS + self._taken / SLOWEST:
            detail = f"Less than {SLOWEST // 2**10} kB a second came. Send fewer files at once, or over a faster line."
            raise Problem(408, "Upload too slow", detail, headers=CLOSE)
        if self.arrived:
            self.arrived(self._taken, self._has_ended)
        return message

    async def discard(self) -> None:
        """Read what is still being sent, up to a bound: closing on it would tear the answer off as well."""
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


FORM = "multipart/form-data"


class UploadRoute(APIRoute):
    """A route whose request is refused if the body is no form, or once there is no room for what has come of it."""

    def get_route_handler(self) -> Callable:
        answer = super().get_route_handler()

        async def admit(request: Request) -> Response:
            body = Body(request.receive, request.headers.get("content-length", ""))
            try:
                kind = request.headers.get("content-type", "nothing")
                if kind.partition(";")[0].strip().lower() != FORM:
                    detail = f"The body is {kind[:60]}. Send the files as {FORM}, in fields named files."
                    raise Problem(415, "Not a form with files", detail)
                with request.app.state.admission.taking() as body.arrived:
                    return await answer(Request(request.scope, body))
            except Problem:
                await body.discard()
                raise

        return admit


PER_SECOND = 10.0  # of one client, steadily: more than a person clicks, a tenth of what two cores answer
BURST = 100  # at once: a folder of slices, dropped or sent file by file
MAX_CLIENTS = 10_000  # remembered at a time, about 2 MB
IPV6_NETWORK = 64  # bits: what one household or server is given to choose addresses from
COSTLY = ("/predict", "/gradio_api/upload")  # what brings files; all else costs next to nothing


class RateLimit:
    """The generic cell rate algorithm: one number for each client. Source: ITU-T I.371, section 5."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic):
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
            self._due.popitem(last=False)  # the longest quiet
        return 0.0

    def give_back(self, client: str) -> None:
        """Take back that the last request of `client` was counted."""
        self._due[client] -= self.interval


def client_of(scope: Scope) -> str:
    """What counts as one client: its address, of IPv6 the network.

    Behind a proxy it is what that says, if uvicorn trusts the proxy (FORWARDED_ALLOW_IPS).
    """
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a Unix socket, or a test
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, IPV6_NETWORK), strict=False))
    return host


class LimitRates:
    """ASGI middleware: refuses with 429 and Retry-After what brings files too fast."""

    def __init__(self, app: ASGIApp):
        self.app, self.limit = app, RateLimit(PER_SECOND, BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/") in COSTLY:
            seconds = self.limit.wait_seconds(client_of(scope))
            if seconds:
                await Body(receive).discard()
                await too_fast(seconds).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


def too_fast(seconds: float) -> Problem:
    detail = (
        f"You have sent {BURST} requests faster than {PER_SECOND:g} a second. "
        f"Send the next one in {whole_seconds(seconds)} s."
    )
    return Problem(429, "Too many requests", detail, retry_after=seconds)
