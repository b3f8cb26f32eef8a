"""What leaves the page with a case, as a picture or on paper: all of the answer, and nothing about the patient."""

import io
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw
from playwright.sync_api import expect

from model import CLASSES, DISPLAY_NAMES, overlay, scans
from model.report import Case, classify
from model.serving import Origin
from model.study import judge_study
from model.wording import percent
from page import case_report, examples, panels, texts
from page.case_report import AXIS, COLUMN, GAP, INNER, MARGIN, PLOT, WIDTH
from tests.browser import WAIT, answer, needs_chromium, upload
from tests.predictions import prediction

KEY = 31  # pixels: what lies below the chart
WHEN = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)
NAME = "Smith^John_1961-04-05.dcm"
UNKNOWN = "\ue123"  # to every type
GLIOMA, REFUSED, VOLUME = "glioma_axial_t1c.png", "not_a_brain_chest.png", "meningioma_volume_t1c_nifti.nii.gz"


@pytest.fixture(scope="module")
def cases(classifier):
    """name of an example -> its case, answered at `WHEN` and called `NAME`."""
    names = (GLIOMA, REFUSED, VOLUME)
    read = [scans.read(examples.FOLDER / name) for name in names]
    read = [replace(scan, name=NAME, assumptions=(f"Read from {NAME}.",)) for scan in read]
    answered = [replace(case, answered=WHEN) for _, case in classify(classifier, read) if case]
    return dict(zip(names, answered, strict=True))


@cache
def has_shape(font, letter):
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask(UNKNOWN))


@contextmanager
def written():
    """What is written meanwhile, line by line; each letter must have a shape, and each line lie on its picture."""
    lines, draw = [], ImageDraw.ImageDraw.text

    def text(self, place, words, ink, font, anchor=None):
        left, top, right, bottom = self.textbbox(place, words, font, anchor)
        assert left >= 0 and top >= 0 and right <= self.im.size[0] and bottom <= self.im.size[1], words
        assert all(map(partial(has_shape, font), words)), words
        lines.append(words)
        draw(self, place, words, ink, font, anchor)

    with patch.object(ImageDraw.ImageDraw, "text", text):
        yield lines


def text_of(*args, **kwargs):
    with written() as lines:
        case_report.png(*args, **kwargs)
    return " ".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def test_it_says_all_that_the_page_says(cases, classifier):
    glioma, volume = cases[GLIOMA], cases[VOLUME]
    open_answer = replace(
        glioma.predictions[0],
        status="doubtful",
        about_answer="Glioma or meningioma: the model cannot tell which.",
        prediction_set=("glioma", "meningioma"),
    )
    doubtful = replace(glioma, status="doubtful", reason=open_answer.reason, predictions=(open_answer,))
    for case, more in (
        (glioma, "Possible Glioma alone"),
        (doubtful, "Doubtful: read with care"),
        (doubtful, "Possible Glioma or meningioma: the model cannot tell"),
        (volume, volume.study.sentence),
        (volume, f"the line marks slice {volume.study.suspicious[0] + 1}"),
    ):
        words, shown = text_of(case, classifier), panels.of_case(case, classifier.config)
        for text in (
            *(texts.NOTICE, texts.DISCLAIMER, "Answered 2 March 2026, 14:05 UTC", more, case.reason),
            *(f"{DISPLAY_NAMES[name]} {percent(share)}" for name, share in shown.probabilities.items()),
            *(" ".join(filter(None, fact)) for fact in (*shown.input_facts, *shown.facts)),
            f"Status {shown.status.capitalize()} {shown.status_text}",
            f"Weights {classifier.version} · trained {classifier.config['trained']}",
        ):
            assert text in words
    origin = Origin("org/name", "0123abcd" * 5)
    words = text_of(glioma, classifier, origin=origin)
    assert f"{classifier.version} · org/name at {'0123abcd' * 5} · trained" in words


def test_what_was_refused_gives_the_reason_and_no_probability(cases, classifier):
    slices = cases[REFUSED].predictions * 3
    study = judge_study(slices, classifier.config)
    volume = replace(cases[VOLUME], status="refused", reason=study.reason, predictions=slices, study=study)
    for case in (cases[REFUSED], volume):
        words = text_of(case, classifier)
        for text in (case.reason, texts.NO_CLASSIFICATION, texts.NO_MAP, "Refused: no answer"):
            assert text in words
        assert "sensitivity" not in words and not any(f"{name} under" in words for name in DISPLAY_NAMES.values())


def test_the_slice_is_as_it_is_shown_with_a_ruler_and_beside_it_is_the_evidence_on_it(cases):
    volume = cases[VOLUME]
    index, shown = volume.study.suspicious[0], np.full((200, 200), 77, np.uint8)
    made = volume.predictions[index]
    drawn = np.asarray(case_report._figures(volume, index, shown))[:COLUMN]
    plain, evidence = drawn[:, :COLUMN], drawn[:, COLUMN + GAP :]
    assert np.unique(plain[: COLUMN - 60]).tolist() == [77]
    millimeters = 200 * volume.scan.spacing[1]
    assert (plain[COLUMN - 18] == 255).all(axis=1).sum() == round(50 / millimeters * COLUMN)
    share = made.evidence[CLASSES.index(made.likeliest_tumor)]
    expected = Image.fromarray(overlay.evidence_picture(shown, share, made.window)).resize((COLUMN, COLUMN))
    np.testing.assert_array_equal(evidence, np.asarray(expected))
    unknown = replace(volume, scan=replace(volume.scan, spacing=None))
    assert np.unique(np.asarray(case_report._figures(unknown, index, shown))[:COLUMN, :COLUMN]).tolist() == [77]


def test_the_chart_stacks_the_tumors_of_each_slice_and_is_gray_where_one_was_refused(cases):
    slices = (prediction((0.5, 0.2, 0.1, 0.2)), prediction((0.9, 0, 0, 0.1), "refused"), prediction((0, 0, 0.3, 0.7)))
    drawn = np.asarray(case_report._along(replace(cases[VOLUME], predictions=slices), 1, threshold=0.99))[:-KEY]

    def share(slice_, color):
        at = AXIS + (slice_ + 0.25) * (INNER - AXIS) / 3
        return (drawn[:, round(at)] == ImageColor.getrgb(color)).all(axis=1).sum() / PLOT

    colors = case_report.COLORS
    assert [share(0, colors[name]) for name in CLASSES[:3]] == pytest.approx([0.5, 0.2, 0.1], abs=1.5 / PLOT)
    assert [share(2, colors[name]) for name in CLASSES[:3]] == pytest.approx([0, 0, 0.3], abs=1.5 / PLOT)
    assert share(1, case_report.LINE) > 0.95 and not share(1, colors["glioma"])


@pytest.mark.parametrize("name", [GLIOMA, VOLUME])
def test_nothing_in_the_file_depends_on_whose_scan_it_is_and_all_on_what_was_answered(cases, classifier, name):
    case = cases[name]
    content = case_report.png(case, classifier)
    other = replace(case, name="other", scan=replace(case.scan, name="other", assumptions=()))
    assert case_report.png(other, classifier) == content
    assert case_report.png(replace(case, answered=datetime(2026, 3, 3, tzinfo=UTC)), classifier) != content
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode, picture.width, picture.info) == ("PNG", "RGB", WIDTH, {})


@pytest.mark.parametrize("name", [GLIOMA, VOLUME])
def test_whatever_the_length_of_the_words_all_stay_within_the_margins(cases, classifier, name):
    case, long = cases[name], "The model cannot tell, and says so at great length; " * 20
    origin = Origin("organization/a-repository-with-a-very-long-name" * 9, "0123456789" * 4)
    if case.study:
        case = replace(case, study=replace(case.study, sentence=long, reason=long), reason=long + "!")
    else:
        made = replace(case.predictions[0], about_slice=long, about_answer=long, prediction_set=tuple(DISPLAY_NAMES))
        case = replace(case, predictions=(made,), reason=long + "!")
    with written() as lines:
        drawn = np.array(Image.open(io.BytesIO(case_report.png(case, classifier, origin=origin))))
    assert long.strip() in " ".join(lines) and origin.name in "".join(lines)
    drawn[MARGIN:-MARGIN, MARGIN:-MARGIN] = 255
    assert drawn.shape[1] == WIDTH and (drawn == 255).all()


def test_there_is_no_report_without_an_answer(cases, classifier):
    unreadable = Case(NAME, "unreadable", "It is no scan.", 0.0, WHEN)
    for case in (unreadable, replace(unreadable, status="failed", scan=cases[GLIOMA].scan)):
        with pytest.raises(ValueError, match="no report"):
            case_report.png(case, classifier)


@pytest.fixture
def opened(visit, app_server, tmp_path):
    """opened(name of an example, view) -> the page with its answer, sent as a file that names a patient."""

    def open_page(name, view="desktop"):
        secret = tmp_path / f"Doe_Jane_1970{''.join(Path(name).suffixes)}"
        secret.write_bytes((examples.FOLDER / name).read_bytes())
        page = visit(app_server, view)
        upload(page, secret)
        answer(page, secret.name)
        expect(page.locator("#report").get_by_role("button", name="Print")).to_be_visible()
        return page

    return open_page


@needs_chromium
@pytest.mark.parametrize("name", [REFUSED, VOLUME])
def test_on_paper_the_answer_takes_one_page_and_names_nobody(opened, name):
    page = opened(name)
    for size in ("A4", "Letter"):
        content = page.pdf(format=size, tagged=True)
        assert len(re.findall(rb"/Type\s*/Page\b", content)) == 1
        assert b"Jane" not in content and re.search(rb"/Alt \((The s|S)lice", content)  # pictures are described
    page.emulate_media(media="print")
    for unwanted in ("#upload", "#examples", "[role=tab]", "footer", ".choices", ".opacity", "#report button"):
        assert not page.locator(unwanted).filter(visible=True).count(), unwanted
    shown = page.locator("body").inner_text()
    assert "Jane" not in shown and page.locator("#verdict h2").inner_text() in shown
    assert all(words in shown for words in (texts.NOTICE, texts.DISCLAIMER, texts.BRAIN, "Answered ", "weights "))


@needs_chromium
def test_buttons_save_the_picture_under_a_name_that_names_nobody_and_print_the_dark_page_light(opened):
    page = opened(GLIOMA, "dark")
    with page.expect_download(timeout=WAIT) as download:
        page.locator("#report").get_by_role("button", name="PNG").click()
    assert download.value.suggested_filename == "report.png"
    with Image.open(download.value.path()) as picture:
        assert picture.width == WIDTH and np.asarray(picture).std() > 10
    expect(page.locator("#report [role=status]")).to_have_text("")
    page.evaluate("window.print = () => { window.wasAsked = true; }")
    page.locator("#report").get_by_role("button", name="Print").click()
    assert page.evaluate("window.wasAsked")
    is_dark = "document.body.classList.contains('dark')"
    assert page.evaluate(f"window.dispatchEvent(new Event('beforeprint')), {is_dark}") is False
    assert page.evaluate(f"window.dispatchEvent(new Event('afterprint')), {is_dark}") is True


@needs_chromium
def test_many_scans_on_paper_name_no_file(visit, app_server, tmp_path):
    secrets = [tmp_path / f"Doe_{name}.png" for name in ("Jane", "Joan")]
    for secret in secrets:
        secret.write_bytes((examples.FOLDER / GLIOMA).read_bytes())
    page = visit(app_server)
    upload(page, *secrets)
    expect(page.locator("#batch tbody tr")).to_have_count(2, timeout=WAIT)
    assert "Doe" in page.locator("body").inner_text()
    page.emulate_media(media="print")
    assert "Doe" not in page.locator("body").inner_text()
