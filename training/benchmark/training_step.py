"""How many images a second train: our way, and the ordinary one, of the same network, batch and image size.

Ours is the step of a run (training/step.py): the data set as uint8 on the device, the whole batch augmented there,
bf16 where the machine is fast at it, channels-last, one look at the loss in `log_every` steps. The ordinary way is what
tutorials show: torchvision's `ImageFolder`, a `DataLoader` with workers, v2 transforms of each image, float32, the loss
read at every step. Decoding the data set, which ours does once and then keeps on disk, is not in the figures.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ..batches import draw_batch
from ..data import Dataset, read_dataset
from ..draws import Streams
from ..hardware import best_device, bf16_is_fast, describe, versions
from ..network import TumorNet
from ..optimization import averaged_copy, make_optimizer
from ..phantoms import write_phantom_dataset
from ..processes import Processes
from ..settings import Settings
from ..step import WATCHED, Step
from ..training_set import TrainingSet, load_training_set

PER_CLASS = 100  # drawn heads: four batches of the default size
ROUNDS, STEPS = 3, 6  # of each way in a round, after those that empty the workers' queues
QUICK = 1, 2
PREFETCH = 2  # batches that each worker keeps ready (PyTorch's default)


def our_way(training_set: TrainingSet, settings: Settings, device: torch.device, bf16: bool) -> Iterator[None]:
    """Each `next` is a step as training/train.py takes it."""
    net = TumorNet(settings.dropout, settings.frozen).to(device, memory_format=torch.channels_last).train()
    averaged, optimizer = averaged_copy(net, settings.ema_decay), make_optimizer(net, settings)
    forward = torch.compile(net) if settings.compile == "always" or device.type == "cuda" else net
    take_step = Step(net, forward, optimizer, averaged, settings, Processes(device), None, bf16)
    streams = Streams([0], device)
    sums, step = torch.zeros(len(WATCHED), dtype=torch.float64, device=device), 0
    while True:
        chosen = torch.multinomial(training_set.chances, settings.batch, replacement=True).to(device)
        sums += take_step(draw_batch(training_set, chosen, 0, settings, streams))
        step += 1
        if step % settings.log_every == 0:
            sums.tolist()
        yield


def ordinary_way(root: Path, settings: Settings, device: torch.device, workers: int) -> Iterator[None]:
    """Each `next` is a step as tutorials have it; the transforms vary as much as ours where they have a like."""
    transform = v2.Compose(
        [
            v2.Grayscale(),
            v2.ToImage(),
            v2.RandomResizedCrop(settings.size, scale=(0.7, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(degrees=15, shear=5),
            v2.ColorJitter(brightness=0.3, contrast=0.3),
            v2.GaussianBlur(3),
            v2.ToDtype(torch.float32),
        ]
    )
    images = ImageFolder(str(root), transform)
    loader = torch.utils.data.DataLoader(
        images,
        settings.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=device.type == "cuda",
    )
    net = TumorNet(settings.dropout, settings.frozen).to(device).train()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=settings.learning_rate)
    total = 0.0
    while True:
        for pixels, labels in loader:
            pixels, labels = pixels.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(net(pixels).logits, labels, label_smoothing=settings.label_smoothing)
            loss.backward()
            optimizer.step()
            total += loss.item()
            yield


def take_turns(ways: dict[str, Iterator[None]], batch: int, idle: dict[str, int], rounds: int, steps: int) -> dict:
    """Images a second of each way in each round. `idle`: steps before the clock starts, which empty queues."""
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for _ in range(idle[name]):
                next(way)
            wait_for_device()
            start = time.perf_counter()
            for _ in range(steps):
                next(way)
            wait_for_device()
            speeds[name].append(steps * batch / (time.perf_counter() - start))
    return speeds


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(data: Path | None, batch: int, compile: str, quick: bool) -> dict:
    """`benchmark` on the labeled images below `data`, or on drawn heads, with the default settings but these."""
    torch.set_float32_matmul_precision("high")
    with tempfile.TemporaryDirectory() as cache:
        settings = Settings(phantoms=0, cache=cache, batch=batch, compile=compile)
        root = data or write_phantom_dataset(Path(cache) / "heads", PER_CLASS)
        dataset = read_dataset(root).trainable().where("train")
        return benchmark(dataset, settings, os.cpu_count(), *(QUICK if quick else (ROUNDS, STEPS)))


def benchmark(dataset: Dataset, settings: Settings, workers: int, rounds: int = ROUNDS, steps: int = STEPS) -> dict:
    """Time both ways on the training images of `dataset`; the report is JSON-ready.

    Returns: `rows` of {what, images_per_second, times_ordinary}, medians over the rounds, the second of each round's
    ratio to the ordinary way with as many layers trained; `load`, how many processes wanted a core in the minute
    before; and what it ran on.
    """
    device, load = best_device(), os.getloadavg()[0]
    bf16 = bf16_is_fast(device)
    training_set = load_training_set(dataset, settings, device)
    ways, opponent, idle = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        in_class_folders(dataset, Path(folder))
        for frozen in dict.fromkeys((0, settings.frozen)):
            layers = f"the first {frozen} parts frozen" if frozen else "all layers trained"
            chosen = replace(settings, frozen=frozen)
            ordinary = f"ordinary, {layers}"
            ways[ordinary] = ordinary_way(Path(folder), chosen, device, workers)
            ways[f"ours, {layers}"] = our_way(training_set, chosen, device, bf16)
            if bf16:
                ways[f"ours in float32, {layers}"] = our_way(training_set, chosen, device, False)
            opponent |= dict.fromkeys(ways.keys() - opponent.keys(), ordinary)
            idle |= {name: 1 + PREFETCH * workers if name == ordinary else 1 for name in ways.keys() - idle.keys()}
        speeds = take_turns(ways, settings.batch, idle, rounds, steps)
        for way in ways.values():
            way.close()  # with its workers
    rows = []
    for name, of_rounds in speeds.items():
        ratios = [ours / theirs for ours, theirs in zip(of_rounds, speeds[opponent[name]], strict=True)]
        medians = {"images_per_second": statistics.median(of_rounds), "times_ordinary": statistics.median(ratios)}
        rows.append({"what": name, **medians})
    facts = {"batch": settings.batch, "size": settings.size, "workers": workers, "threads": torch.get_num_threads()}
    return {"rows": rows, **facts, "load": load, "hardware": describe(device), "versions": versions()}


def in_class_folders(dataset: Dataset, folder: Path) -> None:
    """The layout of `ImageFolder`, by links."""
    for number, record in enumerate(dataset.records):
        (folder / record.label).mkdir(exist_ok=True)
        (folder / record.label / f"{number}{record.path.suffix}").symlink_to(record.path.resolve())
