"""The page with a volume, in a real browser: the way through its slices, its planes, and what becomes of it."""

import base64
import io
import re
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from model import overlay, scans
from model.study import judge_study
from page import cards, examples, texts
from tests.browser import VIEWS, WAIT, answer, needs_chromium, photograph, shown_picture, upload
from tests.dicom_files import series
from tests.server import REPOSITORY, running_app

COUNT = 28  # slices, the first two of them empty

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """int16 (slices, rows, columns): a drawn head whose middle slices show a tumor; no slice is like another."""
    with_tumor, without = (
        Image.open(REPOSITORY / "examples" / f"{name}.png").convert("L").crop((25, 0, 295, 320))
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
    return saved(head, tmp_path_factory.mktemp("volume") / "head.nii.gz")


def saved(volume, path) -> Path:
    upright = np.transpose(volume, (2, 1, 0))  # columns to the left, rows to the back, slices up, as the affine says
    nibabel.save(nibabel.Nifti1Image(upright, np.diag([-2.0, -2.0, 4.0, 1.0])), path)
    return path


@pytest.fixture(scope="module")
def scan(nifti_file) -> scans.Scan:
    return scans.read(nifti_file)


@pytest.fixture(scope="module")
def predictions(scan, classifier):
    return classifier.predict(scan.slices)


def expect_slice(page, index, scan, predictions):
    """Wait until number, card and picture are of the slice `index`."""
    number = f"Slice {index + 1} of {len(scan.slices)}"
    expect(page.locator(".navigator .caption b")).to_have_text(number, timeout=WAIT)
    card = page.locator("#details .verdict", has_text=number)
    sentence = predictions[index].sentence
    said = cards.finding(sentence) if predictions[index].status == "refused" else sentence
    expect(card.locator("h2")).to_have_text(said)
    expect(page.locator("#slice img")).to_have_attribute("alt", number)
    shown = shown_picture(page, "#slice").astype(float)
    pictures = map(overlay.picture, overlay.under_one_window(scan.slices))
    assert np.argmin([np.abs(shown - picture).mean() for picture in pictures]) == index


def expect_plane(page, plane, scan, classifier):
    """Wait until the first slice shown of a plane is."""
    cut = scans.planes(scan)[plane]
    made = classifier.predict(cut.slices)
    suspicious = judge_study(made, classifier.config).suspicious
    expect_slice(page, suspicious[0] if suspicious else len(cut.slices) // 2, cut, made)


@pytest.mark.parametrize("view", ("desktop", "phone"))
def test_slider_chart_and_thumbnails_lead_to_the_slice(
    visit, app_server, classifier, nifti_file, scan, predictions, view
):
    study = judge_study(predictions, classifier.config)
    page = visit(app_server, view)
    upload(page, nifti_file)
    card = answer(page, nifti_file.name)
    expect(card.locator("h2")).to_have_text(study.sentence)
    expect(page.locator("#verdict .brain")).to_contain_text(f"{study.n_judged} of {COUNT} slices judged")
    expect_slice(page, study.suspicious[0], scan, predictions)

    slider = page.get_by_role("slider", name="Slice")
    slider.press("ArrowRight")
    expect_slice(page, study.suspicious[0] + 1, scan, predictions)
    slider.press("Home")
    expect_slice(page, 0, scan, predictions)
    expect(page.locator("#details .bars")).to_have_count(0)  # the slice is empty, and so refused
    photograph(page, f"{view}-volume-refused-slice")

    chart = page.locator(".chart").bounding_box()
    middle_of_slice_20 = {"x": chart["width"] * 19.5 / COUNT, "y": chart["height"] / 2}
    chart_at = page.locator(".chart")
    (chart_at.tap if view == "phone" else chart_at.click)(position=middle_of_slice_20)
    expect_slice(page, 19, scan, predictions)
    second = study.suspicious[1]
    page.get_by_role("button", name=f"Slice {second + 1}").click()
    expect_slice(page, second, scan, predictions)
    assert page.evaluate("document.documentElement.scrollWidth") <= VIEWS[view]["viewport"]["width"]


def test_the_slider_stands_below_the_column_of_its_slice(visit, app_server, nifti_file):
    page = visit(app_server)
    upload(page, nifti_file)
    answer(page, nifti_file.name)
    chart, slider = page.locator(".chart"), page.get_by_role("slider", name="Slice")
    for key, index in (("Home", 0), ("End", COUNT - 1)):
        slider.press(key)
        cursor, whole, track = (page.locator(at).bounding_box() for at in (".cursor", ".chart", ".navigator input"))
        thumb = track["x"] + 11 if index == 0 else track["x"] + track["width"] - 11
        middle = whole["x"] + (index + 0.5) / COUNT * whole["width"]
        assert cursor["x"] + cursor["width"] / 2 == pytest.approx(middle, abs=1.5)
        assert thumb == pytest.approx(middle, abs=1.5)
    expect(chart.locator(".gap")).not_to_have_count(0)  # where the empty slices are


def test_other_planes_are_cut_from_the_volume(visit, app_server, classifier, nifti_file, scan, predictions):
    page = visit(app_server)
    upload(page, nifti_file)
    verdict = answer(page, nifti_file.name).locator("h2").inner_text()
    for plane in ("Coronal", "Sagittal"):
        page.get_by_label(plane).check()
        expect_plane(page, plane.lower(), scan, classifier)
        photograph(page, f"desktop-volume-{plane.lower()}")
    expect(page.locator("#verdict h2")).to_have_text(verdict)  # of the plane that it was taken in
    page.get_by_label("Axial").check()
    expect_slice(page, judge_study(predictions, classifier.config).suspicious[0], scan, predictions)


GATED = """
import app
from pathlib import Path
from time import sleep

def classify(classifier, found, classified=app.classify):
    for step in classified(classifier, found):
        yield step
        while found[0].plane == "coronal" and not Path("{gate}").exists():
            sleep(0.05)

app.classify = classify
app.launch()
"""


def test_a_plane_that_is_ready_after_another_scan_was_opened_is_not_that_one_s(
    visit, weights, classifier, head, nifti_file, scan, predictions, tmp_path
):
    other_file, gate = saved(head[:, ::-1], tmp_path / "other.nii.gz"), tmp_path / "gate"
    other = scans.read(other_file)

    def open_again(name):
        if page.locator("#back").is_visible():
            page.locator("#back").click()
        page.locator("#batch tbody").get_by_role("button", name=name).click()
        answer(page, name)

    with running_app(tmp_path / "log", weights, "-c", GATED.format(gate=gate)) as url:
        page = visit(url)
        upload(page, nifti_file, other_file)
        open_again("head.nii.gz")
        page.get_by_label("Coronal").check()
        expect(page.locator("#details")).to_contain_text("Looking at the coronal slices")
        open_again("other.nii.gz")
        page.get_by_label("Coronal").check()  # asked once the first one's plane is ready
        gate.touch()
        expect_plane(page, "coronal", other, classifier)
        open_again("head.nii.gz")
        expect_slice(page, judge_study(predictions, classifier.config).suspicious[0], scan, predictions)
        page.get_by_label("Coronal").check()
        expect_plane(page, "coronal", scan, classifier)
        page.close()  # before the server goes


def test_a_zipped_dicom_series_is_one_volume(visit, app_server, head, tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for number, content in enumerate(reversed(series(list(head[6:20].astype(np.uint16))))):
            archive.writestr(f"IM{number}", content)
    page = visit(app_server)
    upload(page, tmp_path / "study.zip")
    answer(page, "study.zip")
    expect(page.locator("#verdict .brain")).to_contain_text("14 slices")
    expect(page.locator("#verdict .brain")).to_contain_text("DICOM series")
    expect(page.locator(".navigator")).to_be_visible()


def test_a_drag_along_the_chart_ends_where_the_finger_does(visit, app_server, nifti_file, scan, predictions):
    page = visit(app_server)
    upload(page, nifti_file)
    answer(page, nifti_file.name)
    box = page.locator(".chart").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20, steps=25)
    page.mouse.up()
    expect_slice(page, int(0.7 * COUNT), scan, predictions)


def test_the_csv_of_a_volume_has_the_study_and_every_slice(visit, app_server, nifti_file):
    page = visit(app_server)
    upload(page, nifti_file)
    answer(page, nifti_file.name)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    lines = io.StringIO(Path(download.value.path()).read_text("utf-8-sig")).readlines()
    assert [line.split(",")[1] for line in lines] == ["slice", "all", *map(str, range(1, COUNT + 1))]
    assert re.fullmatch(r".*\.csv", download.value.suggested_filename)


def test_a_file_that_is_too_large_is_named_beside_the_drop_zone_and_the_others_are_sent(visit, app_server, tmp_path):
    with (tmp_path / "huge.nii").open("wb") as file:
        file.truncate(scans.MAX_BYTES + 1)
    page = visit(app_server)
    upload(page, tmp_path / "huge.nii")
    problem = page.locator("#problem").get_by_role("alert")
    expect(problem).to_contain_text("huge.nii")
    expect(problem).to_contain_text(texts.TOO_LARGE)
    photograph(page, "desktop-too-large")
    upload(page, tmp_path / "huge.nii", REPOSITORY / "examples" / "no_tumor_axial_t1.png")
    answer(page, "no_tumor_axial_t1.png")


def test_what_is_dropped_on_the_zone_is_sent_but_for_what_is_too_large(visit, app_server):
    drop = """([name, size, content]) => {
        const file = new File([Uint8Array.from(atob(content), letter => letter.charCodeAt())], name);
        if (size) Object.defineProperty(file, "size", {value: size});
        const dropped = new DataTransfer();
        dropped.items.add(file);
        Object.defineProperty(dropped, "files", {value: [file]});
        const target = document.querySelector("#upload button");
        target.dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
    }"""
    example = REPOSITORY / "examples" / "no_tumor_axial_t1.png"
    content = base64.b64encode(example.read_bytes()).decode()
    page = visit(app_server)
    page.wait_for_selector("#upload button")
    page.evaluate(drop, ["large.png", scans.MAX_BYTES + 1, content])
    expect(page.locator("#problem").get_by_role("alert")).to_contain_text("large.png")
    page.evaluate(drop, [example.name, 0, content])
    answer(page, example.name)


def test_an_example_of_a_volume_is_answered_by_one_click(visit, app_server):
    number = next(number for number, path in enumerate(examples.FILES) if path.suffix == ".gz")
    page = visit(app_server)
    page.locator("#examples button").nth(number).click()
    answer(page, examples.FILES[number].name)
    expect(page.locator(".suspects button")).not_to_have_count(0)
