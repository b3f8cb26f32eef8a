"""Figures and tables as Markdown, the same in every part of the card, the README and the reports."""

from collections.abc import Sequence

NOT_MEASURED = "not measured"
NOTHING = "–"  # the set cannot tell


def figure(measured: dict | None) -> str:
    """A figure {value, low, high} as "0.912 (0.881 to 0.940)"; a dash where the set cannot tell."""
    if not measured:
        return NOT_MEASURED
    if measured["value"] is None:
        return NOTHING
    return f"{measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})"


def sizes(part: dict) -> str:
    """What a figure rests on, as "1,402 (621)": images and groups, from `n` and `n_groups`."""
    return f"{part['n']:,} ({part['n_groups']:,})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are strings already."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
