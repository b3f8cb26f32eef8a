"""The model alone: `python -m tests.load.bare SECONDS` prints the slices that it answers a second, on all cores."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from model.classifier import TumorClassifier
from model.scans import read

from .slices import JPEG

THREADS = 3  # that ask at once, as many as the service lets work on two cores


def slices_a_second(seconds: float) -> float:
    classifier, pixels = TumorClassifier.from_pretrained(), read(JPEG, "slice.jpg").slices
    classifier.predict(pixels)
    until = time.perf_counter() + seconds

    def ask(_: int) -> int:
        answered = 0
        while time.perf_counter() < until:
            classifier.predict(pixels)
            answered += 1
        return answered

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS))) / seconds


if __name__ == "__main__":
    print(slices_a_second(float(sys.argv[1])))
