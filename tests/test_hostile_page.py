"""Files that bite, sent to the running page: each costs its own row, and the next visitor is answered."""

import json

import httpx
import pytest

from tests.regressions.answers import assert_plain, assert_shown_name
from tests.regressions.catalog import BOMBS
from tests.regressions.valid import VALID
from tests.server import ask
from tests.test_hostile import NAMES


def assert_answered_or_refused(entry):
    assert_shown_name(entry["file"])
    assert entry["probabilities"] or entry["status"] == "unreadable"
    if entry["status"] == "unreadable":
        assert_plain(entry["reason"])


def test_bombs_in_one_upload_cost_a_row_each_and_the_picture_among_them_is_answered(client, tmp_path):
    files = [tmp_path / f"{number}" for number in range(len(BOMBS))]
    for path, make in zip(files, BOMBS.values(), strict=True):
        path.write_bytes(make())
    (tmp_path / "slice").write_bytes(VALID["PNG, 16 bits"]())
    *bombs, answered = ask(client, *files, tmp_path / "slice")
    assert len(bombs) >= len(files)
    for entry in bombs:
        assert entry["status"] == "unreadable"
        assert_answered_or_refused(entry)
    assert answered["file"] == "slice" and answered["probabilities"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_only_an_attacker_sends(app_server, name):
    content = VALID["PNG, 16 bits"]()
    sent = NAMES[name].encode("utf-8", "surrogatepass").replace(b'"', b"%22").replace(b"\r", b"").replace(b"\n", b"")
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="' + sent + b'"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    taken = httpx.post(f"{app_server}gradio_api/upload", content=head + content + b"\r\n--B--", headers=kind)
    if taken.status_code == 200:
        (path,) = taken.json()
        call = f"{app_server}gradio_api/call/predict"
        data = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]]}
        events = httpx.get(f"{call}/{httpx.post(call, json=data).json()['event_id']}", timeout=120).text
        (entry,) = json.loads(events.partition("data: ")[2].splitlines()[0])[0]
        assert_answered_or_refused(entry)
    else:
        assert taken.status_code == 413  # headers too large
