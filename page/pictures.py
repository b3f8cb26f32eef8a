"""Pictures as HTML. They travel inside the page: nothing that is shown lies on the server's disk."""

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from model import CLASSES, DISPLAY_NAMES, overlay

if TYPE_CHECKING:
    from model.classifier import Prediction

EXACT = {"format": "PNG", "compress_level": 1}  # of a single picture: twice the bytes of level 6, a fifth of its time
QUICK = {"format": "JPEG", "quality": 95, "subsampling": 0}  # in a volume: a third of the bytes, at every step
PREVIEW = {"format": "JPEG", "quality": 80}  # a thumbnail is for finding a slice, not for reading it
LEGEND = f"""<div class="legend"><span>less</span>
<i style="background: linear-gradient(90deg, {", ".join(overlay.COLORS)})"></i>
<span>more evidence</span><span class="contour">half of the maximum</span></div>"""
CORNERS = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4"/></svg>'
# A click on the corner fills the screen with a figure, a second one or Escape gives it back.
ENLARGE = """element.addEventListener("click", (event) => {
  const figure = event.target.closest(".enlarge")?.closest("figure");
  if (figure) document.fullscreenElement ? document.exitFullscreen() : figure.requestFullscreen();
});"""


def figures(pixels: np.ndarray, name: str, prediction: "Prediction | None" = None, in_volume: bool = False) -> str:
    """A slice and, if a tumor is seen in it, the evidence of the likeliest one: absence is nowhere in particular.

    In a volume the second figure keeps its place, so that nothing jumps from slice to slice.
    """
    options = QUICK if in_volume else EXACT
    drawn = _figure("slice", "Slice", f"The slice {name}", data_uri(overlay.picture(pixels), **options))
    judged = prediction is not None and prediction.status != "refused"
    if judged and prediction.sees_tumor:
        tumor = prediction.likeliest_tumor
        evidence = prediction.evidence[CLASSES.index(tumor)]
        title = f"Evidence of {DISPLAY_NAMES[tumor]}"
        picture = data_uri(overlay.evidence_picture(pixels, evidence, prediction.window), **options)
        drawn += _figure("evidence", title, f"{title} on {name}", picture)
    elif in_volume:
        why = "No tumor is seen in this slice." if judged else "This slice was refused."
        drawn += f'<figure class="none"><p>{why}</p></figure>'
    return f'<div class="figures">{drawn}</div>{LEGEND if in_volume or "evidence" in drawn else ""}'


def thumbnail(picture: np.ndarray, side: int) -> str:
    """A data URI of an 8-bit picture, its longer side at most `side` pixels long."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return data_uri(np.asarray(image), **PREVIEW)


def data_uri(picture: np.ndarray, **options) -> str:
    """An 8-bit picture, gray or RGB, as the address of an image; `options` as `Image.save` takes them."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, **options)
    return f"data:image/{options['format'].lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _figure(element_id: str, title: str, alt: str, address: str) -> str:
    return (
        f'<figure id="{element_id}"><figcaption>{title}</figcaption><img alt="{html.escape(alt)}" src="{address}">'
        f'<button type="button" class="enlarge" aria-label="Fill the screen with: {title}">{CORNERS}</button></figure>'
    )
