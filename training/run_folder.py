"""The run folder: what a run was begun with, where it stands, and when it has to stop."""

import dataclasses
import json
import pickle
import signal
from pathlib import Path

import torch

from .checkpoint import load_checkpoint, write_whole
from .data.frames import DataError, Dataset
from .hardware import describe, git_commit, versions
from .settings import FREE_ON_RESUMING, STEERING, Settings

CHECKPOINT, BEST, FACTS, HISTORY = "checkpoint.pt", "best.pt", "settings.json", "history.jsonl"


class StopRequest:
    """While it is open, SIGTERM and SIGINT set a flag, so that the run ends between two steps with everything saved."""

    made = False

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._make) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _make(self, *_) -> None:
        self.made = True


def open_run(out: Path, resume: bool) -> dict | None:
    """Make the run folder; returns the state that the run goes on from, None if it begins.

    Raises: DataError if there is a run that nobody asked to resume, or none that can be; OSError with a sentence.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OSError(f"{out} cannot be made: {reason}. Choose another --out.") from error
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise DataError(f"{out} already holds a run. Add --resume to go on with it, or choose another --out.")
    try:
        return load_checkpoint(checkpoint) if checkpoint.exists() else None
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:  # whatever torch.load raises
        raise DataError(
            f"{checkpoint} is damaged, which no end of a run leaves behind. Copy it again, or begin in another --out."
        ) from error


def shards_begun_with(out: Path) -> int | None:
    """How many shards the batches of the run in `out` have so far; None if it has not begun, or did before shards."""
    file = out / FACTS
    return json.loads(file.read_text())["settings"].get("shards") if file.exists() else None


def write_facts(settings: Settings, dataset: Dataset, device: torch.device, processes: int, epoch: int | None) -> None:
    """Write settings.json, or add this start to it. Raises DataError if the run was begun with other settings or data.

    `epoch`, from 0, in which the run goes on; None if it begins.
    """
    file = Path(settings.out) / FACTS
    facts = {
        "settings": dataclasses.asdict(settings),
        "versions": versions(),
        "hardware": describe(device),
        "data_fingerprint": dataset.fingerprint(),
        "starts": [],
    }
    start = {"epoch": (epoch or 0) + 1, "git_commit": git_commit(), "torch": torch.__version__, "processes": processes}
    if epoch is not None:
        began, now = json.loads(file.read_text()), facts["settings"]
        changed = {name: old for name, old in began["settings"].items() if now.get(name, old) != old}
        refused = [f"--{n} {old}" for n, old in changed.items() if n not in FREE_ON_RESUMING | STEERING]
        if began["data_fingerprint"] != facts["data_fingerprint"]:
            refused.append("other images in --data")
        if refused:
            raise DataError(
                f"{settings.out} was begun with {', '.join(refused)}. Resume with these, or choose another --out."
            )
        facts = began
        facts["settings"] |= {name: now[name] for name in changed}  # the export reads where things lie by now
        start |= {name: now[name] for name in changed if name in STEERING}
    facts["starts"].append(start)
    write_whole((json.dumps(facts, indent=2) + "\n").encode(), file)


def write_history(history: list[dict], out: Path) -> None:
    """A line for each epoch."""
    write_whole("".join(json.dumps(past) + "\n" for past in history).encode(), out / HISTORY)


def broken_down(where: str, settings: Settings, history: list[dict], out: Path) -> str:
    """The sentences for a loss that is not a number any more."""
    kept = f"{out / CHECKPOINT}, of before that, is good" if (out / CHECKPOINT).exists() else "Nothing was saved yet"
    best = f", and {out / BEST} holds the best weights so far" if history else ""
    return (
        f"the loss or a weight is not a number any more {where}. {kept}{best}. Look at --learning_rate "
        f"{settings.learning_rate:g} and --clip_norm {settings.clip_norm:g}: --resume takes lower ones. In a new run, "
        f"look at --warmup_epochs {settings.warmup_epochs:g}, --position_weight {settings.position_weight:g} and "
        f"--class_weights {settings.class_weights or 'none'}, too."
    )
