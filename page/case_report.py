"""One picture of a case, to keep or to send on: verdict, slice and evidence, and what the answer rests on.

It says what the page says and nothing about the patient: no file name, no tag. For paper and PDF the browser prints the
page itself, as print.html has it.
"""

import io
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.Image import Image as Picture

from model import CLASSES, DISPLAY_NAMES, overlay
from model.report import Case
from model.serving import Origin
from model.wording import many, percent

from . import TUMORS, macros, panels, pictures, slice_viewer, texts

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

WIDTH, MARGIN, GAP = 1240, 60, 28  # pixels, as all that follow: a sheet of paper at 150 to the inch
INNER = WIDTH - 2 * MARGIN
COLUMN = (INNER - GAP) // 2
PLOT, AXIS = 90, 68  # height of the chart along a volume, and room at its left for its numbers
TERM, NAME, VALUE, ROW = 124, 170, 120, 34  # widths: name of a fact, of a class, probability; height of a class's row
SMALL, BODY, HEADING, VERDICT, TITLE = 19, 22, 25, 34, 42  # sizes of type
LEADING = 1.3  # line height of a size
RULER_MM = 50  # as long as a large tumor
WHITE, INK, QUIET, LINE, FAINT, NOTICE = "white", "#16202e", "#526077", "#ccd5df", "#eef2f6", ("#78350f", "#fef3c7")
COLORS = dict(zip(CLASSES, ("#c2570c", "#0072b2", "#6b1d5c", QUIET), strict=True))  # as on the page
STATUSES = {  # title, color, and a tint of that
    "accepted": ("Accepted", "#0f766e", "#effaf7"),
    "doubtful": ("Doubtful: read with care", "#b45309", "#fff8e8"),
    "refused": ("Refused: no answer", "#b91c1c", "#fef3f2"),
}
TEMPLATE = str(macros("case_report").component())
# The page's own type has all characters that are needed; Pillow's has neither bold nor a dash.
FONTS = Path(find_spec("gradio").origin).parent / "templates/frontend/static/fonts/SourceSansPro"


def state(status: str = "", picture: bytes = b"") -> dict:
    """Properties of the buttons' component: the text beside them, and the PNG to save, if any."""
    value = pictures.data_uri(picture, "image/png") if picture else ""
    return {"value": value, "status": status, "waiting": "Drawing the picture …"}


def png(
    case: Case,
    classifier: "TumorClassifier",
    index: int | None = None,
    shown: np.ndarray | None = None,
    origin: Origin | None = None,
) -> bytes:
    """The picture of a case that has an answer, or was refused.

    Args: `case` in the plane of its scan; `index` of the slice to show, from 0, by default the most suspicious;
        `shown`, that slice as the page shows it (uint8), by default windowed by itself; `origin` of the weights.
    Returns: a PNG file, 8-bit RGB, `WIDTH` pixels wide. The same arguments give the same bytes.
    Raises: ValueError if the case has no answer (unreadable, failed).
    """
    if not case.predictions:
        raise ValueError("There is no report of a file that could not be answered.")
    if index is None:
        index = next(iter(case.study.suspicious if case.study else ()), len(case.predictions) // 2)
    parts = [_header(case), _verdict(case), _figures(case, index, case.scan.slices[index] if shown is None else shown)]
    parts += [_along(case, index, classifier.threshold)] if case.study else []
    parts += [_panels(panels.of_case(case, classifier.config)), _footer(classifier, origin)]
    file = io.BytesIO()
    ImageOps.expand(stacked(parts, GAP), MARGIN, WHITE).save(file, "PNG")
    return file.getvalue()


def text(words: str, width: int, size: int = BODY, bold: bool = False, ink: str = INK, ground: str = WHITE) -> Picture:
    """Words in lines of at most `width` pixels; the picture is as wide as the longest of them."""
    font, lines, words = _font(size, bold), [], words.replace(" %", "\N{NO-BREAK SPACE}%")
    while words or not lines:
        end = bisect_right(range(1, len(words) + 1), width - 1, key=lambda end: font.getlength(words[:end])) or 1
        if end < len(words) and " " in words[1 : end + 1]:  # else a word that is longer than a line
            end = words.rindex(" ", 1, end + 1)
        lines.append(words[:end])
        words = words[end:].lstrip(" ")
    height = round(LEADING * size)
    image = Image.new("RGB", (int(max(map(font.getlength, lines))) + 1, height * len(lines)), ground)
    for row, line in enumerate(lines):
        ImageDraw.Draw(image).text((0, row * height), line, ink, font)
    return image


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    file = FONTS / f"SourceSansPro-{'Bold' if bold else 'Regular'}.woff2"
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)  # the same on every machine


def stacked(parts: Sequence[Picture], gap: int = 0, ground: str = WHITE) -> Picture:
    """Pictures one below the other."""
    size = max(part.width for part in parts), sum(part.height + gap for part in parts) - gap
    image, top = Image.new("RGB", size, ground), 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height + gap
    return image


def beside(*placed: tuple[int, Picture]) -> Picture:
    """Pictures side by side, each at its distance from the left."""
    size = max(left + part.width for left, part in placed), max(part.height for _, part in placed)
    image = Image.new("RGB", size, WHITE)
    for left, part in placed:
        image.paste(part, (left, 0))
    return image


def _header(case: Case) -> Picture:
    notice = ImageOps.expand(text(texts.NOTICE, INNER, SMALL, True, *NOTICE), 8, NOTICE[1])
    title = beside((0, text(texts.TITLE, INNER, TITLE, True)), (INNER - notice.width, notice))
    return stacked([title, text(panels.answered(case), INNER, ink=QUIET)])


def _verdict(case: Case) -> Picture:
    """The answer in a sentence, and why to doubt it, in the color of its status."""
    (status, tone, tint), sentence, width = STATUSES[case.status], case.verdict.sentence, INNER - 2 * GAP
    lines = [text(status, width, BODY, True, tone, tint), text(sentence, width, VERDICT, True, ground=tint)]
    lines += [text(case.reason, width, ink=QUIET, ground=tint)] if case.reason not in ("", sentence) else []
    inside = stacked(lines, 4, tint)
    image = Image.new("RGB", (INNER, inside.height + GAP), tint)
    image.paste(tone, (0, 0, 8, image.height))
    image.paste(inside, (GAP, GAP // 2))
    return image


def _figures(case: Case, index: int, pixels: np.ndarray) -> Picture:
    """The slice, and the evidence on it if a tumor is detected in it, else why there is none."""
    prediction, frame = case.predictions[index], (COLUMN, COLUMN)
    plain = ImageOps.pad(Image.fromarray(overlay.picture(pixels)).convert("RGB"), frame)
    if case.scan.spacing and (length := RULER_MM / case.scan.spacing[1] / max(pixels.shape) * COLUMN) < COLUMN / 2:
        plain.paste(WHITE, (16, COLUMN - 20, 16 + round(length), COLUMN - 16))
        ImageDraw.Draw(plain).text((16, COLUMN - 24), f"{RULER_MM // 10} cm", WHITE, _font(SMALL, True), "ls")
    if prediction.status != "refused" and prediction.sees_tumor:
        evidence = prediction.evidence[CLASSES.index(prediction.likeliest_tumor)]
        drawn = ImageOps.pad(Image.fromarray(overlay.evidence_picture(pixels, evidence, prediction.window)), frame)
        title = text(f"Evidence of {DISPLAY_NAMES[prediction.likeliest_tumor]}", COLUMN, bold=True)
        right = stacked([drawn, title, _legend()], 4)
    else:
        why = text(texts.NO_MAP if prediction.status == "refused" else texts.NO_TUMOR_DETECTED, COLUMN, ground=FAINT)
        right = Image.new("RGB", frame, FAINT)
        right.paste(why, ((COLUMN - why.width) // 2, (COLUMN - why.height) // 2))
    position = f"Slice {index + 1} of {len(case.predictions)}: {slice_viewer.caption(prediction)}"
    title = text(position if case.study else "Slice", COLUMN, bold=True)
    return beside((0, stacked([plain, title], 4)), (COLUMN + GAP, right))


def _legend() -> Picture:
    """What the colors of the evidence and its contour stand for."""
    low, high = (text(words, COLUMN, SMALL, ink=QUIET) for words in ("none", "most; white line: from half of that on"))
    colors = Image.fromarray(overlay.HEAT.round().astype(np.uint8)[None]).resize((100, low.height - 10))
    return beside((0, low), (low.width + 10, ImageOps.expand(colors, 5, WHITE)), (low.width + 130, high))


def _along(case: Case, index: int, threshold: float) -> Picture:
    """The chart of the slice viewer: a refused slice is gray, the shown one marked, the operating point dashed."""
    count, width = len(case.predictions), INNER - AXIS
    chart = Image.new("RGB", (width, PLOT), FAINT)
    draw, at, line = ImageDraw.Draw(chart), (index + 0.5) * width / count, (1 - threshold) * PLOT
    sums = slice_viewer.stacked(case.predictions)
    for column, made in enumerate(case.predictions):
        left = round(column * width / count)
        right = max(left, round((column + 1) * width / count) - 1)
        if made.status == "refused":
            draw.rectangle((left, 0, right, PLOT), LINE)
        for tumor, top in list(zip(TUMORS, sums[:, column], strict=True))[::-1]:  # each covers what is below it
            draw.rectangle((left, round((1 - top) * PLOT), right, PLOT), COLORS[tumor])
    for left in range(0, width, 10):
        draw.line((left, line, left + 5, line), INK)
    draw.rectangle((at - 3, 0, at + 3, PLOT), WHITE)
    draw.rectangle((at - 1, 0, at + 1, PLOT), INK)
    axis = stacked([text(words, AXIS, SMALL, ink=QUIET) for words in ("100 %", "0")], PLOT - 2 * round(LEADING * SMALL))
    heading = f"Probability of a tumor along the {many(count, 'slice')}; the line marks slice {index + 1}"
    dashed = f"dashed: a tumor counts as detected from {percent(threshold)}"
    key, left = [], AXIS
    named = [(DISPLAY_NAMES[name], COLORS[name]) for name in TUMORS]
    for words, ink in [*named, ("gray: refused", QUIET), (dashed, QUIET)]:
        key.append((left, text(words, INNER, SMALL, ink != QUIET, ink)))
        left += key[-1][1].width + GAP
    return stacked([text(heading, INNER, bold=True), beside((0, axis), (AXIS, chart)), beside(*key)], 6)


def _panels(shown: panels.Panels) -> Picture:
    """Is this a brain MRI, and the classification; a refused case is not classified."""
    refused = shown.status == "refused"
    status = ("Status", shown.status.capitalize(), "" if refused else shown.status_text)
    what = text(texts.NO_CLASSIFICATION, COLUMN) if refused else _bars(shown.probabilities)
    left = [text(texts.BRAIN, COLUMN, HEADING, True), *map(_fact, [status, *shown.input_facts])]
    right = [text(texts.CLASSIFICATION, COLUMN, HEADING, True), what, *map(_fact, shown.facts)]
    return beside((0, stacked(left, 10)), (COLUMN + GAP, stacked(right, 10)))


def _bars(probabilities: dict[str, float]) -> Picture:
    """The probabilities; each bar's length is its share of the track."""
    image, track = Image.new("RGB", (COLUMN, ROW * len(CLASSES)), WHITE), COLUMN - NAME - VALUE
    draw = ImageDraw.Draw(image)
    for row, (name, share) in enumerate(probabilities.items()):
        middle = row * ROW + ROW // 2
        draw.text((0, middle), DISPLAY_NAMES[name], INK, _font(BODY, False), "lm")
        draw.rectangle((NAME, middle - 7, NAME + track, middle + 7), FAINT)
        draw.rectangle((NAME, middle - 7, NAME + share * track, middle + 7), COLORS[name])
        draw.text((COLUMN, middle), percent(share), INK, _font(BODY, True), "rm")
    return image


def _fact(fact: panels.Fact) -> Picture:
    what, (answer, worth), width = text(fact[0], TERM, bold=True), fact[1:], COLUMN - TERM
    lines = [text(answer, width)] + ([text(worth, width, SMALL, ink=QUIET)] if worth else [])
    return beside((0, what), (TERM, stacked(lines)))


def _footer(classifier: "TumorClassifier", origin: Origin | None) -> Picture:
    """Which weights answered, and the disclaimer."""
    name, trained = classifier.config["name"], classifier.config.get("trained")
    parts = [f"Weights {classifier.version}"]
    if origin and origin.name != name:  # a repository on the Hub; a folder's revision stands in the version
        parts.append(f"{origin.name} at {origin.revision}" if origin.revision else origin.name)
    weights = " · ".join([*parts, f"trained {trained}"] if trained else parts)
    disclaimer = text(f"{texts.NOTICE}. {texts.DISCLAIMER}", INNER, SMALL, ink=QUIET)
    return stacked([Image.new("RGB", (INNER, 2), LINE), text(weights, INNER, SMALL, True), disclaimer], 6)
