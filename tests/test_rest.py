"""The page's endpoint, as a program uses it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from model import CLASSES, report


@pytest.fixture(scope="module")
def client(app_server):
    return Client(app_server, verbose=False)


def ask(client, path):
    return client.predict(handle_file(str(path)), api_name="/predict")


def without_time(entries):
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in entries]


@pytest.fixture
def volume(draw_head, tmp_path):
    """Three heads as a 16-bit TIFF."""
    first, *others = (Image.fromarray(draw_head(seed).astype(np.uint16) * 9) for seed in range(3))
    first.save(tmp_path / "volume.tif", save_all=True, append_images=others)
    return tmp_path / "volume.tif"


def test_one_endpoint_is_public(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/predict"}


def test_every_slice_of_a_file_is_answered_as_in_the_terminal(client, classifier, volume):
    entries = ask(client, volume)
    assert [entry["slice"] for entry in entries] == [1, 2, 3]
    for entry in entries:
        assert list(entry["probabilities"]) == list(CLASSES)
        assert sum(entry["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert entry["tumor_probability"] == pytest.approx(1 - entry["probabilities"]["notumor"], abs=1e-6)
    for entry, expected in zip(entries, report.entries(classifier, volume, volume.name), strict=True):
        assert entry["status"] == expected["status"] and entry["label"] == expected["label"]
        assert entry["prediction_set"] == expected["prediction_set"] and entry["sees_tumor"] == expected["sees_tumor"]
        for key in ("probabilities", "tumor_probability", "threshold", "brain_score", "distance"):
            assert entry[key] == pytest.approx(expected[key], abs=1e-6)


def test_a_file_that_is_no_image_is_an_entry_with_its_reason(client, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    (entry,) = ask(client, tmp_path / "notes.png")
    assert entry["status"] == "unreadable"
    assert entry["probabilities"] is None and entry["tumor_probability"] is None
    assert "no image that can be read here" in entry["reason"]


def test_without_a_file_the_client_is_told_to_send_one(client):
    with pytest.raises(AppError, match="Send one file"):
        client.predict(None, api_name="/predict")


def test_an_unforeseen_exception_keeps_its_text_to_itself(app_server):
    never_uploaded = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    call = f"{app_server}gradio_api/call/predict"
    event = httpx.post(call, json={"data": [never_uploaded]}).json()["event_id"]
    told = httpx.get(f"{call}/{event}").text
    assert "event: error" in told
    assert "hostname" not in told and "cache" not in told


def test_clients_at_once_get_the_answer_of_a_client_alone(client, volume):
    alone = without_time(ask(client, volume))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: without_time(ask(client, volume)), range(16)))
    assert all(answer == alone for answer in answers)


def test_hostile_files_leave_the_server_standing(client, shared_data, volume):
    for path in sorted((shared_data / "hostile").glob("*/*"))[::25]:
        for entry in ask(client, path):
            assert entry["status"] == "unreadable" and entry["reason"].endswith(".") or entry["probabilities"], path
    assert len(ask(client, volume)) == 3
