"""Graceful shutdown: finish requests in flight, answer new ones with 503. Idle connections do not hold it up."""

import asyncio
import os
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import CLOSE, Body
from .problems import Problem

PATIENCE = 25  # seconds for what is under way: the largest upload, read and classified; systemd and Docker wait longer
CLOSING_SECONDS = 1  # for connections that only listen, such as those of open pages
RETRY_SECONDS = 10  # that a restart takes
HEAD_SECONDS = 20  # from the connection, or the last answer on it, to the end of a request's headers
PROXIES = "127.0.0.1,::1"  # believed about who asks: those on this machine
if "SPACE_ID" in os.environ:
    PROXIES = "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"  # a Space is reached through its inner network alone
UNCOUNTED = ("/gradio_api/heartbeat/", "/healthz")  # open as long as a page is; answered as long as the process lives


class Traffic:
    """Whether new requests are let in, and how many are inside."""

    def __init__(self) -> None:
        self.closing, self.inside = False, 0


class Drain:
    """ASGI middleware: counts requests under way and, once `closing`, lets no new one in."""

    def __init__(self, app: ASGIApp, traffic: Traffic):
        self.app, self.traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 503."""
        if scope["type"] != "http" or scope["path"].startswith(UNCOUNTED):
            await self.app(scope, receive, send)
            return
        if self.traffic.closing:
            await Body(receive).discard()
            detail = f"The server is about to stop. Ask again in {RETRY_SECONDS} s."
            problem = Problem(503, detail, "Stopping", retry_after=RETRY_SECONDS, headers=CLOSE)
            await problem.response()(scope, receive, send)
            return
        self.traffic.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.traffic.inside -= 1


class Connection(H11Protocol):
    """Uvicorn's connection, closed if no request comes: uvicorn itself waits for ever for one that trickles."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._expect_request(after=None)

    def on_response_complete(self) -> None:
        """Start it for the next one."""
        answered = self.cycle
        super().on_response_complete()
        self._expect_request(after=answered)

    def _expect_request(self, after: object) -> None:
        self.loop.call_later(HEAD_SECONDS, lambda: self.cycle is after and self.transport.close())


class Server(uvicorn.Server):
    """Uvicorn that keeps its port open, and says 503 there, until what is under way is answered.

    Args: `started`, called as soon as the port is open.
    """

    def __init__(self, config: uvicorn.Config, traffic: Traffic, started: Callable[[], object]):
        super().__init__(config)
        self.traffic, self.when_started = traffic, started
        self._signal: tuple[int, FrameType | None] | None = None
        self._latest = 0.0

    async def startup(self, sockets: list | None = None) -> None:
        """Open the port."""
        await super().startup(sockets)
        self.when_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets nobody in any more, a second one ends everything at once."""
        if self.traffic.closing:
            super().handle_exit(sig, frame)
            return
        self.traffic.closing, self._signal = True, (sig, frame)
        self._latest = time.monotonic() + PATIENCE

    async def on_tick(self, counter: int) -> bool:
        """End once all is answered, or patience has run out."""
        if self._signal and (self.traffic.inside == 0 or time.monotonic() > self._latest):
            received, self._signal = self._signal, None
            super().handle_exit(*received)
        return await super().on_tick(counter)


def server_of(app: ASGIApp, traffic: Traffic, host: str, port: int, started: Callable[[], object]) -> Server:
    """The server of `app`; `run` serves until a signal ends it. It logs no requests: who asks is nobody's business."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        ws="none",  # no route speaks it, and no middleware would look at it
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", PROXIES),
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    return Server(config, traffic, started)
