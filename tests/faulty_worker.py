"""The reading process with a reader that fails as native decoders do: files of one word say how."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np

from model.scans import worker
from model.scans.isolated import SECONDS
from model.scans.reading import read_each

PLANTED = "DOE^JANE"


def fail(how: bytes) -> None:
    match how:
        case b"crash":
            ctypes.string_at(0)  # a segmentation fault
        case b"abort":
            os.abort()
        case b"hang":
            time.sleep(6 * SECONDS)
        case b"busy":
            while True:
                pass
        case b"hungry":
            np.ones(2 * worker.MAX_ADDRESSES, np.uint8)
        case b"faulty":
            raise KeyError(PLANTED)
        case b"loud":
            os.write(1, PLANTED.encode())
            os.write(2, PLANTED.encode())
            print(PLANTED)


def read_each_or_fail(files, begin, deaths, **others):
    for number, file in enumerate(files):
        if Path(file).stat().st_size < 10 and (number, 0) not in deaths:
            begin((number, 0), False)
            fail(Path(file).read_bytes())
    yield from read_each(files, begin=begin, deaths=deaths, **others)


if __name__ == "__main__":
    worker.read_each, worker.CPU_SECONDS = read_each_or_fail, 1
    worker.main()
