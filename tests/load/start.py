"""How soon a started server answers, beside a hello-world page, and what it takes at rest."""

import asyncio
import time
from statistics import median

from .clients import ask_for, form, post
from .processes import HELLO, cpu_seconds, family, resident_mb, seconds_until, started
from .slices import JPEG

ANSWERED = 20  # requests, before a server rests
REST = 3.0  # seconds after the first answer, before its memory and its processor are looked at
IDLE = 10.0  # seconds that its processor time is counted over


def measure_start(rounds: int) -> dict[str, float]:
    """Medians over `rounds` in which both take turns: seconds; at rest, MB and the share of a core of all processes."""
    hello, page, ready, held, idle = [], [], [], [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        with started(["-c", HELLO]) as (_, port):
            hello.append(seconds_until(port, "/", begin))
        begin = time.perf_counter()
        with started(["app.py"]) as (process, port):
            page.append(seconds_until(port, "/", begin))
            ready.append(seconds_until(port, "/readyz", begin))
            asyncio.run(
                ask_for(
                    port,
                    lambda _: post("/predict", form("slice.jpg", JPEG), "10.0.0.1"),
                    2,
                    lambda sent: sent >= ANSWERED,
                )
            )
            time.sleep(REST)
            held.append(resident_mb(family(process.pid)))
            before = cpu_seconds(family(process.pid))
            time.sleep(IDLE)
            idle.append((cpu_seconds(family(process.pid)) - before) / IDLE)
    return {
        "hello": median(hello),
        "page": median(page),
        "ready": median(ready),
        "rss": median(held),
        "idle": median(idle),
    }
