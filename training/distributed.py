"""The device and the processes of a run: one by itself, or those of `torchrun`, each with its part of every batch.

On GPUs BatchNorm sees the whole batch; on CPUs each process has statistics of its own, and the first one's are kept.
Each draws its own augmentation. Without these two, several take the steps of one (tests/test_distributed.py: to 1e-4).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Made = TypeVar("Made")

RANK, COUNT = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # set by torchrun
RANK_HERE, IS_FIRST = int(os.environ.get("LOCAL_RANK", 0)), RANK == 0  # of this machine; who writes and prints
TIMEOUT = timedelta(minutes=30)  # for the slowest: the first one decodes the data while the others wait


def cpu_field(name: str) -> str:
    """Value of a field of the first core in Linux's /proc/cpuinfo; empty where there is none."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def best_device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_is_fast(device: torch.device) -> bool:
    """bf16 pays where matrix units speak it; on other processors it is emulated and twice as slow as float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"amx_bf16", "avx512_bf16"} & set(cpu_field("flags").split()))


@contextmanager
def connected() -> Iterator[torch.device]:
    """Meet the other processes, if there are any; gives this one's device. Raises: RuntimeError if one is lost."""
    device = best_device()
    if COUNT == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", RANK_HERE)
        torch.cuda.set_device(device)
    # Small things on the CPU go through gloo also where gradients go through NCCL.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield device
        dist.barrier()  # one that is done early must not look like one that is lost
    finally:
        dist.destroy_process_group()


def part(rows: Tensor) -> Tensor:
    """This process's share of the rows."""
    return rows.tensor_split(COUNT)[RANK]


def mean_of_all(values: Tensor) -> Tensor:
    """The mean of all processes' values, of which nothing is differentiated, in all of them."""
    if COUNT > 1:
        dist.all_reduce(values)
    return values / COUNT


def gathered(own: Made) -> list[Made]:
    """What each process has made, in all of them, that of the first one first."""
    everyones = [own] * COUNT
    if COUNT > 1:
        dist.all_gather_object(everyones, own)
    return everyones


def from_first(work: Callable[[], Made]) -> Made:
    """What the first process makes of `work`, given to all. If it fails there, torchrun ends the others."""
    made = [work() if IS_FIRST else None]
    if COUNT > 1:
        dist.broadcast_object_list(made, src=0)
    return made[0]


@contextmanager
def in_turn() -> Iterator[None]:
    """The first process of each machine does the work below before the others: it fills the cache for them."""
    if RANK_HERE:
        dist.barrier()
    yield
    if COUNT > 1 and not RANK_HERE:
        dist.barrier()
