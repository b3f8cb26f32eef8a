"""Pictures as HTML. They travel inside the page: nothing that is shown lies on the server's disk."""

import io

import numpy as np
from PIL import Image

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR, overlay
from model.prediction import Prediction
from model.wording import percent

from . import inline, texts

EXACT = {"format": "PNG", "compress_level": 1}  # of a single picture: twice the bytes of level 6, a fifth of its time
QUICK = {"format": "JPEG", "quality": 95, "subsampling": 0}  # in a volume: half the bytes, at every step
LAYER = {"format": "PNG", "compress_level": 6}  # few colors: 3 to 15 kB, where the same drawn on the slice takes 80
PREVIEW = {"format": "JPEG", "quality": 80}  # a thumbnail is for finding a slice, not for reading it
TUMORS = tuple(name for index, name in enumerate(CLASSES) if index != NO_TUMOR)  # absence is nowhere in particular
SLICE = 'src="@slice"'  # where the slice belongs: it is shown twice, and sent once
TEMPLATE = f"${{value.replaceAll('{SLICE}', `src=\"${{slice}}\"`)}}"
NOTHING = {"value": "", "slice": ""}
LEGEND = f"""<p class="legend"><span>no evidence</span>
<i style="background: linear-gradient(90deg, {", ".join(overlay.COLORS)})"></i>
<span>its strongest point</span><span class="contour">from half of that on</span></p>"""
CORNERS = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/></svg>'


def figures(pixels: np.ndarray, prediction: Prediction | None = None, of_volume: str = "") -> dict:
    """What `TEMPLATE` shows: a slice and, beside it, the same with the evidence of each tumor to choose from.

    The likeliest tumor's is chosen if a tumor is seen, else none. Of what was refused there is no evidence, and before
    there is an answer no second figure. `of_volume`: which slice of a volume it is, as "Slice 2 of 24". Nothing names
    the file: what describes a picture goes into a PDF with it.
    """
    shown = data_uri(Image.fromarray(overlay.picture(pixels)), **(QUICK if of_volume else EXACT))
    drawn = _figure("slice", "Slice", f'<img alt="{of_volume or "The slice"}" {SLICE}>')
    below = ""
    if prediction and prediction.status != "refused":
        ground = f'<img alt="" {SLICE}>'
        drawn += _figure("evidence", "Evidence", ground + _layers(pixels, of_volume.lower() or "the slice", prediction))
        below = _controls(prediction) + LEGEND
    elif prediction:
        drawn += f'<figure class="none"><p>{texts.NO_MAP}</p></figure>'
    panel = f'<h3>{texts.WHERE}</h3><div class="figures">{drawn}</div><div class="below">{below}</div>'
    early = "" if prediction else " early"
    return {"value": f'<section class="panel where{early}">{panel}</section>', "slice": shown}


def thumbnail(picture: np.ndarray, side: int) -> str:
    """A data URI of an 8-bit picture, its longer side at most `side` pixels long."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return data_uri(image, **PREVIEW)


def data_uri(image: Image.Image, **options) -> str:
    """A picture as the address of an image; `options` as `Image.save` takes them."""
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return inline.address(buffer.getvalue(), Image.MIME[options["format"]])


def peak(prediction: Prediction, tumor: str, shape: tuple[int, int]) -> tuple[float, float]:
    """(from the left, from the top), shares in 0..1 of a slice of `shape`, where a tumor's evidence is strongest."""
    share, window = prediction.evidence[CLASSES.index(tumor)], prediction.window
    row, column = np.unravel_index(share.argmax(), share.shape)
    height, width = shape
    left = (window.left + (column + 0.5) * window.side / share.shape[1]) / width
    top = (window.top + (row + 0.5) * window.side / share.shape[0]) / height
    return min(max(left, 0), 1), min(max(top, 0), 1)


def _figure(element_id: str, title: str, pictures: str) -> str:
    return (
        f'<figure id="{element_id}"><figcaption>{title}</figcaption>{pictures}'
        f'<button type="button" class="enlarge" aria-label="Fill the screen with: {title}">{CORNERS}</button></figure>'
    )


def _layers(pixels: np.ndarray, name: str, prediction: Prediction) -> str:
    """Each tumor's evidence; of them the one that is chosen is shown, and "as answered" is `.answer`."""
    drawn = ""
    for tumor in TUMORS:
        layer = overlay.evidence_layer(pixels, prediction.evidence[CLASSES.index(tumor)], prediction.window)
        left, top = peak(prediction, tumor, pixels.shape)
        title = f"Evidence of {DISPLAY_NAMES[tumor]}"
        where = f"strongest {100 * left:.0f} % from the left, {100 * top:.0f} % from the top"
        answered = " answer" if prediction.sees_tumor and tumor == prediction.likeliest_tumor else ""
        drawn += (
            f'<div class="layer {tumor}{answered}"><img alt="{title} on {name}, {where}" '
            f'src="{data_uri(layer, **LAYER)}"><b>{title}</b></div>'
        )
    unseen = "" if prediction.sees_tumor else f'<div class="layer answer"><p>{texts.NO_TUMOR_SEEN}</p></div>'
    return drawn + unseen


def _controls(prediction: Prediction) -> str:
    """Whose evidence is shown, and how strongly. The browser keeps what was chosen from slice to slice."""
    choices = [("answer", "as answered", "")]
    choices += [(name, DISPLAY_NAMES[name], percent(prediction.probabilities[name])) for name in TUMORS]
    radios = "".join(
        f'<label><input type="radio" name="evidence" value="{value}"{" checked" if value == "answer" else ""}>'
        f"<span>{title} <small>{share}</small></span></label>"
        for value, title, share in choices
    )
    cover = round(100 * overlay.MOST_COVER)
    return (
        f'<fieldset class="choices"><legend>Evidence of</legend>{radios}</fieldset><label class="opacity">'
        f'<span>Opacity</span> <input type="range" min="0" max="100" step="5" value="{cover}"> '
        f"<output>{cover} %</output></label>"
    )
