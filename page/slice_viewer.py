"""The slice viewer: probabilities along a volume's slices, a slider below them, the most suspicious slices first.

The server sends all that does not change from slice to slice; slice_viewer.js moves the position in the browser.
"""

import re
from collections.abc import Sequence

import numpy as np

from model import DISPLAY_NAMES
from model.prediction import Prediction
from model.wording import percent

from . import TUMORS, macros
from .pictures import thumbnail
from .sessions import View

THUMBNAIL = 160  # pixels: sharp on a phone's screen

html = macros("slice_viewer")
EMPTY = {"html_template": str(html.component()), "value": 1, "count": 1, "captions": [""], "chart": "", "below": ""}


def properties(view: View, threshold: float) -> dict:
    """A volume as properties of the component, but for its `value`; `threshold`, the operating point of slices."""
    predictions = view.case.predictions
    suspects = [
        (index + 1, thumbnail(view.pictures[index], THUMBNAIL), predictions[index])
        for index in view.case.study.suspicious
    ]
    return {
        "count": len(predictions),
        "captions": [caption(prediction) for prediction in predictions],
        "chart": chart(predictions, threshold),
        "below": str(html.below(threshold, suspects)),
    }


def caption(prediction: Prediction) -> str:
    """The answer for one slice in a few words."""
    if prediction.status == "refused":
        return "refused"
    return f"{DISPLAY_NAMES[prediction.label]} {percent(prediction.probabilities[prediction.label])}"


def stacked(predictions: Sequence[Prediction]) -> np.ndarray:
    """(tumors, slices): P(tumor) summed up to each of `TUMORS`, 0 where a slice was refused."""
    shares = [[made.probabilities[name] * (made.status != "refused") for made in predictions] for name in TUMORS]
    return np.cumsum(shares, axis=0)


def chart(predictions: Sequence[Prediction], threshold: float) -> str:
    """The probabilities along the slices as HTML; the dashed line is the operating point."""
    areas = {
        name: f"M0 100{''.join(f'V{100 - 100 * top:.1f}H{right}' for right, top in enumerate(tops, 1))}V100Z"
        for name, tops in zip(TUMORS, stacked(predictions), strict=True)
    }
    refused = "".join("x" if made.status == "refused" else "." for made in predictions)
    gaps = [(run.start(), len(run[0])) for run in re.finditer("x+", refused)]
    return str(html.chart(len(predictions), dict(reversed(areas.items())), gaps, threshold))
