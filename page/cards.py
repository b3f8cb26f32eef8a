"""Cards of the page as HTML: the answer with what it is worth, progress, and what is wrong with a file."""

import html
from typing import TYPE_CHECKING

from model.report import Case
from model.wording import many, percent

from . import texts

if TYPE_CHECKING:
    from model.serving import Origin
    from model.study import Study

REVISION_DIGITS = 8  # enough to find a commit by
BADGES = {"failed": "no answer"}  # of other statuses: the status itself


def problem(name: str, sentence: str) -> str:
    """What is wrong with a file, to stand beside the drop zone."""
    return f'<div class="problem" role="alert"><b>{html.escape(name)}</b> {html.escape(sentence)}</div>'


def weights(origin: "Origin") -> str:
    """Which weights answer, and why if they are not those that were asked for."""
    if not origin.name:
        return f'<p class="fallback" role="alert">{texts.MODEL_IS_MISSING}</p>'
    trained = f"trained {origin.date}" if origin.date else ""
    facts = filter(None, ((origin.revision or "")[:REVISION_DIGITS], trained))
    named = " · ".join([f"<b>{html.escape(origin.name)}</b>", *map(html.escape, facts)])
    note = f'<p class="fallback" role="alert">{html.escape(origin.note)}</p>' if origin.note else ""
    return f'{note}<p class="weights">Weights: {named}</p>'


def verdict(status: str, name: str, sentence: str, origin: str = "", printed: str = "") -> str:
    """The card with an answer in one sentence: the first thing to be read. On paper `printed` stands for the name."""
    return (
        f'<div class="verdict {status}" role="status"><div class="about">'
        f'<span class="badge">{BADGES.get(status, status)}</span>'
        f'<span class="file">{html.escape(name)}</span><span class="printed">{html.escape(printed)}</span>'
        f'<span class="origin">{html.escape(origin)}</span></div>'
        f"<h2>{html.escape(sentence)}</h2></div>"
    )


def answered(case: Case) -> str:
    """When, as "Answered 21 November 2026, 15:40 UTC"."""
    return f"Answered {case.answered.day} {case.answered:%B %Y, %H:%M} UTC"


def finding(reason: str) -> str:
    """Of why something is refused the first sentence, which says what is wrong."""
    return reason.partition(". ")[0].removesuffix(".") + "."


def remedy(reason: str) -> str:
    """Of why something is refused what comes after the first sentence: what to do."""
    return reason.partition(". ")[2]


def progress(sentence: str, done: int = 0, total: int = 0) -> str:
    """What is being done, with a bar once it is known how much there is of it."""
    bar = f'<progress max="{total}" value="{done}">{percent(done / total)}</progress>' if total else ""
    return (
        '<div class="verdict reading" role="status"><div class="about"><span class="badge">reading</span></div>'
        f"<h2>{html.escape(sentence)}</h2>{bar}</div>"
    )


def study_facts(case: Case, config: dict) -> list[tuple[str, str, str]]:
    """What stands beside a study's verdict: the tumor's probability, the slices that it rests on, what was left out."""
    study, scan = case.study, case.scan
    shown = " ".join(filter(None, (scan.plane, scan.sequence, scan.kind)))
    slices = f"{study.n_judged} of {many(len(scan.slices), 'slice')} judged"
    refused = (
        f"{study.n_refused} refused: empty, or unlike the brain MRI that the model knows" if study.n_refused else ""
    )
    facts = [("Slices", f"{slices} ({shown})" if shown else slices, refused)]
    if study.status != "refused":
        facts.insert(0, _tumor_in_study(study, config["study"]))
    return facts + [("Note", note, "") for note in scan.notes]


def _tumor_in_study(study: "Study", point: dict) -> tuple[str, str, str]:
    """Whether a tumor is seen, and how often that is right; `point`, the operating point of studies."""
    tumor, enough = percent(study.tumor_probability), percent(point["threshold"])
    seen = f"Seen: {tumor} for the study as a whole, where {enough} is enough"
    if not study.sees_tumor:
        seen = f"Not seen: {tumor} for the study as a whole, where {enough} would be needed"
    shares, whose = (point["tested"], "test") if "tested" in point else (point, "validation")
    measured = [
        f"{name} {percent(shares[name])}" for name in ("sensitivity", "specificity") if shares[name] is not None
    ]
    made_of = f", on studies put together from slices of {whose} patients"
    return "Tumor", seen, ", ".join(measured) + made_of if measured else ""
