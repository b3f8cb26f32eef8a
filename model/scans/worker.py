"""The process in which `isolated` reads: takes lists of files until its stdin ends.

stdin: pickled arguments of `read_each`, without its functions. stdout, pickled: its messages, as `Looking`, `Plan` and
the entries with their keys, then None. What decoders print goes nowhere, for it may quote a file; the log gets the
lines of Python where something broke, never what an exception says.
"""

import contextlib
import faulthandler
import logging
import os
import pickle
import signal
import sys
import traceback
import warnings
from typing import BinaryIO

from .reading import Looking, Place, Plan, read_each

try:
    import resource
except ImportError:  # Windows: time is limited there, memory is not
    resource = None


OUT_OF_MEMORY = 77  # exit code: memory was refused to Python
MAX_ADDRESSES = 1200 * 2**20  # bytes: libraries take a third, the largest scan with its decoder's copies another
ORPHAN_SECONDS = 30  # for one slice if there is no server any more that would stop it
CPU_SECONDS = 10  # for one slice, of a processor: a busy server is no fault of the file


def main() -> None:
    """Answer requests until the server is gone."""
    answers, log = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.enable(log)  # a crash of a native decoder names the lines of Python that led there
    warnings.simplefilter("ignore")
    logging.disable()
    if resource:
        with contextlib.suppress(ValueError, OSError):  # a system that has the limit by name only
            resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    try:
        _send("ready", answers)
        while True:
            _answer(pickle.load(sys.stdin.buffer), answers)
    except (EOFError, BrokenPipeError):  # the server is gone
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:
        print(f"{type(error).__name__} in the process that reads:", *traceback.format_tb(error.__traceback__), file=log)
        log.flush()
        os._exit(1)


def _answer(arguments: dict, answers: BinaryIO) -> None:
    def begin(place: Place, is_decoded: bool) -> None:
        _limit(ORPHAN_SECONDS, CPU_SECONDS)
        _send(Looking(place, is_decoded), answers)

    for entry in read_each(**arguments, begin=begin, plan=lambda names: _send(Plan(names), answers)):
        _limit(0, 0)  # whoever asked takes it when it is wanted
        _send(entry, answers)
    _limit(0, 0)
    _send(None, answers)


def _limit(orphan_seconds: int, cpu_seconds: int) -> None:
    """End the process by a signal when one of them is over, even within a decoder; 0 is never."""
    if hasattr(signal, "setitimer"):
        signal.alarm(orphan_seconds)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _send(message: object, answers: BinaryIO) -> None:
    pickle.dump(message, answers, protocol=5)  # writes arrays as they lie in memory, without a copy
    answers.flush()


if __name__ == "__main__":
    main()
