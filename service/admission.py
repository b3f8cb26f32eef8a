"""Admission control: queue a request, or refuse it with 503 and Retry-After."""

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from model.wording import many

from .problems import Problem, whole_seconds

CAPACITY = 64  # for requests under way or waiting: a second's work in single slices, and as many as wait for the page
UNIT_BYTES = 16 * 2**20  # of a body that take one unit: all that wait together hold up to a gigabyte
MARGIN = 1  # workers more than cores, so that the cores have work while a file is being read in another process
FIRST_GUESS = 0.1  # seconds that a request takes, until some were measured
WEIGHT = 0.1  # of the last request in the mean: about ten back
Answer = TypeVar("Answer")


class Admission:
    """The requests under way or waiting, of which as many work at once as there are cores."""

    def __init__(self, capacity: int = CAPACITY, workers: int | None = None):
        self.capacity, self.workers = capacity, workers or (os.cpu_count() or 1) + MARGIN
        self.seconds = FIRST_GUESS  # that a request takes, a running mean
        self._taken, self._requests = 0.0, 0
        self._turn: anyio.CapacityLimiter | None = None  # made in the event loop

    @contextmanager
    def taking(self) -> Iterator[Callable[[int, bool], None]]:
        """Hold, for one request, what it takes by calling this with the bytes that have come, and whether it is whole.

        What has come takes its share of a unit, and a whole request whole units: who only promises to send takes none.
        The call raises: Problem if that is not free.
        """
        held, requests = 0.0, 0

        def take(body_bytes: int, is_whole: bool) -> None:
            nonlocal held, requests
            needed = min(self.capacity, 1 + body_bytes // UNIT_BYTES if is_whole else body_bytes / UNIT_BYTES)
            if self._taken - held + needed > self.capacity:
                wait = self.wait_seconds
                others = many(self._requests, "request")
                detail = f"The server is full, with {others} to answer. Send yours again in {whole_seconds(wait)} s."
                raise Problem(503, "Too busy", detail, retry_after=wait)
            self._taken += needed - held
            self._requests += is_whole - requests
            held, requests = needed, int(is_whole)

        try:
            yield take
        finally:
            self._taken -= held
            self._requests -= requests

    @property
    def wait_seconds(self) -> float:
        """How long all that are here now will take, by how long the last ones took."""
        return self._requests * self.seconds / self.workers

    async def work(self, job: Callable[[], Answer], is_wanted: Callable[[], Awaitable[bool]]) -> Answer | None:
        """Run `job` in a thread when it is its turn; None if nobody waits for it any more by then."""
        self._turn = self._turn or anyio.CapacityLimiter(self.workers)
        async with self._turn:
            if not await is_wanted():
                return None
            start = time.perf_counter()
            try:
                return await run_sync(job)
            finally:
                self.seconds += WEIGHT * (time.perf_counter() - start - self.seconds)
