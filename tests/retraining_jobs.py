"""Jobs of retraining for tests: as they lie on disk, and a process that works on less: python -m tests.retraining_jobs.

What the process does is the same as that of service.retraining.worker, but it takes few steps, waits for nobody, draws
fewer images that are no brain MRI, and puts fewer studies together for an interval.
"""

import io
import json
import shutil
import zipfile

from model.artifact import FILES, read_config, write_config
from model.files import sha256
from service.retraining import worker
from service.retraining.jobs import Job
from tests.regressions.valid import VALID

PNG = VALID["PNG, 16 bits"]()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def stopped_job(jobs, init="", id="20260101-000000-000", **outcome) -> Job:
    """A job in the state folder of `jobs` as an earlier server left it; `outcome`, as `Job.end` takes it."""
    job = Job(jobs.folder / id)
    (job.folder / "images").mkdir(parents=True)
    facts = {"begun": "2026-01-01T00:00:00+00:00", "init": init, "original": None}
    (job.folder / "job.json").write_text(json.dumps(facts))
    (job.folder / "images" / "patient.png").write_bytes(PNG)
    if outcome:
        job.end(**outcome)
    return job


def candidate(jobs, tmp_path, id="20260101-000000-000", init="", temperature=2.0, **comparison) -> Job:
    """A job with weights that differ from those that answer, but only in their temperature."""
    start = jobs.served.wait()
    weights = shutil.copytree(start.folder, tmp_path / "new")
    write_config(weights, read_config(weights) | {"temperature": temperature})
    compared = {"sentences": ["What the comparison says."], "sets": {}, "promotable": True}
    compared["start"] = {"version": start.version, "sha256": sha256(start.folder / FILES["int8"])}
    compared["candidate"] = {"sha256": sha256(weights / FILES["int8"])}
    outcome = {"state": "candidate", "sentences": compared["sentences"], "comparison": compared | comparison}
    job = stopped_job(jobs, init, id, **outcome)
    shutil.move(weights, job.candidate)
    return job


def work_on_less() -> None:
    from training import retrain
    from training.evaluation import studies
    from training.export import calibration, refusal

    worker.NICENESS = 0
    refusal.DRAWN, refusal.DRAWN_SIZE = 24, 64
    retrain.STEPS, retrain.DEFAULTS["batch"], retrain.OTHERS, retrain.DRAWN_SIZE = 4, 16, 6, 64
    studies.RESAMPLES, studies.MEASURED_ON, studies.IN_A_RESAMPLE, calibration.FITTED_ON = 2, 30, 30, 30
    worker.main()


if __name__ == "__main__":
    work_on_less()
