"""The network: MobileNetV2 for gray slices that scores every position and pools the scores into four logits.

The body is that of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with torchvision's parameter names, so that
ImageNet weights fit, and one gray channel. What is served is exported from it (training/export/graph.py).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import CLASSES

STEM = 32  # channels
STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
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


class ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU6 (torchvision's `Conv2dNormActivation`, names included)."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1):
        conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(channels), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen with 1x1, filter each channel with 3x3, narrow with 1x1, and add the input where the shapes agree."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = channels_in * expansion
        widen = [ConvNorm(channels_in, hidden, 1)] if expansion > 1 else []
        narrow = nn.Conv2d(hidden, channels, 1, bias=False)
        self.conv = nn.Sequential(
            *widen, ConvNorm(hidden, hidden, 3, stride, groups=hidden), narrow, nn.BatchNorm2d(channels)
        )
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


def body() -> nn.Sequential:
    """The stem and the 17 blocks."""
    blocks: list[nn.Module] = [ConvNorm(1, STEM, 3, 2)]
    channels_in = STEM
    for expansion, channels, count, stride in STAGES:
        for k in range(count):
            blocks.append(InvertedResidual(channels_in, channels, stride if k == 0 else 1, expansion))
            channels_in = channels
    return nn.Sequential(*blocks)


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
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
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
