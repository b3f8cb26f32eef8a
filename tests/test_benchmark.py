"""The benchmark runs, and its file sizes are the promised ones; its times are for a quiet machine, not for a test."""

import json

import pytest
import torch

from model.network import TumorNet
from tests.server import write_random_weights
from training import benchmark
from training.benchmark import main, table


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Two rounds, and this process's threads as they were."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(benchmark, "WARM_UP", 1)
    monkeypatch.setattr(benchmark, "RUNS", 2)
    monkeypatch.setattr(benchmark, "VOLUME_ROUNDS", (0, 2))
    monkeypatch.setattr(benchmark, "SLICES", 3)
    yield
    torch.set_num_threads(threads)


def test_weights_are_timed_beside_the_others(tmp_path, capsys):
    weights = str(write_random_weights(tmp_path, temperature=1.0))
    assert main(["--weights", weights, "--threads", "1", "--json", str(tmp_path / "speed.json")]) == 0
    report = json.loads((tmp_path / "speed.json").read_text())
    rows = {row["key"]: row for row in report["rows"]}
    assert set(rows) == {"int8", "fp32", "efficientnet_b0", "predict"}
    assert rows["int8"]["to_int8"] == 1 and all(0 < row["median_ms"] <= row["p95_ms"] for row in rows.values())
    assert report["bytes"]["int8"] <= 0.30 * report["bytes"]["fp32"]
    volume = report["volume"]
    assert (volume["slices"], volume["runs"]) == (3, 2) and volume["seconds"] > 0
    assert volume["to_one_by_one"] == pytest.approx(volume["seconds"] / volume["one_by_one_seconds"], abs=0.05)
    assert table(report) in capsys.readouterr().out and report["threads"] == 1


def test_missing_weights_end_with_a_sentence_and_code_2(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


@torch.inference_mode()
def test_the_fp32_opponent_computes_what_the_trained_form_does():
    torch.manual_seed(0)
    net = TumorNet().train()
    net(torch.randint(0, 256, (8, 1, 64, 64)))
    images = torch.randint(0, 256, (2, 1, 64, 64))
    expected = net.eval()(images).logits
    folded = benchmark.without_batch_norm(net)
    torch.testing.assert_close(folded(images).logits, expected, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
