"""Trained network -> one float32 ONNX graph of all that an answer needs of a slice.

`torch.onnx.export` folds each BatchNorm into its convolution and keeps the parameters' names, which
`training/export/int8.py` and `with_parameters` go by.
"""

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from model.graph import INPUT

from ..network import TumorNet
from .refusal import BrainDetector, FeatureDistance

OUTPUTS = ("logits", "evidence", "brain_score", "distance", "features")


class AnsweringNet(nn.Module):
    """The network and what judges its features, for one slice."""

    def __init__(self, net: TumorNet, brain_detector: BrainDetector, distance: FeatureDistance):
        super().__init__()
        self.net, self.brain_detector, self.distance = net, brain_detector, distance

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """uint8 (1, 1, S, S) -> `OUTPUTS`, float32: logits (1, C), evidence (1, C, h, w), which sums to 1 in each
        class, brain score (1,), distance (1,), features (1, D).
        """
        out = self.net(pixel_values)
        return out.logits, out.shares, self.brain_detector(out.features), self.distance(out.features), out.features


def float_graph(net: TumorNet, size: int) -> onnx.ModelProto:
    """The graph of `AnsweringNet` for frames of `size` pixels; its brain detector lets everything through, and nothing
    is far. The batch is fixed at one slice, so that no answer can depend on its neighbors. `net` is on the CPU.
    """
    judges = BrainDetector(), FeatureDistance()
    for values in (buffer for judge in judges for buffer in judge.buffers()):
        values.uniform_(0.5, 0.9)  # to add 0, or to divide by 1, would be optimized away
    model = torch.onnx.export(
        AnsweringNet(net, *judges).eval(),
        (torch.zeros(1, 1, size, size, dtype=torch.uint8),),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamo=True,
        external_data=False,
        verbose=False,
    ).model_proto
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")  # which line of which file each node comes from
    del graph.value_info[:]
    with_parameters(model, "brain_detector", BrainDetector())
    with_parameters(model, "distance", FeatureDistance())
    return model


def with_parameters(model: onnx.ModelProto, name: str, module: nn.Module) -> None:
    """Give the initializers of `model` that were the parameters of its part `name` the values of `module`."""
    values = {f"{name}.{parameter}": tensor for parameter, tensor in module.state_dict().items()}
    for initializer in model.graph.initializer:
        if initializer.name in values:
            initializer.CopyFrom(numpy_helper.from_array(values.pop(initializer.name).numpy(), initializer.name))
    if values:
        raise ValueError(f"the graph has no {', '.join(values)}")
