"""The parts of a report that are drawn: the slice, the evidence on it, and the way through a volume."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR, overlay
from model.cases import Case
from model.prediction import Prediction
from model.wording import percent

from . import words
from .parts import BODY, COLORS, SMALL
from .sheet import BOLD, COLUMN, FAINT, GAP, INK, INNER, LINE, QUIET, REGULAR, Block, text

CAPTION = 26  # points below a picture, for two lines
PLOT, AXIS = 15 * mm, 30  # height of the way through a volume; room for its numbers at the left
KEY = 14  # points below the plot
RULER_MM = 50  # as long as a large tumor
TUMORS = [name for index, name in enumerate(CLASSES) if index != NO_TUMOR]


def pictures(case: Case, index: int, pixels: np.ndarray, height: float) -> Block:
    """The slice and, if a tumor is seen in it, the evidence on it with its scale; all `height` points high."""
    prediction = case.predictions[index]
    title, drawn = words.evidence_said(prediction), None
    if prediction.status != "refused" and prediction.sees_tumor:
        evidence = prediction.evidence[CLASSES.index(prediction.likeliest_tumor)]
        drawn = overlay.evidence_picture(pixels, evidence, prediction.window)
    plain, side = overlay.picture(pixels), height - CAPTION

    def draw(canvas: Canvas, left: float, top: float) -> None:
        right = left + COLUMN + GAP
        wide = _picture(canvas, plain, left, top, side)
        if case.scan.spacing:
            millimeters = pixels.shape[1] * case.scan.spacing[1]
            if millimeters > 2 * RULER_MM:
                _ruler(canvas, left, top - side, RULER_MM * wide / millimeters)
        _caption(canvas, words.slice_said(case, index), left, top - height)
        if drawn is None:
            _nothing(canvas, title, right, top, side)
        else:
            _picture(canvas, drawn, right, top, side)
            _caption(canvas, title, right, top - height)
            _scale(canvas, right, top - height)

    return Block(height, draw)


def _picture(canvas: Canvas, pixels: np.ndarray, left: float, top: float, height: float) -> float:
    """A picture as large as fits into its frame; returns its width."""
    canvas.setFillColor(black)
    canvas.rect(left, top - height, COLUMN, height, stroke=0, fill=1)
    rows, columns = pixels.shape[:2]
    scale = min(COLUMN / columns, height / rows)
    width, tall = columns * scale, rows * scale
    place = left + (COLUMN - width) / 2, top - (height + tall) / 2
    canvas.drawImage(ImageReader(Image.fromarray(pixels)), *place, width, tall)
    return width


def _ruler(canvas: Canvas, left: float, bottom: float, length: float) -> None:
    """A length to compare with, drawn over the lower left of the picture."""
    canvas.setStrokeColor(white)
    canvas.setFillColor(white)
    canvas.setLineWidth(1.2)
    canvas.line(left + 8, bottom + 8, left + 8 + length, bottom + 8)
    for end in (left + 8, left + 8 + length):
        canvas.line(end, bottom + 5.5, end, bottom + 10.5)
    canvas.setFont(BOLD, SMALL)
    canvas.drawCentredString(left + 8 + length / 2, bottom + 12, f"{RULER_MM // 10} cm")


def _nothing(canvas: Canvas, why: str, left: float, top: float, height: float) -> None:
    canvas.setStrokeColor(LINE)
    canvas.setLineWidth(0.8)
    canvas.setDash(3, 3)
    canvas.rect(left, top - height, COLUMN, height)
    canvas.setDash()
    told = text(why, COLUMN - 60, 9, color=QUIET)
    told.draw(canvas, left + 30, top - (height - told.height) / 2)


def _caption(canvas: Canvas, title: str, left: float, bottom: float) -> None:
    canvas.setFillColor(INK)
    canvas.setFont(BOLD, BODY)
    canvas.drawString(left, bottom + 14, title)


def _scale(canvas: Canvas, left: float, bottom: float) -> None:
    """What the colors of the evidence and its contour stand for."""
    start, width = left + 22, 50
    canvas.setFont(REGULAR, SMALL)
    canvas.setFillColor(QUIET)
    canvas.drawString(left, bottom + 2, "less")
    canvas.drawString(start + width + 4, bottom + 2, "more; white line: half of the maximum")
    canvas.saveState()
    clip = canvas.beginPath()
    clip.rect(start, bottom + 1, width, 7)
    canvas.clipPath(clip, stroke=0)
    stops = [k / (len(overlay.COLORS) - 1) for k in range(len(overlay.COLORS))]
    canvas.linearGradient(start, 0, start + width, 0, list(map(HexColor, overlay.COLORS)), stops)
    canvas.restoreState()


def way(case: Case, index: int, threshold: float) -> Block:
    """Each slice a column with the probabilities of the tumors stacked in it, a refused one gray; the shown one marked.

    What is left above the stack is the probability of no tumor, and the dashed line the slices' operating point.
    """
    heading = text(words.way_said(case), INNER, 8.5, BOLD)
    height = heading.height + 6 + PLOT + 12 + KEY

    def draw(canvas: Canvas, left: float, top: float) -> None:
        heading.draw(canvas, left, top)
        start, base = left + AXIS, top - heading.height - 6 - PLOT
        step = (INNER - AXIS) / len(case.predictions)
        canvas.setFillColor(FAINT)
        canvas.rect(start, base, INNER - AXIS, PLOT, stroke=0, fill=1)
        _columns(canvas, case.predictions, start, base, step)
        canvas.setStrokeColor(INK)
        canvas.setLineWidth(0.7)
        canvas.setDash(2, 2)
        canvas.line(start, base + threshold * PLOT, start + INNER - AXIS, base + threshold * PLOT)
        canvas.setDash()
        canvas.setFont(REGULAR, 7)
        canvas.setFillColor(QUIET)
        canvas.drawRightString(start - 4, base + PLOT - 6, "100 %")
        canvas.drawRightString(start - 4, base, "0")
        _marker(canvas, start + (index + 0.5) * step, base, f"slice {index + 1} is shown", start)
        _key(canvas, start, base - 12 - KEY + 4, threshold)

    return Block(height, draw)


def _columns(canvas: Canvas, predictions: Sequence[Prediction], start: float, base: float, step: float) -> None:
    for column, prediction in enumerate(predictions):
        left, low = start + column * step, base
        if prediction.status == "refused":
            canvas.setFillColor(LINE)
            canvas.rect(left, base, step, PLOT, stroke=0, fill=1)
            continue
        for name in TUMORS:
            tall = prediction.probabilities[name] * PLOT
            canvas.setFillColor(COLORS[name])
            canvas.rect(left, low, step, tall, stroke=0, fill=1)
            low += tall


def _marker(canvas: Canvas, at: float, base: float, said: str, start: float) -> None:
    canvas.setStrokeColor(white)
    canvas.setLineWidth(2.6)
    canvas.line(at, base - 3, at, base + PLOT + 3)
    canvas.setStrokeColor(INK)
    canvas.setLineWidth(1.1)
    canvas.line(at, base - 3, at, base + PLOT + 3)
    canvas.setFillColor(INK)
    canvas.setFont(REGULAR, 7)
    half = canvas.stringWidth(said, REGULAR, 7) / 2
    canvas.drawCentredString(min(max(at, start + half), start + INNER - AXIS - half), base - 10, said)


def _key(canvas: Canvas, left: float, bottom: float, threshold: float) -> None:
    """What the colors stand for."""
    canvas.setFont(REGULAR, 7)
    for name, color in [(DISPLAY_NAMES[name], COLORS[name]) for name in TUMORS] + [("refused", LINE)]:
        canvas.setFillColor(color)
        canvas.rect(left, bottom, 6, 6, stroke=0, fill=1)
        canvas.setFillColor(QUIET)
        canvas.drawString(left + 9, bottom + 0.5, name)
        left += 9 + canvas.stringWidth(name, REGULAR, 7) + 12
    canvas.setStrokeColor(INK)
    canvas.setDash(2, 2)
    canvas.line(left, bottom + 3, left + 12, bottom + 3)
    canvas.setDash()
    canvas.drawString(left + 15, bottom + 0.5, f"from {percent(threshold)} on a tumor counts as seen in a slice")
