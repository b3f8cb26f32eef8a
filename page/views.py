"""What the page's components show in each of its states: changes by the component's name.

A state is the whole of what is shown: what it does not name is hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from model import report
from model.cases import Case
from model.scans import Scan, Unreadable
from model.wording import many

from . import batch, cards, navigator, pictures, texts
from .sittings import Sitting, View

if TYPE_CHECKING:
    from model.classifier import Prediction, TumorClassifier

AWAY = "away"  # out of sight, but still there: sorted and scrolled as it was left


def nothing() -> dict:
    """Every component of the answer out of sight."""
    parts = ("empty", "verdict", "way", "pictures", "details", "download")
    return {name: gr.HTML(visible=False) for name in parts} | {
        "problem": "",
        "result": gr.Column(visible=True),
        "back": gr.Button(visible=False),
        "overview": gr.HTML(elem_classes=[AWAY]),
        "plane": gr.Radio(visible=False),
    }


def waiting(found: Sequence[Scan | Unreadable], sentence: str) -> dict:
    """Before there is an answer: a scan's middle slice, and what is being done."""
    if len(found) > 1:
        return nothing() | {"verdict": gr.HTML(cards.progress(sentence), visible=True)}
    (scan,) = found
    return nothing() | _verdict("reading", scan.name, sentence) | _middle(scan)


def batch_of(cases: Sequence[Case], version: str) -> dict:
    """Many scans at once."""
    return nothing() | {
        "overview": gr.HTML(batch.overview(cases), elem_classes=[]),
        "download": gr.HTML(batch.csv_link(cases, version), visible=True),
    }


def batch_again() -> dict:
    """The same scans, sorted and scrolled as they were left."""
    return nothing() | {"overview": gr.HTML(elem_classes=[]), "download": gr.HTML(visible=True)}


def case(sitting: Sitting, classifier: "TumorClassifier") -> dict:
    """The case that is opened: a picture with its verdict, or a volume with the study's and the way through it."""
    one, alone = sitting.cases[sitting.opened], len(sitting.cases) == 1
    changes = nothing()
    if not alone:
        changes["back"] = gr.Button(f"← All {many(len(sitting.cases), 'scan')}", visible=True)
    if not one.predictions:
        return changes | _verdict(one.status, one.name, one.reason) | _middle(one.scan)
    origin = f"{one.seconds:.2f} s · weights {classifier.version}"
    view = sitting.view(one.scan.plane)
    if one.study is None:
        (prediction,) = one.predictions
        return changes | {
            "verdict": gr.HTML(_answer(prediction, one.name, classifier, origin, one.scan.notes), visible=True),
            "pictures": gr.HTML(pictures.figures(view.pictures[0], one.name, prediction), visible=True),
            "details": gr.HTML(_bars(prediction), visible=True),
        }
    study = cards.verdict(
        one.status, one.name, one.study.sentence, one.reason, origin, cards.study_facts(one, classifier.config)
    )
    changes["verdict"] = gr.HTML(study, visible=True)
    planes = sitting.planes()
    if len(planes) > 1:
        changes["plane"] = gr.Radio([(cut.capitalize(), cut) for cut in planes], value=one.scan.plane, visible=True)
    if alone:
        changes["download"] = gr.HTML(batch.csv_link([one], classifier.version), visible=True)
    return changes | volume(view, classifier)


def volume(view: View, classifier: "TumorClassifier") -> dict:
    """The way through a volume, at its most suspicious slice."""
    count, suspicious = len(view.pictures), view.case.study.suspicious
    first = suspicious[0] if suspicious else count // 2
    way = gr.HTML(first + 1, visible=True, **navigator.properties(view, classifier.threshold))
    return {"way": way} | slice_of(view, first, classifier)


def slice_of(view: View, index: int, classifier: "TumorClassifier") -> dict:
    """One slice of a volume."""
    prediction, name = view.case.predictions[index], f"Slice {index + 1} of {len(view.pictures)}"
    return {
        "pictures": gr.HTML(pictures.figures(view.pictures[index], name, prediction, in_volume=True), visible=True),
        "details": gr.HTML(_answer(prediction, name, classifier) + _bars(prediction), visible=True),
    }


def gone() -> dict:
    """After the server has forgotten what it answered."""
    return nothing() | _verdict("gone", "", texts.GONE)


def no_model(name: str) -> dict:
    return _verdict("no model", name, texts.MODEL_IS_MISSING)


def _answer(
    prediction: "Prediction", name: str, classifier: "TumorClassifier", origin: str = "", notes: Sequence[str] = ()
) -> str:
    """The card of one slice."""
    refused, sentence = prediction.status == "refused", report.sentence(prediction)
    facts = [] if refused else report.certainty(prediction, classifier.config)
    facts += [("Note", note, "") for note in notes]
    return cards.verdict(prediction.status, name, sentence, prediction.reason, origin, facts)


def _bars(prediction: "Prediction") -> str:
    """The probabilities of one slice; those of what is no brain MRI mean nothing."""
    return "" if prediction.status == "refused" else cards.probabilities(prediction)


def _verdict(status: str, name: str, sentence: str) -> dict:
    return {"verdict": gr.HTML(cards.verdict(status, name, sentence), visible=True)}


def _middle(scan: Scan) -> dict:
    drawn = pictures.figures(scan.slices[len(scan.slices) // 2], scan.name)
    return {"pictures": gr.HTML(drawn, visible=True)}
