"""The one-page report of a case: what is on it, that it fits, and that nothing on it says whose scan it is."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pypdfium2
import pytest
from PIL import Image
from pypdfium2 import raw as pdfium

from model import DISPLAY_NAMES, scans
from model.cases import Case, classify
from model.preprocess import Window
from model.scans import Unreadable
from model.serving import Origin
from model.wording import percent
from page import case_report
from page.case_report import words
from tests.server import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
A4 = (595.3, 841.9)  # points
WHEN = datetime(2026, 3, 2, 14, 5, tzinfo=UTC)
NAME = "Smith^John_1961-04-05.dcm"


@pytest.fixture(scope="module")
def case_of(classifier):
    """name of an example -> its case, answered at `WHEN` and called `NAME`."""
    answered = {}

    def find(name):
        if name not in answered:
            scan = replace(scans.read(EXAMPLES / name), name=NAME, assumptions=(f"Read from {NAME}.",))
            (case,) = [case for _, case in classify(classifier, [scan]) if case]
            answered[name] = replace(case, answered=WHEN)
        return answered[name]

    return find


@pytest.fixture
def glioma(case_of):
    return case_of("glioma_axial_t1c.png")


@pytest.fixture
def refused(case_of):
    return case_of("not_a_brain_chest.png")


@pytest.fixture
def volume(case_of):
    return case_of("meningioma_volume_t1c_nifti.nii.gz")


class Report:
    """What a reader of PDF finds in a report."""

    def __init__(self, content):
        with pypdfium2.PdfDocument(content) as document:
            (page,) = document
            self.size, self.metadata = page.get_size(), document.get_metadata_dict()
            text = page.get_textpage()
            self.text = re.sub(r"\s+", " ", text.get_text_bounded())
            self.letters = [text.get_charbox(at) for at in range(text.count_chars())]  # left, bottom, right, top
            images = page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE])
            self.images = [(image.get_bounds(), image.get_bitmap(render=False).to_numpy()) for image in images]


def test_it_is_one_page_of_a4_with_all_that_the_page_says(glioma, classifier):
    report = Report(case_report.pdf(glioma, classifier))
    assert report.size == pytest.approx(A4, abs=0.1)
    (prediction,) = glioma.predictions
    tested = classifier.config["operating_point"]["tested"]
    for said in (
        words.NOTICE,
        "Case:",
        "Answered 2 March 2026, 14:05 UTC",
        f"The model sees evidence of a glioma ({percent(prediction.probabilities['glioma'])}).",
        *(f"{DISPLAY_NAMES[name].capitalize()} {percent(share)}" for name, share in prediction.probabilities.items()),
        f"where {percent(classifier.threshold)} is enough",
        f"sensitivity {percent(tested['sensitivity'])}, specificity {percent(tested['specificity'])}",
        "Possible Glioma alone",
        "Status Accepted",
        f"{prediction.distance:.1f} from training",
        f"Weights {classifier.version} · trained {classifier.config['trained']}",
    ):
        assert said in report.text
    assert len(report.images) == 2  # the slice, and the evidence on it


def test_an_open_answer_names_what_cannot_be_excluded(glioma, classifier):
    prediction = replace(
        glioma.predictions[0],
        status="doubtful",
        about_answer="Glioma or meningioma: the model cannot tell which.",
        prediction_set=("glioma", "meningioma"),
    )
    doubtful = replace(glioma, status="doubtful", reason=prediction.reason, predictions=(prediction,))
    text = Report(case_report.pdf(doubtful, classifier)).text
    assert "Doubtful: read with care" in text and "Possible Glioma or meningioma: the model cannot tell" in text
    assert prediction.reason in text


def test_a_refused_picture_gives_the_reason_and_no_probability(refused, classifier):
    report = Report(case_report.pdf(refused, classifier))
    assert refused.status == "refused" and refused.reason in report.text
    assert "probabilities would mean nothing" in report.text
    assert not any(
        f"{name.capitalize()} " in report.text for name in ("glioma", "meningioma", "pituitary tumor", "no tumor")
    )
    assert "sensitivity" not in report.text and len(report.images) == 1


def test_a_volume_gives_the_study_its_way_and_which_slice_is_shown(volume, classifier):
    first = volume.study.suspicious[0] + 1
    report = Report(case_report.pdf(volume, classifier))
    assert volume.study.sentence in report.text
    assert f"slice {first} is shown" in report.text and f"Slice {first} of {len(volume.predictions)}:" in report.text
    for name, share in volume.study.probabilities.items():
        assert f"{DISPLAY_NAMES[name].capitalize()} {percent(share)}" in report.text
    assert f"{volume.study.n_judged} of {len(volume.predictions)} slices judged" in report.text
    assert "on studies put together from slices of test patients" in report.text
    other = Report(case_report.pdf(volume, classifier, index=2))
    assert "slice 3 is shown" in other.text and volume.study.sentence in other.text


def test_the_pictures_are_the_slice_as_it_is_shown_and_the_evidence_on_it(volume, classifier):
    index = volume.study.suspicious[0]
    shown = np.full(volume.scan.slices[index].shape, 77, dtype=np.uint8)
    (_, plain), (_, evidence) = Report(case_report.pdf(volume, classifier, index, shown)).images
    assert np.unique(plain).tolist() == [77]
    assert (evidence != 77).any() and evidence.shape[-1] == 3


def test_a_slice_without_a_tumor_has_no_evidence(case_of, classifier):
    report = Report(case_report.pdf(case_of("no_tumor_axial_t2.png"), classifier))
    assert len(report.images) == 1 and "No tumor is seen" in report.text


@pytest.mark.parametrize(
    "name", ["glioma_axial_t1c.png", "not_a_brain_chest.png", "meningioma_volume_t1c_nifti.nii.gz"]
)
def test_nothing_says_whose_scan_it_is_or_on_which_machine_it_was_read(case_of, classifier, name):
    content = case_report.pdf(case_of(name), classifier)
    report = Report(content)
    told = report.text + "".join(report.metadata.values()) + content.decode("latin-1")
    for secret in ("Smith", NAME, str(REPOSITORY)):
        assert secret not in told
    assert set(filter(None, report.metadata.values())) <= {
        "Brain tumor on MRI: report of a case",
        words.NOTICE,
        "D:20000101000000+00'00'",
    }  # no author, program, computer or clock


def test_the_same_case_gives_the_same_bytes_and_says_its_title_and_language(glioma, classifier):
    content = case_report.pdf(glioma, classifier)
    assert case_report.pdf(glioma, classifier) == content
    assert case_report.pdf(replace(glioma, answered=datetime(2026, 3, 3, tzinfo=UTC)), classifier) != content
    assert Report(content).metadata["Title"] == "Brain tumor on MRI: report of a case"
    assert re.search(rb"/Lang \(en-US\)", content)


def test_every_character_has_a_shape_in_the_embedded_type(volume, classifier):
    content = case_report.pdf(volume, classifier)
    assert content.count(b"/FontFile2") == 2  # regular and bold
    from reportlab.pdfbase import pdfmetrics

    for face in ("Vera", "VeraBd"):
        shapes = pdfmetrics.getFont(face).face.charToGlyph
        assert all(ord(letter) in shapes for letter in Report(content).text + "≥≤–·×µ…±’“”\N{NO-BREAK SPACE}")


@pytest.mark.parametrize("words_of", ["glioma", "volume", "refused"])
def test_whatever_the_length_of_the_words_all_stay_on_the_page_and_the_pictures_remain(request, classifier, words_of):
    case = request.getfixturevalue(words_of)
    long = "The model cannot tell, and says so at great length; " * 100
    origin = Origin("organization/a-repository-with-a-very-long-name" * 3, "0123456789" * 4)
    if case.study:
        case = replace(case, study=replace(case.study, sentence=long, reason=long), reason=long + "!")
    else:
        prediction = replace(case.predictions[0], about_answer=long, prediction_set=tuple(DISPLAY_NAMES))
        case = replace(case, predictions=(prediction,), reason=long + "!")
    report = Report(case_report.pdf(case, classifier, origin=origin))
    seen = [box for box in report.letters if box[2] > box[0] and box[3] > box[1]]
    assert min(min(left, low) for left, low, _, _ in seen) > 40  # points of margin
    assert max(right for *_, right, _ in seen) < A4[0] - 40 and max(high for *_, high in seen) < A4[1] - 40
    for (left, low, right, high), _ in report.images:
        assert high - low > 72
        inside = [one for one in seen if left < one[0] and one[2] < right and low < one[1] and one[3] < high]
        assert len(inside) in (0, 3, 4)  # a ruler's "5 cm"


def test_weights_from_the_hub_are_named_with_their_commit(glioma, classifier):
    text = Report(case_report.pdf(glioma, classifier, origin=Origin("org/name", "0123abcd" * 5))).text
    assert f"{classifier.version} · org/name at {'0123abcd' * 5} · trained" in text


def test_a_ruler_is_drawn_only_where_the_size_of_a_pixel_is_known(volume, classifier):
    assert "5 cm" in Report(case_report.pdf(volume, classifier)).text
    unknown = replace(volume, scan=replace(volume.scan, spacing=None))
    assert "5 cm" not in Report(case_report.pdf(unknown, classifier)).text


@pytest.mark.parametrize("shape", [(40, 900), (900, 40), (7, 9)])
def test_pictures_of_any_shape_fit_into_their_frame(glioma, classifier, shape):
    prediction = replace(glioma.predictions[0], window=Window(left=0, top=0, side=max(shape)))
    scan = replace(glioma.scan, slices=[np.full(shape, 90, dtype=np.uint8)])
    wide = replace(glioma, scan=scan, predictions=(prediction,))
    for (left, low, right, high), picture in Report(case_report.pdf(wide, classifier)).images:
        assert (right - left) / (high - low) == pytest.approx(picture.shape[1] / picture.shape[0], rel=0.01)
        assert right - left < A4[0] / 2 and high - low < A4[0] / 2


def test_the_png_is_the_same_page_also_when_several_are_asked_for_at_once(glioma, refused, classifier):
    documents = [case_report.pdf(case, classifier) for case in (glioma, refused)] * 2
    with ThreadPoolExecutor(4) as threads:
        pictures = list(threads.map(case_report.png, documents))
    assert pictures[:2] == pictures[2:] and pictures[0] != pictures[1]
    with Image.open(io.BytesIO(pictures[0])) as picture:
        picture.load()
        assert picture.format == "PNG" and picture.mode == "RGB" and not picture.text
        inches = [side / case_report.PNG_DOTS_PER_INCH * 72 for side in picture.size]
        assert inches == pytest.approx(A4, abs=1)
        assert picture.getpixel((5, 5)) == (255, 255, 255)


def test_there_is_no_report_without_an_answer(glioma, classifier):
    (_, unreadable), *_ = classify(classifier, [Unreadable(NAME, "It is no scan.")])
    failed = Case(NAME, "failed", "Something went wrong.", 0.0, WHEN, glioma.scan)
    for case in (unreadable, failed):
        with pytest.raises(ValueError, match="no report"):
            case_report.pdf(case, classifier)
    with pytest.raises(ValueError, match="no slice 2 among 1"):
        case_report.pdf(glioma, classifier, index=1)
