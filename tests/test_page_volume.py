"""The page with a volume, in a real browser: the slice viewer, its planes, and what becomes of a volume."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from model import overlay, scans
from model.study import judge_study
from page import examples, panels
from tests.browser import VIEWS, WAIT, answer, needs_chromium, photograph, shown_picture, upload
from tests.dicom_files import series
from tests.nifti_files import nifti

COUNT = 28  # slices, the first two of them empty

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """int16 (slices, rows, columns): a drawn head whose middle slices show a tumor; no slice is like another."""
    with_tumor, without = (
        Image.open(examples.FOLDER / f"{name}.png").convert("L").crop((25, 0, 295, 320))
        for name in ("meningioma_axial_t1c", "no_tumor_axial_t1")
    )
    volume = np.zeros((COUNT, 96, 81), np.int16)
    for number in range(2, COUNT):
        source = with_tumor if 12 <= number < 18 else without
        height = 66 + number
        width = height * 27 // 32
        volume[number, :height, :width] = np.asarray(source.resize((width, height)), np.int16) * 16
    return volume


@pytest.fixture(scope="module")
def nifti_file(head, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("volume") / "head.nii.gz"
    path.write_bytes(nifti(head.transpose(2, 1, 0), (2, 2, 4), packed=True))
    return path


@pytest.fixture(scope="module")
def scan(nifti_file) -> scans.Scan:
    return scans.read(nifti_file)


@pytest.fixture(scope="module")
def predictions(scan, classifier):
    return classifier.predict(scan.slices)


@pytest.fixture(scope="module")
def study(predictions, classifier):
    return judge_study(predictions, classifier.config)


@pytest.fixture
def opened(visit, app_server, nifti_file):
    """opened(view) -> the page with the volume answered."""

    def open_page(view="desktop"):
        page = visit(app_server, view)
        upload(page, nifti_file)
        answer(page, nifti_file.name)
        return page

    return open_page


def expect_slice(page, index, scan, predictions):
    """Wait until number, card and picture are of the slice `index`."""
    number = f"Slice {index + 1} of {len(scan.slices)}"
    expect(page.locator(".viewer .caption b")).to_have_text(number, timeout=WAIT)
    text = predictions[index].sentence
    text = panels.finding(text) if predictions[index].status == "refused" else text
    expect(page.locator("#details .verdict", has_text=number).locator("h2")).to_have_text(text)
    expect(page.locator("#slice img")).to_have_attribute("alt", number)
    shown = shown_picture(page, "#slice").astype(float)
    pictures = map(overlay.picture, overlay.under_one_window(scan.slices))
    assert np.argmin([np.abs(shown - picture).mean() for picture in pictures]) == index


@pytest.mark.parametrize("view", ("desktop", "phone"))
def test_slider_chart_drag_and_thumbnails_lead_to_the_slice(opened, scan, predictions, study, view):
    page = opened(view)
    expect(page.locator("#verdict h2")).to_have_text(study.sentence)
    expect(page.locator("#verdict .brain")).to_contain_text(f"{study.n_judged} of {COUNT} slices judged")
    expect_slice(page, study.suspicious[0], scan, predictions)

    slider, chart = page.get_by_role("slider", name="Slice"), page.locator(".chart")
    slider.press("ArrowRight")
    expect_slice(page, study.suspicious[0] + 1, scan, predictions)
    for key, index in (("End", COUNT - 1), ("Home", 0)):  # the slider stands below the column of its slice
        slider.press(key)
        expect_slice(page, index, scan, predictions)
        cursor, whole, track = (page.locator(at).bounding_box() for at in (".cursor", ".chart", ".viewer input"))
        thumb = track["x"] + 11 if index == 0 else track["x"] + track["width"] - 11
        middle = whole["x"] + (index + 0.5) / COUNT * whole["width"]
        assert [cursor["x"] + cursor["width"] / 2, thumb] == pytest.approx([middle, middle], abs=1.5)
    expect(page.locator("#details .bars")).to_have_count(0)  # the slice is empty, and so refused
    expect(chart.locator(".gap")).not_to_have_count(0)
    photograph(page, f"{view}-volume-refused-slice")

    box = chart.bounding_box()
    (chart.tap if view == "phone" else chart.click)(position={"x": box["width"] * 19.5 / COUNT, "y": 40})
    expect_slice(page, 19, scan, predictions)
    if view == "desktop":
        box = chart.bounding_box()
        page.mouse.move(box["x"] + 5, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20, steps=25)
        page.mouse.up()
        expect_slice(page, int(0.7 * COUNT), scan, predictions)
    page.get_by_role("button", name=f"Slice {study.suspicious[1] + 1}").click()
    expect_slice(page, study.suspicious[1], scan, predictions)
    assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"]


def test_other_planes_are_cut_from_the_volume_and_the_csv_has_the_study_and_every_slice(
    opened, classifier, scan, predictions, study
):
    page = opened()
    for plane in ("Coronal", "Sagittal"):
        page.get_by_label(plane).check()
        cut = scans.planes(scan)[plane.lower()]
        made = classifier.predict(cut.slices)
        first = next(iter(judge_study(made, classifier.config).suspicious), len(cut.slices) // 2)
        expect_slice(page, first, cut, made)
    expect(page.locator("#verdict h2")).to_have_text(study.sentence)  # of the plane that it was taken in
    page.get_by_label("Axial").check()
    expect_slice(page, study.suspicious[0], scan, predictions)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = io.StringIO(Path(download.value.path()).read_text("utf-8-sig")).readlines()
    assert [line.split(",")[1] for line in lines] == ["slice", "all", *map(str, range(1, COUNT + 1))]
    assert download.value.suggested_filename.endswith(".csv")


def test_a_zipped_dicom_series_is_one_volume(visit, app_server, head, tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for number, content in enumerate(reversed(series(list(head[6:20].astype(np.uint16))))):
            archive.writestr(f"IM{number}", content)
    page = visit(app_server)
    upload(page, tmp_path / "study.zip")
    answer(page, "study.zip")
    expect(page.locator("#verdict .brain")).to_contain_text("14 slices")
    expect(page.locator("#verdict .brain")).to_contain_text("DICOM series")
    expect(page.locator(".viewer")).to_be_visible()


def test_what_was_chosen_stays_from_slice_to_slice_and_not_for_the_next_scan(visit, app_server):
    page = visit(app_server)
    number = next(number for number, path in enumerate(examples.FILES) if path.suffix == ".gz")
    page.locator("#examples button").nth(number).click()
    answer(page, examples.FILES[number].name)
    expect(page.locator(".suspects button")).not_to_have_count(0)
    page.locator(".choices label", has_text="pituitary").click()
    page.get_by_role("slider", name="Opacity").press("End")
    first = int(re.search(r"Slice (\d+) of 24", page.locator("#slice img").get_attribute("alt"))[1])
    page.get_by_role("slider", name="Slice").press("ArrowLeft")
    expect(page.locator("#slice img")).to_have_attribute("alt", f"Slice {first - 1} of 24")
    layer = page.locator(".layer:visible img")
    described = re.compile(f"Evidence of pituitary tumor on slice {first - 1} of 24, strongest ")
    expect(layer).to_have_attribute("alt", described)
    assert layer.evaluate("layer => getComputedStyle(layer).opacity") == "1"
    expect(page.locator(".opacity output")).to_have_text("100 %")
    upload(page, examples.FILES[0])
    answer(page, examples.FILES[0].name)
    expect(page.get_by_role("radio", name="as answered")).to_be_checked()
    opacity = float(page.locator(".layer:visible img").evaluate("layer => getComputedStyle(layer).opacity"))
    assert opacity == pytest.approx(overlay.MOST_COVER)
