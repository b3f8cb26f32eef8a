"""Calls that take turns and are timed: a busy machine is then busy for each of them."""

import time
from collections.abc import Callable

import numpy as np

RUNS, WARM_UP = 200, 20
PAUSE = 0.003  # seconds between two calls: threads of the one before wait for more work in a busy loop that long


def take_turns(calls: dict[str, Callable[[], object]], rounds: tuple[int, int] | None = None) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after a few rounds to warm up; `rounds`: to warm up, and timed."""
    warm_up, runs = rounds or (WARM_UP, RUNS)
    milliseconds = {key: [] for key in calls}
    for turn in range(warm_up + runs):
        for key, call in calls.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                milliseconds[key].append(1000 * (time.perf_counter() - start))
    return milliseconds


def figures(milliseconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    median, high = np.percentile(milliseconds, (50, 95))
    return {"median_ms": round(float(median), 3), "p95_ms": round(float(high), 3)}
