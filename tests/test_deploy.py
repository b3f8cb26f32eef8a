"""deploy/: two replicas behind nginx, one of which is killed under load."""

import http.client
import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from gradio_client import Client

from service.limits import MAX_BODY
from tests.in_process import PNG
from tests.server import REPOSITORY, START_SECONDS, ask, free_port, start_app, wait_for_port

DEPLOY = REPOSITORY / "deploy"
BEFORE, AFTER = 8, 24  # requests before the replica is killed and after
needs_nginx = pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx (Debian: apt-get install nginx-light)")


class Deployed(NamedTuple):
    url: str
    replica: subprocess.Popen  # the second one, which may be killed


def nginx_configuration(folder: Path, port: int, replicas: tuple[int, int]) -> Path:
    """deploy/nginx.conf on other ports, in what a distribution puts around it."""
    site = (DEPLOY / "nginx.conf").read_text()
    for planned, real in ((7861, replicas[0]), (7862, replicas[1])):
        site = site.replace(f"127.0.0.1:{planned}", f"127.0.0.1:{real}")
    (folder / "site.conf").write_text(site.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    return folder / "nginx.conf"


@pytest.fixture(scope="module")
def deployed(app_server, weights, tmp_path_factory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployed")
    ports, port = (httpx.URL(app_server).port, free_port()), free_port()
    replica = start_app(folder / "replica.log", weights, ports[1])
    configuration = nginx_configuration(folder, port, ports)
    nginx = subprocess.Popen(["nginx", "-p", folder, "-c", configuration], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, nginx, folder / "error.log")
        for one in ports:
            wait_until_ready(one)
        yield Deployed(f"http://127.0.0.1:{port}/", replica)
    finally:
        nginx.terminate()  # killed, it would leave its workers behind
        replica.kill()
        for process in (nginx, replica):
            process.wait(START_SECONDS)


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while httpx.get(f"http://127.0.0.1:{port}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def predict(url: str) -> httpx.Response:
    return httpx.post(f"{url}predict", files={"files": ("a.png", PNG)}, timeout=START_SECONDS)


@needs_nginx
def test_a_browser_stays_with_its_replica_and_browsers_are_spread(deployed):
    seen = set()
    for _ in range(16):
        with httpx.Client(base_url=deployed.url) as browser:
            browser.get("/robots.txt")
            replicas = {browser.get("/gradio_api/app_id").text for _ in range(3)}
        assert len(replicas) == 1
        seen |= replicas
    assert len(seen) == 2


@needs_nginx
def test_the_page_learns_the_address_that_visitors_use(deployed):
    config = httpx.get(f"{deployed.url}config").json()
    assert config["root"].rstrip("/") == deployed.url.rstrip("/")


@needs_nginx
def test_too_large_a_body_is_refused_as_a_problem(deployed):
    connection = http.client.HTTPConnection("127.0.0.1", httpx.URL(deployed.url).port, timeout=START_SECONDS)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(MAX_BODY + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413 and response.headers["content-type"] == "application/problem+json"
    assert f"{MAX_BODY // 2**20} MB" in json.load(response)["detail"]
    connection.close()


@needs_nginx
def test_every_request_is_answered_while_a_replica_is_killed_and_the_page_goes_on(deployed, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        before = [pool.submit(predict, deployed.url) for _ in range(BEFORE)]
        after = [pool.submit(predict, deployed.url) for _ in range(AFTER)]
        for one in before:
            one.result()
        deployed.replica.kill()
        responses = [one.result() for one in (*before, *after)]
    counts = Counter(response.status_code for response in responses)
    assert counts[200] >= BEFORE and set(counts) <= {200, 429, 503}
    for response in responses:
        if response.status_code != 200:
            assert int(response.headers["retry-after"]) > 0
            assert response.headers["content-type"] == "application/problem+json"
    assert httpx.get(deployed.url).status_code == 200
    (tmp_path / "slice.png").write_bytes(PNG)
    assert ask(Client(deployed.url, verbose=False), tmp_path / "slice.png")[0]["probabilities"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    unit = (DEPLOY / "brain-tumor@.service").read_text()
    unit = re.sub(r"/opt/brain-tumor-demo/\S+python", shutil.which("true"), unit)  # installed nowhere here
    (tmp_path / "brain-tumor@.service").write_text(unit)
    instance = tmp_path / "brain-tumor@7861.service"
    instance.write_text(unit)
    checked = subprocess.run(["systemd-analyze", "verify", instance], capture_output=True, text=True)
    assert "Unknown" not in checked.stderr and "brain-tumor" not in checked.stderr
