"""Classify brain MRI in a terminal.

    python -m model scan.png                     a table, a row for each scan
    python -m model head.nii.gz series.zip --json    a list, an entry for each scan with its slices, in the order given
    python -m model folder/ --csv > answers.csv  every scan in a folder; the files of a DICOM series are one

Any number of files is read, one scan at a time, and each answer is written when it is there. What lies beside scans in
a folder (programs, help pages, a DICOMDIR) is passed over and counted; a file that is named gets an answer.

Exit code: 0 if every file was read, 1 if one was not, 2 if there is no model or nothing to do.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import CLASSES, DISPLAY_NAMES
from .classifier import TumorClassifier
from .files import files_below, grouped, is_passed_over, series_of
from .report import ANSWERED, SEES_TUMOR, each_entry, write_csv
from .wording import either, many, percent

MOST_NAMED = 5  # suspicious slices in the table
WIDE_NAME = 32  # letters in the table for a file's name; a longer one moves the rest of its row
WIDEST_CELL = len("unreadable")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parse(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not fit the terminal's encoding
    try:
        classifier = TumorClassifier.from_pretrained(options.weights)
    except (OSError, ValueError) as error:
        print(f"No model could be loaded: {error}", file=sys.stderr)
        return 2
    try:
        files, passed_over = _files(options.files)
    except OSError as error:
        print(f"{error.filename} cannot be listed: {(error.strerror or str(error)).lower()}.", file=sys.stderr)
        return 2
    if passed_over:
        are = "that is no scan was" if passed_over == 1 else "that are no scans were"
        print(f"{many(passed_over, 'file')} {are} passed over.", file=sys.stderr)
    if not files:
        print("There is no file in the folders given. Name scans, or a folder that holds some.", file=sys.stderr)
        return 2
    statuses: set[str] = set()
    options.write(_answers(classifier, files, statuses))
    return 0 if statuses.issubset(ANSWERED) else 1


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


def _files(paths: list[Path]) -> tuple[list[Path], int]:
    """The files named, in place of each folder the files in it that may be scans, and how many are none.

    Raises: OSError for a folder that cannot be listed.
    """
    files, passed_over = [], 0
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        for file in files_below(path):
            if is_passed_over(file, path):
                passed_over += 1
            else:
                files.append(file)
    return files, passed_over


def _answers(classifier: TumorClassifier, files: list[Path], statuses: set[str]) -> Iterator[dict]:
    """An entry for each scan, as it is answered; its status is put into `statuses`."""
    for group in grouped([(str(file), series_of(file)) for file in files]):
        for entry in each_entry(classifier, group):
            statuses.add(entry["status"])
            yield entry


def _write_json(answers: Iterator[dict]) -> None:
    """A list, written entry by entry; in ASCII, the one form that gives back any file name as it was."""
    print("[", end="")
    between = "\n"
    for entry in answers:
        print(f"{between}{textwrap.indent(json.dumps(entry, indent=2), '  ')}", end="", flush=True)
        between = ",\n"
    print("\n]")


def _write_csv(answers: Iterator[dict]) -> None:
    write_csv(answers, sys.stdout)


def _write_table(answers: Iterator[dict]) -> None:
    heads = ("status", "tumor seen", *(DISPLAY_NAMES[name] for name in CLASSES), "possible")
    _print_row("file", heads, heads)
    for entry in answers:
        cells = ["-"] * (len(heads) - 1)  # the probabilities of what is no brain MRI mean nothing
        if entry["status"] in ("accepted", "doubtful"):
            by_class = [percent(entry["probabilities"][name]) for name in CLASSES]
            cells = [SEES_TUMOR[entry["sees_tumor"]], *by_class, _possible(entry)]
        _print_row(entry["file"], (entry["status"], *cells), heads)
        for remark in _remarks(entry):
            print(f"    {remark}")


def _print_row(file: str, cells: Sequence[str], heads: Sequence[str]) -> None:
    """A line of the table, whose columns are as wide as they may need to be: rows are written before all are known."""
    spaced = [cell.ljust(max(len(head), WIDEST_CELL)) for cell, head in zip(cells, heads, strict=True)]
    print("  ".join([file.ljust(WIDE_NAME), *spaced]).rstrip(), flush=True)


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
