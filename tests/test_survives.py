"""Whatever ends a run, what it had saved is whole, and a sentence says how to go on. Kills: see tests/survival.py."""

import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from training import train
from training.checkpoint import load_checkpoint, open_run, save_checkpoint, write_whole
from training.data.phantoms import write_phantom_dataset
from training.settings import Settings

TINY = {"size": 64, "smallest_size": 64, "epochs": 2, "batch": 16, "phantoms": 0, "init": "scratch", "log_every": 1}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    return write_phantom_dataset(tmp_path_factory.mktemp("phantoms"), per_class=12, seed=5, size=96)


@pytest.fixture(scope="module")
def begun(phantoms, tmp_path_factory) -> Settings:
    """A run that was stopped after the first step of its second epoch."""
    root = tmp_path_factory.mktemp("begun")
    settings = Settings(data=str(phantoms), out=str(root / "run"), cache=str(root / "cache"), **TINY)

    class StopInSecondEpoch(train.StopRequest):
        @property
        def made(self):
            return (root / "run" / "history.jsonl").exists()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(train, "StopRequest", StopInSecondEpoch)
        train.fit(settings)
    assert load_checkpoint(root / "run" / "checkpoint.pt")["progress"]["epoch"] == 1
    return settings


@pytest.fixture
def stopped(begun, tmp_path) -> Settings:
    """A copy of that run, to go on with."""
    return dataclasses.replace(begun, out=str(shutil.copytree(begun.out, tmp_path / "run")))


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint_and_names_settings(stopped):
    checkpoint = Path(stopped.out) / "checkpoint.pt"
    before = checkpoint.read_bytes()
    broken = dataclasses.replace(stopped, learning_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(train.DataError, match="--warmup_epochs 1.0"):  # may not change in the middle of a run
        train.fit(broken, resume=True)
    with pytest.raises(
        FloatingPointError, match=r"epoch 2.*checkpoint\.pt.*is good.*--learning_rate 1e\+30.*--clip_norm"
    ):
        train.fit(dataclasses.replace(broken, warmup_epochs=stopped.warmup_epochs), resume=True)
    assert checkpoint.read_bytes() == before

    run = train.fit(dataclasses.replace(stopped, learning_rate=1e-4), resume=True)
    starts = json.loads((run / "settings.json").read_text())["starts"]
    assert [start.get("learning_rate") for start in starts] == [None, 1e30, 1e-4]
    assert len((run / "history.jsonl").read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["checkpoint.pt", "history.jsonl", "settings.json"])
def test_a_full_disk_is_told_in_a_sentence_and_costs_nothing_saved(stopped, name):
    file = Path(stopped.out) / name
    saved, full = file.read_bytes(), file.with_suffix(".part")
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"could not be written: no space left on device\. .*Make room.*--resume"):
        train.fit(stopped, resume=True)
    assert file.read_bytes() == saved and not full.is_symlink()
    assert len((train.fit(stopped, resume=True) / "history.jsonl").read_text().splitlines()) == 2


def test_a_folder_that_cannot_be_made_is_told_before_training(phantoms, tmp_path):
    (tmp_path / "file").write_text("")
    settings = Settings(data=str(phantoms), out=str(tmp_path / "file" / "run"), cache=str(tmp_path / "cache"), **TINY)
    with pytest.raises(OSError, match="cannot be made: not a directory. Choose another --out"):
        train.fit(settings)


def test_a_read_only_folder_is_told_in_a_sentence_and_costs_nothing_saved(tmp_path):
    file = tmp_path / "facts.json"
    file.write_text("old")
    tmp_path.chmod(0o500)
    with as_somebody(), pytest.raises(OSError, match=r"permission denied\. .*make the folder writable.*--resume"):
        write_whole(b"new", file)
    with as_somebody(), pytest.raises(OSError, match="cannot be made: permission denied. Choose another --out"):
        open_run(tmp_path / "run", resume=False)
    tmp_path.chmod(0o700)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


@contextmanager
def as_somebody() -> Iterator[None]:
    """Without root's right to write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    moments = random.Random(0)
    file = tmp_path / "checkpoint.pt"
    save_checkpoint({"number": torch.zeros(50_000), "again": torch.zeros(50_000)}, file)
    for _ in range(10):
        child = os.fork()
        if not child:
            for number in range(1_000_000):
                content = torch.full((50_000,), float(number))
                save_checkpoint({"number": content, "again": content.clone()}, file)
        time.sleep(moments.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = load_checkpoint(file)
        assert torch.equal(state["number"], state["again"])


def test_what_could_not_be_written_leaves_no_half_file(tmp_path):
    (tmp_path / "facts.json").write_text("old")
    (tmp_path / "facts.part").mkdir()  # nothing can be opened there
    with pytest.raises(OSError, match="What was saved before is whole"):
        write_whole(b"new", tmp_path / "facts.json")
    assert (tmp_path / "facts.json").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"), "a/b could not be read or written: no space left"),
        (OSError("A sentence of ours."), "A sentence of ours."),
        (ValueError("Use 1 or more."), "Use 1 or more."),
        (KeyboardInterrupt(), "stopped. What was saved is whole"),
    ],
)
def test_whatever_ends_a_run_is_told_in_a_sentence(error, message, monkeypatch):
    def end(settings, resume):
        raise error

    monkeypatch.setattr(train, "train", end)
    monkeypatch.setattr("sys.argv", ["training.train", "--data=d", "--out=o"])
    with pytest.raises(SystemExit, match=f"training.train: {message}"):
        train.main()


def test_a_damaged_checkpoint_is_refused_with_a_sentence(stopped):
    checkpoint = Path(stopped.out) / "checkpoint.pt"
    for damaged in (checkpoint.read_bytes()[:-1000], b"no checkpoint", b""):
        checkpoint.write_bytes(damaged)
        with pytest.raises(train.DataError, match="checkpoint.pt is damaged.*another --out"):
            train.fit(stopped, resume=True)
