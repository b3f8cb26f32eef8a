"""The systems that this one grew from: network and recipe of five public projects, and the training that they share.

Of each project one line is known; it is the title and the claim here. What that line leaves open was filled in from the
tutorial or paper that such a project starts from, and is written in `assumed`, so that the table can print it.
They keep their own preprocessing: the whole image squeezed to a square, and 0.5 as the threshold of a tumor.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import CLASSES, NO_TUMOR

CHECKS = 8  # looks at the validation part in the course of a budget: what an epoch was to the projects
NETWORK_SECONDS = 10  # without an answer from the network after these there is none
RANDOM_START = "random"


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
    mean: tuple[float, ...] = (0.0,)  # of pixels scaled to 0..1, for each channel
    std: tuple[float, ...] = (1.0,)
    batch: int = 32
    pretrain: Callable[[nn.Module], str] | None = None  # fills the network, and says with what
    augment: Callable[[Tensor], Tensor] | None = None  # float32 (N, 1, S, S) in 0..1, black is 0
    plateau: dict | None = None  # of ReduceLROnPlateau, in checks
    patience: int = CHECKS  # checks without a lower validation loss before training stops early
    quantized: bool = False  # served with dynamically quantized linear layers

    @property
    def outputs(self) -> int:
        return 1 if self.binary else len(CLASSES)

    def prepare(self, images: Tensor, training: bool = False) -> Tensor:
        """uint8 (N, S, S) -> float32 (N, channels, S, S) as the network takes it; augmented if `training`."""
        pixels = images[:, None].float() / 255
        if training and self.augment:
            pixels = self.augment(pixels)
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        return ((pixels.expand(-1, self.channels, -1, -1) - mean) / std).contiguous(memory_format=torch.channels_last)

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


# ---- the five networks


def keras_cnn() -> nn.Module:
    """The network of Keras's tutorial on image classification with one output: 3,988,769 parameters at 180 px."""
    return as_keras_starts(
        nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Dropout(0.2), nn.Flatten(), nn.Linear(22 * 22 * 64, 128), nn.ReLU(), nn.Linear(128, 1)),
        )
    )


def efficientnet_b0() -> nn.Module:
    """Tan and Le 2019, arXiv:1905.11946, as torchvision has it, with a classifier of its own."""
    from torchvision.models import efficientnet_b0 as body  # imported here: the card reads the table without it

    net = body()
    net.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(1280, len(CLASSES)))
    return net


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
    return as_keras_starts(
        nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(30 * 30 * 64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)),
        )
    )


def tinyvgg(size: int = 224, classes: int = len(CLASSES), width: int = 10) -> nn.Module:
    """CNN Explainer's network (Wang et al. 2020, arXiv:2004.15004): two blocks of two unpadded convolutions."""
    side = ((size - 4) // 2 - 4) // 2
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(side * side * width, classes)),
    )


def as_keras_starts(net: nn.Module) -> nn.Module:
    """Glorot's uniform weights and no bias, Keras's default."""
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


# ---- their recipes


def from_imagenet(net: nn.Module) -> str:
    """Fill EfficientNet-B0 with torchvision's ImageNet weights if torch's cache or the network has them; says which."""
    from torchvision.models import EfficientNet_B0_Weights

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        state = EfficientNet_B0_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError):  # no network; a download that was cut off or changed
        return "random: no network"
    finally:
        socket.setdefaulttimeout(before)
    net.load_state_dict({name: t for name, t in state.items() if not name.startswith("classifier.")}, strict=False)
    return "ImageNet"


def flip_rotate_shift(pixels: Tensor) -> Tensor:
    """Mirrored or not, rotated by up to 15 degrees, shifted and scaled by up to a tenth; what comes in is black."""
    n, device = len(pixels), pixels.device
    flip = torch.randint(0, 2, (n,), device=device) * 2.0 - 1
    angle, scale, x, y = (
        torch.empty(n, device=device).uniform_(low, high)
        for low, high in ((-np.pi / 12, np.pi / 12), (0.9, 1.1), (-0.2, 0.2), (-0.2, 0.2))  # shifts: of half a side
    )
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = torch.stack((flip * cos, -sin, x), 1), torch.stack((flip * sin, cos, y), 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def adam_with_l2(net: nn.Module) -> torch.optim.Optimizer:
    """Adam with Keras's `l2(0.001)` on the dense layers but the last: 0.001 times the sum of squares, in the loss."""
    dense = [layer.weight for layer in net if isinstance(layer, nn.Linear)][:-1]
    others = [parameter for parameter in net.parameters() if all(parameter is not weight for weight in dense)]
    return torch.optim.Adam([{"params": dense, "weight_decay": 2 * 0.001}, {"params": others}], lr=1e-3)


BASELINES = {
    "keras_cnn": Baseline(
        title="small Keras-style CNN with sigmoid",
        claimed={"accuracy_tumor": 0.86, "f1_tumor": 0.90},
        assumed="layers of Keras's image classification tutorial, 180 px in color, Adam 1e-3, batch 32",
        size=180,
        channels=3,
        binary=True,
        layers=keras_cnn,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
    ),
    "efficientnet_b0": Baseline(
        title="EfficientNet-B0, transfer learning",
        claimed={"accuracy": 0.98},
        assumed="224 px in color, dropout 0.5, all layers trained, Adam 1e-3 times 0.3 at a plateau, batch 32",
        size=224,
        channels=3,
        binary=False,
        layers=efficientnet_b0,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=1e-3),
        mean=(0.485, 0.456, 0.406),  # of ImageNet, as its weights expect
        std=(0.229, 0.224, 0.225),
        pretrain=from_imagenet,
        plateau={"factor": 0.3, "patience": 1},
    ),
    "alexnet": Baseline(
        title="AlexNet-like, gray, int8 linears",
        claimed={"f2_macro": 0.9745},
        assumed="widths of the 2012 paper in one tower, pixels in -1..1, 15 degrees, a tenth of shift and scale",
        size=227,
        channels=1,
        binary=False,
        layers=alexnet,
        optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=3e-4),
        mean=(0.5,),
        std=(0.5,),
        augment=flip_rotate_shift,
        quantized=True,
    ),
    "two_convolutions": Baseline(
        title="two convolutions, dense 128 and 64",
        claimed={"accuracy_tumor": 0.887},
        assumed="128 px, gray, L2 0.001 on the dense layers, Adam 1e-3, batch 32; its claim is of its validation part",
        size=128,
        channels=1,
        binary=True,
        layers=two_convolutions,
        optimizer=adam_with_l2,
        patience=3,
    ),
    "tinyvgg": Baseline(
        title="TinyVGG, two blocks",
        claimed={"accuracy": 0.95},
        assumed="ten channels and no padding as in CNN Explainer, color, Adamax 2e-3, batch 32",
        size=224,
        channels=3,
        binary=False,
        layers=tinyvgg,
        optimizer=lambda net: torch.optim.Adamax(net.parameters(), lr=2e-3),
    ),
}
