"""Jobs of retraining as they lie on disk, without anything that was trained."""

import io
import json
import shutil
import zipfile

from service.retraining.job import Job
from service.retraining.promotion import sha256
from tests.regressions.valid import VALID
from tests.server import change_config

PNG = VALID["PNG, 16 bits"]()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def stopped_job(jobs, init="", id="20260101-000000-000", **outcome):
    """A job in the state folder of `jobs` as an earlier server left it; `outcome`, as `Job.end` takes it."""
    job = Job(jobs.folder / id)
    (job.folder / "images").mkdir(parents=True)
    facts = {"begun": "2026-01-01T00:00:00+00:00", "data": str(job.folder / "images"), "init": init, "original": None}
    (job.folder / "job.json").write_text(json.dumps(facts | {"settings": {}}))
    (job.folder / "images" / "patient.png").write_bytes(PNG)
    if outcome:
        job.end(**outcome)
    return job


def candidate(jobs, tmp_path, id="20260101-000000-000", init="", temperature=2.0, **comparison):
    """A job with weights that differ from those that answer, but only in their temperature."""
    weights = shutil.copytree(jobs.served.wait().folder, tmp_path / "new")
    change_config(weights, temperature=temperature)
    told = {"sentences": ["What the comparison says."], "sets": {}, "promotable": True}
    told["start"] = {"version": jobs.served.wait().version, "sha256": sha256(jobs.served.wait().folder)}
    told["candidate"] = {"sha256": sha256(weights)}
    outcome = {"state": "candidate", "sentences": told["sentences"], "comparison": told | comparison}
    job = stopped_job(jobs, init, id, **outcome)
    shutil.move(weights, job.candidate)
    return job
