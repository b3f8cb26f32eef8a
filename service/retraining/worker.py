"""The process that retrains: python -m service.retraining.worker JOB_FOLDER. Only here training/ is imported.

Told to stop by SIGTERM it saves where it is and ends without an outcome; started again, it goes on from there.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

from .job import Job
from .unpacking import root_of

NICENESS = 10  # whoever waits for an answer comes first
MOST_TOLD = 20  # images that were left out, with the reason of each
UNFORESEEN = "Something went wrong while it was trained. The log in the job's folder on the server says what."
NO_ROOM = "The server's disk could not be written or read while it was trained. Make room, and send the images again."


def work(job: Job) -> None:
    """Retrain as the job says, and write how it ended."""
    from training.retrain import COMPARISON, DEFAULTS, STEPS, retrain
    from training.settings import Settings

    data, original = root_of(Path(job.facts["data"])), job.facts["original"]
    places = {"data": str(data), "out": str(job.run), "cache": str(job.run / "cache"), "init": job.facts["init"]}
    asked = DEFAULTS | {"threads": max(1, (os.cpu_count() or 1) - 1), "steps": STEPS} | job.facts["settings"]
    steps = asked.pop("steps")
    try:
        result = retrain(
            Settings(**asked | places),
            Path(original) if original else None,
            steps,
            resume=(job.run / "data").exists(),
            tell=job.tell,
        )
    except OSError:
        traceback.print_exc()
        job.end("failed", [NO_ROOM])
    except (ValueError, FloatingPointError) as error:  # with a sentence; where things lie is of no use in it
        job.end("failed", [str(error).replace(f"{data}/", "").replace(str(data), "The upload")])
    else:
        shutil.copy(job.run / COMPARISON, job.run / "weights")
        shutil.rmtree(job.candidate, ignore_errors=True)  # of a start that ended right here
        (job.run / "weights").rename(job.candidate)
        left_out = [line.replace(f"{data}/", "") for line in (job.run / "own_images.txt").read_text().splitlines()]
        told = {"left_out": left_out[:MOST_TOLD], "more_left_out": max(0, len(left_out) - MOST_TOLD)}
        job.end("candidate", result["sentences"], comparison=result, **told)


def main() -> None:
    job = Job(Path(sys.argv[1]))
    os.nice(NICENESS)
    try:
        work(job)
    except Exception:
        traceback.print_exc()
        job.end("failed", [UNFORESEEN])


if __name__ == "__main__":
    main()
