"""What a file says of a patient stays in that file, and the file does not stay."""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from gradio_client import Client, handle_file

from page.sessions import UPLOADS, Uploads
from tests.browser import WAIT, answer, needs_chromium, upload
from tests.dicom_files import PLANTED, dicom
from tests.regressions.valid import drawn
from tests.server import free_port, start_app

SHORT = 5  # seconds that an upload is kept in these tests, once the model is there
PATIENCE = 300  # seconds to wait for what should not take one
SECRETS = sorted({part.encode() for value in PLANTED.values() for part in value.split("^")})
RUN_WITH_A_SHORT_MEMORY = f"""
from page import texts
texts.KEPT_MINUTES = {SHORT} / 60
import app
app.SWEEP_SECONDS = 1
app.launch()
"""


class Server(NamedTuple):
    url: str
    process: subprocess.Popen
    log: Path
    disk: Path  # all that it writes


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory) -> Iterator[Server]:
    """The page, with all its temporary files in a folder of their own and KEPT_SECONDS cut to SHORT."""
    folder, port = tmp_path_factory.mktemp("forgetful"), free_port()
    (folder / "disk").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TMPDIR", str(folder / "disk"))
        process = start_app(folder / "log", weights, port, "-c", RUN_WITH_A_SHORT_MEMORY)
    try:
        yield Server(f"http://127.0.0.1:{port}/", process, folder / "log", folder / "disk")
    finally:
        process.kill()
        process.wait()


def wait_until(is_so) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def planted(tmp_path) -> Path:
    (tmp_path / "IM0001").write_bytes(dicom(drawn(200)))
    content = (tmp_path / "IM0001").read_bytes()
    assert all(secret in content for secret in SECRETS)
    return tmp_path / "IM0001"


def files_with_secrets(folder: Path) -> list[Path]:
    found = []
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if file.is_file() and any(secret in file.read_bytes() for secret in SECRETS):
                found.append(file)
    return found


def send(server: Server, content: bytes) -> None:
    httpx.post(f"{server.url}gradio_api/upload", files={"files": ("IM0001", content)}).raise_for_status()


def test_no_answer_and_no_log_names_the_patient_and_the_upload_goes(server, planted):
    entries = Client(server.url, verbose=False).predict([handle_file(str(planted))], api_name="/predict")
    assert entries and not any(secret.decode() in repr(entries) for secret in SECRETS)
    assert not any(secret in server.log.read_bytes() for secret in SECRETS)
    assert str(server.disk) not in server.log.read_text()
    (folder,) = server.disk.glob(f"{UPLOADS}*")
    assert folder.stat().st_mode & 0o077 == 0  # nobody else can look into it
    wait_until(lambda: not files_with_secrets(server.disk))


def test_an_upload_that_breaks_off_goes_too(server):
    host, port = re.match(r"http://(.*):(\d+)/", server.url).groups()
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="IM0001"\r\n\r\n'
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" + head + SECRETS[0] * 20_000
        )
        wait_until(lambda: files_with_secrets(server.disk))
    wait_until(lambda: not files_with_secrets(server.disk))


def test_examples_stay(server, planted):
    send(server, planted.read_bytes())
    wait_until(lambda: not files_with_secrets(server.disk))
    addresses = re.findall(rf'"url":"({server.url}[^"]*\.png)"', httpx.get(server.url).text)
    assert len(addresses) > 3
    for address in addresses:
        assert httpx.get(address).status_code == 200


@needs_chromium
def test_neither_the_page_nor_a_download_names_the_patient(server, visit, planted, tmp_path):
    (tmp_path / "IM0002").write_bytes(dicom(drawn(128), SeriesInstanceUID="1.2.3.5"))
    page = visit(server.url)
    upload(page, planted, tmp_path / "IM0002")
    link = page.locator("a.download")
    link.wait_for(timeout=WAIT)
    table = base64.b64decode(link.get_attribute("href").split(";base64,")[1])
    assert b"IM0001" in table and b"IM0002" in table
    for shown in (page.content().encode(), table, server.log.read_bytes()):
        assert not any(secret in shown for secret in SECRETS)
    upload(page, planted)
    answer(page, planted.name)
    assert not any(secret in page.content().encode() for secret in SECRETS)
    wait_until(lambda: not files_with_secrets(server.disk))


def test_a_sweep_takes_what_is_old_and_what_dead_servers_left(tmp_path):
    mine, living, dead = (tmp_path / f"{UPLOADS}{name}" for name in ("mine", "living", "dead"))
    now = time.time()
    for folder, age in ((mine, 0), (living, 0), (dead, 100)):
        (folder / "deep").mkdir(parents=True)
        for name, days in (("old", 100), ("new", 0), ("example", 100)):
            (folder / "deep" / name).write_text(name)
            os.utime(folder / "deep" / name, (now - days, now - days))
        os.utime(folder, (now - age, now - age))
    uploads = Uploads(mine)
    uploads.keep = {mine / "deep" / "example"}
    uploads.sweep(50)
    assert {path.name for path in mine.rglob("*")} == {"deep", "new", "example"}
    assert (living / "deep" / "old").exists()
    assert not dead.exists()
    Uploads(tmp_path / "swept by somebody else").sweep(50)  # nothing to do, and no end of the sweeping


def test_a_server_that_is_told_to_stop_leaves_no_upload_behind(server, planted):  # the last one: it ends the server
    send(server, planted.read_bytes())
    assert files_with_secrets(server.disk)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    assert not files_with_secrets(server.disk)
    assert not list(server.disk.glob(f"{UPLOADS}*"))
