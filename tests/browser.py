"""A real browser for the tests of the page. Screenshots go to the git-ignored folder `screenshots/`: look at them."""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.server import REPOSITORY

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SCREENSHOTS = REPOSITORY / "screenshots"
PHONE_WIDTH = 390
VIEWS = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": PHONE_WIDTH, "height": 844}, "is_mobile": True, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
}
WAIT = 180_000  # milliseconds, on a machine that is busy with other things: nothing here is about speed

expect.set_options(timeout=WAIT)
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    only_this_machine = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    flags = ["--no-sandbox", "--disable-dev-shm-usage", only_this_machine]
    return {**browser_type_launch_args, "executable_path": str(CHROMIUM), "args": flags}


@pytest.fixture
def visit(browser):
    """visit(url, view) -> page; after the test, nothing must have gone wrong in it nor been asked of another host."""
    troubles, contexts = [], []

    def open_page(url, view="desktop"):
        context = browser.new_context(**VIEWS[view])
        contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("request", lambda request: at_home(request.url) or troubles.append(f"external request {request.url}"))
        page.on("response", lambda answer: answer.status < 400 or troubles.append(f"{answer.status} {answer.url}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: message.type != "error" or troubles.append(message.text))
        page.goto(url)
        page.locator("header h1").wait_for()
        return page

    def at_home(address):
        return address.startswith(("http://127.0.0.1:", "data:", "blob:"))

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(page, *paths):
    page.locator("#upload input[type=file]").set_input_files(paths)


def answer(page, name):
    """The card with the answer for the file called `name`, once it is there."""
    card = page.locator("#verdict .verdict:not(.reading)", has_text=name)
    card.wait_for(timeout=WAIT)
    return card


def shown_picture(page, where):
    """The picture on the page as the server sent it, a layer as RGBA: within the page, never as a file."""
    image = page.locator(f"{where} img")
    image.wait_for()
    kind, content = image.get_attribute("src").split(";base64,")
    assert kind.startswith("data:image/")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    return np.asarray(picture.convert("RGBA") if picture.mode == "P" else picture)


def barriers(page):
    """What on the page as it is now would keep somebody out (axe-core: serious or critical), a line each."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def shift(page):
    """How far the page's parts have jumped so far, but for those that a click or a key has moved (layout shift)."""
    return page.evaluate(
        """() => new Promise((done) => new PerformanceObserver((list) => done(
            list.getEntries().filter((entry) => !entry.hadRecentInput).reduce((sum, entry) => sum + entry.value, 0)
        )).observe({type: "layout-shift", buffered: true}) ?? setTimeout(() => done(0), 200))"""
    )


def photograph(page, name):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(300)  # transitions
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
