"""What the routes of retraining answer, as OpenAPI shows it."""

from pydantic import BaseModel, Field

from .job import Job
from .jobs import Jobs


class JobReport(BaseModel):
    """A job of retraining."""

    id: str
    state: str = Field(description="running, stopped (goes on when the server starts again), or how it ended: "
                       "candidate, promoted, failed, canceled")  # fmt: skip
    stage: str = Field(description="What is being done; empty once it has ended.")
    progress: float | None = Field(description="Share of the training that is done, 0 to 1; null before it begins.")
    begun: str = Field(description="ISO 8601, UTC.")
    ended: str | None
    sentences: list[str] = Field(description="How it ended: whether the candidate got worse, or what was wrong.")
    left_out: list[str] = Field(description="Images that could not be used, and why; the first of them.")
    more_left_out: int
    comparison: dict | None = Field(description="The candidate beside what it started from: comparison.json.")


def report(jobs: Jobs, job: Job) -> JobReport:
    outcome = job.outcome or {}
    return JobReport(
        id=job.id,
        state=jobs.state(job),
        stage="" if outcome else job.stage,
        progress=1.0 if outcome.get("state") == "candidate" else job.progress,
        begun=job.facts["begun"],
        ended=outcome.get("ended"),
        sentences=outcome.get("sentences", []),
        left_out=outcome.get("left_out", []),
        more_left_out=outcome.get("more_left_out", 0),
        comparison=outcome.get("comparison"),
    )
