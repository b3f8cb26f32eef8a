"""The benchmark runs, and compares what it says it compares; its times are for a quiet machine, not for a test."""

import json
from types import SimpleNamespace

import pytest
import torch

from model.artifact import FILES
from model.graph import with_unsigned_weights
from training import benchmark
from training.benchmark import TumorNet, installed, main, pair, prepare, take_turns


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """This process's threads stay as they were, and nothing waits."""
    before = torch.get_num_threads()
    monkeypatch.setattr(benchmark, "PAUSE", 0)
    yield
    torch.set_num_threads(before)


def test_every_network_is_measured_and_what_is_printed_is_what_is_written(classifier, monkeypatch, tmp_path, capsys):
    int8 = (classifier.folder / FILES["int8"]).read_bytes()  # in place of our float32 graph, which takes long to make
    monkeypatch.setattr(benchmark, "float_graph", lambda *_: SimpleNamespace(SerializeToString=lambda: int8))
    main(["--only", "inference", "--quick", "--threads", "2", "--json", str(tmp_path / "speed.json")])
    report = json.loads((tmp_path / "speed.json").read_text())
    rows = {row.pop("what"): row for row in report["networks"]}
    other = "MobileNetV3-small, 224 px"
    ours, *_ = names = ["ours, int8, 160 px", "ours, float32, 160 px", other, f"{other}, PyTorch"]
    assert list(rows) == names and report["threads"] == [1, 2]
    for name, row in rows.items():
        assert row["ratio"] == pytest.approx([a / b for a, b in zip(rows[ours]["ms"], row["ms"], strict=True)]), name
        assert min(*row["ms"], *row["ratio"], row["start_s"], row["file_mb"]) > 0
        assert row["peak_mb"] > 300 if "PyTorch" in name else not row["peak_mb"] > 200, "each holds its own alone"
    printed = capsys.readouterr().out
    for one in report["pairs"]:
        assert one["ratio"] == pytest.approx(one["ours"] / one["theirs"]) and f"| {one['what']} |" in printed
    assert all(f"| {name} |" in printed for name in names)


def test_both_ways_train_the_same_network_on_images_of_one_size(monkeypatch, tmp_path, capsys):
    seen = []

    class Watched(TumorNet):
        def forward(self, images):
            seen.append((self.frozen, *images.shape))
            return super().forward(images)

    monkeypatch.setattr(benchmark, "TumorNet", Watched)
    main(["--only", "training", "--quick", "--threads", "1", "--json", str(tmp_path / "speed.json")])
    report = json.loads((tmp_path / "speed.json").read_text())
    assert set(seen) == {(0, 2, 1, 64, 64), (4, 2, 1, 64, 64)} and not report["networks"]
    assert {one["what"] for one in report["pairs"]} >= {
        f"training, 64 px, batch 2, {layers}, float32" for layers in ("all layers", "first 4 parts frozen")
    }
    assert "ordinary way" in capsys.readouterr().out


def test_all_take_turns_and_a_ratio_is_the_median_of_those_within_a_round():
    turns = []
    timed = take_turns({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=11)
    assert turns == ["a", "b"] * (2 + 11) and [len(of) for of in timed.values()] == [11, 11]
    quiet_then_busy = pair("", "", "", [1, 2, 30], [2, 4, 90])
    assert (quiet_then_busy["ratio"], quiet_then_busy["ours"], quiet_then_busy["theirs"]) == (0.5, 2, 4)


def test_the_graph_that_is_timed_is_the_one_that_this_processor_is_served_with(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "float_graph", lambda *_: SimpleNamespace(SerializeToString=lambda: b""))
    signed = (classifier.folder / FILES["int8"]).read_bytes()
    found = []
    for depth in (benchmark.PROBE_DEPTH, 1):  # as if its products had saturated: they are those of a smaller sum
        monkeypatch.setattr(benchmark, "PROBE_DEPTH", depth)
        prepare(tmp_path, classifier, [])
        found.append((tmp_path / "int8.onnx").read_bytes())
    assert found[1] == with_unsigned_weights(signed) and found[0] in (signed, found[1])


def test_what_is_installed_counts_each_file_once_with_extras_and_without_what_is_not_asked_for(tmp_path, monkeypatch):
    needs = {"one": ["two[more]; python_version > '3'", "absent; python_version < '3'"], "three": ["one"], "four": []}
    needs["two"] = ["three; extra == 'more'", "four; extra == 'other'"]
    for name, lines in needs.items():
        (tmp_path / f"{name}.py").write_bytes(bytes(1000))
        about = tmp_path / f"{name}-1.dist-info"
        about.mkdir()
        required = "".join(f"Requires-Dist: {line}\n" for line in lines)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{required}")
        (about / "RECORD").write_text(f"{name}.py,,\nshared.py,,\nlost.py,,\n")
    (tmp_path / "shared.py").write_bytes(bytes(500))
    monkeypatch.syspath_prepend(tmp_path)
    assert installed(["two"]) == 0.0015 and installed(["one"]) == 0.0035 and installed(["four", "one>=1"]) == 0.0045
