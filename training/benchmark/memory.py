"""What a process holds of memory, as Linux tells it."""

from pathlib import Path

FOUND = Path("/proc/self/clear_refs").exists()
MISSING = "Peaks of memory can be measured on Linux only."


def held(process: str = "self") -> int:
    """Bytes of memory that a process holds now."""
    return 1024 * int(told(process, "VmRSS"))


def peak(process: str = "self") -> int:
    """Bytes at most since it began, or since `forget_peak`."""
    return 1024 * int(told(process, "VmHWM"))


def forget_peak(process: str = "self") -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def told(process: str, what: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(what))
