"""The exported network: a file that is read without trusting it, and computed alike by every processor.

An ONNX file is a protocol buffer, whose wire format takes a few lines to read, so serving needs no ONNX package. Before
ONNX Runtime sees a file it must have the sha256 that config.json names (model/artifact.py), carry its data itself and
use no operator beyond `OPERATORS`.

Without VNNI or AMX a processor adds products of uint8 and int8 in pairs, in 16 bits, where two large ones saturate.
Unsigned weights are not multiplied that way: the same numbers shifted by 128 give the same sums on every processor,
where there is VNNI more slowly. An output of the graph shows which is the case (`PROBE`); `open_session` turns the
weights where it must, so that everybody gets the same digits.
Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html (U8S8 and saturation).
"""

from collections.abc import Iterator

import numpy as np
import onnxruntime

PROBE, PROBE_DEPTH = "products_of_255_and_127", 64  # output int32 (1, 1): so many of these products, added up
OPERATORS = frozenset(  # of what training/export writes
    ("Add", "Cast", "Clip", "Concat", "Conv", "Div", "DynamicQuantizeLinear", "MatMul", "MatMulInteger")
    + ("MatMulIntegerToFloat", "Mul", "QLinearConv", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "Reshape", "Resize")
    + ("Sigmoid", "Softmax", "Sqrt", "Sub", "Transpose")
)
DOMAINS = frozenset(("", "com.microsoft"))
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
Field = tuple[int, int, int]  # number, where its content begins, where it ends


class UntrustedGraph(ValueError):
    """A file that is no graph of ours; the message, for the log, says what it holds."""


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """The graph in `content`, checked, to be run by as many threads as like, each on one core of its own.

    Raises: `UntrustedGraph`.
    """
    check(content)
    session = _session(content)
    if PROBE in {output.name for output in session.get_outputs()} and not _multiplies_exactly(session):
        session = _session(with_unsigned_weights(content))
    return session


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # slices are spread over the cores, not operators
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle server takes no processor
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds derive from it alone
        raise UntrustedGraph(f"ONNX Runtime does not load it: {error}") from error


def _multiplies_exactly(session: onnxruntime.InferenceSession) -> bool:
    (pixels,) = session.get_inputs()
    (products,) = session.run([PROBE], {pixels.name: np.zeros(pixels.shape, np.uint8)})
    return products.item() == PROBE_DEPTH * 255 * 127


def check(content: bytes) -> None:
    """Raises: `UntrustedGraph` for what is no ONNX file, and for whatever no graph of ours holds."""
    try:
        if not any(kind == "node" for kind, _ in _messages(content, "model", 0, len(content))):
            raise UntrustedGraph("it is empty")
    except (IndexError, UnicodeDecodeError) as error:
        raise UntrustedGraph("it is no ONNX file, or not a whole one") from error


def _messages(content: bytes, kind: str, start: int, end: int) -> Iterator[tuple[str, dict[int, slice]]]:
    """Each message in one of `kind`, itself last: its kind, and where in `content` its fields are (of several with
    one number, the last). Raises: `UntrustedGraph`, IndexError, UnicodeDecodeError.
    """
    places = {}
    for number, *place in _fields(content, start, end):
        if number not in FIELDS[kind]:
            raise UntrustedGraph(f"field {number} of a {kind} is nothing that its graph should have")
        places[number] = slice(*place)
        match FIELDS[kind][number]:
            case "operator" | "domain" as what:
                name = content[places[number]].decode()
                if name not in (OPERATORS if what == "operator" else DOMAINS):
                    raise UntrustedGraph(f"it uses the {what} {name}")
            case "":
                pass
            case inner:
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


def _fields(content: bytes, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that `content` holds from `start` to `end`. Raises: IndexError where it is broken.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    while start < end:
        tag, start = _varint(content, start)
        match tag & 7:
            case 0:
                stop = _varint(content, start)[1]
            case 1:
                stop = start + 8
            case 2:
                length, start = _varint(content, start)
                stop = start + length
            case 5:
                stop = start + 4
            case _:
                raise IndexError
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
