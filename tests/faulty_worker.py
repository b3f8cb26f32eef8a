"""The reading process with a reader that fails as native decoders do: files of one word say how."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np

from model.scans import read_all, worker
from model.scans.isolated import SECONDS

PLANTED = "DOE^JANE"


def fail(how: bytes) -> None:
    match how:
        case b"crash":
            ctypes.string_at(0)  # a segmentation fault
        case b"abort":
            os.abort()
        case b"hang":
            time.sleep(6 * SECONDS)
        case b"hungry":
            np.ones(2 * worker.MAX_ADDRESSES, np.uint8)
        case b"faulty":
            raise KeyError(PLANTED)
        case b"loud":
            os.write(1, PLANTED.encode())
            os.write(2, PLANTED.encode())
            print(PLANTED)


def read_all_or_fail(files, names, begin):
    for number, file in enumerate(files):
        if isinstance(file, str | Path) and Path(file).stat().st_size < 10:
            begin(number)
            fail(Path(file).read_bytes())
    return read_all(files, names, begin)


if __name__ == "__main__":
    worker.read_all = read_all_or_fail
    worker.main()
