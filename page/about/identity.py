"""Which weights answer, and what they are for."""

import html
from datetime import date
from typing import TYPE_CHECKING

from model import DISPLAY_NAMES
from model.wording import either

from .markup import bullets, paragraph

if TYPE_CHECKING:
    from model.serving import Origin

COMMIT_DIGITS = 40  # of a commit on the Hub; what folders have for a revision is shorter
HUB = "https://huggingface.co"
SHOWN_DIGITS = 12


def identity(origin: "Origin", config: dict) -> str:
    """The head of the tab: one sentence, and name, revision and date of the weights."""
    facts = [("Weights", _name(origin)), ("Trained", _day(origin.date or config.get("trained")))]
    if origin.revision:
        facts.insert(1, ("Revision", f"<code>{html.escape(origin.revision[:SHOWN_DIGITS])}</code>"))
    listed = "".join(f"<div><dt>{what}</dt><dd>{said}</dd></div>" for what, said in facts)
    note = paragraph(html.escape(origin.note), "note") if origin.note else ""
    return (
        "<h2>About the model</h2>"
        + paragraph(
            "A small neural network that looks at one slice of a brain MRI at a time. It tells "
            f"{_classes()} apart, says how sure it is, and shows where in the slice its answer comes from.",
            "lead",
        )
        + f"<dl>{listed}</dl>{note}"
    )


def uses(metrics: dict, config: dict) -> str:
    """What it is for and what not."""
    good = bullets(
        (
            "Showing and teaching how such a model works, and how it fails.",
            "Research: a baseline with an honest split, open weights and open code.",
        )
    )
    bad = bullets(
        (
            "Diagnosis, triage, screening, a second opinion, or any decision about a person.",
            "CT, children, scans after surgery: it was not measured on them.",
            "Any other disease: it has no name for it, and gives it one of its own.",
        )
    )
    return f'<div class="two"><div><h4>For</h4>{good}</div><div><h4>Not for</h4>{bad}</div></div>' + paragraph(
        "It is a research demo, not a medical device, and was never tested in a clinic.", "strong"
    )


def _classes() -> str:
    return either(list(DISPLAY_NAMES.values())).replace(" or ", " and ")


def _name(origin: "Origin") -> str:
    """A repository on the Hub is a link to its card, at the very commit."""
    name, revision = html.escape(origin.name), origin.revision or ""
    if origin.name.count("/") == 1 and len(revision) == COMMIT_DIGITS:
        return f'<a href="{HUB}/{name}/tree/{html.escape(revision)}" rel="noopener">{name}</a>'
    return name


def _day(written: str | None) -> str:
    """2026-11-21 -> "21 November 2026"."""
    try:
        day = date.fromisoformat(written or "")
    except (TypeError, ValueError):
        return "date not recorded"
    return f"{day.day} {day:%B %Y}"
