"""What leads to an answer besides the drop zone: addresses, the clipboard; and what leads away from it: a report."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from page import examples, texts
from tests.browser import WAIT, answer, needs_chromium, upload

PASTE = """([name, content]) => {
    const file = new File([Uint8Array.from(atob(content), letter => letter.charCodeAt())], name, {type: "image/png"});
    const pasted = new DataTransfer();
    pasted.items.add(file);
    document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: pasted, bubbles: true, cancelable: true}));
}"""

pytestmark = needs_chromium


def test_an_address_opens_an_example_and_a_picture_pasted_on_the_other_tab_is_answered_on_the_first(visit, app_server):
    page = visit(f"{app_server}?example={examples.NAMES[2]}")
    answer(page, examples.FILES[2].name)
    page.get_by_role("tab", name="About the model").click()
    expect(page).to_have_url(f"{app_server}?tab=about")
    content = (examples.FOLDER / "no_tumor_axial_t1.png").read_bytes()
    page.evaluate(PASTE, ["pasted.png", base64.b64encode(content).decode()])
    expect(answer(page, "pasted.png")).to_be_visible()
    expect(page).to_have_url(app_server)  # no address leads to what somebody has sent
    page.locator("#examples button").nth(3).click()
    expect(page).to_have_url(f"{app_server}?example={examples.NAMES[3]}")


def test_an_address_opens_the_tab_about_the_model(visit, app_server, classifier):
    page = visit(f"{app_server}?tab=about")
    expect(page.locator("#about")).to_contain_text(classifier.config["name"], timeout=WAIT)
    expect(page.locator("#upload")).to_be_hidden()


def test_an_address_of_no_example_says_so_beside_the_examples(visit, app_server):
    page = visit(f"{app_server}?example=<img src=x>")
    expect(page.locator("#problem").get_by_role("alert")).to_have_text(f"<img src=x> {texts.NO_SUCH_EXAMPLE}")


def test_a_report_is_one_page_of_the_case_that_is_opened_and_does_not_name_it(visit, app_server, tmp_path):
    secret = tmp_path / "Doe_Jane_1970.png"
    secret.write_bytes(examples.FILES[0].read_bytes())
    page = visit(app_server)
    upload(page, secret)
    answer(page, secret.name)
    content = {}
    for kind in ("PDF", "PNG"):
        with page.expect_download(timeout=WAIT) as download:
            page.locator("#report").get_by_role("button", name=kind).click()
        assert download.value.suggested_filename == f"report.{kind.lower()}"
        content[kind] = Path(download.value.path()).read_bytes()
    assert content["PDF"].startswith(b"%PDF") and b"Jane" not in content["PDF"]
    drawn = np.asarray(Image.open(io.BytesIO(content["PNG"])).convert("L"))
    assert drawn.shape[0] / drawn.shape[1] > 1.4 and drawn.std() > 10  # A4, and not empty
    expect(page.locator("#report [role=status]")).to_have_text("")
