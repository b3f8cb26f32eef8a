"""What the page's components show in each of its states: changes by the component's name.

A state is the whole of what is shown: what it does not name is hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from model.prediction import Prediction
from model.scans import Scan, Unreadable
from model.wording import duration, many

from . import batch, cards, case_report, navigator, panels, pictures, texts
from .sittings import Look, View

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

AWAY = "away"  # out of sight, but still there: sorted and scrolled as it was left


def nothing() -> dict:
    """Every component of the answer out of sight."""
    parts = ("empty", "verdict", "way", "pictures", "details", "report", "download")
    return {name: gr.HTML(visible=False) for name in parts} | {
        "problem": "",
        "result": gr.Column(visible=True),
        "back": gr.Button(visible=False),
        "overview": gr.HTML(elem_classes=[AWAY]),
        "plane": gr.Radio(value=None, visible=False),
    }


def waiting(found: Sequence[Scan | Unreadable], sentence: str) -> dict:
    """Before there is an answer: what is being done, where it will stand and, of a single slice, the slice."""
    if len(found) > 1:
        return nothing() | {"verdict": gr.HTML(cards.progress(sentence), visible=True)}
    (scan,) = found
    card = cards.verdict("reading", scan.name, sentence) + panels.SKELETON
    slice_alone = _middle(scan) if len(scan.slices) == 1 else {}  # of a volume, the way through it comes in between
    return nothing() | {"verdict": gr.HTML(card, visible=True)} | slice_alone


def batch_of(look: Look) -> dict:
    """Many scans at once."""
    cases, version = look.sitting.cases, look.sitting.classifier.version
    return nothing() | {
        "overview": gr.HTML(batch.overview(cases), elem_classes=[]),
        "download": gr.HTML(batch.csv_link(cases, version), visible=True),
    }


def batch_again(_: Look) -> dict:
    """The same scans, sorted and scrolled as they were left."""
    return nothing() | {"overview": gr.HTML(elem_classes=[]), "download": gr.HTML(visible=True)}


def case(look: Look) -> dict:
    """The case that is opened: a picture with its verdict, or a volume with the study's and the way through it."""
    sitting, classifier, one = look.sitting, look.sitting.classifier, look.case
    alone = len(sitting.cases) == 1
    changes = nothing()
    if not alone:
        changes["back"] = gr.Button(f"← All {many(len(sitting.cases), 'scan')}", visible=True)
    if not one.predictions:
        return changes | _verdict(one.status, one.name, one.reason) | _middle(one.scan)
    origin = f"{duration(one.seconds)} · weights {classifier.version}", cards.answered(one)
    view = look.view
    changes["report"] = gr.HTML(visible=True, **case_report.state())
    if one.study is None:
        (prediction,) = one.predictions
        answer = _answer(prediction, one.name, classifier, origin, one.scan.notes, texts.NUMBERS)
        drawn = pictures.figures(view.pictures[0], prediction)
        return changes | {"verdict": gr.HTML(answer, visible=True), "pictures": gr.HTML(visible=True, **drawn)}
    sentence = cards.finding(one.reason) if one.status == "refused" else one.study.sentence
    card = cards.verdict(one.status, one.name, sentence, *origin)
    changes["verdict"] = gr.HTML(card + panels.of_study(one, classifier.config, texts.NUMBERS), visible=True)
    planes = sitting.planes(look.opened)
    if len(planes) > 1:
        changes["plane"] = gr.Radio([(cut.capitalize(), cut) for cut in planes], value=one.scan.plane, visible=True)
    if alone:
        changes["download"] = gr.HTML(batch.csv_link([one], classifier.version), visible=True)
    return changes | volume(look)


def volume(look: Look) -> dict:
    """The way through a volume in the plane that it is looked at in, at its most suspicious slice."""
    view, classifier = look.view, look.sitting.classifier
    count, suspicious = len(view.pictures), view.case.study.suspicious
    first = suspicious[0] if suspicious else count // 2
    way = gr.HTML(first + 1, visible=True, **navigator.properties(view, classifier.threshold))
    return {"way": way} | slice_of(view, first, classifier)


def slice_of(view: View, index: int, classifier: "TumorClassifier") -> dict:
    """One slice of a volume."""
    prediction, name = view.case.predictions[index], f"Slice {index + 1} of {len(view.pictures)}"
    drawn = pictures.figures(view.pictures[index], prediction, name)
    return {
        "pictures": gr.HTML(visible=True, **drawn),
        "details": gr.HTML(_answer(prediction, name, classifier), visible=True),
    }


def gone() -> dict:
    """After the server has forgotten what it answered."""
    return nothing() | _verdict("gone", "", texts.GONE)


def no_model(name: str) -> dict:
    return _verdict("no model", name, texts.MODEL_IS_MISSING)


def _answer(
    prediction: Prediction,
    name: str,
    classifier: "TumorClassifier",
    origin: Sequence[str] = (),
    notes: Sequence[str] = (),
    below: str = "",
) -> str:
    """What is said of one slice: the sentence, and the panels that it rests on."""
    refused, sentence = prediction.status == "refused", prediction.sentence
    card = cards.verdict(prediction.status, name, cards.finding(sentence) if refused else sentence, *origin)
    return card + panels.of_slice(prediction, classifier.config, notes, below)


def _verdict(status: str, name: str, sentence: str) -> dict:
    return {"verdict": gr.HTML(cards.verdict(status, name, sentence), visible=True)}


def _middle(scan: Scan) -> dict:
    return {"pictures": gr.HTML(visible=True, **pictures.figures(scan.slices[len(scan.slices) // 2]))}
