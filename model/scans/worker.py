"""The process in which `isolated` reads: takes lists of files until its stdin ends.

stdin: pickled (files, names). stdout: pickled numbers of files, each as work on that file begins, then the list that
`read_all` returns. What decoders print goes nowhere, for it may quote a file; the log is told where Python stood when
something broke, never what an exception says.
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

from . import read_all

try:
    import resource
except ImportError:  # Windows: time is limited there, memory is not
    resource = None

OUT_OF_MEMORY = 77  # exit code: memory was refused to Python
MAX_ADDRESSES = 1200 * 2**20  # bytes: libraries take a third, the largest scan with its decoder's copies another
ORPHAN_SECONDS = 30  # for one file if there is no server any more that would stop it


def main() -> None:
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

    def begin(number: int) -> None:
        if hasattr(signal, "alarm"):
            signal.alarm(ORPHAN_SECONDS)
        send(number)

    def send(message: object) -> None:
        pickle.dump(message, answers, protocol=5)  # writes arrays as they lie in memory, without a copy
        answers.flush()

    try:
        send("ready")
        while True:
            files, names = pickle.load(sys.stdin.buffer)
            send(read_all(files, names, begin))
            if hasattr(signal, "alarm"):
                signal.alarm(0)
    except (EOFError, BrokenPipeError):  # the server is gone
        os._exit(0)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Exception as error:
        print(f"{type(error).__name__} in the process that reads:", *traceback.format_tb(error.__traceback__), file=log)
        log.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
