"""An optional password in front of everything but the health checks: HTTP Basic, of any user name."""

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import Body
from .problems import Problem
from .rates import RateLimit, client_of

OPEN = ("/healthz", "/readyz")  # for load balancers, which know no password and learn nothing there
GUESSES_PER_SECOND = 0.1  # wrong ones of one client: six a minute, so that none is found by trying
GUESSES = 10  # at once: for who mistypes
ASK = {"WWW-Authenticate": 'Basic realm="Brain tumor on MRI", charset="UTF-8"'}


class AskForPassword:
    """ASGI middleware: 401 without the password, 429 after too many wrong ones.

    Args: `bearer`, another secret that opens as well, as `Authorization: Bearer`: the routes that it is for ask for
        that header themselves, and one request can carry only one.
    """

    def __init__(self, app: ASGIApp, password: str, bearer: str = ""):
        self.app = app
        self.password, self.bearer = password.encode(), bearer.encode()
        self.guesses = RateLimit(GUESSES_PER_SECOND, GUESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("authorization", "")
        if self._is_right(given):
            await self.app(scope, receive, send)
            return
        problem = Problem(401, "Password needed", "Give the password; any user name will do.", headers=ASK)
        if given:
            seconds = self.guesses.wait_seconds(client_of(scope))
            if seconds:
                problem = Problem(429, "Too many wrong passwords", "Wait, then try again.", retry_after=seconds)
        await Body(receive).discard()
        await problem.response()(scope, receive, send)

    def _is_right(self, given: str) -> bool:
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "bearer":
            return bool(self.bearer) and hmac.compare_digest(value.strip().encode(), self.bearer)
        if scheme.lower() != "basic":
            return False
        try:
            _, _, password = base64.b64decode(value, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(password, self.password)
