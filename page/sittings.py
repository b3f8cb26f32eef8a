"""What the page remembers of its visitors: in memory alone, for a while, and never more than a bound."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model.cases import Case
from model.overlay import under_one_window
from model.scans import Scan, planes

if TYPE_CHECKING:
    from model.classifier import TumorClassifier


@dataclass
class View:
    """A case as it is looked at: the scan in one plane."""

    case: Case
    pictures: list[np.ndarray]  # uint8, under one window


@dataclass
class Sitting:
    """What one visitor has been answered last."""

    cases: list[Case]
    classifier: "TumorClassifier"  # that answered: others may have replaced it since
    opened: int = 0  # which of the cases is looked at
    cuts: dict[int, dict[str, Scan]] = field(default_factory=dict)  # by case: its scan in each plane
    views: dict[tuple[int, str], View] = field(default_factory=dict)  # by case and plane: those looked at

    def planes(self) -> dict[str, Scan]:
        """The opened case in each plane that it can be cut to."""
        if self.opened not in self.cuts:
            self.cuts[self.opened] = planes(self.cases[self.opened].scan)
        return self.cuts[self.opened]

    def view(self, plane: str) -> View | None:
        """The opened case in `plane`; None if it was not cut and classified yet, unless it is the scan's own plane."""
        case = self.cases[self.opened]
        if plane == case.scan.plane and (self.opened, plane) not in self.views:
            self.views[self.opened, plane] = View(case, under_one_window(case.scan.slices))
        return self.views.get((self.opened, plane))

    def add_view(self, plane: str, case: Case) -> None:
        """Remember the opened case as it was classified in `plane`."""
        self.views[self.opened, plane] = View(case, under_one_window(case.scan.slices))

    @property
    def nbytes(self) -> int:
        """Bytes that all its pixels take."""
        scans = [case.scan for case in self.cases if case.scan]
        scans += [scan for cuts in self.cuts.values() for scan in cuts.values()]
        pictures = [view.pictures for view in self.views.values()]
        slices = (pixels for some in [scan.slices for scan in scans] + pictures for pixels in some)
        return sum({id(pixels): pixels.nbytes for pixels in slices}.values())


class Sittings:
    """The last answer of each session, dropped `seconds` after it was last looked at, or as the page is closed.

    Gradio's own state of a session outlives its page by an hour, which is too long for a scan of a patient. When all
    together take more than `max_bytes`, those that were looked at longest ago go, but never the one just put in.
    """

    def __init__(self, seconds: float, max_bytes: int):
        self.seconds, self.max_bytes = seconds, max_bytes
        self._held: OrderedDict[str, tuple[float, Sitting]] = OrderedDict()  # the longest unseen first
        self._lock = threading.Lock()

    def put(self, session: str, sitting: Sitting) -> None:
        """Remember `sitting`, in place of the session's last one."""
        with self._lock:
            self._held.pop(session, None)
            self._held[session] = (time.monotonic(), sitting)
            while len(self._held) > 1 and sum(held.nbytes for _, held in self._held.values()) > self.max_bytes:
                self._held.popitem(last=False)

    def get(self, session: str) -> Sitting | None:
        """The session's sitting, which thereby counts as looked at; None if it is gone."""
        self.sweep()
        with self._lock:
            if session not in self._held:
                return None
            sitting = self._held.pop(session)[1]
            self._held[session] = (time.monotonic(), sitting)
            return sitting

    def drop(self, session: str) -> None:
        with self._lock:
            self._held.pop(session, None)

    def sweep(self) -> None:
        """Drop what has not been looked at for too long."""
        oldest = time.monotonic() - self.seconds
        with self._lock:
            while self._held and next(iter(self._held.values()))[0] < oldest:
                self._held.popitem(last=False)

    def sweep_forever(self, every: float) -> None:
        """Sweep each `every` seconds, in a thread of its own."""

        def keep_sweeping() -> None:
            while True:
                time.sleep(every)
                self.sweep()

        threading.Thread(target=keep_sweeping, name="forget", daemon=True).start()
