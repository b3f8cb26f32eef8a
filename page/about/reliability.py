"""The reliability plot: how often the answer is right against how sure it was. Inline SVG in the page's own colors."""

import html
from collections.abc import Sequence

from .markup import PERCENT, folded, percent, table

LEFT, RIGHT, TOP, SIDE = 30, 14, 22, 250  # of the plot in the drawing's units; it is square
BARS, GAP, BOTTOM = 46, 30, 40  # height of the bars with the counts, and the room above and below them
START = 0.2  # of the axis: with four answers, the most probable one has at least a quarter
FEW = 10  # images: a point that rests on fewer is drawn hollow
TICKS = (0.2, 0.4, 0.6, 0.8, 1.0)


def reliability(bins: Sequence[dict], title: str) -> str:
    """A plot of one set of images, and the same as a table.

    `bins`: {from, to, confidence, right}, those without an image left out: edges and mean of the highest probability,
    0..1, and the share of right answers as a figure {n, n_groups, value, low, high}.
    """
    drawing = "".join((_frame(), *map(_point, bins), _counts(bins)))
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + GAP + BARS + BOTTOM
    label = html.escape(f"{title}: {_described(bins)}")
    rows = [
        [
            f"{percent(one['from'])} to {percent(one['to'])}{PERCENT}",
            f"{one['right']['n']:,}",
            f"{percent(one['confidence'])}{PERCENT}",
            f"{percent(one['right']['value'])}{PERCENT} "
            f"<small>{percent(one['right']['low'])} to {percent(one['right']['high'])}</small>",
        ]
        for one in bins
    ]
    listed = table(["Said", "Images", "Said, mean", "Right"], rows, f"Said and right: {title}")
    return (
        f'<figure class="reliability"><figcaption>{html.escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{drawing}</svg>'
        f"{folded('The same as a table', listed)}</figure>"
    )


def _described(bins: Sequence[dict]) -> str:
    """The plot in words: its two ends."""
    said = [
        f"of {one['right']['n']} answers given with {percent(one['confidence'])} % on average, "
        f"{percent(one['right']['value'])} % are right"
        for one in (bins[0], bins[-1])
    ]
    return f"{said[0]}; {said[1]}."


def _x(value: float) -> float:
    return LEFT + SIDE * (value - START) / (1 - START)


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


def _frame() -> str:
    """Axes, grid and the line on which a perfectly honest model would lie."""
    lines = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + SIDE}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
        f'<text class="end" x="{LEFT - 5}" y="{_y(tick) + 4:.1f}">{tick * 100:.0f}</text>'
        for tick in (0, *TICKS)
    )
    bottom = TOP + SIDE + GAP + BARS
    names = "".join(
        f'<text class="middle" x="{_x(tick):.1f}" y="{bottom + 15}">{tick * 100:.0f}</text>' for tick in TICKS
    )
    return (
        f'{lines}<line class="honest" x1="{_x(START):.1f}" y1="{_y(START):.1f}" x2="{_x(1):.1f}" y2="{_y(1):.1f}"/>'
        f'<text x="0" y="{TOP - 12}">right, %</text>{names}'
        f'<text class="middle" x="{LEFT + SIDE / 2:.1f}" y="{bottom + 32}">probability of the answer, %</text>'
    )


def _point(one: dict) -> str:
    x, right = _x(one["confidence"]), one["right"]
    kind = "few" if right["n"] < FEW else "many"
    return (
        f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(right["low"]):.1f}" y2="{_y(right["high"]):.1f}"/>'
        f'<circle class="{kind}" cx="{x:.1f}" cy="{_y(right["value"]):.1f}" r="4"/>'
    )


def _counts(bins: Sequence[dict]) -> str:
    """How many images each point rests on: bars, each with its number."""
    most, base = max(one["right"]["n"] for one in bins), TOP + SIDE + GAP + BARS
    bars = []
    for one in bins:
        left, right, tall = _x(max(one["from"], START)), _x(one["to"]), BARS * one["right"]["n"] / most
        bars.append(
            f'<rect x="{left + 0.5:.1f}" y="{base - tall:.1f}" width="{right - left - 1:.1f}" height="{tall:.1f}"/>'
            f'<text class="count" x="{(left + right) / 2:.1f}" y="{base - tall - 3:.1f}">{one["right"]["n"]}</text>'
        )
    return "".join(bars)
