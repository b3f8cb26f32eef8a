"""What there is to score in an archive, written down once, so that a restart and other processes do the same."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .scans import UnreadableScan
from .scans.kinds import ENOUGH, kind_of
from .scans.sources import source_of

FILES_OF_SHARD = 256  # what a crash costs at most: some seconds of scoring

Unit = list[str]  # paths below the archive's folder that are read together: a file, or the files of a DICOM series


@dataclass(frozen=True)
class Plan:
    source: str  # the archive's folder
    model: str  # `TumorClassifier.version` of what scores
    shards: list[list[Unit]]

    @property
    def files(self) -> int:
        return sum(len(unit) for shard in self.shards for unit in shard)


def make_plan(source: Path, model: str) -> Plan:
    """Every file below `source` in some shard, in the order of the paths; a DICOM series stays together.

    Raises: OSError for a folder that cannot be listed: its files must not go missing in silence.
    """
    shards: list[list[Unit]] = []
    room = 0
    for unit in _units(source):
        if room < len(unit):
            shards.append([])
            room = FILES_OF_SHARD
        shards[-1].append(unit)
        room -= len(unit)
    return Plan(str(source.resolve()), model, shards)


def write_plan(plan: Plan, file: Path) -> None:
    unfinished = file.with_suffix(".part")
    with unfinished.open("w") as opened:
        json.dump({"source": plan.source, "model": plan.model, "shards": plan.shards}, opened)
        opened.flush()
        os.fsync(opened.fileno())  # or a power cut may leave the name without what belongs to it
    os.replace(unfinished, file)


def read_plan(file: Path) -> Plan:
    return Plan(**json.loads(file.read_text()))


def _units(source: Path) -> list[Unit]:
    """Units in the order of their first files."""
    units: dict[str, Unit] = defaultdict(list)
    for path in _files(source):
        name = os.path.relpath(path, source)
        units[_series(path) or f"file {name}"].append(name)
    return list(units.values())


def _files(folder: Path) -> Iterator[Path]:
    """Sorted by path; links to folders are not followed, which could go round in circles.

    Pipes and sockets are no files: to read from them would wait for ever. Links that lead nowhere are told of.
    """

    def give_up(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=give_up):
        folders.sort()
        paths = (Path(parent, name) for name in sorted(names))
        yield from (path for path in paths if path.is_file() or not path.exists())


def _series(path: Path) -> str:
    """What the files of a DICOM series share; empty for any other file, and for one that cannot be read."""
    try:
        source = source_of(path)
        if kind_of(source.start(ENOUGH)) != "DICOM":
            return ""
        from .scans.dicom import read_instance  # only now: pydicom takes half a second to load
        from .scans.dicom.values import text

        return text(read_instance(source, 0).header, "SeriesInstanceUID")
    except (UnreadableScan, OSError):
        return ""  # reading it will tell why
