"""Kill a training with SIGKILL at random moments, again and again: it must end as if it had been left alone.

    python -m tests.survival --kills 20 --out runs/survival      # minutes; a small set of drawn heads

After each kill every file of the run has to be readable, and when a run comes to its end its history and the metrics of
its artifact have to be those of the run left alone, to the last digit. The export, which can be done again at any time,
is not killed. Exit code 0 if all of this holds.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from training.checkpoint import BEST, CHECKPOINT, FACTS, HISTORY, load_checkpoint
from training.data.phantoms import write_phantom_dataset
from training.export.export import export

REPOSITORY = Path(__file__).parents[1]
OPTIONS = ("--size=64", "--smallest_size=64", "--epochs=8", "--batch=16", "--phantoms=16", "--init=scratch")
OFTEN = ("--log_every=1", "--save_minutes=0.01")  # checkpoints: so that kills hit their writing, too
FIT = "import sys; from training.train import fit, parse_settings; fit(*parse_settings(sys.argv[1:], ''))"
DIFFERS = ("seconds", "starts", "recorded", "settings")  # of two equal runs: when, how often begun, and where they lie


def command(folder: Path, name: str) -> list[str]:
    places = (f"--data={folder / 'phantoms'}", f"--out={folder / name / 'run'}", f"--cache={folder / 'cache'}")
    return [sys.executable, "-c", FIT, *places, *OPTIONS, *OFTEN, "--resume"]


def start(folder: Path, name: str) -> subprocess.Popen:
    with open(folder / f"{name}.log", "a") as log:
        return subprocess.Popen(command(folder, name), cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)


def outcome(run: Path) -> dict:
    """What must not depend on kills: the epochs, and the figures of the artifact (its weights' hash among them)."""
    export(run)
    history = [json.loads(line) for line in (run / HISTORY).read_text().splitlines()]
    metrics = json.loads((run / "weights" / "metrics.json").read_text())
    return {"history": without_times(history), "metrics": without_times(metrics)}


def without_times(facts: object) -> object:
    if isinstance(facts, dict):
        return {name: without_times(value) for name, value in facts.items() if name not in DIFFERS}
    return [without_times(fact) for fact in facts] if isinstance(facts, list) else repr(facts)  # NaN is not itself


def check_readable(run: Path) -> None:
    """Raises whatever reading raises."""
    for name in (CHECKPOINT, BEST):
        if (run / name).exists():
            load_checkpoint(run / name)
    if (run / FACTS).exists():
        json.loads((run / FACTS).read_text())
    if (run / HISTORY).exists():
        [json.loads(line) for line in (run / HISTORY).read_text().splitlines()]


def run_with_kills(folder: Path, name: str, kills: int, whole: float, moments: random.Random) -> tuple[int, float]:
    """Start a run, and again after each kill, until it comes to its end.

    It is killed at most `kills` times, at moments of the seconds that a `whole` run takes. Returns how often, and how
    long the last start took. Raises CalledProcessError.
    """
    killed = 0
    while True:
        began, process = time.monotonic(), start(folder, name)
        try:
            code = process.wait(moments.uniform(0, whole) if killed < kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            check_readable(folder / name / "run")
            continue
        if code:
            raise subprocess.CalledProcessError(code, f"{name}, after {killed} kills")
        return killed, time.monotonic() - began


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.survival", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    options = parser.parse_args(arguments)
    folder, moments = options.out.resolve(), random.Random(options.seed)
    write_phantom_dataset(folder / "phantoms", per_class=12, seed=5, size=96)
    _, whole = run_with_kills(folder, "alone", 0, 0, moments)
    print(f"left alone, the run takes {whole:.0f} s", flush=True)
    expected, left, number, others = outcome(folder / "alone" / "run"), options.kills, 0, 0
    while left:
        number += 1
        killed, took = run_with_kills(folder, f"killed-{number}", left, whole, moments)
        left, whole = left - killed, min(whole, took) if not killed else whole  # the machine may be less busy now
        same = outcome(folder / f"killed-{number}" / "run") == expected
        others += not same
        print(
            f"run {number}, killed {killed} times: {'the same' if same else 'ANOTHER'} history and metrics", flush=True
        )
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
