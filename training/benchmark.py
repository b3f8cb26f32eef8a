"""How long one image takes, beside other networks, and how long the slices of a volume, together and one by one.

    python -m training.benchmark --json speed.json               # the shipped weights
    python -m training.benchmark --weights runs/NAME/weights

One image: our int8 network, the same in fp32, EfficientNet-B0, and the whole way from a 512 px slice to the answer.
All of them take turns in every round, so that a busy machine is busy for each: ratios hold where milliseconds do not.
EfficientNet-B0 is torchvision's, eager, at its own 224 px; the fp32 form of ours is the trained one, channels-last,
with BatchNorm folded as in the served one.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision

from model import CLASSES
from model.classifier import TumorClassifier
from model.network import TumorNet
from model.quantization import FILES, load_trained, load_weights, save_weights

from .hardware import describe, versions
from .phantoms import draw_phantom

RUNS, WARM_UP = 200, 20
VOLUME_ROUNDS = 1, 9  # to warm up, and timed: each takes seconds
SLICES, SLICE_SIZE = 155, 240  # of a volume as BraTS has them


def benchmark(folder: Path, threads: int) -> dict:
    """Time the weights in `folder` beside the others, batch 1; the report is JSON-ready.

    Returns: `rows` of {key, what, median_ms, p95_ms, to_int8}, with `to_int8` the ratio of its median to ours in int8;
    `volume`, as `time_volume` gives it; `bytes` of the int8 and fp32 files; `load`, how many processes wanted a core in
    the minute before; and what it ran on. Sets the number of threads of this process.
    Raises: DamagedWeights if the folder cannot be used.
    """
    torch.set_num_threads(threads)
    load = os.getloadavg()[0]
    classifier = TumorClassifier.from_folder(folder)
    int8, _, config = load_weights(folder)
    fp32 = without_batch_norm(load_trained(folder)).to(memory_format=torch.channels_last)
    efficientnet = torchvision.models.efficientnet_b0(weights=None).eval()
    square = torch.randint(0, 256, (1, 1, config["size"], config["size"]), dtype=torch.uint8)
    color = torch.rand(1, 3, 224, 224)
    slice_512 = draw_phantom("glioma", seed=0, size=512).image
    size = f"{config['size']} px"
    contestants = {
        "int8": (f"ours, int8, {size}", lambda: int8(square)),
        "fp32": (f"ours, fp32 channels-last, {size}", lambda: fp32(square)),
        "efficientnet_b0": ("EfficientNet-B0, fp32, 224 px", lambda: efficientnet(color)),
        "predict": ("ours, from a 512 px slice to the answer", lambda: classifier.predict([slice_512])),
    }
    milliseconds = take_turns({key: call for key, (_, call) in contestants.items()})
    medians = {key: float(np.median(values)) for key, values in milliseconds.items()}
    return {
        "rows": [
            {
                "key": key,
                "what": what,
                "median_ms": round(medians[key], 3),
                "p95_ms": round(float(np.percentile(milliseconds[key], 95)), 3),
                "to_int8": round(medians[key] / medians["int8"], 3),
            }
            for key, (what, _) in contestants.items()
        ],
        "volume": time_volume(classifier),
        "load": round(load, 1),
        "bytes": {"int8": (folder / FILES["int8"]).stat().st_size, "fp32": _fp32_bytes(folder)},
        "threads": threads,
        "runs": RUNS,
        "hardware": describe(torch.device("cpu")),
        "versions": versions() | {"torchvision": torchvision.__version__},
    }


def time_volume(classifier: TumorClassifier) -> dict:
    """`slices` of `size` pixels, float32 as NIfTI gives them: `seconds` for all in one call and `one_by_one_seconds`,
    medians of `runs` rounds in which both took turns, and `to_one_by_one`, their ratio.
    """
    heads = [draw_phantom(label, seed=seed, size=SLICE_SIZE).image for seed in range(2) for label in CLASSES]
    volume = [heads[k % len(heads)].astype(np.float32) for k in range(SLICES)]
    calls = {"all": lambda: classifier.predict(volume), "each": lambda: [classifier.predict([one]) for one in volume]}
    timed = take_turns(calls, VOLUME_ROUNDS)
    together, one_by_one = (float(np.median(timed[key])) / 1000 for key in calls)
    return {
        "slices": SLICES,
        "size": SLICE_SIZE,
        "seconds": round(together, 3),
        "one_by_one_seconds": round(one_by_one, 3),
        "to_one_by_one": round(together / one_by_one, 3),
        "runs": VOLUME_ROUNDS[1],
    }


def without_batch_norm(net: TumorNet) -> TumorNet:
    """`net` with every BatchNorm folded into the convolution before it: the fastest that plain fp32 can be."""
    for parent in net.features.modules():
        parts = list(parent.named_children())
        for (name, conv), (next_name, norm) in zip(parts, parts[1:], strict=False):
            if isinstance(norm, torch.nn.BatchNorm2d):
                setattr(parent, name, torch.nn.utils.fuse_conv_bn_eval(conv.eval(), norm.eval()))
                setattr(parent, next_name, torch.nn.Identity())
    return net.eval()


@torch.inference_mode()
def take_turns(calls: dict[str, Callable[[], object]], rounds: tuple[int, int] | None = None) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after a few rounds to warm up; `rounds`: to warm up, and timed."""
    warm_up, runs = rounds or (WARM_UP, RUNS)
    milliseconds = {key: [] for key in calls}
    for turn in range(warm_up + runs):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= warm_up:
                milliseconds[key].append(1000 * (time.perf_counter() - start))
    return milliseconds


def _fp32_bytes(folder: Path) -> int:
    """Size of the float32 file; where it was not shipped, of one that is written for the comparison."""
    if (folder / FILES["fp32"]).exists():
        return (folder / FILES["fp32"]).stat().st_size
    with tempfile.TemporaryDirectory() as elsewhere:
        return save_weights(load_trained(folder), {}, Path(elsewhere), "fp32").stat().st_size


def table(report: dict) -> str:
    """The report as lines of text."""
    lines = [f"{report['hardware']['processor']}, {report['threads']} threads, medians of {report['runs']} rounds"]
    for row in report["rows"]:
        times = f"{row['median_ms']:8.1f} ms   95 %: {row['p95_ms']:6.1f}   x{row['to_int8']:.2f} our int8"
        lines.append(f"  {row['what']:42}{times}")
    volume = report["volume"]
    times = f"{volume['seconds']:.2f} s   x{volume['to_one_by_one']:.2f} one by one   load before: {report['load']}"
    lines.append(f"  a volume of {volume['slices']} slices, {volume['size']} px: {times}")
    small, large = report["bytes"]["int8"], report["bytes"]["fp32"]
    lines.append(f"  file: {small / 1e6:.2f} MB in int8, {large / 1e6:.2f} in fp32, ratio {small / large:.3f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmark", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, default=Path("model/weights"), help="weights folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")
    options = parser.parse_args(arguments)
    try:
        report = benchmark(options.weights, options.threads)
        if options.json:
            options.json.write_text(json.dumps(report, indent=2) + "\n")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
