"""The parts of a report on their page."""

import io

import numpy as np

from model.cases import Case
from model.classifier import TumorClassifier
from model.serving import Origin

from . import figures, parts, words
from .sheet import COLUMN, GAP, HEIGHT, MARGIN, new_canvas

MOST_PICTURE = COLUMN + figures.CAPTION  # points: a square picture, as wide as its column


def draw(case: Case, classifier: TumorClassifier, index: int, pixels: np.ndarray, origin: Origin | None) -> bytes:
    """The page as PDF: see `page.case_report.pdf`. The pictures take what the words leave, and notes what is left."""
    file = io.BytesIO()
    canvas = new_canvas(file, "Brain tumor on MRI: report of a case", words.NOTICE)
    footer = parts.footer(classifier, origin)
    above, below = [parts.header(case), parts.verdict(case)], [parts.panels(case, classifier)]
    if case.study:
        below.insert(0, figures.way(case, index, classifier.threshold))
    room = HEIGHT - 2 * MARGIN - sum(block.height + GAP for block in (*above, *below, footer)) - GAP
    pictures = figures.pictures(case, index, pixels, min(MOST_PICTURE, room))
    top = HEIGHT - MARGIN
    for block in (*above, pictures, *below, parts.notes(room - pictures.height)):
        block.draw(canvas, MARGIN, top)
        top -= block.height + GAP
    footer.draw(canvas, MARGIN, MARGIN + footer.height)
    canvas.showPage()
    canvas.save()
    return file.getvalue()
