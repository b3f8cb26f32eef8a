"""Training, from drawn heads to an artifact that answers."""

import copy
import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from sklearn.metrics import f1_score, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import CLASSES
from model.artifact import FILES, read_config
from model.classifier import TumorClassifier
from model.scans import read
from tests.server import write_random_weights
from training import train
from training.checkpoint import load_checkpoint, score
from training.data.frames import DataError
from training.data.phantoms import write_phantom_dataset
from training.evaluation import studies
from training.evaluation.evaluate import main as evaluate_main
from training.export import refusal
from training.export.gate import FLOAT_PARTS
from training.losses import PARTIAL
from training.network import TumorNet, trained_in
from training.settings import Settings
from training.train import image_size_at, learning_rate_at, measure

TINY = {"size": 64, "smallest_size": 64, "epochs": 2, "batch": 8, "phantoms": 0, "log_every": 1, "frozen": 0}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("phantoms"), per_class=8, seed=5, size=64)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp("published"), temperature=1.0, size=64)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(phantoms, cache, tmp_path) -> Settings:
    return Settings(data=str(phantoms), out=str(tmp_path / "run"), cache=str(cache), init="scratch", **TINY)


@pytest.fixture(scope="module")
def unbroken(phantoms, start, cache, tmp_path_factory) -> Path:
    """The run folder of a finished training that started from weights of ours."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusal, "DRAWN", 24)
        patch.setattr(refusal, "DRAWN_SIZE", 64)
        patch.setattr(studies, "RESAMPLES", 2)
        train.train(Settings(data=str(phantoms), out=str(run), cache=str(cache), init=str(start), **TINY))
    return run


def without_times(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_train_quantize_evaluate_predict_on_drawn_heads(unbroken, phantoms, tmp_path):
    folder = unbroken / "weights"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"test", "quantization", "training", "weights_sha256"} <= metrics.keys()
    assert read_config(folder)["classes"] == list(CLASSES)
    assert str(unbroken.parents[1]) not in (folder / "metrics.json").read_text()  # nor where it started
    int8, fp32 = ((folder / FILES[precision]).stat().st_size for precision in ("int8", "fp32"))
    parts = metrics["quantization"]["parts_in_float"]  # a network that has hardly learned may end in float32 whole
    assert parts in FLOAT_PARTS and (int8 < fp32) == (parts < FLOAT_PARTS[-1])

    evaluate_main(["--weights", str(folder), "--data", str(phantoms), "--split", "test", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "metrics.json").read_text())["confusion"] == metrics["test"]["confusion"]
    slices = read(next(phantoms.rglob("*.png"))).slices
    int8, fp32 = (TumorClassifier.from_folder(folder, precision).predict(slices)[0] for precision in FILES)
    assert int8.probabilities == pytest.approx(fp32.probabilities, abs=0.02)
    assert sum(int8.probabilities.values()) == pytest.approx(1)


def test_tensorboard_shows_every_step_once(unbroken):
    board = EventAccumulator(str(unbroken / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    wanted = {"train/loss", "train/position_loss", "train/learning_rate", "val_recall_glioma", "val_ece"}
    assert wanted <= set(board.Tags()["scalars"])
    steps = [scalar.step for scalar in board.Scalars("train/loss")]
    assert steps == list(range(1, len(steps) + 1)) and [one.step for one in board.Scalars("val_ece")][-1] == steps[-1]


def test_a_run_that_sigterm_stops_is_saved_and_resumed_ends_as_the_unbroken_one(
    unbroken, settings, start, monkeypatch, capsys
):
    drawn = 0

    def terminated_in_second_epoch(training_set, chosen, epoch, settings):
        nonlocal drawn
        drawn += epoch
        if drawn == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw_batch(training_set, chosen, epoch, settings)

    draw_batch = train.draw_batch
    broken = dataclasses.replace(settings, init=str(start), log_every=20)
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(train, "draw_batch", terminated_in_second_epoch)
        train.fit(broken)
    assert stop.value.code == 0 and "stopped as asked in epoch 2, step 2" in capsys.readouterr().out
    resumed = train.fit(broken, resume=True)
    assert repr(without_times(resumed)) == repr(without_times(unbroken))  # NaN is not itself
    best, expected = (load_checkpoint(run / "best.pt") for run in (resumed, unbroken))
    assert all(torch.equal(best[name], expected[name]) for name in expected)


def test_a_started_run_is_never_overwritten(settings):
    Path(settings.out).mkdir()
    (Path(settings.out) / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(DataError, match="--resume"):
        train.train(settings)
    assert (Path(settings.out) / "checkpoint.pt").read_bytes() == b"hours of work"


@pytest.mark.parametrize("option", [{"folds": 3}, {"leave_out": "web"}, {"sources": "web"}])
def test_an_artifact_never_comes_from_a_split_that_evaluation_does_not_know(settings, option):
    with pytest.raises(ValueError, match="cross_validate"):
        train.train(dataclasses.replace(settings, **option))
    assert not Path(settings.out).exists()


def test_a_mistyped_folder_shows_before_training(settings):
    with pytest.raises(DataError, match="no image"):
        train.fit(dataclasses.replace(settings, not_brain="no/such/folder"))


def test_only_the_head_trains_until_the_body_is_unfrozen_and_random_weights_are_never_frozen(settings, monkeypatch):
    saved = []
    monkeypatch.setattr(train, "save_checkpoint", lambda state, file: saved.append((file.name, copy.deepcopy(state))))
    train.fit(dataclasses.replace(settings, unfreeze_at=0.5, frozen=4))
    torch.manual_seed(settings.seed)
    fresh = TumorNet(settings.dropout).state_dict()
    first, second = (state["net"] for name, state in saved if name == "checkpoint.pt" and not state["progress"]["step"])
    changed = {name for name, tensor in first.items() if not torch.equal(tensor, fresh[name])}
    assert changed and not [name for name in changed if name.startswith("features.")]
    for name in ("features.0.0.weight", "features.17.conv.2.weight"):
        assert not torch.equal(second[name], fresh[name])


def test_a_run_that_starts_from_an_artifact_stops_early_and_keeps_its_best_weights(settings, start, capsys):
    still = {"patience": 1, "epochs": 9, "learning_rate": 1e-9, "unfreeze_at": 1.0}
    run = train.fit(dataclasses.replace(settings, init=str(start), **still))
    lines = without_times(run)
    best = max(range(len(lines)), key=lambda k: score(lines[k]))
    assert len(lines) == best + 2 < 9 and "stopped early" in capsys.readouterr().out
    assert load_checkpoint(run / "checkpoint.pt")["progress"]["best_epoch"] == best + 1
    begun = load_checkpoint(run / "best.pt")["score_wide.weight"]
    torch.testing.assert_close(begun, trained_in(start)["score_wide.weight"], atol=1e-6, rtol=1e-5)


def test_checkpoints_refuse_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Bomb(), tmp_path / "bad.pt")
    with pytest.raises(Exception, match="[Ww]eights"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


def test_learning_rate_warms_up_and_ends_at_zero():
    rates = [learning_rate_at(step, 100, 10, 1e-3) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3) and rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_images_grow_to_full_size_by_the_middle_of_the_run():
    settings = Settings(size=160, smallest_size=96, epochs=20)
    sizes = [image_size_at(epoch, settings) for epoch in range(20)]
    assert sizes == sorted(sizes) and sizes[0] == 96 and set(sizes[10:]) == {160} and {s % 32 for s in sizes} == {0}


def test_figures_of_an_epoch_are_of_the_fully_labeled_and_of_all():
    torch.manual_seed(0)
    logits, labels = torch.randn(60, len(CLASSES)), torch.randint(0, PARTIAL + 1, (60,))
    measured, full = measure(logits, labels), labels != PARTIAL
    truth, predicted = labels[full], logits[full].argmax(1)
    recalls = recall_score(truth, predicted, average=None)
    assert [measured[f"val_recall_{name}"] for name in CLASSES] == pytest.approx(recalls.tolist())
    assert measured["val_macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert measured["val_accuracy"] == pytest.approx((truth == predicted).double().mean().item())
    assert score(measured) == pytest.approx((measured["val_macro_f1"] + measured["val_auc_tumor"]) / 2)


def test_what_the_validation_split_cannot_tell_is_no_number():
    measured = measure(torch.randn(4, len(CLASSES)), torch.zeros(4, dtype=torch.long))
    assert math.isnan(measured["val_auc_tumor"]) and math.isnan(measured["val_recall_notumor"])
    assert not math.isnan(measured["val_recall_glioma"]) and score(measured) == measured["val_macro_f1"]
