"""GET /model, /healthz and /readyz: what answers, whether the process lives, and whether to send it requests."""

from fastapi import APIRouter

from model import CLASSES, scans
from model.serving import ServedModel

from .bodies import MAX_BODY
from .predict import loaded
from .problems import documented
from .schemas import Health, Model

NOTICE = "A research demo, not a medical device."
NOT_READY = documented(_503="Loading, without a model, or about to stop.")


def router(served: ServedModel) -> APIRouter:
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
