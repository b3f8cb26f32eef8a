"""Where bytes come from: a path, memory, or a ZIP or gzip archive, never more of them than the limits allow."""

import gzip
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from io import DEFAULT_BUFFER_SIZE, BufferedReader, BytesIO, FileIO
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from . import limits
from .kinds import ENOUGH, is_no_scan
from .scan import UnreadableScan

DIRECTORY_ENTRY = b"PK\x01\x02"  # begins each entry of a ZIP's directory (APPNOTE 4.3.12)
ENCRYPTED = 1  # bit of an entry's flags
CHUNK = 2**20  # bytes that are looked through at once
DAMAGED = "The archive is damaged or incomplete. Export it again, or upload the files in it."


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
        """All bytes."""
        with self.open() as file:
            return file.read()


def source_of(file: str | Path | bytes, name: str = "") -> Source:
    """Args: `file`, a path or the bytes themselves; `name`, shown to the user (default: the path's last part).

    Raises: UnreadableScan if there is no such file, it is empty, or it has more than `MAX_BYTES`.
    """
    if isinstance(file, bytes):
        source = Source(shown_name(name), lambda: BytesIO(file))
    else:
        source = Source(shown_name(name or Path(file).name), partial(_open, Path(file)))
    with source.open() as opened:
        limits.check_bytes(opened.seek(0, 2))
    return source


class _File(BufferedReader):
    """A file of which no more is asked than it has: room would be made for all that a lying header wants to be read."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > DEFAULT_BUFFER_SIZE:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


def _open(path: Path) -> BinaryIO:
    try:
        return _File(FileIO(path))
    except IsADirectoryError:
        raise UnreadableScan("This is a folder, not a file. Choose the image files in it.") from None
    except FileNotFoundError:
        raise UnreadableScan("There is no such file. Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UnreadableScan("The file could not be opened. Check its name and permissions.") from error


def shown_name(name: str) -> str:
    """The last part of a path, which can break neither a line nor a table nor the direction of what is read.

    It is without control and formatting characters, and shortened in the middle to `MAX_NAME`.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    unseen = ("C", "Z")  # categories of Unicode: control and formatting characters, and whatever separates
    shown = "".join(letter for letter in last if letter == " " or not unicodedata.category(letter).startswith(unseen))
    if len(shown) > limits.MAX_NAME:
        half = (limits.MAX_NAME - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown.strip() or "unnamed file"


def is_left_behind(path: PurePath) -> bool:
    """Whether a system wrote the file for itself: a hidden one (.DS_Store, ._scan.png), or one in __MACOSX."""
    return path.name.startswith(".") or "__MACOSX" in path.parts


# archives


def zip_members(source: Source, opened: ExitStack) -> Iterator[Source]:
    """The files in a ZIP that may be scans, damaged or of a kind that is not read among them.

    Args and raises: as `zip_files`.
    """
    for path, size, content in zip_files(source, opened):
        start = b""
        with suppress(UnreadableScan):  # whoever reads it gets the reason
            start = content()[:ENOUGH] if size else b""
        if not is_no_scan(path.name, start):
            yield Source(shown_name(path.name), lambda content=content: BytesIO(content()))


def zip_files(source: Source, opened: ExitStack) -> Iterator[tuple[PurePosixPath, int, Callable[[], bytes]]]:
    """Path, size and content of each file in a ZIP but hidden ones and what systems leave behind.

    A path is what the ZIP says: it may be absolute or lead anywhere.

    Args: `opened` closes the ZIP when nobody reads from it any more.
    Raises: UnreadableScan if the ZIP is damaged, protected, or claims more than the limits allow. An entry's own faults
        show when its content is asked for.
    """
    file = opened.enter_context(source.open())
    _check_directory(file)
    with _archive_refusals():
        archive = opened.enter_context(ZipFile(file))
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    expanded = sum(entry.file_size for entry in entries)
    if expanded > limits.MAX_EXPANDED_BYTES:
        raise UnreadableScan(
            f"The ZIP unpacks to more than {limits.MAX_EXPANDED_BYTES // 2**20} MB. Upload one series at a time."
        )
    if expanded > limits.MAX_ZIP_RATIO * file.seek(0, 2):
        raise UnreadableScan("The ZIP unpacks to suspiciously much. Upload the files in it instead.")
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise UnreadableScan("The ZIP is protected by a password. Unpack it and upload the files in it.")

    @lru_cache(maxsize=1)  # what is recognized, then looked into, then read, all at once or never
    def content(entry: ZipInfo) -> bytes:  # not by its name, which several may share
        limits.check_bytes(entry.file_size)
        if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise UnreadableScan("The ZIP is packed in a rare way. Unpack it and upload the files in it.")
        with _archive_refusals(), archive.open(entry) as opened_entry:
            return opened_entry.read(entry.file_size)  # without a length all is unpacked, whatever size is claimed

    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if not is_left_behind(path):
            yield path, entry.file_size, partial(content, entry)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that is too long before ZipFile takes it apart; what its end record claims is not trusted."""
    count, rest = 0, b""
    while chunk := file.read(CHUNK):
        count += (rest + chunk).count(DIRECTORY_ENTRY)
        rest = chunk[1 - len(DIRECTORY_ENTRY) :]
    if count > limits.MAX_ZIP_ENTRIES:
        raise UnreadableScan(f"The ZIP has more than {limits.MAX_ZIP_ENTRIES:,} entries. Upload one series at a time.")


class Gunzip(gzip.GzipFile):
    """The stream of a gzip file, unpacked while it is read, whose damage is an UnreadableScan."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end; never more than a file may have."""
        with _archive_refusals():
            return super().read(limits.MAX_BYTES + 1 if size is None or size < 0 else size)

    def close(self) -> None:
        """Close the packed file, too."""
        super().close()
        self._packed.close()


@contextmanager
def _archive_refusals() -> Iterator[None]:
    """Turn what zipfile, gzip and zlib raise into a refusal. Only their calls stand inside."""
    try:
        yield
    except (UnreadableScan, MemoryError):
        raise
    except Exception as error:  # also struct.error, EOFError, zlib.error...
        raise UnreadableScan(DAMAGED) from error
