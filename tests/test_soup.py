"""The mean of several runs."""

import json

import pytest
import torch

from model.network import TumorNet
from training.checkpoint import load_checkpoint, save_checkpoint
from training.phantoms import write_phantom_dataset
from training.soup import main, mean_history, mean_state

SETTINGS = {"size": 64, "smallest_size": 64, "phantoms": 0, "init": "scratch", "frozen": 0}


@pytest.fixture
def runs(tmp_path):
    """Two runs of different seeds, never trained."""
    data = write_phantom_dataset(tmp_path / "phantoms", per_class=8, seed=5, size=64)
    folders = []
    for seed in (0, 1):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        torch.manual_seed(seed)
        save_checkpoint(TumorNet().state_dict(), folder / "best.pt")
        settings = SETTINGS | {"data": str(data), "seed": seed, "out": str(folder), "cache": str(tmp_path / "cache")}
        (folder / "settings.json").write_text(json.dumps({"settings": settings, "data_fingerprint": "same"}))
        (folder / "history.jsonl").write_text(json.dumps({"epoch": 1, "seconds": 10.0 + seed}) + "\n")
        folders.append(folder)
    return folders


def test_the_mean_lies_between_the_runs_and_counters_stay_whole():
    first, second = TumorNet().state_dict(), TumorNet().state_dict()
    first["features.0.1.num_batches_tracked"] += 7
    mean = mean_state([first, second])
    weight = "features.0.0.weight"
    torch.testing.assert_close(mean[weight], (first[weight] + second[weight]) / 2)
    assert mean["features.0.1.num_batches_tracked"] == 7


def test_histories_are_averaged_and_their_seconds_added():
    lines = mean_history([[{"loss": 1.0, "seconds": 5}, {"loss": 0.5, "seconds": 9}], [{"loss": 3.0, "seconds": 6}]])
    assert lines == [{"loss": 2.0, "seconds": 11}]


def test_a_soup_is_a_run_folder_that_says_what_went_in(runs, tmp_path, capsys):
    out = tmp_path / "soup"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    net = TumorNet()
    net.load_state_dict(load_checkpoint(out / "best.pt"))
    averaged = json.loads((out / "settings.json").read_text())["averaged"]
    assert [entry["seed"] for entry in averaged] == [0, 1]
    assert json.loads((out / "history.jsonl").read_text())["seconds"] == 21
    assert capsys.readouterr().out.count("macro_f1") == 3


def test_runs_of_other_settings_or_data_are_not_averaged(runs, tmp_path, capsys):
    facts = json.loads((runs[1] / "settings.json").read_text())
    facts["settings"]["epochs"] = 99
    (runs[1] / "settings.json").write_text(json.dumps(facts))
    assert main([*map(str, runs), "--out", str(tmp_path / "soup")]) == 2
    assert "seed" in capsys.readouterr().err
