"""Classify brain MRI in a terminal.

    python -m model scan.png                     a table, a row for each scan
    python -m model head.nii.gz series.zip --json    a list, an entry for each scan with its slices, in the order given
    python -m model folder/ --csv > answers.csv  every file in a folder; the files of a DICOM series are one scan

Exit code: 0 if every file was read, 1 if one was not, 2 if there is no model or nothing to do.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from . import CLASSES, DISPLAY_NAMES
from .cases import ANSWERED
from .classifier import TumorClassifier
from .report import entries
from .spreadsheet import SEES_TUMOR, write_csv
from .wording import either, many, percent

MOST_NAMED = 5  # suspicious slices in the table


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not fit the terminal's encoding
    try:
        classifier = TumorClassifier.from_pretrained(options.weights)
    except (OSError, ValueError) as error:
        print(f"No model could be loaded: {error}", file=sys.stderr)
        return 2
    files = list(_files(options.files))
    if not files:
        print("There is no file in the folders given. Name scans, or a folder that holds some.", file=sys.stderr)
        return 2
    answers = entries(classifier, files)
    options.write(answers)
    return 0 if all(entry["status"] in ANSWERED for entry in answers) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="Classify brain MRI: glioma, meningioma, pituitary tumor or no tumor. "
        "Research demo, not a medical device.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a scan, a ZIP of scans, or a folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="write", action="store_const", const=_write_json, help="print a JSON list")
    form.add_argument("--csv", dest="write", action="store_const", const=_write_csv, help="print CSV, a row a slice")
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help="a weights folder, or ORG/NAME or ORG/NAME@REVISION on the Hub (default: those shipped)",
    )
    parser.set_defaults(write=_write_table)
    return parser.parse_args(arguments)


def _files(paths: list[Path]) -> Iterator[Path]:
    """The files named, and in place of each folder the files in it, by name."""
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            yield path


def _write_json(answers: list[dict]) -> None:
    print(json.dumps(answers, indent=2))  # in ASCII: the one form that gives back any file name as it was


def _write_csv(answers: list[dict]) -> None:
    write_csv(answers, sys.stdout)


def _write_table(answers: list[dict]) -> None:
    rows = [("file", "status", "tumor seen", *(DISPLAY_NAMES[name] for name in CLASSES), "possible")]
    for entry in answers:
        cells = ["-"] * (len(rows[0]) - 2)  # the probabilities of what is no brain MRI mean nothing
        if entry["status"] in ("accepted", "doubtful"):
            by_class = [percent(entry["probabilities"][name]) for name in CLASSES]
            cells = [SEES_TUMOR[entry["sees_tumor"]], *by_class, _possible(entry)]
        rows.append((entry["file"], entry["status"], *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, remarks in zip(rows, [[], *map(_remarks, answers)], strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for remark in remarks:
            print(f"    {remark}")


def _possible(entry: dict) -> str:
    """What cannot be excluded; a study has no such list, only its slices do."""
    return "-" if entry["study"] else either([DISPLAY_NAMES[name] for name in entry["slices"][0]["prediction_set"]])


def _remarks(entry: dict) -> list[str]:
    """The lines below a row of the table."""
    remarks = [entry["reason"]] if entry["reason"] else []
    if study := entry["study"]:
        suspicious = ", ".join(map(str, study["suspicious"][:MOST_NAMED]))
        named = f"; most suspicious first: {suspicious}" if suspicious else ""
        refused = f", {study['refused']} refused" if study["refused"] else ""
        remarks.append(f"{many(len(entry['slices']), 'slice')}{refused}{named}")
    return remarks + entry["notes"]


if __name__ == "__main__":
    sys.exit(main())
