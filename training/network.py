"""The network: MobileNetV2 for gray slices that scores every position and pools the scores into four logits.

The body is torchvision's MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with one gray channel, so that ImageNet
weights fit. What is served is exported from it (training/export/graph.py).
"""

import hashlib
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from model import CLASSES
from model.artifact import TRAINED, DamagedWeights, read_config
from model.hub import find_weights

STRIDE = 8  # pixels of the input for each position of the evidence map
FINE, NEAR, WIDE = 32, 96, 320  # channels of the last block at stride 8, at 16 and at 32
FINE_BLOCKS, NEAR_BLOCKS = 7, 14  # the stem and the blocks up to the last one at stride 8, and at 16
FEATURES = NEAR + WIDE
PIXEL_MEAN, PIXEL_STD = 0.20, 0.22  # of framed training slices scaled to 0..1


class Output(NamedTuple):
    """What one pass gives: all float32, `N` slices, `C` classes in the order of `CLASSES`, `h, w` positions."""

    logits: Tensor  # (N, C)
    shares: Tensor  # (N, C, h, w): how much of the logit each position makes, 0..1; sums to 1 over h, w
    scores: Tensor  # (N, C, h, w): what each position says by itself; 0 for "no tumor"
    features: Tensor  # (N, FEATURES): pooled activations, for telling brain MRI from anything else


class EvidencePool(nn.Module):
    """Position scores -> logits by log-mean-exp, with shares that are exact.

    A tumor may fill one position of hundreds, so its logit leans towards the highest score (the logical "somewhere"):
    logit_c = log(mean_p exp(r_c s_c(p))) / r_c, the sharpness r_c learned for each class. Its gradient with respect to
    the scores is the softmax of r_c s_c, and these weights split the logit over the positions. "No tumor" is the
    absence of evidence: every position scores 0 for it, the image gets one learned offset.
    Source: Pinheiro and Collobert 2015, arXiv:1411.6228 (log-sum-exp pooling for weak localisation).
    """

    def __init__(self, tumor_types: int):
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.zeros(tumor_types))
        self.no_tumor_logit = nn.Parameter(torch.zeros(()))

    def forward(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C - 1, h, w) scores of the tumor types -> logits (N, C), shares (N, C, h, w) of them."""
        n, _, h, w = scores.shape
        sharpness = self.log_sharpness.exp()[:, None]
        sharpened = sharpness * scores.flatten(2)
        shares = sharpened.softmax(dim=2).unflatten(2, (h, w))
        positions = torch.tensor(float(h * w), device=scores.device)
        logits = (sharpened.logsumexp(dim=2) - positions.log()) / sharpness.squeeze(1)
        no_tumor = self.no_tumor_logit.expand(n, 1)
        even = (1 / positions).expand(n, 1, h, w)
        return torch.cat((logits, no_tumor), 1), torch.cat((shares, even), 1)


def body() -> nn.Sequential:
    """The stem and the 17 blocks of torchvision's MobileNetV2, without its last convolution, for one gray channel."""
    features = mobilenet_v2(weights=None).features[:-1]
    stem = features[0][0]
    features[0][0] = nn.Conv2d(1, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False)
    nn.init.kaiming_normal_(features[0][0].weight, mode="fan_out")
    return features


class TumorNet(nn.Module):
    """The trained form.

    `dropout`: share of channels dropped before the scores; `frozen`: how many of the first parts of the body (the stem,
    then the blocks) keep their weights, and what BatchNorm has seen, while the others are trained.
    """

    def __init__(self, dropout: float = 0.0, frozen: int = 0):
        super().__init__()
        tumor_types = len(CLASSES) - 1
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN))
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD))
        self.features = body()
        self.dropout = nn.Dropout2d(dropout)
        self.score_fine = nn.Conv2d(FINE, tumor_types, 1)  # at stride 8: sharp in place
        self.score_near = nn.Conv2d(NEAR, tumor_types, 1)  # at stride 16
        self.score_wide = nn.Conv2d(WIDE, tumor_types, 1)  # at stride 32: sees the whole head
        self.pool = EvidencePool(tumor_types)
        for head in (self.score_fine, self.score_near, self.score_wide):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
        self.freeze(frozen)

    def freeze(self, parts: int) -> None:
        """From now on the first `parts` of the body keep what they are, and all else is trained."""
        self.frozen = parts
        self.features.requires_grad_(True)
        self.features[:parts].requires_grad_(False)

    def train(self, mode: bool = True) -> "TumorNet":
        """As `nn.Module.train`, but for the frozen parts, which stay in evaluation."""
        super().train(mode)
        self.features[: self.frozen].eval()
        return self

    def forward(self, images: Tensor) -> Output:
        """(N, 1, S, S) uint8 or float32 in 0..255, S a multiple of 32 -> `Output` with h = w = S / 8."""
        x = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        fine = self.features[:FINE_BLOCKS](x)
        near = self.features[FINE_BLOCKS:NEAR_BLOCKS](fine)
        wide = self.features[NEAR_BLOCKS:](near)
        features = torch.cat((near.mean((2, 3)), wide.mean((2, 3))), 1).float()
        scores = enlarge(self.score_wide(self.dropout(wide))) + self.score_near(self.dropout(near))
        scores = enlarge(scores) + self.score_fine(self.dropout(fine))
        scores = scores.float()  # pooled in full precision under autocast too
        logits, shares = self.pool(scores)
        return Output(logits, shares, with_no_tumor(scores), features)


def enlarge(x: Tensor) -> Tensor:
    """(N, C, h, w) float -> (N, C, 2h, 2w), linear between the middles of the cells, even beyond the outermost."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def with_no_tumor(scores: Tensor) -> Tensor:
    """Append the zero score of "no tumor" (the last class) at every position."""
    return torch.cat((scores, torch.zeros_like(scores[:, :1])), 1)


# ---- where a run starts


def initialize(net: TumorNet, source: str) -> None:
    """Fill `net` in place.

    `source`: "scratch" (leave it as it is), "imagenet" (torchvision's MobileNetV2, downloaded once to torch's cache), a
    file with the state dict of a MobileNetV2, or a weights folder or Hub id of ours.
    Raises ValueError with a remedy where the weights do not fit or cannot be had.
    """
    if source == "scratch":
        return
    if source == "imagenet":
        fill_from_imagenet(net, _downloaded())
    elif source.endswith((".pt", ".pth")):
        fill_from_imagenet(net, _state_dict_in(Path(source)))
    else:
        folder = find_weights(source)
        try:
            net.load_state_dict(trained_in(folder))
        except RuntimeError as error:
            raise DamagedWeights(f"{folder / TRAINED} is of another network. Copy the weights folder again.") from error


def trained_in(folder: Path) -> dict[str, Tensor]:
    """The state dict of the `TumorNet` that an artifact was exported from. Raises `DamagedWeights`."""
    config, file = read_config(folder), folder / TRAINED
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != config["sha256"].get(TRAINED):
            raise DamagedWeights(f"{file} is not what its config.json names. Copy the weights folder again.")
        return load(content)
    except (OSError, SafetensorError) as error:
        raise DamagedWeights(f"{file} is missing or damaged. Copy the weights folder again.") from error


def _downloaded() -> dict[str, Tensor]:
    try:
        return MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ValueError(
            f"the ImageNet weights could not be downloaded ({error}). Check the network, name a file that holds them, "
            "such as --init mobilenet_v2.pt, or use --init scratch."
        ) from error


def _state_dict_in(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)  # refuses anything but tensors
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"--init {file} cannot be read as a PyTorch state dict. Check the path and the file."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(
            f"--init {file} is no state dict of tensors. Save one with torch.save(net.state_dict(), FILE)."
        )
    return state


def fill_from_imagenet(net: TumorNet, state: dict[str, Tensor]) -> None:
    """Copy the body of a MobileNetV2 state dict into `net`; its last convolution and classifier have no place here.

    The published implementations name their parameters differently and list them in the same order, so the order and
    the shapes decide. The stem is summed over RGB: a gray image gives what it would as RGB. Raises ValueError.
    """
    ours = net.features.state_dict()
    tensors = [tensor for name, tensor in state.items() if name.startswith("features.")][: len(ours)]
    if tensors and tensors[0].ndim == 4:
        tensors[0] = tensors[0].sum(dim=1, keepdim=True)
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in ours.values()]:
        raise ValueError("these are not the weights of a MobileNetV2 of width 1. Use --init imagenet or scratch.")
    net.features.load_state_dict(dict(zip(ours, tensors, strict=True)))
