"""What Gradio's routes are sent: bounded bodies, and no file named by an address, which Gradio would fetch."""

import json
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .bodies import Body
from .doors import API
from .problems import Problem

UPLOAD = f"{API}upload"
MAX_UPLOAD = 2 * 2**30  # bytes of one upload of the page: the 4,096 slices that it takes, of 512 x 512 in 16 bits
MAX_CALL = 8 * 2**20  # bytes of any other call: 4,096 uploads are named in 2 MB
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class CheckCalls:
    """ASGI middleware: 413 for what is too large, 422 for a call in which a file's path is an address."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(API):
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/") == UPLOAD
        body = Body(receive, Headers(scope=scope).get("content-length", ""), MAX_UPLOAD if is_upload else MAX_CALL)
        try:
            begin = await (body() if is_upload else _checked_call(body))
        except Problem as problem:
            await body.discard()
            await problem.response()(scope, receive, send)
        else:
            await self.app(scope, _again(begin, body), send)


async def _checked_call(body: Body) -> Message:
    """The whole body as one message. Raises: Problem."""
    content, more = bytearray(), True
    while more:
        message = await body()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        is_named_by_address = _names_an_address(json.loads(content))
    except ValueError:  # no JSON: Gradio says so
        is_named_by_address = False
    except RecursionError:
        raise Problem(422, "Not a call", "What was sent is nested too deeply. Send what the page sends.") from None
    if is_named_by_address:
        detail = "A file is named by its address. This server fetches nothing: upload the file itself."
        raise Problem(422, "Not an upload", detail)
    return {"type": "http.request", "body": bytes(content), "more_body": False}


def _again(message: Message, receive: Receive) -> Receive:
    """`receive`, with `message` before all others."""
    before = [message]

    async def receive_again() -> Message:
        return before.pop() if before else await receive()

    return receive_again


def _names_an_address(content: object) -> bool:
    """Whether anywhere in `content`, from JSON, there is a file with a path such as "http://..."."""
    rest = [content]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            path = one.get("path")
            if isinstance(path, str) and ADDRESS.match(path):
                return True
            rest.extend(one.values())
        elif isinstance(one, list):
            rest.extend(one)
    return False
