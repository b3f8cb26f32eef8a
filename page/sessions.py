"""What the server keeps of visitors, for minutes only: uploads in a folder of its own, and answers in memory.

Imported before Gradio, which must know the folder: nothing here may import Gradio.
"""

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from model.overlay import under_one_window
from model.report import Case
from model.scans import Scan, planes

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

UPLOADS = "brain-tumor-uploads-"  # begins the name of each server's folder
_numbers = count()


def upload_folder() -> Path:
    """Make a folder that no other user can enter and that goes with the server."""
    folder = Path(tempfile.mkdtemp(prefix=UPLOADS))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Uploads:
    """The files in `folder`, but for those that lie there already: Gradio made them of the page's own files.

    Gradio itself misses uploads that broke off, and all when the server is stopped.
    """

    def __init__(self, folder: Path):
        self.folder, self.keep = folder, set(folder.rglob("*"))

    def sweep(self, seconds: float) -> None:
        """Delete files older than so many seconds, and the folders of servers that died so long ago."""
        oldest = time() - seconds
        with suppress(FileNotFoundError):  # somebody else has swept the temporary folder
            os.utime(self.folder)
        for file in self.folder.rglob("*") if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # Gradio was faster
                if file not in self.keep and file.is_file() and file.stat().st_mtime < oldest:
                    file.unlink()
        for other in self.folder.parent.glob(f"{UPLOADS}*"):
            with suppress(FileNotFoundError):  # another server was faster
                if other != self.folder and other.stat().st_mtime < oldest:
                    shutil.rmtree(other, ignore_errors=True)

    def stop(self, number: int, _frame: object) -> None:
        """Handle a signal: delete all and end at once, since an orderly exit would wait for whoever reads or loads."""
        shutil.rmtree(self.folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def keep_sweeping(seconds: float, *sweeps: Callable[[], object]) -> None:
    """Call each of `sweeps` every so many seconds, in a thread of its own."""

    def sweep() -> None:
        while True:
            for one in sweeps:
                one()
            sleep(seconds)

    threading.Thread(target=sweep, name="sweep", daemon=True).start()


class View(NamedTuple):
    """A case in one plane, as it is shown."""

    case: Case
    pictures: list[np.ndarray]  # uint8, under one window


class OpenCase:
    """A case that is open, and what was made of it: its scan cut to other planes, and the views that were shown."""

    def __init__(self, case: Case):
        self.case, self.cuts, self.views = case, {}, {}

    def planes(self) -> dict[str, Scan]:
        """The scan in each plane that it can be cut to."""
        if not self.cuts:
            self.cuts = planes(self.case.scan)
        return self.cuts

    def view(self, plane: str) -> View:
        """The case in its own plane, or in one that was added."""
        return self.views.get(plane) or self.add_view(plane, self.case)

    def add_view(self, plane: str, case: Case) -> View:
        """Keep the case as it was classified in `plane`."""
        return self.views.setdefault(plane, View(case, under_one_window(case.scan.slices)))


@dataclass(eq=False)
class Answer:
    """The cases that answer what one visitor asked for; none while the answer is being made."""

    cases: list[Case] = field(default_factory=list)
    classifier: "TumorClassifier | None" = None  # that answered: it may have been replaced since
    number: int = field(default_factory=lambda: next(_numbers))  # what was asked for later has a higher one

    def open(self, index: int) -> "Selection":
        """One of the cases."""
        case = self.cases[index]
        return Selection(self, OpenCase(case), case.scan.plane if case.scan else "")


@dataclass(frozen=True, eq=False)
class Selection:
    """What one visitor's page shows. Compared by identity: a case that is opened again is another selection."""

    answer: Answer
    opened: OpenCase | None = None  # of the answer's cases; None: all of them, or an answer that is being made
    plane: str = ""  # that the opened case is shown in

    @property
    def case(self) -> Case:
        """The opened one, in the plane of its scan."""
        return self.opened.case

    @property
    def view(self) -> View:
        """The opened case in the plane that is shown."""
        return self.opened.view(self.plane)

    @property
    def nbytes(self) -> int:
        """Bytes that all pixels take, each array counted once."""
        scans = [case.scan for case in self.answer.cases if case.scan]
        pictures = []
        if self.opened:
            scans += self.opened.cuts.values()
            pictures = [pixels for view in list(self.opened.views.values()) for pixels in view.pictures]
        arrays = pictures + [pixels for scan in scans for pixels in scan.slices]
        return sum({id(pixels): pixels.nbytes for pixels in arrays}.values())


class Sessions:
    """The selection of each session, dropped `seconds` after its last use, or as the page is closed.

    Gradio's own state of a session outlives its page by an hour, which is too long for a patient's scan. When all
    together take more than `max_bytes`, the sessions that were not used for longest go, but never the one that has
    grown. Calls from several threads at once are safe.
    """

    def __init__(self, seconds: float, max_bytes: int):
        self.seconds, self.max_bytes = seconds, max_bytes
        self._held: OrderedDict[str, tuple[float, Selection]] = OrderedDict()  # the longest unused first
        self._lock = threading.RLock()

    def put(self, session: str, answer: Answer) -> Selection | None:
        """Show `answer` from now on. None, and no change, if the session shows what was asked for later."""
        with self._lock:
            if self.has_later(session, answer):
                return None
            selection = Selection(answer)
            self._hold(session, selection)
            return selection

    def replace(self, session: str, shown: Selection, new: Selection) -> bool:
        """Show `new` if the session still shows `shown`; false, and no change, if not."""
        with self._lock:
            is_shown = session in self._held and self._held[session][1] is shown
            if is_shown:
                self._hold(session, new)
            return is_shown

    def has_later(self, session: str, answer: Answer) -> bool:
        """Whether the session shows what was asked for after `answer`."""
        selection = self.get(session)
        return selection is not None and selection.answer.number > answer.number

    def get(self, session: str) -> Selection | None:
        """What the session shows, which counts as a use; None if it was dropped."""
        with self._lock:
            self.sweep()
            if session in self._held:
                self._held[session] = (monotonic(), self._held[session][1])
                self._held.move_to_end(session)
                return self._held[session][1]
            return None

    def drop(self, session: str) -> None:
        """Forget what the session shows."""
        with self._lock:
            self._held.pop(session, None)

    def sweep(self) -> None:
        """Drop what was not used for too long."""
        oldest = monotonic() - self.seconds
        with self._lock:
            while self._held and next(iter(self._held.values()))[0] < oldest:
                self._held.popitem(last=False)

    def _hold(self, session: str, selection: Selection) -> None:
        """Use the selection from now on, and make room for it."""
        self._held[session] = (monotonic(), selection)
        self._held.move_to_end(session)
        sizes = {other: held.nbytes for other, (_, held) in self._held.items()}
        for other, size in list(sizes.items())[:-1]:
            if sum(sizes.values()) <= self.max_bytes:
                return
            if size:
                del self._held[other], sizes[other]
