"""Dynamic int8 quantization of the served form, saved as plain safetensors.

Weights: int8 with one scale for each output row, w = scale * q, q in -127..127 (symmetric). Activations are quantized
at run time, one scale and zero point for each layer and call; what ReLU6 bounds has a grid that is known beforehand.
The first layers see few channels of wide range and stay in float32: they are small, and rounding them costs most.
The file needs nothing but safetensors to be read; the kernel is chosen when it is loaded: oneDNN's int8 linear and
depthwise convolution where the installed PyTorch has them (those that torch.compile emits; unlike
`torch.ao.quantization` they are not deprecated, and faster), else the weights are dequantized to float32.
"""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import CLASSES
from .network import Depthwise, PatchLinear, ServedNet, TumorNet, patches, served, unserved

FORMAT_VERSION = 2
FILES = {"int8": "model.safetensors", "fp32": "model-fp32.safetensors"}
CONFIG = "config.json"
NEVER = 1e9  # a distance from the training images that no slice has
UNCALIBRATED_STUDY = {  # the odds of a volume are then the mean of its slices' odds
    **{"sharpness": 1.0, "slope": 1.0, "intercept": 0.0},
    **{"threshold": 0.5, "sensitivity": None, "specificity": None},
}


BOUND = 6.0  # of ReLU6
IN_FLOAT = ("stem.", "blocks.0.", "blocks.1.")  # 0.3 % of the weights; in int8 they make two thirds of the error


class DamagedWeights(ValueError):
    """The weights folder cannot be used; the message is for the user."""


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (rows, columns) -> int8 (rows, columns) in -127..127, float32 scales (rows,): weight ~ scale * int8."""
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


class Int8PatchLinear(nn.Module):
    """A `PatchLinear` with int8 weights. float32 input is quantized at each call, before it is copied into patches.

    What ReLU6 has bounded needs no look at its range: such output is uint8 on the grid of `BOUND / levels`, zero at 0,
    and such input is taken as it is. `levels`: steps of the grid, as `activation_levels` finds them for this machine.
    """

    def __init__(self, layer: PatchLinear, rows: Tensor, scale: Tensor, levels: int):
        super().__init__()
        self.levels = levels
        self.geometry = layer.kernel, layer.stride, layer.padding
        bounded = BOUND / levels, 0, torch.uint8, "hardtanh", [0.0, BOUND], ""
        self.output = bounded if layer.relu6 else (1.0, 0, torch.float32, "none", [], "")
        self.scale, self.bias = scale, layer.linear.bias.detach()
        self.zero_points = torch.zeros(len(rows), dtype=torch.int64)
        self.packed = torch.ops.onednn.qlinear_prepack(rows, None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, rows, columns, channels), each float32, or uint8 where ReLU6 bounds it."""
        kernel, stride, padding = self.geometry
        step, zero = BOUND / self.levels, 0
        if x.dtype != torch.uint8:
            x, step, zero = on_grid(x, padding, self.levels)
        copied = patches(x, kernel, stride)
        flat = copied.reshape(-1, copied.shape[-1])
        weight = self.packed, self.scale, self.zero_points, self.bias
        y = torch.ops.onednn.qlinear_pointwise(flat, step, zero, *weight, *self.output)
        return y.view(*copied.shape[:3], -1)


def on_grid(x: Tensor, padding: int, levels: int) -> tuple[Tensor, float, int]:
    """float32 (N, H, W, C) -> uint8, padded with zeros on each side; step and zero point: x ~ step * (uint8 - zero)."""
    n, height, width, channels = x.shape
    low, high = torch.aminmax(x)
    low, high = min(low.item(), 0.0), max(high.item(), 0.0)  # zero, the padding, must lie on the grid
    step = max((high - low) / levels, 1e-12)
    zero = round(-low / step)
    # The copy to uint8 cuts off, hence the half: it rounds. A hair less, or `high` might become 256, which wraps to 0.
    rounded = torch.add(zero + 0.4999, x, alpha=1 / step)
    if not padding:
        return rounded.to(torch.uint8), step, zero
    grid = torch.full((n, height + 2 * padding, width + 2 * padding, channels), zero, dtype=torch.uint8)
    grid[:, padding : padding + height, padding : padding + width] = rounded
    return grid, step, zero


class Int8Depthwise(nn.Module):
    """A `Depthwise` with int8 weights between two activations that ReLU6 bounds: uint8 in, uint8 out."""

    def __init__(self, layer: Depthwise, weight: Tensor, scale: Tensor, levels: int):
        super().__init__()
        self.step = BOUND / levels
        self.scale, self.bias = scale, layer.bias.detach()
        self.zero_points = torch.zeros(len(weight), dtype=torch.int64)
        self.geometry = [layer.stride] * 2, [layer.padding] * 2, [1, 1], len(weight)
        self.packed = torch.ops.onednn.qconv_prepack(weight, scale, self.step, 0, *self.geometry)

    def forward(self, x: Tensor) -> Tensor:
        """uint8 (N, H, W, C) -> uint8 (N, rows, columns, C)."""
        weight = self.packed, self.scale, self.zero_points, self.bias
        bounded = self.step, 0, torch.uint8, "hardtanh", [0.0, BOUND], None
        channels = x.permute(0, 3, 1, 2)  # a view, channels-last: what oneDNN wants
        y = torch.ops.onednn.qconv2d_pointwise(channels, self.step, 0, *weight, *self.geometry, *bounded)
        return y.permute(0, 2, 3, 1)


@cache
def activation_levels() -> int:
    """Steps of the finest activation grid that this machine's int8 kernel multiplies exactly; 0 if there is no kernel.

    Processors with VNNI or AMX add products in 32 bits: 255. Others add pairs of them in 16, where two products of
    255 and 127 saturate: 127.
    """
    layer, rows = PatchLinear(nn.Conv2d(64, 16, 1)), torch.full((16, 64), 127, dtype=torch.int8)
    layer.linear.bias.data.zero_()
    depthwise = Depthwise(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8))
    for levels in (255, 127):
        try:
            weight = torch.ones(8, 1, 3, 3, dtype=torch.int8)
            Int8Depthwise(depthwise, weight, torch.ones(8), levels)(torch.zeros(1, 4, 4, 8, dtype=torch.uint8))
            product = Int8PatchLinear(layer, rows, torch.ones(16), levels)(torch.ones(1, 1, 1, 64))
        except (AttributeError, NotImplementedError, RuntimeError):
            return 0
        if torch.allclose(product, torch.tensor(64.0 * 127)):
            return levels
    return 0


def quantized_layers(net: ServedNet) -> dict[str, tuple[PatchLinear | Depthwise, str]]:
    """Name -> the layer, and the name in the state dict of its weight, which is stored in int8."""
    layers = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, PatchLinear | Depthwise) and not f"{name}.".startswith(IN_FLOAT)
    }
    weight = {PatchLinear: "linear.weight", Depthwise: "weight"}
    return {name: (layer, f"{name}.{weight[type(layer)]}") for name, layer in layers.items()}


def artifact_tensors(net: ServedNet, precision: str) -> dict[str, Tensor]:
    """The tensors of the file: as in the state dict, but int8 weights, each with its scales (`.scale`) beside it."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    if precision == "int8":
        for _, name in quantized_layers(net).values():
            rows, scale = quantize_rows(tensors[name].flatten(1))
            tensors |= {name: rows.view_as(tensors[name]), f"{name}.scale": scale}
    return tensors


def save_weights(net: TumorNet, extras: dict[str, Tensor], folder: Path, precision: str) -> Path:
    """Write the served form of `net` and `extras` (small float32 tensors) to `folder`; returns the file."""
    file = folder / FILES[precision]
    tensors = artifact_tensors(served(net), precision)
    save_file(tensors | {f"extra.{name}": tensor.contiguous() for name, tensor in extras.items()}, file)
    return file


def make_config(name: str, size: int, margin: float, **facts) -> dict:
    """The config.json of an artefact that is not calibrated and refuses nothing yet; `facts` are added or override.

    `size` of the network's input in pixels, `margin` around the head as in `preprocess.frame`. "operating_point" is on
    P(tumor), "prediction_set" on a class's probability, "refusal" on the brain score (`_below`) and the distance from
    the training images (`_from`), "study" on whole volumes (model/study.py); training/export.py fits them all on
    validation.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": list(CLASSES),
        "size": size,
        "margin": margin,
        "temperature": 1.0,
        "operating_point": {"threshold": 0.5, "sensitivity": None, "specificity": None},
        "prediction_set": {"coverage": None, "keep_from": 1.0},  # the most probable class alone
        "refusal": {"refused_below": 0.0, "doubtful_below": 0.0, "doubtful_from": NEVER, "refused_from": NEVER},
        "study": UNCALIBRATED_STUDY,
    } | facts


def read_config(folder: Path) -> dict:
    """The artefact's config.json. Raises `DamagedWeights` if it is missing, broken, or not for this program.

    Where it says nothing of studies, since it was exported before there were any, they are not calibrated.
    """
    damaged = f"{folder / CONFIG} is missing or damaged. Copy the weights folder again."
    try:
        config = {"study": UNCALIBRATED_STUDY} | json.loads((folder / CONFIG).read_text())
        version, classes = config["format_version"], tuple(config["classes"])
        newer, older = version > FORMAT_VERSION, version < FORMAT_VERSION
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedWeights(damaged) from error
    if newer:
        raise DamagedWeights(
            f"these weights have format {version}; this program reads format {FORMAT_VERSION}. Update it."
        )
    if older:
        raise DamagedWeights(
            f"these weights have format {version}; this program reads format {FORMAT_VERSION}. Take newer weights."
        )
    if classes != CLASSES:
        raise DamagedWeights(f"these weights answer {config['classes']}; this program knows {', '.join(CLASSES)} only.")
    if not _holds_all_of(make_config("", 0, 0.0), config):
        raise DamagedWeights(damaged)
    return config


def _holds_all_of(template: object, config: object) -> bool:
    """Whether every key of `template` is in `config`, on every level."""
    if not isinstance(template, dict):
        return True
    return isinstance(config, dict) and all(
        name in config and _holds_all_of(value, config[name]) for name, value in template.items()
    )


def read_tensors(folder: Path, precision: str) -> dict[str, Tensor]:
    """The tensors of an artefact as stored. Raises `DamagedWeights`."""
    file = folder / FILES[precision]
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise DamagedWeights(f"{file} is missing or damaged. Copy the weights folder again.") from error


def load_weights(
    folder: Path, precision: str = "int8", kernel: str = "auto"
) -> tuple[ServedNet, dict[str, Tensor], dict]:
    """Rebuild the network of an artefact.

    Args: `precision` of the file, "int8" or "fp32"; `kernel` "int8" where there is one, or "float" (dequantized).
    Returns: the network in evaluation mode, the extra tensors, the config. Raises `DamagedWeights`.
    """
    config, tensors = read_config(folder), read_tensors(folder, precision)
    extras = {name.removeprefix("extra."): tensors.pop(name) for name in list(tensors) if name.startswith("extra.")}
    scales = {name.removesuffix(".scale"): tensors.pop(name) for name in list(tensors) if name.endswith(".scale")}
    try:
        net = served(TumorNet())
        rows = {name: tensors[name] for name in scales}
        for name, scale in scales.items():
            tensors[name] = (rows[name].flatten(1) * scale[:, None]).view_as(rows[name])
        net.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise DamagedWeights(f"the weights in {folder} do not fit their config.json. Copy the folder again.") from error
    levels = activation_levels()
    if scales and levels and kernel != "float":
        for name, (layer, weight) in quantized_layers(net).items():
            kind = Int8PatchLinear if isinstance(layer, PatchLinear) else Int8Depthwise
            net.set_submodule(name, kind(layer, rows[weight], scales[weight], levels))
    return net.eval(), extras, config


def load_trained(folder: Path) -> TumorNet:
    """The trained form, to fine-tune from: of the float32 file if it is there, else of the int8 one."""
    precision = "fp32" if (folder / FILES["fp32"]).exists() else "int8"
    return unserved(load_weights(folder, precision, kernel="float")[0])
