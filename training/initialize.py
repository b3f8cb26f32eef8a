"""Where a run starts: random weights, torchvision's ImageNet ResNet-18, or an artefact of ours."""

import torch

from model.hub import find_weights
from model.network import WIDTHS, TumorNet
from model.quantization import load_trained


def initialize(net: TumorNet, source: str) -> None:
    """Fill `net` in place.

    `source`: "scratch" (leave it as it is), "imagenet" (torchvision's ResNet-18, downloaded once to torch's cache), or
    a weights folder or Hub id of ours. Raises ValueError with a sentence where the weights do not fit or cannot be had.
    """
    if source == "scratch":
        return
    if source == "imagenet":
        load_imagenet(net)
        return
    start = load_trained(find_weights(source))
    if start.width != net.width:
        raise ValueError(f"--init {source} has width {start.width}, not {net.width}. Use --width {start.width}.")
    net.load_state_dict(start.state_dict())


def load_imagenet(net: TumorNet) -> None:
    """torchvision's ResNet-18 body; the stem is summed over RGB: a grey image gives what it would as RGB."""
    from torchvision.models import ResNet18_Weights

    if net.width != WIDTHS["resnet18"]:
        raise ValueError(f"--init imagenet needs --width {WIDTHS['resnet18']}: torchvision has no narrower ResNet-18.")
    try:
        state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise ValueError(
            f"the ImageNet weights could not be downloaded ({error}). Check the network, or use --init scratch."
        ) from error
    fill_from_imagenet(net, state)


def fill_from_imagenet(net: TumorNet, state: dict[str, torch.Tensor]) -> None:
    """Copy a torchvision ResNet-18 state dict into `net`; its classifier has no place here."""
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    state["conv1.weight"] = state["conv1.weight"].sum(dim=1, keepdim=True)
    missing, unexpected = net.load_state_dict(state, strict=False)
    own = ("score_", "pool.", "pixel_")
    wrong = [name for name in missing if not name.startswith(own)] + unexpected
    if wrong:
        raise ValueError(f"these are not torchvision's ResNet-18 weights: {', '.join(wrong[:3])} …")
