"""Several processes train what one would, and outlive the loss of one of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torchrun_training import draw_batch
from training import train
from training.data.phantoms import write_phantom_dataset
from training.settings import Settings

REPOSITORY = Path(__file__).parents[1]
# In the first epoch the head alone is trained: BatchNorm has no statistics of a part then. Losses that are means over
# some of the images, not all, differ between a batch and its parts.
SETTINGS = {"size": 32, "smallest_size": 32, "epochs": 2, "batch": 8, "phantoms": 0, "init": "scratch", "dropout": 0.0}
SETTINGS |= {"learning_rate": 0.03, "warmup_epochs": 0.0}
SETTINGS |= {"unfreeze_at": 0.5, "even_types": 0.0, "position_weight": 0.0, "log_every": 1, "save_minutes": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_phantom_dataset(folder / "phantoms", per_class=6, seed=5, size=64)
    return folder


def settings_of(folder: Path, name: str) -> Settings:
    return Settings(str(folder / "phantoms"), str(folder / name), cache=str(folder / "cache"), **SETTINGS)


def run(folder: Path, name: str, *more: str, killed: str = "-1 0") -> subprocess.CompletedProcess:
    places = {"data": folder / "phantoms", "out": folder / name, "cache": folder / "cache"}
    options = [f"--{option}={value}" for option, value in (SETTINGS | places).items()]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, "-m", "tests.torchrun_training", *options, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KILLED_IN_BATCH": killed}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)


def history(run: Path) -> list[dict]:
    lines = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def unbroken(folder) -> list[dict]:
    done = run(folder, "unbroken")
    assert done.returncode == 0, done.stderr
    return history(folder / "unbroken")


@pytest.fixture(scope="module")
def killed(folder) -> Path:
    """A run of two processes of which one was killed in the second batch of the second epoch."""
    done = run(folder, "killed", killed="1 4")
    assert done.returncode != 0
    message = next(line for line in done.stderr.splitlines() if line.startswith("training.train:"))
    assert "process 0 of 2 ended" in message and "start again with --resume" in message
    assert len(history(folder / "killed")) == 1
    return folder / "killed"


@pytest.fixture
def alone(monkeypatch):
    """One process trains as those of torchrun do."""
    monkeypatch.setattr(train, "draw_batch", draw_batch)
    monkeypatch.setattr(train, "bf16_is_fast", lambda device: False)


@pytest.mark.usefixtures("alone")
def test_two_processes_take_the_steps_of_one(folder, unbroken):
    one = history(train.fit(settings_of(folder, "one")))
    assert unbroken[0] == pytest.approx(one[0], rel=1e-4, nan_ok=True)


def test_two_processes_of_which_one_was_killed_are_resumed_to_the_last_digit(folder, unbroken, killed):
    shutil.copytree(killed, folder / "resumed")
    done = run(folder, "resumed", "--resume")
    assert "resumed at epoch 2, step 2" in done.stdout, done.stderr
    assert repr(history(folder / "resumed")) == repr(unbroken)  # NaN is not itself


@pytest.mark.usefixtures("alone")
def test_one_process_goes_on_with_a_run_of_two(folder, killed):
    shutil.copytree(killed, folder / "fewer")
    assert len(history(train.fit(settings_of(folder, "fewer"), resume=True))) == 2
    starts = json.loads((folder / "fewer" / "settings.json").read_text())["starts"]
    assert [start["processes"] for start in starts] == [2, 1]


def test_a_batch_that_cannot_be_shared_out_is_refused(folder, monkeypatch):
    monkeypatch.setattr(train, "COUNT", 3)
    with pytest.raises(ValueError, match="no 3 equal parts"):
        train.fit(settings_of(folder, "refused"))
