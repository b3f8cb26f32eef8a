"""One job as it lies on disk: what it was asked, how far it is, how it ended.

JOB/job.json       begun, data, init, original, settings: written once, before it starts
JOB/images/        what was unpacked; gone when the job has ended
JOB/run/           the training run; gone when the job has ended
JOB/starts         a line for each time that the process was started
JOB/stage          what is being done
JOB/canceled       there if that was asked
JOB/outcome.json   state, sentences, comparison: written once, at the end
JOB/candidate/     the new weights with comparison.json
JOB/log            what the process printed; gone unless the job has failed
"""

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from model.files import write_whole

ENDED = ("candidate", "failed", "canceled")  # what an outcome can be


@dataclass(frozen=True)
class Job:
    """The job in `folder`. Reading it needs no lock: each file is written whole."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def facts(self) -> dict:
        return json.loads((self.folder / "job.json").read_text())

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def candidate(self) -> Path:
        return self.folder / "candidate"

    @property
    def outcome(self) -> dict | None:
        """{state, sentences, comparison, left_out, ended}; None while it has not ended."""
        file = self.folder / "outcome.json"
        return json.loads(file.read_text()) if file.exists() else None

    @property
    def stage(self) -> str:
        file = self.folder / "stage"
        return file.read_text() if file.exists() else "starting"

    @property
    def progress(self) -> float | None:
        """Share of the epochs that are trained, 0..1; None before training."""
        settings, history = self.run / "settings.json", self.run / "history.jsonl"
        if not settings.exists():
            return None
        trained = len(history.read_text().splitlines()) if history.exists() else 0
        return trained / json.loads(settings.read_text())["settings"]["epochs"]

    @property
    def is_canceled(self) -> bool:
        return (self.folder / "canceled").exists()

    @property
    def starts(self) -> int:
        file = self.folder / "starts"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def tell(self, stage: str) -> None:
        write_whole(self.folder / "stage", stage)

    def end(self, state: str, sentences: list[str], **more: object) -> None:
        """Write the outcome, then delete what held images. `state`: of `ENDED`."""
        outcome = {"state": state, "sentences": sentences, "ended": now()} | more
        write_whole(self.folder / "outcome.json", json.dumps(outcome, indent=2) + "\n")
        self.clean()

    def clean(self) -> None:
        """Delete what held images and is not needed any more."""
        for name in ("images", "run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if self.outcome["state"] != "failed":
            (self.folder / "log").unlink(missing_ok=True)


def now() -> str:
    """ISO 8601, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
