"""Dynamic int8 quantization of the served form, saved as plain safetensors.

Weights: int8 with one scale for each output row, w = scale * q, q in -127..127 (symmetric). Activations are quantized
at run time, one scale and zero point for each layer and call. The file needs nothing but safetensors to be read; the
kernel is chosen when it is loaded: oneDNN's int8 linear where the installed PyTorch has it (the one that torch.compile
emits; unlike `torch.ao.quantization` it is not deprecated, and faster), else the weights are dequantized to float32.
"""

import json
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import CLASSES
from .network import PatchLinear, ServedNet, TumorNet, patches, served, unserved

FORMAT_VERSION = 1
FILES = {"int8": "model.safetensors", "fp32": "model-fp32.safetensors"}
CONFIG = "config.json"


class DamagedWeights(ValueError):
    """The weights folder cannot be used; the message is for the user."""


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (rows, columns) -> int8 (rows, columns) in -127..127, float32 scales (rows,): weight ~ scale * int8."""
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


class Int8PatchLinear(nn.Module):
    """A `PatchLinear` with int8 weights that quantizes its input at each call, before it is copied into patches.

    `levels`: steps of the activation grid, as `activation_levels` finds them for this machine.
    """

    def __init__(self, layer: PatchLinear, rows: Tensor, scale: Tensor, levels: int):
        super().__init__()
        self.levels = levels
        self.geometry = layer.kernel, layer.stride, layer.padding
        self.post = "relu" if layer.relu else "none"
        self.scale, self.bias = scale, layer.linear.bias.detach()
        self.zero_points = torch.zeros(len(rows), dtype=torch.int64)
        self.packed = torch.ops.onednn.qlinear_prepack(rows, None)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, H, W, C) -> float32 (N, rows, columns, channels), as the layer that it stands for."""
        kernel, stride, p = self.geometry
        n, height, width, channels = x.shape
        low, high = torch.aminmax(x)
        low, high = min(low.item(), 0.0), max(high.item(), 0.0)  # zero, the padding, must lie on the grid
        step = max((high - low) / self.levels, 1e-12)
        zero = round(-low / step)
        grid = torch.full((n, height + 2 * p, width + 2 * p, channels), zero, dtype=torch.uint8)
        inside = grid[:, p : p + height, p : p + width]
        inside.copy_(torch.add(zero + 0.5, x, alpha=1 / step))  # the copy cuts off, hence the half: it rounds
        copied = patches(grid, kernel, stride)
        flat = copied.reshape(-1, copied.shape[-1])
        y = torch.ops.onednn.qlinear_pointwise(
            flat,
            step,
            zero,
            self.packed,
            self.scale,
            self.zero_points,
            self.bias,
            1.0,
            0,
            torch.float32,
            self.post,
            [],
            "",
        )
        return y.view(*copied.shape[:3], -1)


@cache
def activation_levels() -> int:
    """Steps of the finest activation grid that this machine's int8 kernel multiplies exactly; 0 if there is no kernel.

    Processors with VNNI or AMX add products in 32 bits: 255. Others add pairs of them in 16, where two products of
    255 and 127 saturate: 127.
    """
    layer, rows = PatchLinear(nn.Conv2d(64, 16, 1)), torch.full((16, 64), 127, dtype=torch.int8)
    layer.linear.bias.data.zero_()
    for levels in (255, 127):
        try:
            product = Int8PatchLinear(layer, rows, torch.ones(16), levels)(torch.ones(1, 1, 1, 64))
        except (AttributeError, NotImplementedError, RuntimeError):
            return 0
        if torch.allclose(product, torch.tensor(64.0 * 127)):
            return levels
    return 0


def patch_linears(net: ServedNet) -> dict[str, PatchLinear]:
    return {name: module for name, module in net.named_modules() if isinstance(module, PatchLinear)}


def artifact_tensors(net: ServedNet, precision: str) -> dict[str, Tensor]:
    """The tensors of the file: as in the state dict, but int8 weights each with a `.scale` beside them."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    if precision == "int8":
        for name in patch_linears(net):
            weight = f"{name}.linear.weight"
            tensors[weight], tensors[f"{name}.scale"] = quantize_rows(tensors[weight])
    return tensors


def save_weights(net: TumorNet, extras: dict[str, Tensor], folder: Path, precision: str) -> Path:
    """Write the served form of `net` and `extras` (small float32 tensors) to `folder`; returns the file."""
    file = folder / FILES[precision]
    tensors = artifact_tensors(served(net), precision)
    save_file(tensors | {f"extra.{name}": tensor.contiguous() for name, tensor in extras.items()}, file)
    return file


def make_config(name: str, width: int, size: int, margin: float, **facts) -> dict:
    """The config.json of an artefact that is not calibrated and refuses nothing yet; `facts` are added or override."""
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": list(CLASSES),
        "width": width,
        "size": size,
        "margin": margin,
        "temperature": 1.0,
        "refusal": {"refused_below": 0.0, "doubtful_below": 0.0},
    } | facts


def read_config(folder: Path) -> dict:
    """The artefact's config.json. Raises `DamagedWeights` if it is missing, broken, or not for this program."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        missing = make_config("", 0, 0, 0.0).keys() - config.keys()
        if missing:
            raise KeyError(*missing)
        newer = config["format_version"] > FORMAT_VERSION
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedWeights(f"{folder / CONFIG} is missing or damaged. Copy the weights folder again.") from error
    if newer:
        version = config["format_version"]
        raise DamagedWeights(
            f"these weights have format {version}; this program reads up to {FORMAT_VERSION}. Update it."
        )
    if tuple(config["classes"]) != CLASSES:
        raise DamagedWeights(f"these weights answer {config['classes']}; this program knows {', '.join(CLASSES)} only.")
    return config


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
        net = served(TumorNet(config["width"]))
        rows = {name: tensors[f"{name}.linear.weight"] for name in scales}
        for name, scale in scales.items():
            tensors[f"{name}.linear.weight"] = rows[name] * scale[:, None]
        net.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise DamagedWeights(f"the weights in {folder} do not fit their config.json. Copy the folder again.") from error
    levels = activation_levels()
    if scales and levels and kernel != "float":
        for name, layer in patch_linears(net).items():
            net.set_submodule(name, Int8PatchLinear(layer, rows[name], scales[name], levels))
    return net.eval(), extras, config


def load_trained(folder: Path) -> TumorNet:
    """The trained form, to fine-tune from: of the float32 file if it is there, else of the int8 one."""
    precision = "fp32" if (folder / FILES["fp32"]).exists() else "int8"
    return unserved(load_weights(folder, precision, kernel="float")[0])
