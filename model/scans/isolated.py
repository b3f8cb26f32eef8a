"""Read files where a decoder's crash, hang or hunger for memory costs one file: in processes of their own, with limits.

A file of which such a process dies gets a row with a sentence, and the others are read again without it. This guards
the server from accidents and bombs. It is no sandbox: the processes run as the same user.

They are started by subprocess, since those of multiprocessing would first import the page with all its libraries.
"""

import atexit
import math
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from . import Scan, Unreadable
from .names import shown_name
from .worker import OUT_OF_MEMORY

SECONDS = 10  # for one file: the slowest that the limits allow takes a third of it
TICK = 0.25  # seconds between two looks at the clock
START_SECONDS = 60  # for a process to import its libraries: one, and more where all cores are busy
WORKER = f"{__package__}.worker"
PROCESSES = 2  # reading at the same time; more would wait for the same cores
MAX_REQUESTS = 200  # of one process: what native libraries leak is given back
MAX_DEATHS = 4  # in one request: each costs up to SECONDS and a new process

TOO_SLOW = "Reading this file took too long and was stopped. Export it again, with fewer or smaller slices."
TOO_HUNGRY = "Reading this file needs too much memory and was stopped. Export it again, with fewer or smaller slices."
DEADLY = "The file is damaged in a way that crashes its decoder. Export it again, or save the slice as PNG."
TOO_MANY = f"Not read, since {MAX_DEATHS} other files of this upload stopped their decoder. Upload it without them."


class ReaderDied(Exception):
    """A process ended while it read. The message is a sentence for the user; `number` of the file, None before any."""

    number: int | None = None


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
        return self._process.pid

    @property
    def is_spent(self) -> bool:
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

    def read_all(
        self, files: Sequence[str | Path | bytes | Unreadable], names: Sequence[str], begin: Callable[[int], None]
    ) -> list[Scan | Unreadable]:
        """As `scans.read_all`. Raises: ReaderDied."""
        if self._requests == 0:
            self._answer(START_SECONDS)  # that it is ready
        self._requests += 1
        with suppress(OSError):  # a process that has died meanwhile gives no answer either
            pickle.dump((files, names), self._process.stdin)
            self._process.stdin.flush()
        number = None
        while True:
            try:
                answer = self._answer(SECONDS)
            except ReaderDied as death:
                death.number = number
                raise
            if not isinstance(answer, int):
                return answer
            number = answer
            begin(number)

    def _answer(self, seconds: float) -> object:
        """The next that the process says. Raises: ReaderDied."""
        self._due = time.monotonic() + seconds
        try:
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):  # the end of the pipe, perhaps in the middle of an answer
            code = self._process.wait()
            if self._is_late:
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
    files: Sequence[str | Path | bytes], names: Sequence[str] = (), begin: Callable[[int], None] = lambda number: None
) -> list[Scan | Unreadable]:
    """As `scans.read_all`, from any thread, bytes with names; a file that stops its decoder is one `Unreadable`.

    Waits while PROCESSES other requests are being read. Raises: RuntimeError if no process can be started.
    """
    files: list[Path | bytes | Unreadable] = [  # Gradio's own kind of str would have it imported
        file if isinstance(file, bytes) else Path(file) for file in files
    ]
    shown = [shown_name(name) for name in names or (file.name for file in files)]
    for _ in range(MAX_DEATHS):
        try:
            with _reader() as reader:
                return reader.read_all(files, shown, begin)
        except ReaderDied as death:
            if death.number is None:  # no file is to blame
                raise RuntimeError("The process that reads has ended; its last words stand in the log.") from death
            files[death.number] = Unreadable(shown[death.number], str(death))
    return [
        file if isinstance(file, Unreadable) else Unreadable(name, TOO_MANY)
        for file, name in zip(files, shown, strict=True)
    ]


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
