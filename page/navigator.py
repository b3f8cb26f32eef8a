"""The way through a volume: probabilities along its slices, a slider below them, the most suspicious slices first."""

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR
from model.prediction import Prediction
from model.wording import percent

from .pictures import thumbnail

if TYPE_CHECKING:
    from .sittings import View

THUMBNAIL = 160  # pixels: sharp on a phone's screen
TUMORS = tuple(name for index, name in enumerate(CLASSES) if index != NO_TUMOR)

# Rendered again by the browser whenever a property changes; `value` is the number of the slice shown, from 1.
TEMPLATE = """<div class="navigator" style="--at: ${value}; --count: ${count}">
<div class="caption"><b>Slice ${value} of ${count}</b> <span>${said[value - 1] || ""}</span></div>
<div class="chart">${chart}<i class="cursor"></i></div>
<input type="range" min="1" max="${count}" value="${value}" aria-label="Slice" aria-valuetext="Slice ${value} of
 ${count}: ${said[value - 1] || ""}">
${below}</div>"""

NOWHERE = {"count": 1, "said": [""], "chart": "", "below": ""}


def properties(view: "View", threshold: float) -> dict:
    """What `TEMPLATE` shows for a volume, without its `value`."""
    predictions, study = view.case.predictions, view.case.study
    return {
        "count": len(predictions),
        "said": [said(prediction) for prediction in predictions],
        "chart": chart(predictions, threshold),
        "below": key(threshold) + suspects(view, study.suspicious),
    }


def said(prediction: Prediction) -> str:
    """One slice's answer in a few words."""
    if prediction.status == "refused":
        return "refused"
    name = DISPLAY_NAMES[prediction.label]
    return f"{name} {percent(prediction.probabilities[prediction.label])}"


def chart(predictions: Sequence[Prediction], threshold: float) -> str:
    """Each slice a column, the probabilities of the tumors stacked in it; a refused slice is a gap.

    What is left above the stack is the probability of no tumor, and the dashed line the operating point.
    """
    judged = np.array([prediction.status != "refused" for prediction in predictions])
    stacks = np.zeros((len(TUMORS) + 1, len(predictions)))
    for row, name in enumerate(TUMORS, 1):
        stacks[row] = stacks[row - 1] + [prediction.probabilities[name] for prediction in predictions]
    runs = list(_runs(judged))
    areas = "".join(
        f'<path class="{name}" d="{"".join(_area(low[a:b], high[a:b], a) for a, b, is_judged in runs if is_judged)}"/>'
        for name, low, high in zip(TUMORS, stacks, stacks[1:], strict=False)
    )
    share = 100 / len(predictions)
    gaps = "".join(
        f'<i class="gap" style="left: {a * share:.3f}%; width: {(b - a) * share:.3f}%"></i>'
        for a, b, is_judged in runs
        if not is_judged
    )
    return (
        f'<svg viewBox="0 0 {len(predictions)} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Probability of each tumor along the slices">{areas}</svg>{gaps}'
        f'<i class="threshold" style="bottom: {100 * threshold:.1f}%"></i>'
        '<span class="most">100 %</span><span class="least">0</span>'
    )


def key(threshold: float) -> str:
    """What the colors, the gaps and the line of the chart stand for."""
    names = "".join(f'<span class="{name}">{DISPLAY_NAMES[name]}</span>' for name in TUMORS)
    return (
        f'<div class="key">{names}<span class="refused">refused</span>'
        f'<span class="seen">from {percent(threshold)} on a tumor counts as seen</span></div>'
    )


def suspects(view: "View", suspicious: Sequence[int]) -> str:
    """The most suspicious slices as thumbnails that lead to them."""
    if not suspicious:
        return ""
    buttons = "".join(
        f'<button type="button" class="{_tone(view.case.predictions[index])}" data-slice="{index + 1}">'
        f'<img alt="" src="{thumbnail(view.pictures[index], THUMBNAIL)}">'
        f"<b>Slice {index + 1}</b><span>{html.escape(_tumor(view.case.predictions[index]))}</span></button>"
        for index in suspicious
    )
    return f'<h3>Most suspicious first</h3><div class="suspects">{buttons}</div>'


def _tumor(prediction: Prediction) -> str:
    return f"tumor {percent(prediction.tumor_probability)}"


def _tone(prediction: Prediction) -> str:
    """The tumor whose color marks the slice, if one is seen in it."""
    return prediction.likeliest_tumor if prediction.sees_tumor else ""


def _runs(judged: np.ndarray) -> Iterator[tuple[int, int, bool]]:
    """(first, one past the last, whether judged) of slices in a row that are alike."""
    at = 0
    for is_judged, run in groupby(judged.tolist()):
        length = len(list(run))
        yield at, at + length, is_judged
        at += length


def _area(low: np.ndarray, high: np.ndarray, left: int) -> str:
    """The outline of columns from `low` to `high` (0..1), each as wide as 1, the first one at `left`."""
    top = "".join(f"V{100 - 100 * value:.1f}H{x}" for x, value in enumerate(high, left + 1))
    bottom = "".join(f"V{100 - 100 * value:.1f}H{x}" for x, value in zip(_back(left, len(low)), low[::-1], strict=True))
    return f"M{left} {100 - 100 * low[0]:.1f}{top}{bottom}Z"


def _back(left: int, count: int) -> range:
    return range(left + count - 1, left - 1, -1)
