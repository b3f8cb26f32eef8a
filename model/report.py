"""Scans -> cases -> what is said of them: one entry for each, the same on the command line, in CSV and through the API.

A case is a scan with what the model says of every slice and, of several slices, of the study.
"""

import csv
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from . import CLASSES, DISPLAY_NAMES
from .marks import DRAWN_ON
from .prediction import Prediction
from .scans import Scan, Unreadable, isolated
from .study import Study, judge_study
from .wording import either, percent

if TYPE_CHECKING:
    from .classifier import TumorClassifier

CHUNK = 16  # slices between two reports of progress
NO_ANSWER = "Something went wrong while the model looked at this scan. Whoever runs this program finds in its log what."
ANSWERED = ("accepted", "doubtful", "refused")  # the statuses of what the model has looked at

WHOLE = "all"  # in the column `slice` of CSV: the row is of the study
FORMULA_STARTS = ("=", "+", "-", "@")  # a spreadsheet runs a cell that begins so
ROUNDED = (*CLASSES, "tumor_probability", "threshold", "brain_score", "distance")
COLUMNS = (  # prediction_set is a list with spaces, sees_tumor is yes or no
    *("file", "slice", "status", "reason", "label", "prediction_set", "sees_tumor"),
    *(*ROUNDED, "seconds", "answered", "model"),
)


@dataclass(frozen=True)
class Case:
    """One scan, or one file that is none, and all that is said of it."""

    name: str
    status: str  # of the verdict; "unreadable" for a file that is no scan, "failed" if the model broke down over it
    reason: str  # a sentence or two for the user; empty when accepted
    seconds: float  # that the model took
    answered: datetime  # when, UTC
    scan: Scan | None = None  # None if unreadable
    predictions: tuple[Prediction, ...] = ()  # in the order of the slices; empty if unreadable or failed
    study: Study | None = None  # of several slices

    @property
    def verdict(self) -> Study | Prediction | None:
        """What is said of the whole: the study's verdict of several slices, the prediction of a single one."""
        return self.study or (self.predictions[0] if self.predictions else None)


def classify(classifier: "TumorClassifier", found: Iterable[Scan | Unreadable]) -> Iterator[tuple[int, Case | None]]:
    """Classify every slice of `found`, as `scans.read_all` returns it.

    Yields: (slices answered so far, None) after each chunk of slices, and (slices answered so far, case) for each
        entry of `found`, in order. What goes wrong with one is logged, costs that case alone, and raises nothing.
    """
    answered = 0
    for one in found:
        if isinstance(one, Unreadable):
            yield answered, Case(one.name, "unreadable", one.reason, 0.0, datetime.now(UTC))
            continue
        before, start, predictions = answered, time.perf_counter(), []
        try:
            for first in range(0, len(one.slices), CHUNK):
                predictions += classifier.predict(one.slices[first : first + CHUNK])
                answered = before + len(predictions)
                yield answered, None
            yield answered, _case(classifier, one, predictions, time.perf_counter() - start)
        except Exception:  # unforeseen: its text is for the log, but nobody must be left waiting
            logging.getLogger(__name__).exception("A scan could not be classified.")
            answered = before + len(one.slices)
            yield answered, Case(one.name, "failed", NO_ANSWER, time.perf_counter() - start, datetime.now(UTC), one)


def _case(classifier: "TumorClassifier", scan: Scan, predictions: list[Prediction], seconds: float) -> Case:
    for i in scan.marked:
        if DRAWN_ON not in predictions[i].about_slice:  # the lines may be bright enough to be seen in gray, too
            predictions[i] = predictions[i].doubted([DRAWN_ON])
    if len(predictions) == 1:
        predictions = [predictions[0].doubted(scan.doubts)]
    study = judge_study(predictions, classifier.config, scan.doubts) if len(predictions) > 1 else None
    verdict = study or predictions[0]
    now = datetime.now(UTC)
    return Case(scan.name, verdict.status, verdict.reason, seconds, now, scan, tuple(predictions), study)


def entries(classifier: "TumorClassifier", files: Sequence[str | Path]) -> list[dict]:
    """Read an upload and classify every slice in it: `entry` of each scan, in the order of `scans.read_all`."""
    found = isolated.read_all(files)
    return [entry(case, classifier.version) for _, case in classify(classifier, found) if case]


def each_entry(
    classifier: "TumorClassifier", files: Sequence[str | Path | bytes], names: Sequence[str] = ()
) -> Iterator[dict]:
    """As `entries`, of any number of files that an upload would not hold: one scan at a time is read and classified.

    Args: `files`, paths, or bytes with their `names`.
    """
    found = (scan for _, scan in isolated.read_each(files, names, most_bytes=math.inf))
    for _, case in classify(classifier, found):
        if case:
            yield entry(case, classifier.version)


def entry(case: Case, version: str) -> dict:
    """A JSON-ready dictionary of one case.

    `label`, `probabilities`, `tumor_probability` and `sees_tumor` are of the study or the only slice, None where there
    is no answer. Slices are numbered from 1, as the scan orders them. service/schemas.py describes every key.
    """
    verdict, study, scan = case.verdict, case.study, case.scan or Scan([], case.name)
    suspicious = study and [index + 1 for index in study.suspicious]
    return {
        "file": case.name,
        "status": case.status,
        "reason": case.reason,
        "sentence": verdict.sentence if verdict else case.reason,
        "label": verdict and max(verdict.probabilities, key=verdict.probabilities.get),
        "probabilities": verdict and verdict.probabilities,
        "tumor_probability": verdict and verdict.tumor_probability,
        "sees_tumor": verdict and verdict.sees_tumor,
        "study": study and {"suspicious": suspicious, "judged": study.n_judged, "refused": study.n_refused},
        "slices": [{"slice": number, **made.as_dict()} for number, made in enumerate(case.predictions, 1)],
        "kind": scan.kind,
        "plane": scan.plane,
        "sequence": scan.sequence,
        "spacing": list(scan.spacing) if scan.spacing else None,
        "notes": list(scan.notes),
        "omitted": [omission._asdict() for omission in scan.omitted],
        "seconds": round(case.seconds, 4),
        "answered": case.answered.isoformat(timespec="seconds"),
        "model": version,
    }


def certainty(prediction: Prediction, config: dict) -> list[tuple[str, str, str]]:
    """How sure the answer is, to be shown beside it: (what, answer, what that answer is worth) each.

    Sensitivity and specificity are those of the test split, else of validation, in `config` of the artifact.
    """
    point, promise = config["operating_point"], config["prediction_set"]["coverage"]
    shares, whose = (point["tested"], "test") if "tested" in point else (point, "validation")
    tumor, enough = percent(prediction.tumor_probability), percent(prediction.threshold)
    detected = f"Detected: {tumor}, where {enough} is enough"
    if not prediction.sees_tumor:
        detected = f"Not detected: {tumor}, where {enough} would be needed"
    measured = kept = ""
    if shares["sensitivity"] is not None:
        rates = [f"{name} {percent(shares[name])}" for name in ("sensitivity", "specificity")]
        measured = f"{', '.join(rates)}, on {whose} patients"
    if promise:
        kept = f"such a list holds the right answer for {percent(promise)} of slices like those of training"
    possible = either([DISPLAY_NAMES[name] for name in prediction.prediction_set]).capitalize()
    return [("Tumor", detected, measured), ("Possible", possible, kept)]


def write_csv(entries: Iterable[dict], out: TextIO) -> None:
    """Write entries, as `report.entry` returns them, under a line of `COLUMNS`."""
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        for row in rows(entry):
            rounded = {name: "" if row.get(name) is None else f"{row[name]:.4f}" for name in ROUNDED}
            listed = " ".join(row.get("prediction_set") or ())
            words = {"prediction_set": listed, "sees_tumor": {True: "yes", False: "no", None: ""}[row["sees_tumor"]]}
            writer.writerow({name: _harmless(cell) for name, cell in (row | rounded | words).items()})


def rows(entry: dict) -> Iterator[dict]:
    """One row for the whole of a study, `slice` being `WHOLE`, and one for each slice; one for what has no answer."""
    whole = entry | (entry["probabilities"] or {})
    slices = [entry | made | made["probabilities"] for made in entry["slices"]]
    if len(slices) != 1:
        yield whole | {"slice": WHOLE if slices else ""}
    yield from slices


def _harmless(cell: object) -> object:
    """Text that no spreadsheet takes for a formula; source: OWASP, CSV injection."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip().startswith(FORMULA_STARTS) else cell
