"""Clients that ask over plain sockets: a library would cost more of the two cores than the answer does."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BOUNDARY = "----load"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


class Reply(NamedTuple):
    """One answer: the status (0 if the connection broke), seconds it took, Retry-After in seconds (0 if none), body."""

    status: int
    seconds: float
    retry_after: float
    body: bytes = b""


def form(name: str, content: bytes) -> bytes:
    """The body of an upload."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def post(path: str, body: bytes, address: str, content_type: str = FORM) -> bytes:
    """A whole request as if a trusted proxy had passed it on for `address`."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: load\r\nX-Forwarded-For: {address}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1") + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: load\r\n\r\n".encode()


class Client:
    """One kept-alive connection, opened anew when it breaks."""

    def __init__(self, port: int):
        self.port, self._streams = port, None

    async def ask(self, request: bytes) -> Reply:
        start = time.perf_counter()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write(request)  # not waited for: the answer may come before all is sent
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if fields.get("connection") == "close":
                await self.close()
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return Reply(0, time.perf_counter() - start, 0)
        return Reply(int(head.split(" ", 2)[1]), time.perf_counter() - start, float(fields.get("retry-after", 0)), body)

    async def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def ask_for(
    port: int, requests: Callable[[int], bytes], clients: int, done: Callable[[int], bool]
) -> list[Reply]:
    """Have so many clients ask one request after the other until `done` of the number sent is true.

    A client that is refused waits as long as Retry-After says, a second at most.
    """
    replies, sent = [], 0

    async def one() -> None:
        nonlocal sent
        client = Client(port)
        while not done(sent):
            sent += 1
            replies.append(reply := await client.ask(requests(sent)))
            if reply.status != 200:
                await asyncio.sleep(min(reply.retry_after, 1) or 0.1)
        await client.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return replies


def percentiles(replies: list[Reply]) -> tuple[float, float]:
    """Median and 95th percentile of the answers, in ms."""
    taken = [reply.seconds for reply in replies if reply.status == 200]
    return tuple(float(1000 * part) for part in np.percentile(taken, (50, 95))) if taken else (float("nan"),) * 2
