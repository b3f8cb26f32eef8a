"""Visitors of the page: what their browsers send and wait for, without the browsers, which would take the cores."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from page import examples

from .clients import BOUNDARY, form

PATIENCE = 600  # seconds
_sessions = count()


def seconds_to_examples(port: int, chosen: Sequence[int], uploads: int = 0, upload: bytes = b"") -> list[float]:
    """Visitors click an example each, all at once: seconds until each has its answer.

    So many other visitors have sent `upload`, a NIfTI volume, just before.
    """
    (gallery, clicked), (_, sent) = _event(port, "examples", "select"), _event(port, "upload", "upload")
    together = threading.Barrier(len(chosen) + uploads)

    def click(number: int) -> float:
        together.wait()
        return _seconds_to_answer(port, clicked, [{**gallery, "selected_index": number}], examples.FILES[number].name)

    def send(_: int) -> float:
        body = form("volume.nii", upload)
        (path,) = json.loads(_asked(port, "/gradio_api/upload", body, f"multipart/form-data; boundary={BOUNDARY}"))
        file = {"path": path, "orig_name": "volume.nii", "meta": {"_type": "gradio.FileData"}}
        return _seconds_to_answer(port, sent, [[file]], "volume.nii", together.wait)

    with ThreadPoolExecutor(len(chosen) + uploads) as pool:
        others = [pool.submit(send, number) for number in range(uploads)]
        seconds = list(pool.map(click, chosen))
        for other in others:
            other.result()
    return seconds


def _seconds_to_answer(
    port: int, event: int, data: list, name: str, asked_for: Callable[[], object] = lambda: None
) -> float:
    session = f"visitor-{next(_sessions)}"
    start = time.perf_counter()
    asked = {"fn_index": event, "session_hash": session, "data": data, "event_data": None, "trigger_id": None}
    _asked(port, "/gradio_api/queue/join", json.dumps(asked).encode())
    asked_for()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
    answered = None
    for line in connection.getresponse():
        if answered is None and b"weights" in line and name.encode() in line:
            answered = time.perf_counter() - start
        if b'"process_completed"' in line:
            break
    connection.close()
    assert answered is not None, f"no answer to {name}"
    return answered


def _event(port: int, element: str, name: str) -> tuple[dict, int]:
    """A component as the browser knows it, and the number of what its event does."""
    config = json.loads(_asked(port, "/config"))
    component = next(one for one in config["components"] if one["props"].get("elem_id") == element)
    event = next(one["id"] for one in config["dependencies"] if [component["id"], name] in map(list, one["targets"]))
    return component["props"], event


def _asked(port: int, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """What is answered to a POST of `body`, or to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST" if body else "GET", path, body, {"Content-Type": kind})
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    assert reply.status == 200, f"{reply.status} from {path}"
    return content
