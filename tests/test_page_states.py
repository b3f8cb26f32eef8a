"""Every state of the page on a desktop, on a phone and in the dark: photographed, and open to everybody."""

import pytest
from playwright.sync_api import expect

from page import examples
from tests.browser import VIEWS, WAIT, answer, barriers, needs_chromium, photograph, shift, upload

BATCH = ("meningioma_axial_t1c.png", "no_tumor_axial_t1.png", "not_a_brain_chest.png", "pituitary_coronal_t1c.png")
GOOD_SHIFT = 0.1  # cumulative layout shift that counts as good: https://web.dev/articles/cls

pytestmark = needs_chromium


@pytest.mark.parametrize("view", VIEWS)
def test_every_state_fits_the_screen_holds_still_and_keeps_nobody_out(visit, app_server, tmp_path, view):
    (tmp_path / "notes.png").write_text("not a picture")
    page = visit(app_server, view)

    def look(state):
        photograph(page, f"{view}-{state}")
        assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"], state
        assert not barriers(page), state

    expect(page.get_by_text("Research demo, not a medical device")).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("The answer appears here")).to_be_visible()
    expect(page.locator("#examples img")).to_have_count(len(examples.FILES))
    expect(page.locator(".weights")).to_be_visible(timeout=WAIT)
    look("empty")
    assert page.evaluate("document.body.classList.contains('dark')") == (view == "dark")

    page.locator("#examples button").first.click()
    answer(page, examples.FILES[0].name)
    expect(page.locator("#verdict h2")).to_be_in_viewport()  # on a phone the page scrolls to the answer
    look("result")
    assert shift(page) < GOOD_SHIFT

    upload(page, tmp_path / "notes.png")
    expect(page.locator("#problem").get_by_role("alert")).to_contain_text("notes.png")
    look("bad-file")

    upload(page, examples.FOLDER / "not_a_brain_chest.png")
    answer(page, "not_a_brain_chest.png")
    look("refused")

    upload(page, examples.FOLDER / "meningioma_volume_t1c_nifti.nii.gz")
    answer(page, "meningioma_volume_t1c_nifti.nii.gz")
    expect(page.locator("#details .verdict")).to_be_visible()
    look("volume")

    upload(page, *(examples.FOLDER / name for name in BATCH), tmp_path / "notes.png")
    expect(page.locator("#batch tbody tr")).to_have_count(5, timeout=WAIT)
    look("batch")

    page.get_by_role("tab", name="About the model").click()
    expect(page.locator("#about h2").first).to_be_visible()
    look("about")
