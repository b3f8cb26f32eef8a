"""Latency, throughput, memory, loading and size of our network and of others, and the time of a whole volume."""

import os
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from model import CLASSES
from model.classifier import TumorClassifier

from ..hardware import describe, versions
from ..phantoms import draw_phantom
from . import memory
from .alone import measure
from .contestants import Contestant, has_onnx, prepare
from .turns import figures, take_turns

BATCHES = {1: (20, 200), 32: (1, 9)}  # images in a call -> rounds to warm up, and timed: a call of 32 takes a second
LOADED = 3  # times that each is started in a process of its own
VOLUME_ROUNDS = 1, 9
QUICK = {1: (5, 20), 32: (0, 2)}
SLICES, SLICE_SIZE = 155, 240  # of a volume as BraTS has them


def benchmark(weights: Path, threads: int, quick: bool = False) -> dict:
    """Time the weights in the folder `weights` beside the others; the report is JSON-ready.

    Returns: `model`, the version of the weights; `rows` of
    {key, what, batch, median_ms, p95_ms, to_int8, images_per_second, file_mb, and on Linux peak_mb
    and load_ms}, with `to_int8` the ratio of its median to that of ours in int8 as served; `volume`, as `time_volume`
    gives it; `bytes` of our int8 and fp32 files; `load`, how many processes wanted a core in the minute before; and
    what it ran on. Sets the number of threads of this process.
    Raises: DamagedWeights if the folder cannot be used; ValueError.
    """
    torch.set_num_threads(threads)
    load, rounds, loaded = os.getloadavg()[0], QUICK if quick else BATCHES, 1 if quick else LOADED
    with tempfile.TemporaryDirectory() as scratch:
        contestants = prepare(weights, Path(scratch), has_onnx())
        rows = [row for batch in rounds for row in time_batches(contestants, batch, threads, rounds[batch])]
        if memory.FOUND:
            add_costs_alone(rows, contestants, threads, loaded)
        bytes_of = {one.precision: Path(one.file).stat().st_size for one in contestants if one.runtime == "served"}
    classifier = TumorClassifier.from_folder(weights)
    return {
        "model": classifier.version,
        "rows": rows,
        "volume": time_volume(classifier, (0, 1) if quick else VOLUME_ROUNDS),
        "load": round(load, 1),
        "bytes": bytes_of,
        "threads": threads,
        "runs": rounds[1][1],
        "hardware": describe(torch.device("cpu")),
        "versions": versions() | {name: version(name) for name in ("torchvision", "onnxruntime")[: 1 + has_onnx()]},
    }


def time_batches(contestants: list[Contestant], batch: int, threads: int, rounds: tuple[int, int]) -> list[dict]:
    calls = {one.key: one.open(threads)(batch) for one in contestants}
    timed = {key: figures(milliseconds) for key, milliseconds in take_turns(calls, rounds).items()}
    return [
        {
            "key": one.key,
            "what": one.what,
            "batch": batch,
            **timed[one.key],
            "to_int8": round(timed[one.key]["median_ms"] / timed["int8"]["median_ms"], 3),
            "images_per_second": round(1000 * batch / timed[one.key]["median_ms"], 1),
            "file_mb": round(Path(one.file).stat().st_size / 1e6, 2),
        }
        for one in contestants
    ]


def add_costs_alone(rows: list[dict], contestants: list[Contestant], threads: int, times: int) -> None:
    """Put peak memory and loading time of a process of its own into each row: medians, also in turns."""
    by_key = {one.key: one for one in contestants}
    found: list[list[dict]] = [
        [measure(by_key[row["key"]], threads, row["batch"]) for row in rows] for _ in range(times)
    ]
    for row, *measured in zip(rows, *found, strict=True):
        row |= {name: statistics.median(one[name] for one in measured) for name in ("peak_mb", "load_ms")}


def time_volume(classifier: TumorClassifier, rounds: tuple[int, int]) -> dict:
    """`slices` of `size` pixels, float32 as NIfTI gives them: `seconds` for all in one call and `one_by_one_seconds`,
    medians of `runs` rounds in which both took turns, and `to_one_by_one`, their ratio.
    """
    heads = [draw_phantom(label, seed=seed, size=SLICE_SIZE).image for seed in range(2) for label in CLASSES]
    volume = [heads[k % len(heads)].astype(np.float32) for k in range(SLICES)]
    calls = {"all": lambda: classifier.predict(volume), "each": lambda: [classifier.predict([one]) for one in volume]}
    timed = take_turns(calls, rounds)
    together, one_by_one = (float(np.median(timed[key])) / 1000 for key in calls)
    return {
        "slices": SLICES,
        "size": SLICE_SIZE,
        "seconds": round(together, 3),
        "one_by_one_seconds": round(one_by_one, 3),
        "to_one_by_one": round(together / one_by_one, 3),
        "runs": rounds[1],
    }
