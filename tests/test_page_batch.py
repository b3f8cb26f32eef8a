"""The page with many scans, in a real browser."""

import csv
import io
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from model.report import entries
from page import examples
from tests.browser import WAIT, answer, needs_chromium, photograph, upload

NAMES = ("meningioma_axial_t1c.png", "no_tumor_axial_t1.png", "not_a_brain_chest.png", "pituitary_coronal_t1c.png")

pytestmark = needs_chromium


@pytest.fixture
def five(tmp_path) -> list[Path]:
    """Four examples and, in their midst, a file that is no image."""
    broken = tmp_path / "broken.png"
    broken.write_text("not a picture")
    first, second, *others = (examples.FOLDER / name for name in NAMES)
    return [first, second, broken, *others]


def table(page):
    page.locator("#batch tbody tr").first.wait_for(timeout=WAIT)
    return page.locator("#batch tbody tr")


def column(page, index):
    return [row.locator("td").nth(index).inner_text() for row in table(page).all()]


def test_one_bad_file_among_five_costs_one_row(visit, app_server, five):
    page = visit(app_server)
    upload(page, *five)
    expect(table(page)).to_have_count(5)
    names = [name.split("\n")[0] for name in column(page, 0)]
    assert names == [path.name for path in five]
    broken = table(page).nth(2)
    expect(broken).to_contain_text("unreadable")
    expect(broken).to_contain_text("no image that can be read here")
    expect(broken.get_by_role("button")).to_have_count(0)
    expect(page.locator(".tiles img")).to_have_count(4)
    expect(page.locator(".tally")).to_contain_text("1 unreadable")


def test_the_table_sorts_by_every_column_both_ways(visit, app_server, classifier, five):
    page = visit(app_server)
    upload(page, *five)
    before = column(page, 0)
    page.locator(".sort", has_text="File").click()
    assert column(page, 0) == sorted(before)
    sort = page.locator(".sort", has_text="Tumor")
    sort.click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Tumor")
    made = {entry["file"]: entry for entry in entries(classifier, five)}
    judged = [name for name in NAMES if made[name]["status"] in ("accepted", "doubtful")]
    by_probability = sorted(judged, key=lambda name: made[name]["tumor_probability"])
    assert [name for name in column(page, 0) if name in judged] == by_probability
    sort.click()
    assert [name for name in column(page, 0) if name in judged] == by_probability[::-1]


def test_a_row_opens_its_scan_and_the_way_back_finds_the_table_as_it_was(visit, app_server, five):
    page = visit(app_server)
    upload(page, *five)
    table(page)
    page.locator(".sort", has_text="Tumor").click()
    sorted_names = column(page, 0)
    page.get_by_role("button", name=NAMES[3]).last.click()
    answer(page, NAMES[3])
    expect(page.locator("#slice img")).to_be_visible()
    expect(page.locator("#batch")).to_be_hidden()
    photograph(page, "desktop-batch-opened")
    page.get_by_role("button", name="All 5 scans").click()
    expect(page.locator("#batch")).to_be_visible()
    expect(page.locator("#verdict")).to_be_hidden()
    assert column(page, 0) == sorted_names
    page.locator(".tiles button").first.click()  # the most suspicious
    expect(page.locator("#slice img")).to_be_visible()


def test_the_csv_says_what_the_terminal_says(visit, app_server, classifier, five):
    page = visit(app_server)
    upload(page, *five)
    table(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    for row, entry in zip(rows, entries(classifier, five), strict=True):
        assert row["file"] == entry["file"] and row["status"] == entry["status"] and row["reason"] == entry["reason"]
        assert row["model"] == entry["model"] and row["answered"].startswith("20")
        if entry["probabilities"]:
            assert float(row["tumor_probability"]) == pytest.approx(entry["tumor_probability"], abs=1e-3)
            assert row["prediction_set"].split() == entry["slices"][0]["prediction_set"]


def test_names_that_bite_are_only_shown(visit, app_server, five, tmp_path):
    """Names in an archive are the sender's: markup, a formula, another folder, 4,000 characters."""
    bites = [
        "<img src=x onerror=alert(1)>.png",
        "=HYPERLINK(1).png",
        "../../up.png",
        "n" * 4000 + ".png",
        "a\x1b[2J.png",
    ]
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for name in bites:
            archive.write(five[0], name)
    page = visit(app_server)
    page.on("dialog", lambda dialog: pytest.fail("a name was run"))
    upload(page, tmp_path / "names.zip")
    expect(table(page)).to_have_count(5)
    expect(page.locator("#batch img[src=x]")).to_have_count(0)
    expect(table(page).first).to_contain_text("<img src=x onerror=alert(1)>.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    photograph(page, "desktop-batch-names")
