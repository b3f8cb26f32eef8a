"""Where a file's bytes come from: a path, memory, or an entry of an archive."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from io import DEFAULT_BUFFER_SIZE, BufferedReader, BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO

from . import limits
from .names import shown_name
from .scan import UnreadableScan


@dataclass(frozen=True)
class Source:
    """A file that can be opened again and again, to be read from its start. `name`: as shown to the user."""

    name: str
    open: Callable[[], BinaryIO]

    def start(self, length: int) -> bytes:
        """The first bytes, fewer if the file is shorter."""
        with self.open() as file:
            return file.read(length)

    def content(self) -> bytes:
        with self.open() as file:
            return file.read()


class _File(BufferedReader):
    """A file of which no more is asked than it has: room would be made for all that a lying header wants to be read."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DEFAULT_BUFFER_SIZE:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


def source_of(file: str | Path | bytes, name: str = "") -> Source:
    """Args: `file`, a path or the bytes themselves; `name`, shown to the user (default: the path's last part).

    Raises: UnreadableScan if there is no such file, it is empty, or it has more than `MAX_BYTES`.
    """
    if isinstance(file, bytes):
        size, source = len(file), Source(shown_name(name), lambda: BytesIO(file))
    else:
        path = Path(file)
        size, source = _size(path), Source(shown_name(name or path.name), lambda: _open(path))
    check_bytes(size)
    return source


def check_bytes(size: int) -> None:
    if not size:
        raise UnreadableScan("The file is empty (0 bytes). Export it again and upload that.")
    if size > limits.MAX_BYTES:
        raise UnreadableScan(
            f"The file is larger than {limits.MAX_BYTES // 2**20} MB. Export single slices, or fewer, and upload those."
        )


def _size(path: Path) -> int:
    with _open(path) as file:
        return file.seek(0, 2)


def _open(path: Path) -> BinaryIO:
    try:
        return _File(FileIO(path))
    except IsADirectoryError:
        raise UnreadableScan("This is a folder, not a file. Choose the image files in it.") from None
    except FileNotFoundError:
        raise UnreadableScan("There is no such file. Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UnreadableScan("The file could not be opened. Check its name and permissions.") from error
