"""POST /retrain and what follows: who may, what is refused, and one job from its images to the weights that answer."""

import os
import signal
import time

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from model.artifact import CONFIG, read_config
from model.serving import ServedModel, promoted_folder
from service import problems
from service.guard import GUESSES, Guesses
from service.retraining import jobs as jobs_module
from service.retraining import worker
from service.retraining.access import Administrator
from service.retraining.jobs import MAX_STARTS, Jobs
from service.retraining.promotion import sha256
from service.retraining.routes import router
from tests.retraining_jobs import PNG, candidate, stopped_job, zipped
from tests.server import running_app, write_random_weights
from training.data.phantoms import write_phantom_dataset

TOKEN = "an-administrator-s-token"
PATIENCE = 300  # seconds for a job of a few steps, on a machine that is busy
QUICK = {"steps": 4, "batch": 16}


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
    return load(start)


@pytest.fixture
def jobs(served, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "WORKER", "tests.quick_retraining")
    return Jobs(tmp_path / "state" / "retraining", served, settings=QUICK)


def client_of(jobs, address="127.0.0.1", token=TOKEN):
    api = FastAPI()
    problems.install(api)
    jobs.folder.parent.with_name("uploads").mkdir(exist_ok=True)
    api.include_router(router(jobs, Administrator(TOKEN.encode(), Guesses()), jobs.folder.parent.with_name("uploads")))
    return TestClient(api, headers={"Authorization": f"Bearer {token}"}, client=(address, 50000))


@pytest.fixture
def client(jobs):
    return client_of(jobs)


def post_zip(client, content, **headers):
    return client.post("/retrain", content=content, headers={"Content-Type": "application/zip"} | headers)


def refusal(response, status):
    assert response.status_code == status, response.text
    told = response.json()
    assert response.headers["content-type"] == "application/problem+json" and told["detail"].endswith(".")
    return told["detail"]


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def wait_for(client, id, *states):
    """The job, once it is in one of `states`."""
    wait_until(lambda: client.get(f"/retrain/{id}").json()["state"] in states)
    return client.get(f"/retrain/{id}").json()


# ---- who may


def test_without_the_token_nothing_is_answered_nor_kept(jobs):
    anybody = client_of(jobs, token="a-token-that-is-wrong")
    for method, path in (("POST", "/retrain"), ("GET", "/retrain"), ("POST", "/retrain/1/promote")):
        response = anybody.request(method, path, content=b"PK")
        assert "Authorization: Bearer" in refusal(response, 401)
        assert response.headers["www-authenticate"].startswith("Bearer") and TOKEN not in response.text
    assert not jobs.folder.exists()


def test_whoever_guesses_is_locked_out_even_with_the_right_token(jobs):
    client = client_of(jobs)
    assert client.get("/retrain").json() == []
    wrong = {"Authorization": "Bearer wrong"}
    assert [client.get("/retrain", headers=wrong).status_code for _ in range(GUESSES)] == [401] * GUESSES
    response = client.get("/retrain")
    assert response.headers["retry-after"] in refusal(response, 429)


# ---- what is refused before a job


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a zip", "This is no ZIP"),
        (b"", "empty"),
        (zipped({"yes/a.png": PNG})[:-10], "damaged"),
        (zipped({}), "no files"),
        (zipped({"../../yes/a.png": PNG}), "path cannot be used (a.png)"),
        (zipped({"/etc/cron.d/a.png": PNG}), "path cannot be used"),
        (zipped({"C:\\yes\\a.png": PNG}), "path cannot be used"),
        (zipped({"yes/a\n.png": PNG}), "path cannot be used (a.png)"),
        (zipped({"yes": PNG, "yes/a.png": PNG}), "a.png twice"),
        (zipped({"yes/a.png": bytes(10**7)}), "suspiciously much"),
    ],
)
def test_a_zip_that_cannot_be_used_is_refused_and_leaves_nothing(client, jobs, tmp_path, content, words):
    assert words in refusal(post_zip(client, content), 422)
    assert [path.name for path in jobs.folder.iterdir()] == ["lock"]
    assert not list((tmp_path / "uploads").iterdir())
    assert not list(tmp_path.rglob("a*.png"))


def test_only_a_zip_or_a_folder_is_taken(client):
    response = client.post("/retrain", content=b"x", headers={"Content-Type": "text/plain"})
    assert "application/zip" in refusal(response, 415)
    assert '"folder"' in refusal(client.post("/retrain", json={"file": "x"}), 422)


def test_a_folder_is_taken_from_the_same_machine_only(jobs, tmp_path):
    body = {"folder": str(tmp_path)}
    assert "Send a ZIP" in refusal(client_of(jobs, "192.0.2.7").post("/retrain", json=body), 403)
    behind_a_proxy = client_of(jobs).post("/retrain", json=body, headers={"X-Forwarded-For": "192.0.2.7"})
    assert "Send a ZIP" in refusal(behind_a_proxy, 403)
    assert "full path" in refusal(client_of(jobs).post("/retrain", json={"folder": "nowhere"}), 422)


def test_without_what_training_needs_a_sentence_says_so(client, monkeypatch):
    monkeypatch.setattr(jobs_module, "NEEDED", ("sklearn", "no_such_package"))
    told = refusal(post_zip(client, zipped({"yes/a.png": PNG})), 503)
    assert "requirements-training.txt" in told and "(missing: no_such_package)" in told


def test_an_unknown_job_is_not_found(client):
    assert "no such job" in refusal(client.get("/retrain/lock"), 404)
    assert "no such job" in refusal(client.post("/retrain/none/promote"), 404)


# ---- after a restart


def test_a_server_that_starts_disturbs_no_job_that_another_is_making(jobs):
    jobs.folder.mkdir(parents=True)
    making = jobs.folder / ".20260101-000000-000"
    making.mkdir()
    with jobs._locked():
        Jobs(jobs.folder, jobs.served).go_on()
    assert making.exists()
    jobs.go_on()
    assert not making.exists()


def test_a_state_folder_that_cannot_be_written_keeps_no_server_from_starting(jobs, monkeypatch, caplog):
    job = stopped_job(jobs)
    (job.folder / "starts").mkdir()  # as if it could not be opened
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
    assert job.id in refusal(post_zip(client, zipped({"yes/a.png": PNG})), 409)
    assert client.post(f"/retrain/{job.id}/cancel").json()["state"] == "canceled"
    assert not (job.folder / "images").exists()
    assert "ended already" in refusal(client.post(f"/retrain/{job.id}/cancel"), 409)


# ---- promotion


def test_a_promoted_candidate_answers_at_once_and_after_a_restart(client, jobs, start, tmp_path):
    served = jobs.served = load(start)
    job, before = candidate(jobs, tmp_path), served.wait()
    assert client.post(f"/retrain/{job.id}/promote").json()["state"] == "promoted"
    assert served.wait() is not before and served.wait().config["temperature"] == 2.0
    assert before.config["temperature"] == 1.0  # a request under way keeps it
    restarted = ServedModel()
    restarted.load()
    assert restarted.wait().config["temperature"] == 2.0 and restarted.wait().folder == promoted_folder()
    assert "no candidate to promote" in refusal(client.post(f"/retrain/{job.id}/promote"), 409)


def test_a_promotion_can_be_withdrawn_and_made_again(client, jobs, start, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(start))
    served = jobs.served = load(start)
    job = candidate(jobs, tmp_path)
    assert "nothing to withdraw" in refusal(client.post(f"/retrain/{job.id}/withdraw"), 409)
    client.post(f"/retrain/{job.id}/promote")
    assert client.post(f"/retrain/{job.id}/withdraw").json()["state"] == "candidate"
    assert served.wait().folder == start and load(start).wait().folder == start
    assert client.post(f"/retrain/{job.id}/promote").json()["state"] == "promoted"


def test_what_is_withdrawn_gives_way_to_the_candidate_that_it_started_from(client, jobs, start, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs_module, "KEPT", 0)
    served = jobs.served = load(start)
    first = candidate(jobs, tmp_path)
    jobs.promote(first)
    begun = str(first.candidate.resolve())
    second = candidate(jobs, tmp_path, id="20260102-000000-000", init=begun, temperature=3.0)
    assert client.post(f"/retrain/{second.id}/promote").json()["state"] == "promoted"
    jobs._forget_old()
    assert jobs.promoted() == second and first.candidate.exists()  # the way back is kept
    jobs.withdraw(second)
    assert jobs.promoted() == first and served.wait().config["temperature"] == 2.0


def test_what_another_replica_promotes_answers_here_too(jobs, start, tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS", str(start))
    here, jobs.served = load(start), load(start)
    before = here.wait()
    here.follow()
    assert here.wait() is before
    job = candidate(jobs, tmp_path)
    jobs.promote(job)
    here.follow()
    assert here.wait().config["temperature"] == 2.0
    jobs.withdraw(job)
    here.follow()
    assert here.wait().folder == start


def test_a_disk_that_cannot_be_written_is_told_and_changes_nothing(client, jobs, served, tmp_path):
    job, before = candidate(jobs, tmp_path), served.wait()
    promoted_folder().mkdir(parents=True)  # in the way of the link
    (promoted_folder() / "of somebody").touch()
    assert "set STATE_FOLDER" in refusal(client.post(f"/retrain/{job.id}/promote"), 507)
    assert served.wait() is before
    jobs.folder = tmp_path / "file" / "retraining"
    (tmp_path / "file").touch()
    assert "set STATE_FOLDER" in refusal(post_zip(client, zipped({"yes/a.png": PNG})), 507)


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"promotable": False}, "What the comparison says."),
        ({"start": {"version": "old int8 00000000", "sha256": "0"}}, "compared with old int8 00000000"),
        ({"candidate": {"sha256": "0"}}, "not those that were compared"),
    ],
)
def test_what_got_worse_or_is_not_what_was_compared_is_not_promoted(client, jobs, served, tmp_path, comparison, words):
    job, before = candidate(jobs, tmp_path, **comparison), served.wait()
    assert words in refusal(client.post(f"/retrain/{job.id}/promote"), 409)
    assert served.wait() is before and not promoted_folder().exists()


def test_a_damaged_candidate_changes_nothing(client, jobs, served, tmp_path):
    job, before = candidate(jobs, tmp_path), served.wait()
    (job.candidate / CONFIG).write_text("{")
    assert "cannot be used" in refusal(client.post(f"/retrain/{job.id}/promote"), 409)
    assert served.wait() is before and not promoted_folder().exists()


# ---- work


def test_images_that_cannot_train_get_their_sentence_and_are_deleted(jobs, start):
    job = stopped_job(jobs, init=str(start))
    folder = job.folder / "images" / "zipped" / "yes"
    folder.mkdir(parents=True)
    (job.folder / "images" / "patient.png").rename(folder / "a.png")
    worker.work(job)
    assert job.outcome["sentences"] == [
        "All 1 images are labeled tumor: a network that sees one kind only forgets the other. Add images with no tumor."
    ]
    assert jobs.state(job) == "failed" and not (job.folder / "images").exists()


def test_where_things_lie_is_not_told(jobs, start):
    job = stopped_job(jobs, init=str(start))
    worker.work(job)
    assert job.outcome["sentences"][0].startswith("No data set is recognized in The upload: it holds no folder.")


def process_group(job):
    return int((job.folder / "pid").read_text())


def test_a_job_that_is_canceled_ends_at_once_and_keeps_nothing(client, jobs):
    job = jobs.get(post_zip(client, zipped({"yes/a.png": PNG})).json()["id"])
    process = process_group(job)
    assert client.post(f"/retrain/{job.id}/cancel").json()["state"] == "canceled"
    wait_until(lambda: not (job.folder / "images").exists())
    with pytest.raises(ProcessLookupError):
        os.killpg(process, 0)
    assert {path.name for path in job.folder.iterdir()} == {"job.json", "outcome.json", "pid", "starts", "canceled"}


def test_a_process_that_is_killed_has_failed_and_says_why(client, jobs):
    id = post_zip(client, zipped({"yes/a.png": PNG})).json()["id"]
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
    assert "one at a time" in refusal(post_zip(client, zipped(files)), 409)

    job = jobs.get(id)
    os.killpg(process_group(job), signal.SIGTERM)  # as when the machine is shut down
    wait_for(client, id, "stopped")
    assert (job.folder / "images").exists()

    restarted = Jobs(jobs.folder, served, settings=QUICK)
    restarted.go_on()
    told = wait_for(client_of(restarted), id, "candidate", "failed")
    assert told["state"] == "candidate", (job.folder / "log").read_text()
    assert job.starts == 2 and told["progress"] == 1.0

    comparison = told["comparison"]
    assert comparison["start"]["sha256"] == sha256(start)
    assert comparison["candidate"]["sha256"] == sha256(job.candidate) != sha256(start)
    rows = comparison["sets"]["own held-out images"]
    assert {"sensitivity_tumor", "specificity_tumor", "recall_glioma", "brier", "answered"} <= rows.keys()
    assert told["sentences"][-1].startswith("The original test images are not at hand")
    assert comparison["promotable"] == (not comparison["fell"] and not comparison["not_told"])
    config, before = read_config(job.candidate), served.wait().config
    assert config["size"] == 64 and config["temperature"] != before["temperature"]
    assert config["refusal"]["refused_from"] >= before["refusal"]["refused_from"]
    assert config["refusal"]["refused_below"] <= before["refusal"]["refused_below"]
    wait_until(lambda: not (job.folder / "log").exists())  # the last to go
    kept = {"candidate", "job.json", "outcome.json", "pid", "stage", "starts"}
    assert {path.name for path in job.folder.iterdir()} == kept
    assert not [path for path in job.folder.rglob("*.png") if path.name[0].isdigit()]
    assert served.wait().folder == start  # nothing changes before it is promoted


def test_a_started_server_promotes_what_an_earlier_one_left_and_takes_it_back(weights, state, tmp_path, monkeypatch):
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    served = ServedModel()
    served.load()
    job = candidate(Jobs(tmp_path / "state" / "retraining", served), tmp_path)
    with running_app(tmp_path / "log", weights) as url, httpx.Client(base_url=url) as client:
        assert client.post(f"retrain/{job.id}/promote").status_code == 401
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert [one["state"] for one in client.get("retrain").json()] == ["candidate"]
        assert client.post(f"retrain/{job.id}/promote").json()["state"] == "promoted"
        assert read_config(tmp_path / "state" / "promoted")["temperature"] == 2.0
        assert client.get("model").json()["origin"]["name"] == served.origin.name
        assert client.post(f"retrain/{job.id}/withdraw").json()["state"] == "candidate"
        assert not (tmp_path / "state" / "promoted").exists()
