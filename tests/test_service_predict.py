"""POST /predict and its neighbors: what they answer, how they refuse, and that the OpenAPI document is true."""

import numpy as np
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from model import report
from model.classifier import TumorClassifier
from model.scans import read
from model.scans.limits import MAX_NAME
from model.serving import ModelMissing, ServedModel
from service import limits
from service.api import DIGITS, EXAMPLES, IN_MEMORY, Scan, create_api
from tests.dicom_files import PLANTED, dicom, series, slice_12_bit
from tests.in_process import PNG, problem_of, send, without_time
from tests.regressions.valid import VALID, drawn

FORM = {"Content-Type": "multipart/form-data; boundary=B"}
OPERATIONS = [("POST", "/predict"), ("GET", "/model"), ("GET", "/healthz"), ("GET", "/readyz")]


def test_the_answer_is_that_of_the_command_line(api, classifier, tmp_path):
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


def test_a_name_is_shown_by_its_last_part_and_is_never_a_path(api, tmp_path):
    for name in ("/etc/passwd", "../../a.png", "a\u202egnp.exe", "<b>.png", "x" * 300):
        (entry,) = send(api, (name, PNG)).json()
        assert not set("/\u202e") & set(entry["file"]) and len(entry["file"]) <= MAX_NAME
    assert not list((tmp_path / "uploads").iterdir())


@pytest.mark.parametrize("padding", [0, IN_MEMORY])
def test_neither_answer_nor_log_nor_disk_keeps_what_names_the_patient(api, tmp_path, caplog, capfd, padding):
    content = dicom(drawn(200)) + b"\0" * padding
    secrets = {part for value in PLANTED.values() for part in value.split("^")}
    assert all(secret.encode() in content for secret in secrets)
    response = send(api, ("IM0001", content), path="/predict?evidence=true")
    assert response.status_code == 200 and response.json()[0]["probabilities"]
    shown = response.text + caplog.text + "".join(capfd.readouterr())
    assert not [secret for secret in secrets if secret in shown]
    assert not list((tmp_path / "uploads").iterdir())


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"not a picture", 415, "no image that can be read here"),
        (b"text" * IN_MEMORY, 415, "no image that can be read here"),
        (b"%PDF-1.7" + b" " * 600, 415, "a PDF document"),
        (PNG[: len(PNG) // 2], 422, "PNG"),
        (b"", 422, "empty"),
    ],
    ids=["text", "large text", "PDF", "half a PNG", "empty"],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_reason(api, tmp_path, content, status, sentence):
    problem = problem_of(send(api, ("a.png", content)), status)
    assert sentence in problem["detail"] and problem["files"] == [{"file": "a.png", "reason": problem["detail"]}]
    assert not list((tmp_path / "uploads").iterdir())


def test_when_no_file_can_be_read_each_has_its_reason(api):
    problem = problem_of(send(api, ("a", b"text"), ("b", PNG[:99])), 422)
    assert [one["file"] for one in problem["files"]] == ["a", "b"]
    assert problem_of(send(api, ("a", b"text"), ("b", b"more text")), 415)


def test_what_is_no_form_with_files_is_refused(api):
    assert "multipart/form-data" in problem_of(api.post("/predict", json={"files": []}), 415)["detail"]
    assert "files" in problem_of(api.post("/predict", files={"other": PNG}), 422)["detail"]
    problem_of(api.post("/predict", content=b"--A\r\n", headers=FORM), 400)
    problem_of(api.post("/predict", content=PNG, headers={"Content-Type": "multipart/form-data"}), 400)


def test_too_large_a_body_is_refused_by_its_length_or_when_it_has_grown(api, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    assert "MB" in problem_of(send(api, ("a.png", PNG)), 413)["detail"]
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    problem_of(api.post("/predict", content=iter([head, *[b"x" * 100] * 100]), headers=FORM), 413)


def test_while_the_model_loads_everybody_learns_when_to_come_back():
    client = TestClient(create_api(ServedModel()))
    for response in (send(client, ("a.png", PNG)), client.get("/model"), client.get("/readyz")):
        assert "loading" in problem_of(response, 503)["detail"]
        assert int(response.headers["retry-after"]) > 0
    assert client.get("/healthz").json() == {"status": "ok"}


def test_without_a_model_everybody_learns_why():
    served = ServedModel()
    served._loaded.set_exception(ModelMissing("The model could not be loaded."))
    client = TestClient(create_api(served))
    for response in (send(client, ("a.png", PNG)), client.get("/model"), client.get("/readyz")):
        assert problem_of(response, 503)["title"] == "No model"


def test_an_unforeseen_error_is_a_problem_that_reveals_nothing(api, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(report, "entry", fail)
    unforeseen = send(api, ("a.png", PNG))
    monkeypatch.setattr(TumorClassifier, "predict", fail)
    for response in (unforeseen, send(api, ("a.png", PNG))):
        assert "log" in problem_of(response, 500)["detail"] and "secret" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"


def test_unknown_addresses_and_methods_are_problems_too(api):
    problem_of(api.get("/nothing"), 404)
    response = api.get("/predict")
    problem_of(response, 405)
    assert response.headers["allow"] == "POST"


def test_the_model_says_what_it_is_worth(api, classifier, served):
    model = api.get("/model").json()
    assert model["version"] == classifier.version and model["origin"]["name"] == served.origin.name
    assert model["operating_point"]["threshold"] == classifier.threshold
    assert model["classes"] == ["glioma", "meningioma", "pituitary", "notumor"]
    assert api.get("/readyz").json() == {"status": "ready"} and api.head("/readyz").status_code == 200


# ---- OpenAPI: schemathesis makes requests of the document and holds the answers to it


@pytest.fixture(scope="module")
def schema(served):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BURST", 10**6)  # it asks faster than anybody may
        yield schemathesis.openapi.from_asgi("/openapi.json", create_api(served))


def test_no_route_is_missing_in_the_document(schema):
    documented = [one.ok() for one in schema.get_all_operations()]
    assert sorted((one.method.upper(), one.path) for one in documented) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [*((*one, GenerationMode.POSITIVE) for one in OPERATIONS), ("POST", "/predict", GenerationMode.NEGATIVE)],
)
def test_every_answer_is_as_documented(schema, method, path, mode):
    operation = schema[path][method]

    @given(data=st.data())
    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    def hold_to_it(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # any bytes fit, but not all are a scan

    hold_to_it()


def test_scans_and_examples_are_answered_as_documented(schema):
    operation, answers = schema["/predict"]["POST"], [example["value"] for example in EXAMPLES.values()]
    for name in ("PNG, 16 bits", "TIFF of pages"):
        files = {"files": [VALID[name]()]}
        case = operation.Case(body=files, media_type="multipart/form-data", query={"evidence": "true"})
        response = case.call_and_validate()
        assert response.status_code == 200 and response.json()[0]["slices"][0]["evidence"]
        answers.append(response.json())
    for entries in answers:
        TypeAdapter(list[Scan]).validate_python(entries)
        assert all(set(entry) == set(Scan.model_fields) for entry in entries)
