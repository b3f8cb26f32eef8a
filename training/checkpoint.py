"""Training checkpoints: written whole or not at all, read without unpickling code."""

import os
from pathlib import Path

import torch


def save_checkpoint(state: dict, path: Path) -> None:
    """Write `state` (tensors, numbers, strings, lists and dictionaries of them) to `path` in one atomic step."""
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint; `weights_only` refuses anything but tensors and plain values."""
    return torch.load(path, map_location="cpu", weights_only=True)
