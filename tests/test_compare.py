"""The rebuilt systems are what they claim to be, and stand in one table under one rule."""

import dataclasses
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

from model import NO_TUMOR
from model.artifact import FILES
from tests.server import write_random_weights
from training import benchmark
from training.data.frames import LABELS, Dataset, Record
from training.data.phantoms import write_phantom_dataset
from training.evaluation import compare
from training.evaluation.baselines import BASELINES, Baseline, flip_rotate_shift, from_imagenet, tinyvgg
from training.evaluation.card import section
from training.evaluation.compare import NAMES, epochs_within, main
from training.evaluation.comparison_figures import figures, latency
from training.evaluation.fit_baseline import Budget, Squares, answer, as_served, file_bytes, fit_baseline
from training.losses import PARTIAL
from training.settings import Settings

PARAMETERS = {
    # Keras's tutorial prints 3,989,285 with five outputs of the last 128
    "keras_cnn": 3_989_285 - 4 * 129,
    # torchvision's table: 5,288,548, of which 1,281,000 are the classifier of a thousand
    "efficientnet_b0": 5_288_548 - 1_281_000 + 1280 * 4 + 4,
    "alexnet": (121 * 96 + 96)
    + (25 * 96 * 256 + 256)
    + (9 * 256 * 384 + 384)
    + (9 * 384 * 384 + 384)
    + (9 * 384 * 256 + 256)
    + (9216 * 4096 + 4096)
    + (4096 * 4096 + 4096)
    + (4096 * 4 + 4),
    "two_convolutions": (9 * 32 + 32) + (9 * 32 * 64 + 64) + (57_600 * 128 + 128) + (128 * 64 + 64) + (64 + 1),
    "tinyvgg": (27 * 10 + 10) + 3 * (90 * 10 + 10) + (53 * 53 * 10 * 4 + 4),
}
CPU = torch.device("cpu")
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


def squares(labels: list[int], seed: int = 0) -> Squares:
    """Noise whose brightness tells the label."""
    images = torch.randint(0, 40, (len(labels), 8, 8), generator=torch.Generator().manual_seed(seed))
    return Squares((images + 50 * torch.tensor(labels)[:, None, None].clamp(max=3)).byte(), torch.tensor(labels))


@pytest.mark.parametrize("name", BASELINES)
def test_each_network_has_the_parameters_of_its_layer_table_and_fits_its_input(name):
    baseline = BASELINES[name]
    with torch.device("meta"):
        net = baseline.layers()
        logits = net(torch.empty(2, baseline.channels, baseline.size, baseline.size))
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]
    assert logits.shape == (2, baseline.outputs)
    pixels = baseline.prepare(torch.full((2, baseline.size, baseline.size), 255, dtype=torch.uint8), training=True)
    assert pixels.shape == (2, baseline.channels, baseline.size, baseline.size) and pixels.max() < 3


def test_tinyvgg_of_64_pixels_and_three_classes_has_the_known_8083_parameters():
    assert sum(parameter.numel() for parameter in tinyvgg(64, 3).parameters()) == 8_083


def test_a_binary_answer_is_a_probability_of_tumor_and_of_none():
    probabilities = BASELINES["keras_cnn"].probabilities(torch.tensor([[0.0], [40.0]]))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    assert probabilities[0, NO_TUMOR] == 0.5 and probabilities[1, NO_TUMOR] < 1e-6


def test_augmentation_moves_the_head_and_leaves_what_comes_in_black():
    torch.manual_seed(0)
    head = torch.zeros(16, 1, 32, 32)
    head[..., 12:20, 12:20] = 1
    moved = flip_rotate_shift(head)
    assert moved.shape == head.shape and moved.min() >= 0 and moved.max() <= 1
    assert (moved != head).any(dim=(1, 2, 3)).all() and moved[..., 0, 0].max() == 0


def test_the_same_steps_give_the_same_network_and_time_nothing():
    training, validation = squares([0, 1, 2, 3] * 20), squares([0, 1, 2, 3] * 5, seed=1)
    (net, trained), (again, _) = (
        fit_baseline(SMALL, training, validation, Budget(steps=8), seed=3, device=CPU) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert trained["steps"] == 8 and trained["seconds"] is None and trained["passes"] == 3.2


def test_four_class_systems_learn_without_tumors_of_unknown_type_and_binary_ones_with_them():
    training = squares([0, 1, 2, 3, PARTIAL] * 10)
    _, four = fit_baseline(SMALL, training, training, Budget(steps=2), seed=0, device=CPU)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    binary = dataclasses.replace(SMALL, binary=True, layers=lambda: layers)
    _, two = fit_baseline(binary, training, training, Budget(steps=2), seed=0, device=CPU)
    assert (four["images"], two["images"]) == (40, 50)


def test_the_best_check_is_kept_and_a_system_that_gets_worse_stops_early():
    training = squares([0, 1, 2, 3] * 20)
    against = Squares(training.images, 3 - training.labels)  # whatever is learned makes it worse
    hasty = dataclasses.replace(SMALL, patience=2)
    net, trained = fit_baseline(hasty, training, against, Budget(steps=80), seed=0, device=CPU)
    assert trained["stopped_early"] and trained["steps"] == 80 * trained["best_at"] + 20
    first, _ = fit_baseline(SMALL, training, against, Budget(steps=80), seed=0, device=CPU)
    torch.testing.assert_close(answer(SMALL, net, training.images), answer(SMALL, first, training.images))


def test_l2_is_on_the_dense_layers_but_the_last():
    with torch.device("meta"):
        net = BASELINES["two_convolutions"].layers()
    decayed, free = BASELINES["two_convolutions"].optimizer(net).param_groups
    assert [tuple(weight.shape) for weight in decayed["params"]] == [(128, 57_600), (64, 128)]
    assert decayed["weight_decay"] == 0.002 and free["weight_decay"] == 0 and len(free["params"]) == 8


def test_without_a_network_efficientnet_starts_at_random_and_says_so(monkeypatch):
    def unreachable(*_, **__):
        assert socket.getdefaulttimeout() is not None
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    assert from_imagenet(nn.Linear(1, 1)) == "random: no network" and socket.getdefaulttimeout() is None


def test_quantized_linears_make_the_file_a_quarter_and_change_the_answer_little():
    torch.manual_seed(0)
    baseline = dataclasses.replace(SMALL, quantized=True)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 4)).eval()
    served, images = as_served(baseline, net), squares([0, 1, 2, 3]).images
    assert file_bytes(served) < 0.35 * file_bytes(net)
    difference = answer(baseline, served, images) - answer(baseline, net, images)
    assert 0 < difference.abs().max() < 0.05 * answer(baseline, net, images).abs().max()


def test_binary_figures_are_those_of_tumor_against_none_and_no_others():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    probabilities = rng.dirichlet(np.ones(4), 200)
    records = [Record(Path(), str(k), LABELS[label], group=str(k // 2)) for k, label in enumerate(labels)]
    dataset = Dataset(Path(), records)
    four, binary = figures(probabilities, dataset, False), figures(probabilities, dataset, True)
    same = ("auc_tumor", "sensitivity_tumor", "specificity_tumor", "f2_tumor", "f1_tumor", "accuracy_tumor")
    assert all(four[name]["value"] == pytest.approx(binary[name]["value"]) for name in same)
    assert "macro_f1" in four and not {"accuracy", "macro_f1", "f2_macro"} & binary.keys()
    tumor, seen = labels != NO_TUMOR, probabilities[:, NO_TUMOR] <= 0.5
    assert four["f1_tumor"]["value"] == pytest.approx(f1_score(tumor, seen))
    assert four["f1_tumor"]["low"] < four["f1_tumor"]["value"] < four["f1_tumor"]["high"]


def test_our_epochs_fill_the_budget_and_larger_images_cost_what_their_pixels_cost():
    even = Settings(size=160, smallest_size=160)
    assert [epochs_within(seconds, 10, 160, even) for seconds in (5, 10, 39, 40)] == [1, 1, 3, 4]
    growing = Settings(size=160, smallest_size=64)
    assert epochs_within(120, 10, 64, growing) < epochs_within(120, 10, 64, dataclasses.replace(growing, size=64))


def test_ours_trains_for_the_epochs_that_a_first_one_says_will_fit(tmp_path, monkeypatch):
    runs = []

    def fit(settings, resume):
        runs.append(settings)
        line = {"size": 160, "seconds": 30.0}
        Path(settings.out).mkdir(parents=True)
        (Path(settings.out) / "history.jsonl").write_text(json.dumps(line) + "\n")

    monkeypatch.setattr(compare, "fit", fit)
    monkeypatch.setattr(compare, "train", lambda settings, resume: runs.append(settings))
    nothing = Dataset(tmp_path, [])
    protocol = compare.Splits("vendor", tmp_path, nothing, nothing, nothing)
    monkeypatch.setattr(compare, "image_size_at", lambda *_: 160)
    compare.train_ours(protocol, Budget(minutes=2), "scratch", 7, tmp_path / "runs")
    assert [run.epochs for run in runs] == [1, 4] and runs[1].warmup_epochs < 1
    assert {(run.seed, run.init, run.copies, run.phantoms) for run in runs} == {(7, "scratch", "keep", 0)}


# ---- the command, on drawn heads


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, Path]:
    """A pool with its manifest, the same images as a vendor lays them out, and as an external set with sequences."""
    root = tmp_path_factory.mktemp("data")
    pool = write_phantom_dataset(root / "pool", per_class=8, seed=5, size=64)
    head, *rows = (pool / "manifest.csv").read_text().splitlines()
    (root / "external").mkdir()
    lines = ["path,label,group,sequence"]
    for row in rows:
        path, label, _, group, split, *_ = row.split(",")
        folder = root / "vendor" / ("Testing" if split == "test" else "Training") / label
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pool / path, folder)
        lines.append(f"../pool/{path},{label},{group},{'T1' if label == 'notumor' else 'T1C+'}")
    (root / "external" / "manifest.csv").write_text("\n".join(lines))
    return {name: root / name for name in ("pool", "vendor", "external")}


def command(data: dict[str, Path], out: Path, *more: str) -> list[str]:
    folders = [text for name, folder in data.items() for text in (f"--{name}", str(folder))]
    return [*folders, "--out", str(out), "--steps", "3", "--threads", "1", *more]


@pytest.fixture
def small_and_few(monkeypatch):
    """TinyVGG at 64 px, and as many threads afterwards as before: the command sets its own."""
    small = dataclasses.replace(BASELINES["tinyvgg"], size=64, layers=lambda: tinyvgg(64))
    monkeypatch.setitem(BASELINES, "tinyvgg", small)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("small_and_few")
def test_three_steps_fill_the_table_and_the_same_command_goes_on_where_it_was(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "comparison.json"
    assert main(command(data, out, "--only", "two_convolutions")) == 0
    assert main(command(data, out, "--only", "two_convolutions", "tinyvgg")) == 0
    result = json.loads(out.read_text())
    done = {(row["system"], row["protocol"]) for row in result["rows"]}
    assert done == {(name, split) for name in ("two_convolutions", "tinyvgg") for split in ("pool", "vendor")}
    row = next(row for row in result["rows"] if row["system"] == "tinyvgg")
    assert row["trained"]["steps"] == 3 and row["size"]["input"] == "64 px, color"
    assert set(row["external"]["auc_by_sequence"]) == {"T1C+"} and row["test"]["n"] > 0
    assert result["latency"] == {} and str(tmp_path) not in out.read_text()

    leaking = next(row["test"]["auc_tumor"]["value"] for row in result["rows"] if row["protocol"] == "vendor")
    honest = next(row["test"]["auc_tumor"]["value"] for row in result["rows"] if row["protocol"] == "pool")
    assert 0 <= min(leaking, honest) and max(leaking, honest) <= 1

    printed = capsys.readouterr().out
    for said in ("TinyVGG", "95", "not measured", "compare nothing"):
        assert said in printed
    monkeypatch.setattr(compare, "fit_baseline", lambda *_: pytest.fail("was trained a second time"))
    assert main(command(data, out, "--only", "two_convolutions", "tinyvgg")) == 0
    assert json.loads(out.read_text()) == result


@pytest.mark.usefixtures("small_and_few")
def test_another_seed_or_data_set_does_not_join_a_table(data, tmp_path, capsys):
    out = tmp_path / "comparison.json"
    pool = {"pool": data["pool"]}
    assert main(command(pool, out, "--only", "two_convolutions")) == 0
    before = out.read_text()
    assert main(command(pool, out, "--only", "two_convolutions", "--seed", "1")) == 2
    assert "another seed" in capsys.readouterr().err and out.read_text() == before
    assert main(command({"pool": data["vendor"]}, out, "--only", "two_convolutions")) == 2
    assert "another pool" in capsys.readouterr().err


@pytest.mark.usefixtures("small_and_few")
def test_our_weights_stand_in_the_table_with_their_own_training_time(data, tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    write_random_weights(folder, temperature=1.0)
    training = {"settings": {"init": "mobilenet_v2.pt"}, "seconds": 3600.0, "epochs": 20}
    (folder / "metrics.json").write_text(json.dumps({"training": training}))
    monkeypatch.setattr(compare, "initialize", lambda *_: None)
    monkeypatch.setattr(compare, "train_ours", lambda *_: folder)
    out = tmp_path / "comparison.json"
    options = ["--only", "ours", "ours_full", "--weights", str(folder), "--vendor_weights", str(folder)]
    splits = {name: data[name] for name in ("pool", "vendor")}
    assert main(command(splits, out, *options)) == 0
    result = json.loads(out.read_text())
    assert [(row["protocol"], row["system"]) for row in result["rows"]] == [
        (split, name) for split in ("pool", "vendor") for name in ("ours", "ours_full")
    ]
    row = result["rows"][1]
    assert row["trained"] == {"start": "ImageNet", "seconds": 3600.0, "passes": 20}
    assert row["size"]["bytes"] == (folder / FILES["int8"]).stat().st_size
    assert "longer than the budget (60.0 min, 20 passes, from ImageNet)" in section("comparison", result)


@pytest.mark.usefixtures("small_and_few")
def test_where_our_network_cannot_start_nothing_is_trained_first(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "fit_baseline", lambda *_: pytest.fail("was trained"))
    assert main(command(data, tmp_path / "comparison.json", "--init", "no_such_file.pt")) == 2
    assert "no_such_file.pt" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--pool", "--steps"])
def test_impossible_commands_are_refused(missing, data, tmp_path):
    arguments = command({"pool": data["pool"]}, tmp_path / "comparison.json")
    place = arguments.index(missing)
    with pytest.raises(SystemExit):
        main(arguments[:place] + arguments[place + 2 :])


def test_every_system_is_timed_in_turns_as_it_is_served(monkeypatch):
    monkeypatch.setattr(benchmark, "ROUNDS", 2)
    assert set(latency(["two_convolutions", "tinyvgg"])) == {"two_convolutions", "tinyvgg"}
    assert set(NAMES) == {*BASELINES, "ours", "ours_full"}
