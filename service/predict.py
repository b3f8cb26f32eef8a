"""POST /predict: files in, an entry for each scan out, as on the command line."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response

from model import report, scans
from model.prediction import Prediction
from model.report import ANSWERED, Case, classify
from model.scans import isolated
from model.scans.kinds import ENOUGH, Unrecognized, kind_of
from model.serving import ModelMissing, ServedModel

from .limits import UploadRoute
from .problems import Problem, documented
from .schemas import Scan

if TYPE_CHECKING:
    from model.classifier import TumorClassifier

MAX_FILES = 1000  # in one request: a whole series, loose
IN_MEMORY = 2**20  # bytes: up to here a file never touches the disk
DIGITS = 6  # of a share of the evidence
LOADING_SECONDS = 5  # that loading the model takes, about
EXAMPLES = json.loads((Path(__file__).parent / "examples.json").read_text())  # recorded from drawn images
FILES = f"{scans.READABLE}; ZIPs of them; the files of a series. Up to {MAX_FILES} files."
CLIENT_IS_GONE = 499  # as nginx calls it; nobody reads it
TITLES = {413: "Too large", 415: "No kind of file that is read here", 422: "Unreadable"}  # of files
REFUSALS = documented(
    _400="The form is broken.",
    _408="The upload stalled, or was too slow.",
    _413="The body, or every file in it, is too large.",
    _415="The body is no form with files, or no file is of a kind that can be read.",
    _422="There is no file, or none can be read; `files` says why, file by file.",
    _429="This client asks too often; Retry-After says when it may again.",
    _500="The model broke down over every file.",
    _503="Too busy, loading or about to stop; Retry-After says when to ask again.",
)


def router(served: ServedModel, folder: Path | None) -> APIRouter:
    """The route; files too large for memory lie in `folder` (default: the system's) while they are read."""
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
        classifier = loaded(served)

        async def is_wanted() -> bool:
            return not await request.is_disconnected()

        answers = await request.app.state.admission.work(
            lambda: _answer(classifier, files, evidence, folder), is_wanted
        )
        return Response(status_code=CLIENT_IS_GONE) if answers is None else JSONResponse(answers)

    return routes


def loaded(served: ServedModel) -> "TumorClassifier":
    """Raises: Problem while there is no model."""
    if not served.is_loaded:
        detail = f"The model is still loading. Ask again in {LOADING_SECONDS} s."
        raise Problem(503, "Not ready", detail, retry_after=LOADING_SECONDS)
    try:
        return served.wait()
    except ModelMissing as error:
        raise Problem(503, "No model", str(error)) from error


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
        raise _nothing_to_answer(files, cases)
    entries = [report.entry(case, classifier.version) for case in cases]
    if with_evidence:
        for entry, case in zip(entries, cases, strict=True):
            for made, prediction in zip(entry["slices"], case.predictions, strict=True):
                made["evidence"] = _evidence(prediction)
    return entries


def _source(file: UploadFile, path: Path) -> bytes | Path:
    """The file's content; of a large one, where it has been put."""
    if file.size <= IN_MEMORY:
        return file.file.read()
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy)
    return path


def _evidence(prediction: Prediction) -> dict:
    """Schema `Evidence`."""
    maps = prediction.evidence.astype(float).round(DIGITS).tolist()
    return {"window": prediction.window._asdict(), "maps": dict(zip(prediction.probabilities, maps, strict=True))}


def _nothing_to_answer(files: Sequence[UploadFile], cases: Sequence[Case]) -> Problem:
    """Why there is no answer, with the status that all files have in common."""
    told = [{"file": case.name, "reason": case.reason} for case in cases]
    if any(case.status == "failed" for case in cases):
        return Problem(500, "No answer", next(case.reason for case in cases if case.status == "failed"), files=told)
    statuses = {_status_of(file) for file in files}
    status = statuses.pop() if len(statuses) == 1 else 422
    sentence = cases[0].reason if len(cases) == 1 else f"None of the {len(files)} files can be read: `files` says why."
    return Problem(status, TITLES[status], sentence, files=told)


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
