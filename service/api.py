"""The FastAPI application: routes, what they answer, and the order of limits and headers. app.py mounts the page on it.

The answers themselves are made by model/report.py, so that command line, CSV, page and service give the same.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, FastAPI, File, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from model import CLASSES, report, scans
from model.prediction import Prediction
from model.report import ANSWERED, Case, classify
from model.scans import isolated
from model.scans.kinds import ENOUGH, Unrecognized, kind_of
from model.serving import ServedModel

from . import problems
from .guard import CheckCalls, Guesses, SendHeaders, check_route, password_check, secret
from .limits import MAX_BODY, Admission, Refuse, UploadRoute, rate_check
from .problems import SENTENCES, Problem, documented
from .shutdown import Drain, Traffic

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

TITLE = "Brain tumor on MRI"
DESCRIPTION = """Send slices, volumes or series of brain MRI; get calibrated probabilities of glioma, meningioma,
pituitary tumor and no tumor, the classes that cannot be excluded, where the evidence lies; or a refusal and its reason.

A research demo, not a medical device. Errors are problem details (RFC 9457)."""
NOTICE = "A research demo, not a medical device."
METHODS = {"/predict": "POST", "/model": "GET", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/openapi.json": "GET"}
MAX_FILES = 1000  # in one request: a whole series, loose
IN_MEMORY = 2**20  # bytes: up to here a file never touches the disk
DIGITS = 6  # of a share of the evidence
LOADING_SECONDS = 5  # that loading the model takes, about
EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_text())  # recorded from drawn images
FILES = f"{scans.READABLE}; ZIPs of them; the files of a series. Up to {MAX_FILES} files."
CLIENT_IS_GONE = 499  # as nginx calls it; nobody reads it
TITLES = {413: "Too large", 415: "No kind of file that is read here", 422: "Unreadable"}  # of files
NOT_READY = documented({503: "Loading, without a model, or about to stop."})
REFUSALS = documented(
    {
        400: "The form is broken.",
        408: "The upload stalled, or was too slow.",
        413: "The body, or every file in it, is too large.",
        415: "The body is no form with files, or no file is of a kind that can be read.",
        422: "There is no file, or none can be read; `files` says why, file by file.",
        429: "This client asks too often; Retry-After says when it may again.",
        500: "The model broke down over every file.",
        503: "Too busy, loading or about to stop; Retry-After says when to ask again.",
    }
)

Share = Annotated[float, Field(ge=0, le=1)]
Class = Literal[CLASSES]
Status = Literal["accepted", "doubtful", "refused"]
Probabilities = Annotated[dict[Class, Share], Field(description="Calibrated; they add up to 1.")]


class Window(BaseModel):
    """The square of the slice that an evidence map covers, in pixels of the slice; it may reach beyond the slice."""

    left: float
    top: float
    side: float


class Evidence(BaseModel):
    """Where in the slice each class's score comes from, for every class a grid of rows from top to bottom."""

    window: Window
    maps: dict[Class, list[list[Share]]] = Field(description="Each adds up to 1.")


class Slice(BaseModel):
    """The prediction for one slice."""

    slice: int = Field(ge=1, description="Its number in the scan's own order.")
    status: Status
    reason: str = Field(description="Why it is doubtful or refused; empty when accepted.")
    label: Class = Field(description="The most probable class; means nothing when refused.")
    prediction_set: list[Class] = Field(description="The classes that cannot be excluded, the most probable first.")
    probabilities: Probabilities
    tumor_probability: Share
    threshold: Share = Field(description="The operating point: from this tumor_probability on a tumor is detected.")
    sees_tumor: bool
    brain_score: Share = Field(description="How sure the model is that this is a brain MRI.")
    distance: float = Field(ge=0, description="How far the slice lies from the training images; 1 is ordinary.")
    evidence: Evidence | None = Field(None, description="If asked for with ?evidence=true.")


class Study(BaseModel):
    """What was made of the slices of a study."""

    suspicious: list[int] = Field(description="Numbers of slices, the most suspicious first.")
    judged: int
    refused: int


class Omission(BaseModel):
    """Slices that were not looked at."""

    count: int = Field(description="Slices that the files hold and that were not looked at.")
    reason: str
    other_picture: bool = Field(description="Such as a localizer. Any other omission makes the verdict doubtful.")


class Scan(BaseModel):
    """One scan: a picture, a volume, or the files of a series; or a file that could not be read."""

    file: str
    status: Status | Literal["unreadable", "failed"]
    reason: str
    sentence: str = Field(description="The answer in plain words.")
    label: Class | None = Field(description="Of the study or the only slice; null where there is no answer.")
    probabilities: Probabilities | None
    tumor_probability: Share | None
    sees_tumor: bool | None
    study: Study | None = Field(description="Of several slices.")
    slices: list[Slice]
    kind: str
    plane: str
    sequence: str
    spacing: list[float] | None = Field(description="Millimeters, if the file gives them.")
    notes: list[str]
    omitted: list[Omission]
    seconds: float = Field(description="That the model took.")
    answered: datetime
    model: str = Field(description="Name, precision and start of the weights' sha256.")


class Origin(BaseModel):
    """Where the weights come from."""

    name: str
    revision: str | None
    date: str | None
    note: str = Field(description="A sentence when these are not the weights that were asked for; else empty.")


class OperatingPoint(BaseModel):
    """From which tumor probability on a tumor is detected, and what that achieves."""

    threshold: Share
    sensitivity: Share | None
    specificity: Share | None


class Model(BaseModel):
    """The weights that answer, and what their answers are worth."""

    version: str
    origin: Origin
    classes: list[Class]
    operating_point: OperatingPoint = Field(description="Measured on the patients that `measured_on` names.")
    measured_on: Literal["test", "validation"]
    prediction_set_coverage: Share | None = Field(description="Share of slices like those of training that it covers.")
    max_bytes: int = Field(description="Of one file.")
    max_body: int = Field(description="Bytes of one request.")
    notice: str


class Health(BaseModel):
    """Whether the process lives, or is ready."""

    status: Literal["ok", "ready"]


def create_api(served: ServedModel, folder: Path | None = None) -> FastAPI:
    """The service, with everything but the page.

    Args: `served`, the model that answers; `folder` for uploads too large for memory (default: the system's).
    Reads from the environment: PASSWORD, asked for everywhere but at the health checks; ALLOWED_ORIGINS, of other
        sites' pages that may ask, separated by spaces; ADMIN_TOKEN, which opens where the password does. Ends the
        program, with a sentence, if one of the secrets is too short.
    """
    api = FastAPI(title=TITLE, description=DESCRIPTION, version="1", docs_url=None, redoc_url=None)
    api.state.admission, api.state.traffic, api.state.guesses = Admission(), Traffic(), Guesses()
    problems.install(api)
    api.include_router(_prediction_route(served, folder))
    api.include_router(_status_routes(served))
    for path, methods in METHODS.items():  # else the page, mounted behind, would say that there is no such address
        refusal = Problem(405, SENTENCES[405], headers={"Allow": methods}).response()
        api.router.routes.append(Route(path, refusal, include_in_schema=False))
    password, token = secret("PASSWORD"), secret("ADMIN_TOKEN")
    checks = [rate_check(), check_route]
    if password:
        checks.insert(0, password_check(password, token, api.state.guesses))
    api.add_middleware(CheckCalls)
    api.add_middleware(Refuse, *checks)  # the last one added is the first one asked
    api.add_middleware(
        CORSMiddleware,  # Gradio's own would let in any origin, and switches itself off for this one
        allow_origins=os.environ.get("ALLOWED_ORIGINS", "").split(),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )
    api.add_middleware(Drain, traffic=api.state.traffic)
    api.add_middleware(SendHeaders)
    return api


def _status_routes(served: ServedModel) -> APIRouter:
    """GET /model, /healthz and /readyz: what answers, whether the process lives, whether to send it requests."""
    routes = APIRouter()

    @routes.get("/model", response_model=Model, responses=NOT_READY)
    def model() -> dict:
        """The weights that answer, where they come from, and what their answers are worth."""
        classifier = _loaded(served)
        point = classifier.config["operating_point"]
        return {
            "version": classifier.version,
            "origin": served.origin._asdict(),
            "classes": CLASSES,
            "operating_point": {**point, **point.get("tested", {}), "threshold": point["threshold"]},
            "measured_on": "test" if "tested" in point else "validation",
            "prediction_set_coverage": classifier.config["prediction_set"]["coverage"],
            "max_bytes": scans.MAX_BYTES,
            "max_body": MAX_BODY,
            "notice": NOTICE,
        }

    @routes.head("/healthz", include_in_schema=False)
    @routes.get("/healthz", response_model=Health)
    async def healthz() -> dict:
        """Whether the process lives."""
        return {"status": "ok"}

    @routes.head("/readyz", include_in_schema=False)
    @routes.get("/readyz", response_model=Health, responses=NOT_READY)
    async def readyz() -> dict:
        """Whether requests are answered now."""
        _loaded(served)
        return {"status": "ready"}

    return routes


def _prediction_route(served: ServedModel, folder: Path | None) -> APIRouter:
    """POST /predict; files too large for memory lie in `folder` (default: the system's) while they are read."""
    routes = APIRouter(route_class=UploadRoute)

    @routes.post(
        "/predict",
        response_model=list[Scan],
        responses={200: {"content": {"application/json": {"examples": EXAMPLES}}}, **REFUSALS},
        summary="Classify brain MRI",
        form_limits={"max_files": MAX_FILES, "max_fields": 0},
    )
    async def predict(
        request: Request,
        files: Annotated[list[UploadFile], File(min_length=1, description=FILES)],
        evidence: Annotated[bool, Query(description="Add where in each slice each class's score comes from.")] = False,
    ) -> Response:
        """An entry for each scan: class, calibrated probabilities, prediction set, or a refusal with its reason.

        The files of one DICOM series are one scan. Among several files a bad one costs its own entry only. What is
        sent is deleted before the answer is. A research demo, not a medical device.
        """
        classifier = _loaded(served)

        async def is_wanted() -> bool:
            return not await request.is_disconnected()

        answers = await request.app.state.admission.work(
            lambda: _answer(classifier, files, evidence, folder), is_wanted
        )
        return Response(status_code=CLIENT_IS_GONE) if answers is None else JSONResponse(answers)

    return routes


def _loaded(served: ServedModel) -> "TumorClassifier":
    """Raises: Problem while the model is loading; ModelMissing."""
    if not served.is_loaded:
        detail = f"The model is still loading. Ask again in {LOADING_SECONDS} s."
        raise Problem(503, detail, "Not ready", retry_after=LOADING_SECONDS)
    return served.wait()


def _answer(
    classifier: "TumorClassifier", files: Sequence[UploadFile], with_evidence: bool, folder: Path | None
) -> list[dict]:
    """Read, classify and report. Raises: Problem if there is no answer to any of the files."""
    is_large = any(file.size > IN_MEMORY for file in files)
    with tempfile.TemporaryDirectory(dir=folder, prefix="request-") if is_large else nullcontext("") as room:
        sources = [_source(file, Path(room) / str(number)) for number, file in enumerate(files)]
        found = isolated.read_all(sources, [file.filename or "" for file in files])
    cases = [case for _, case in classify(classifier, found) if case]
    if not any(case.status in ANSWERED for case in cases):
        raise _unanswered(files, cases)
    entries = [report.entry(case, classifier.version) for case in cases]
    if with_evidence:
        for entry, case in zip(entries, cases, strict=True):
            for made, prediction in zip(entry["slices"], case.predictions, strict=True):
                made["evidence"] = _evidence(prediction)
    return entries


def _source(file: UploadFile, path: Path) -> bytes | Path:
    """The file's content; a large one is copied to `path`."""
    if file.size <= IN_MEMORY:
        return file.file.read()
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy)
    return path


def _evidence(prediction: Prediction) -> dict:
    """Schema `Evidence`."""
    maps = prediction.evidence.astype(float).round(DIGITS).tolist()
    return {"window": prediction.window._asdict(), "maps": dict(zip(prediction.probabilities, maps, strict=True))}


def _unanswered(files: Sequence[UploadFile], cases: Sequence[Case]) -> Problem:
    """Why there is no answer, with the status that all files have in common."""
    reasons = [{"file": case.name, "reason": case.reason} for case in cases]
    if failed := [case.reason for case in cases if case.status == "failed"]:
        return Problem(500, failed[0], "No answer", files=reasons)
    statuses = {_status_of(file) for file in files}
    status = statuses.pop() if len(statuses) == 1 else 422
    detail = cases[0].reason if len(cases) == 1 else f"None of the {len(files)} files can be read: `files` says why."
    return Problem(status, detail, TITLES[status], files=reasons)


def _status_of(file: UploadFile) -> int:
    """The status that fits a file which could not be read."""
    if file.size > scans.MAX_BYTES:
        return 413
    file.file.seek(0)
    try:
        kind_of(file.file.read(ENOUGH))
    except Unrecognized:
        return 415 if file.size else 422
    return 422
