"""Where a run starts: random weights, ImageNet's, or an artifact of ours."""

import hashlib
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from model.artifact import TRAINED, DamagedWeights, read_config
from model.hub import find_weights

from .network import TumorNet

STATE_DICTS = (".pt", ".pth")


def initialize(net: TumorNet, source: str) -> None:
    """Fill `net` in place.

    `source`: "scratch" (leave it as it is), "imagenet" (torchvision's MobileNetV2, downloaded once to torch's cache), a
    file with the state dict of a MobileNetV2, or a weights folder or Hub id of ours.
    Raises ValueError with a sentence where the weights do not fit or cannot be had.
    """
    if source == "scratch":
        return
    if source == "imagenet":
        fill_from_imagenet(net, torchvision_weights())
    elif source.endswith(STATE_DICTS):
        fill_from_imagenet(net, state_dict_in(Path(source)))
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


def torchvision_weights() -> dict[str, Tensor]:
    from torchvision.models import MobileNet_V2_Weights

    try:
        return MobileNet_V2_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ValueError(
            f"the ImageNet weights could not be downloaded ({error}). Check the network, name a file that holds them, "
            "such as --init mobilenet_v2.pt, or use --init scratch."
        ) from error


def state_dict_in(file: Path) -> dict[str, Tensor]:
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
    the shapes decide. The stem is summed over RGB: a gray image gives what it would as RGB.
    """
    body = net.features.state_dict()
    tensors = [tensor for name, tensor in state.items() if name.startswith("features.")][: len(body)]
    if tensors and tensors[0].ndim == 4:
        tensors[0] = tensors[0].sum(dim=1, keepdim=True)
    wanted = [tensor.shape for tensor in body.values()]
    if [tensor.shape for tensor in tensors] != wanted:
        raise ValueError("these are not the weights of a MobileNetV2 of width 1. Use --init imagenet or scratch.")
    net.features.load_state_dict(dict(zip(body, tensors, strict=True)))
