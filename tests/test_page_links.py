"""What leads to an answer besides the drop zone: addresses and the clipboard."""

import base64

from playwright.sync_api import expect

from page import examples, texts
from tests.browser import WAIT, answer, needs_chromium

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
