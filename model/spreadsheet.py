"""Entries -> CSV: a row for each slice, and before the slices of a study one for the whole of it."""

import csv
from collections.abc import Iterable, Iterator
from typing import TextIO

from . import CLASSES

WHOLE = "all"  # in the column `slice`: the row is of the study
FORMULA_STARTS = ("=", "+", "-", "@")  # a spreadsheet runs a cell that begins so
ROUNDED = (*CLASSES, "tumor_probability", "threshold", "brain_score", "distance")
COLUMNS = (  # prediction_set is a list with spaces, sees_tumor is yes or no
    *("file", "slice", "status", "reason", "label", "prediction_set", "sees_tumor"),
    *(*ROUNDED, "seconds", "answered", "model"),
)
SEES_TUMOR = {True: "yes", False: "no", None: ""}


def write_csv(entries: Iterable[dict], out: TextIO) -> None:
    """Write entries, as `report.entry` returns them, under a line of `COLUMNS`."""
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        for row in rows(entry):
            rounded = {name: "" if row.get(name) is None else f"{row[name]:.4f}" for name in ROUNDED}
            listed = " ".join(row.get("prediction_set") or ())
            words = {"prediction_set": listed, "sees_tumor": SEES_TUMOR[row["sees_tumor"]]}
            writer.writerow({name: _harmless(cell) for name, cell in (row | rounded | words).items()})


def rows(entry: dict) -> Iterator[dict]:
    """What is said of the whole of a study, `slice` being `WHOLE`, and of each slice; of what has no answer one row."""
    whole = entry | (entry["probabilities"] or {})
    slices = [entry | made | made["probabilities"] for made in entry["slices"]]
    if len(slices) != 1:  # of a file without an answer there is nothing but this row
        yield whole | {"slice": WHOLE if slices else ""}
    yield from slices


def _harmless(cell: object) -> object:
    """Text that no spreadsheet takes for a formula; source: OWASP, CSV injection."""
    if not isinstance(cell, str):
        return cell
    return f"'{cell}" if cell.lstrip().startswith(FORMULA_STARTS) else cell
