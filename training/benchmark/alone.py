"""One contestant in a process of its own: how long it loads, and what memory the process takes at most.

python -m training.benchmark.alone CONTESTANT THREADS BATCH      # as training/benchmark/inference.py calls it
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from . import memory
from .contestants import Contestant

CALLS = 3  # after the first: memory has reached its peak by then
LIBRARIES = {"eager": ("torch", "torchvision", "safetensors.torch"), "onnx": ("onnxruntime",)}
OURS = ("model.classifier",)


def measure(one: Contestant, threads: int, batch: int) -> dict[str, float]:
    """`load_ms` from the file to the first answer, libraries imported before; `peak_mb` of the process with them."""
    told = [json.dumps(asdict(one)), str(threads), str(batch)]
    command = [sys.executable, "-m", __spec__.name, *told]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{one.what} could not be run in a process of its own: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    one, threads, batch = Contestant(**json.loads(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    for library in LIBRARIES.get(one.runtime, OURS):
        __import__(library)
    start = time.perf_counter()
    call = one.open(threads)(batch)
    call()
    load = 1000 * (time.perf_counter() - start)
    for _ in range(CALLS):
        call()
    print(json.dumps({"load_ms": round(load, 1), "peak_mb": round(memory.peak() / 1e6)}))


if __name__ == "__main__":
    main()
