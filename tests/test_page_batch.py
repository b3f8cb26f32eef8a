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


def names(page):
    return [row.locator("td").first.inner_text().split("\n")[0] for row in table(page).all()]


def test_five_scans_are_listed_sorted_opened_and_downloaded(visit, app_server, classifier, five):
    page = visit(app_server)
    upload(page, *five)
    expect(table(page)).to_have_count(5)
    assert names(page) == [path.name for path in five]
    broken = table(page).nth(2)  # one bad file costs its own row
    expect(broken).to_contain_text("unreadable")
    expect(broken).to_contain_text("no image that can be read here")
    expect(broken.get_by_role("button")).to_have_count(0)
    expect(page.locator(".tiles img")).to_have_count(4)
    expect(page.locator(".tally")).to_contain_text("1 unreadable")

    page.locator(".sort", has_text="File").click()
    assert names(page) == sorted(path.name for path in five)
    sort = page.locator(".sort", has_text="Tumor")
    sort.click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Tumor")
    made = entries(classifier, five)
    answered = [entry for entry in made if entry["status"] in ("accepted", "doubtful")]
    judged = {entry["file"]: entry["tumor_probability"] for entry in answered}
    assert [name for name in names(page) if name in judged] == sorted(judged, key=judged.get)
    sort.click()
    assert [name for name in names(page) if name in judged] == sorted(judged, key=judged.get)[::-1]

    shown = names(page)
    page.get_by_role("button", name=NAMES[3]).last.click()
    answer(page, NAMES[3])
    expect(page.locator("#slice img")).to_be_visible()
    expect(page.locator("#batch")).to_be_hidden()
    photograph(page, "desktop-batch-opened")
    page.get_by_role("button", name="All 5 scans").click()
    expect(page.locator("#batch")).to_be_visible()
    expect(page.locator("#verdict")).to_be_hidden()
    assert names(page) == shown  # the table is as it was left
    page.locator(".tiles button").first.click()  # the most suspicious
    expect(page.locator("#slice img")).to_be_visible()
    page.locator("#back").click()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    for row, entry in zip(rows, made, strict=True):
        assert all(row[key] == entry[key] for key in ("file", "status", "reason", "model"))
        assert row["answered"].startswith("20")
        if entry["probabilities"]:
            assert float(row["tumor_probability"]) == pytest.approx(entry["tumor_probability"], abs=1e-3)
            assert row["prediction_set"].split() == entry["slices"][0]["prediction_set"]


def test_hostile_names_are_only_shown(visit, app_server, five, tmp_path):
    """Names in an archive are the sender's: markup, a formula, another folder, 4,000 characters."""
    bites = ["<img src=x onerror=alert(1)>.png", "=HYPERLINK(1).png", "../../up.png"]
    bites += [f"{'n' * 4000}.png", "a\x1b[2J.png"]
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for name in bites:
            archive.write(five[0], name)
    page = visit(app_server)
    page.on("dialog", lambda dialog: pytest.fail("a name was run"))
    upload(page, tmp_path / "names.zip")
    expect(table(page)).to_have_count(5)
    expect(page.locator("#batch img[src=x]")).to_have_count(0)
    expect(table(page).first).to_contain_text(bites[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    photograph(page, "desktop-batch-names")
