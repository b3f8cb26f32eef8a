"""Besiege a started server: thousands of hostile uploads of our own making, through POST /predict, and a table of it.

    make hostile                                          # all of them: some minutes, at most --minutes
    python -m tests.siege --only "polyglots" --every 10   # a try: each tenth of one family
    python -m tests.siege --seed 1 --keep FOLDER          # others, and the log and the bodies that did harm

Exit code 0 if there was no crash and no trace. A crash: the server is gone or does not answer, a status of 5xx but 503,
a process that reads has died or was stopped, or a good file was refused beside bad ones. A trace: a message of the
answer that quotes what a program says of itself. Inputs: `tests.regressions.hostile`, the same in each run of a seed.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.artifact import EMBEDDED
from model.report import ANSWERED
from tests.load.clients import Client, Reply, post
from tests.load.processes import family, resident_mb, seconds_until
from tests.regressions.answers import OF_THE_GUARD
from tests.regressions.hostile import FAMILIES, GOOD, Upload
from tests.server import free_port, start_app

CLIENTS = 2
NO_ANSWER = 60  # seconds after which there is none
TRACE = re.compile(
    r"""Traceback | \w(Error|Exception|Warning)\b | \bobject\ at\b | 0x[0-9a-f] | <class | __ | [Ll]ine\ \d
    | (/[\w.-]+){2,} | \b(numpy|dtype|pydicom|gdcm|nibabel|PIL|zlib|struct|NoneType)\b""",
    re.VERBOSE,
)
HARM_IN_LOG = re.compile(r"Traceback \(most recent|Fatal Python error|in the process that reads")


class Outcome(NamedTuple):
    """What came of one upload. `statuses`: of what was in it. `harm`: why it counts as a crash, else ""."""

    kind: str
    upload: Upload
    reply: Reply
    statuses: list[str]
    harm: str
    has_trace: bool


def outcome(kind: str, upload: Upload, reply: Reply) -> Outcome:
    try:
        answer = json.loads(reply.body)
    except ValueError:  # what is beneath the service says nothing in JSON
        answer = {"detail": reply.body.decode(errors="replace")}
    is_refusal = isinstance(answer, dict)
    entries = [file | {"status": "unreadable"} for file in answer.get("files", [])] if is_refusal else answer
    messages = [entry["reason"] for entry in entries] + ([answer["detail"]] if is_refusal else [])
    statuses = [entry["status"] for entry in entries]
    stopped = [message for message in messages if message in OF_THE_GUARD]
    answered = {entry["file"] for entry in entries if entry["status"] in ANSWERED}
    harm = ""
    if not reply.status:
        harm = "no answer"
    elif (reply.status >= 500 and reply.status != 503) or "failed" in statuses:
        harm = f"status {reply.status}"
    elif upload.has_good and GOOD not in answered:
        harm = "a good file was refused beside bad ones"
    elif stopped:
        harm = stopped[0]
    return Outcome(kind, upload, reply, statuses, harm, any(TRACE.search(message) for message in messages))


async def besiege(port: int, kind: str, uploads: Sequence[Upload], until: float = np.inf) -> list[Outcome]:
    """What came of the uploads that could be sent before `until`, of time.monotonic()."""
    outcomes, rest = [], enumerate(uploads)

    async def send_one_by_one() -> None:
        for number, upload in rest:
            if time.monotonic() > until:
                return
            address = f"10.{len(kind)}.{number >> 8}.{number & 255}"  # hardly one twice: the rate limit is not measured
            client, begin = Client(port), time.perf_counter()
            try:
                request = post("/predict", upload.body, address, upload.content_type)
                reply = await asyncio.wait_for(client.ask(request), NO_ANSWER)
            except TimeoutError:
                reply = Reply(0, time.perf_counter() - begin, 0)
            await client.close()
            outcomes.append(outcome(kind, upload, reply))

    await asyncio.gather(*(send_one_by_one() for _ in range(CLIENTS)))
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    options, begin, outcomes = parsed(arguments), time.monotonic(), []
    with ExitStack() as stack:
        log, port = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log", free_port()
        process = start_app(log, EMBEDDED, port)
        stack.callback(process.wait)
        stack.callback(process.kill)
        seconds_until(port, "/readyz", time.perf_counter())
        controls = list(FAMILIES["valid"](0))
        before = answers(asyncio.run(besiege(port, "before", controls)))
        print("| | inputs | HTTP | files | p50, p99, most | crashes | traces | MB after |\n" + "| --- " * 8 + "|")
        for kind in options.only or FAMILIES:
            uploads = list(FAMILIES[kind](options.seed))[:: options.every]
            outcomes += (now := asyncio.run(besiege(port, kind, uploads, begin + 60 * options.minutes)))
            print(row(kind, now, process.pid), flush=True)
        is_as_before = answers(asyncio.run(besiege(port, "after", controls))) == before
        print(row("**all**", outcomes, process.pid))
        text = log.read_text(errors="replace")
    print(
        f"\n{CLIENTS} clients, seed {options.seed}, {(time.monotonic() - begin) / 60:.1f} minutes; "
        f"valid files are {'' if is_as_before else 'NOT '}answered as before. "
        f"In the server's log: {dict(Counter(HARM_IN_LOG.findall(text))) or 'no trace'}."
    )
    harmful = [one for one in outcomes if one.harm or one.has_trace]
    for number, one in enumerate(harmful):
        print(f"{one.harm or 'a trace'}: {one.kind}: {one.upload.what}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"[^\w]+", "_", f"{number:03} {one.kind} {one.upload.what}")
            (options.keep / name).write_bytes(one.upload.body)
            (options.keep / "log").write_text(text)
    return int(bool(harmful) or not is_as_before)


def answers(outcomes: list[Outcome]) -> dict[str, tuple[int, list[str]]]:
    return {one.upload.what: (one.reply.status, one.statuses) for one in outcomes}


def row(kind: str, outcomes: list[Outcome], pid: int) -> str:
    by_http = Counter(one.reply.status or "none" for one in outcomes)
    by_file = Counter(status for one in outcomes for status in one.statuses)
    http, files = (" ".join(f"{key} x{some[key]:,}" for key in sorted(some, key=str)) for some in (by_http, by_file))
    half, most, longest = np.percentile([one.reply.seconds for one in outcomes] or [np.nan], (50, 99, 100))
    harms, traces = sum(bool(one.harm) for one in outcomes), sum(one.has_trace for one in outcomes)
    times, megabytes = f"{half:.3f}, {most:.2f}, {longest:.1f} s", resident_mb(family(pid))
    return f"| {kind} | {len(outcomes):,} | {http} | {files} | {times} | {harms} | {traces} | {megabytes:.0f} |"


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.siege", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=FAMILIES, help="this family; may be given again")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance")
    parser.add_argument("--every", type=int, default=1, help="send each n-th input only")
    parser.add_argument("--minutes", type=float, default=30, help="after which no more is sent")
    parser.add_argument("--keep", type=Path, help="a folder for the log and the bodies that did harm")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
