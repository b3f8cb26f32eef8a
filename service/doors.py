"""Which of Gradio's routes are open: those that the page and gradio_client need, and no other.

The rest fetches from other hosts, keeps what a visitor sees, tells what others ask, or changes the page.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from .problems import SENTENCES, Problem

API = "/gradio_api/"
OPEN = (
    *("info", "openapi.json", "app_id", "startup-events", "theme.css", "heartbeat/", "login_check", "user"),
    *("queue/", "call/", "run/", "api/", "cancel", "reset", "upload", "file="),
)
SHUT = (f"{API}file=http", "/monitoring", "/login", "/logout", "/svelte", "/pwa_icon")


class ShutDoors:
    """ASGI middleware: 404 for every route of Gradio that is not open."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope["path"].lower()):
            await Problem(404, "Not Found", SENTENCES[404]).response()(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _is_open(path: str) -> bool:
    return not path.startswith(SHUT) and (not path.startswith(API) or path.removeprefix(API).startswith(OPEN))
