"""What every response tells the browser that it may do with it."""

import os

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = (  # Gradio's page runs inline scripts, and its templates are compiled in the browser
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
FILE = "default-src 'none'; sandbox"  # of files that a visitor may have sent: nothing in them runs
FILES = "/gradio_api/file"
SPACES = "https://huggingface.co"  # shows a Space in a frame
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SendHeaders:
    """ASGI middleware: the headers on every response."""

    def __init__(self, app: ASGIApp):
        self.app = app
        ancestors = f"'self' {SPACES}" if "SPACE_ID" in os.environ else "'self'"
        self.page, self.file = (f"{policy}; frame-ancestors {ancestors}" for policy in (PAGE, FILE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                headers["Content-Security-Policy"] = self.file if scope["path"].startswith(FILES) else self.page
            await send(message)

        await self.app(scope, receive, send_with_headers)
