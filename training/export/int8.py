"""Float32 graph -> int8 graph, quantized dynamically: what no ReLU6 bounds has its range taken anew for each slice.

Such ranges survive another hospital's contrast. ONNX Runtime's `quantize_dynamic` makes ConvInteger of each
convolution, five times slower than float32. Hence this rewriting:

- What ReLU6 bounds lies on a grid that is known beforehand: 0..255 in steps of 6 / 255, zero at 0. A convolution with
  a ReLU6 becomes QLinearConv, which writes that grid; its saturation is the ReLU6.
- A block's output, which nothing bounds, passes through DynamicQuantizeLinear. QLinearConv wants the bias in units of
  (input scale x weight scale): for such an input it is computed in the graph. A cast that drops the fraction of an
  int32 is off by less than one unit of the sum, where a step of the output is hundreds.
- A block's last, 1x1 convolution becomes MatMulIntegerToFloat, which writes float32 at once.
- All of it is channels-last, as both operators compute fastest; what stays float32 is transposed to and from it.

Weights have one scale for each output channel, w = scale x q, q in -127..127.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.graph import PROBE, PROBE_DEPTH

STEP = np.float32(6 / 255)  # of the grid that ReLU6 bounds
LEAST_SCALE = 2.0**-16  # of a channel, beside its bias, which then is below 2**31 units if the input's range is 0.01
MICROSOFT = "com.microsoft"  # domain of the operators that ONNX Runtime has beyond the standard
GEOMETRY = ("strides", "pads", "group")
Quantized = tuple[str, str, str]  # names of a uint8 tensor, its scale and its zero point


def quantize_rows(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 (rows, ...) -> int8 of that shape in -127..127, float32 scales (rows,): weight ~ scale * int8.

    A scale is large enough for the `bias` (rows,) to fit 32 bits in its units, even beside weights of next to nothing.
    """
    scale = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1) / 127, np.abs(bias) * LEAST_SCALE)
    scale = np.maximum(scale, 1e-12).astype(np.float32)
    rows = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return rows.clip(-127, 127).astype(np.int8), scale


def dynamic_int8(float_model: onnx.ModelProto, in_float: Sequence[str]) -> onnx.ModelProto:
    """The same graph with its convolutions in int8, but for those whose weights' names begin with one of `in_float`.

    It has one more output, `PROBE`, which tells whether a processor multiplies int8 exactly (model/graph.py).
    """
    rewriting = _Rewriting(float_model.graph, tuple(in_float))
    for node in float_model.graph.node:
        rewriting.take(node)
    model = onnx.ModelProto()
    model.CopyFrom(float_model)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(rewriting.nodes)
    used = {name for node in rewriting.nodes for name in node.input}
    everything = [*float_model.graph.initializer, *rewriting.initializers]
    model.graph.initializer.extend(tensor for tensor in everything if tensor.name in used)
    model.graph.output.append(helper.make_tensor_value_info(PROBE, TensorProto.INT32, [1, 1]))
    model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return model


class _Rewriting:
    """One pass over the nodes of a float graph, in their order."""

    def __init__(self, graph: onnx.GraphProto, in_float: tuple[str, ...]):
        self.in_float = in_float
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.users = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self.users[name].append(node)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.channels_last: dict[str, str] = {}  # tensor of the float graph -> its channels-last counterpart, float32
        self.quantized: dict[str, Quantized] = {}  # tensor of the float graph -> its channels-last counterpart, uint8
        self.is_there = {value.name for value in graph.input} | set(self.weights)  # tensors of the float graph
        self.grid = self.constant("relu6.step", STEP), self.constant("relu6.zero", np.uint8(0))
        self.weight_zero = self.constant("weight.zero", np.int8(0))
        steepest = np.full((1, PROBE_DEPTH), 255, np.uint8), np.full((PROBE_DEPTH, 1), 127, np.int8)
        factors = [self.constant(f"{PROBE}.{k}", factor) for k, factor in enumerate(steepest)]
        self.add("MatMulInteger", factors, PROBE)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def add(self, operator: str, inputs: list[str], *outputs: str, domain: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]

    def take(self, node: onnx.NodeProto) -> None:
        """Add what does the work of `node`."""
        if node.op_type == "Conv" and not node.input[1].startswith(self.in_float):
            self.convolution(node)
        elif node.op_type == "Clip" and node.output[0] in self.quantized:
            pass  # the convolution before it has done its work
        elif node.op_type == "Add" and all(name in self.channels_last for name in node.input):
            inputs = [self.channels_last[name] for name in node.input]
            self.channels_last[node.output[0]] = self.add("Add", inputs, f"{node.output[0]}.last")
        else:
            for name in node.input:
                self.need_channels_first(name)
            self.nodes.append(node)
            self.is_there.update(node.output)

    def convolution(self, node: onnx.NodeProto) -> None:
        name = node.input[1].removesuffix(".weight")
        bias = self.weights[node.input[2]]
        rows, scale = quantize_rows(self.weights[node.input[1]], bias)
        (after, *more) = self.users[node.output[0]]
        if after.op_type == "Clip" and not more:
            inputs = self.quantize(node.input[0])
            in_units = self.bias_in_units(name, bias / scale, inputs)
            weight = self.constant(f"{name}.int8", rows), self.constant(f"{name}.scale", scale), self.weight_zero
            geometry = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in GEOMETRY}
            last = {"domain": MICROSOFT, "channels_last": 1}
            out = self.add("QLinearConv", [*inputs, *weight, *self.grid, in_units], f"{name}.out", **geometry, **last)
            self.quantized[after.output[0]] = out, *self.grid
        else:
            if rows.shape[2:] != (1, 1) or node.input[0] not in self.quantized:
                raise ValueError(f"{name} is no 1x1 convolution after a ReLU6: keep it in float32")
            inputs, step, zero = self.quantized[node.input[0]]
            weight = self.constant(f"{name}.int8", rows[:, :, 0, 0].T)
            scales = step, self.constant(f"{name}.scale", scale), zero, self.weight_zero
            factors = [inputs, weight, *scales, self.constant(f"{name}.bias", bias)]
            out = self.add("MatMulIntegerToFloat", factors, f"{name}.out", domain=MICROSOFT)
            self.channels_last[node.output[0]] = out

    def quantize(self, name: str) -> Quantized:
        """The uint8 counterpart of a tensor of the float graph: on the known grid, or on one of its own range."""
        if name not in self.quantized:
            if name not in self.channels_last:
                self.channels_last[name] = self.add("Transpose", [name], f"{name}.last", perm=[0, 2, 3, 1])
            counterpart = f"{name}.uint8", f"{name}.step", f"{name}.zero"
            self.add("DynamicQuantizeLinear", [self.channels_last[name]], *counterpart)
            self.quantized[name] = counterpart
        return self.quantized[name]

    def bias_in_units(self, name: str, bias: np.ndarray, inputs: Quantized) -> str:
        """`bias` (over the weights' scales) over the scale of the `inputs`, int32: as QLinearConv wants it."""
        _, step, zero = inputs
        if (step, zero) == self.grid:
            return self.constant(f"{name}.bias.units", np.round(bias / STEP).astype(np.int32))
        scaled = self.constant(f"{name}.bias.scaled", bias.astype(np.float32))
        over = self.add("Div", [scaled, step], f"{name}.bias.float")
        return self.add("Cast", [over], f"{name}.bias.units", to=TensorProto.INT32)

    def need_channels_first(self, name: str) -> None:
        """Make a tensor of the float graph out of its channels-last counterpart, if it has only that."""
        if name and name not in self.is_there:
            if name not in self.channels_last:
                raise ValueError(f"{name} is int8, and a float32 layer needs it: keep what makes it in float32")
            self.add("Transpose", [self.channels_last[name]], name, perm=[0, 3, 1, 2])
            self.is_there.add(name)
