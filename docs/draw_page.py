"""The picture in README.md: the page as it is, with an example that was drawn by a program.

python -m docs.draw_page     (make picture) -> docs/page.png; needs Chromium, named by CHROMIUM if it lies elsewhere
"""

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from model.artifact import EMBEDDED
from page import examples
from tests.browser import CHROMIUM, VIEWS, answer
from tests.server import running_app

EXAMPLE = "glioma_axial_t1c"
PICTURE = Path(__file__).with_name("page.png")


def draw(picture: Path) -> None:
    """Photograph the page with `EXAMPLE` answered by the embedded weights."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder) / "log", EMBEDDED) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(**VIEWS["desktop"])
        page.goto(f"{url}?example={EXAMPLE}")
        answer(page, examples.FILES[examples.NAMES.index(EXAMPLE)].name)
        page.screenshot(path=picture, full_page=True)
        browser.close()


if __name__ == "__main__":
    draw(PICTURE)
