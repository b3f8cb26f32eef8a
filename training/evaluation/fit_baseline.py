"""An earlier project's network trained and asked as that project did it."""

import copy
import io
import random
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model.preprocess import stretch_contrast
from model.scans import UnreadableScan, read

from ..data.frames import LABELS, DataError, Dataset
from ..losses import PARTIAL
from .baselines import CHECKS, RANDOM_START, Baseline

CHECKED = 300  # validation images at most for such a look, drawn at random: it should not cost as much as the training


class Squares(NamedTuple):
    """Row i belongs to the i-th record."""

    images: Tensor  # uint8 (N, size, size)
    labels: Tensor  # int64 (N,): index into LABELS

    def part(self, chosen: Tensor) -> "Squares":
        return Squares(self.images[chosen], self.labels[chosen])


def load_squares(dataset: Dataset, size: int) -> Squares:
    """Every image of `dataset` squeezed to a square, whatever its sides; unreadable ones leave `dataset.records`.

    Raises: DataError if none can be read.
    """

    def square(record) -> np.ndarray | None:
        try:
            pixels = read(record.path).slices[0]
        except UnreadableScan as error:
            dataset.problems.append(f"{record.path} is left out. {error}")
            return None
        gray = pixels if pixels.dtype == np.uint8 else stretch_contrast(pixels)
        return np.asarray(Image.fromarray(gray).resize((size, size), Image.Resampling.BILINEAR))

    with ThreadPoolExecutor() as pool:  # decoding and resizing release the interpreter's lock
        squares = list(pool.map(square, dataset.records))
    dataset.records[:] = [r for r, pixels in zip(dataset.records, squares, strict=True) if pixels is not None]
    if not dataset.records:
        raise DataError(f"{dataset.root} has no image that can be read.")
    labels = [LABELS.index(record.label) for record in dataset.records]
    return Squares(torch.from_numpy(np.stack([s for s in squares if s is not None])), torch.tensor(labels))


class Budget(NamedTuple):
    """How long each system trains: `minutes` of training by the clock, or, for a try, so many `steps`."""

    minutes: float | None = None
    steps: int | None = None

    def share(self, steps: int, seconds: float) -> float:
        """The part of it that is used up, 0 to 1."""
        return min(1.0, steps / self.steps if self.steps else seconds / (60 * self.minutes))


def fit_baseline(
    baseline: Baseline, training: Squares, validation: Squares, budget: Budget, seed: int, device: torch.device
) -> tuple[nn.Module, dict]:
    """Train by the project's recipe until the budget is used up; the best check by validation loss is kept.

    A four-class system leaves out the tumors of unknown type. Looks at the validation part are not charged.
    Returns: the network in evaluation mode on the CPU, and what it took, JSON-ready (seconds if the budget is minutes).
    Raises: FloatingPointError if no check gave a loss that is a number.
    """
    if not baseline.binary:
        training, validation = (part.part(part.labels != PARTIAL) for part in (training, validation))
    n = len(validation.labels)
    validation = validation.part(torch.tensor(random.Random(seed).sample(range(n), min(n, CHECKED))))
    torch.manual_seed(seed)
    net = baseline.layers()
    start = baseline.pretrain(net) if baseline.pretrain else RANDOM_START
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = baseline.optimizer(net)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **baseline.plateau) if baseline.plateau else None
    batches = endless_batches(len(training.labels), baseline.batch)
    steps, seconds, share, checks, best = 0, 0.0, 0.0, 0, (float("inf"), 0, {})
    while share < 1 and checks - best[1] < baseline.patience:
        began = time.monotonic()
        chosen = next(batches)
        net.train()
        logits = net(baseline.prepare(training.images[chosen].to(device), training=True))
        loss = baseline.loss(logits, training.labels[chosen].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device, so that the clock is right
        steps, seconds = steps + 1, seconds + time.monotonic() - began
        share = budget.share(steps, seconds)
        if int(share * CHECKS) > checks:
            checks = int(share * CHECKS)
            logits = answer(baseline, net, validation.images)
            loss = float(baseline.loss(logits, validation.labels))
            if loss < best[0]:
                best = loss, checks, copy.deepcopy(net.state_dict())
            if plateau:
                plateau.step(loss)
    if not best[2]:
        raise FloatingPointError(f"the validation loss of {baseline.title} never was a number.")
    net.load_state_dict(best[2])
    return net.cpu().to(memory_format=torch.contiguous_format).eval(), {
        "start": start,
        "seconds": round(seconds, 1) if budget.minutes else None,
        "steps": steps,
        "passes": round(steps * baseline.batch / len(training.labels), 2),
        "images": len(training.labels),
        "best_at": best[1] / CHECKS,
        "stopped_early": share < 1,
    }


def endless_batches(n: int, batch: int) -> Iterator[Tensor]:
    """Indices of one batch after the other, in a new order for each pass; the rest that fills none is left out."""
    batch = min(batch, n)
    while True:
        yield from torch.randperm(n)[: n // batch * batch].split(batch)


@torch.inference_mode()
def answer(baseline: Baseline, net: nn.Module, images: Tensor) -> Tensor:
    """Logits of uint8 (N, S, S) on the CPU, in evaluation mode."""
    net.eval()
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    return torch.cat([net(baseline.prepare(part.to(device))).float().cpu() for part in images.split(64)])


def as_served(baseline: Baseline, net: nn.Module) -> nn.Module:
    """The network as the project serves it: float32, or with PyTorch's dynamically quantized linear layers."""
    if not baseline.quantized:
        return net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch is about to drop it: it was the way to do it then
        return torch.ao.quantization.quantize_dynamic(net.eval(), {nn.Linear}, dtype=torch.qint8)


def file_bytes(net: nn.Module) -> int:
    """Size of the file that `torch.save` writes of its weights."""
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    return file.tell()
