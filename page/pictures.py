"""Pictures as HTML. They travel inside the page: nothing that is shown or saved lies on the server's disk."""

import base64
import io

import numpy as np
from PIL import Image

from model import CLASSES, overlay
from model.prediction import Prediction

from . import TUMORS, macros

EXACT = {"format": "PNG", "compress_level": 1}  # of a single picture: twice the bytes of level 6, a fifth of its time
QUICK = {"format": "JPEG", "quality": 95, "subsampling": 0}  # in a volume: half the bytes, for each slice
LAYER = {"format": "PNG", "compress_level": 6}  # few colors: 3 to 15 kB, where the same drawn on the slice takes 80
PREVIEW = {"format": "JPEG", "quality": 80}  # a thumbnail is for finding a slice, not for reading it

html = macros("pictures")
SLICE = str(html.slice)
EMPTY = {"html_template": f"${{value.replaceAll('{SLICE}', `src=\"${{slice}}\"`)}}", "value": "", "slice": ""}


def figures(pixels: np.ndarray, prediction: Prediction | None = None, of_volume: str = "") -> dict:
    """Properties of the component: a slice and, beside it, the same with the evidence of each tumor to choose from.

    The likeliest tumor's evidence is chosen if a tumor is detected, else none. A refused slice has no evidence, and
    before there is an answer there is no second figure. `of_volume`: the position in a volume, as "Slice 2 of 24".
    """
    layers, answered = [], None
    if prediction and prediction.status != "refused":
        answered = prediction.likeliest_tumor if prediction.sees_tumor else None
        for tumor in TUMORS:
            layer = overlay.evidence_layer(pixels, prediction.evidence[CLASSES.index(tumor)], prediction.window)
            layers.append((tumor, *peak(prediction, tumor, pixels.shape), encoded(layer, **LAYER)))
    title, cover = of_volume.lower() or "the slice", round(100 * overlay.MOST_COVER)
    shown = Image.fromarray(overlay.picture(pixels))
    return {
        "value": str(html.figures(prediction, title, layers, answered, cover, overlay.COLORS)),
        "slice": encoded(shown, **(QUICK if of_volume else EXACT)),
    }


def peak(prediction: Prediction, tumor: str, shape: tuple[int, int]) -> tuple[float, float]:
    """(from the left, from the top), shares in 0..1 of a slice of `shape`, where a tumor's evidence is strongest."""
    share, window = prediction.evidence[CLASSES.index(tumor)], prediction.window
    row, column = np.unravel_index(share.argmax(), share.shape)
    height, width = shape
    left = (window.left + (column + 0.5) * window.side / share.shape[1]) / width
    top = (window.top + (row + 0.5) * window.side / share.shape[0]) / height
    return min(max(left, 0), 1), min(max(top, 0), 1)


def thumbnail(picture: np.ndarray, side: int) -> str:
    """The data URI of an 8-bit picture, its longer side at most `side` pixels long."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return encoded(image, **PREVIEW)


def encoded(image: Image.Image, **options) -> str:
    """The data URI of a picture; `options` as `Image.save` takes them."""
    file = io.BytesIO()
    image.save(file, **options)
    return data_uri(file.getvalue(), Image.MIME[options["format"]])


def data_uri(content: bytes, kind: str) -> str:
    """A file of the MIME type `kind` as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
