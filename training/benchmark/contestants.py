"""The networks whose speed is compared, and how each is opened from its file. No library is imported before its turn.

Ours at the size that ships, in int8 and in float32, as it is served; the others are torchvision's, in eager PyTorch and
in ONNX Runtime, float32, at their own size, EfficientNet-B0 at ours, too. What they have learned does not matter here.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

OTHERS = {  # torchvision's name -> the title
    "efficientnet_b0": "EfficientNet-B0",
    "resnet50": "ResNet-50",
    "mobilenet_v3_small": "MobileNetV3-small",
    "convnext_tiny": "ConvNeXt-Tiny",
}
SIZE = 224  # pixels of theirs
AT_OUR_SIZE = "efficientnet_b0"
SLICE = 512  # pixels of a slice on its way through `TumorClassifier.predict`
EXPORT_ERROR = 1e-3  # of an exported network's outputs, in parts of the largest: another network misses by more
INSTALL = "pip install -r requirements-benchmark.txt"


@dataclass(frozen=True)
class Contestant:
    key: str
    what: str
    runtime: str  # served | network | predict: ours, see `open_ours`; eager | onnx
    file: str
    size: int  # pixels of its input
    precision: str = "fp32"
    name: str = ""  # torchvision's

    def open(self, threads: int) -> Callable[[int], Callable[[], object]]:
        """Read the file; returns what makes a call of a number of images."""
        runtimes = {"eager": open_eager, "onnx": open_onnx}
        return runtimes.get(self.runtime, open_ours)(self, threads)


def open_ours(one: Contestant, threads: int) -> Callable[[int], Callable[[], object]]:
    """`served`: each slice on a core of its own, as the page has it; `network`: all slices in one call that is spread
    over the threads; `predict`: from a slice of 512 px to the answer.
    """
    import torch

    from model.classifier import TumorClassifier

    torch.set_num_threads(threads)
    classifier = TumorClassifier(Path(one.file).parent, one.precision)

    def call(batch: int) -> Callable[[], object]:
        images = np.random.default_rng(0).integers(0, 256, (batch, one.size, one.size), dtype=np.uint8)
        if one.runtime == "predict":
            return lambda: classifier.predict(list(images))
        if one.runtime == "served":
            return lambda: classifier.outputs(images)
        tensor = torch.from_numpy(images)[:, None]
        return torch.inference_mode()(lambda: classifier.net(tensor))

    return call


def open_eager(one: Contestant, threads: int) -> Callable[[int], Callable[[], object]]:
    import torch
    import torchvision
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    net = torchvision.models.get_model(one.name, weights=None).eval()
    net.load_state_dict(load_file(one.file))

    def call(batch: int) -> Callable[[], object]:
        images = torch.from_numpy(color_images(batch, one.size))
        return torch.inference_mode()(lambda: net(images))

    return call


def open_onnx(one: Contestant, threads: int) -> Callable[[int], Callable[[], object]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(one.file, options, providers=["CPUExecutionProvider"])
    (fed,) = session.get_inputs()

    def call(batch: int) -> Callable[[], object]:
        gray = np.random.default_rng(0).integers(0, 256, (batch, 1, one.size, one.size), dtype=np.uint8)
        images = color_images(batch, one.size) if one.name else gray
        return lambda: session.run(None, {fed.name: images})

    return call


def color_images(batch: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).random((batch, 3, size, size), dtype=np.float32)


def has_onnx() -> bool:
    """Whether requirements-benchmark.txt is installed."""
    return all(find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))


def prepare(weights: Path, scratch: Path, with_onnx: bool) -> list[Contestant]:
    """Write the files of all contestants to `scratch`, but our int8 one, which is that of `weights`.

    Raises: DamagedWeights; ValueError if an exported network does not compute what it should.
    """
    import torch

    from model.artifact import CONFIG, FILES, load_trained, read_config, read_tensors, save_weights

    size, int8, net = read_config(weights)["size"], str(weights / FILES["int8"]), load_trained(weights)
    tensors = read_tensors(weights, "int8").items()
    extras = {name.removeprefix("extra."): tensor for name, tensor in tensors if name.startswith("extra.")}
    shutil.copy(weights / CONFIG, scratch)
    fp32 = str(save_weights(net, extras, scratch, "fp32"))
    made = [
        Contestant("int8", f"ours, int8, {size} px", "served", int8, size, "int8"),
        Contestant("int8_network", f"ours, int8, {size} px, one call on all threads", "network", int8, size, "int8"),
        Contestant("fp32", f"ours, fp32, {size} px", "served", fp32, size),
    ]
    if with_onnx:
        gray = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
        file = export(net, gray, scratch / "ours.onnx")
        made.append(Contestant("fp32_onnx", f"ours, fp32, {size} px, ONNX Runtime", "onnx", file, size))
    made += [one for name in OTHERS for one in prepare_other(name, size, scratch, with_onnx)]
    return [*made, Contestant("predict", f"ours, {SLICE} px slice to answer", "predict", int8, SLICE, "int8")]


def prepare_other(name: str, our_size: int, scratch: Path, with_onnx: bool) -> list[Contestant]:
    """One of torchvision's networks, in every runtime and size."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).eval()
    file, made = scratch / f"{name}.safetensors", []
    save_file(net.state_dict(), file)
    for px in (SIZE, our_size) if name == AT_OUR_SIZE else (SIZE,):
        key, title = name if px == SIZE else f"{name}_{px}", f"{OTHERS[name]}, fp32, {px} px"
        made.append(Contestant(key, title, "eager", str(file), px, name=name))
        if with_onnx:
            exported = export(net, torch.from_numpy(color_images(2, px)), scratch / f"{key}.onnx")
            made.append(Contestant(f"{key}_onnx", f"{title}, ONNX Runtime", "onnx", exported, px, name=name))
    return made


def export(net: "torch.nn.Module", images: "torch.Tensor", file: Path) -> str:
    """Write `net` for batches of any size in ONNX, and check what comes out of ONNX Runtime for `images`."""
    import onnxruntime
    import torch

    any_batch = ({0: torch.export.Dim.DYNAMIC},)
    torch.onnx.export(net, (images,), file, dynamo=True, external_data=False, dynamic_shapes=any_batch, verbose=False)
    with torch.inference_mode():
        expected = net(images)
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    for one, other in zip(got, expected, strict=True):
        if not np.allclose(one, other.numpy(), rtol=0, atol=EXPORT_ERROR * other.abs().max().item()):
            raise ValueError(
                f"{file.name} does not compute in ONNX Runtime what it does in PyTorch. Nothing was timed."
            )
    return str(file)
