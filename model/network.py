"""The network: MobileNetV2 for grey slices that scores every position and pools the scores into four logits.

Trained form (`TumorNet`): the body of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with torchvision's parameter
names, so that ImageNet weights fit; one grey channel; BatchNorm. Served form (`served`): BatchNorm folded into the
convolutions, and each of them but the depthwise ones (3 % of the weights) rewritten as `nn.Linear`, so that dynamic
quantization covers them.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import CLASSES

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
    evidence: Tensor  # (N, C, h, w): each position's share of the logit; sums to it over h, w
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
        """(N, C - 1, h, w) scores of the tumor types -> logits (N, C), evidence (N, C, h, w)."""
        n, _, h, w = scores.shape
        sharpness = self.log_sharpness.exp()[:, None]
        sharpened = sharpness * scores.flatten(2)
        weights = sharpened.softmax(dim=2)
        positions = torch.tensor(float(h * w), device=scores.device)
        logits = (sharpened.logsumexp(dim=2) - positions.log()) / sharpness.squeeze(1)
        evidence = (weights * logits[:, :, None]).unflatten(2, (h, w))
        no_tumor = self.no_tumor_logit.expand(n, 1)
        spread = (no_tumor / positions)[:, :, None, None].expand(n, 1, h, w)
        return torch.cat((logits, no_tumor), 1), torch.cat((evidence, spread), 1)


class ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU6 (torchvision's `Conv2dNormActivation`, names included)."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1):
        conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(channels), nn.ReLU6())

    def learned(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        return self[0], self[1]


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
        logits, evidence = self.pool(scores)
        return Output(logits, evidence, with_no_tumor(scores), features)


def enlarge(x: Tensor) -> Tensor:
    """(N, C, h, w) float -> (N, C, 2h, 2w), linear between the middles of the cells, even beyond the outermost."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def with_no_tumor(scores: Tensor) -> Tensor:
    """Append the zero score of "no tumor" (the last class) at every position."""
    return torch.cat((scores, torch.zeros_like(scores[:, :1])), 1)


# --------------------------------------------------------------------------------------------- the served form


def patches(x: Tensor, kernel: int, stride: int) -> Tensor:
    """(N, H, W, C) of any dtype, padded already -> a convolution's patches, (N, rows, columns, k * k * C)."""
    if kernel == 1:
        return x[:, ::stride, ::stride]
    n, height, width, channels = x.shape
    rows, columns = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    sn, sh, sw, sc = x.stride()
    views = x.as_strided((n, rows, columns, kernel, kernel, channels), (sn, sh * stride, sw * stride, sh, sw, sc))
    return views.reshape(n, rows, columns, -1)


def folded(conv: nn.Conv2d, bn: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does what `conv` and the BatchNorm after it do in evaluation mode."""
    if bn is None:
        return conv.weight.detach(), conv.bias.detach()
    scale = (bn.weight * torch.rsqrt(bn.running_var + bn.eps)).detach()
    return conv.weight.detach() * scale[:, None, None, None], bn.bias.detach() - bn.running_mean * scale


class Seen(nn.Module):
    """What BatchNorm had seen of a folded convolution's output: serving never reads it, fine-tuning goes on from it."""

    def __init__(self, bn: nn.BatchNorm2d):
        super().__init__()
        scale = (bn.weight * torch.rsqrt(bn.running_var + bn.eps)).detach()
        self.register_buffer("mean", bn.running_mean * scale)
        self.register_buffer("variance", bn.running_var * scale**2)

    def unfold_into(self, bn: nn.BatchNorm2d, bias: Tensor) -> None:
        """Make `bn` add `bias` to its input and nothing else, in training mode nearly so."""
        with torch.no_grad():
            bn.running_mean.copy_(self.mean)
            bn.running_var.copy_(self.variance)
            bn.weight.copy_((self.variance + bn.eps).sqrt())
            bn.bias.copy_(bias + self.mean)


class PatchLinear(nn.Module):
    """A convolution, the BatchNorm after it and perhaps ReLU6 as `nn.Linear` over patches of an (N, H, W, C) tensor."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None = None, relu6: bool = False):
        super().__init__()
        self.relu6 = relu6
        self.kernel, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        weight, bias = folded(conv, bn)
        channels, channels_in, k, _ = weight.shape
        self.linear = nn.Linear(k * k * channels_in, channels)
        with torch.no_grad():
            self.linear.weight.copy_(weight.permute(0, 2, 3, 1).reshape(channels, -1))
            self.linear.bias.copy_(bias)
        self.seen = None if bn is None else Seen(bn)

    def convolution(self) -> tuple[Tensor, Tensor, int]:
        """Weight (channels, channels in, k, k), bias and groups of the convolution that this is."""
        weight = self.linear.weight.detach().unflatten(1, (self.kernel, self.kernel, -1)).permute(0, 3, 1, 2)
        return weight, self.linear.bias.detach(), 1

    def forward(self, x: Tensor) -> Tensor:
        p = self.padding
        y = self.linear(patches(F.pad(x, (0, 0, p, p, p, p)) if p else x, self.kernel, self.stride))
        return y.clamp_(0, 6) if self.relu6 else y

    def unfold_into(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None = None) -> None:
        """The way back: fill `conv` and `bn` so that they compute the same, and nearly so in training mode."""
        weight, bias, _ = self.convolution()
        with torch.no_grad():
            conv.weight.copy_(weight)
            if bn is None:
                conv.bias.copy_(bias)
            else:
                self.seen.unfold_into(bn, self.linear.bias)


class Depthwise(nn.Module):
    """A depthwise convolution, its BatchNorm and ReLU6 over an (N, H, W, C) tensor; still a convolution."""

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d):
        super().__init__()
        self.stride, self.padding = conv.stride[0], conv.padding[0]
        weight, bias = folded(conv, bn)
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias)
        self.seen = Seen(bn)

    def convolution(self) -> tuple[Tensor, Tensor, int]:
        """As `PatchLinear.convolution`."""
        return self.weight.detach(), self.bias.detach(), len(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.permute(0, 3, 1, 2)  # a view, channels-last: what oneDNN wants
        y = F.conv2d(channels, self.weight, self.bias, self.stride, self.padding, groups=len(self.weight))
        return y.permute(0, 2, 3, 1).clamp_(0, 6)

    def unfold_into(self, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> None:
        """As `PatchLinear.unfold_into`."""
        with torch.no_grad():
            conv.weight.copy_(self.weight)
        self.seen.unfold_into(bn, self.bias)


class ServedResidual(nn.Module):
    """`InvertedResidual` over (N, H, W, C), for inference only: it works in place."""

    def __init__(self, block: InvertedResidual):
        super().__init__()
        *widen, filtered, narrow, norm = block.conv
        self.widen = PatchLinear(*widen[0].learned(), relu6=True) if widen else None
        self.filter = Depthwise(*filtered.learned())
        self.narrow = PatchLinear(narrow, norm)
        self.adds = block.adds

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.filter(x if self.widen is None else self.widen(x)))
        return y.add_(x) if self.adds else y

    def unfold_into(self, block: InvertedResidual) -> None:
        *widen, filtered, narrow, norm = block.conv
        if widen:
            self.widen.unfold_into(*widen[0].learned())
        self.filter.unfold_into(*filtered.learned())
        self.narrow.unfold_into(narrow, norm)


class ServedNet(nn.Module):
    """The served form of `net`: the same function for inference (test: within 1e-5)."""

    def __init__(self, net: TumorNet):
        super().__init__()
        self.register_buffer("pixel_mean", net.pixel_mean.clone())
        self.register_buffer("pixel_std", net.pixel_std.clone())
        stem, *blocks = net.features
        self.stem = PatchLinear(*stem.learned(), relu6=True)
        self.blocks = nn.Sequential(*map(ServedResidual, blocks))
        self.score_fine, self.score_near = PatchLinear(net.score_fine), PatchLinear(net.score_near)
        self.score_wide = PatchLinear(net.score_wide)
        self.pool = copy.deepcopy(net.pool)

    def forward(self, images: Tensor) -> Output:
        """As `TumorNet.forward`, without gradients."""
        n, _, height, width = images.shape
        wide = self.stem((images / 255).sub_(self.pixel_mean).div_(self.pixel_std).reshape(n, height, width, 1))
        for parts, block in enumerate(self.blocks, start=2):
            wide = block(wide)
            if parts == FINE_BLOCKS:
                fine = wide
            elif parts == NEAR_BLOCKS:
                near = wide
        features = torch.cat((near.mean((1, 2)), wide.mean((1, 2))), 1)
        scores = enlarge(self.score_wide(wide).permute(0, 3, 1, 2)) + self.score_near(near).permute(0, 3, 1, 2)
        scores = enlarge(scores) + self.score_fine(fine).permute(0, 3, 1, 2)
        logits, evidence = self.pool(scores)
        return Output(logits, evidence, with_no_tumor(scores), features)


def served(net: TumorNet) -> ServedNet:
    """Served form of a trained network; `net` itself is left as it was."""
    return ServedNet(copy.deepcopy(net).float().cpu().eval()).eval().requires_grad_(False)


def unserved(served_net: ServedNet) -> TumorNet:
    """A trainable network that computes what `served_net` (float weights) computes."""
    net = TumorNet().eval()
    net.load_state_dict({"pixel_mean": served_net.pixel_mean, "pixel_std": served_net.pixel_std}, strict=False)
    net.pool.load_state_dict(served_net.pool.state_dict())
    served_net.score_fine.unfold_into(net.score_fine)
    served_net.score_near.unfold_into(net.score_near)
    served_net.score_wide.unfold_into(net.score_wide)
    stem, *blocks = net.features
    served_net.stem.unfold_into(*stem.learned())
    for block, from_block in zip(blocks, served_net.blocks, strict=True):
        from_block.unfold_into(block)
    return net
