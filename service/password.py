"""An optional password in front of everything but the health checks (HTTP Basic, any user name), and who may guess."""

import base64
import binascii
import hmac
import os
import sys
import threading
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import Body
from .problems import Problem, whole_seconds
from .rates import RateLimit, client_of

OPEN = ("/healthz", "/readyz")  # for load balancers, which know no password and learn nothing there
SHORTEST = 16  # characters: a word can be guessed, `openssl rand -hex 16` cannot
GUESSES_PER_SECOND = 0.1  # wrong ones of one client: six a minute, so that none is found by trying
GUESSES = 10  # at once: for who mistypes
ASK = {"WWW-Authenticate": 'Basic realm="Brain tumor on MRI", charset="UTF-8"'}


def secret(name: str) -> bytes:
    """The secret that the environment holds as `name`, empty if none. Ends the program if it is too short for one."""
    value = os.environ.get(name, "")
    if value and len(value) < SHORTEST:
        sys.exit(f"{name} has fewer than {SHORTEST} characters. Take one of `openssl rand -hex 16`.")
    return value.encode()


class Guesses:
    """How often each client may be wrong, about whatever secret: while it is locked out, the right one does not help.

    Threads may share it. Secrets are compared in constant time, and never logged.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._wrong = RateLimit(GUESSES_PER_SECOND, GUESSES, clock)
        self._one_by_one = threading.Lock()

    def is_right(self, client: str, given: bytes, secret: bytes) -> bool:
        """Whether `given` is `secret`. It counts as wrong until it has turned out right. Raises: Problem if locked."""
        with self._one_by_one:
            if seconds := self._wrong.wait_seconds(client):
                detail = f"Too many wrong passwords came from your address. Try again in {whole_seconds(seconds)} s."
                raise Problem(429, "Too many wrong passwords", detail, retry_after=seconds)
            is_right = hmac.compare_digest(given, secret)
            if is_right:
                self._wrong.give_back(client)
            return is_right


class AskForPassword:
    """ASGI middleware: 401 without the password, 429 to who is locked out by `guesses`.

    Args: `bearer`, another secret that opens as well, as `Authorization: Bearer`: the routes that it is for ask for
        that header themselves, and one request can carry only one.
    """

    def __init__(self, app: ASGIApp, password: bytes, bearer: bytes, guesses: Guesses):
        self.app, self.password, self.bearer, self.guesses = app, password, bearer, guesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        problem = Problem(401, "Password needed", "Give the password; any user name will do.", headers=ASK)
        try:
            is_right = self._is_right(client_of(scope), Headers(scope=scope).get("authorization", ""))
        except Problem as locked:
            is_right, problem = False, locked
        if is_right:
            await self.app(scope, receive, send)
            return
        await Body(receive).discard()
        await problem.response()(scope, receive, send)

    def _is_right(self, client: str, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.bearer:
            return self.guesses.is_right(client, value.strip().encode(), self.bearer)
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(value, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return self.guesses.is_right(client, password, self.password)
