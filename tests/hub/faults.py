"""What goes wrong between client and Hub, on demand."""

import asyncio
import json
import re
from dataclasses import dataclass


@dataclass
class Fault:
    """The next `times` requests whose "METHOD /path" matches `request` (a regular expression) go wrong like this."""

    request: str
    times: int = 10**9
    spared: int = 0  # requests that match and go right, before the first that goes wrong
    seconds: float = 0.0  # to wait before the answer
    status: int = 0  # answered in place of what was asked for
    message: str = ""  # of that answer
    keep_bytes: int = -1  # of the body are sent, then the connection breaks off
    etag: str = ""  # sent in place of the file's own
    content: bytes = b""  # sent in place of as many bytes at the start of the body


class Faults:
    """ASGI middleware. Attributes: `active` faults, of which the first that matches counts; `requests` seen so far."""

    def __init__(self, app):
        self.app = app
        self.active: list[Fault] = []
        self.requests: list[str] = []

    def add(self, request: str, **how) -> None:
        """Make requests go wrong from now on: the arguments of `Fault`."""
        self.active.append(Fault(request, **how))

    def clear(self) -> None:
        self.active, self.requests = [], []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = f"{scope['method']} {scope['path']}"
        self.requests.append(request)
        fault = next((one for one in self.active if one.times > 0 and re.search(one.request, request)), None)
        if fault is None or fault.spared:
            if fault:
                fault.spared -= 1
            await self.app(scope, receive, send)
            return
        fault.times -= 1
        await asyncio.sleep(fault.seconds)
        if fault.status:
            await _refuse(fault, send)
        else:
            await self.app(scope, receive, _spoiled(fault, send))


async def _refuse(fault: Fault, send) -> None:
    body = json.dumps({"error": fault.message}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-error-message": fault.message}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": fault.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def _spoiled(fault: Fault, send):
    """`send`, with the answer's headers and body changed on the way."""
    sent = 0

    async def spoil(message):
        nonlocal sent
        if message["type"] == "http.response.start" and fault.etag:
            kept = [(name, value) for name, value in message["headers"] if name not in (b"etag", b"x-linked-etag")]
            new = f'"{fault.etag}"'.encode()
            message = message | {"headers": [*kept, (b"etag", new), (b"x-linked-etag", new)]}
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            body = fault.content[sent : sent + len(body)] + body[max(0, len(fault.content) - sent) :]
            if 0 <= fault.keep_bytes < sent + len(body):
                await send(message | {"body": body[: max(0, fault.keep_bytes - sent)], "more_body": True})
                raise ConnectionAbortedError("the connection breaks off, as it was asked to")
            sent += len(body)
            message = message | {"body": body}
        await send(message)

    return spoil
