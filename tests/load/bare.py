"""The model alone: `python -m tests.load.bare SECONDS` prints how many slices it answers a second, on all cores.

First asked for one slice after the other by several threads, as by the service; then for whole volumes.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from model.classifier import TumorClassifier
from model.report import CHUNK
from model.scans import read

from .slices import JPEG

THREADS = 3  # that ask at once, as many as the service lets work on two cores


def slices_a_second(seconds: float, at_once: int) -> float:
    """Each of the threads asks for `at_once` slices at a time."""
    classifier, pixels = TumorClassifier.from_pretrained(), read(JPEG, "slice.jpg").slices * at_once
    classifier.predict(pixels)
    until = time.perf_counter() + seconds

    def ask(_: int) -> int:
        answered = 0
        while time.perf_counter() < until:
            answered += len(classifier.predict(pixels))
        return answered

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS))) / seconds


if __name__ == "__main__":
    print(*(slices_a_second(float(sys.argv[1]), at_once) for at_once in (1, CHUNK)))
