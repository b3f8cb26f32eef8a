"""What was published of Gradio's weaknesses, in whatever version, does not work on the running page."""

import http.client
import json
import socket
from itertools import product
from urllib.parse import urlsplit

import httpx
import pytest

from tests.server import REPOSITORY

SCRIPTS = {
    "evil.html": b"<script>alert(1)</script>",
    "evil.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "evil.xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></html>',
    "evil.js": b"alert(1)",
}
TARGETS = ["/etc/passwd", "app.py", "model/weights/config.json", "/proc/self/environ"]
ROUTES = [
    *("/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/", "/assets/", "/svelte/", "/theme/"),
    *("/gradio_api/custom_component/gradio.components.html/client/component/", "/gradio_api/proxy=file://"),
]


def get(url: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask for `path` as it stands: a client of higher level would tidy it up first."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=120)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def called(page: str, path: str) -> str:
    """What the page's endpoint answers about a file at `path`, as events."""
    call = f"{page}gradio_api/call/predict"
    data = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]]}
    return httpx.get(f"{call}/{httpx.post(call, json=data).json()['event_id']}", timeout=120).text


@pytest.fixture
def trap():
    """A port that nobody has any business with: (its number, whether somebody knocked)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        def was_touched() -> bool:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield listening.getsockname()[1], was_touched


def test_no_path_leads_out(app_server):
    """Files of the server by path, with dots, encoded or absolute (CVE-2026-28414 is the latest)."""
    climb = "../" * 12
    for route, target in product(ROUTES, TARGETS):
        for path in (target, climb + target.lstrip("/"), f"..%2f{target}", f"%2e%2e/{climb}{target}", f"..\\{target}"):
            status, _, body = get(app_server, route + path)
            assert status >= 400
            assert b"root:" not in body and b"PATH=" not in body and b'"format_version"' not in body


def test_no_call_takes_a_file_that_was_not_uploaded(app_server):
    """Files of the server as a component's value."""
    for path in (*TARGETS, str(REPOSITORY / "examples" / "glioma_axial_t1c.png")):
        answer = called(app_server, path)
        assert "event: error" in answer and "unreadable" not in answer


def test_nothing_is_fetched_from_a_url_in_a_path(app_server, trap):
    """The server asks, or redirects, for a visitor (CVE-2026-28416: through its proxy)."""
    port, was_touched = trap
    for route in ("file=", "file/", "proxy=", "file=HTTP://x@", "stream/"):
        status, headers, _ = get(app_server, f"/gradio_api/{route}http://127.0.0.1:{port}/")
        assert status == 404 and "location" not in headers
    assert not was_touched()


def test_nothing_is_fetched_from_a_url_in_a_call(app_server, trap):
    """A URL as the path of an upload was fetched; by now Gradio fetches it only from public hosts."""
    port, was_touched = trap
    for address in (f"http://127.0.0.1:{port}/a.png", f"http://[::1]:{port}/a.png", "https://example.com/a.png"):
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        asked = {"data": [[file]], "fn_index": 0, "session_hash": "x"}
        for route in ("call/predict", "call/v2/predict", "run/predict", "queue/join"):
            response = httpx.post(f"{app_server}gradio_api/{route}", json=asked)
            assert response.status_code == 422 and "upload the file itself" in response.json()["detail"]
    assert not was_touched()


def test_no_page_of_another_site_may_ask(app_server):
    """Any origin was reflected, with credentials."""
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:1"):
        for host in ("localhost", "127.0.0.1", "demo.example"):
            for path in ("/", "/config", "/gradio_api/info", "/model"):
                _, headers, _ = get(app_server, path, Host=host, Origin=origin, Cookie="a=b")
                assert not [name for name in headers if name.startswith("access-control-allow")]
            asked = {"Origin": origin, "Host": host, "Access-Control-Request-Method": "POST"}
            preflight = httpx.options(f"{app_server}gradio_api/upload", headers=asked)
            assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_upload_never_comes_back_as_a_page(app_server, name):
    """Scripts in uploaded HTML, SVG and JavaScript ran in the page's name."""
    (path,) = httpx.post(f"{app_server}gradio_api/upload", files={"files": (name, SCRIPTS[name], "text/html")}).json()
    for _ in range(2):  # the second time after it was used, since Gradio trusts pictures of its own
        status, headers, _ = get(app_server, f"/gradio_api/file={path}")
        assert status == 200
        assert headers["content-type"].partition(";")[0] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment")
        assert headers["x-content-type-options"] == "nosniff" and "sandbox" in headers["content-security-policy"]
        assert "event: complete" in called(app_server, path)


def test_only_routes_that_are_needed_are_allowed(app_server):
    """Routes that call methods, change or keep things, show who asks though switched off; and what may come."""
    for path in (
        *("component_server", "component_server/", "vibe-edit", "process_recording", "run-history/connect"),
        *("dev/reload", "deep_link", "profiling/summary", "runs", "monitoring/summary", "anything-new"),
    ):
        for method in ("GET", "POST"):
            assert httpx.request(method, f"{app_server}gradio_api/{path}", json={}).status_code == 404
    for path in ("login", "logout", "login/huggingface", "monitoring", "monitoring/", "monitoring/summary"):
        assert get(app_server, f"/{path}")[0] == 404


def test_settings_reveal_no_paths_and_no_secrets(app_server):
    """Keys and addresses of the server in its configuration."""
    config = httpx.get(f"{app_server}config").json()
    assert "dependencies" in config
    assert not {"share_token", "frpc", "app_id_secret"} & set(config)
    assert "/etc/" not in json.dumps(config) and "PASSWORD" not in json.dumps(config)
