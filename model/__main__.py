"""Classify brain MRI in a terminal.

    python -m model scan.png                     the answer in plain words
    python -m model head.nii.gz series.zip --json    a list, an entry for each scan with its slices, in the order given
    python -m model folder/ --csv > answers.csv  every scan in a folder; the files of a DICOM series are one

One scan is read at a time, and each answer is written at once. What lies beside scans in a folder (programs, help
pages, a DICOMDIR) is passed over and counted; a file that is named gets an answer.

Exit code: 0 if every file was read, 1 if one was not, 2 if there is no model or nothing to do.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from . import CLASSES, DISPLAY_NAMES
from .classifier import TumorClassifier
from .files import files_below, grouped, is_passed_over, series_of
from .report import ANSWERED, each_entry, write_csv
from .wording import many, percent


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
        print(f"Passed over {many(passed_over, 'file')} that cannot be a scan.", file=sys.stderr)
    if not files:
        print("There is no file in the folders given. Name scans, or a folder that holds some.", file=sys.stderr)
        return 2
    statuses: set[str] = set()
    answers = _answers(classifier, files, statuses)
    if options.csv:
        write_csv(answers, sys.stdout)
    else:
        (_write_json if options.json else _write_text)(answers)
    return 0 if statuses.issubset(ANSWERED) else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="Classify brain MRI: glioma, meningioma, pituitary tumor or no tumor. "
        "Research demo, not a medical device.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a scan, a ZIP of scans, or a folder")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list")
    form.add_argument("--csv", action="store_true", help="print CSV, a row a slice")
    weights = "a weights folder, or ORG/NAME or ORG/NAME@REVISION on the Hub (default: those shipped)"
    parser.add_argument("--weights", metavar="DIR", help=weights)
    return parser.parse_args(arguments)


def _files(paths: list[Path]) -> tuple[list[Path], int]:
    """The files named, in place of each folder the files in it that may be scans, and how many are none.

    Raises: OSError for a folder that cannot be listed.
    """
    found = [(file, path) for path in paths for file in (files_below(path) if path.is_dir() else [path])]
    files = [file for file, path in found if file == path or not is_passed_over(file, path)]
    return files, len(found) - len(files)


def _answers(classifier: TumorClassifier, files: list[Path], statuses: set[str]) -> Iterator[dict]:
    """An entry for each scan, as it is answered; its status is put into `statuses`."""
    for group in grouped([(str(file), series_of(file)) for file in files]):
        for entry in each_entry(classifier, group):
            statuses.add(entry["status"])
            yield entry


def _write_json(answers: Iterator[dict]) -> None:
    """A list, written entry by entry; in ASCII, the one form that gives back any file name as it was."""
    for number, entry in enumerate(answers):
        print(
            ",\n" if number else "[\n", textwrap.indent(json.dumps(entry, indent=2), "  "), sep="", end="", flush=True
        )
    print("\n]")


def _write_text(answers: Iterator[dict]) -> None:
    """The file, its status and the answer in plain words; below it the probabilities and what else there is to say."""
    for entry in answers:
        print(f"{entry['file']}: {entry['status']}. {entry['sentence']}")
        remarks = []
        if entry["status"] in ("accepted", "doubtful"):  # what is no brain MRI has no probabilities
            by_class = [f"{DISPLAY_NAMES[name]} {percent(entry['probabilities'][name])}" for name in CLASSES]
            remarks = [", ".join(by_class), *filter(None, [entry["reason"]])]
        if study := entry["study"]:
            named = ", ".join(map(str, study["suspicious"]))
            refused = f", {study['refused']} refused" if study["refused"] else ""
            suspicious = f"; most suspicious first: {named}" if named else ""
            remarks.append(f"{many(len(entry['slices']), 'slice')}{refused}{suspicious}")
        for remark in remarks + entry["notes"]:
            print(f"    {remark}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
