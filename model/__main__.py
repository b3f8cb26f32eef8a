"""Classify brain MRI slices in a terminal.

    python -m model scan.png                     a table
    python -m model a.png volume.tif --json      a list, one entry for each slice, in the order given
    python -m model folder/ --csv > answers.csv  every file in a folder

Exit code: 0 if every file was read, 1 if one was not, 2 if there is no model or nothing to do.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from . import CLASSES, DISPLAY_NAMES
from .classifier import TumorClassifier
from .report import entries
from .wording import either, percent

ROUNDED = (*CLASSES, "tumor_probability", "threshold", "brain_score", "distance")
COLUMNS = (  # of the CSV; prediction_set is a list with spaces, sees_tumor is yes or no
    *("file", "slice", "status", "reason", "label", "prediction_set", "sees_tumor"),
    *(*ROUNDED, "seconds", "model"),
)
SEES_TUMOR = {True: "yes", False: "no", None: ""}


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text in the terminal's encoding
    try:
        classifier = TumorClassifier.from_folder(options.weights) if options.weights else TumorClassifier.default()
    except (OSError, ValueError) as error:
        print(f"No model could be loaded: {error}", file=sys.stderr)
        return 2
    files = list(_files(options.files))
    if not files:
        print("There is no file in the folders given. Name image files, or a folder that holds some.", file=sys.stderr)
        return 2
    answers = [entry for file in files for entry in entries(classifier, file, str(file))]
    options.write(answers)
    return 1 if any(entry["status"] == "unreadable" for entry in answers) else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="Classify brain MRI slices: glioma, meningioma, pituitary tumor or no tumor. "
        "Research demo, not a medical device.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an image, or a folder of images")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="write", action="store_const", const=_write_json, help="print a JSON list")
    form.add_argument("--csv", dest="write", action="store_const", const=_write_csv, help="print CSV, a row a slice")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="a weights folder (default: those shipped)")
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
    writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in answers:
        row = entry | (entry["probabilities"] or {})
        rounded = {name: "" if row.get(name) is None else f"{row[name]:.4f}" for name in ROUNDED}
        listed = " ".join(entry["prediction_set"] or ())
        writer.writerow(row | rounded | {"prediction_set": listed, "sees_tumor": SEES_TUMOR[entry["sees_tumor"]]})


def _write_table(answers: list[dict]) -> None:
    rows = [("file", "status", "tumor seen", *(DISPLAY_NAMES[name] for name in CLASSES), "possible")]
    with_pages = {entry["file"] for entry in answers if entry["slice"] > 1}
    for entry in answers:
        file = f"{entry['file']} [{entry['slice']}]" if entry["file"] in with_pages else entry["file"]
        if entry["status"] in ("accepted", "doubtful"):
            by_class = [percent(entry["probabilities"][name]) for name in CLASSES]
            possible = either([DISPLAY_NAMES[name] for name in entry["prediction_set"]])
            cells = [SEES_TUMOR[entry["sees_tumor"]], *by_class, possible]
        else:  # the probabilities of what is no brain MRI mean nothing
            cells = ["-"] * (len(rows[0]) - 2)
        rows.append((file, entry["status"], *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, reason in zip(rows, ["", *(entry["reason"] for entry in answers)], strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if reason:
            print(f"    {reason}")


if __name__ == "__main__":
    sys.exit(main())
