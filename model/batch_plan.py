"""What there is to score in an archive, written down once, so that a restart and other processes do the same."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from .folders import files_below, units

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
    for unit in units(files_below(source)):
        if room < len(unit):
            shards.append([])
            room = FILES_OF_SHARD
        shards[-1].append([os.path.relpath(path, source) for path in unit])
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
