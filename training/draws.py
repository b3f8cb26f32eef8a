"""Random draws that do not depend on how many processes share a batch.

A batch is cut into shards, each with a random stream of its own for augmentation and dropout. A process works on one
shard or on several: the numbers are the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

APART = 2_654_435_761  # between the seeds of shards: 2**32 by the golden ratio, far from the seeds of other epochs


def shards_of(wanted: int, began_with: int | None, processes: int) -> int:
    """How many shards a batch has: as many as were asked for (0: as the run began, else one for each process).

    Raises ValueError if the processes cannot share them out evenly.
    """
    if wanted and wanted % processes:
        raise ValueError(f"--shards {wanted} cannot be shared out among {processes} processes. Use a multiple of them.")
    if wanted:
        return wanted
    return began_with if began_with and began_with % processes == 0 else processes


class Streams:
    """The random streams of the shards that one process works on, through torch's global generators.

    With one shard, its stream is the global generator itself.
    """

    def __init__(self, shards: Sequence[int], device: torch.device):
        self.shards, self.device = shards, device
        self._states: dict[int, list[Tensor]] = {}

    def begin(self, seed: int) -> None:
        """Seed them all. The first shard's stream goes on from the global generator as it stands."""
        for shard in self.shards:
            if shard:
                torch.manual_seed(seed + shard * APART)
            self._states[shard] = self._read()

    @contextmanager
    def of(self, shard: int) -> Iterator[None]:
        """Draw from the stream of `shard`."""
        if len(self.shards) > 1:
            self._write(self._states[shard])
        yield
        if len(self.shards) > 1:
            self._states[shard] = self._read()

    def states(self) -> dict[int, list[Tensor]]:
        """What `restore` goes on from."""
        return dict(self._states) if len(self.shards) > 1 else {self.shards[0]: self._read()}

    def restore(self, states: dict[int, list[Tensor]]) -> None:
        self._states = {shard: states[shard] for shard in self.shards}
        self._write(self._states[self.shards[0]])

    def _read(self) -> list[Tensor]:
        on_device = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *on_device]

    def _write(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state[1], self.device)


class StreamedDropout(nn.Dropout2d):
    """Dropout of a batch of several shards, each from its own stream."""

    def __init__(self, share: float, streams: Streams):
        super().__init__(share)
        self.streams = streams

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        dropped = []
        for shard, part in zip(self.streams.shards, x.chunk(len(self.streams.shards)), strict=True):
            with self.streams.of(shard):
                dropped.append(super().forward(part))
        return torch.cat(dropped)
