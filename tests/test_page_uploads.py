"""Upload routes besides choosing a file: dropping, pasting, addresses; and files that are too large."""

import base64

from playwright.sync_api import expect

from model import scans
from page import examples, texts
from tests.browser import WAIT, answer, needs_chromium, photograph, upload

EXAMPLE = examples.FOLDER / "no_tumor_axial_t1.png"
SEND = """([event, name, size, content]) => {
    const file = new File([Uint8Array.from(atob(content), letter => letter.charCodeAt())], name, {type: "image/png"});
    if (size) Object.defineProperty(file, "size", {value: size});
    const sent = new DataTransfer(), how = {bubbles: true, cancelable: true};
    sent.items.add(file);
    Object.defineProperty(sent, "files", {value: [file]});
    if (event === "paste") document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: sent, ...how}));
    else document.querySelector("#upload button").dispatchEvent(new DragEvent("drop", {dataTransfer: sent, ...how}));
}"""

pytestmark = needs_chromium


def send(page, event, name, size=0):
    page.wait_for_selector("#upload button", state="attached")
    page.evaluate(SEND, [event, name, size, base64.b64encode(EXAMPLE.read_bytes()).decode()])


def test_what_is_too_large_is_named_beside_the_drop_zone_and_the_rest_is_sent(visit, app_server, tmp_path):
    with (tmp_path / "huge.nii").open("wb") as file:
        file.truncate(scans.MAX_BYTES + 1)
    page = visit(app_server)
    problem = page.locator("#problem").get_by_role("alert")
    upload(page, tmp_path / "huge.nii")
    expect(problem).to_contain_text("huge.nii")
    expect(problem).to_contain_text(texts.TOO_LARGE)
    photograph(page, "desktop-too-large")
    upload(page, tmp_path / "huge.nii", EXAMPLE)
    answer(page, EXAMPLE.name)
    send(page, "drop", "large.png", scans.MAX_BYTES + 1)
    expect(problem).to_contain_text("large.png")
    send(page, "drop", "dropped.png")
    answer(page, "dropped.png")


def test_an_address_opens_an_example_and_what_is_pasted_on_the_other_tab_is_answered_on_the_first(visit, app_server):
    page = visit(f"{app_server}?example={examples.NAMES[2]}")
    answer(page, examples.FILES[2].name)
    page.get_by_role("tab", name="About the model").click()
    expect(page).to_have_url(f"{app_server}?tab=about")
    send(page, "paste", "pasted.png")
    expect(answer(page, "pasted.png")).to_be_visible()
    expect(page).to_have_url(app_server)  # no address leads to what somebody has sent
    page.locator("#examples button").nth(3).click()
    expect(page).to_have_url(f"{app_server}?example={examples.NAMES[3]}")


def test_an_address_opens_the_tab_about_the_model_and_one_of_no_example_says_so(visit, app_server, classifier):
    page = visit(f"{app_server}?tab=about")
    expect(page.locator("#about")).to_contain_text(classifier.config["name"], timeout=WAIT)
    expect(page.locator("#upload")).to_be_hidden()
    page.goto(f"{app_server}?example=<img src=x>")
    expect(page.locator("#problem").get_by_role("alert")).to_have_text(f"<img src=x> {texts.NO_SUCH_EXAMPLE}")
