"""What there is to read in an upload: its pictures, volumes and series, before any pixel is decoded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import limits
from .archives import unzipped, zip_members
from .kinds import ENOUGH, READABLE, Recognized, kind_of
from .names import of_several, shown_name
from .nifti import HEADER_BYTES, bytes_of_volume, read_header, read_volume
from .pictures import read_picture
from .scan import Omission, Scan, Unreadable, UnreadableScan
from .sources import Source, check_bytes, source_of

if TYPE_CHECKING:
    from .dicom import Instance, Stack

Place = tuple[int, int]  # of a file: its number among those uploaded, and in its archive
Key = tuple[int, int, int]  # of an entry: the place of its first file, and which stack of that file's series it is
DAMAGED_BESIDE = "Files beside it are damaged, and do not say what series they belong to: export the series again."


class Found(NamedTuple):
    """A scan that can be read.

    name: as shown to the user.
    slices: how many it has, as far as headers tell.
    nbytes: that they take when they are decoded, as far as headers tell.
    read: decodes it, or raises UnreadableScan.
    is_risky: whether a decoder takes part that may crash.
    """

    name: str
    slices: int
    nbytes: int
    read: Callable[[], Scan]
    is_risky: bool = False


class Death(NamedTuple):
    """That a decoder died of a file: the sentence for the user, and whether its headers can be read."""

    reason: str
    has_headers: bool


@dataclass
class Upload:
    """Files while they are looked through.

    begin: called with a file's place, and whether it is decoded, whenever work on it begins.
    opened: closes the archives when nothing is read any more.
    deaths: of decoders, by the place of the file that they died of.
    most_files: that are looked through; how many more there are is an entry.
    damaged: places of DICOM files, and of files of archives, of which not even the headers can be read.
    archives: names of the ZIPs by number.
    """

    begin: Callable[[Place, bool], object]
    opened: ExitStack
    deaths: Mapping[Place, Death]
    most_files: int
    entries: dict[Key, Found | Unreadable] = field(default_factory=dict)
    instances: list["Instance"] = field(default_factory=list)
    damaged: list[Place] = field(default_factory=list)
    archives: dict[int, str] = field(default_factory=dict)


def find_all(
    files: Sequence[str | Path | bytes], names: Sequence[str], upload: Upload
) -> dict[Key, Found | Unreadable]:
    """Look through files and the archives among them; DICOM files become series, and these stacks.

    Args: `files`, `names` as of `reading.read_all`.
    Returns: what there is, in the order of the (first) files.
    """
    for number, file in enumerate(files[: upload.most_files]):
        upload.begin((number, 0), False)
        name = shown_name(names[number] if names else "" if isinstance(file, bytes) else Path(file).name)
        try:
            _add(upload, source_of(file, name), (number, 0))
        except UnreadableScan as error:
            upload.entries[number, 0, 0] = Unreadable(name, str(error))
    more = len(files) - upload.most_files
    only = f"Only the first {upload.most_files:,} files were read. Upload one series at a time."
    _add_series(upload, [Omission(more, only)] if more > 0 else [])
    if more > 0:
        upload.entries[upload.most_files, 0, 0] = Unreadable(f"{more} more files", only)
    count = Counter(number for number, _, _ in upload.entries)
    for key, found in sorted(upload.entries.items()):
        if count[key[0]] == 1 and key[0] in upload.archives:
            found = found._replace(name=upload.archives[key[0]])
        upload.entries[key] = found
    return dict(sorted(upload.entries.items()))


def _add(upload: Upload, source: Source, place: Place, nesting: int = 0) -> None:
    """Raises: UnreadableScan if there is nothing to read in the file."""
    death = upload.deaths.get(place)
    if death and not death.has_headers:
        upload.damaged.append(place)
        raise UnreadableScan(death.reason)
    try:
        kind = kind_of(source.start(ENOUGH))
    except UnreadableScan as error:
        if place[1] and not isinstance(error, Recognized):
            upload.damaged.append(place)
        raise
    if (kind == "ZIP" and nesting) or (kind == "gzip" and nesting == limits.MAX_NESTING):
        raise UnreadableScan("This is an archive within an archive. Unpack it and upload the files in it.")
    if kind == "ZIP":
        _add_members(upload, source, place[0])
    elif kind == "gzip":
        _add_unzipped(upload, unzipped(source), place, nesting + 1)
    elif kind == "DICOM":
        _add_instance(upload, source, place)
    elif death:
        raise UnreadableScan(death.reason)
    elif kind == "NIfTI":
        header = read_header(source.start(HEADER_BYTES))
        read = partial(_begun, upload, place, partial(read_volume, source, header))
        upload.entries[*place, 0] = Found(source.name, max(header.shape), bytes_of_volume(header), read)
    else:
        read = partial(_begun, upload, place, partial(read_picture, source, kind))
        upload.entries[*place, 0] = Found(source.name, 1, 0, read)


def _begun(upload: Upload, place: Place, read: Callable[[], Scan]) -> Scan:
    upload.begin(place, True)
    return read()


def _add_members(upload: Upload, archive: Source, number: int) -> None:
    """The scans in a ZIP. Reports, viewers and tables of contents, which hospitals pack with them, are passed over."""
    upload.archives[number] = archive.name
    before = len(upload.entries) + len(upload.instances)
    for place, member in enumerate(zip_members(archive, upload.opened), 1):
        upload.begin((number, place), False)
        named = replace(member, name=shown_name(f"{archive.name}: {member.name}"))
        try:
            _add(upload, named, (number, place), nesting=1)
        except UnreadableScan as error:
            upload.entries[number, place, 0] = Unreadable(named.name, str(error))
    if len(upload.entries) + len(upload.instances) == before:
        raise UnreadableScan(f"The ZIP holds no file that can be read here. Upload one with {READABLE} files.")


def _add_unzipped(upload: Upload, source: Source, place: Place, nesting: int) -> None:
    """What is in a gzip archive: a NIfTI volume is unpacked while it is read, anything else in memory."""
    if kind_of(source.start(ENOUGH)) != "NIfTI":
        check_bytes(len(source.content()))
        source = Source(source.name, lambda packed=source: BytesIO(packed.content()))  # not kept: a ZIP may have many
    _add(upload, source, place, nesting)


def _add_instance(upload: Upload, source: Source, place: Place) -> None:
    from .dicom import read_instance  # only now: pydicom takes half a second to load

    death = upload.deaths.get(place)
    try:
        upload.instances.append(read_instance(source, *place, condemned=death.reason if death else ""))
    except UnreadableScan:
        upload.damaged.append(place)
        raise


def _add_series(upload: Upload, omitted: Sequence[Omission]) -> None:
    """The stacks of each series; what the tags refuse is told once for all files of a series.

    Args: `omitted`, from which series is not known.
    """
    if not upload.instances:
        return
    from .dicom import NO_IMAGE, series_of, stacks_of

    series = series_of(upload.instances)
    readable = [files for files in series if any(not instance.refusal for instance in files)]
    no_image = [files[0] for files in series if files[0].refusal == NO_IMAGE and files not in readable]
    lost = Counter(_group(upload, number) for number, _ in upload.damaged)
    lost += Counter(_group(upload, instance.number) for instance in no_image)
    for files in series:
        place, name = (files[0].number, files[0].place), of_several([instance.source.name for instance in files])
        refusal = "" if files in readable else files[0].refusal
        try:
            stacks = [] if refusal else stacks_of(files)
        except UnreadableScan as error:
            refusal = str(error)
        if refusal:
            if not files[0].is_directory:
                upload.entries[*place, 0] = Unreadable(name, refusal)
            continue
        for index, stack in enumerate(stacks):
            count = lost[_group(upload, place[0])]  # they may be of any series that came with them
            stack.omitted += (*omitted, *([Omission(count, DAMAGED_BESIDE)] if count else []))
            upload.entries[*place, index] = _found(upload, stack, f"{name}, {stack.name}" if stack.name else name)
    if not upload.entries:  # but tables of contents
        first = upload.instances[0]
        upload.entries[first.number, first.place, 0] = Unreadable(first.source.name, first.refusal)


def _group(upload: Upload, number: int) -> int:
    """The archive that a file came in, by its number, or -1 of all that came by themselves."""
    return number if number in upload.archives else -1


def _found(upload: Upload, stack: "Stack", name: str) -> Found:
    from .dicom import bytes_of_stack, is_risky, read_stack

    def begin(instance: "Instance") -> None:
        upload.begin((instance.number, instance.place), True)

    risky = any(is_risky(frame.instance) for frame in stack.frames)
    return Found(name, len(stack.frames), bytes_of_stack(stack), partial(read_stack, stack, name, begin), risky)
