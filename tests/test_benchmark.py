"""The benchmark runs, and its file sizes are the promised ones; its times are for a quiet machine, not for a test."""

import json

import pytest
import torch
from training.benchmark.__main__ import main
from training.benchmark.table import table

from tests.server import write_random_weights
from training.benchmark import alone, contestants, inference, training_step, turns
from training.phantoms import write_phantom_dataset


@pytest.fixture(autouse=True)
def few_and_small(monkeypatch):
    """One small opponent, rounds by the handful, and this process's threads as they were."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(contestants, "OTHERS", {"mobilenet_v3_small": "MobileNetV3-small"})
    monkeypatch.setattr(contestants, "AT_OUR_SIZE", "mobilenet_v3_small")
    monkeypatch.setattr(inference, "QUICK", {1: (0, 2), 2: (0, 1)})
    monkeypatch.setattr(inference, "SLICES", 3)
    monkeypatch.setattr(turns, "PAUSE", 0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return str(write_random_weights(tmp_path_factory.mktemp("weights"), temperature=1.0))


def test_weights_are_timed_beside_the_others(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(inference, "measure", lambda one, threads, batch: {"peak_mb": 7 * batch, "load_ms": 5.0})
    monkeypatch.setattr(inference, "has_onnx", lambda: False)  # exports are tested below, and take seconds each
    options = ["--weights", weights, "--threads", "1", "--only", "inference", "--quick"]
    assert main([*options, "--json", str(tmp_path / "speed.json")]) == 0
    report = json.loads((tmp_path / "speed.json").read_text())
    rows = {(row["key"], row["batch"]): row for row in report["rows"]}
    theirs = {"mobilenet_v3_small", "mobilenet_v3_small_160"}
    keys = {"int8", "int8_network", "fp32", "predict"} | theirs
    assert set(rows) == {(key, batch) for key in keys for batch in (1, 2)}
    for (key, batch), row in rows.items():
        assert 0 < row["median_ms"] <= row["p95_ms"] and row["peak_mb"] == 7 * batch
        assert row["to_int8"] == pytest.approx(row["median_ms"] / rows["int8", batch]["median_ms"], abs=1e-3), key
        assert row["images_per_second"] == pytest.approx(1000 * batch / row["median_ms"], abs=0.1)
    assert report["bytes"]["int8"] <= 0.30 * report["bytes"]["fp32"] and report["threads"] == 1
    volume = report["volume"]
    assert volume["to_one_by_one"] == pytest.approx(volume["seconds"] / volume["one_by_one_seconds"], abs=0.05)
    assert table(report) in capsys.readouterr().out


def test_what_is_exported_to_onnx_computes_the_same_or_is_not_timed(tmp_path):
    if not contestants.has_onnx():
        pytest.skip("needs requirements-benchmark.txt")

    class Net(torch.nn.Module):
        def __init__(self, changes: float):
            super().__init__()
            self.changes = changes  # when exported: stands for whatever an exporter might get wrong

        def forward(self, x):
            return 2 * x + (self.changes if torch.compiler.is_exporting() else 0.0)

    images = torch.rand(2, 3, 8, 8)
    file = contestants.export(Net(0.0).eval(), images, tmp_path / "same.onnx")
    doubled, *_ = contestants.Contestant("net_onnx", "a net", "onnx", file, 8, name="net").open(threads=1)(5)()
    torch.testing.assert_close(torch.from_numpy(doubled), 2 * torch.from_numpy(contestants.color_images(5, 8)))
    with pytest.raises(ValueError, match="Nothing was timed"):
        contestants.export(Net(1.0).eval(), images, tmp_path / "changed.onnx")


def test_a_process_of_its_own_tells_loading_time_and_memory(weights):
    if not alone.memory.FOUND:
        pytest.skip("Linux alone tells peaks of memory")
    ours = contestants.Contestant("int8", "ours", "served", f"{weights}/model.safetensors", 160, "int8")
    told = alone.measure(ours, threads=1, batch=1)
    assert told["load_ms"] > 0 and 50 < told["peak_mb"] < 5000
    lost = contestants.Contestant("lost", "a lost one", "onnx", f"{weights}/none.onnx", 160)
    with pytest.raises(ValueError, match="a lost one could not be run"):
        alone.measure(lost, threads=1, batch=1)


def test_missing_weights_end_with_a_sentence_and_code_2(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none"), "--only", "inference"]) == 2
    assert "none" in capsys.readouterr().err


def test_both_ways_train_and_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_step, "QUICK", (1, 1))
    monkeypatch.setattr(training_step.os, "cpu_count", lambda: 0)  # workers of the ordinary way
    small = training_step.Settings
    monkeypatch.setattr(training_step, "Settings", lambda **given: small(size=64, smallest_size=64, frozen=15, **given))
    data = write_phantom_dataset(tmp_path / "heads", per_class=4, seed=5, size=96)
    options = ["--only", "training", "--quick", "--data", str(data), "--batch=4", "--threads=1"]
    assert main([*options, "--json", str(tmp_path / "speed.json")]) == 0
    report = json.loads((tmp_path / "speed.json").read_text())["training"]
    names = [row["what"] for row in report["rows"]]
    assert [name for name in names if name.startswith("ordinary")] == [
        "ordinary, all layers trained",
        "ordinary, the first 15 parts frozen",
    ]
    speed = {row["what"]: row["images_per_second"] for row in report["rows"]}
    for row in report["rows"]:
        ordinary = f"ordinary, {row['what'].split(', ')[1]}"
        assert row["times_ordinary"] == speed[row["what"]] / speed[ordinary]
    assert "times the ordinary way" in capsys.readouterr().out
