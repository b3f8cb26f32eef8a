"""Truth against answer, as tables whose cells are tinted by their share of the row."""

from model import DISPLAY_NAMES

from .headline import ELSEWHERE, HERE
from .markup import PERCENT, missing, paragraph, percent, table


def mixed_up(metrics: dict, config: dict) -> str:
    """A confusion matrix for each set of images."""
    matrices = {
        title: metrics.get(name, {}).get("confusion") for name, title in (("test", HERE), ("external", ELSEWHERE))
    }
    drawn = [f"<div><h4>{title}</h4>{_matrix(found, title)}</div>" for title, found in matrices.items() if found]
    if not drawn:
        return missing("Which answers are mixed up")
    return (
        paragraph(
            "Each row is what the slices show, each column the most probable answer. Right answers are green, wrong "
            "ones orange; the stronger the color, the more often."
        )
        + f'<div class="two">{"".join(drawn)}</div>'
        + paragraph("Tumors of unknown type are not in these tables. A dash: no such images.", "small")
    )


def _matrix(confusion: dict, title: str) -> str:
    names = [DISPLAY_NAMES.get(name, name).capitalize() for name in confusion["classes"]]
    rows = []
    for k, (name, counts) in enumerate(zip(names, confusion["counts"], strict=True)):
        total = sum(counts)
        rows.append(
            [f"{name} <small>{total:,}</small>", *(_cell(count, total, k == j) for j, count in enumerate(counts))]
        )
    return table(["Shows ↓ answer →", *names], rows, f"Truth and answer: {title}", "matrix")


def _cell(count: int, total: int, right: bool) -> str:
    """An image count with its share of the row."""
    if not total:
        return '<span class="cell">–</span>'
    kind = "cell right" if right else "cell"
    share = f"{percent(count / total)}{PERCENT}"
    return f'<span class="{kind}" style="--share: {count / total:.3f}">{count:,}<small>{share}</small></span>'
