"""The exported network: a file that is read without trusting it, and computed alike by every processor.

Before ONNX Runtime sees a file it must have the sha256 that config.json names (model/artifact.py), carry its data
itself and use no operator beyond `OPERATORS`. Its protocol buffers are read here, so serving needs no ONNX package.

Without VNNI or AMX a processor adds products of uint8 and int8 in pairs, in 16 bits, where two large ones saturate.
Where an output of the graph shows this (`PROBE`), `Graph` makes the weights unsigned: then the sums are exact.
Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (U8S8 and saturation).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import onnxruntime

INPUT = "pixel_values"  # uint8 (1, 1, S, S): one framed slice
PROBE, PROBE_DEPTH = "products_of_255_and_127", 64  # output int32 (1, 1): so many of these products, added up
OPERATORS = frozenset(  # of what training/export writes
    ("Add", "Cast", "Clip", "Concat", "Conv", "Div", "DynamicQuantizeLinear", "MatMul", "MatMulInteger")
    + ("MatMulIntegerToFloat", "Mul", "QLinearConv", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "Reshape", "Resize")
    + ("Sigmoid", "Softmax", "Sqrt", "Sub", "Transpose")
)
LARGEST, MOST_NODES = 2**25, 500  # bytes, operators
NAMES_ALLOWED = {"operator": OPERATORS, "domain": frozenset(("", "com.microsoft"))}
# Fields that a graph of ours may have, by number, and the messages that some hold. Not among them: data outside the
# file (13 and 14 of a tensor), graphs in attributes, sparse tensors, functions, graphs for training.
# Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
FIELDS: dict[str, dict[int, str]] = {
    "model": dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14), "") | {7: "graph"},
    "graph": dict.fromkeys((2, 10, 11, 12, 13), "") | {1: "node", 5: "tensor"},
    "node": dict.fromkeys((1, 2, 3, 6), "") | {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), "") | {5: "tensor"},
    "tensor": dict.fromkeys((1, 2, 4, 5, 7, 8, 9, 12), ""),
}
TENSOR_TYPE, TENSOR_RAW = 2, 9
UINT8, INT8 = 2, 3  # values of TENSOR_TYPE
FIXED_BYTES = {1: 8, 5: 4}  # by wire type


class UntrustedGraph(ValueError):
    """A file that is no graph of ours; the message says what it holds."""


class Graph:
    """The graph in `content`, checked. Threads may share it: each call takes one core, the one of whoever calls.

    Args: `size` of the frames that it takes, in pixels; `outputs`, the names of those that it must have.
    Raises: `UntrustedGraph`.
    """

    def __init__(self, content: bytes, size: int, outputs: Sequence[str]):
        check(content)
        self.outputs = list(outputs)
        blank = np.zeros((size, size), np.uint8)
        try:
            self.session = _session(content)
            if not multiplies_exactly(self.session, blank):
                self.session = _session(with_unsigned_weights(content))
            answers = self.run(blank)
        except Exception as error:  # ONNX Runtime's own kinds derive from nothing narrower
            reason = str(error).strip().partition("\n")[0][:200]
            raise UntrustedGraph(f"ONNX Runtime cannot run it for {size} pixels ({reason})") from error
        for name, answer in zip(self.outputs, answers, strict=True):
            if answer.dtype != np.float32 or answer.shape[:1] != (1,) or not np.isfinite(answer).all():
                raise UntrustedGraph(f"its {name} is no finite number for one slice")

    def run(self, square: np.ndarray) -> list[np.ndarray]:
        """uint8 (size, size) -> each of `outputs`, float32 (1, ...)."""
        return self.session.run(self.outputs, {INPUT: square[None, None]})


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # slices are spread over the cores, not operators
    options.add_session_config_entry("session.load_model_format", "ONNX")  # by itself it takes other formats, too
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def multiplies_exactly(session: onnxruntime.InferenceSession, blank: np.ndarray) -> bool:
    """Whether products of uint8 and int8 do not saturate on this processor; True of a graph that has none (`PROBE`)."""
    if PROBE not in {output.name for output in session.get_outputs()}:
        return True
    (products,) = session.run([PROBE], {INPUT: blank[None, None]})
    return products.item() == PROBE_DEPTH * 255 * 127


def check(content: bytes) -> None:
    """Raises: `UntrustedGraph` for what is no ONNX file, and for whatever no graph of ours holds.

    This keeps out code and other files, but does not limit the memory that allowed operators take.
    """
    if len(content) > LARGEST:
        raise UntrustedGraph(f"it is larger than {LARGEST // 2**20} MB")
    try:
        kinds = Counter(kind for kind, _ in _messages(content, "model", 0, len(content)))
    except (LookupError, UnicodeDecodeError) as error:
        raise UntrustedGraph("it is no ONNX file, or not a whole one") from error
    if kinds["graph"] != 1 or not 0 < kinds["node"] <= MOST_NODES:
        raise UntrustedGraph(f"it has {kinds['graph']} graphs and {kinds['node']} operators")


def _messages(content: bytes, kind: str, start: int, end: int) -> Iterator[tuple[str, dict[int, slice]]]:
    """Each message in one of `kind`, itself last: its kind, and where in `content` its fields are (of several with
    one number, the last). Raises: `UntrustedGraph`, LookupError, UnicodeDecodeError.
    """
    places = {}
    for number, *place in _fields(content, start, end):
        if number not in FIELDS[kind]:
            raise UntrustedGraph(f"no graph of this program has {kind} field {number}")
        places[number] = slice(*place)
        inner = FIELDS[kind][number]
        if inner in NAMES_ALLOWED:
            name = content[places[number]].decode()
            if name not in NAMES_ALLOWED[inner]:
                raise UntrustedGraph(f"it uses the {inner} {name}")
        elif inner:
            yield from _messages(content, inner, *place)
    yield kind, places


def with_unsigned_weights(content: bytes) -> bytes:
    """The graph with every int8 tensor, zero points included, as uint8 and 128 higher: it computes the same."""
    turned = bytearray(content)
    for kind, places in _messages(content, "model", 0, len(content)):
        if kind == "tensor" and content[places[TENSOR_TYPE]] == bytes([INT8]):
            turned[places[TENSOR_TYPE]] = bytes([UINT8])
            numbers = np.frombuffer(content[places[TENSOR_RAW]], np.uint8)
            turned[places[TENSOR_RAW]] = (numbers ^ 128).tobytes()  # of two's complement: 128 more
    return bytes(turned)


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the content of each field of the message from `start` to `end`. Raises: IndexError.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    while start < end:
        tag, start = _varint(content, start)
        if tag & 7 == 0:
            stop = _varint(content, start)[1]
        elif tag & 7 == 2:
            length, start = _varint(content, start)
            stop = start + length
        else:
            stop = start + FIXED_BYTES[tag & 7]
        if stop > end:
            raise IndexError
        yield tag >> 3, start, stop
        start = stop


def _varint(content: bytes, start: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends. Raises: IndexError."""
    number = shift = 0
    while True:
        byte = content[start]
        number, shift, start = number | (byte & 127) << shift, shift + 7, start + 1
        if byte < 128:
            return number, start
        if shift > 63:
            raise IndexError
