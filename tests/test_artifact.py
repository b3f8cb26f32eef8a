"""A weights folder on disk and back: what is damaged, swapped or not ours is refused with a sentence."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file

from model import graph as graph_module
from model.artifact import CONFIG, FILES, FORMAT_VERSION, OURS, TRAINED, DamagedWeights, read_config, write_config
from model.classifier import TumorClassifier
from model.graph import MOST_NODES, UntrustedGraph, check
from tests.server import change_config, write_random_weights
from training.network import TumorNet, initialize


@pytest.fixture
def folder(tmp_path):
    return write_random_weights(tmp_path, temperature=1.0)


def replace_graph(folder, content: bytes) -> None:
    """As someone would who can write to the repository: config.json names the new file, too."""
    (folder / FILES["int8"]).write_bytes(content)
    change_config(folder, sha256={FILES["int8"]: hashlib.sha256(content).hexdigest()})


def graph_of(folder) -> onnx.ModelProto:
    return onnx.load_from_string((folder / FILES["int8"]).read_bytes())


def test_config_is_what_transformers_reads_and_ours_is_nested(folder):
    config = json.loads((folder / CONFIG).read_text())
    assert config["id2label"] == {"0": "glioma", "1": "meningioma", "2": "pituitary tumor", "3": "no tumor"}
    assert config["label2id"]["no tumor"] == 3 and config["model_type"] == OURS
    assert "temperature" not in config and config[OURS] == read_config(folder)
    write_config(folder, read_config(folder) | {"temperature": 1.25})
    assert read_config(folder) == config[OURS] | {"temperature": 1.25}


def flip_one_bit(folder):
    content = bytearray((folder / FILES["int8"]).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / FILES["int8"]).write_bytes(content)


DAMAGES = {
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "broken config": lambda folder: (folder / CONFIG).write_text("{"),
    "list": lambda folder: (folder / CONFIG).write_text("[]"),
    "no size": lambda folder: (folder / CONFIG).write_text(json.dumps({OURS: {"format_version": FORMAT_VERSION}})),
    "older format": lambda folder: change_config(folder, format_version=3),
    "newer format": lambda folder: change_config(folder, format_version=99),
    "other classes": lambda folder: change_config(folder, classes=["yes", "no"]),
    "other size": lambda folder: change_config(folder, size=128),
    "half an operating point": lambda folder: change_config(folder, operating_point={"sensitivity": 1.0}),
    "no weights": lambda folder: (folder / FILES["int8"]).unlink(),
    "cut weights": lambda folder: (folder / FILES["int8"]).write_bytes((folder / FILES["int8"]).read_bytes()[:-1000]),
    "one bit": flip_one_bit,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_artifacts_are_refused_with_a_sentence(folder, damage):
    DAMAGES[damage](folder)
    words = {"older format": "this program reads format 4. Take newer weights", "newer format": "Update it"}
    with pytest.raises(DamagedWeights, match=words.get(damage, "") + r".*\.$"):
        TumorClassifier.from_folder(folder)


def with_node(operator: str, output: str = "c", **attributes):
    """A change: one more operator."""
    return lambda model: model.graph.node.append(helper.make_node(operator, ["a", "b"], [output], **attributes))


def external_data(model):
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../secret")


def training_graph(model):
    model.training_info.add().algorithm.CopyFrom(helper.make_graph([helper.make_node("Loop", [], ["c"])], "g", [], []))


INNER = helper.make_graph([], "inner", [], [])
EXTERNAL = TensorProto(data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
FOREIGN = {  # what the refusal names -> the change
    "the operator Loop": with_node("Loop", body=INNER),
    "attribute field 6": with_node("Add", body=INNER),
    "the domain evil.example": with_node("Add", domain="evil.example"),
    "tensor field 13": external_data,
    "tensor field 14": with_node("Add", value=EXTERNAL),
    "model field 25": lambda model: model.functions.append(helper.make_function("f", "g", ["x"], ["x"], [], [])),
    "graph field 15": lambda model: model.graph.sparse_initializer.add(),
    "model field 20": training_graph,
    "operators": lambda model: [with_node("Add", f"c{k}")(model) for k in range(MOST_NODES)],
}


@pytest.mark.parametrize("named", FOREIGN)
def test_a_graph_with_more_in_it_than_ours_is_refused_wherever_that_stands(folder, named):
    model = graph_of(folder)
    FOREIGN[named](model)
    with pytest.raises(UntrustedGraph, match=named):
        check(model.SerializeToString())
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])  # what was last is first
    replace_graph(folder, model.SerializeToString())
    with pytest.raises(DamagedWeights, match=f"do not fit this program: .*{named}.*Copy the folder again"):
        TumorClassifier.from_folder(folder)


def test_graphs_that_would_be_merged_are_refused(folder):
    """A message that comes twice is merged by whoever reads it: neither may hide behind the other."""
    content = (folder / FILES["int8"]).read_bytes()
    with pytest.raises(UntrustedGraph, match="2 graphs"):
        check(content + content)


def test_what_onnx_runtime_reads_as_another_format_is_not_loaded(folder, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "other.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(folder / FILES["int8"]), options)
    other = (tmp_path / "other.ort").read_bytes()
    assert other[4:8] == b"ORTM"
    onnxruntime.InferenceSession(other)  # by itself it would
    with pytest.raises(Exception, match="(?i)protobuf"):
        graph_module._session(other)


@pytest.mark.parametrize("answer", ["NaN", "two slices", "no logits", "float64"])
def test_a_graph_that_answers_otherwise_is_refused(folder, answer):
    model = graph_of(folder)
    if answer == "no logits":
        (output,) = (output for output in model.graph.output if output.name == "logits")
        model.graph.output.remove(output)
    else:
        (last,) = (node for node in model.graph.node if "logits" in node.output)
        last.output[list(last.output).index("logits")] = "before"
        if answer == "NaN":
            model.graph.initializer.append(numpy_helper.from_array(np.float32(np.nan), "nan"))
            model.graph.node.append(helper.make_node("Mul", ["before", "nan"], ["logits"]))
        elif answer == "two slices":
            model.graph.node.append(helper.make_node("Concat", ["before", "before"], ["logits"], axis=0))
        else:
            model.graph.node.append(helper.make_node("Cast", ["before"], ["logits"], to=TensorProto.DOUBLE))
    replace_graph(folder, model.SerializeToString())
    with pytest.raises(DamagedWeights, match="do not fit this program: .*Copy the folder again"):
        TumorClassifier.from_folder(folder)


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a graph", b"\xff" * 200, bytes([0x3A, 0xFF, 0xFF, 0x03])])
def test_what_is_no_graph_at_all_is_refused(folder, content):
    replace_graph(folder, content)
    with pytest.raises(DamagedWeights, match="Copy the folder again"):
        TumorClassifier.from_folder(folder)


def test_a_cut_graph_never_gets_past_the_check_as_another_one(folder):
    content = (folder / FILES["int8"]).read_bytes()
    for length in range(1, len(content), len(content) // 97):
        with pytest.raises(UntrustedGraph):
            check(content[:length])


def test_fine_tuning_starts_from_the_very_network(folder):
    net = TumorNet()
    initialize(net, str(folder))
    saved = load_file(folder / TRAINED)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("damage", ["missing", "cut", "swapped", "other network"])
def test_fine_tuning_refuses_damaged_weights(folder, damage):
    file = folder / TRAINED
    match damage:
        case "missing":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[:-10])
        case "swapped":
            save_file({"a": torch.zeros(3)}, file)
        case "other network":
            save_file({"a": torch.zeros(3)}, file)
            change_config(folder, sha256={TRAINED: hashlib.sha256(file.read_bytes()).hexdigest()})
    with pytest.raises(DamagedWeights, match="Copy the weights folder again"):
        initialize(TumorNet(), str(folder))
