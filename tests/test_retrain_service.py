"""POST /retrain and what follows: who may, what is refused, and one job from its images to the weights that answer."""

import os
import signal
import time

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from model.artifact import CONFIG, FILES, read_config
from model.files import sha256
from model.serving import ServedModel, promoted_folder
from service import problems
from service.guard import GUESSES, Guesses
from service.retraining import jobs as jobs_module
from service.retraining import router, token_check, worker
from service.retraining.jobs import MAX_STARTS, Jobs
from tests.in_process import problem_of
from tests.retraining_jobs import PNG, candidate, stopped_job, zipped
from tests.server import running_app, write_random_weights
from training.data.phantoms import write_phantom_dataset

TOKEN = "an-administrator-s-token"
PATIENCE = 300  # seconds for a job of a few steps, on a machine that is busy
SMALL = zipped({"yes/a.png": PNG})


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Untrained weights for images of 64 pixels."""
    return write_random_weights(tmp_path_factory.mktemp("start"), temperature=1.0, size=64)


def load(start):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WEIGHTS", str(start))
        served = ServedModel()
        served.load()
    return served


@pytest.fixture(scope="module")
def served(start):
    """Of tests that promote nothing."""
    return load(start)


@pytest.fixture
def jobs(served, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "WORKER", "tests.retraining_jobs")
    return Jobs(tmp_path / "state" / "retraining", served)


def client_of(jobs, token=TOKEN):
    api, uploads = FastAPI(), jobs.folder.parent.with_name("uploads")
    problems.install(api)
    uploads.mkdir(exist_ok=True)
    api.include_router(router(jobs, token_check(TOKEN.encode(), Guesses()), uploads))
    return TestClient(api, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def client(jobs):
    return client_of(jobs)


def post_zip(client, content):
    return client.post("/retrain", content=content, headers={"Content-Type": "application/zip"})


def detail(response, status):
    return problem_of(response, status)["detail"]


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for(client, id, *states):
    """The job, once it is in one of `states`."""
    wait_until(lambda: client.get(f"/retrain/{id}").json()["state"] in states)
    return client.get(f"/retrain/{id}").json()


# ---- who may


def test_without_the_token_nothing_is_answered_nor_kept(jobs):
    anybody = client_of(jobs, token="a-token-that-is-wrong")
    for method, path in (("POST", "/retrain"), ("GET", "/retrain"), ("POST", "/retrain/1/promote")):
        response = anybody.request(method, path, content=b"PK")
        assert "Authorization: Bearer" in detail(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer") and TOKEN not in response.text
    assert not jobs.folder.exists()


def test_whoever_guesses_is_locked_out_even_with_the_right_token(client):
    assert client.get("/retrain").json() == []
    wrong = {"Authorization": "Bearer wrong"}
    assert [client.get("/retrain", headers=wrong).status_code for _ in range(GUESSES)] == [401] * GUESSES
    response = client.get("/retrain")
    assert response.headers["retry-after"] in detail(response, 429)


# ---- what is refused before a job


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a zip", "This is no ZIP"),
        (b"", "empty"),
        (SMALL[:-10], "damaged"),
        (zipped({}), "no files"),
        (zipped({"../../yes/a.png": PNG}), "path cannot be used (a.png)"),
        (zipped({"/etc/cron.d/a.png": PNG}), "path cannot be used"),
        (zipped({"C:\\yes\\a.png": PNG}), "path cannot be used"),
        (zipped({"yes/a\n.png": PNG}), "path cannot be used (a.png)"),
        (zipped({".": PNG}), "path cannot be used"),
        (zipped({"yes": PNG, "yes/a.png": PNG}), "a.png twice"),
        (zipped({"yes/a.png": bytes(10**7)}), "suspiciously much"),
    ],
    ids=lambda value: value if isinstance(value, str) else "ZIP",
)
def test_a_zip_that_cannot_be_used_is_refused_and_leaves_nothing(client, jobs, tmp_path, content, words):
    assert words in detail(post_zip(client, content), 422)
    assert [path.name for path in jobs.folder.iterdir()] == ["lock"]
    assert not list((tmp_path / "uploads").iterdir())
    assert not list(tmp_path.rglob("a*.png"))


def test_other_bodies_unknown_jobs_and_a_server_without_what_training_needs_are_refused(client, monkeypatch):
    assert "application/zip" in detail(client.post("/retrain", json={}), 415)
    assert "no such job" in detail(client.get("/retrain/lock"), 404)
    assert "no such job" in detail(client.post("/retrain/none/promote"), 404)
    monkeypatch.setattr(jobs_module, "NEEDED", ("sklearn", "no_such_package"))
    sentence = detail(post_zip(client, SMALL), 503)
    assert "requirements-training.txt" in sentence and "(missing: no_such_package)" in sentence


# ---- after a restart


def test_a_server_that_starts_disturbs_no_job_that_another_is_making(jobs):
    making = jobs.folder / "20260101-000000-000" / "images"
    making.mkdir(parents=True)
    with jobs._locked():
        Jobs(jobs.folder, jobs.served).go_on()
    assert making.exists() and jobs.all() == []
    jobs.go_on()
    assert not making.exists()


def test_a_state_folder_that_cannot_be_written_keeps_no_server_from_starting(jobs, caplog):
    job = stopped_job(jobs)
    (job.folder / "log").mkdir()  # as if it could not be opened
    jobs.go_on()
    assert "cannot go on" in caplog.text and jobs.all() == [job]


def test_a_job_that_was_stopped_too_often_has_failed(jobs):
    job = stopped_job(jobs)
    (job.folder / "starts").write_text("once\n" * MAX_STARTS)
    jobs.go_on()
    assert jobs.state(job) == "failed" and not (job.folder / "images").exists()


def test_while_a_job_waits_to_go_on_no_other_begins(client, jobs):
    job = stopped_job(jobs)
    assert jobs.state(job) == "stopped"
    assert job.folder.name in detail(post_zip(client, SMALL), 409)
    assert client.post(f"/retrain/{job.folder.name}/cancel").json()["state"] == "canceled"
    assert not (job.folder / "images").exists()
    assert "ended already" in detail(client.post(f"/retrain/{job.folder.name}/cancel"), 409)


# ---- promotion


def test_a_promoted_candidate_answers_at_once_and_after_a_restart_until_it_is_withdrawn(
    client, jobs, start, tmp_path, monkeypatch
):
    monkeypatch.setenv("WEIGHTS", str(start))
    served, replica = load(start), load(start)
    jobs.served, before = served, served.wait()
    path = f"/retrain/{candidate(jobs, tmp_path).folder.name}"
    assert "nothing to withdraw" in detail(client.post(f"{path}/withdraw"), 409)
    replica.follow()
    assert replica.wait().config["temperature"] == 1.0
    assert client.post(f"{path}/promote").json()["state"] == "promoted"
    replica.follow()
    restarted = load(start)
    assert [one.wait().config["temperature"] for one in (served, replica, restarted)] == [2.0] * 3
    assert before.config["temperature"] == 1.0  # a request under way keeps it
    assert restarted.wait().folder == promoted_folder()
    assert "no candidate to promote" in detail(client.post(f"{path}/promote"), 409)
    assert client.post(f"{path}/withdraw").json()["state"] == "candidate"
    replica.follow()
    assert served.wait().folder == replica.wait().folder == load(start).wait().folder == start
    assert client.post(f"{path}/promote").json()["state"] == "promoted"


def test_what_is_withdrawn_gives_way_to_the_candidate_that_it_started_from(client, jobs, start, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "KEPT", 0)
    served = jobs.served = load(start)
    first = candidate(jobs, tmp_path)
    jobs.promote(first)
    begun = str(first.candidate.resolve())
    second = candidate(jobs, tmp_path, id="20260102-000000-000", init=begun, temperature=3.0)
    assert client.post(f"/retrain/{second.folder.name}/promote").json()["state"] == "promoted"
    jobs._forget_old()
    assert second.is_promoted and first.candidate.exists()  # the way back is kept
    jobs.withdraw(second)
    assert first.is_promoted and served.wait().config["temperature"] == 2.0


def test_a_disk_that_cannot_be_written_is_reported_and_changes_nothing(client, jobs, served, tmp_path):
    job, before = candidate(jobs, tmp_path), served.wait()
    promoted_folder().mkdir(parents=True)  # in the way of the link
    (promoted_folder() / "of somebody").touch()
    assert "set STATE_FOLDER" in detail(client.post(f"/retrain/{job.folder.name}/promote"), 507)
    assert served.wait() is before
    jobs.folder = tmp_path / "file" / "retraining"
    (tmp_path / "file").touch()
    assert "set STATE_FOLDER" in detail(post_zip(client, SMALL), 507)


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"promotable": False}, "What the comparison says."),
        ({"start": {"version": "old int8 00000000", "sha256": "0"}}, "compared with old int8 00000000"),
        ({"candidate": {"sha256": "0"}}, "not those that were compared"),
        ({}, "cannot be used"),  # damaged since
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_got_worse_or_is_not_what_was_compared_is_not_promoted(client, jobs, served, tmp_path, comparison, words):
    job, before = candidate(jobs, tmp_path, **comparison), served.wait()
    if not comparison:
        (job.candidate / CONFIG).write_text("{")
    assert words in detail(client.post(f"/retrain/{job.folder.name}/promote"), 409)
    assert served.wait() is before and not promoted_folder().exists()


# ---- work


def test_images_that_cannot_train_get_their_sentence_without_paths_and_are_deleted(jobs, start):
    job = stopped_job(jobs, init=str(start))
    worker.work(job)
    assert job.outcome["sentences"][0].startswith("No data set is recognized in The upload: it holds no folder.")
    job = stopped_job(jobs, init=str(start), id="20260102-000000-000")
    folder = job.folder / "images" / "zipped" / "yes"
    folder.mkdir(parents=True)
    (job.folder / "images" / "patient.png").rename(folder / "a.png")
    worker.work(job)
    assert job.outcome["sentences"] == [
        "All 1 images are labeled tumor: a network that sees one kind only forgets the other. Add images with no tumor."
    ]
    assert jobs.state(job) == "failed" and not (job.folder / "images").exists()


def process_group(job):
    return int((job.folder / "pid").read_text())


def test_a_job_that_is_canceled_ends_at_once_and_one_that_is_killed_says_why(client, jobs):
    job = jobs.get(post_zip(client, SMALL).json()["id"])
    process = process_group(job)
    assert client.post(f"/retrain/{job.folder.name}/cancel").json()["state"] == "canceled"
    wait_until(lambda: not (job.folder / "images").exists())
    with pytest.raises(ProcessLookupError):
        os.killpg(process, 0)
    wait_until(lambda: not (job.folder / "log").exists())
    assert {path.name for path in job.folder.iterdir()} == {"job.json", "outcome.json", "pid", "starts", "canceled"}
    id = post_zip(client, SMALL).json()["id"]
    os.killpg(process_group(jobs.get(id)), signal.SIGKILL)  # as the system does for want of memory
    assert "memory is short" in wait_for(client, id, "failed")["sentences"][0]


def test_a_job_outlives_the_server_and_leaves_a_candidate_and_no_image(client, jobs, served, start, tmp_path):
    phantoms = write_phantom_dataset(tmp_path / "phantoms", per_class=24, seed=5, size=96)
    (phantoms / "boxes.csv").unlink()
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in phantoms.rglob("*") if path.is_file()}
    response = post_zip(client, zipped(files | {"phantoms/__MACOSX/._a.png": b"x"}))
    assert response.status_code == 202
    id = response.json()["id"]
    assert response.headers["location"] == f"/retrain/{id}"
    assert "one at a time" in detail(post_zip(client, SMALL), 409)

    job = jobs.get(id)
    os.killpg(process_group(job), signal.SIGTERM)  # as when the machine is shut down
    wait_for(client, id, "stopped")
    assert (job.folder / "images").exists()

    restarted = Jobs(jobs.folder, served)
    restarted.go_on()
    report = wait_for(client_of(restarted), id, "candidate", "failed")
    assert report["state"] == "candidate", job.read("log")
    assert len(job.read("starts").splitlines()) == 2 and report["progress"] == 1.0

    comparison = report["comparison"]
    assert comparison["start"]["sha256"] == sha256(start / FILES["int8"])
    assert comparison["candidate"]["sha256"] == sha256(job.candidate / FILES["int8"]) != comparison["start"]["sha256"]
    rows = comparison["sets"]["own held-out images"]
    assert {"sensitivity_tumor", "specificity_tumor", "recall_glioma", "brier", "answered"} <= rows.keys()
    assert report["sentences"][-1].startswith("The original test images are not at hand")
    assert comparison["promotable"] == (not comparison["fell"] and not comparison["not_told"])
    config, before = read_config(job.candidate), served.wait().config
    assert config["size"] == 64 and config["temperature"] != before["temperature"]
    assert config["refusal"]["refused_from"] >= before["refusal"]["refused_from"]
    assert config["refusal"]["refused_below"] <= before["refusal"]["refused_below"]
    assert config["original_fingerprint"] == before.get("data_fingerprint", "")  # of the data that the line began with
    wait_until(lambda: not (job.folder / "log").exists())  # the last to go
    kept = {"candidate", "job.json", "outcome.json", "pid", "stage", "starts"}
    assert {path.name for path in job.folder.iterdir()} == kept
    assert not [path for path in job.folder.rglob("*.png") if path.name[0].isdigit()]
    assert served.wait().folder == start  # nothing changes before it is promoted


def test_a_started_server_promotes_what_an_earlier_one_left_and_takes_it_back(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    served = load(weights)
    job = candidate(Jobs(tmp_path / "state" / "retraining", served), tmp_path)
    path = f"retrain/{job.folder.name}"
    with running_app(tmp_path / "log", weights) as url, httpx.Client(base_url=url) as client:
        assert client.post(f"{path}/promote").status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert [one["state"] for one in client.get("retrain").json()] == ["candidate"]
        assert client.post(f"{path}/promote").json()["state"] == "promoted"
        assert read_config(tmp_path / "state" / "promoted")["temperature"] == 2.0
        assert client.get("model").json()["origin"]["name"] == served.origin.name
        assert client.post(f"{path}/withdraw").json()["state"] == "candidate"
        assert not (tmp_path / "state" / "promoted").exists()
    assert TOKEN not in (tmp_path / "log").read_text()
