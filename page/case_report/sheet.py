"""A4 paper, its measures and its type: what the parts of a report are drawn with."""

import io
from collections.abc import Callable
from typing import NamedTuple
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

WIDTH, HEIGHT = A4
MARGIN = 16 * mm
INNER = WIDTH - 2 * MARGIN  # width between the margins
GAP = 4.5 * mm  # between blocks, and between columns
COLUMN = (INNER - GAP) / 2  # width of one of two columns
RADIUS = 2 * mm  # of corners
INK, QUIET, LINE, FAINT = map(HexColor, ("#16202e", "#526077", "#ccd5df", "#eef2f6"))
# reportlab brings these faces along; they hold every character that the model's sentences use, and are embedded.
REGULAR, BOLD = "Vera", "VeraBd"
LEADING = 1.36  # line height of a size


class Block(NamedTuple):
    """A part of the page, as high as it must be."""

    height: float  # points
    draw: Callable[[Canvas, float, float], None]  # (canvas, left, top)


def new_canvas(file: io.BytesIO, title: str, subject: str) -> Canvas:
    """An empty A4 page without a date or a computer's name in it."""
    pdfmetrics.registerFont(TTFont(REGULAR, "Vera.ttf"))
    pdfmetrics.registerFont(TTFont(BOLD, "VeraBd.ttf"))
    canvas = Canvas(file, pagesize=A4, invariant=True, pageCompression=1, lang="en-US", initialFontName=REGULAR)
    canvas.setTitle(title)
    canvas.setSubject(subject)
    canvas.setAuthor("")
    canvas.setCreator("")
    canvas.setProducer("")
    canvas.setViewerPreference("DisplayDocTitle", "true")
    return canvas


def text(words: str, width: float, size: float, face: str = REGULAR, color=INK) -> Block:
    """Words set in lines of `width` points."""
    style = ParagraphStyle("", fontName=face, fontSize=size, leading=LEADING * size, textColor=color, splitLongWords=1)
    paragraph = Paragraph(escape(words.replace(" %", "\N{NO-BREAK SPACE}%")), style)
    _, height = paragraph.wrap(width, HEIGHT)
    return Block(height, lambda canvas, left, top: paragraph.drawOn(canvas, left, top - height))


def stacked(blocks: list[Block], gap: float = 0) -> Block:
    """Blocks one below the other."""
    blocks = [block for block in blocks if block.height]

    def draw(canvas: Canvas, left: float, top: float) -> None:
        for block in blocks:
            block.draw(canvas, left, top)
            top -= block.height + gap

    return Block(sum(block.height for block in blocks) + gap * max(0, len(blocks) - 1), draw)


def beside(columns: list[tuple[float, Block]]) -> Block:
    """Blocks side by side, each at its distance from the left."""

    def draw(canvas: Canvas, left: float, top: float) -> None:
        for offset, block in columns:
            block.draw(canvas, left + offset, top)

    return Block(max(block.height for _, block in columns), draw)
