"""The page with one picture, in a real browser."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from model import CLASSES, DISPLAY_NAMES, overlay, report, scans
from page import examples, texts
from tests.browser import WAIT, answer, barriers, needs_chromium, photograph, png, shown_picture, upload
from tests.server import running_app, write_random_weights

EXAMPLES = [path for path in examples.FILES if path.suffix == ".png"]

pytestmark = needs_chromium


@pytest.fixture
def head_file(tmp_path):
    """An example as a 16-bit PNG, cut to be taller than wide, under a name without an extension."""
    (pixels,) = scans.read(EXAMPLES[0]).slices
    path = tmp_path / "IM0001"
    path.write_bytes(png(pixels[:, 30:-30].astype(np.uint16) * 16))
    return path


def test_an_example_is_answered_by_one_click(visit, app_server, classifier):
    page = visit(app_server)
    page.locator("#examples button").first.click()
    card = answer(page, EXAMPLES[0].name)
    (prediction,) = classifier.predict(scans.read(EXAMPLES[0]).slices)
    expect(card.locator("h2")).to_have_text(prediction.sentence)
    expect(card).to_contain_text(re.compile(r"\d (ms|s) · weights"))
    expect(card).to_contain_text(classifier.version)
    for row in report.certainty(prediction, classifier.config):
        for words in row:
            expect(page.locator(".classification dl")).to_contain_text(words)
    for name in DISPLAY_NAMES.values():
        expect(page.locator(".bars")).to_contain_text(name)
    assert page.locator("#result h3").all_inner_texts() == [texts.BRAIN, texts.CLASSIFICATION, texts.WHERE]
    expect(page.locator(".brain .status")).to_contain_text("Accepted")
    page.get_by_text("What the numbers mean").click()
    expect(page.get_by_text("Sensitivity: tumors seen.")).to_be_visible()


def test_an_upload_of_16_bit_shows_slice_and_evidence_upright_and_in_place(visit, app_server, classifier, head_file):
    (pixels,) = scans.read(head_file).slices
    (prediction,) = classifier.predict([pixels])
    page = visit(app_server)
    upload(page, head_file)
    card = answer(page, head_file.name)
    assert prediction.status != "refused"
    expect(card.locator("h2")).to_have_text(prediction.sentence)
    shown = shown_picture(page, "#slice")
    expected = overlay.picture(pixels)
    np.testing.assert_array_equal(shown, np.stack([expected] * 3, axis=2) if shown.ndim == 3 else expected)
    assert prediction.sees_tumor
    share = prediction.evidence[CLASSES.index(prediction.likeliest_tumor)]
    shown = shown_picture(page, "#evidence .answer")
    np.testing.assert_array_equal(shown, layer(pixels, share, prediction.window))
    for wrong in (share[:, ::-1], share[::-1], share.T, np.roll(share, 1, axis=1)):  # the map is off-center: all show
        differs = (layer(pixels, wrong, prediction.window) != shown).any(axis=2)
        assert differs[shown[:, :, 3] > 0].mean() > 0.9  # of what is seen of the evidence
    for picture in page.locator("#evidence img:visible").all():  # the layer covers the slice, pixel by pixel
        assert picture.bounding_box() == page.locator("#evidence img").first.bounding_box()
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(expected.shape[::-1])
        assert picture.evaluate("image => getComputedStyle(image).transform") == "none"


def layer(pixels, share, window):
    return np.asarray(overlay.evidence_layer(pixels, share, window).convert("RGBA"))


GATED = """
import app
from pathlib import Path
from time import sleep

def load(load=app.served.load):
    while not Path("{gate}").exists():
        sleep(0.05)
    load()

app.served.load = load
app.launch()
"""


def test_of_uploads_and_of_clicks_in_a_row_the_last_one_has_the_last_word(visit, weights, head_file, tmp_path):
    def settled_answer(file):
        answer(page, file.name)
        page.wait_for_timeout(1000)  # an answer that is not wanted any more would come now
        answer(page, file.name)
        np.testing.assert_array_equal(shown_picture(page, "#slice"), overlay.picture(scans.read(file).slices[0]))

    gate = tmp_path / "gate"
    with running_app(tmp_path / "log", weights, "-c", GATED.format(gate=gate)) as url:
        page = visit(url)
        upload(page, EXAMPLES[1])
        page.locator("#verdict .reading").wait_for()  # it waits for the model to load
        upload(page, head_file)
        gate.touch()
        settled_answer(head_file)
        for k in (0, 1, 2):
            page.locator("#examples button").nth(k).click()
        settled_answer(EXAMPLES[2])
        page.close()  # before the server goes


def test_a_file_that_is_no_image_is_explained_and_loses_nothing(visit, app_server, head_file, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    page = visit(app_server)
    page.locator("#examples button").first.click()
    before = answer(page, EXAMPLES[0].name).inner_text()
    upload(page, tmp_path / "notes.png")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("notes.png")
    expect(problem).to_contain_text("no image that can be read here. Export the slice as")
    assert answer(page, EXAMPLES[0].name).inner_text() == before

    upload(page, head_file)
    answer(page, head_file.name)
    expect(problem).to_have_count(0)


def test_a_refused_image_gets_a_reason_and_no_probabilities(visit, app_server, tmp_path):
    (tmp_path / "blank.png").write_bytes(png(np.full((200, 300), 90, np.uint8)))
    page = visit(app_server)
    page.locator("#examples button").first.click()
    answer(page, EXAMPLES[0].name)
    upload(page, tmp_path / "blank.png")
    card = answer(page, "blank.png")
    expect(card).to_have_class(re.compile("refused"))
    expect(card.locator("h2")).to_contain_text("blank")
    expect(page.locator(".brain .refused")).to_contain_text("Choose a slice that shows the brain.")
    expect(page.locator(".bars")).to_have_count(0)
    expect(page.locator("#evidence")).to_have_count(0)
    expect(page.locator("#result dl")).to_have_count(0)
    assert "%" not in page.locator("#verdict").inner_text().replace(page.locator(".numbers").inner_text(), "")


@pytest.fixture(scope="module")
def undecided_server(tmp_path_factory):
    """A page whose weights are so hot that all classes are about as likely, and see a tumor from 1 % on."""
    folder = tmp_path_factory.mktemp("undecided")
    lenient = {"threshold": 0.01, "sensitivity": 0.99, "specificity": 0.5}
    weights = write_random_weights(folder, temperature=1e3, operating_point=lenient)
    with running_app(folder / "log", weights) as url:
        yield url


def test_a_doubtful_answer_says_so_and_a_tumor_above_the_operating_point_is_never_denied(
    visit, undecided_server, head_file
):
    page = visit(undecided_server)
    upload(page, head_file)
    card = answer(page, head_file.name)
    expect(card).to_have_class(re.compile("doubtful"))
    expect(page.locator(".classification .doubtful")).to_contain_text("No class reaches 50 %")
    expect(page.locator(".classification dl")).to_contain_text("where 1 % is enough")
    expect(page.locator("#result")).not_to_contain_text("no evidence of a tumor")
    expect(page.locator("#evidence .answer img")).to_be_visible()
    assert not barriers(page)
    photograph(page, "desktop-doubtful")
    page.close()  # before the server goes


def test_which_weights_answer_stands_on_the_page(app_server, visit, classifier):
    line = visit(app_server).locator(".weights")
    expect(line).to_contain_text(classifier.config["name"], timeout=WAIT)
    expect(line).to_contain_text(classifier.version.split()[-1])


def test_without_the_weights_asked_for_the_page_says_which_answer_instead(visit, head_file, tmp_path):
    with running_app(tmp_path / "log", tmp_path / "nowhere") as url:
        page = visit(url)
        expect(page.locator(".fallback")).to_contain_text(
            "The weights in nowhere cannot be used: there is no such folder.", timeout=WAIT
        )
        expect(page.locator(".fallback")).to_contain_text("The weights that come with the program answer instead.")
        upload(page, head_file)
        expect(answer(page, head_file.name)).to_have_class(re.compile("accepted|doubtful"))
        photograph(page, "desktop-other-weights")
        page.close()
