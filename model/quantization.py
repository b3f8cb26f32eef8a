"""Dynamic int8 quantization of the served form, saved as plain safetensors.

Weights: int8 with one scale for each output row, w = scale * q, q in -127..127 (symmetric). Activations are quantized
at run time, one scale and zero point for each layer and call; what ReLU6 bounds has a grid that is known beforehand.
The first layers see few channels of wide range and stay in float32: they are small, and rounding them costs most.
The file needs nothing but safetensors to be read; the kernels (model/kernels.py) are chosen when it is loaded: oneDNN's
int8 linear and depthwise convolution where the installed PyTorch has them, else the weights are dequantized to float32.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import CLASSES
from .kernels import Int8Depthwise, Int8Linear, activation_levels, fuse_relu6
from .network import Depthwise, PatchLinear, ServedNet, TumorNet, served, unserved

FORMAT_VERSION = 3
FILES = {"int8": "model.safetensors", "fp32": "model-fp32.safetensors"}
CONFIG = "config.json"
NEVER = 1e9  # a distance from the training images that no slice has
UNCALIBRATED_STUDY = {  # the odds of a volume are then the mean of its slices' odds
    **{"sharpness": 1.0, "slope": 1.0, "intercept": 0.0},
    **{"threshold": 0.5, "sensitivity": None, "specificity": None},
}

IN_FLOAT = ("stem.", "blocks.0.", "blocks.1.")  # 0.3 % of the weights; in int8 they make two thirds of the error
HEADS = ("score_fine.", "score_near.", "score_wide.")  # stored in int8: too few rows for the kernel to pay


class DamagedWeights(ValueError):
    """The weights folder cannot be used; the message is for the user."""


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32 (rows, columns) -> int8 (rows, columns) in -127..127, float32 scales (rows,): weight ~ scale * int8."""
    scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8), scale


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

    Args: `precision` of the file, "int8" or "fp32"; `kernel` "auto": the fastest that this machine has, or "float": the
        layers of model/network.py, of dequantized weights.
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
    if kernel == "auto":
        if scales:
            _multiply_in_int8(net, rows, scales)
        fuse_relu6(net)
    return net.eval(), extras, config


def _multiply_in_int8(net: ServedNet, rows: dict[str, Tensor], scales: dict[str, Tensor]) -> None:
    """Give the quantized layers of `net` kernels that take their weights as they are stored, where there are such."""
    levels = activation_levels()
    for name, (layer, weight) in quantized_layers(net).items() if levels else ():
        if not f"{name}.".startswith(HEADS):
            kind = Int8Linear if isinstance(layer, PatchLinear) else Int8Depthwise
            net.set_submodule(name, kind(layer, rows[weight], scales[weight], levels))


def load_trained(folder: Path) -> TumorNet:
    """The trained form, to fine-tune from: of the float32 file if it is there, else of the int8 one."""
    precision = "fp32" if (folder / FILES["fp32"]).exists() else "int8"
    return unserved(load_weights(folder, precision, kernel="float")[0])
