"""What a run writes: each file whole or not at all, whenever it is killed; read without unpickling code."""

import io
import os
from contextlib import suppress
from pathlib import Path

import torch


def write_whole(content: bytes, path: Path) -> None:
    """Put `content` into `path` in one atomic step that outlasts a power cut; until then the old content stays.

    Raises: OSError with a sentence, and with nothing lost.
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


def told(error: OSError) -> str:
    """The sentences that an OSError brings along, or else what the system says, and what to do."""
    if not error.strerror:
        return str(error)
    what = error.filename or "A file"
    return f"{what} could not be read or written: {error.strerror.lower()}. What was saved before is whole."


def save_checkpoint(state: dict, path: Path) -> None:
    """Write `state` (tensors, numbers, strings, lists and dictionaries of them), as `write_whole` does."""
    content = io.BytesIO()
    torch.save(state, content)
    write_whole(content.getbuffer(), path)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint; `weights_only` refuses anything but tensors and plain values."""
    return torch.load(path, map_location="cpu", weights_only=True)
