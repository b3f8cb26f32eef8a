"""Retraining on a hospital's own images: jobs in a process of their own, one at a time, their routes, and promotion.

Offered only where ADMIN_TOKEN is set. Knows training/ by name only: what it needs beyond serving is imported by
`worker`, in the process that trains.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from fastapi import FastAPI

from model.files import state_folder
from model.serving import ModelMissing, ServedModel
from service.guard import secret

from .access import Administrator
from .jobs import Jobs
from .routes import router

FOLLOW_SECONDS = 5  # between two looks at what other replicas have promoted


def offer(api: FastAPI, served: ServedModel, uploads: Path) -> None:
    """Add the routes to `api`, and go on with the job that the last server left, if any; ZIPs lie in `uploads`.

    Reads from the environment: ADMIN_TOKEN; ORIGINAL_DATA, the data that the weights were first trained on, if it is at
    hand; STATE_FOLDER.
    """
    original = os.environ.get("ORIGINAL_DATA")
    jobs = Jobs(state_folder() / "retraining", served, Path(original) if original else None)
    api.include_router(router(jobs, Administrator(secret("ADMIN_TOKEN"), api.state.guesses), uploads))
    jobs.go_on()
    threading.Thread(target=follow_forever, args=[served], name="follow promotions", daemon=True).start()


def follow_forever(served: ServedModel) -> None:
    """Have what another replica promotes answer here, too: they share the state folder."""
    while True:
        time.sleep(FOLLOW_SECONDS)
        with suppress(ModelMissing):
            served.follow()
