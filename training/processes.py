"""The processes of a run: one by itself, or those that torchrun started, each with its part of every batch.

with joined() as processes:
    part = processes.part(images)            # what this one works on
    everything = processes.gather(of_part)   # the same in all of them
"""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .hardware import best_device
from .synced_norm import synced

Made = TypeVar("Made")
TIMEOUT = timedelta(minutes=30)  # for the slowest: the first one decodes the data while the others wait
# What the libraries below PyTorch say when another process is gone; they raise plain RuntimeErrors.
GONE = (
    "onnection closed",
    "onnection reset",
    "onnection refused",
    "Broken pipe",
    "imed out",
    "NCCL",
    "gloo",
    "TCPStore",
)


class ProcessLost(RuntimeError):
    """Another process of the run has ended before its time. The message is a sentence."""


@dataclass(frozen=True)
class Processes:
    """What one of them knows of all. Every method with other processes in it has to be called by all of them."""

    device: torch.device
    rank: int = 0
    count: int = 1
    rank_here: int = 0  # among those of this machine

    @property
    def alone(self) -> bool:
        return self.count == 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """This process's share of the rows, whose counts may differ by one: none is there twice."""
        return rows.tensor_split(self.count)[self.rank]

    def gather_uneven(self, part: Tensor) -> Tensor:
        """The parts of all in the order of `part`, on the CPU; without gradients."""
        return part if self.alone else torch.cat(self.gather_objects(part))

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all, as many from each, those of the first process first. Gradients flow to the own ones."""
        if self.alone:
            return rows
        everyones = [torch.empty_like(rows) for _ in range(self.count)]
        dist.all_gather(everyones, rows.detach().contiguous())
        everyones[self.rank] = rows
        return torch.cat(everyones)

    def gather_objects(self, own: Made) -> list[Made]:
        if self.alone:
            return [own]
        everyones: list = [None] * self.count
        dist.all_gather_object(everyones, own)
        return everyones

    def any(self, *flags: bool) -> list[bool]:
        """Each flag: whether it is up in one of them."""
        if self.alone:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised]

    def from_first(self, work: Callable[[], Made]) -> Made:
        """What the first process makes of `work`, given to all; an OSError or ValueError of its is raised in all."""
        if self.alone:
            return work()
        made, error = None, None
        if self.is_first:
            try:
                made = work()
            except (OSError, ValueError) as failure:
                error = failure
        told = [made, error]
        dist.broadcast_object_list(told, src=0)
        made, error = told
        if error:
            raise error
        return made

    @contextmanager
    def first_here_goes_first(self) -> Iterator[None]:
        """The first process of each machine does the work below before the others: it fills the cache for them."""
        if not self.alone and self.rank_here:
            dist.barrier()
        yield
        if not self.alone and not self.rank_here:
            dist.barrier()

    def share_out(self, net: nn.Module, rests: bool) -> nn.Module:
        """`net` as one that takes the mean of all processes' gradients. `rests`: parts of it will, for some time."""
        if self.alone:
            return net
        here = [self.device] if self.device.type == "cuda" else None
        equal = "forward_sync_buffers"  # buffers are, since the norms see the whole batch
        if equal not in inspect.signature(nn.parallel.DistributedDataParallel).parameters:
            equal = "broadcast_buffers"  # its name before torch 2.15
        return nn.parallel.DistributedDataParallel(net, device_ids=here, find_unused_parameters=rests, **{equal: False})

    def synced(self, net: nn.Module) -> nn.Module:
        """`net` with norms that see the batch of all processes, not the part of one."""
        return net if self.alone else synced(net, self.device)


def is_first() -> bool:
    """Whether this process writes and prints; also before they have met, and after."""
    return int(os.environ.get("RANK", 0)) == 0


@contextmanager
def joined() -> Iterator[Processes]:
    """Meet the processes that torchrun started; without it there is one. Raises: ProcessLost."""
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    rank_here = int(os.environ.get("LOCAL_RANK", 0))
    device = best_device()
    if count == 1:
        yield Processes(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", rank_here)
        torch.cuda.set_device(device)
    try:
        # Small things on the CPU go through gloo also where gradients go through NCCL.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        yield Processes(device, rank, count, rank_here)
        dist.barrier()  # one that is done early must not look like one that is lost
    except RuntimeError as error:
        if not any(word in str(error) for word in GONE):
            raise
        raise ProcessLost(
            f"process {rank} of {count} lost another one: it was killed, ran out of memory, or its machine is gone. "
            "Nothing saved is lost: start again with --resume, with as many processes as you like."
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
