"""The exported graphs against the network that they were exported from, and on other processors."""

import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from model.artifact import EMBEDDED
from model.classifier import RawOutputs, TumorClassifier
from model.graph import OPERATORS, PROBE, PROBE_DEPTH, Graph, _session, multiplies_exactly, with_unsigned_weights
from tests.server import REPOSITORY
from training.export import gate
from training.export.graph import AnsweringNet, float_graph, with_parameters
from training.export.int8 import dynamic_int8, quantize_rows
from training.export.refusal import BrainDetector, FeatureDistance
from training.network import FEATURES, TumorNet, trained_in

SIZE = 96


@pytest.fixture(scope="module")
def answering():
    """A network far from its first state, so that a slip in folding shows, and what judges its features."""
    torch.manual_seed(3)
    net = TumorNet().train()
    for _ in range(4):
        net(blobs(8, seed=4))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, std=0.2)
    for head in (net.score_fine, net.score_near, net.score_wide):
        torch.nn.init.normal_(head.weight, std=0.1)
        torch.nn.init.normal_(head.bias)
    net.pool.log_sharpness.data.uniform_(-0.5, 0.5)
    net.pool.no_tumor_logit.data.fill_(0.7)
    detector, distance = BrainDetector(), FeatureDistance()
    detector.weight.normal_(std=0.05)
    detector.bias.fill_(0.3)
    distance.mean.uniform_()
    distance.directions.copy_(torch.linalg.qr(torch.randn(FEATURES, distance.directions.shape[1]))[0])
    distance.variances.uniform_(1, 9)
    distance.variance.fill_(2.0)
    return AnsweringNet(net, detector, distance).eval()


@pytest.fixture(scope="module")
def graph(answering) -> onnx.ModelProto:
    graph = float_graph(answering.net, SIZE)
    with_parameters(graph, "brain_detector", answering.brain_detector)
    with_parameters(graph, "distance", answering.distance)
    return graph


def blobs(count: int, seed: int) -> torch.Tensor:
    """Smooth random images uint8 (count, 1, SIZE, SIZE): network-like input, unlike white noise."""
    coarse = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic")
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


def answers(content: bytes, images: torch.Tensor, turned: bool = False) -> RawOutputs:
    """`turned`: as unsigned weights, whatever this processor is."""
    graph = Graph(content, SIZE, RawOutputs._fields)
    graph.session = _session(with_unsigned_weights(content)) if turned else graph.session
    return RawOutputs(*map(np.concatenate, zip(*(graph.run(image.numpy()[0]) for image in images), strict=True)))


@torch.inference_mode()
def test_the_float_graph_is_the_trained_network(answering, graph):
    images = blobs(5, seed=6)
    got = answers(graph.SerializeToString(), images)
    for k, image in enumerate(images):
        for ours, expected in zip(got, answering(image[None]), strict=True):
            np.testing.assert_allclose(ours[k], expected[0].numpy(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("parts", [2, gate.FLOAT_PARTS[0], gate.FLOAT_PARTS[-1]])
def test_int8_logits_stay_within_five_percent_of_the_spread(graph, parts):
    images = blobs(16, seed=7)
    exact = answers(graph.SerializeToString(), images)
    int8 = answers(dynamic_int8(graph, gate.in_float(parts)).SerializeToString(), images)
    error = np.sqrt(np.mean((int8.logits - exact.logits) ** 2)) / exact.logits.std()
    assert error < (1e-5 if parts == gate.FLOAT_PARTS[-1] else 0.05)
    np.testing.assert_allclose(int8.evidence.sum((2, 3)), 1, atol=1e-5)


def test_ranges_are_taken_anew_for_each_slice(graph):
    """A slice of other contrast keeps the precision of its own range."""
    int8, images = dynamic_int8(graph, gate.in_float(3)).SerializeToString(), blobs(8, seed=8)
    for dimmer in (1, 8):
        dim = images // dimmer
        exact, got = answers(graph.SerializeToString(), dim), answers(int8, dim)
        assert np.sqrt(np.mean((got.features - exact.features) ** 2)) < 0.05 * exact.features.std()


def test_the_int8_graph_is_small_of_allowed_operators_and_tells_nothing_of_where_it_was_made(graph):
    int8 = dynamic_int8(graph, gate.in_float(gate.FLOAT_PARTS[0]))
    assert int8.ByteSize() <= 0.30 * graph.ByteSize()
    large = {tensor.name: tensor.data_type for tensor in int8.graph.initializer if np.prod(tensor.dims) > 10_000}
    assert large and set(large.values()) == {TensorProto.INT8}
    assert {node.op_type for model in (graph, int8) for node in model.graph.node} == OPERATORS
    for model in map(copy.deepcopy, (graph, int8)):
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # any three letters are in megabytes of numbers
        content = model.SerializeToString()
        assert str(REPOSITORY).encode() not in content and b".py" not in content


def test_unsigned_weights_give_the_same_digits(graph):
    content, images = dynamic_int8(graph, gate.in_float(3)).SerializeToString(), blobs(6, seed=9)
    kinds = {tensor.data_type for tensor in onnx.load_from_string(with_unsigned_weights(content)).graph.initializer}
    assert TensorProto.UINT8 in kinds and TensorProto.INT8 not in kinds
    if not multiplies_exactly(_session(content), np.zeros((SIZE, SIZE), np.uint8)):
        pytest.skip("this processor has no VNNI: the weights are turned already")
    for signed, unsigned in zip(answers(content, images), answers(content, images, turned=True), strict=True):
        np.testing.assert_array_equal(signed, unsigned)


def test_where_products_saturate_the_weights_are_turned(graph, monkeypatch):
    content, turned = dynamic_int8(graph, gate.in_float(3)).SerializeToString(), []
    monkeypatch.setattr("model.graph.with_unsigned_weights", lambda given: turned.append(given) or given)
    for exact in (True, False):
        monkeypatch.setattr("model.graph.multiplies_exactly", lambda *_, exact=exact: exact)
        Graph(content, SIZE, RawOutputs._fields)
        assert turned == ([] if exact else [content])


def test_a_probe_that_is_off_by_what_pairs_of_products_lose_is_not_exact(graph):
    model = dynamic_int8(graph, gate.in_float(3))
    (steep,) = (tensor for tensor in model.graph.initializer if tensor.name == f"{PROBE}.1")
    steep.CopyFrom(numpy_helper.from_array(np.full((PROBE_DEPTH, 1), 64, np.int8), steep.name))
    assert not multiplies_exactly(_session(model.SerializeToString()), np.zeros((SIZE, SIZE), np.uint8))


def test_channels_that_training_has_given_up_answer_their_bias(graph):
    """Their weights are next to nothing: in units of such a scale a bias would not fit 32 bits."""
    given_up, body = copy.deepcopy(graph), tuple(f"net.features.{k}." for k in range(5, 18))
    stored = {tensor.name: tensor for tensor in given_up.graph.initializer}
    for node in given_up.graph.node:
        if node.op_type == "Conv" and node.input[1].startswith(body):
            weight, bias = (numpy_helper.to_array(stored[name]).copy() for name in node.input[1:])
            for first, factor in enumerate((0, 1e-8, -0.5)):
                weight[first::12] *= factor
                bias[first::12] = 1
            for name, values in zip(node.input[1:], (weight, bias), strict=True):
                stored[name].CopyFrom(numpy_helper.from_array(values, name))
    images = blobs(8, seed=11)
    exact = answers(given_up.SerializeToString(), images).logits
    got = answers(dynamic_int8(given_up, gate.in_float(3)).SerializeToString(), images).logits
    assert np.sqrt(np.mean((got - exact) ** 2)) < 0.05 * exact.std()


def test_rows_are_quantized_to_half_a_step():
    weight = np.random.default_rng(5).normal(size=(5, 4, 10, 1)) * np.array([1e-6, 0.1, 1, 10, 0])[:, None, None, None]
    rows, scale = quantize_rows(weight.astype(np.float32), np.zeros(5))
    assert rows.dtype == np.int8 and np.abs(rows).max() == 127
    assert (np.abs(rows * scale[:, None, None, None] - weight) <= scale[:, None, None, None] / 2 + 1e-9).all()


def test_what_cannot_be_int8_is_said(graph):
    with pytest.raises(ValueError, match="keep what makes it in float32"):
        dynamic_int8(graph, [gate.HEADS, "net.features.2.conv.1.", *gate.in_float(2)])


def raw(logits) -> RawOutputs:
    nothing = np.zeros(len(logits), np.float32)
    return RawOutputs(np.asarray(logits, np.float32), nothing, nothing, nothing, nothing)


def test_the_gate_stops_what_costs_and_takes_images_that_define_no_figure():
    rng = np.random.default_rng(0)
    labels, same = np.arange(400) % 4, np.zeros(400, bool)
    fp32 = raw(rng.normal(size=(400, 4)) + 4 * np.eye(4)[labels])
    worse = fp32.logits.copy()
    worse[:8] = np.roll(worse[:8], 1, axis=1)  # eight wrong answers
    error = rng.normal(size=(400, 4))
    for int8, refused, passes in [
        (fp32.logits + 0.01 * error, same, True),
        (fp32.logits + 0.5 * error, same, False),
        (worse, same, False),
        (fp32.logits, np.arange(400) < 3, False),
    ]:
        assert gate.holds(gate.fidelity(raw(int8), fp32, labels, (refused, same))) == passes
    assert gate.holds(gate.fidelity(fp32, raw(worse), labels, (same, same)) | {"logit_error": 0.0})  # better is well
    found = gate.fidelity(raw(np.eye(4)[:3]), raw(np.eye(4)[:3]), np.array([4, 4, 4]), (same, same))
    assert gate.holds(found) and "auc_loss" not in found and "macro_f1_loss" not in found


def test_the_shipped_graph_is_the_shipped_network():
    """What fine-tuning starts from is what answers, as far as int8 goes."""
    net = TumorNet()
    net.load_state_dict(trained_in(EMBEDDED))
    rng = np.random.default_rng(2)
    frames = np.stack([np.kron(rng.integers(0, 256, (10, 10)), np.ones((16, 16))) for _ in range(6)]).astype(np.uint8)
    with torch.inference_mode():
        expected = net.eval()(torch.from_numpy(frames)[:, None]).logits.numpy()
    got = TumorClassifier.from_folder(EMBEDDED).outputs(frames).logits
    assert np.sqrt(np.mean((got - expected) ** 2)) < 0.1 * expected.std()


def test_a_processor_without_vnni_gives_the_same_answers():
    if not (emulator := shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")):
        pytest.skip("needs qemu-x86_64 (Debian's qemu-user)")
    program = [sys.executable, "-m", "tests.golden"]
    here, there = (
        json.loads(subprocess.run([*before, *program], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout)
        for before in ([], [emulator, "-cpu", "Haswell"])
    )
    assert there["turned"] and not there["exact"], "an emulated Haswell has no VNNI"
    assert here["turned"] == (not here["exact"])
    np.testing.assert_allclose(there["logits"], here["logits"], atol=1e-5)  # float32 sums may differ in order
    np.testing.assert_allclose(there["brain_score"], here["brain_score"], atol=1e-6)
