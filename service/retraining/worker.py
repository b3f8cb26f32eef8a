"""The process that retrains: python -m service.retraining.worker JOB_FOLDER. Only here training/ is imported.

Stopped by SIGTERM it saves where it is and ends without an outcome; started again, it goes on from there.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

from model.files import write_whole

from .jobs import Job

NICENESS = 10  # whoever waits for an answer comes first
LISTED = 20  # images that were left out, with the reason of each
UNFORESEEN = "Something went wrong while it was trained. The log in the job's folder on the server says what."
NO_ROOM = "The server's disk could not be written or read while it was trained. Make room, and send the images again."


def work(job: Job) -> None:
    """Retrain as the job says, and write how it ended."""
    from training.retrain import COMPARISON, DEFAULTS, LEFT_OUT, retrain
    from training.settings import Settings

    data, run = root_of(job.folder / "images"), job.folder / "run"
    original = Path(job.facts["original"]) if job.facts["original"] else None
    places = {"data": str(data), "out": str(run), "cache": str(run / "cache"), "init": job.facts["init"]}
    threads = max(1, (os.cpu_count() or 1) - 1)
    try:
        result = retrain(
            Settings(**DEFAULTS | {"threads": threads} | places),
            original,
            resume=(run / "data").exists(),
            on_stage=lambda stage: write_whole(job.folder / "stage", stage),
        )
    except OSError:
        traceback.print_exc()
        job.end("failed", [NO_ROOM])
    except (ValueError, FloatingPointError) as error:  # with a sentence; where things lie is of no use in it
        job.end("failed", [str(error).replace(f"{data}/", "").replace(str(data), "The upload")])
    else:
        shutil.copy(run / COMPARISON, run / "weights")
        shutil.rmtree(job.candidate, ignore_errors=True)  # of a start that ended right here
        (run / "weights").rename(job.candidate)
        left_out = [line.replace(f"{data}/", "") for line in (run / LEFT_OUT).read_text().splitlines()]
        more = {"left_out": left_out[:LISTED], "more_left_out": max(0, len(left_out) - LISTED)}
        job.end("candidate", result["sentences"], comparison=result, **more)


def root_of(folder: Path) -> Path:
    """The folder that the images are labeled in: `folder`, or what alone lies in it, as when a folder itself is zipped.

    A folder that holds nothing but images is the folder of a class, however alone.
    """
    while True:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(found) != 1 or not found[0].is_dir():
            return folder
        if not any(path.is_dir() or path.suffix.lower() == ".csv" for path in found[0].iterdir()):
            return folder
        (folder,) = found


def main() -> None:
    """Work on the job in the folder that the command line names; an unforeseen error goes to its log."""
    job = Job(Path(sys.argv[1]))
    os.nice(NICENESS)
    try:
        work(job)
    except Exception:
        traceback.print_exc()
        job.end("failed", [UNFORESEEN])


if __name__ == "__main__":
    main()
