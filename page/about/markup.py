"""Figures as a reader meets them, and the few elements that the tab is made of. All of it is HTML, already escaped."""

import html
from collections.abc import Sequence

NOT_MEASURED = "not measured"
NOTHING = "–"  # the images cannot tell
PERCENT = "&nbsp;%"


def share(figure: dict | None) -> str:
    """A figure {value, low, high} in per cent, its 95 % interval in small print below."""
    return _with_interval(figure, percent, PERCENT)


def score(figure: dict | None) -> str:
    """A figure {value, low, high} that is no share."""
    return _with_interval(figure, lambda value: f"{value:.2f}", "")


def percent(value: float) -> str:
    """0..1 -> "97"; what is neither nothing nor all is not rounded to it: "99.8", "over 99.9"."""
    rounded = f"{100 * value:.0f}"
    if rounded in ("0", "100") and value not in (0, 1):
        rounded = f"{100 * value:.1f}"
        return {"0.0": "under 0.1", "100.0": "over 99.9"}.get(rounded, rounded)
    return rounded


def in_words(figure: dict) -> str:
    """A figure within a sentence: "97 % (94 to 99)"."""
    return f"<b>{percent(figure['value'])}{PERCENT}</b> ({percent(figure['low'])} to {percent(figure['high'])})"


def sizes(part: dict) -> str:
    """What figures rest on, from `n` and `n_groups`."""
    return f"{part['n']:,} <small>{part['n_groups']:,} groups</small>"


def images(part: dict) -> str:
    """The same within a sentence."""
    return f"{part['n']:,} images of {part['n_groups']:,} groups"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], about: str, kind: str = "") -> str:
    """A table whose first column names its rows; on a narrow screen it scrolls by itself. `about`: what it shows."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{html.escape(about)}"><table class="{kind}">'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def bullets(points: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{point}</li>' for point in points)}</ul>"


def folded(title: str, content: str) -> str:
    """What most readers skip, one click away."""
    return f"<details><summary>{title}</summary>{content}</details>"


def missing(what: str) -> str:
    return paragraph(f"{what}: {NOT_MEASURED} for these weights.", "missing")


def _with_interval(figure: dict | None, spelled, unit: str) -> str:
    if not figure:
        return NOT_MEASURED
    if figure["value"] is None:
        return NOTHING
    return (
        f"<b>{spelled(figure['value'])}{unit}</b> <small>{spelled(figure['low'])} to {spelled(figure['high'])}</small>"
    )
