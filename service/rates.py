"""How often one client may ask: a burst at once, then a steady rate, and a number of seconds to whoever is too fast."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import Body
from .problems import Problem, whole_seconds

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
