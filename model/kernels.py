"""The layers of the served form as oneDNN computes them, each in one pass over memory: in int8, and in float32.

These are the operators that torch.compile emits for a processor (unlike `torch.ao.quantization` they are not
deprecated, and faster). Where the installed PyTorch lacks them, the layers of model/network.py stay.
"""

from functools import cache

import torch
from torch import Tensor, nn

from .network import Depthwise, PatchLinear, ServedNet

BOUND = 6.0  # of ReLU6
RELU6 = "hardtanh", [0.0, BOUND], ""  # as oneDNN's operators take what follows the product: name, limits, algorithm
NOTHING = "none", [], ""
UINT8_STEPS = 255
MISSING = AttributeError, NotImplementedError, RuntimeError  # what a PyTorch without an operator raises


class Int8Linear(nn.Module):
    """A 1x1 `PatchLinear` with int8 weights, `rows` times `scale`; float32 input is quantized at each call.

    What ReLU6 has bounded needs no look at its range: such output is uint8 on the grid of `BOUND / levels`, zero at 0,
    and such input is taken as it is. `levels`: steps of the grid, as `activation_levels` finds them for this machine.
    """

    def __init__(self, layer: PatchLinear, rows: Tensor, scale: Tensor, levels: int):
        super().__init__()
        self.levels = levels
        zero_points = torch.zeros(len(rows), dtype=torch.int64)
        packed = torch.ops.onednn.qlinear_prepack(rows, None)
        self.weight = packed, scale, zero_points, layer.linear.bias.detach()
        self.output = bounded(levels) if layer.relu6 else (1.0, 0, torch.float32, *NOTHING)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, channels), each float32, or uint8 where ReLU6 bounds it."""
        step, zero = BOUND / self.levels, 0
        if x.dtype != torch.uint8:
            x, step, zero = on_grid(x, self.levels)
        return torch.ops.onednn.qlinear_pointwise(x, step, zero, *self.weight, *self.output)


class Int8Depthwise(nn.Module):
    """A `Depthwise` with int8 weights between two activations that ReLU6 bounds: uint8 in, uint8 out."""

    def __init__(self, layer: Depthwise, weight: Tensor, scale: Tensor, levels: int):
        super().__init__()
        geometry = [layer.stride] * 2, [layer.padding] * 2, [1, 1], len(weight)
        zero_points = torch.zeros(len(weight), dtype=torch.int64)
        packed = torch.ops.onednn.qconv_prepack(weight, scale, BOUND / levels, 0, *geometry)
        self.step = BOUND / levels
        self.rest = packed, scale, zero_points, layer.bias.detach(), *geometry, *bounded(levels)

    def forward(self, x: Tensor) -> Tensor:
        """uint8 (N, H, W, C) -> uint8 (N, rows, columns, C)."""
        channels = x.permute(0, 3, 1, 2)  # a view, channels-last: what oneDNN wants
        return torch.ops.onednn.qconv2d_pointwise(channels, self.step, 0, *self.rest).permute(0, 2, 3, 1)


def bounded(levels: int) -> tuple:
    """How to write what ReLU6 bounds: step, zero point, dtype, and the cut, which a full uint8 makes by itself."""
    return BOUND / levels, 0, torch.uint8, *(NOTHING if levels == UINT8_STEPS else RELU6)


def on_grid(x: Tensor, levels: int) -> tuple[Tensor, float, int]:
    """float32 of any shape -> uint8 of that shape, step and zero point: x ~ step * (uint8 - zero)."""
    low, high = torch.aminmax(x)
    low, high = min(low.item(), 0.0), max(high.item(), 0.0)  # zero must lie on the grid
    step = max((high - low) / levels, 1e-12)
    zero = round(-low / step)
    # The copy to uint8 cuts off, hence the half: it rounds. A hair less, or `high` might become 256, which wraps to 0.
    return torch.add(zero + 0.4999, x, alpha=1 / step).to(torch.uint8), step, zero


@cache
def activation_levels() -> int:
    """Steps of the finest activation grid that this machine's int8 kernel multiplies exactly; 0 if there is no kernel.

    Processors with VNNI or AMX add products in 32 bits: 255. Others add pairs of them in 16, where two products of
    255 and 127 saturate: 127.
    """
    layer, rows = PatchLinear(nn.Conv2d(64, 16, 1)), torch.full((16, 64), 127, dtype=torch.int8)
    layer.linear.bias.data.zero_()
    depthwise = Depthwise(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8))
    for levels in (UINT8_STEPS, 127):
        try:
            weight = torch.ones(8, 1, 3, 3, dtype=torch.int8)
            Int8Depthwise(depthwise, weight, torch.ones(8), levels)(torch.zeros(1, 4, 4, 8, dtype=torch.uint8))
            product = Int8Linear(layer, rows, torch.ones(16), levels)(torch.ones(1, 1, 1, 64))
        except MISSING:
            return 0
        if torch.allclose(product, torch.tensor(64.0 * 127)):
            return levels
    return 0


class FusedConv(nn.Module):
    """A float32 convolution with its ReLU6: a `Depthwise`, or a `PatchLinear` of larger patches than one pixel."""

    def __init__(self, layer: PatchLinear | Depthwise):
        super().__init__()
        weight, bias, groups = layer.convolution()
        padding, stride = [layer.padding] * 2, [layer.stride] * 2
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, padding, stride, [1, 1], groups)
        self.rest = packed, bias, padding, stride, [1, 1], groups, *RELU6

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, H, W, C) -> float32 (N, rows, columns, channels)."""
        return torch.ops.mkldnn._convolution_pointwise(x.permute(0, 3, 1, 2), *self.rest).permute(0, 2, 3, 1)


class FusedLinear(nn.Module):
    """A float32 1x1 `PatchLinear` with its ReLU6."""

    def __init__(self, layer: PatchLinear):
        super().__init__()
        weight, bias = layer.linear.weight.detach(), layer.linear.bias.detach()
        self.rest = torch.ops.mkldnn._reorder_linear_weight(weight), bias, *RELU6

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, H, W, C) -> float32 (N, H, W, channels)."""
        return torch.ops.mkldnn._linear_pointwise(x, *self.rest)


def fuse_relu6(net: ServedNet) -> None:
    """Replace the float32 layers of `net` that end in ReLU6, where the installed PyTorch can fuse the two."""
    for name, layer in list(net.named_modules()):
        try:
            if isinstance(layer, Depthwise) or (isinstance(layer, PatchLinear) and layer.kernel > 1):
                net.set_submodule(name, FusedConv(layer))
            elif isinstance(layer, PatchLinear) and layer.relu6:
                net.set_submodule(name, FusedLinear(layer))
        except MISSING:
            return
