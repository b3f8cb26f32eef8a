"""Files on disk: ours, written whole and known by their sha256; those in a folder, by what is read together."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from .scans import UnreadableScan
from .scans.kinds import ENOUGH, is_no_scan, kind_of
from .scans.sources import Source, is_left_behind, source_of

DEFAULT = "~/.local/state/brain-tumor-demo"
NOWHERE = Path(os.devnull) / "state"  # holds nothing and takes nothing: of a user without a home
DIRECTORY = b"1.2.840.10008.1.3.10"  # the class of a DICOMDIR, which lists the files on a disc (PS3.4, F.7)


def state_folder() -> Path:
    """The folder that STATE_FOLDER of the environment names, else `DEFAULT`. It need not exist yet."""
    try:
        return Path(os.environ.get("STATE_FOLDER") or DEFAULT).expanduser()
    except RuntimeError:
        return NOWHERE


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file so that nobody ever reads half of it, and a crash leaves the old or the new one. Raises: OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(content.encode() if isinstance(content, str) else content)
            new.flush()
            os.fsync(new.fileno())  # or a power cut may leave the name without what belongs to it
            os.replace(new.name, file)
        except BaseException:
            os.unlink(new.name)
            raise


def sha256(file: Path) -> str:
    """The hexadecimal SHA-256 of a file's content. Raises: OSError."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


# files of others, in folders


class Series(NamedTuple):
    """What the header of a DICOM file says of its series."""

    uid: str  # "" if the file does not say it
    study: tuple[str, str] | None  # UID of the study and number of the series; None where the study is not known
    is_whole: bool  # whether it can be read as far as its pixels


def files_below(folder: Path) -> Iterator[Path]:
    """Sorted by path, without pipes and sockets; links to folders are not followed, broken links are included.

    Raises: OSError for a folder that cannot be listed: its files must not go missing in silence.
    """

    def give_up(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=give_up):
        folders.sort()
        paths = (Path(parent, name) for name in sorted(names))
        yield from (path for path in paths if path.is_file() or not path.exists())


def is_passed_over(file: Path, folder: Path) -> bool:
    """Whether a file met in `folder` is no scan that anybody would miss: hidden, a program, a DICOMDIR."""
    if is_left_behind(file.relative_to(folder)):
        return True
    try:
        start = source_of(file).start(ENOUGH)
    except UnreadableScan:  # empty, too large or not to be opened: reading it says why
        start = b""
    return DIRECTORY in start or is_no_scan(file.name, start)


def series_of(file: Path | Source) -> Series | None:
    """Of a DICOM file, from its header alone; None of any other file, and of one that cannot be opened."""
    series = None
    with suppress(UnreadableScan):
        source = file if isinstance(file, Source) else source_of(file)
        if kind_of(source.start(ENOUGH)) == "DICOM":
            from .scans.dicom import NO_IMAGE, read_instance, text  # only now: pydicom takes half a second to load

            series = Series("", None, False)  # if its header is damaged
            instance = read_instance(source)
            tags = ("SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber")
            uid, study, number = (text(instance.header, tag) for tag in tags)
            series = Series(uid, (study, number) if study else None, instance.refusal != NO_IMAGE)
    return series


def grouped(found: Sequence[tuple[str, Series | None]]) -> list[list[str]]:
    """Paths of files by what must be read together, in the order of the first ones.

    Together are DICOM files with one series' UID; those that have one each, or none, in one study and of one number;
    and with the only series of a folder those in it that are damaged, so that it is known what the series lacks.
    """
    alike = Counter(series.uid for _, series in found if series)
    keys: list[Hashable] = []
    of_folder: dict[str, set[Hashable]] = defaultdict(set)
    for number, (path, series) in enumerate(found):
        key: Hashable = number
        if series and series.uid and alike[series.uid] > 1:
            key = series.uid
        elif series and series.study:
            key = series.study
        if series and series.is_whole:
            of_folder[os.path.dirname(path)].add(key)
        keys.append(key)
    groups: dict[Hashable, list[str]] = defaultdict(list)
    for (path, series), key in zip(found, keys, strict=True):
        beside = of_folder[os.path.dirname(path)]
        is_stray = series and not series.is_whole and not series.uid and len(beside) == 1
        groups[next(iter(beside)) if is_stray else key].append(path)
    return list(groups.values())
