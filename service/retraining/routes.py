"""POST /retrain and what follows from it; every route asks for the administrator's token before it reads a body.

curl -H "Authorization: Bearer $ADMIN_TOKEN" -H "Content-Type: application/zip" -T images.zip -X POST URL/retrain
curl -H "Authorization: Bearer $ADMIN_TOKEN" --json '{"folder": "/data/scans"}' http://127.0.0.1:7860/retrain
curl -H "Authorization: Bearer $ADMIN_TOKEN" URL/retrain/ID
curl -H "Authorization: Bearer $ADMIN_TOKEN" -X POST URL/retrain/ID/promote     # and /withdraw, to take it back
"""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError

from model.serving import ModelMissing
from service.limits import Body
from service.problems import Problem, documented

from .access import Administrator
from .jobs import Jobs
from .refused import Refused
from .schemas import JobReport, report

ZIP_KINDS = ("application/zip", "application/x-zip-compressed")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # what a proxy adds: then nobody knows who is on this machine
NO_ROOM = "The server's folder for uploads has no room for this ZIP. Make some, or set TMPDIR; then send it again."
WHAT_TO_SEND = 'Send a ZIP as application/zip or, on the machine itself, application/json: {"folder": "/its/path"}.'
REFUSALS = documented(
    _401="No token, or a wrong one.",
    _403="A folder was named from another machine.",
    _404="There is no such job.",
    _409="That cannot be done now: a job is at work, or has ended, or its candidate got worse.",
    _408="The upload stalled, or was too slow.",
    _413="The ZIP is too large.",
    _415="Neither a ZIP nor a folder.",
    _422="The ZIP or the folder cannot be used.",
    _429="Too many wrong tokens; while that lasts the right one is refused, too.",
    _507="The server's disk cannot be written.",
    _503="Training is not installed on this server, or there is no model to start from.",
)
BODY = {
    "required": True,
    "content": {
        "application/zip": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {
            "schema": {"type": "object", "required": ["folder"], "properties": {"folder": {"type": "string"}}}
        },
    },
}


class Folder(BaseModel):
    folder: Path


def router(jobs: Jobs, administrator: Administrator, uploads: Path | None = None) -> APIRouter:
    """The routes of `jobs`, for `administrator` alone; a ZIP lies in `uploads` (default: the system's) as it comes."""
    routes = APIRouter(dependencies=[Depends(administrator.check)], responses=REFUSALS, tags=["retraining"])

    @routes.post("/retrain", status_code=202, openapi_extra={"requestBody": BODY}, summary="Retrain on own images")
    async def begin(request: Request, response: Response) -> JobReport:
        """Fine-tune what answers now on labeled images, in the background; nothing changes until it is promoted.

        The ZIP or folder holds class folders (glioma, meningioma, pituitary, notumor; or yes, no), or images and a CSV
        that labels them; groups.csv (path,group) says which images are of one person. A ZIP is deleted when the job has
        ended, a folder is left as it is.
        """
        job = await _begin(jobs, request, uploads)
        response.headers["Location"] = f"/retrain/{job.id}"
        return job

    @routes.get("/retrain", summary="List jobs")
    def list_jobs() -> list[JobReport]:
        """The newest first."""
        return [report(jobs, job) for job in jobs.all()]

    @routes.get("/retrain/{id}", summary="Ask for a job")
    def ask(id: str) -> JobReport:
        with refusals_told():
            return report(jobs, jobs.get(id))

    @routes.post("/retrain/{id}/cancel", summary="Cancel a job")
    def cancel(id: str) -> JobReport:
        """Stops it at once; its images and all that was trained are deleted."""
        with refusals_told():
            job = jobs.get(id)
            jobs.cancel(job)
            return report(jobs, job)

    @routes.post("/retrain/{id}/promote", summary="Promote a candidate")
    def promote(id: str) -> JobReport:
        """Answer with it from now on, and after a restart. Refused if a guarded metric fell, or was never measured."""
        with refusals_told():
            job = jobs.get(id)
            jobs.promote(job)
            return report(jobs, job)

    @routes.post("/retrain/{id}/withdraw", summary="Withdraw a promotion")
    def withdraw(id: str) -> JobReport:
        """Answer again with what the promoted candidate started from, which stays a candidate."""
        with refusals_told():
            job = jobs.get(id)
            jobs.withdraw(job)
            return report(jobs, job)

    return routes


async def _begin(jobs: Jobs, request: Request, uploads: Path | None) -> JobReport:
    body = Body(request.receive, request.headers.get("content-length", ""))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in ZIP_KINDS:
            try:
                with NamedTemporaryFile(dir=uploads, prefix="retrain-", suffix=".zip") as zipped:
                    async for part in Request(request.scope, body).stream():
                        zipped.write(part)
                    zipped.flush()
                    return await run_in_threadpool(_begun, jobs, Path(zipped.name))
            except OSError as error:
                raise Problem(507, "No room", NO_ROOM) from error
        if kind == "application/json":
            folder = _folder_on_this_machine(request, await Request(request.scope, body).body())
            return await run_in_threadpool(_begun, jobs, folder)
        raise Problem(415, "Neither a ZIP nor a folder", WHAT_TO_SEND)
    except Problem:
        await body.discard()
        raise


def _folder_on_this_machine(request: Request, content: bytes) -> Path:
    """Raises: Problem if it is no folder, or whoever names it may be on another machine."""
    try:
        folder = Folder.model_validate_json(content).folder
    except ValidationError:
        raise Problem(422, "No folder is named", WHAT_TO_SEND) from None
    if not _is_local(request):
        detail = "A folder can be named only on the machine that the service runs on. Send a ZIP instead."
        raise Problem(403, "Not on this machine", detail)
    if not folder.is_absolute() or not folder.is_dir():
        raise Problem(422, "No such folder", "There is no folder of this path. Give its full path.")
    return folder


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _begun(jobs: Jobs, images: Path) -> JobReport:
    with refusals_told():
        return report(jobs, jobs.begin(images))


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn what `jobs` refuses into problems."""
    try:
        yield
    except Refused as refusal:
        raise Problem(refusal.status, HTTPStatus(refusal.status).phrase, str(refusal)) from refusal
    except ModelMissing as error:
        raise Problem(503, "No model", str(error)) from error
