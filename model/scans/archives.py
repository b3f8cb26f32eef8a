"""ZIP and gzip: what is in them, one file at a time, and never more of it than the limits allow."""

import gzip
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from io import BytesIO
from pathlib import PurePosixPath
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from . import limits
from .kinds import ENOUGH, is_no_scan
from .names import is_left_behind, shown_name
from .scan import UnreadableScan
from .sources import Source, check_bytes

END_OF_DIRECTORY, END_SIZE = b"PK\x05\x06", 22  # bytes without a comment (APPNOTE 4.3.16)
LONGEST_COMMENT = 65535
LOCATOR_64, LOCATOR_SIZE = b"PK\x06\x07", 20  # of the end record below, which any ZIP may have, whatever its size
END_64, END_64_SIZE = b"PK\x06\x06", 56
LONGEST_ENTRY = 1024  # bytes of one entry in the directory: its name and notes
ENCRYPTED = 1  # bit of an entry's flags
DAMAGED = "The archive is damaged or incomplete. Export it again, or upload the files in it."


def zip_members(source: Source, opened: ExitStack) -> Iterator[Source]:
    """The files in a ZIP that may be scans, damaged or of a kind that is not read among them.

    Args and raises: as `zip_files`.
    """
    for path, size, content in zip_files(source, opened):
        start = b""
        with suppress(UnreadableScan):  # whoever reads it is told why
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
    packed = max(1, file.seek(0, 2))
    if len(entries) > limits.MAX_ZIP_ENTRIES:
        raise _too_many()
    if expanded > limits.MAX_EXPANDED_BYTES:
        raise UnreadableScan(
            f"The ZIP unpacks to more than {limits.MAX_EXPANDED_BYTES // 2**20} MB. Upload one series at a time."
        )
    if expanded > limits.MAX_ZIP_RATIO * packed:
        raise UnreadableScan("The ZIP unpacks to suspiciously much. Upload the files in it instead.")
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise UnreadableScan("The ZIP is protected by a password. Unpack it and upload the files in it.")

    @lru_cache(maxsize=1)  # of what is told apart, then looked into, then read, all at once or never
    def content(entry: ZipInfo) -> bytes:  # not by its name, which several may share
        return _unpacked(archive, entry)

    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if not is_left_behind(path):
            yield path, entry.file_size, partial(content, entry)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that is too long before ZipFile takes it apart entry by entry."""
    size = file.seek(0, 2)
    start = max(0, size - END_SIZE - LONGEST_COMMENT - LOCATOR_SIZE - END_64_SIZE)
    file.seek(start)
    tail = file.read()
    end = len(tail) - END_SIZE if tail[-END_SIZE:].startswith(END_OF_DIRECTORY) else tail.rfind(END_OF_DIRECTORY)
    if end < 0 or len(tail) < end + END_SIZE:
        raise UnreadableScan(DAMAGED)
    sizes = struct.unpack_from("<HI", tail, end + 10)  # entries, bytes of the directory
    locator = end - LOCATOR_SIZE
    if locator >= 0 and tail.startswith(LOCATOR_64, locator):
        sizes = _sizes_64(file, start + locator, *struct.unpack_from("<Q", tail, locator + 8)) or sizes
    if sizes[0] > limits.MAX_ZIP_ENTRIES or sizes[1] > limits.MAX_ZIP_ENTRIES * LONGEST_ENTRY:
        raise _too_many()


def _sizes_64(file: BinaryIO, locator: int, place: int) -> tuple[int, int] | None:
    """Entries and bytes of the directory, by the record that stands before its locator or where that says.

    Of two records, the larger numbers: which one zipfile takes depends on its version.
    """
    found = []
    for offset in {locator - END_64_SIZE, place}:
        if 0 <= offset <= locator - END_64_SIZE:
            file.seek(offset)
            record = file.read(END_64_SIZE)
            if record.startswith(END_64):
                found.append(struct.unpack_from("<QQ", record, 32))
    return tuple(map(max, zip(*found, strict=True))) if found else None


def _too_many() -> UnreadableScan:
    return UnreadableScan(f"The ZIP has more than {limits.MAX_ZIP_ENTRIES:,} entries. Upload one series at a time.")


def _unpacked(archive: ZipFile, entry: ZipInfo) -> bytes:
    check_bytes(entry.file_size)
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise UnreadableScan("The ZIP is packed in a rare way. Unpack it and upload the files in it.")
    with _archive_refusals(), archive.open(entry) as file:
        return file.read(max(1, entry.file_size))  # without a length zipfile unpacks all, whatever size is claimed


def unzipped(source: Source) -> Source:
    """The file in a gzip archive, unpacked while it is read."""
    return Source(source.name, lambda: Gunzip(source.open()))


class Gunzip:
    """The read-only stream of a gzip file, whose damage is told in a sentence; it cannot seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._packed, self._file = file, gzip.GzipFile(fileobj=file)

    def read(self, length: int = limits.MAX_BYTES + 1) -> bytes:
        """Up to `length` bytes, fewer only at the end; never more than a file may have."""
        with _archive_refusals():
            return self._file.read(length)

    def __enter__(self) -> "Gunzip":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
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
