"""Score an archive: every file below a folder, a row for each slice, in one Parquet file.

    python -m model.batch ARCHIVE --out results.parquet
    torchrun --nproc_per_node 4 -m model.batch ARCHIVE --out results.parquet     # shared out among processes

A file that cannot be read is a row that says why; the files of a DICOM series are one scan. Stopped, killed or out of
room, the same command goes on where it was: what is finished lies in results.parquet.parts/ until all is. Memory does
not grow with the archive. Needs pyarrow: pip install -r requirements-batch.txt.

Exit code: 0 if every file was read, 1 if one was not (0 under torchrun, which takes any other for a crash), 2 if
nothing could be done.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .batch_plan import Plan, Unit, make_plan, read_plan, write_plan
from .cases import ANSWERED
from .classifier import TumorClassifier
from .report import each_entry
from .wording import many

WAIT = 0.5  # seconds between two looks at whether the other processes are done
NO_PYARROW = "Writing Parquet needs pyarrow. Install it with: pip install -r requirements-batch.txt"


class CannotScore(Exception):
    """Nothing can be done. The message is a sentence."""


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not fit the terminal's encoding
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    try:
        code = score(options.source, options.out, options.weights, rank, processes)
        return 0 if code == 1 and processes > 1 else code
    except CannotScore as problem:
        print(problem, file=sys.stderr)
        return 2
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"{options.out} cannot be written: {reason}. What is finished is kept: run this again.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What is finished is kept: run this again to go on.", file=sys.stderr)
        return 2


def score(source: Path, out: Path, weights: str | None, rank: int = 0, processes: int = 1) -> int:
    """Score what is below `source`, as process `rank` of so many, into `out`; returns the exit code.

    Raises: CannotScore, OSError.
    """
    try:
        from . import parquet
    except ModuleNotFoundError as error:
        raise CannotScore(NO_PYARROW) from error
    if not source.is_dir():
        raise CannotScore(f"{source} is no folder. Name the one that holds the archive.")
    if out.exists():
        if rank:
            return 0  # the others were done before this process began
        raise CannotScore(f"{out} is there already. Choose another --out, or move it away.")
    try:
        classifier = TumorClassifier.from_pretrained(weights)
    except (OSError, ValueError) as error:
        raise CannotScore(f"No model could be loaded: {error}") from error
    parts = out.with_name(f"{out.name}.parts")
    plan = planned(source, classifier.version, parts) if rank == 0 else plan_of_first(parts, out)
    if plan is None:
        return 0
    _check(plan, source, classifier.version, parts)
    files = [parts / f"{number:06d}.parquet" for number in range(len(plan.shards))]
    begun, scored = time.monotonic(), 0
    for number in range(rank, len(files), processes):
        if not files[number].exists() and not out.exists():  # all parts go once `out` is there
            parquet.write_rows(_rows(classifier, source, plan.shards[number]), files[number])
            scored += sum(map(len, plan.shards[number]))
            speed = scored / (time.monotonic() - begun)
            print(f"shard {number + 1} of {len(files)} is done, {speed:.1f} files/s in this process", flush=True)
    if rank:
        return 0
    while not all(file.exists() for file in files):  # torchrun ends this process if another one fails
        time.sleep(WAIT)
    statuses = parquet.merge(files, out)
    shutil.rmtree(parts)
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    print(f"wrote {out}: {many(statuses.total(), 'scan')} of {many(plan.files, 'file')}: {counts}")
    return 0 if all(status in ANSWERED for status in statuses) else 1


def planned(source: Path, model: str, parts: Path) -> Plan:
    """The plan in the folder `parts`, which is made if it is not there. Raises: CannotScore, OSError."""
    file = parts / "plan.json"
    if not file.exists():
        try:
            plan = make_plan(source, model)
        except OSError as error:
            raise CannotScore(
                f"{error.filename} cannot be listed: {(error.strerror or str(error)).lower()}. Make it readable, or "
                "move it out of the archive."
            ) from error
        if not plan.files:
            raise CannotScore(f"There is no file below {source}. Name the folder that holds the archive.")
        parts.mkdir(parents=True, exist_ok=True)
        write_plan(plan, file)
    return read_plan(file)


def plan_of_first(parts: Path, out: Path) -> Plan | None:
    """The plan that the first process makes; None if `out` is written already, there being no shard for this one."""
    while not out.exists():
        try:
            return read_plan(parts / "plan.json")
        except FileNotFoundError:
            time.sleep(WAIT)
    return None


def _check(plan: Plan, source: Path, model: str, parts: Path) -> None:
    """Raises: CannotScore if the plan was made for another archive or other weights."""
    if (plan.source, plan.model) != (str(source.resolve()), model):
        raise CannotScore(
            f"{parts} holds what {plan.model} says of {plan.source}. Go on with these, choose another --out, or remove "
            "that folder."
        )


def _rows(classifier: TumorClassifier, source: Path, units: list[Unit]) -> Iterator[dict]:
    """The rows of some files, read and judged one after the other."""
    from .parquet import typed_rows

    for unit in units:
        for entry in each_entry(classifier, [source / name for name in unit]):
            yield from typed_rows(entry, unit[0], len(unit))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.batch",
        description="Score every file below a folder into a Parquet file. Research demo, not a medical device.",
    )
    parser.add_argument("source", type=Path, metavar="ARCHIVE", help="the folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Parquet file to write")
    parser.add_argument("--weights", help="a weights folder, or ORG/NAME on the Hub (default: those shipped)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
