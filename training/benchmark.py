"""One slice, one thread: our int8 takes 0.24 of the time of EfficientNet-B0 in ONNX Runtime, 0.12 of it in PyTorch, and
0.73 of our float32. Serving needs 0.08 of the disk that it would with PyTorch, and has answered 0.2 s after the start
of its process, with 83 MB; EfficientNet-B0 in PyTorch takes 2.9 s and 753 MB. Medians of n = 100 rounds (5 starts), one
run on two cores of an AMD EPYC with VNNI, load 4 as it began.

    python -m training.benchmark --json runs/speed.json     # for training.evaluation.card; --only training: one part

Contestants take turns, so that a busy machine is busy for each: ratios hold where milliseconds do not. A ratio is the
median over the rounds of ours / theirs within a round.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
import torchvision
from packaging.requirements import Requirement
from torch.utils.data import DataLoader, RandomSampler
from torchvision.transforms import v2

from model import CLASSES
from model.artifact import EMBEDDED, FILES
from model.classifier import TumorClassifier
from model.graph import PROBE, PROBE_DEPTH, with_unsigned_weights

from .checkpoint import describe, versions
from .contestants import Contestant
from .data.frames import read_dataset
from .data.phantoms import SOURCE, draw_phantom, write_phantom_dataset
from .data.training_set import TrainingSet, load_training_set
from .distributed import best_device, bf16_is_fast
from .evaluation.card import section
from .export.graph import INPUT, float_graph
from .network import TumorNet, trained_in
from .settings import Settings
from .train import Learner, draw_batch

ROOT = Path(__file__).parents[1]
OTHERS = {"efficientnet_b0": "EfficientNet-B0", "mobilenet_v3_small": "MobileNetV3-small"}  # torchvision's: the title
OTHERS |= {"resnet50": "ResNet-50", "convnext_tiny": "ConvNeXt-Tiny"}  # what they have learned does not matter
ROUNDS = 100
PAUSE = 0.003  # seconds between two calls: threads of the one before wait for more work in a busy loop that long


def take_turns(calls: dict[str, Callable[[], object]], rounds: int | None = None) -> dict[str, list[float]]:
    """Milliseconds of each call in each of the rounds, after a tenth as many, at least one, to warm up."""
    rounds = rounds or ROUNDS
    milliseconds = {name: [] for name in calls}
    for turn in range(rounds // -10, rounds):
        for name, call in calls.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            call()
            if turn >= 0:
                milliseconds[name].append(1000 * (time.perf_counter() - began))
    return milliseconds


def pair(what: str, against: str, unit: str, ours: Sequence[float], theirs: Sequence[float]) -> dict:
    """A row of the report, of the figures in each round."""
    medians = {"ratio": median(np.divide(ours, theirs)), "ours": median(ours), "theirs": median(theirs)}
    return {"what": what, "against": against, "unit": unit} | medians


def inference(scratch: Path, classifier: TumorClassifier, threads: Sequence[int], quick: bool) -> dict:
    """`networks`: each alone, `ms` and `ratio` for each number of `threads`; `pairs` about what is around them."""
    rounds, starts, volumes, count = (1, 1, 1, 3) if quick else (ROUNDS, 5, 9, 155)
    networks = prepare(scratch, classifier, ["mobilenet_v3_small"] if quick else list(OTHERS))
    ours, _, _, ordinary, *_ = networks
    timed = [take_turns({title: one.open(n) for title, one in networks.items()}, rounds) for n in threads]
    np.save(scratch / "slice.npy", draw_phantom(CLASSES[0], seed=0, size=512).image)
    whole = Contestant("whole", str(classifier.folder), str(scratch / "slice.npy"))
    answers = take_turns({"whole": whole.open(), "network": networks[ours].open()}, rounds)
    heads = [draw_phantom(label, seed=0, size=240).image.astype(np.float32) for label in CLASSES]
    slices = (count * heads)[:count]
    calls = {"all": lambda: classifier.predict(slices), "each": lambda: [classifier.predict([one]) for one in slices]}
    volume = [np.divide(of_rounds, 1000).tolist() for of_rounds in take_turns(calls, volumes).values()]
    starting = [{title: start(one) for title, one in {**networks, "whole": whole}.items()} for _ in range(starts)]
    seconds, peaks = ([[of[title][k] for of in starting] for title in ("whole", ordinary)] for k in range(2))
    serving = re.findall(r"^[a-z][^#\n]*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    pairs = [
        pair("512-px slice to answer, 1 thread", "network alone", "ms", *answers.values()),
        pair(f"volume of {count} slices, 240 px", "its slices one by one", "s", *volume),
        pair("start of a process to its first answer", ordinary, "s", *seconds),
        pair("its peak memory", ordinary, "MB", *peaks),
        pair("installed", "with PyTorch", "MB", [installed(serving)], [installed([*serving, "torch"])]),
    ]
    rows = [
        {
            "what": title,
            "ratio": [median(np.divide(of[ours], of[title])) for of in timed],
            "ms": [median(of[title]) for of in timed],
            "start_s": median(of[title][0] for of in starting),
            "peak_mb": median(of[title][1] for of in starting),
            "file_mb": os.path.getsize(one.file) / 1e6,
        }
        for title, one in networks.items()
    ]
    return {"networks": rows, "pairs": pairs}


def prepare(scratch: Path, classifier: TumorClassifier, others: Sequence[str]) -> dict[str, Contestant]:
    """Write the file of each network, at its own size: ours, then each of the others in ONNX and in PyTorch."""
    size, content = classifier.config["size"], (classifier.folder / FILES["int8"]).read_bytes()
    net = TumorNet()
    net.load_state_dict(trained_in(classifier.folder))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (products,) = session.run([PROBE], {INPUT: np.zeros((1, 1, size, size), np.uint8)})
    if products.item() != PROBE_DEPTH * 255 * 127:
        content = with_unsigned_weights(content)  # as it is served here
    (scratch / "int8.onnx").write_bytes(content)
    (scratch / "float32.onnx").write_bytes(float_graph(net.eval(), size).SerializeToString())
    found = {f"ours, {name}, {size} px": Contestant("onnx", f"{scratch}/{name}.onnx") for name in ("int8", "float32")}
    for name in others:
        other, file = torchvision.models.get_model(name, weights=None).eval(), f"{scratch}/{name}"
        torch.save(other.state_dict(), f"{file}.pt")
        options = {"dynamo": True, "external_data": False, "verbose": False}
        torch.onnx.export(other, (torch.rand(1, 3, 224, 224),), f"{file}.onnx", **options)
        found[f"{OTHERS[name]}, 224 px"] = Contestant("onnx", f"{file}.onnx")
        found[f"{OTHERS[name]}, 224 px, PyTorch"] = Contestant("torch", f"{file}.pt", name)
    return found


def start(one: Contestant) -> tuple[float, float]:
    """Seconds from the start of a process to its first answer, and its peak of memory in MB."""
    began, command = time.time(), [sys.executable, "-m", Contestant.__module__, *one]
    answered, kilobytes = map(float, subprocess.check_output(command, cwd=ROOT).split())
    return answered - began, kilobytes / 1000


def installed(requirements: Sequence[str]) -> float:
    """MB of the files of all distributions that these pull in, as they are installed here."""
    asked, files, met = [(line, "") for line in requirements], set(), set()
    for line, extra in asked:  # which grows
        one = Requirement(line)
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        for wanted in {(one.name, extra) for extra in ("", *one.extras)} - met:
            met.add(wanted)
            asked += [(needed, wanted[1]) for needed in distribution(one.name).requires or ()]
            files |= {Path(file.locate()) for file in distribution(one.name).files or ()}
    return sum(file.stat().st_size for file in files if file.exists()) / 1e6


def training(scratch: Path, quick: bool) -> list[dict]:
    """Pairs of images a second, of the same network, batch and size of images."""
    torch.set_float32_matmul_precision("high")
    device, workers = best_device(), 0 if quick else os.cpu_count()
    size, batch, blocks, steps = (64, 2, 1, 1) if quick else (Settings.size, Settings.batch, 3, 6)
    settings = Settings(phantoms=0, cache=f"{scratch}/cache", size=size, smallest_size=size, batch=batch)
    heads = write_phantom_dataset(scratch / "heads", 4 if quick else 100)
    training_set = load_training_set(read_dataset(heads).trainable(), settings, device)
    ways = {}
    for frozen in (0, settings.frozen):
        chosen, layers = replace(settings, frozen=frozen), f"first {frozen} parts frozen" if frozen else "all layers"
        ways["ordinary", layers] = partial(ordinary_way, heads / SOURCE, chosen, device, workers)
        for precision in ["bf16"] * bf16_is_fast(device) + ["float32"]:
            ways[precision, layers] = partial(our_way, training_set, chosen, device, precision == "bf16")
    speeds = {key: [] for key in ways}
    for _ in range(blocks):
        for (name, layers), begin in ways.items():
            way = begin()
            for _ in range(1 + 2 * workers * (name == "ordinary")):  # until nothing is left of what workers read ahead
                float(next(way))  # to read a loss is to wait for the device
            began = time.perf_counter()
            float([next(way) for _ in range(steps)][-1])
            speeds[name, layers].append(steps * batch / (time.perf_counter() - began))
            way.close()  # with its workers, which would read ahead while others are timed
    what, against = f"training, {size} px, batch {batch}", ("ordinary way", "images/s")
    ours = [key for key in ways if "ordinary" not in key]
    return [pair(f"{what}, {key[1]}, {key[0]}", *against, speeds[key], speeds["ordinary", key[1]]) for key in ours]


def our_way(training_set: TrainingSet, settings: Settings, device: torch.device, bf16: bool) -> Iterator[torch.Tensor]:
    """Each `next` is a step as training/train.py takes it, and gives its loss: batches are augmented on the device."""
    learner = Learner(TumorNet(settings.dropout, settings.frozen).train(), settings, device, bf16)
    while True:
        chosen = torch.multinomial(training_set.chances, settings.batch, replacement=True).to(device)
        yield learner.step(draw_batch(training_set, chosen, 0, settings))[0]


def ordinary_way(folder: Path, settings: Settings, device: torch.device, workers: int) -> Iterator[float]:
    """The same as tutorials have it: `ImageFolder`, a `DataLoader` with workers, transforms of each image that vary as
    much as ours where they have a like, float32, the loss read at every step.
    """
    crop = v2.RandomResizedCrop(settings.size, scale=(0.7, 1.0), antialias=True)
    shape = [crop, v2.RandomHorizontalFlip(), v2.RandomAffine(degrees=15, shear=5)]
    look = [v2.ColorJitter(brightness=0.3, contrast=0.3), v2.GaussianBlur(3), v2.ToDtype(torch.float32)]
    images = torchvision.datasets.ImageFolder(folder, v2.Compose([v2.Grayscale(), v2.ToImage(), *shape, *look]))
    endless = RandomSampler(images, replacement=True, num_samples=10**9)
    loader = DataLoader(images, settings.batch, sampler=endless, num_workers=workers, pin_memory=device.type == "cuda")
    net = TumorNet(settings.dropout, settings.frozen).to(device).train()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=settings.learning_rate)
    for pixels, labels in loader:
        pixels, labels = pixels.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(pixels).logits, labels, label_smoothing=settings.label_smoothing)
        loss.backward()
        optimizer.step()
        yield loss.item()


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.benchmark", allow_abbrev=False)
    parser.add_argument("--only", choices=("inference", "training"))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of training; inference has one, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE, too")
    parser.add_argument("--quick", action="store_true", help="hardly anything, to see that it runs: not to quote")
    options = parser.parse_args(arguments)
    threads, classifier = sorted({1, options.threads}), TumorClassifier.from_folder(EMBEDDED)
    report = {"model": classifier.version, "threads": threads, "rounds": 1 if options.quick else ROUNDS}
    report |= {"load": os.getloadavg()[0], "hardware": describe(best_device()), "networks": [], "pairs": []}
    report["versions"] = versions() | {name: version(name) for name in ("torchvision", "onnxruntime")}
    with tempfile.TemporaryDirectory() as scratch:
        if options.only != "training":
            report |= inference(Path(scratch), classifier, threads, options.quick)
        if options.only != "inference":
            torch.set_num_threads(options.threads)
            report["pairs"] += training(Path(scratch), options.quick)
    print(section("speed", report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
