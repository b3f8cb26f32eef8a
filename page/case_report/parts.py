"""The parts of a report that are words and numbers: each a `Block`."""

from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from model import CLASSES, DISPLAY_NAMES
from model.cases import Case
from model.classifier import TumorClassifier
from model.serving import Origin
from model.wording import percent

from .. import texts
from . import words
from .sheet import BOLD, COLUMN, FAINT, GAP, INK, INNER, LINE, QUIET, RADIUS, REGULAR, Block, beside, stacked, text

COLORS = dict(zip(CLASSES, map(HexColor, ("#c2570c", "#0072b2", "#6b1d5c", "#526077")), strict=True))  # as on the page
TONES = {  # of a status: its color, and a tint of it
    "accepted": (HexColor("#0f766e"), HexColor("#effaf7")),
    "doubtful": (HexColor("#b45309"), HexColor("#fff8e8")),
    "refused": (HexColor("#b91c1c"), HexColor("#fef3f2")),
}
NOTICE_INK, NOTICE_LINE, NOTICE_GROUND = map(HexColor, ("#78350f", "#d97706", "#fef3c7"))
PADDING = 3.5 * mm
HEADING, BODY, SMALL = 10, 9, 7.5  # points, of type
TERM = 56  # width of what a fact is about
NAME, VALUE, ROW = 80, 54, 16  # of the bars: width of a class's name and of its probability, height of a row
RULE = 7 * mm  # from line to line of the notes


def header(case: Case) -> Block:
    """What this is, when it was answered, and a line to write on whose it is."""

    def draw(canvas: Canvas, left: float, top: float) -> None:
        canvas.setFillColor(INK)
        canvas.setFont(BOLD, 15)
        canvas.drawString(left, top - 13, texts.TITLE)
        _notice(canvas, left + INNER, top - 15)
        canvas.setFillColor(INK)
        canvas.setFont(REGULAR, BODY)
        canvas.drawString(left, top - 39, "Case:")
        canvas.setFillColor(QUIET)
        canvas.drawRightString(left + INNER, top - 39, f"Answered {words.answered(case)}")
        canvas.setStrokeColor(QUIET)
        canvas.setLineWidth(0.6)
        canvas.line(left + 28, top - 41, left + COLUMN, top - 41)

    return Block(43, draw)


def _notice(canvas: Canvas, right: float, bottom: float) -> None:
    width = canvas.stringWidth(words.NOTICE, BOLD, 8) + 16
    canvas.setFillColor(NOTICE_GROUND)
    canvas.setStrokeColor(NOTICE_LINE)
    canvas.setLineWidth(0.6)
    canvas.roundRect(right - width, bottom, width, 16, 8, fill=1)
    canvas.setFillColor(NOTICE_INK)
    canvas.setFont(BOLD, 8)
    canvas.drawString(right - width + 8, bottom + 5, words.NOTICE)


def verdict(case: Case) -> Block:
    """The answer in a sentence, in the color of its status."""
    tone, tint = TONES[case.status]
    sentence, reason = words.verdict(case)
    width = INNER - 2 * PADDING
    lines = [text(words.STATUSES[case.status], width, 8, BOLD, tone), text(sentence, width, 13, BOLD)]
    lines += [text(reason, width, BODY, color=QUIET)] if reason else []
    inside = stacked(lines, 2)
    height = inside.height + 2 * PADDING

    def draw(canvas: Canvas, left: float, top: float) -> None:
        canvas.setFillColor(tint)
        canvas.setStrokeColor(tone)
        canvas.setLineWidth(0.8)
        canvas.roundRect(left, top - height, INNER, height, RADIUS, fill=1)
        inside.draw(canvas, left + PADDING, top - PADDING)

    return Block(height, draw)


def panels(case: Case, classifier: TumorClassifier) -> Block:
    """Is this a brain MRI, and the classification; of a refused case nothing is classified."""
    judged = [_heading(texts.BRAIN), _facts(words.of_input(case, classifier))]
    classified = [_heading(texts.CLASSIFICATION)]
    if case.status == "refused":
        classified.append(text(texts.NO_CLASSIFICATION, COLUMN, BODY))
    else:
        whole = [text("Of the study as a whole", COLUMN, SMALL, color=QUIET)] if case.study else []
        classified += [*whole, _bars(words.probabilities(case)), _facts(words.of_answer(case, classifier))]
    return beside([(0, stacked(judged, 6)), (COLUMN + GAP, stacked(classified, 6))])


def notes(height: float) -> Block:
    """Lines to write on, as many as fit into `height` points."""
    heading, count = _heading("Notes"), int((height - HEADING - GAP) // RULE)
    if count < 1:
        return Block(0, lambda canvas, left, top: None)

    def draw(canvas: Canvas, left: float, top: float) -> None:
        heading.draw(canvas, left, top)
        canvas.setStrokeColor(LINE)
        canvas.setLineWidth(0.6)
        for line in range(1, count + 1):
            at = top - HEADING - line * RULE
            canvas.line(left, at, left + INNER, at)

    return Block(HEADING + count * RULE, draw)


def _heading(words: str) -> Block:
    return text(words, COLUMN, HEADING, BOLD)


def _bars(shares: dict[str, float]) -> Block:
    """The probabilities; each bar's length is its share of the track."""

    def draw(canvas: Canvas, left: float, top: float) -> None:
        track = COLUMN - NAME - VALUE
        for row, (name, share) in enumerate(shares.items(), 1):
            base = top - row * ROW + 5
            canvas.setFont(REGULAR, BODY)
            canvas.setFillColor(INK)
            canvas.drawString(left, base, DISPLAY_NAMES[name].capitalize())
            canvas.setFillColor(FAINT)
            canvas.rect(left + NAME, base - 0.5, track, 7.5, stroke=0, fill=1)
            canvas.setFillColor(COLORS[name])
            canvas.rect(left + NAME, base - 0.5, share * track, 7.5, stroke=0, fill=1)
            canvas.setFillColor(INK)
            canvas.setFont(BOLD, BODY)
            canvas.drawRightString(left + COLUMN, base, percent(share))

    return Block(len(shares) * ROW, draw)


def _facts(found: list[words.Fact]) -> Block:
    rows = []
    for what, answer, worth in found:
        told = [text(answer, COLUMN - TERM, BODY)]
        told += [text(worth, COLUMN - TERM, SMALL, color=QUIET)] if worth else []
        rows.append(beside([(0, text(what, TERM - 4, BODY, BOLD)), (TERM, stacked(told, 1))]))
    return stacked(rows, 5)


def footer(classifier: TumorClassifier, origin: Origin | None) -> Block:
    """Which weights answered, and what this page is not."""
    disclaimer = f"{words.NOTICE}. {words.DISCLAIMER} {words.ANONYMOUS}"
    lines = [text(words.weights(classifier, origin), INNER, SMALL, BOLD), text(disclaimer, INNER, SMALL, color=QUIET)]
    inside = stacked(lines, 2)

    def draw(canvas: Canvas, left: float, top: float) -> None:
        canvas.setStrokeColor(LINE)
        canvas.setLineWidth(0.6)
        canvas.line(left, top, left + INNER, top)
        inside.draw(canvas, left, top - 5)

    return Block(inside.height + 5, draw)
