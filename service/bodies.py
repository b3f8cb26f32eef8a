"""What a request brings: no more than a bound, no slower than a bound, and read to its end before it is refused."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from starlette.types import Message, Receive

from model import scans

from .problems import Problem

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
