"""What the page's components show in each of its states: changes by the component's name, and the theme.

A state is the whole of what is shown: what it does not name is hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr

from model.scans import Scan, Unreadable
from model.wording import duration, many

from . import batch, case_report, panels, pictures, slice_viewer, texts
from .sessions import Selection, View

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

THEME = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="lg",
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"],
).set(
    body_background_fill="*neutral_50",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_label_text_color="*body_text_color",
    block_label_text_color_dark="*body_text_color",
    block_label_border_width="0px",
    block_label_shadow="none",
    # white on the primary hue's 500 is too faint to be read by all
    checkbox_label_background_fill_selected="*primary_700",
    checkbox_label_background_fill_selected_dark="*primary_700",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_400",
)
AWAY = "away"  # out of sight, but still there: sorted and scrolled as it was left
PARTS = ("empty", "verdict", "viewer", "pictures", "details", "report", "download")


def nothing() -> dict:
    """Every component of the answer hidden."""
    return {name: gr.HTML(visible=False) for name in PARTS} | {
        "problem": "",
        "result": gr.Column(visible=True),
        "back": gr.Button(visible=False),
        "batch": gr.HTML(elem_classes=[AWAY]),
        "plane": gr.Radio(value=None, visible=False),
    }


def waiting(found: Sequence[Scan | Unreadable], text: str) -> dict:
    """Before there is an answer: what is being done, where the answer will stand and, of a single slice, the slice."""
    if len(found) > 1:
        return nothing() | {"verdict": gr.HTML(panels.html.progress(text), visible=True)}
    (scan,) = found
    card = panels.html.card("reading", scan.name, text) + panels.html.skeleton()
    slice_alone = _middle(scan) if len(scan.slices) == 1 else {}  # the slice viewer of a volume comes above it
    return nothing() | {"verdict": gr.HTML(card, visible=True)} | slice_alone


def all_cases(selection: Selection) -> dict:
    """Many scans at once."""
    cases, version = selection.answer.cases, selection.answer.classifier.version
    return nothing() | {
        "batch": gr.HTML(batch.overview(cases), elem_classes=[]),
        "download": gr.HTML(batch.csv_link(cases, version), visible=True),
    }


def all_cases_again(_: Selection) -> dict:
    """The same scans, sorted and scrolled as they were left."""
    return nothing() | {"batch": gr.HTML(elem_classes=[]), "download": gr.HTML(visible=True)}


def case(selection: Selection) -> dict:
    """The case that is open: a picture with its verdict, or a volume with the study's and the slice viewer."""
    answer, one, config = selection.answer, selection.case, selection.answer.classifier.config
    alone, changes = len(answer.cases) == 1, nothing()
    if not alone:
        changes["back"] = gr.Button(f"← All {many(len(answer.cases), 'scan')}", visible=True)
    if not one.predictions:
        return changes | message(one.status, one.name, one.reason) | _middle(one.scan)
    origin = f"{duration(one.seconds)} · weights {answer.classifier.version}", panels.answered(one)
    text = one.study.sentence if one.study else one.predictions[0].sentence
    text = panels.finding(one.reason) if one.status == "refused" else text
    shown = panels.of_case(one, config, one.scan.notes)
    card = panels.html.card(one.status, one.name, text, *origin) + panels.html.panels(shown, explained=True)
    changes |= {"verdict": gr.HTML(card, visible=True), "report": gr.HTML(visible=True, **case_report.state())}
    if one.study is None:
        drawn = pictures.figures(selection.view.pictures[0], one.predictions[0])
        return changes | {"pictures": gr.HTML(visible=True, **drawn)}
    planes = selection.opened.planes()
    if len(planes) > 1:
        changes["plane"] = gr.Radio([(name.capitalize(), name) for name in planes], value=one.scan.plane, visible=True)
    if alone:
        changes["download"] = gr.HTML(batch.csv_link([one], answer.classifier.version), visible=True)
    return changes | volume(selection)


def volume(selection: Selection) -> dict:
    """The slice viewer in the plane that is shown, at the most suspicious slice."""
    view, classifier = selection.view, selection.answer.classifier
    first = next(iter(view.case.study.suspicious), len(view.pictures) // 2)
    viewer = gr.HTML(first + 1, visible=True, **slice_viewer.properties(view, classifier.threshold))
    return {"viewer": viewer} | slice_of(view, first, classifier)


def slice_of(view: View, index: int, classifier: "TumorClassifier") -> dict:
    """One slice of a volume."""
    prediction, name = view.case.predictions[index], f"Slice {index + 1} of {len(view.pictures)}"
    text = prediction.sentence
    text = panels.finding(text) if prediction.status == "refused" else text
    shown = panels.html.panels(panels.of_slice(prediction, classifier.config))
    return {
        "pictures": gr.HTML(visible=True, **pictures.figures(view.pictures[index], prediction, name)),
        "details": gr.HTML(panels.html.card(prediction.status, name, text) + shown, visible=True),
    }


def gone() -> dict:
    """After the server has deleted what it answered."""
    return nothing() | message("gone", "", texts.GONE)


def message(status: str, name: str, text: str) -> dict:
    """The verdict card with a text that is no answer."""
    return {"verdict": gr.HTML(panels.html.card(status, name, text), visible=True)}


def _middle(scan: Scan) -> dict:
    return {"pictures": gr.HTML(visible=True, **pictures.figures(scan.slices[len(scan.slices) // 2]))}
