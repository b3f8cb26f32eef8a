"""The network: a residual CNN for grey slices that scores every position and pools the scores into four logits.

Trained form (`TumorNet`): ResNet-18 layout (He et al. 2015, arXiv:1512.03385) with torchvision's parameter names,
so that its ImageNet weights fit at width 64; one grey channel; BatchNorm. Served form (`served`): BatchNorm folded into
the convolutions and each of them rewritten as `nn.Linear` over patches, so that dynamic quantization covers them all.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import CLASSES

WIDTHS = {"small": 32, "medium": 48, "resnet18": 64}  # channels of the first stage; they double at each later one
STAGES = ("layer1", "layer2", "layer3", "layer4")
STRIDE = 16  # pixels of the input for each position of the evidence map
PIXEL_MEAN, PIXEL_STD = 0.20, 0.22  # of framed training slices scaled to 0..1


class Output(NamedTuple):
    """What one pass gives: all float32, `N` slices, `C` classes in the order of `CLASSES`, `h, w` positions."""

    logits: Tensor  # (N, C)
    evidence: Tensor  # (N, C, h, w): each position's share of the logit; sums to it over h, w
    scores: Tensor  # (N, C, h, w): what each position says by itself; 0 for "no tumor"
    features: Tensor  # (N, D): pooled activations, for telling brain MRI from anything else


class EvidencePool(nn.Module):
    """Position scores -> logits by log-mean-exp, with shares that are exact.

    A tumor may fill one position of a hundred, so its logit leans towards the highest score (the logical "somewhere"):
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


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut (torchvision's `BasicBlock`, names included)."""

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or channels_in != channels:
            shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


def stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Residual(channels_in, channels, stride), Residual(channels, channels, 1))


class TumorNet(nn.Module):
    """The trained form. `width`: channels of the first stage, as in `WIDTHS`; `dropout`: share of channels dropped."""

    def __init__(self, width: int = WIDTHS["small"], dropout: float = 0.0):
        super().__init__()
        self.width = width
        tumor_types = len(CLASSES) - 1
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN))
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD))
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.layer4 = stage(4 * width, 8 * width, 2)
        self.dropout = nn.Dropout2d(dropout)
        self.score_near = nn.Conv2d(4 * width, tumor_types, 1)  # from layer3: sharp in place
        self.score_wide = nn.Conv2d(8 * width, tumor_types, 1)  # from layer4: sees the whole head
        self.pool = EvidencePool(tumor_types)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for head in (self.score_near, self.score_wide):
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)

    def forward(self, images: Tensor) -> Output:
        """(N, 1, S, S) uint8 or float32 in 0..255, S a multiple of 32 -> `Output` with h = w = S / 16."""
        x = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        near = self.layer3(self.layer2(self.layer1(x)))
        wide = self.layer4(near)
        features = torch.cat((near.mean((2, 3)), wide.mean((2, 3))), 1).float()
        scores = self.score_near(self.dropout(near)) + enlarge(self.score_wide(self.dropout(wide)))
        scores = scores.float()  # pooled in full precision under autocast too
        logits, evidence = self.pool(scores)
        return Output(logits, evidence, with_no_tumor(scores), features)


def enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


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


class PatchLinear(nn.Module):
    """A convolution, the BatchNorm after it and perhaps ReLU as `nn.Linear` over patches of an (N, H, W, C) tensor.

    The buffers keep what BatchNorm had seen of the folded convolution's output; serving does not read them, fine-tuning
    goes on from them (`unserved`).
    """

    def __init__(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None = None, relu: bool = False):
        super().__init__()
        self.relu = relu
        self.kernel, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
        channels, channels_in, k, _ = conv.weight.shape
        self.linear = nn.Linear(k * k * channels_in, channels)
        with torch.no_grad():
            scale = torch.ones(channels) if bn is None else bn.weight * torch.rsqrt(bn.running_var + bn.eps)
            mean = torch.zeros(channels) if bn is None else bn.running_mean
            weight = conv.weight * scale[:, None, None, None]
            self.linear.weight.copy_(weight.permute(0, 2, 3, 1).reshape(channels, -1))
            self.linear.bias.copy_(conv.bias if bn is None else bn.bias - mean * scale)
            if bn is not None:
                self.register_buffer("mean", mean * scale)
                self.register_buffer("variance", bn.running_var * scale**2)

    def forward(self, x: Tensor) -> Tensor:
        p = self.padding
        y = self.linear(patches(F.pad(x, (0, 0, p, p, p, p)), self.kernel, self.stride))
        return y.relu_() if self.relu else y

    def unfold_into(self, conv: nn.Conv2d, bn: nn.BatchNorm2d | None = None) -> None:
        """The way back: fill `conv` and `bn` so that they compute the same, and nearly so in training mode."""
        channels, channels_in, k, _ = conv.weight.shape
        with torch.no_grad():
            conv.weight.copy_(self.linear.weight.view(channels, k, k, channels_in).permute(0, 3, 1, 2))
            if bn is None:
                conv.bias.copy_(self.linear.bias)
                return
            bn.running_mean.copy_(self.mean)
            bn.running_var.copy_(self.variance)
            bn.weight.copy_((self.variance + bn.eps).sqrt())
            bn.bias.copy_(self.linear.bias + self.mean)


class ServedResidual(nn.Module):
    """`Residual` over (N, H, W, C), for inference only: it works in place."""

    def __init__(self, block: Residual):
        super().__init__()
        self.conv1 = PatchLinear(block.conv1, block.bn1, relu=True)
        self.conv2 = PatchLinear(block.conv2, block.bn2)
        self.shortcut = None if block.downsample is None else PatchLinear(*block.downsample)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return self.conv2(self.conv1(x)).add_(shortcut).relu_()


class ServedNet(nn.Module):
    """The served form of `net`: the same function for inference (test: within 1e-5), every weight in an `nn.Linear`."""

    def __init__(self, net: TumorNet):
        super().__init__()
        self.width = net.width
        self.register_buffer("pixel_mean", net.pixel_mean.clone())
        self.register_buffer("pixel_std", net.pixel_std.clone())
        self.stem = PatchLinear(net.conv1, net.bn1, relu=True)
        for name in STAGES:
            setattr(self, name, nn.Sequential(*map(ServedResidual, getattr(net, name))))
        self.score_near, self.score_wide = PatchLinear(net.score_near), PatchLinear(net.score_wide)
        self.pool = copy.deepcopy(net.pool)

    def forward(self, images: Tensor) -> Output:
        """As `TumorNet.forward`, without gradients."""
        x = (images.float() / 255 - self.pixel_mean) / self.pixel_std
        x = self.stem(x.permute(0, 2, 3, 1))
        x = F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)
        near = self.layer3(self.layer2(self.layer1(x)))
        wide = self.layer4(near)
        features = torch.cat((near.mean((1, 2)), wide.mean((1, 2))), 1)
        scores = self.score_near(near).permute(0, 3, 1, 2) + enlarge(self.score_wide(wide).permute(0, 3, 1, 2))
        logits, evidence = self.pool(scores)
        return Output(logits, evidence, with_no_tumor(scores), features)


def served(net: TumorNet) -> ServedNet:
    """Served form of a trained network; `net` itself is left as it was."""
    return ServedNet(copy.deepcopy(net).float().cpu().eval()).eval().requires_grad_(False)


def unserved(served_net: ServedNet) -> TumorNet:
    """A trainable network that computes what `served_net` (float weights) computes."""
    net = TumorNet(served_net.width).eval()
    net.load_state_dict({"pixel_mean": served_net.pixel_mean, "pixel_std": served_net.pixel_std}, strict=False)
    net.pool.load_state_dict(served_net.pool.state_dict())
    served_net.stem.unfold_into(net.conv1, net.bn1)
    served_net.score_near.unfold_into(net.score_near)
    served_net.score_wide.unfold_into(net.score_wide)
    for name in STAGES:
        for block, from_block in zip(getattr(net, name), getattr(served_net, name), strict=True):
            from_block.conv1.unfold_into(block.conv1, block.bn1)
            from_block.conv2.unfold_into(block.conv2, block.bn2)
            if block.downsample is not None:
                from_block.shortcut.unfold_into(*block.downsample)
    return net
