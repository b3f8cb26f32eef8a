"""Jobs of retraining as they lie on disk, without anything that was trained."""

import io
import json
import shutil
import zipfile

from model.quantization import FILES
from service.retraining.job import Job
from service.retraining.jobs import sha256
from tests.regressions.valid import VALID
from tests.server import write_random_weights

PNG = VALID["PNG, 16 bits"]()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def stopped_job(jobs, init="", **outcome):
    """A job in the state folder of `jobs` as an earlier server left it; `outcome`, as `Job.end` takes it."""
    job = Job(jobs.folder / "20260101-000000-000")
    (job.folder / "images").mkdir(parents=True)
    facts = {"begun": "2026-01-01T00:00:00+00:00", "data": str(job.folder / "images"), "init": init, "original": None}
    (job.folder / "job.json").write_text(json.dumps(facts | {"settings": {}}))
    (job.folder / "images" / "patient.png").write_bytes(PNG)
    if outcome:
        job.end(**outcome)
    return job


def candidate(jobs, tmp_path, **comparison):
    """A job with weights that differ from those that answer."""
    (tmp_path / "new").mkdir()
    weights = write_random_weights(tmp_path / "new", temperature=2.0)
    (weights / FILES["int8"]).write_bytes((jobs.served.wait().folder / FILES["int8"]).read_bytes())
    told = {"sentences": ["What the comparison says."], "sets": {}, "promotable": True}
    told["start"] = {"version": jobs.served.wait().version, "sha256": sha256(jobs.served.wait().folder)}
    told["candidate"] = {"sha256": sha256(weights)}
    outcome = {"state": "candidate", "sentences": told["sentences"], "comparison": told | comparison}
    job = stopped_job(jobs, **outcome)
    shutil.move(weights, job.candidate)
    return job
