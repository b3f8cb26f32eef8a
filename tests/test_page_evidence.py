"""Where the evidence lies: each tumor's to choose, as strongly as wanted, by keyboard alone, without the server."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from model import CLASSES, DISPLAY_NAMES, overlay, scans
from page import examples
from tests.browser import answer, needs_chromium, shown_picture, upload

EXAMPLE = examples.FILES[0]

pytestmark = needs_chromium


def opacity(page):
    return float(page.locator(".layer img:visible").evaluate("layer => getComputedStyle(layer).opacity"))


def press_until(page, key, locator):
    """Press `key` until the focus is on `locator`; nobody needs it more often than there are things to reach."""
    for _ in range(60):
        if locator.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    pytest.fail(f"the keyboard does not reach {locator}")


def test_the_keyboard_alone_opens_an_example_and_shows_each_tumor_s_evidence(visit, app_server, classifier):
    (pixels,) = scans.read(EXAMPLE).slices
    (prediction,) = classifier.predict([pixels])
    page = visit(app_server)
    press_until(page, "Tab", page.locator("#examples .grid-container button").first)
    page.keyboard.press("Enter")
    answer(page, EXAMPLE.name)
    asked = []
    page.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))

    press_until(page, "Tab", page.get_by_role("radio", name="as answered"))
    for tumor in ("glioma", "meningioma", "pituitary"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name=DISPLAY_NAMES[tumor])).to_be_checked()
        layer = page.locator(".layer:visible")
        expect(layer).to_have_text(f"Evidence of {DISPLAY_NAMES[tumor]}")
        share = prediction.evidence[CLASSES.index(tumor)]
        expected = overlay.evidence_layer(pixels, share, prediction.window).convert("RGBA")
        np.testing.assert_array_equal(shown_picture(page, f".layer.{tumor}"), np.asarray(expected))

    assert opacity(page) == pytest.approx(overlay.MOST_COVER)
    press_until(page, "Tab", page.get_by_role("slider", name="Opacity"))
    page.keyboard.press("End")
    assert opacity(page) == 1
    page.keyboard.press("Home")
    assert opacity(page) == 0
    press_until(page, "Tab", page.locator("#report button").first)
    press_until(page, "Shift+Tab", page.locator("#evidence .enlarge"))
    page.keyboard.press("Enter")
    page.wait_for_function("document.fullscreenElement?.id === 'evidence'")
    page.keyboard.press("Escape")
    assert not asked


def test_what_was_chosen_stays_from_slice_to_slice_and_not_for_the_next_scan(visit, app_server):
    page = visit(app_server)
    upload(page, examples.FOLDER / "meningioma_volume_t1c_nifti.nii.gz")
    answer(page, "meningioma_volume")
    page.locator(".choices label", has_text="pituitary").click()
    page.get_by_role("slider", name="Opacity").press("End")
    first = int(re.search(r"Slice (\d+) of 24", page.locator("#slice img").get_attribute("alt"))[1])
    page.get_by_role("slider", name="Slice").press("ArrowLeft")
    expect(page.locator("#slice img")).to_have_attribute("alt", f"Slice {first - 1} of 24")
    alt = re.compile(f"Evidence of pituitary tumor on slice {first - 1} of 24, strongest ")
    expect(page.locator(".layer:visible img")).to_have_attribute("alt", alt)
    assert opacity(page) == 1 and page.locator(".opacity output").inner_text() == "100 %"
    upload(page, EXAMPLE)
    answer(page, EXAMPLE.name)
    expect(page.get_by_role("radio", name="as answered")).to_be_checked()
    assert opacity(page) == pytest.approx(overlay.MOST_COVER)
