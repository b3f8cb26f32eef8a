"""What there is to read in an upload: its pictures, volumes and series, before any pixel is decoded."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import limits
from .archives import unzipped, zip_members
from .kinds import ENOUGH, READABLE, kind_of
from .names import of_several, shown_name
from .nifti import HEADER_BYTES, read_header, read_volume
from .pictures import read_picture
from .scan import Scan, Unreadable, UnreadableScan
from .sources import Source, check_bytes, source_of

if TYPE_CHECKING:
    from .dicom import Instance


class Found(NamedTuple):
    """A scan that can be read.

    name: as shown to the user.
    number: of the (first) file that it is in.
    slices: how many it has, as far as headers tell.
    read: decodes it, or raises UnreadableScan.
    """

    name: str
    number: int
    slices: int
    read: Callable[[], Scan]


@dataclass
class Upload:
    """Files while they are looked through. `entries`: each with the number of its file, in any order."""

    begin: Callable[[int], object]
    opened: ExitStack
    entries: list[tuple[int, Found | Unreadable]] = field(default_factory=list)
    instances: list["Instance"] = field(default_factory=list)
    archives: dict[int, str] = field(default_factory=dict)  # names of the ZIPs by number


def find_all(
    files: Sequence[str | Path | bytes | Unreadable],
    names: Sequence[str],
    begin: Callable[[int], object],
    opened: ExitStack,
) -> list[Found | Unreadable]:
    """Look through files and the archives among them; DICOM files become series.

    Args: as of `reading.read_all`; `opened` closes the archives when nothing is read any more.
    """
    upload = Upload(begin, opened)
    for number, file in enumerate(files[: limits.MAX_FILES]):
        if isinstance(file, Unreadable):
            upload.entries.append((number, file))
            continue
        begin(number)
        name = shown_name(names[number] if names else "" if isinstance(file, bytes) else Path(file).name)
        try:
            _add(upload, source_of(file, name), number)
        except UnreadableScan as error:
            upload.entries.append((number, Unreadable(name, str(error))))
    _add_series(upload)
    if len(files) > limits.MAX_FILES:
        reason = f"Only the first {limits.MAX_FILES:,} files were read. Upload the others by themselves."
        upload.entries.append((limits.MAX_FILES, Unreadable(f"{len(files) - limits.MAX_FILES} more files", reason)))
    entries = sorted(upload.entries, key=lambda entry: entry[0])
    alone = {number for number, count in Counter(number for number, _ in entries).items() if count == 1}
    return [
        found._replace(name=upload.archives[number]) if number in alone and number in upload.archives else found
        for number, found in entries
    ]


def _add(upload: Upload, source: Source, number: int, nesting: int = 0) -> None:
    """Raises: UnreadableScan if there is nothing to read in the file."""
    kind = kind_of(source.start(ENOUGH))
    if (kind == "ZIP" and nesting) or (kind == "gzip" and nesting == limits.MAX_NESTING):
        raise UnreadableScan("This is an archive within an archive. Unpack it and upload the files in it.")
    if kind == "ZIP":
        _add_members(upload, source, number)
    elif kind == "gzip":
        _add_unzipped(upload, unzipped(source), number, nesting + 1)
    elif kind == "DICOM":
        from .dicom import read_instance  # only now: pydicom takes half a second to load

        upload.instances.append(read_instance(source, number))
    elif kind == "NIfTI":
        header = read_header(source.start(HEADER_BYTES))
        found = Found(source.name, number, max(header.shape), partial(read_volume, source, header))
        upload.entries.append((number, found))
    else:
        upload.entries.append((number, Found(source.name, number, 1, partial(read_picture, source, kind))))


def _add_members(upload: Upload, archive: Source, number: int) -> None:
    """The scans in a ZIP. Reports, viewers and tables of contents, which hospitals pack with them, are passed over."""
    upload.archives[number] = archive.name
    before = len(upload.entries) + len(upload.instances)
    for member in zip_members(archive, upload.opened):
        upload.begin(number)
        named = replace(member, name=shown_name(f"{archive.name}: {member.name}"))
        try:
            _add(upload, named, number, nesting=1)
        except UnreadableScan as error:
            upload.entries.append((number, Unreadable(named.name, str(error))))
    if len(upload.entries) + len(upload.instances) == before:
        raise UnreadableScan(f"The ZIP holds no file that can be read here. Upload one with {READABLE} files.")


def _add_unzipped(upload: Upload, source: Source, number: int, nesting: int) -> None:
    """What is in a gzip archive: a NIfTI volume is unpacked while it is read, anything else in memory."""
    if kind_of(source.start(ENOUGH)) != "NIfTI":
        content = source.content()
        check_bytes(len(content))
        source = Source(source.name, lambda: BytesIO(content))
    _add(upload, source, number, nesting)


def _add_series(upload: Upload) -> None:
    """DICOM files by series; what the tags refuse is told once for all files of a series."""
    series = defaultdict(list)
    for instance in upload.instances:
        series[(instance.series, instance.refusal)].append(instance)
    for (_, refusal), instances in series.items():
        name, number = of_several([instance.source.name for instance in instances]), instances[0].number
        if not refusal:
            slices = sum(instance.shape[0] for instance in instances)
            found = Found(name, number, slices, partial(_read_series, instances, upload.begin))
            upload.entries.append((number, found))
        elif not instances[0].is_directory or len(upload.instances) + len(upload.entries) == len(instances):
            upload.entries.append((number, Unreadable(name, refusal)))


def _read_series(instances: list["Instance"], begin: Callable[[int], object]) -> Scan:
    from .dicom import read_series

    return read_series(instances, begin)
