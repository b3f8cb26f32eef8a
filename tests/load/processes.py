"""Processes to measure: how soon they answer, what memory they take, how much of the cores."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server import REPOSITORY, START_SECONDS, free_port

TICKS = os.sysconf("SC_CLK_TCK")
POLL = 0.02  # seconds between two looks at whether a page answers

HELLO = """
import gradio as gr, os
with gr.Blocks() as blocks:
    gr.Markdown("Hello")
blocks.launch(server_port=int(os.environ["PORT"]), quiet=True)
"""


@contextmanager
def started(arguments: list[str], **environment: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """Run Python with `arguments` and a free PORT: (process, port). It is killed in the end."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def seconds_until(port: int, path: str, since: float) -> float:
    """Seconds from `since` (as time.perf_counter counts) until `path` answers 200."""
    while time.perf_counter() - since < START_SECONDS:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=START_SECONDS) as response:
                response.read()
            return time.perf_counter() - since
        except (urllib.error.URLError, ConnectionError):
            time.sleep(POLL)
    raise TimeoutError(f"{path} did not answer 200 within {START_SECONDS} s")


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = list(Path(f"/proc/{pid}/task").glob("*/children")) if children.exists() else []
    found = {int(child) for task in tasks for child in task.read_text().split()}
    return [pid, *(one for child in found for one in family(child))]


def resident_mb(pids: list[int]) -> float:
    """Memory that the processes hold, in MB; what several share counts once (PSS)."""
    total = 0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total / 1024


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that the processes have used so far."""
    return sum(
        sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / TICKS for pid in pids
    )
