"""The one way in: files -> scans. What there is to read is found first, before any pixel is decoded."""

import math
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import limits
from .kinds import ENOUGH, READABLE, Recognized, kind_of
from .nifti import HEADER_BYTES, read_header, read_volume
from .pictures import read_picture
from .scan import Omission, Scan, Unreadable, UnreadableScan
from .sources import Gunzip, Source, shown_name, source_of, zip_members

if TYPE_CHECKING:
    from .dicom import Instance, Stack

Place = tuple[int, int]  # of a file: its number among those uploaded, and in its archive
Key = tuple[int, int, int]  # of an entry: the place of its first file, and which stack of that file's series it is
Begin = Callable[[Place, bool], object]  # called with a file's place, and whether it is decoded, when work on it begins
NO_ROOM = "The files before it are all that can be read at once. Upload it by itself."
NESTED = "This is an archive within an archive. Unpack it and upload the files in it."
NOTHING_IN_ZIP = f"The ZIP holds no file that can be read here. Upload one with {READABLE} files."
DAMAGED_BESIDE = "Files beside it are damaged, and do not say what series they belong to: export the series again."


class Death(NamedTuple):
    """That a decoder died of a file: the message for the user, and whether the file's headers can be read."""

    reason: str
    has_headers: bool


class Looking(NamedTuple):
    """A message to `isolated`: work begins on a file or, of one that is decoded, on one of its slices."""

    place: Place
    is_decoded: bool


class Plan(NamedTuple):
    """A message to `isolated`: the names of all entries, before any is read."""

    names: dict[Key, str]


class Found(NamedTuple):
    """A scan that can be read.

    name: as shown to the user.
    slices: how many it has, as far as headers say.
    nbytes: that they take when they are decoded, as far as headers say.
    read: decodes it, or raises UnreadableScan.
    is_risky: whether a decoder takes part that may crash.
    """

    name: str
    slices: int
    nbytes: int
    read: Callable[[], Scan]
    is_risky: bool = False


def read(source: str | Path | bytes, name: str = "") -> Scan:
    """Read every slice of one file: a picture, a DICOM file, a NIfTI volume, or a ZIP or gzip archive of them.

    Args: `source`, a path or the file's bytes; `name`, shown to the user (default: the path's last part).
    Returns: the `Scan`; of a file with several, the one with most slices, and of the others that they were left out.
    Raises: UnreadableScan, whatever else is wrong with the file.
    """
    with ExitStack() as opened:
        entries = Upload(opened).find_all([source], [name] if name else ()).values()
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

    Args: `most_bytes`, that all slices together may take (default: `MAX_BYTES_AT_ONCE`), infinite where none is kept,
        when any number of files is read, too; `deaths`, of decoders, whose files are not decoded again, and those in
        danger of the same come last; `done`, keys of entries that are not wanted; `plan`, called with the name of each
        entry before any is read.
    """
    with ExitStack() as opened:
        most_files = len(files) if most_bytes == math.inf else limits.MAX_FILES
        entries = Upload(opened, begin, deaths, most_files).find_all(files, names)
        plan({key: found.name for key, found in entries.items()})
        room = limits.MAX_BYTES_AT_ONCE if most_bytes is None else most_bytes
        order = sorted(entries, key=lambda key: getattr(entries[key], "is_risky", False)) if deaths else entries
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


@dataclass
class Upload:
    """Files while they are looked through.

    opened: closes the archives when nothing is read any more.
    deaths: of decoders, by the place of the file that they died of.
    most_files: that are looked through; how many more there are is an entry.
    damaged: places of DICOM files, and of files of archives, of which not even the headers can be read.
    archives: names of the ZIPs by number.
    """

    opened: ExitStack
    begin: Begin = lambda place, is_decoded: None
    deaths: Mapping[Place, Death] = field(default_factory=dict)
    most_files: int = 1
    entries: dict[Key, Found | Unreadable] = field(default_factory=dict)
    instances: list["Instance"] = field(default_factory=list)
    damaged: list[Place] = field(default_factory=list)
    archives: dict[int, str] = field(default_factory=dict)

    def find_all(self, files: Sequence[str | Path | bytes], names: Sequence[str]) -> dict[Key, Found | Unreadable]:
        """What there is in files and the archives among them, in the order of the (first) files.

        DICOM files become series, and these stacks. Args: as of `read_all`.
        """
        for number, file in enumerate(files[: self.most_files]):
            name = shown_name(names[number] if names else "" if isinstance(file, bytes) else Path(file).name)
            self._add((number, 0), name, lambda name=name, file=file: source_of(file, name))
        omitted = []
        if (more := len(files) - self.most_files) > 0:
            reason = f"Only the first {self.most_files:,} files were read. Upload one series at a time."
            omitted.append(Omission(more, reason))
            self.entries[self.most_files, 0, 0] = Unreadable(f"{more} more files", reason)
        if self.instances:
            self._add_series(omitted)
        count = Counter(number for number, _, _ in self.entries)
        for key, found in self.entries.items():
            if count[key[0]] == 1 and key[0] in self.archives:
                self.entries[key] = found._replace(name=self.archives[key[0]])
        return dict(sorted(self.entries.items()))

    def _add(self, place: Place, name: str, source: Callable[[], Source], nesting: int = 0) -> None:
        """Add what there is to read in a file, or why there is nothing."""
        self.begin(place, False)
        try:
            self._look_into(source(), place, nesting)
        except UnreadableScan as error:
            self.entries[*place, 0] = Unreadable(name, str(error))

    def _look_into(self, source: Source, place: Place, nesting: int) -> None:
        """Raises: UnreadableScan if there is nothing to read in the file."""
        death = self.deaths.get(place)
        if death and not death.has_headers:
            self.damaged.append(place)
            raise UnreadableScan(death.reason)
        try:
            kind = kind_of(source.start(ENOUGH))
        except UnreadableScan as error:
            if place[1] and not isinstance(error, Recognized):
                self.damaged.append(place)
            raise
        if (kind == "ZIP" and nesting) or (kind == "gzip" and nesting == limits.MAX_NESTING):
            raise UnreadableScan(NESTED)
        if kind == "ZIP":
            self._add_members(source, place[0])
        elif kind == "gzip":
            self._look_into(_unzipped(source), place, nesting + 1)
        elif kind == "DICOM":
            self._add_instance(source, place)
        elif death:
            raise UnreadableScan(death.reason)
        elif kind == "NIfTI":
            header = read_header(source.start(HEADER_BYTES))
            read = self._announced(place, partial(read_volume, source, header))
            self.entries[*place, 0] = Found(source.name, max(header.shape), 2 * math.prod(header.shape), read)
        else:
            read = self._announced(place, partial(read_picture, source, kind))
            self.entries[*place, 0] = Found(source.name, 1, 0, read)

    def _announced(self, place: Place, read: Callable[[], Scan]) -> Callable[[], Scan]:
        def announced() -> Scan:
            self.begin(place, True)
            return read()

        return announced

    def _add_members(self, archive: Source, number: int) -> None:
        """The scans in a ZIP. Reports, viewers and tables of contents, which hospitals pack with them, are left out."""
        self.archives[number] = archive.name
        before = len(self.entries) + len(self.instances)
        for place, member in enumerate(zip_members(archive, self.opened), 1):
            named = replace(member, name=shown_name(f"{archive.name}: {member.name}"))
            self._add((number, place), named.name, lambda named=named: named, nesting=1)
        if len(self.entries) + len(self.instances) == before:
            raise UnreadableScan(NOTHING_IN_ZIP)

    def _add_instance(self, source: Source, place: Place) -> None:
        from .dicom import read_instance  # only now: pydicom takes half a second to load

        death = self.deaths.get(place)
        try:
            self.instances.append(read_instance(source, place, death.reason if death else ""))
        except UnreadableScan:
            self.damaged.append(place)
            raise

    def _add_series(self, omitted: Sequence[Omission]) -> None:
        """The stacks of each series; what the tags refuse is one entry for all files of a series.

        Args: `omitted`, from which series is not known.
        """
        from .dicom import NO_IMAGE, series_of, stacks_of

        series = series_of(self.instances)
        readable = [files for files in series if any(not instance.refusal for instance in files)]
        no_image = [files[0].place for files in series if files[0].refusal == NO_IMAGE and files not in readable]
        lost = Counter(self._group(place) for place in (*self.damaged, *no_image))
        for files in series:
            place, name = files[0].place, _name_of_several([instance.source.name for instance in files])
            try:
                if files not in readable:
                    raise UnreadableScan(files[0].refusal)
                stacks = stacks_of(files)
            except UnreadableScan as error:
                if not files[0].is_directory:
                    self.entries[*place, 0] = Unreadable(name, str(error))
                continue
            count = lost[self._group(place)]  # they may be of any series that came with them
            lacking = (*omitted, *([Omission(count, DAMAGED_BESIDE)] if count else []))
            for index, stack in enumerate(stacks):
                stack.omitted += lacking
                self.entries[*place, index] = self._found(stack, f"{name}, {stack.name}" if stack.name else name)
        if not self.entries:  # but tables of contents
            first = self.instances[0]
            self.entries[*first.place, 0] = Unreadable(first.source.name, first.refusal)

    def _group(self, place: Place) -> int:
        """The archive that a file came in, by its number, or -1 of all that came by themselves."""
        return place[0] if place[0] in self.archives else -1

    def _found(self, stack: "Stack", name: str) -> Found:
        from .dicom import is_risky, read_stack

        rows, columns = stack.frames[0].instance.shape[1:]
        read = partial(read_stack, stack, name, lambda instance: self.begin(instance.place, True))
        risky = any(is_risky(frame.instance) for frame in stack.frames)
        return Found(name, len(stack.frames), 2 * len(stack.frames) * rows * columns, read, risky)


def _unzipped(packed: Source) -> Source:
    """What is in a gzip archive: a NIfTI volume is unpacked while it is read, anything else in memory."""
    source = Source(packed.name, lambda: Gunzip(packed.open()))
    if kind_of(source.start(ENOUGH)) == "NIfTI":
        return source
    limits.check_bytes(len(source.content()))
    return Source(packed.name, lambda: BytesIO(source.content()))  # not kept: a ZIP may have many


def _name_of_several(names: Sequence[str]) -> str:
    """What a series is called that came in several files: its first file's name, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
