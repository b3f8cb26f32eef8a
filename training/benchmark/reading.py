"""What the largest files that are read cost, and what reading in a process of its own adds.

Seconds go from the file's name to the pixels; those of the processor, of the server's and the reading process together,
hold on a busy machine too. Memory is what the peaks of both processes add to what they hold while idle, which is no
less than the peak of both together. Linux alone tells it.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from model import scans
from model.scans import isolated, worker

from ..hardware import describe
from . import memory
from .files import LARGEST, ORDINARY

ROUNDS = 3  # of all the largest files, one after the other
RUNS = 30  # of each ordinary file, here and there by turns


def benchmark(folder: Path, quick: bool = False) -> dict:
    """Read the largest files in `ROUNDS` rounds, ordinary ones `RUNS` times; the report is JSON-ready.

    `folder`: where the files are made. Raises: ValueError where memory cannot be measured.
    """
    if not memory.FOUND:
        raise ValueError(memory.MISSING)
    paths = {what: folder / str(number) for number, what in enumerate(LARGEST)}
    for what, make in LARGEST.items():
        paths[what].write_bytes(make())
    rounds = [[measure_largest(what, path) for what, path in paths.items()] for _ in range(1 if quick else ROUNDS)]
    return {
        "largest": [median_row(rows) for rows in zip(*rounds, strict=True)],
        "isolation": [measure_isolation(what, make, folder) for what, make in ORDINARY.items()],
        "limit_seconds": worker.CPU_SECONDS,
        "rounds": len(rounds),
        "hardware": describe(torch.device("cpu")),
    }


def median_row(rows: tuple[dict, ...]) -> dict:
    """Of several measures of one file: the median time, the highest peak."""
    times = {name: statistics.median(row[name] for row in rows) for name in ("seconds", "busy_seconds")}
    return rows[0] | times | {"peak_mb": max(row["peak_mb"] for row in rows)}


def measure_largest(what: str, path: Path) -> dict:
    """Seconds and peak memory of reading one file as the server does, in a process that has read nothing yet."""
    with started_reader() as reader:
        processes = ("self", str(reader.pid))
        for process in processes:
            memory.forget_peak(process)
        idle, busy, start = sum(map(memory.held, processes)), sum(map(busy_seconds, processes)), time.perf_counter()
        row = {"what": what, "file_mb": round(path.stat().st_size / 1e6, 1), "slices": 0, "reason": ""}
        try:
            ((_, entry),) = reader.read_each(lambda number: None, files=[path], names=[what])
        except isolated.ReaderDied as death:
            raise ValueError(f"{what}: {death}") from death
        row |= {"slices": len(entry.slices)} if isinstance(entry, scans.Scan) else {"reason": entry.reason}
        return row | {
            "seconds": round(time.perf_counter() - start, 2),
            "busy_seconds": round(sum(map(busy_seconds, processes)) - busy, 2),
            "peak_mb": round((sum(map(memory.peak, processes)) - idle) / 1e6),
        }


@contextmanager
def started_reader() -> Iterator[isolated.Reader]:
    """A new process that waits for work."""
    reader = isolated.Reader()
    try:
        list(reader.read_each(lambda number: None, files=[]))
        yield reader
    finally:
        reader.close()


def busy_seconds(process: str) -> float:
    """What a process has had of the processor so far, in steps of 10 ms."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: see man proc_pid_stat


def measure_isolation(what: str, make: Callable[[], bytes], folder: Path) -> dict:
    """Milliseconds of reading an ordinary file here and in a process of its own: medians of turns, and of processor."""
    path = folder / "upload"
    path.write_bytes(make())
    with started_reader() as reader:
        ways = {
            "here": (lambda: scans.read_all([path]), ("self",)),
            "isolated": (lambda: list(reader.read_each(lambda number: None, files=[path])), ("self", str(reader.pid))),
        }
        passed, busy = {where: [] for where in ways}, dict.fromkeys(ways, 0.0)
        for turn in range(RUNS + 1):
            for where, (read, processes) in ways.items():
                before, start = sum(map(busy_seconds, processes)), time.perf_counter()
                read()
                if turn:  # the first one loads libraries
                    passed[where].append(1000 * (time.perf_counter() - start))
                    busy[where] += 1000 * (sum(map(busy_seconds, processes)) - before) / RUNS
    medians = {where: float(np.median(milliseconds)) for where, milliseconds in passed.items()}
    return {
        "what": what,
        **{f"{where}_ms": round(median, 1) for where, median in medians.items()},
        "costs_ms": round(medians["isolated"] - medians["here"], 1),
        "costs_busy_ms": round(busy["isolated"] - busy["here"], 1),
    }
