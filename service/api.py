"""The FastAPI application: routes, limits and headers. app.py mounts the page on it."""

import os
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from model import CLASSES, scans
from model.serving import ServedModel

from . import predict, problems
from .admission import Admission
from .guard import AllowRoutes, AskForPassword, CheckCalls, Guesses, SendHeaders, secret
from .limits import MAX_BODY, LimitRates
from .predict import loaded
from .problems import SENTENCES, Problem, documented
from .schemas import Health, Model
from .shutdown import Drain, Traffic

TITLE = "Brain tumor on MRI"
DESCRIPTION = """Send slices, volumes or series of brain MRI; get calibrated probabilities of glioma, meningioma,
pituitary tumor and no tumor, the classes that cannot be excluded, where the evidence lies; or a refusal and its reason.

A research demo, not a medical device. Errors are problem details (RFC 9457)."""

NOTICE = "A research demo, not a medical device."
NOT_READY = documented(_503="Loading, without a model, or about to stop.")
METHODS = {"/predict": "POST", "/model": "GET", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/openapi.json": "GET"}


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
    api.include_router(predict.router(served, folder))
    api.include_router(status_router(served))
    for path, methods in METHODS.items():  # else the page, mounted behind, would say that there is no such address
        refusal = Problem(405, "Method Not Allowed", SENTENCES[405], headers={"Allow": methods}).response()
        api.router.routes.append(Route(path, refusal, include_in_schema=False))
    api.add_middleware(CheckCalls)
    api.add_middleware(AllowRoutes)  # the last one added is the first one asked
    api.add_middleware(LimitRates)
    password, token = secret("PASSWORD"), secret("ADMIN_TOKEN")
    if password:
        api.add_middleware(AskForPassword, password=password, bearer=token, guesses=api.state.guesses)
    api.add_middleware(
        CORSMiddleware,  # Gradio's own would let in any origin, and switches itself off for this one
        allow_origins=os.environ.get("ALLOWED_ORIGINS", "").split(),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )
    api.add_middleware(Drain, traffic=api.state.traffic)
    api.add_middleware(SendHeaders)
    return api


def status_router(served: ServedModel) -> APIRouter:
    """GET /model, /healthz and /readyz: what answers, whether the process lives, whether to send it requests."""
    routes = APIRouter()

    @routes.get("/model", response_model=Model, responses=NOT_READY)
    def model() -> dict:
        """The weights that answer, where they come from, and what their answers are worth."""
        classifier, origin = loaded(served), served.origin
        point = classifier.config["operating_point"]
        shares = point.get("tested", point)
        return {
            "version": classifier.version,
            "origin": origin._asdict(),
            "classes": CLASSES,
            "operating_point": {
                "threshold": point["threshold"],
                "sensitivity": shares["sensitivity"],
                "specificity": shares["specificity"],
            },
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
        loaded(served)
        return {"status": "ready"}

    return routes
