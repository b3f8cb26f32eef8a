"""The one way in: files -> scans."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from . import limits
from .finding import Death, Found, Key, Place, Upload, find_all
from .scan import Omission, Scan, Unreadable, UnreadableScan


class Looking(NamedTuple):
    """What `isolated` is told: that work begins on a file or, of one that is decoded, on one of its slices."""

    place: Place
    is_decoded: bool


class Plan(NamedTuple):
    """What `isolated` is told: the names of all entries, before any is read."""

    names: dict[Key, str]


NO_ROOM = "The files before it are all that can be read at once. Upload it by itself."
Begin = Callable[[Place, bool], object]


def read(source: str | Path | bytes, name: str = "") -> Scan:
    """Read every slice of one file: a picture, a DICOM file, a NIfTI volume, or a ZIP or gzip archive of them.

    Args: `source`, a path or the file's bytes; `name`, shown to the user (default: the path's last part).
    Returns: the `Scan`; of a file with several, the one with most slices, and of the others that they were left out.
    Raises: UnreadableScan, whatever else is wrong with the file.
    """
    with ExitStack() as opened:
        entries = find_all([source], [name] if name else (), Upload(_nothing, opened, {}, 1)).values()
        scans = sorted((entry for entry in entries if isinstance(entry, Found)), key=lambda found: -found.slices)
        if not scans:
            raise UnreadableScan(next(iter(entries)).reason)
        scan = replace(scans[0].read(), name=scans[0].name)
    if len(scans) > 1:
        reason = f"The file holds {len(scans)} scans; the one with most slices is read."
        omission = Omission(sum(found.slices for found in scans[1:]), reason)
        scan = replace(scan, omitted=(*scan.omitted, omission))
    return scan


def read_all(
    files: Sequence[str | Path | bytes],
    names: Sequence[str] = (),
    begin: Callable[[int], object] = lambda number: None,
) -> list[Scan | Unreadable]:
    """Read many files: DICOM files become series, archives are opened, each other file is an entry of its own.

    Args: `files`, paths or bytes; `names` of them, shown to the user (default: the paths' last parts); `begin`, called
        with the number of a file whenever work on it, or on one of its slices, begins.
    Returns: an entry for each scan or failure, in the order of the (first) files; one bad file costs one entry.
    """
    return [entry for _, entry in read_each(files, names, lambda place, is_decoded: begin(place[0]))]


def read_each(
    files: Sequence[str | Path | bytes],
    names: Sequence[str] = (),
    begin: Begin = lambda place, is_decoded: None,
    most_bytes: float | None = None,
    deaths: Mapping[Place, Death] = {},  # noqa: B006  never changed
    done: Container[Key] = (),
    plan: Callable[[dict[Key, str]], object] = lambda names: None,
) -> Iterator[tuple[Key, Scan | Unreadable]]:
    """As `read_all`, one entry at a time, each with its key.

    Args: `begin`, as of `Upload`; `most_bytes`, that all slices together may take (default: `MAX_BYTES_AT_ONCE`),
        infinite where none is kept, when any number of files is read, too; `deaths`, of decoders, whose files are not
        decoded again, and those in danger of the same come last; `done`, keys of entries that are not wanted; `plan`,
        called with the name of each entry before any is read.
    """
    with ExitStack() as opened:
        most_files = len(files) if most_bytes == math.inf else limits.MAX_FILES
        entries = find_all(files, names, Upload(begin, opened, deaths, most_files))
        plan({key: found.name for key, found in entries.items()})
        room = limits.MAX_BYTES_AT_ONCE if most_bytes is None else most_bytes
        order = sorted(entries, key=lambda key: getattr(entries[key], "is_risky", False)) if deaths else list(entries)
        for key in order:
            found = entries[key]
            if key in done:
                continue
            if isinstance(found, Found):
                found = _read_within(found, room)
            if isinstance(found, Scan):
                room -= found.nbytes
            yield key, found


def _read_within(found: Found, room: float) -> Scan | Unreadable:
    """The scan, if its slices take at most `room` bytes: asked of headers first."""
    if found.nbytes > room:
        return Unreadable(found.name, NO_ROOM)
    try:
        scan = replace(found.read(), name=found.name)
    except UnreadableScan as error:
        return Unreadable(found.name, str(error))
    return scan if scan.nbytes <= room else Unreadable(found.name, NO_ROOM)


def _nothing(place: Place, is_decoded: bool) -> None:
    pass
