"""Read files where a decoder's crash, hang or memory exhaustion costs one file: in processes of their own, with limits.

A file of which such a process dies is refused, in a row of its own or as what its series lacks, and what was not read
before is read without it. This guards the server from accidents and bombs. It is no sandbox: the processes run as the
same user. They are started by subprocess, since those of multiprocessing would import the page with all its libraries.
"""

import atexit
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from . import Scan, Unreadable, limits
from .reading import Death, Key, Looking, Place, Plan
from .sources import shown_name
from .worker import OUT_OF_MEMORY

SECONDS = 25  # for one slice, if nothing else is done meanwhile: `worker` limits what it takes of a processor
FILE_SECONDS = 120  # for all slices of one file
TICK = 0.25  # seconds between two looks at the clock
START_SECONDS = 60  # for a process to import its libraries: one, and more where all cores are busy
WORKER = f"{__package__}.worker"
PROCESSES = 2  # reading at the same time; more would wait for the same cores
MAX_REQUESTS = 200  # of one process: what native libraries leak is given back
DEATH_SECONDS = 40  # that processes which died may cost one request
CRASH_SECONDS = 1  # that one costs at least: its successor's start

TOO_SLOW = "Reading this file took too long and was stopped. Export it again, with fewer or smaller slices."
TOO_HUNGRY = "Reading this file needs too much memory and was stopped. Export it again, with fewer or smaller slices."
DEADLY = "The file is damaged in a way that crashes its decoder. Export it again, or save the slice as PNG."
TOO_MANY = "Not read, since too many other files of this upload stopped their decoder. Upload it without them."

STOPPED = [getattr(signal, name) for name in ("SIGPROF", "SIGALRM") if hasattr(signal, name)]  # Unix


class ReaderDied(Exception):
    """A process ended while it read. The message is for the user; `at`, what it was doing, None at first."""

    at: Looking | None = None
    seconds: float = 0.0  # since it had begun, or read an entry


class Reader:
    """A process that reads for one thread at a time."""

    def __init__(self) -> None:
        path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "OMP_NUM_THREADS": "1",  # nothing here computes on several, and each takes addresses
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-P", "-m", WORKER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._requests = 0
        self._due, self._is_late = math.inf, False
        self._answered = threading.Lock()  # or late: one of the two
        self._closed = threading.Event()
        threading.Thread(target=self._stop_when_late, name="reader's clock", daemon=True).start()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_spent(self) -> bool:
        """Whether it must not be used again: it has ended, was stopped, or has served enough requests."""
        return self._is_late or self._process.poll() is not None or self._requests >= MAX_REQUESTS

    def close(self) -> None:
        """End the process, whatever it does."""
        atexit.unregister(self.close)
        self._closed.set()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with suppress(OSError):  # of a request that it never took
            self._process.stdin.close()

    def read_each(
        self, begin: Callable[[int], object], plan: Callable[[dict[Key, str]], object] = lambda names: None, **arguments
    ) -> Iterator[tuple[Key, Scan | Unreadable]]:
        """As `reading.read_each`, with its `arguments`. Raises: ReaderDied."""
        if self._requests == 0:
            self._answer(START_SECONDS)  # that it is ready
        self._requests += 1
        with suppress(OSError):  # a process that has died meanwhile gives no answer either
            pickle.dump(arguments, self._process.stdin)
            self._process.stdin.flush()
        at, file_due, since = None, math.inf, time.monotonic()
        while True:
            try:
                answer = self._answer(min(SECONDS, file_due - time.monotonic()))
            except ReaderDied as death:
                death.at, death.seconds = at, time.monotonic() - since
                raise
            if answer is None:
                return
            if isinstance(answer, Plan):
                plan(answer.names)
            elif isinstance(answer, Looking):
                if answer != at:
                    file_due = time.monotonic() + FILE_SECONDS
                at = answer
                begin(at.place[0])
            else:
                file_due = math.inf
                yield answer
                since = time.monotonic()

    def _answer(self, seconds: float) -> object:
        """The next that the process says. Raises: ReaderDied."""
        self._due = time.monotonic() + seconds
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):  # the end of the pipe, perhaps in the middle of an answer
            code = self._process.wait()
            if self._is_late or -code in STOPPED:
                raise ReaderDied(TOO_SLOW) from None
            raise ReaderDied(TOO_HUNGRY if code == OUT_OF_MEMORY else DEADLY) from None
        with self._answered:
            self._due = math.inf
        return answer

    def _stop_when_late(self) -> None:
        """One thread that looks now and then: a timer for each answer would cost as much as reading a slice."""
        while not self._closed.wait(TICK):
            with self._answered:
                if time.monotonic() > self._due:
                    self._is_late = True
                    self._process.kill()
                    return


_free: "queue.LifoQueue[Reader | None]" = queue.LifoQueue()  # the last one used first: idle ones stay asleep, or unborn
for _ in range(PROCESSES):
    _free.put(None)


def read_all(
    files: Sequence[str | Path | bytes], names: Sequence[str] = (), begin: Callable[[int], object] = lambda number: None
) -> list[Scan | Unreadable]:
    """As `scans.read_all`, from any thread, bytes with names; a file that stops its decoder costs itself alone.

    Waits while PROCESSES other requests are being read. Raises: RuntimeError if no process can be started.
    """
    return [entry for _, entry in sorted(read_each(files, names, begin), key=lambda entry: entry[0])]


def read_each(
    files: Sequence[str | Path | bytes],
    names: Sequence[str] = (),
    begin: Callable[[int], object] = lambda number: None,
    most_bytes: float | None = None,
) -> Iterator[tuple[Key, Scan | Unreadable]]:
    """As `read_all`, one entry at a time with its key, as they are read; `most_bytes` as of `reading.read_each`."""
    files = [file if isinstance(file, bytes) else Path(file) for file in files]  # not of Gradio's own type
    shown = [shown_name(name) for name in names or (file.name for file in files)]
    room = limits.MAX_BYTES_AT_ONCE if most_bytes is None else most_bytes
    deaths: dict[Place, Death] = {}
    done: set[Key] = set()
    planned: dict[Key, str] = {}

    def plan(entries: dict[Key, str]) -> None:
        planned.clear()
        planned.update(entries)

    cost = 0.0
    while cost < DEATH_SECONDS:
        arguments = {"files": files, "names": shown, "deaths": deaths, "done": done, "most_bytes": room}
        try:
            with _reader() as reader:
                for key, entry in reader.read_each(begin, plan, **arguments):
                    done.add(key)
                    room -= entry.nbytes if isinstance(entry, Scan) else 0
                    yield key, entry
                break
        except ReaderDied as death:
            if death.at is None:  # no file is to blame
                raise RuntimeError("The process that reads has ended: see the log.") from death
            deaths[death.at.place] = Death(str(death), has_headers=death.at.is_decoded)
            cost += max(CRASH_SECONDS, death.seconds)
    planned = planned or {(number, 0, 0): name for number, name in enumerate(shown)}
    for key, name in planned.items():
        if key not in done:
            reason = deaths[key[:2]].reason if key[:2] in deaths else TOO_MANY
            yield key, Unreadable(name, reason)


@contextmanager
def _reader() -> Iterator[Reader]:
    """Lend a living process; one that did not come to the end of its request is not used again."""
    reader = _free.get()
    try:
        if reader is None or reader.is_spent:
            if reader:
                reader.close()
            reader = Reader()
        yield reader
    except BaseException:  # whoever asked may have given up in the middle of an answer
        if reader:
            reader.close()
        reader = None
        raise
    finally:
        _free.put(reader)
