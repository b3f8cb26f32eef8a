"""Measure start, latency, throughput and memory of the service on this machine, and print a table.

    python -m tests.load                       all of it, about ten minutes; let nothing else run
    python -m tests.load --seconds 10 --requests 500 --starts 1      a try

Clients and server share the cores; the processor time of each is printed. Every client has an address of its own, as
behind a trusted proxy, so that the rate limit of one client is not what is measured.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from itertools import chain, count

import numpy as np

from page import examples
from tests.server import REPOSITORY

from .clients import Reply, ask_for, form, get, percentiles, post
from .processes import cpu_seconds, family, resident_mb, seconds_until, started
from .slices import JPEG, volume
from .start import measure_start
from .visitors import seconds_to_examples

WARM_UP = 50  # requests before anything is measured: readers start, caches fill
ALONE = 500  # requests of one client
BARE_SECONDS = 15
SAMPLES = 40  # looks at the memory during the long run
REPLICAS = os.cpu_count() or 1
VISITORS, UPLOADS = 8, 3  # of the page at the same moment
LARGE = (155, 240)  # slices and pixels of their sides
PAGE_EVERY = 1.0  # seconds between two looks at the page under load
BODY = form("slice.jpg", JPEG)


def request(number: int) -> bytes:
    """A request of one of many clients."""
    return post("/predict", BODY, f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}")


def main() -> None:
    options = _parse()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}"
    )
    if options.starts:
        _print_start(measure_start(options.starts))
    bare = _bare(BARE_SECONDS)
    with started(["app.py"]) as (process, port):
        seconds_until(port, "/readyz", time.perf_counter())
        asyncio.run(ask_for(port, request, 2, lambda sent: sent >= WARM_UP))
        _row("one client, 512-pixel JPEG", _alone(port))
        _row(f"{options.clients} clients for {options.seconds} s", _crowd(port, process.pid, options, bare))
        _row(f"{VISITORS} visitors of the page click an example at once", _visitors(port, options.rounds))
        row = f"the same, after {UPLOADS} others have uploaded {LARGE[0]} slices of {LARGE[1]} pixels"
        _row(row, _visitors(port, options.rounds, UPLOADS, volume(*LARGE)))
        _row(f"memory over {options.requests:,} requests", _memory(port, process.pid, options.requests))
    _row(f"the same clients, {REPLICAS} replicas on these cores", _replicas(options, bare))


def _bare(seconds: float) -> tuple[float, float]:
    """Slices a second of the model alone: one by one, and in volumes."""
    command = [sys.executable, "-m", "tests.load.bare", str(seconds)]
    printed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    single, volumes = map(float, printed.split())
    _row("the model alone", f"{single:.1f} slices/s one by one, {volumes:.1f} in volumes")
    return single, volumes


def _alone(port: int) -> str:
    replies = asyncio.run(ask_for(port, request, 1, lambda sent: sent >= ALONE))
    half, most = percentiles(replies)
    return f"p50 {half:.1f} ms (bar 8), p95 {most:.1f} ms (bar 12); n {len(replies)}, {_statuses(replies)}"


def _crowd(port: int, pid: int, options: argparse.Namespace, bare: tuple[float, float]) -> str:
    page: list[Reply] = []
    until = time.perf_counter() + options.seconds

    async def look_at_the_page() -> None:
        while time.perf_counter() < until:
            page.extend(await ask_for(port, lambda _: get("/"), 1, lambda sent: sent >= 1))
            await asyncio.sleep(PAGE_EVERY)

    async def run() -> list[Reply]:
        asked = ask_for(port, request, options.clients, lambda _: time.perf_counter() >= until)
        return (await asyncio.gather(asked, look_at_the_page()))[0]

    before, mine, begin = cpu_seconds(family(pid)), time.process_time(), time.perf_counter()
    replies = asyncio.run(run())
    took = time.perf_counter() - begin
    rate = sum(reply.status == 200 for reply in replies) / took
    (half, most), (page_half, page_most) = percentiles(replies), percentiles(page)
    return (
        f"{rate:.1f} answers/s, {rate / bare[0]:.2f} of the model alone (bar 0.80; {rate / bare[1]:.2f} of it in "
        f"volumes); p50 {half:.0f} ms, p95 {most:.0f} ms; "
        f"{_statuses(replies)}; page p50 {page_half:.0f} ms, p95 {page_most:.0f} ms, {_statuses(page)}; "
        f"cores: server {(cpu_seconds(family(pid)) - before) / took:.2f}, "
        f"clients {(time.process_time() - mine) / took:.2f}"
    )


def _visitors(port: int, rounds: int, uploads: int = 0, upload: bytes = b"") -> str:
    """Every visitor clicks another example; in the next round the same ones again."""
    chosen = [number % len(examples.FILES) for number in range(-VISITORS, 0)]  # the volumes among them
    seconds_to_examples(port, chosen)  # each example is read once
    taken = [seconds_to_examples(port, chosen, uploads, upload) for _ in range(rounds)]
    half, most = np.percentile(taken, (50, 95))
    return f"p50 {half:.2f} s, p95 {most:.2f} s, slowest {np.max(taken):.2f} s (bar 1.5); n {np.size(taken)}"


def _replicas(options: argparse.Namespace, bare: tuple[float, float]) -> str:
    """As a proxy would spread the clients over replicas, without the proxy."""
    with ExitStack() as running:
        servers = [running.enter_context(started(["app.py"])) for _ in range(REPLICAS)]
        for _, port in servers:
            seconds_until(port, "/readyz", time.perf_counter())
            asyncio.run(ask_for(port, request, 2, lambda sent: sent >= WARM_UP))
        begin = time.perf_counter()
        until, each = begin + options.seconds, options.clients // REPLICAS

        async def run() -> list[list[Reply]]:
            crowds = (ask_for(port, request, each, lambda _: time.perf_counter() >= until) for _, port in servers)
            return await asyncio.gather(*crowds)

        replies = list(chain(*asyncio.run(run())))
        rate = sum(reply.status == 200 for reply in replies) / (time.perf_counter() - begin)
        memory = sum(resident_mb(family(process.pid)) for process, _ in servers)
    return f"{rate:.1f} answers/s, {rate / bare[0]:.2f} of the model alone; {memory:.0f} MB; {_statuses(replies)}"


def _memory(port: int, pid: int, requests: int) -> str:
    """Memory of all processes after each part of the requests, and the slope of a line through the second half."""
    seen: list[tuple[int, float]] = []
    numbers = count()
    for part in range(1, SAMPLES + 1):
        until = requests // SAMPLES
        asyncio.run(ask_for(port, lambda _: request(next(numbers)), 4, lambda sent, until=until: sent >= until))
        seen.append((part * until, resident_mb(family(pid))))
    sent, held = np.array(seen[SAMPLES // 2 :]).T
    slope = np.polyfit(sent / 1000, held, 1)[0]
    stages = f"{seen[0][1]:.0f} MB, {held[0]:.0f} MB at half, {held[-1]:.0f} MB at the end"
    return f"{stages}; {slope:+.2f} MB per 1,000 requests"


def _statuses(replies: list[Reply]) -> str:
    counts = Counter(reply.status or "broken" for reply in replies)
    silent = sum(reply.status in (429, 503) and not reply.retry_after for reply in replies)
    told = f", {silent} of them without Retry-After" if silent else ""
    return " ".join(f"{status} x{number:,}" for status, number in sorted(counts.items(), key=str)) + told


def _print_start(measured: dict[str, float]) -> None:
    hello, page, ready = (measured[name] for name in ("hello", "page", "ready"))
    _row("start: hello-world page of Gradio", f"{hello:.2f} s")
    _row("start: this page", f"{page:.2f} s, x{page / hello:.2f} (bar 1.05)")
    _row("start: first prediction possible", f"{ready:.2f} s, {ready - page:.2f} s later (bar 0.3)")
    _row("memory at rest, all processes", f"{measured['rss']:.0f} MB (bar 320)")
    _row("processor at rest", f"{100 * measured['idle']:.2f} % of a core (bar 1)")


def _row(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="How the service bears load.")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="that all clients ask")
    parser.add_argument("--requests", type=int, default=10_000, help="over which the memory is watched")
    parser.add_argument("--rounds", type=int, default=10, help="in which visitors of the page ask at once")
    parser.add_argument("--starts", type=int, default=5, help="rounds of cold starts; 0 leaves them out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
