"""The page with a single slice, in a real browser; and every state of it on a desktop, on a phone and in the dark."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from model import CLASSES, DISPLAY_NAMES, overlay, report, scans
from page import examples, texts
from tests.browser import VIEWS, WAIT, answer, barriers, needs_chromium, photograph, png, shift, shown_picture, upload
from tests.nifti_files import nifti

EXAMPLES = [path for path in examples.FILES if path.suffix == ".png"]
VOLUME = "meningioma_volume_t1c_nifti.nii.gz"
BATCH = ("meningioma_axial_t1c.png", "no_tumor_axial_t1.png", "not_a_brain_chest.png", "pituitary_coronal_t1c.png")
GOOD_SHIFT = 0.1  # cumulative layout shift that counts as good: https://web.dev/articles/cls

pytestmark = needs_chromium


@pytest.fixture
def head_file(tmp_path):
    """An example as a 16-bit PNG, cut to be taller than wide, under a name without an extension."""
    (pixels,) = scans.read(EXAMPLES[0]).slices
    path = tmp_path / "IM0001"
    path.write_bytes(png(pixels[:, 30:-30].astype(np.uint16) * 16))
    return path


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    return path


@pytest.mark.parametrize("view", VIEWS)
def test_every_state_fits_the_screen_holds_still_and_keeps_nobody_out(visit, app_server, text_file, tmp_path, view):
    page = visit(app_server, view)

    def look(state):
        photograph(page, f"{view}-{state}")
        assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"], state
        assert not barriers(page), state

    expect(page.get_by_text(texts.NOTICE)).to_be_in_viewport(ratio=1)
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

    upload(page, text_file)
    expect(page.locator("#problem").get_by_role("alert")).to_contain_text("notes.png")
    look("bad-file")

    upload(page, examples.FOLDER / "not_a_brain_chest.png")
    answer(page, "not_a_brain_chest.png")
    look("refused")

    upload(page, examples.FOLDER / VOLUME)
    answer(page, VOLUME)
    expect(page.locator("#details .verdict")).to_be_visible()
    look("volume")

    few = np.stack([scans.read(path).slices[0] for path in EXAMPLES[:4]])
    (tmp_path / "few.nii").write_bytes(nifti(few.transpose(2, 1, 0)))
    upload(page, tmp_path / "few.nii")
    expect(answer(page, "few.nii")).to_have_class(re.compile("doubtful"))
    look("doubtful")

    upload(page, *(examples.FOLDER / name for name in BATCH), text_file)
    expect(page.locator("#batch tbody tr")).to_have_count(5, timeout=WAIT)
    look("batch")

    page.get_by_role("tab", name="About the model").click()
    expect(page.locator("#about h2").first).to_be_visible()
    look("about")


def press_until(page, key, locator):
    """Press `key` until the focus is on `locator`; nobody needs it more often than there are things to reach."""
    for _ in range(60):
        if locator.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    pytest.fail(f"the keyboard does not reach {locator}")


def opacity(page):
    return float(page.locator(".layer img:visible").evaluate("layer => getComputedStyle(layer).opacity"))


def test_the_keyboard_alone_opens_an_example_and_shows_each_tumor_s_evidence(visit, app_server, classifier):
    (pixels,) = scans.read(EXAMPLES[0]).slices
    (prediction,) = classifier.predict([pixels])
    page = visit(app_server)
    press_until(page, "Tab", page.locator("#examples .grid-container button").first)
    page.keyboard.press("Enter")
    card = answer(page, EXAMPLES[0].name)
    expect(card.locator("h2")).to_have_text(prediction.sentence)
    expect(card).to_contain_text(re.compile(r"\d (ms|s) · weights " + re.escape(classifier.version)))
    expect(page.locator(".weights")).to_contain_text(classifier.config["name"])
    for row in report.certainty(prediction, classifier.config):
        for words in row:
            expect(page.locator(".classification dl")).to_contain_text(words)
    for name in DISPLAY_NAMES.values():
        expect(page.locator(".bars")).to_contain_text(name)
    assert page.locator("#result h3").all_inner_texts() == [texts.BRAIN, texts.CLASSIFICATION, texts.WHERE]
    page.get_by_text("What the numbers mean").click()
    expect(page.get_by_text("Sensitivity: share of tumors detected.")).to_be_visible()

    asked = []
    page.on("request", lambda request: request.url.startswith("data:") or asked.append(request.url))
    press_until(page, "Tab", page.get_by_role("radio", name="as answered"))
    for tumor in ("glioma", "meningioma", "pituitary"):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name=DISPLAY_NAMES[tumor])).to_be_checked()
        expect(page.locator(".layer:visible")).to_have_text(f"Evidence of {DISPLAY_NAMES[tumor]}")
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


def test_an_upload_of_16_bit_shows_slice_and_evidence_upright_and_in_place(visit, app_server, classifier, head_file):
    (pixels,) = scans.read(head_file).slices
    (prediction,) = classifier.predict([pixels])
    assert prediction.sees_tumor
    page = visit(app_server)
    upload(page, head_file)
    expect(answer(page, head_file.name).locator("h2")).to_have_text(prediction.sentence)
    shown, expected = shown_picture(page, "#slice"), overlay.picture(pixels)
    np.testing.assert_array_equal(shown, np.stack([expected] * 3, axis=2) if shown.ndim == 3 else expected)

    def layer(share):
        return np.asarray(overlay.evidence_layer(pixels, share, prediction.window).convert("RGBA"))

    share = prediction.evidence[CLASSES.index(prediction.likeliest_tumor)]
    shown = shown_picture(page, "#evidence .answer")
    np.testing.assert_array_equal(shown, layer(share))
    for wrong in (share[:, ::-1], share[::-1], share.T, np.roll(share, 1, axis=1)):  # the map is off-center: all show
        assert (layer(wrong) != shown).any(axis=2)[shown[:, :, 3] > 0].mean() > 0.9  # of what is seen of the evidence
    for picture in page.locator("#evidence img:visible").all():  # the layer covers the slice, pixel by pixel
        assert picture.bounding_box() == page.locator("#evidence img").first.bounding_box()
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(expected.shape[::-1])
        assert picture.evaluate("image => getComputedStyle(image).transform") == "none"


def test_of_uploads_and_of_clicks_in_a_row_the_last_one_has_the_last_word(visit, app_server, head_file):
    def settled_answer(file):
        answer(page, file.name)
        page.wait_for_timeout(1000)  # an answer that is not wanted any more would come now
        answer(page, file.name)
        np.testing.assert_array_equal(shown_picture(page, "#slice"), overlay.picture(scans.read(file).slices[0]))

    page = visit(app_server)
    upload(page, examples.FOLDER / VOLUME)
    page.locator("#verdict .verdict", has_text=VOLUME).wait_for()  # it is read, and perhaps not answered yet
    upload(page, head_file)
    settled_answer(head_file)
    for k in (0, 1, 2):
        page.locator("#examples button").nth(k).click()
    settled_answer(EXAMPLES[2])


def test_a_file_that_is_no_image_loses_nothing_and_a_refused_one_gets_no_probabilities(
    visit, app_server, text_file, tmp_path
):
    (tmp_path / "blank.png").write_bytes(png(np.full((200, 300), 90, np.uint8)))
    page = visit(app_server)
    page.locator("#examples button").first.click()
    before = answer(page, EXAMPLES[0].name).inner_text()
    upload(page, text_file)
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("notes.png")
    expect(problem).to_contain_text("no image that can be read here. Export the slice as")
    assert answer(page, EXAMPLES[0].name).inner_text() == before

    upload(page, tmp_path / "blank.png")
    card = answer(page, "blank.png")
    expect(problem).to_have_count(0)
    expect(card).to_have_class(re.compile("refused"))
    expect(card.locator("h2")).to_contain_text("blank")
    expect(page.locator(".brain .refused")).to_contain_text("Choose a slice that shows the brain.")
    for absent in (".bars", "#evidence", "#result dl"):
        expect(page.locator(absent)).to_have_count(0)
    assert "%" not in page.locator("#verdict").inner_text().replace(page.locator(".numbers").inner_text(), "")
