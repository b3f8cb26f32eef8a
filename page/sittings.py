"""What the page remembers of its visitors: in memory alone, for a while, and never more than a bound."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING

import numpy as np

from model.overlay import under_one_window
from model.report import Case
from model.scans import Scan, planes

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

_numbers = count()


@dataclass
class View:
    """A case as it is looked at: the scan in one plane."""

    case: Case
    pictures: list[np.ndarray]  # uint8, under one window


@dataclass(eq=False)
class Sitting:
    """What one visitor has asked for last, and been answered: no case yet means that the answer is being made.

    Whatever is kept of a case is kept under its index, which every method is told: which case is open may change while
    something is made of it. Calls from several threads at once are safe.
    """

    cases: list[Case] = field(default_factory=list)
    classifier: "TumorClassifier | None" = None  # that answered: others may have replaced it since
    number: int = field(default_factory=lambda: next(_numbers))  # what was asked for later has a higher one
    cuts: dict[int, dict[str, Scan]] = field(default_factory=dict)  # by case: its scan in each plane
    views: dict[tuple[int, str], View] = field(default_factory=dict)  # by case and plane: those looked at
    grown: Callable[["Sitting"], object] = lambda sitting: None  # called after every addition to the two
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def planes(self, index: int) -> dict[str, Scan]:
        """The case in each plane that it can be cut to."""
        return self.cuts.get(index) or self._keep(self.cuts, index, planes(self.cases[index].scan))

    def view(self, index: int, plane: str) -> View | None:
        """The case in `plane`; None if it was not cut and classified yet, unless it is the scan's own plane."""
        view, case = self.views.get((index, plane)), self.cases[index]
        return view or (self.add_view(index, plane, case) if plane == case.scan.plane else None)

    def add_view(self, index: int, plane: str, case: Case) -> View:
        """Remember the case at `index` as it was classified in `plane`: as `case`."""
        return self._keep(self.views, (index, plane), View(case, under_one_window(case.scan.slices)))

    def forget_all_but(self, index: int | None) -> None:
        """Forget what can be made again of the other cases."""
        with self._lock:
            for key in [key for key in self.cuts if key != index]:
                del self.cuts[key]
            for key in [key for key in self.views if key[0] != index]:
                del self.views[key]

    @property
    def nbytes(self) -> int:
        """Bytes that all its pixels take."""
        with self._lock:
            scans = [case.scan for case in self.cases if case.scan]
            scans += [scan for cuts in self.cuts.values() for scan in cuts.values()]
            pictures = [view.pictures for view in self.views.values()]
            pictures += [view.case.scan.slices for view in self.views.values()]
        slices = (pixels for some in [scan.slices for scan in scans] + pictures for pixels in some)
        return sum({id(pixels): pixels.nbytes for pixels in slices}.values())

    def _keep(self, kept: dict, key: object, value: object) -> object:
        """What is kept under `key`: `value`, unless another thread was faster."""
        with self._lock:
            value = kept.setdefault(key, value)
        self.grown(self)
        return value


@dataclass(frozen=True, eq=False)
class Look:
    """What stands on one visitor's page. Compared by identity: the same case opened twice is looked at twice."""

    sitting: Sitting
    opened: int | None = None  # which of the cases; None: all of them, or an answer that is being made
    cut: str = ""  # the plane that the opened case is looked at in, if not its own

    @property
    def case(self) -> Case:
        """The opened one."""
        return self.sitting.cases[self.opened]

    @property
    def plane(self) -> str:
        """That the opened case is looked at in."""
        return self.cut or self.case.scan.plane

    @property
    def view(self) -> View:
        """The opened case in that plane; whatever else is forgotten, this is kept."""
        return self.sitting.view(self.opened, self.plane)


class Sittings:
    """What each session looks at, dropped `seconds` after it was last looked at, or as the page is closed.

    Gradio's own state of a session outlives its page by an hour, which is too long for a scan of a patient.

    When all together take more than `max_bytes`, whatever was added last, first what can be made again of cases that
    are not open is forgotten, then those who were seen longest ago; but never what is open in the one that has grown.
    """

    def __init__(self, seconds: float, max_bytes: int):
        self.seconds, self.max_bytes = seconds, max_bytes
        self._held: OrderedDict[str, tuple[float, Look]] = OrderedDict()  # the longest unseen first
        self._lock = threading.Lock()

    def put(self, session: str, sitting: Sitting) -> Look | None:
        """Look at all of `sitting` instead of what the session looks at; None, and nothing, if that was asked later."""
        self.sweep()
        look = Look(sitting)
        with self._lock:
            if session in self._held and self._held[session][1].sitting.number > sitting.number:
                return None
            self._look(session, look)
        self._make_room(sitting)
        return look

    def replace(self, session: str, look: Look, new: Look) -> bool:
        """Look at `new` if the session still looks at `look`; false, and nothing, if not."""
        with self._lock:
            still = session in self._held and self._held[session][1] is look
            if still:
                self._look(session, new)
        self._make_room(new.sitting)
        return still

    def has_later(self, session: str, sitting: Sitting) -> bool:
        """Whether the session looks at what was asked for after `sitting`."""
        look = self.get(session)
        return look is not None and look.sitting.number > sitting.number

    def get(self, session: str) -> Look | None:
        """What the session looks at, which thereby counts as seen; None if it is gone."""
        self.sweep()
        with self._lock:
            if session not in self._held:
                return None
            look = self._held[session][1]
            self._look(session, look)
            return look

    def drop(self, session: str) -> None:
        with self._lock:
            self._held.pop(session, None)

    def sweep(self) -> None:
        """Drop what has not been looked at for too long."""
        oldest = monotonic() - self.seconds
        with self._lock:
            while self._held and next(iter(self._held.values()))[0] < oldest:
                self._held.popitem(last=False)

    def sweep_forever(self, every: float) -> None:
        """Sweep each `every` seconds, in a thread of its own."""

        def keep_sweeping() -> None:
            while True:
                sleep(every)
                self.sweep()

        threading.Thread(target=keep_sweeping, name="forget", daemon=True).start()

    @property
    def nbytes(self) -> int:
        """Bytes that the pixels of all take."""
        with self._lock:
            return sum(look.sitting.nbytes for _, look in self._held.values())

    def _look(self, session: str, look: Look) -> None:
        look.sitting.grown = self._make_room
        self._held[session] = (monotonic(), look)
        self._held.move_to_end(session)

    def _make_room(self, grown: Sitting) -> None:
        """Keep to `max_bytes`."""
        with self._lock:
            sizes = {session: look.sitting.nbytes for session, (_, look) in self._held.items()}
            for session, (_, look) in self._held.items():
                if sum(sizes.values()) <= self.max_bytes:
                    return
                look.sitting.forget_all_but(look.opened)
                sizes[session] = look.sitting.nbytes
            for session in list(self._held):
                if sum(sizes.values()) <= self.max_bytes:
                    return
                if sizes[session] and self._held[session][1].sitting is not grown:
                    del self._held[session], sizes[session]
