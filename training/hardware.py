"""What the machine is and what it is good at."""

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch


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


def describe(device: torch.device) -> dict:
    """Name, cores and memory of the machine, for reports: JSON-ready."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = cpu_field("model name") or platform.processor()
    machine = {"processor": processor, "cores": os.cpu_count(), "memory_gib": round(memory)}
    if device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name(device)
    return machine


def versions() -> dict[str, str]:
    """Of what the digits depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def git_commit() -> str:
    """Commit of the code that runs, with `+` where the tree has uncommitted changes; empty outside a repository."""
    root = Path(__file__).parent
    try:
        commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=root, text=True, stderr=subprocess.DEVNULL)
        dirty = subprocess.check_output(["git", "status", "--porcelain", "--", "*.py"], cwd=root.parent, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + ("+" if dirty.strip() else "")
