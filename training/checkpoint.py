"""The run folder: what a run was begun with, on what machine, where it stands, and when it has to stop.

Each file is written whole or not at all, whenever the run is killed, and read without unpickling code.
"""

import dataclasses
import io
import json
import math
import os
import pickle
import platform
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from .data.frames import DataError, Dataset
from .distributed import COUNT, cpu_field
from .settings import FORMER, FREE_ON_RESUMING, STEERING, Settings

CHECKPOINT, BEST, FACTS, HISTORY = "checkpoint.pt", "best.pt", "settings.json", "history.jsonl"


def write_whole(content: bytes, path: Path) -> None:
    """Put `content` into `path` in one atomic step that outlasts a power cut; until then the old content stays.

    Raises: OSError with a remedy, and with nothing lost.
    """
    unfinished = path.with_suffix(".part")
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            os.unlink(unfinished)  # half a file only takes up room
        raise OSError(
            f"{path} could not be written: {(error.strerror or str(error)).lower()}. What was saved before is whole. "
            "Make room, or make the folder writable, and start again with --resume."
        ) from error


def save_checkpoint(state: dict, path: Path) -> None:
    """Write `state` (tensors, numbers, strings, lists and dictionaries of them), as `write_whole` does."""
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(content.getbuffer(), path)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint; `weights_only` refuses anything but tensors and plain values."""
    return torch.load(path, map_location="cpu", weights_only=True)


def open_run(out: Path, resume: bool) -> dict | None:
    """Make the run folder; returns the state that the run goes on from, None if it begins.

    Raises: DataError if there is a run that nobody asked to resume, or none that can be; OSError with a remedy.
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


def write_facts(settings: Settings, dataset: Dataset, device: torch.device, epoch: int | None) -> None:
    """Write settings.json, or add this start to it. Raises DataError if the run was begun with other settings or data.

    `epoch`, from 0, in which the run goes on; None if it begins.
    """
    file, now, fingerprint = Path(settings.out) / FACTS, dataclasses.asdict(settings), dataset.fingerprint()
    facts = {"settings": now, "versions": versions(), "hardware": describe(device)}
    facts |= {"data_fingerprint": fingerprint, "starts": []}
    start = {"epoch": (epoch or 0) + 1, "git_commit": git_commit(), "torch": torch.__version__, "processes": COUNT}
    if epoch is not None:
        facts = json.loads(file.read_text())
        by_now = {name: value for name, value in FORMER.items() if value is not None} | now
        changed = {name: old for name, old in facts["settings"].items() if by_now.get(name, old) != old}
        refused = [f"--{name} {old}" for name, old in changed.items() if name not in FREE_ON_RESUMING | STEERING]
        if facts["data_fingerprint"] != fingerprint:
            refused.append("other images in --data")
        if refused:
            raise DataError(
                f"{settings.out} was begun with {', '.join(refused)}. Resume with these, or choose another --out."
            )
        facts["settings"] |= {name: now[name] for name in changed}  # the export reads where things lie by now
        start |= {name: now[name] for name in changed if name in STEERING}
    facts["starts"].append(start)
    write_whole((json.dumps(facts, indent=2) + "\n").encode(), file)


def describe(device: torch.device) -> dict:
    """Name, cores and memory of the machine, for reports: JSON-ready."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = cpu_field("model name") or platform.processor()
    machine = {"processor": processor, "cores": os.cpu_count(), "memory_gib": round(memory)}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def versions() -> dict[str, str]:
    """Of what the digits depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def git_commit() -> str:
    """Commit of the code that runs, with `+` where the tree has uncommitted changes; empty outside a repository."""
    root = Path(__file__).parent
    try:
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=root, text=True, stderr=subprocess.DEVNULL)
        dirty = subprocess.check_output(["git", "status", "--porcelain", "--", "*.py"], cwd=root.parent, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + ("+" if dirty.strip() else "")


def write_history(history: list[dict], out: Path) -> None:
    """A line for each epoch."""
    write_whole("".join(json.dumps(past) + "\n" for past in history).encode(), out / HISTORY)


def score(measured: Mapping[str, float]) -> float:
    """What "best" means of an epoch's line: types and detected tumors, in equal parts; macro-F1 if there is no AUC."""
    macro_f1, auc = measured["val_macro_f1"], measured["val_auc_tumor"]
    return macro_f1 if math.isnan(auc) else (macro_f1 + auc) / 2


def broken_down(where: str, settings: Settings, history: list[dict], out: Path) -> str:
    """The message for a loss that is not a number any more, with the settings that may be to blame."""
    kept = f"{out / CHECKPOINT}, of before that, is good" if (out / CHECKPOINT).exists() else "Nothing was saved yet"
    best = f", and {out / BEST} holds the best weights so far" if history else ""
    return (
        f"the loss or a weight is not a number any more {where}. {kept}{best}. Look at --learning_rate "
        f"{settings.learning_rate:g} and --clip_norm {settings.clip_norm:g}: --resume takes lower ones. In a new run, "
        f"look at --warmup_epochs {settings.warmup_epochs:g} and --position_weight {settings.position_weight:g}, too."
    )


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
