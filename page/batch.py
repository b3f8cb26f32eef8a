"""Many scans at once: how many of which kind, thumbnails with the most suspicious first, and a table that sorts."""

import html
import io
from collections import Counter
from collections.abc import Sequence

from model import DISPLAY_NAMES, overlay, report
from model.report import Case
from model.wording import many, percent

from . import inline
from .cards import BADGES
from .pictures import thumbnail

THUMBNAIL = 192  # pixels: sharp on a phone's screen
COLUMNS = ("File", "Verdict", "Likeliest", "Tumor", "Slices")
URGENCY = ("tumor", "doubtful", "clear", "refused", "unreadable", "failed")


def overview(cases: Sequence[Case]) -> str:
    """The batch as HTML; whatever opens a case carries its index as `data-case`."""
    by_urgency = sorted(range(len(cases)), key=lambda index: _rank(cases[index]))
    counts = Counter(map(tone, cases))
    tally = "".join(f'<li class="{name}"><b>{counts[name]}</b> {TALLY[name]}</li>' for name in URGENCY if counts[name])
    tiles = "".join(_tile(index, cases[index]) for index in by_urgency if cases[index].scan)
    head = "".join(f'<th aria-sort="none"><button type="button" class="sort">{name}</button></th>' for name in COLUMNS)
    rows = "".join(_row(index, case) for index, case in enumerate(cases))
    return (
        f'<div class="batch"><h2>{many(len(cases), "scan")}</h2><ul class="tally">{tally}</ul>'
        f'<div class="tiles">{tiles}</div>'
        f'<div class="rows"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>'
    )


TALLY = {
    "tumor": "tumor seen",
    "doubtful": "doubtful, no tumor seen",
    "clear": "no tumor seen",
    "refused": "refused",
    "unreadable": "unreadable",
    "failed": "without an answer",
}


def tone(case: Case) -> str:
    """What a case is shown as, one of `URGENCY`."""
    if case.status in ("accepted", "doubtful") and case.verdict.sees_tumor:
        return "tumor"
    return "clear" if case.status == "accepted" else case.status


def csv_link(cases: Sequence[Case], version: str) -> str:
    """A link that downloads all entries; the file is made of the page itself and never lies on the server's disk."""
    out = io.StringIO()
    report.write_csv([report.entry(case, version) for case in cases], out)
    content = out.getvalue().encode("utf-8-sig", "backslashreplace")  # Excel needs the mark
    address = inline.address(content, "text/csv")
    return f'<a class="download" download="answers.csv" href="{address}">Download as CSV</a>'


def _rank(case: Case) -> tuple[int, float]:
    probability = case.verdict.tumor_probability if tone(case) in URGENCY[:3] else 0.0
    return URGENCY.index(tone(case)), -probability


def _answer(case: Case) -> tuple[str, str]:
    """(likeliest class, P(tumor)) in words, where there is an answer."""
    if tone(case) not in URGENCY[:3]:
        return "", ""
    probabilities = case.verdict.probabilities
    return DISPLAY_NAMES[max(probabilities, key=probabilities.get)], percent(case.verdict.tumor_probability)


def _tile(index: int, case: Case) -> str:
    scan, (likeliest, tumor) = case.scan, _answer(case)
    shown = case.study.suspicious[0] if case.study and case.study.suspicious else len(scan.slices) // 2
    picture = thumbnail(overlay.under_one_window([scan.slices[shown]])[0], THUMBNAIL)
    words = f"{likeliest}<small>tumor {tumor}</small>" if likeliest else BADGES.get(case.status, case.status)
    name = html.escape(case.name)
    return (
        f'<button type="button" class="{tone(case)}" data-case="{index}" title="{name}"><img alt="" src="{picture}">'
        f"<b>{name}</b><span>{words}</span></button>"
    )


def _row(index: int, case: Case) -> str:
    likeliest, tumor = _answer(case)
    probability = case.verdict.tumor_probability if tumor else -1
    name = html.escape(case.name)
    opened = f'<button type="button" data-case="{index}">{name}</button>' if case.scan else name
    reason = f'<p class="reason">{html.escape(case.reason)}</p>' if not tumor else ""
    slices = len(case.scan.slices) if case.scan else 0
    return (
        f'<tr class="{tone(case)}"><td class="name" data-sort="{html.escape(case.name.lower())}">{opened}{reason}</td>'
        f'<td data-sort="{URGENCY.index(tone(case))}"><span class="chip">{TALLY[tone(case)]}</span></td>'
        f"<td>{likeliest}</td>"
        f'<td class="number" data-sort="{probability:.6f}">{tumor}</td>'
        f'<td class="number slices" data-sort="{slices}">{slices or ""}</td></tr>'
    )
