"""POST /predict: what it answers, and how it refuses."""

import asyncio

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from model import report
from model.classifier import TumorClassifier
from model.scans import read
from model.scans.limits import MAX_NAME
from model.serving import ServedModel
from service import limits
from service.api import create_api
from service.predict import DIGITS, EXAMPLES, IN_MEMORY
from service.problems import Problem
from service.schemas import Scan
from tests.dicom_files import PLANTED, dicom, series, slice_12_bit
from tests.in_process import finished, send
from tests.regressions.valid import VALID, drawn
from tests.test_rest import without_time

PNG = VALID["PNG, 16 bits"]()
SCANS = TypeAdapter(list[Scan])


def problem_of(response, status):
    """The body of a refusal, which must be one as RFC 9457 has it."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == status and told["title"] and told["detail"].endswith((".", "why."))
    return told


def test_the_answer_is_that_of_the_terminal(api, classifier, tmp_path):
    (tmp_path / "slice.png").write_bytes(PNG)
    response = send(api, ("slice.png", PNG))
    assert response.status_code == 200
    expected = report.entries(classifier, [tmp_path / "slice.png"])
    assert without_time(response.json()) == without_time(expected)
    assert response.json()[0]["model"] == classifier.version


def test_files_of_one_series_are_one_scan_and_a_bad_one_is_an_entry_with_its_reason(api):
    files = [(f"IM{number}", content) for number, content in enumerate(series([slice_12_bit(0), slice_12_bit(1)]))]
    volume, notes = send(api, *files, ("notes.png", b"not a picture")).json()
    assert [made["slice"] for made in volume["slices"]] == [1, 2] and volume["kind"] == "DICOM series"
    assert notes["status"] == "unreadable" and "no image" in notes["reason"] and notes["label"] is None


def test_evidence_comes_when_asked_for_and_is_that_of_the_prediction(api, classifier):
    assert "evidence" not in send(api, ("a.png", PNG)).json()[0]["slices"][0]
    evidence = send(api, ("a.png", PNG), path="/predict?evidence=true").json()[0]["slices"][0]["evidence"]
    (prediction,) = classifier.predict(read(PNG, "a.png").slices)
    np.testing.assert_allclose(list(evidence["maps"].values()), prediction.evidence, atol=10**-DIGITS)
    assert evidence["window"] == prediction.window._asdict()


def test_answers_and_examples_are_as_documented(api):
    documented = set(Scan.model_fields)
    for answers in (send(api, ("a", PNG)).json(), *(example["value"] for example in EXAMPLES.values())):
        SCANS.validate_python(answers)
        assert all(set(answer) == documented for answer in answers)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../a.png", "a\u202egnp.exe", "<b>.png", "x" * 300])
def test_a_name_is_shown_by_its_last_part_and_is_never_a_path(api, tmp_path, name):
    (entry,) = send(api, (name, PNG)).json()
    assert not set("/\u202e") & set(entry["file"]) and len(entry["file"]) <= MAX_NAME
    assert not list((tmp_path / "uploads").iterdir())


def test_a_large_file_is_read_and_leaves_nothing_behind(api, tmp_path):
    large = PNG + b"\0" * IN_MEMORY
    (entry,) = send(api, ("large.png", large)).json()
    assert entry["kind"] == "PNG" and entry["probabilities"]
    problem_of(send(api, ("large.png", b"text" * IN_MEMORY)), 415)
    assert not list((tmp_path / "uploads").iterdir())


@pytest.mark.parametrize("padding", [0, IN_MEMORY])
def test_neither_answer_nor_log_nor_disk_keeps_what_names_the_patient(api, tmp_path, caplog, capfd, padding):
    content = dicom(drawn(200)) + b"\0" * padding
    secrets = {part for value in PLANTED.values() for part in value.split("^")}
    assert all(secret.encode() in content for secret in secrets)
    response = send(api, ("IM0001", content), path="/predict?evidence=true")
    assert response.status_code == 200
    told = response.text + caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in secrets if secret in told]
    assert not list((tmp_path / "uploads").iterdir())


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"not a picture", 415, "no image that can be read here"),
        (b"%PDF-1.7" + b" " * 600, 415, "a PDF document"),
        (PNG[: len(PNG) // 2], 422, "PNG"),
        (b"", 422, "empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(api, content, status, sentence):
    told = problem_of(send(api, ("a.png", content)), status)
    assert sentence in told["detail"] and told["files"] == [{"file": "a.png", "reason": told["detail"]}]


def test_when_no_file_can_be_read_each_has_its_reason(api):
    told = problem_of(send(api, ("a", b"text"), ("b", PNG[:99])), 422)
    assert [one["file"] for one in told["files"]] == ["a", "b"]
    assert problem_of(send(api, ("a", b"text"), ("b", b"more text")), 415)


def test_what_is_no_form_with_files_is_refused(api):
    assert "multipart/form-data" in problem_of(api.post("/predict", json={"files": []}), 415)["detail"]
    assert "files" in problem_of(api.post("/predict", files={"other": PNG}), 422)["detail"]
    form = {"Content-Type": "multipart/form-data; boundary=B"}
    problem_of(api.post("/predict", content=b"--A\r\n", headers=form), 400)
    problem_of(api.post("/predict", content=PNG, headers={"Content-Type": "multipart/form-data"}), 400)


def test_too_large_a_body_is_refused_by_its_length_or_when_it_has_grown(api, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    assert "MB" in problem_of(send(api, ("a.png", PNG)), 413)["detail"]
    form = {"Content-Type": "multipart/form-data; boundary=B"}
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    problem_of(api.post("/predict", content=iter([head, *[b"x" * 100] * 100]), headers=form), 413)


def test_an_upload_that_stalls_is_given_up(monkeypatch):
    async def nothing_more_comes():
        await asyncio.Event().wait()

    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.01)
    with pytest.raises(Problem) as given_up:
        finished(limits.Body(nothing_more_comes)())
    assert given_up.value.status_code == 408 and "connection" in given_up.value.detail


def test_while_the_model_loads_everybody_is_told_when_to_come_back(tmp_path):
    client = TestClient(create_api(ServedModel()))
    for response in (send(client, ("a.png", PNG)), client.get("/model"), client.get("/readyz")):
        assert "loading" in problem_of(response, 503)["detail"]
        assert int(response.headers["retry-after"]) > 0
    assert client.get("/healthz").json() == {"status": "ok"}


def test_an_unforeseen_error_is_a_problem_that_tells_nothing(served, monkeypatch, tmp_path):
    def predict(self, slices):
        raise RuntimeError("secret")

    monkeypatch.setattr(TumorClassifier, "predict", predict)
    client = TestClient(create_api(served), raise_server_exceptions=False)
    response = send(client, ("a.png", PNG))
    assert "log" in problem_of(response, 500)["detail"] and "secret" not in response.text


def test_unknown_addresses_and_methods_are_problems_too(api):
    problem_of(api.get("/nothing"), 404)
    response = api.get("/predict")
    problem_of(response, 405)
    assert response.headers["allow"] == "POST"


def test_the_model_says_what_it_is_worth(api, classifier, served):
    told = api.get("/model").json()
    assert told["version"] == classifier.version and told["origin"]["name"] == served.origin.name
    assert told["operating_point"]["threshold"] == classifier.threshold
    assert told["classes"] == ["glioma", "meningioma", "pituitary", "notumor"]
    assert api.get("/readyz").json() == {"status": "ready"} and api.head("/readyz").status_code == 200
