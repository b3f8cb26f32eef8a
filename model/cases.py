"""Scans -> cases: a scan with what the model says of every slice and, of several slices, of the study."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .marks import DRAWN_ON
from .prediction import Prediction
from .scans import Scan, Unreadable
from .study import Study, judge_study

if TYPE_CHECKING:
    from .classifier import TumorClassifier

CHUNK = 16  # slices between two reports: a progress bar moves several times a second, and all threads have work
NO_ANSWER = "Something went wrong while the model looked at this scan. Whoever runs this program finds in its log what."
ANSWERED = ("accepted", "doubtful", "refused")  # the statuses of what the model has looked at


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
    """Classify every slice of what was read.

    Args: `found` as `scans.read_all` returns it.
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
