"""How soon a started server answers, and what it holds at rest, beside a hello-world page and the libraries alone."""

import time
from statistics import median

from .processes import HELLO, LIBRARIES, rss_mb, seconds_until, started

REST = 3.0  # seconds after the model is there


def measure_start(rounds: int) -> dict[str, float]:
    """Medians over `rounds` in which all take turns: seconds, and MB of the serving process at rest."""
    hello, page, ready, ours, libraries = [], [], [], [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        with started(["-c", HELLO]) as (_, port):
            hello.append(seconds_until(port, "/", begin))
        begin = time.perf_counter()
        with started(["app.py"]) as (process, port):
            page.append(seconds_until(port, "/", begin))
            ready.append(seconds_until(port, "/readyz", begin))
            time.sleep(REST)
            ours.append(rss_mb(process.pid))
        with started(["-c", LIBRARIES]) as (process, _):
            process.stdout.readline()
            libraries.append(rss_mb(process.pid))
    return {
        "hello": median(hello),
        "page": median(page),
        "ready": median(ready),
        "rss": median(ours),
        "libraries_rss": median(libraries),
    }
