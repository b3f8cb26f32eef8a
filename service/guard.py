"""What stands before every route: a password, the allowed routes of Gradio, checks of what they are sent, and headers.

Of Gradio's routes the page and gradio_client need few. The rest fetches from other hosts, keeps what a visitor sees,
reveals what others ask, or changes the page.
"""

import base64
import hmac
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Body, RateLimit, client_of
from .problems import SENTENCES, Problem, whole_seconds

API = "/gradio_api/"
ALLOWED = (
    *("info", "openapi.json", "app_id", "startup-events", "theme.css", "heartbeat/", "login_check", "user"),
    *("queue/", "call/", "run/", "api/", "cancel", "reset", "upload", "file="),
)
BLOCKED = (f"{API}file=http", "/monitoring", "/login", "/logout", "/svelte", "/pwa_icon")
PAGE_POLICY = (  # Gradio's page runs inline scripts, and its templates are compiled in the browser
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
FILE_POLICY = "default-src 'none'; sandbox"  # of files that a visitor may have sent: nothing in them runs
FILES = f"{API}file"
SPACES = "https://huggingface.co"  # shows a Space in a frame
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
UPLOAD = f"{API}upload"
MAX_UPLOAD = 2 * 2**30  # bytes of one upload of the page: the 4,096 slices that it takes, of 512 x 512 in 16 bits
MAX_CALL = 8 * 2**20  # bytes of any other call: 4,096 uploads are named in 2 MB
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
WITHOUT_PASSWORD = ("/healthz", "/readyz")  # for load balancers, which know no password and learn nothing there
SHORTEST = 16  # characters: a word can be guessed, `openssl rand -hex 16` cannot
GUESSES_PER_SECOND = 0.1  # wrong ones of one client: six a minute, so that none is found by trying
GUESSES = 10  # at once: for typing errors
ASK = {"WWW-Authenticate": 'Basic realm="Brain tumor on MRI", charset="UTF-8"'}


def check_route(scope: Scope) -> None:
    """A check for `limits.Refuse`: 404 for every route of Gradio that is not allowed."""
    path = scope["path"].lower()
    if path.startswith(BLOCKED) or (path.startswith(API) and not path.removeprefix(API).startswith(ALLOWED)):
        raise Problem(404, SENTENCES[404])


class SendHeaders:
    """ASGI middleware: the headers on every response."""

    def __init__(self, app: ASGIApp):
        self.app = app
        ancestors = f"'self' {SPACES}" if "SPACE_ID" in os.environ else "'self'"
        self.page, self.file = (f"{policy}; frame-ancestors {ancestors}" for policy in (PAGE_POLICY, FILE_POLICY))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the response with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                headers["Content-Security-Policy"] = self.file if scope["path"].startswith(FILES) else self.page
            await send(message)

        await self.app(scope, receive, send_with_headers)


class CheckCalls:
    """ASGI middleware: 413 for what is too large, 422 for a call in which a file's path is an address."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what Gradio may be sent."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(API):
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/") == UPLOAD
        body = Body(receive, Headers(scope=scope).get("content-length", ""), MAX_UPLOAD if is_upload else MAX_CALL)
        try:
            first = [await (body() if is_upload else _checked_call(body))]
        except Problem as problem:
            await body.discard()
            await problem.response()(scope, receive, send)
            return

        async def receive_again() -> Message:
            return first.pop() if first else await body()

        await self.app(scope, receive_again, send)


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
        detail = "What was sent is nested too deeply. Send what the page sends."
        raise Problem(422, detail, "Not a call") from None
    if is_named_by_address:
        detail = "A file is named by its address. This server fetches nothing: upload the file itself."
        raise Problem(422, detail, "Not an upload")
    return {"type": "http.request", "body": bytes(content), "more_body": False}


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


def secret(name: str) -> bytes:
    """The environment's secret `name`, empty if there is none. Ends the program if it is too short for one."""
    value = os.environ.get(name, "")
    if value and len(value) < SHORTEST:
        sys.exit(f"{name} has fewer than {SHORTEST} characters. Take one of `openssl rand -hex 16`.")
    return value.encode()


class Guesses:
    """How often each client may be wrong, about any secret: while it is locked out, the right one does not help.

    Threads may share it. Secrets are compared in constant time, and never logged.
    """

    def __init__(self, clock: Callable[[], float] = monotonic):
        self._wrong = RateLimit(GUESSES_PER_SECOND, GUESSES, clock)
        self._lock = threading.Lock()

    def is_right(self, client: str, given: bytes, secret: bytes) -> bool:
        """Whether `given` is `secret`. A client that is locked out raises Problem."""
        with self._lock:
            if seconds := self._wrong.wait_seconds(client):
                detail = f"Too many wrong passwords came from your address. Try again in {whole_seconds(seconds)} s."
                raise Problem(429, detail, "Too many wrong passwords", retry_after=seconds)
            is_right = hmac.compare_digest(given, secret)
            if is_right:
                self._wrong.give_back(client)
            return is_right


def password_check(password: bytes, bearer: bytes, guesses: Guesses) -> Callable[[Scope], None]:
    """A check for `limits.Refuse`: 401 without the password, 429 for a client that is locked out by `guesses`.

    Args: `bearer`, another secret that opens as well, as `Authorization: Bearer`: the routes that it is for ask for
        that header themselves, and one request can carry only one.
    """

    def check(scope: Scope) -> None:
        if scope["path"] in WITHOUT_PASSWORD:
            return
        scheme, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
        given, wanted = None, password
        if scheme.lower() == "bearer" and bearer:
            given, wanted = value.strip().encode(), bearer
        elif scheme.lower() == "basic":
            given = _password_in(value)
        if given is None or not guesses.is_right(client_of(scope), given, wanted):
            raise Problem(401, "Give the password; any user name will do.", "Password needed", headers=ASK)

    return check


def _password_in(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except ValueError:
        return None
