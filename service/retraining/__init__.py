"""POST /retrain and what follows from it; every route asks for the administrator's token before it reads a body.

curl -H "Authorization: Bearer $ADMIN_TOKEN" -H "Content-Type: application/zip" -T images.zip -X POST URL/retrain
curl -H "Authorization: Bearer $ADMIN_TOKEN" URL/retrain/ID
curl -H "Authorization: Bearer $ADMIN_TOKEN" -X POST URL/retrain/ID/promote     # and /withdraw, to take it back

Offered only where ADMIN_TOKEN is set. Only `worker`, in the process that trains, imports training/.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from model.files import state_folder
from model.serving import ModelMissing, ServedModel
from service.guard import Guesses, secret
from service.limits import Body, client_of
from service.problems import Problem, documented

from .jobs import Job, Jobs

FOLLOW_SECONDS = 5  # between two looks at what other replicas have promoted
ASK = {"WWW-Authenticate": 'Bearer realm="retraining"'}
ZIP_KINDS = ("application/zip", "application/x-zip-compressed")
NO_ROOM = "The server's folder for uploads has no room for this ZIP. Make some, or set TMPDIR; then send it again."
REFUSALS = {
    401: "No token, or a wrong one.",
    404: "There is no such job.",
    408: "The upload stalled, or was too slow.",
    409: "That cannot be done now: a job is at work, or has ended, or its candidate got worse.",
    413: "The ZIP is too large.",
    415: "Not a ZIP.",
    422: "The ZIP cannot be used.",
    429: "Too many wrong tokens; while that lasts the right one is refused, too.",
    503: "Training is not installed on this server, or there is no model to start from.",
    507: "The server's disk cannot be written.",
}
BODY = {"required": True, "content": {ZIP_KINDS[0]: {"schema": {"type": "string", "format": "binary"}}}}
ACTIONS = {  # of a job: POST /retrain/ID/ACTION, each a method of `Jobs`
    "cancel": "Stops it at once; its images and all that was trained are deleted.",
    "promote": "Answer with its candidate from now on, and after a restart. Refused if a compared metric fell, or was "
    "never measured.",
    "withdraw": "Answer again with what the promoted candidate started from, which stays a candidate.",
}


class JobReport(BaseModel):
    """A job of retraining."""

    id: str
    state: str = Field(
        description="running, stopped (goes on when the server starts again), or how it ended: candidate, promoted, "
        "failed, canceled"
    )
    stage: str = Field(description="What is being done; empty once it has ended.")
    progress: float | None = Field(description="Share of the training that is done, 0 to 1; null before it begins.")
    begun: str = Field(description="ISO 8601, UTC.")
    ended: str | None = None
    sentences: list[str] = Field([], description="How it ended: whether the candidate got worse, or what was wrong.")
    left_out: list[str] = Field([], description="Images that could not be used, and why; the first of them.")
    more_left_out: int = 0
    comparison: dict | None = Field(None, description="The candidate beside what it started from: comparison.json.")


def offer(api: FastAPI, served: ServedModel, uploads: Path) -> None:
    """Add the routes to `api`, and go on with the job that the last server left, if any; ZIPs lie in `uploads`.

    Reads from the environment: ADMIN_TOKEN; ORIGINAL_DATA, the data that the weights were first trained on, if it is at
    hand; STATE_FOLDER.
    """
    original = os.environ.get("ORIGINAL_DATA")
    jobs = Jobs(state_folder() / "retraining", served, Path(original) if original else None)
    api.include_router(router(jobs, token_check(secret("ADMIN_TOKEN"), api.state.guesses), uploads))
    jobs.go_on()

    def follow_forever() -> None:  # what another replica promotes answers here, too: they share the state folder
        while True:
            time.sleep(FOLLOW_SECONDS)
            with suppress(ModelMissing):
                served.follow()

    threading.Thread(target=follow_forever, daemon=True).start()


def token_check(token: bytes, guesses: Guesses) -> Callable:
    """A dependency of routes that lets in whoever sends the administrator's token."""

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip().encode(errors="replace") if scheme.lower() == "bearer" else b""
        if not given or not guesses.is_right(client_of(request.scope), given, token):
            detail = "Only the administrator may do this. Send the token as Authorization: Bearer TOKEN."
            raise Problem(401, detail, "Token needed", headers=ASK)

    return check


def router(jobs: Jobs, check: Callable, uploads: Path | None = None) -> APIRouter:
    """The routes of `jobs`, behind `check`; a ZIP lies in `uploads` (default: the system's) as it comes."""
    routes = APIRouter(dependencies=[Depends(check)], responses=documented(REFUSALS), tags=["retraining"])

    def report(job: Job) -> JobReport:
        outcome = job.outcome
        facts = {"begun": job.facts["begun"], "progress": job.progress, "stage": job.read("stage") or "starting"}
        if outcome:
            facts |= {"stage": "", "progress": 1.0 if outcome["state"] == "candidate" else None}
        return JobReport(id=job.folder.name, **facts | outcome | {"state": jobs.state(job)})

    @routes.post("/retrain", status_code=202, openapi_extra={"requestBody": BODY}, summary="Retrain on own images")
    async def begin(request: Request, response: Response) -> JobReport:
        """Fine-tune what answers now on labeled images, in the background; nothing changes until it is promoted.

        The ZIP holds class folders (glioma, meningioma, pituitary, notumor; or yes, no), or images and a CSV of labels;
        groups.csv (path,group) says which images are of one person. All of it is deleted when the job has ended.
        """
        body = Body(request.receive, request.headers.get("content-length", ""))
        try:
            job = await _begin(jobs, Request(request.scope, body), uploads)
        except Problem:
            await body.discard()
            raise
        response.headers["Location"] = f"/retrain/{job.folder.name}"
        return await run_in_threadpool(report, job)

    @routes.get("/retrain", summary="List jobs")
    def list_jobs() -> list[JobReport]:
        """The newest first."""
        return [report(job) for job in jobs.all()]

    @routes.get("/retrain/{id}", summary="Ask for a job")
    def ask(id: str) -> JobReport:
        return report(jobs.get(id))

    def add(action: str, description: str) -> None:
        @routes.post(f"/retrain/{{id}}/{action}", summary=f"{action.capitalize()} a job", description=description)
        def act(id: str) -> JobReport:
            job = jobs.get(id)
            getattr(jobs, action)(job)
            return report(job)

    for action, description in ACTIONS.items():
        add(action, description)
    return routes


async def _begin(jobs: Jobs, request: Request, uploads: Path | None) -> Job:
    """Begin a job on the ZIP that comes as the body. Raises: Problem, ModelMissing."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in ZIP_KINDS:
        raise Problem(415, "Send a ZIP as application/zip.", "Not a ZIP")
    try:
        with NamedTemporaryFile(dir=uploads, prefix="retrain-", suffix=".zip") as zipped:
            async for part in request.stream():
                zipped.write(part)
            zipped.flush()
            return await run_in_threadpool(jobs.begin, Path(zipped.name))
    except OSError as error:
        raise Problem(507, NO_ROOM, "No room") from error
