"""The files in folders, by what is read together: the DICOM files that may be one series, each other file by itself.

Only headers are looked at, and nothing of a file is kept but its path: memory grows with their number alone.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .scans import UnreadableScan
from .scans.kinds import ENOUGH, is_no_scan, kind_of
from .scans.sources import is_left_behind, source_of

DIRECTORY = b"1.2.840.10008.1.3.10"  # the class of a DICOMDIR, which lists the files on a disc (PS3.4, F.7)


class Series(NamedTuple):
    """What is known of the series of a DICOM file.

    uid: its UID; "" if the file does not say it.
    study: UID of the study and number of the series; None where the study is not known.
    is_whole: whether it can be read as far as its pixels.
    """

    uid: str
    study: tuple[str, str] | None
    is_whole: bool


def files_below(folder: Path) -> Iterator[Path]:
    """Sorted by path; links to folders are not followed, which could go round in circles.

    Pipes and sockets are no files: to read from them would wait for ever. Links that lead nowhere are told of.

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
    except UnreadableScan:  # empty, too large or not to be opened: reading it tells why
        start = b""
    return DIRECTORY in start or is_no_scan(file.name, start)


def units(files: Iterable[Path]) -> list[list[Path]]:
    """Files by what must be read together, in the order of the first ones.

    Together are DICOM files with one series' UID; those that have one each, or none, in one study and of one number;
    and with the only series of a folder those in it that are damaged, so that it is known what the series lacks.
    """
    found = [(path, _series(path)) for path in files]
    alike = Counter(series.uid for _, series in found if series)
    keys: list[Hashable] = []
    of_folder: dict[Path, set[Hashable]] = defaultdict(set)
    for number, (path, series) in enumerate(found):
        key: Hashable = number
        if series and series.uid and alike[series.uid] > 1:
            key = series.uid
        elif series and series.study:
            key = series.study
        if series and series.is_whole:
            of_folder[path.parent].add(key)
        keys.append(key)
    grouped: dict[Hashable, list[Path]] = defaultdict(list)
    for (path, series), key in zip(found, keys, strict=True):
        beside = of_folder[path.parent]
        is_stray = series and not series.is_whole and not series.uid and len(beside) == 1
        grouped[next(iter(beside)) if is_stray else key].append(path)
    return list(grouped.values())


def _series(path: Path) -> Series | None:
    """None of any other file than DICOM, and of one that cannot be opened."""
    is_dicom = False
    with suppress(UnreadableScan):
        source = source_of(path)
        is_dicom = kind_of(source.start(ENOUGH)) == "DICOM"
        if is_dicom:
            from .scans.dicom import NO_IMAGE, read_instance, text  # only now: pydicom takes half a second to load

            instance = read_instance(source)
            uid, study, number = (
                text(instance.header, tag) for tag in ("SeriesInstanceUID", "StudyInstanceUID", "SeriesNumber")
            )
            return Series(uid, (study, number) if study else None, instance.refusal != NO_IMAGE)
    return Series("", None, False) if is_dicom else None
