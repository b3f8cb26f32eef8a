"""Which candidate answers: the one that the link STATE/promoted leads to (model/serving.py). Setting it, and back."""

import hashlib
import os
from pathlib import Path

from model.artifact import FILES
from model.serving import ServedModel, promoted_folder

from .job import Job
from .refused import Refused


def sha256(weights: Path) -> str:
    """Of the int8 file in a weights folder, hexadecimal. Raises: OSError."""
    return hashlib.sha256((weights / FILES["int8"]).read_bytes()).hexdigest()


def is_promoted(job: Job) -> bool:
    return promoted_folder().resolve() == job.candidate.resolve()


def started_from(job: Job) -> Path:
    """The folder of the weights that answered when the job began."""
    return Path(job.facts["init"])


def promote(job: Job, served: ServedModel) -> None:
    """Answer with the job's candidate from now on, and after a restart.

    Raises: Refused if it got worse, or is not what was compared; OSError if that cannot be written. Then nothing
    changes.
    """
    comparison = job.outcome["comparison"]
    if not comparison["promotable"]:
        raise Refused(f"This candidate is not promoted. {' '.join(comparison['sentences'])}", 409)
    if sha256(served.wait().folder) != comparison["start"]["sha256"]:
        raise Refused(
            f"This candidate was compared with {comparison['start']['version']}, which does not answer any more. "
            "Retrain from what answers now.",
            409,
        )
    try:
        found = sha256(job.candidate)
    except OSError as error:
        raise Refused("This candidate's weights cannot be read any more. Retrain.", 409) from error
    if found != comparison["candidate"]["sha256"]:
        raise Refused("This candidate's weights are not those that were compared. Retrain.", 409)
    try:
        served.replace(job.candidate, before=lambda: _lead_to(job.candidate))
    except ValueError as error:
        raise Refused(f"This candidate cannot be used: {error}", 409) from error


def withdraw(job: Job, served: ServedModel, jobs: list[Job]) -> None:
    """Answer with what the job's candidate started from: another of `jobs`, or what the environment names.

    Raises: OSError if that cannot be written; `ModelMissing`.
    """
    before = started_from(job)
    if any(before == other.candidate.resolve() for other in jobs):
        _lead_to(before)
    else:
        promoted_folder().unlink()
    served.load_again()


def _lead_to(candidate: Path) -> None:
    """Have STATE/promoted lead to `candidate`, in one step. Raises: OSError."""
    promoted = promoted_folder()
    link = promoted.with_name(f".promoted.{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(candidate.resolve(), promoted.parent.resolve()))
    os.replace(link, promoted)
