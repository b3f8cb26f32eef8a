"""The page's endpoint, as a program uses it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from gradio_client.exceptions import AppError
from PIL import Image

from model import report
from tests.in_process import without_time
from tests.server import ask


@pytest.fixture
def volume(draw_head, tmp_path):
    """Three heads as a 16-bit TIFF."""
    first, *others = (Image.fromarray(draw_head(seed).astype(np.uint16) * 9) for seed in range(3))
    first.save(tmp_path / "volume.tif", save_all=True, append_images=others)
    return tmp_path / "volume.tif"


def test_one_endpoint_is_public(client):
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/predict"}


def test_every_slice_of_a_file_is_answered_as_on_the_command_line(client, classifier, volume):
    (entry,), (expected,) = ask(client, volume), report.entries(classifier, [volume])
    assert [made["slice"] for made in entry["slices"]] == [1, 2, 3]
    for key in ("file", "sentence", "study"):
        assert entry[key] == expected[key]
    for made, awaited in zip(entry["slices"], expected["slices"], strict=True):
        for key in ("status", "label", "prediction_set", "sees_tumor"):
            assert made[key] == awaited[key]
        for key in ("probabilities", "tumor_probability", "threshold", "brain_score", "distance"):
            assert made[key] == pytest.approx(awaited[key], abs=1e-6)


def test_without_a_file_the_client_is_asked_for_one(client):
    with pytest.raises(AppError, match="Send at least one file"):
        client.predict(None, api_name="/predict")


def test_an_unforeseen_exception_keeps_its_text_to_itself(app_server):
    never_uploaded = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    call = f"{app_server}gradio_api/call/predict"
    event = httpx.post(call, json={"data": [never_uploaded]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}").text
    assert "event: error" in answer and "hostname" not in answer and "cache" not in answer


def test_clients_at_once_get_the_answer_of_a_client_alone(client, volume):
    alone = without_time(ask(client, volume))
    with ThreadPoolExecutor(8) as pool:
        assert all(answer == alone for answer in pool.map(lambda _: without_time(ask(client, volume)), range(8)))
