"""The one way in: files -> scans."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from . import limits
from .finding import Found, find_all
from .scan import Scan, Unreadable, UnreadableScan


def read(source: str | Path | bytes, name: str = "") -> Scan:
    """Read every slice of one file: a picture, a DICOM file, a NIfTI volume, or a ZIP or gzip archive of them.

    Args: `source`, a path or the file's bytes; `name`, shown to the user (default: the path's last part).
    Returns: the `Scan`; of an archive with several, the one with most slices, and a note that says so.
    Raises: UnreadableScan, whatever else is wrong with the file.
    """
    with ExitStack() as opened:
        entries = find_all([source], [name] if name else (), _nothing, opened)
        scans = sorted((entry for entry in entries if isinstance(entry, Found)), key=lambda found: -found.slices)
        if not scans:
            raise UnreadableScan(entries[0].reason)
        scan = replace(scans[0].read(), name=scans[0].name)
    if len(scans) > 1:
        note = f"The archive holds {len(scans)} scans; the one with most slices is read."
        scan = replace(scan, assumptions=(*scan.assumptions, note))
    return scan


def read_all(
    files: Sequence[str | Path | bytes | Unreadable],
    names: Sequence[str] = (),
    begin: Callable[[int], object] | None = None,
) -> list[Scan | Unreadable]:
    """Read many files: DICOM files become series, archives are opened, each other file is an entry of its own.

    Args: `files`, paths or bytes, or what is known to be unreadable and is passed on; `names` of them, shown to the
        user (default: the paths' last parts); `begin`, called with the number of a file whenever work on it begins.
    Returns: an entry for each scan or failure, in the order of the (first) files; one bad file costs one entry.
    """
    begin = begin or _nothing
    entries: list[Scan | Unreadable] = []
    held = 0
    with ExitStack() as opened:
        for found in find_all(files, names, begin, opened):
            if isinstance(found, Found):
                begin(found.number)
                found = _read_within(found, limits.MAX_BYTES_AT_ONCE - held)
            if isinstance(found, Scan):
                held += sum(pixels.nbytes for pixels in found.slices)
            entries.append(found)
    return entries


def _read_within(found: Found, room: int) -> Scan | Unreadable:
    """The scan, if its slices take at most `room` bytes."""
    try:
        scan = replace(found.read(), name=found.name)
    except UnreadableScan as error:
        return Unreadable(found.name, str(error))
    if sum(pixels.nbytes for pixels in scan.slices) > room:
        return Unreadable(found.name, "The files before it are all that can be read at once. Upload it by itself.")
    return scan


def _nothing(number: int) -> None:
    pass
