"""Entries -> Parquet: the rows of model/spreadsheet.py with types, in files that are whole or not there.

Needs pyarrow (requirements-batch.txt), and nothing else in model/ does.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import CLASSES
from .spreadsheet import WHOLE, rows

ROWS_IN_MEMORY = 4096  # before they are written: a few MB
ROWS_OF_GROUP = 2**17  # of the merged file: what a reader of Parquet takes at once, some 20 MB
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # of the file below the archive's folder; of a DICOM series its first file
        ("files", pa.int32()),  # that the scan was read from
        ("file", pa.string()),  # as the page names the scan
        ("slice", pa.int32()),  # from 1; null where the row is of a whole study, or of a file without an answer
        ("slices", pa.int32()),  # of the scan
        ("status", pa.string()),
        ("reason", pa.string()),
        ("label", pa.string()),
        ("prediction_set", pa.list_(pa.string())),
        ("sees_tumor", pa.bool_()),
        *((name, pa.float32()) for name in (*CLASSES, "tumor_probability", "threshold", "brain_score", "distance")),
        ("kind", pa.string()),
        ("plane", pa.string()),
        ("sequence", pa.string()),
        ("seconds", pa.float32()),
        ("answered", pa.string()),
        ("model", pa.string()),
    ]
)


def typed_rows(entry: dict, path: str, files: int) -> Iterator[dict]:
    """The rows of an entry, as `report.entry` returns it, with every column of `SCHEMA`."""
    facts = {"path": path, "files": files, "slices": len(entry["slices"])}
    for row in rows(entry):
        number = None if row.get("slice") in (None, "", WHOLE) else row["slice"]
        row = row | facts | {"slice": number}
        yield {name: _encodable(row.get(name)) for name in SCHEMA.names}


def write_rows(found: Iterable[dict], file: Path) -> None:
    """Write rows as they come. Raises: OSError."""
    with _writer(file) as writer:
        waiting: list[dict] = []
        for row in found:
            waiting.append(row)
            if len(waiting) == ROWS_IN_MEMORY:
                writer.write_table(pa.Table.from_pylist(waiting, SCHEMA))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, SCHEMA))


def merge(parts: Iterable[Path], file: Path) -> Counter:
    """One file of the rows of many, in their order; returns how many scans have which status. Raises: OSError."""
    statuses = Counter()
    with _writer(file) as writer:
        waiting: list[pa.Table] = []
        for part in parts:
            table = pq.read_table(part)
            of_scans = pc.or_kleene(pc.is_null(table["slice"]), pc.equal(table["slices"], 1))
            statuses.update(table.filter(of_scans)["status"].to_pylist())
            waiting.append(table)
            if sum(map(len, waiting)) >= ROWS_OF_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return statuses


@contextmanager
def _writer(file: Path) -> Iterator[pq.ParquetWriter]:
    """A writer whose file gets its name when all is in it."""
    unfinished = file.with_suffix(".unfinished")
    with pq.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:
        yield writer
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())  # or a power cut may leave the name without what belongs to it
    os.replace(unfinished, file)


def _encodable(value: object) -> object:
    """Text that UTF-8 can hold: a file's name may be any bytes."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
