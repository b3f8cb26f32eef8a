"""Training, from drawn heads to an artifact that answers."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import CLASSES
from model.artifact import FILES, read_config
from model.classifier import TumorClassifier
from model.scans import read
from tests.server import write_random_weights
from training import train
from training.checkpoint import load_checkpoint
from training.data.frames import DataError
from training.data.phantoms import write_phantom_dataset
from training.evaluation.evaluate import main as evaluate_main
from training.export import brain_detector
from training.export.gate import FLOAT_PARTS
from training.initialize import trained_in
from training.network import TumorNet
from training.optimization import make_optimizer
from training.schedules import drops, image_size_at, learning_rate_at
from training.settings import Settings, parse_settings
from training.validate import score

REPOSITORY = Path(__file__).parents[1]
TINY = {"size": 64, "smallest_size": 64, "epochs": 3, "batch": 16, "phantoms": 0, "warmup_epochs": 0.5}
TINY |= {"init": "scratch", "frozen": 0}  # needs no network


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("phantoms"), per_class=12, seed=5, size=96)


@pytest.fixture
def settings(phantoms, tmp_path) -> Settings:
    return Settings(data=str(phantoms), out=str(tmp_path / "run"), cache=str(tmp_path / "cache"), **TINY)


@pytest.fixture(autouse=True)
def few_drawn_negatives(monkeypatch):
    monkeypatch.setattr(brain_detector, "DRAWN", 24)
    monkeypatch.setattr(brain_detector, "DRAWN_SIZE", 64)


def without_times(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_train_quantize_evaluate_predict_on_drawn_heads(settings, phantoms, tmp_path, capsys):
    folder = train.train(settings)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"test", "quantization", "training", "weights_sha256"} <= metrics.keys()
    assert read_config(folder)["classes"] == list(CLASSES)
    assert str(tmp_path) not in (folder / "metrics.json").read_text()
    int8, fp32 = ((folder / FILES[precision]).stat().st_size for precision in ("int8", "fp32"))
    parts = metrics["quantization"]["parts_in_float"]  # a network that has hardly learned may end in float32 whole
    assert parts in FLOAT_PARTS and (int8 < fp32) == (parts < FLOAT_PARTS[-1])

    report = tmp_path / "report"
    evaluate_main(["--weights", str(folder), "--data", str(phantoms), "--split", "test", "--out", str(report)])
    assert json.loads((report / "metrics.json").read_text())["confusion"] == metrics["test"]["confusion"]

    image = next(phantoms.rglob("*.png"))
    command = [sys.executable, "-m", "model", str(image), "--json", "--weights", str(folder)]
    (answer,) = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout)
    (prediction,) = TumorClassifier.from_folder(folder).predict(read(image).slices)
    assert answer["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-3)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_resumed_run_ends_as_the_unbroken_one(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "export", lambda run: run)
    unbroken = train.train(settings)

    class StopInStep(train.StopRequest):
        """Asks for a stop in the middle of the second epoch."""

        asked = 0

        @property
        def made(self):
            StopInStep.asked += 1
            return StopInStep.asked >= 5

    broken = dataclasses.replace(settings, out=str(tmp_path / "broken"))
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(train, "StopRequest", StopInStep)
        train.train(broken)
    assert stop.value.code == 0
    state = load_checkpoint(tmp_path / "broken" / "checkpoint.pt")
    assert state["progress"]["step"] > 0

    resumed = train.train(broken, resume=True)
    assert without_times(resumed) == without_times(unbroken)
    best, expected = (load_checkpoint(run / "best.pt") for run in (resumed, unbroken))
    assert all(torch.equal(best[name], expected[name]) for name in expected)


def test_sigterm_saves_and_exits_cleanly(settings):
    options = [f"--{name}={value}" for name, value in dataclasses.asdict(settings).items() if value != ""]
    options = [option for option in options if not option.startswith("--epochs")] + ["--epochs=500"]
    command = [sys.executable, "-m", "training.train", *options]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 300
    while not (Path(settings.out) / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "stopped as asked" in output
    state = load_checkpoint(Path(settings.out) / "checkpoint.pt")
    assert state["progress"]["step"] or state["progress"]["epoch"]


def test_a_started_run_is_never_overwritten(settings):
    Path(settings.out).mkdir()
    (Path(settings.out) / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(DataError, match="--resume"):
        train.train(settings)
    assert (Path(settings.out) / "checkpoint.pt").read_bytes() == b"hours of work"


def test_fine_tuning_starts_from_an_artifact(settings, tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    write_random_weights(folder, temperature=1.0)
    tuned = dataclasses.replace(settings, out=str(tmp_path / "tuned"), init=str(folder), learning_rate=1e-9, epochs=1)
    again = train.train(tuned)
    kept, begun = (trained_in(each)["score_wide.weight"] for each in (folder, again))
    torch.testing.assert_close(begun, kept, atol=1e-6, rtol=1e-5)
    assert str(tmp_path) not in (again / "metrics.json").read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--epochz", "3"],
        ["--epochs", "many"],
        ["--size", "100"],
        ["--copies", "some"],
        ["--batch", "0"],
        ["--compile", "no"],
        ["--unfreeze_at", "2"],
        ["--schedule", "sawtooth"],
        ["--plateau_factor", "1"],
        ["--plateau_patience", "-1"],
        ["--save_minutes", "-1"],
        ["--log_every", "0"],
        ["--decay", "none"],
        ["--class_weights", "1,2,3"],
        ["--class_weights", "0,0,0,0"],
        ["--class_weights", "1,1,nan,1"],
        ["--shards", "7"],
    ],
)
def test_unknown_or_impossible_settings_are_refused(options):
    with pytest.raises((SystemExit, ValueError)):
        parse_settings(["--data", "d", "--out", "o", *options], "")


def test_random_weights_are_never_frozen(settings):
    run = train.fit(dataclasses.replace(settings, frozen=4, epochs=1))
    torch.manual_seed(settings.seed)
    fresh, trained = TumorNet(settings.dropout).state_dict(), load_checkpoint(run / "best.pt")
    assert not torch.equal(trained["features.0.0.weight"], fresh["features.0.0.weight"])


@pytest.mark.parametrize("option", [{"folds": 3}, {"leave_out": "web"}, {"sources": "web"}])
def test_an_artifact_never_comes_from_a_split_that_evaluation_does_not_know(settings, option):
    with pytest.raises(ValueError, match="cross_validate"):
        train.train(dataclasses.replace(settings, **option))
    assert not Path(settings.out).exists()


def test_a_mistyped_folder_shows_before_training(settings):
    with pytest.raises(DataError, match="no image"):
        train.train(dataclasses.replace(settings, not_brain="no/such/folder"))


def test_checkpoints_refuse_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Bomb(), tmp_path / "bad.pt")
    with pytest.raises(Exception, match="[Ww]eights"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


def test_only_the_head_trains_until_the_body_is_unfrozen(settings):
    run = train.fit(dataclasses.replace(settings, unfreeze_at=1.0, epochs=1))
    torch.manual_seed(settings.seed)
    fresh, trained = TumorNet(settings.dropout).state_dict(), load_checkpoint(run / "best.pt")
    changed = {name for name, tensor in trained.items() if not torch.equal(tensor, fresh[name])}
    assert changed and not [name for name in changed if name.startswith("features.")]

    halfway = dataclasses.replace(settings, unfreeze_at=0.5, epochs=2, out=f"{settings.out}-halfway")
    trained = load_checkpoint(train.fit(halfway) / "checkpoint.pt")["net"]
    assert not torch.equal(trained["features.17.conv.2.weight"], fresh["features.17.conv.2.weight"])


def test_the_settings_of_older_recipes_steer_the_run_and_its_curves_are_seen(settings, capsys):
    older = {"schedule": "plateau", "plateau_patience": 0, "plateau_factor": 0.5, "decay": "l2", "epochs": 4}
    older |= {"class_weights": "balanced", "warmup_epochs": 0.0, "log_every": 1, "learning_rate": 1e-9}
    older |= {"unfreeze_at": 1.0}  # what BatchNorm has seen would go on moving the scores
    run = train.fit(dataclasses.replace(settings, **older), plot=True)
    lines = without_times(run)
    scores = [score(line) for line in lines]
    fallen = [drops(scores[:epoch], patience=0) for epoch in range(4)]
    assert fallen[3] > 0  # with such a rate no epoch is better than the one before
    assert [line["learning_rate"] for line in lines] == pytest.approx([1e-9 * 0.5**count for count in fallen])
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "recall, meningioma" in told and "images/s" in told

    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()
    wanted = {"train/loss", "train/position_loss", "train/learning_rate", "val_recall_glioma", "val_ece"}
    assert wanted <= set(board.Tags()["scalars"])
    assert len(board.Scalars("train/loss")) == board.Scalars("train/loss")[-1].step
    assert len(board.Images("evidence of a glioma")) == 4


def test_a_run_stops_early_and_keeps_its_best_weights(settings):
    run = train.fit(dataclasses.replace(settings, patience=1, epochs=9, learning_rate=1e-9, schedule="constant"))
    lines = without_times(run)
    best = max(range(len(lines)), key=lambda k: score(lines[k]))
    assert len(lines) == best + 2 < 9
    assert load_checkpoint(run / "checkpoint.pt")["progress"]["best_epoch"] == best + 1


def test_l2_is_a_penalty_in_the_gradient_and_decoupled_decay_is_not():
    net = TumorNet()
    shape = net.score_wide.weight.shape
    before = torch.linspace(-1, 1, shape.numel()).reshape(shape)  # none is near zero, where Adam's steps are shorter
    net.score_wide.weight.grad = torch.zeros_like(before)  # nothing but the decay moves it
    lost = {}
    for decay in ("l2", "decoupled"):
        net.score_wide.weight.data.copy_(before)
        make_optimizer(net, Settings(decay=decay, weight_decay=0.1, learning_rate=1e-3)).step()
        lost[decay] = before - net.score_wide.weight.detach()
    torch.testing.assert_close(lost["decoupled"], 1e-3 * 0.1 * before, atol=1e-9, rtol=1e-3)
    torch.testing.assert_close(
        lost["l2"], 1e-3 * before.sign(), atol=1e-5, rtol=1e-2
    )  # the length of Adam's first step


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_rate_falls_at_plateaus_as_pytorch_has_it(patience):
    scores = [0.1, 0.3, 0.3, 0.2, 0.3, 0.4, 0.4, 0.1, 0.2, 0.3, 0.39, 0.4, 0.41, 0.4, 0.4, 0.4, 0.4]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.5, patience, threshold=0)
    for count in range(1, len(scores) + 1):
        oracle.step(scores[count - 1])
        assert 0.5 ** drops(scores[:count], patience) == optimizer.param_groups[0]["lr"]


def test_learning_rate_warms_up_and_ends_at_zero():
    rates = [learning_rate_at(step, 100, 10, 1e-3) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3) and rates[100] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_other_schedules_keep_the_rate_after_the_warm_up(schedule):
    rates = [learning_rate_at(step, 100, 10, 1e-3, schedule) for step in range(101)]
    assert rates[:10] == [learning_rate_at(step, 100, 10, 1e-3) for step in range(10)] and set(rates[10:]) == {1e-3}


def test_images_grow_to_full_size_by_the_middle_of_the_run():
    settings = Settings(size=160, smallest_size=96, epochs=20)
    sizes = [image_size_at(epoch, settings) for epoch in range(20)]
    assert sizes == sorted(sizes) and sizes[0] == 96 and set(sizes[10:]) == {160} and {s % 32 for s in sizes} == {0}
