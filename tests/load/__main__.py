"""Measure start, latency, throughput and memory of the service on this machine, and print a table.

    python -m tests.load                       all of it, about ten minutes; let nothing else run
    python -m tests.load --seconds 10 --requests 500 --starts 1      a try

Clients and server share the cores; the processor time of each is printed. Every client has an address of its own, as
behind a trusted proxy, so that the rate limit of one client is not what is measured.
"""

import argparse
import asyncio
import io
import os
import platform
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from statistics import median

import nibabel
import numpy as np
from PIL import Image

from model.classifier import TumorClassifier
from model.report import CHUNK
from model.scans import read
from page import examples
from tests.server import REPOSITORY

from .clients import Reply, ask_for, form, get, percentiles, post
from .processes import HELLO, cpu_seconds, family, resident_mb, seconds_until, started
from .visitors import seconds_to_examples

WARM_UP = 50  # requests before anything is measured: readers start, caches fill
ALONE = 500  # requests of one client
BARE_SECONDS, THREADS = 15, 3  # threads that ask at once, as many as the service lets work on two cores
REST, IDLE = 3.0, 10.0  # seconds after the first answers; then those over which an idle server is watched
SAMPLES = 40  # looks at the memory during the long run
REPLICAS = os.cpu_count() or 1
VISITORS, UPLOADS, LARGE = 8, 3, (155, 240)  # of the page at the same moment; slices and pixels of their sides
PAGE_EVERY = 1.0  # seconds between two looks at the page under load


def drawn(side: int) -> Image.Image:
    return Image.open(REPOSITORY / "examples" / "glioma_axial_flair.png").convert("L").resize((side, side))


def jpeg(side: int) -> bytes:
    out = io.BytesIO()
    drawn(side).save(out, "JPEG", quality=90)
    return out.getvalue()


def volume(slices: int, side: int) -> bytes:
    """NIfTI of `slices` slices 1 mm apart, of `side` x `side` pixels of 1 mm."""
    pixels = np.repeat(np.asarray(drawn(side), np.int16).T[:, :, None], slices, axis=2)
    return nibabel.Nifti1Image(pixels, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes()


JPEG = jpeg(512)
BODY = form("slice.jpg", JPEG)


def request(number: int) -> bytes:
    """A request of one of many clients."""
    return post("/predict", BODY, f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}")


def warm_up(port: int) -> None:
    seconds_until(port, "/readyz", time.perf_counter())
    asyncio.run(ask_for(port, request, 2, lambda sent: sent >= WARM_UP))


def main() -> None:
    options = parsed()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}")
    if options.starts:
        print_start(options.starts)
    bare = slices_a_second(BARE_SECONDS, 1), slices_a_second(BARE_SECONDS, CHUNK)
    row("the model alone", f"{bare[0]:.1f} slices/s one by one, {bare[1]:.1f} in volumes")
    with started(["app.py"]) as (process, port):
        warm_up(port)
        row("one client, 512-pixel JPEG", alone(port))
        row(f"{options.clients} clients for {options.seconds} s", crowd(port, process.pid, options, bare))
        row(f"{VISITORS} visitors of the page click an example at once", visitors(port, options.rounds))
        what = f"the same, after {UPLOADS} others have uploaded {LARGE[0]} slices of {LARGE[1]} pixels"
        row(what, visitors(port, options.rounds, UPLOADS, volume(*LARGE)))
        row(f"memory over {options.requests:,} requests", memory(port, process.pid, options.requests))
    row(f"the same clients, {REPLICAS} replicas on these cores", replicas(options, bare))


def print_start(rounds: int) -> None:
    """Medians over `rounds` in which this page and a hello-world page of Gradio start in turn."""
    seen = []
    for _ in range(rounds):
        begin = time.perf_counter()
        with started(["-c", HELLO]) as (_, port):
            hello = seconds_until(port, "/", begin)
        begin = time.perf_counter()
        with started(["app.py"]) as (process, port):
            page, ready = seconds_until(port, "/", begin), seconds_until(port, "/readyz", begin)
            asyncio.run(ask_for(port, request, 2, lambda sent: sent >= WARM_UP))
            time.sleep(REST)
            held, before = resident_mb(family(process.pid)), cpu_seconds(family(process.pid))
            time.sleep(IDLE)
            seen.append((hello, page, ready, held, (cpu_seconds(family(process.pid)) - before) / IDLE))
    hello, page, ready, held, busy = map(median, zip(*seen, strict=True))
    row("start: hello-world page of Gradio", f"{hello:.2f} s")
    row("start: this page", f"{page:.2f} s, x{page / hello:.2f} (bar 1.05)")
    row("start: first prediction possible", f"{ready:.2f} s, {ready - page:.2f} s later (bar 0.3)")
    row("memory at rest, all processes", f"{held:.0f} MB (bar 320)")
    row("processor at rest", f"{100 * busy:.2f} % of a core (bar 1)")


def slices_a_second(seconds: float, at_once: int) -> float:
    """The model alone: each of the threads asks for `at_once` slices at a time."""
    classifier, pixels = TumorClassifier.from_pretrained(), read(JPEG, "slice.jpg").slices * at_once
    classifier.predict(pixels)
    until = time.perf_counter() + seconds

    def ask(_: int) -> int:
        answered = 0
        while time.perf_counter() < until:
            answered += len(classifier.predict(pixels))
        return answered

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS))) / seconds


def alone(port: int) -> str:
    replies = asyncio.run(ask_for(port, request, 1, lambda sent: sent >= ALONE))
    half, most = percentiles(replies)
    return f"p50 {half:.1f} ms (bar 8), p95 {most:.1f} ms (bar 12); n {len(replies)}, {statuses(replies)}"


def crowd(port: int, pid: int, options: argparse.Namespace, bare: tuple[float, float]) -> str:
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
        f"{statuses(replies)}; page p50 {page_half:.0f} ms, p95 {page_most:.0f} ms, {statuses(page)}; "
        f"cores: server {(cpu_seconds(family(pid)) - before) / took:.2f}, "
        f"clients {(time.process_time() - mine) / took:.2f}"
    )


def visitors(port: int, rounds: int, uploads: int = 0, upload: bytes = b"") -> str:
    """Every visitor clicks another example; in the next round the same ones again."""
    chosen = [number % len(examples.FILES) for number in range(-VISITORS, 0)]  # the volumes among them
    seconds_to_examples(port, chosen)  # each example is read once
    taken = [seconds_to_examples(port, chosen, uploads, upload) for _ in range(rounds)]
    half, most = np.percentile(taken, (50, 95))
    return f"p50 {half:.2f} s, p95 {most:.2f} s, slowest {np.max(taken):.2f} s (bar 1.5); n {np.size(taken)}"


def replicas(options: argparse.Namespace, bare: tuple[float, float]) -> str:
    """As a proxy would spread the clients over replicas, without the proxy."""
    with ExitStack() as running:
        servers = [running.enter_context(started(["app.py"])) for _ in range(REPLICAS)]
        for _, port in servers:
            warm_up(port)
        begin = time.perf_counter()
        until, each = begin + options.seconds, options.clients // REPLICAS

        async def run() -> list[list[Reply]]:
            crowds = (ask_for(port, request, each, lambda _: time.perf_counter() >= until) for _, port in servers)
            return await asyncio.gather(*crowds)

        replies = sum(asyncio.run(run()), [])
        rate = sum(reply.status == 200 for reply in replies) / (time.perf_counter() - begin)
        held = sum(resident_mb(family(process.pid)) for process, _ in servers)
    return f"{rate:.1f} answers/s, {rate / bare[0]:.2f} of the model alone; {held:.0f} MB; {statuses(replies)}"


def memory(port: int, pid: int, requests: int) -> str:
    """Memory of all processes after each part of the requests, and the slope of a line through the second half."""
    numbers, each, held = count(), requests // SAMPLES, []
    for _ in range(SAMPLES):
        asyncio.run(ask_for(port, lambda _: request(next(numbers)), 4, lambda sent: sent >= each))
        held.append(resident_mb(family(pid)))
    sent = each * np.arange(1, SAMPLES + 1)
    slope = np.polyfit(sent[SAMPLES // 2 :] / 1000, held[SAMPLES // 2 :], 1)[0]
    stages = f"{held[0]:.0f} MB, {held[SAMPLES // 2]:.0f} MB at half, {held[-1]:.0f} MB at the end"
    return f"{stages}; {slope:+.2f} MB per 1,000 requests"


def statuses(replies: list[Reply]) -> str:
    counts = Counter(reply.status or "broken" for reply in replies)
    silent = sum(reply.status in (429, 503) and not reply.retry_after for reply in replies)
    note = f", {silent} of them without Retry-After" if silent else ""
    return " ".join(f"{status} x{number:,}" for status, number in sorted(counts.items(), key=str)) + note


def row(what: str, measured: str) -> None:
    print(f"| {what} | {measured} |", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="How the service bears load.")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="that all clients ask")
    parser.add_argument("--requests", type=int, default=10_000, help="over which the memory is watched")
    parser.add_argument("--rounds", type=int, default=10, help="in which visitors of the page ask at once")
    parser.add_argument("--starts", type=int, default=5, help="rounds of cold starts; 0 leaves them out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
