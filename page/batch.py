"""Many scans at once: counts by verdict, thumbnails with the most suspicious first, and a table that sorts."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from model import DISPLAY_NAMES, overlay, report
from model.report import Case
from model.wording import percent

from . import macros
from .pictures import data_uri, thumbnail

THUMBNAIL = 192  # pixels: sharp on a phone's screen
COLUMNS = ("File", "Verdict", "Likeliest", "Tumor", "Slices")
VERDICTS = {  # by kind, the most urgent first
    "tumor": "tumor detected",
    "doubtful": "doubtful, no tumor detected",
    "clear": "no tumor detected",
    "refused": "refused",
    "unreadable": "unreadable",
    "failed": "no answer",
}

html = macros("batch")


@dataclass
class Row:
    """One case as the table and the thumbnails show it."""

    index: int
    case: Case

    def __post_init__(self):
        self.kind, probability, self.likeliest, self.tumor = self.case.status, -1.0, "", ""  # one of `VERDICTS`
        if self.kind in ("accepted", "doubtful"):
            verdict = self.case.verdict
            probability, probabilities = verdict.tumor_probability, verdict.probabilities
            self.likeliest = DISPLAY_NAMES[max(probabilities, key=probabilities.get)]
            self.tumor = percent(probability)
            self.kind = "tumor" if verdict.sees_tumor else "clear" if self.kind == "accepted" else "doubtful"
        self.verdict, self.rank = VERDICTS[self.kind], (list(VERDICTS).index(self.kind), -probability)
        self.slices = len(self.case.scan.slices) if self.case.scan else 0

    @property
    def picture(self) -> str:
        """The most suspicious slice, or the middle one, as a thumbnail."""
        study = self.case.study
        index = study.suspicious[0] if study and study.suspicious else self.slices // 2
        return thumbnail(overlay.under_one_window([self.case.scan.slices[index]])[0], THUMBNAIL)


def overview(cases: Sequence[Case]) -> str:
    """The batch as HTML."""
    rows = [Row(index, case) for index, case in enumerate(cases)]
    counts = Counter(row.kind for row in rows)
    tally = [(kind, counts[kind], text) for kind, text in VERDICTS.items() if counts[kind]]
    return str(html.overview(tally, rows, COLUMNS))


def csv_link(cases: Sequence[Case], version: str) -> str:
    """A link that downloads the entries of all cases."""
    out = io.StringIO()
    report.write_csv([report.entry(case, version) for case in cases], out)
    content = out.getvalue().encode("utf-8-sig", "backslashreplace")  # Excel needs the mark
    return str(html.csv(data_uri(content, "text/csv")))
