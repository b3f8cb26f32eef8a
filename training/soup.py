"""Runs that differ in their seed alone -> one network: the mean of their weights.

    python -m training.soup runs/seed-0 runs/seed-1 runs/seed-2 --out runs/soup
    python -m training.export runs/soup

Networks that were fine-tuned from the same start lie in one basin, where the mean of the weights answers much like the
mean of the answers, at the cost of one network (Wortsman et al. 2022, arXiv:2203.05482). Whether that holds is printed:
the validation figures of each run and of the mean. Nothing but validation is looked at.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from model.network import TumorNet
from model.preprocess import SERVING_MARGIN

from .checkpoint import load_checkpoint, save_checkpoint
from .data import DataError, load_frames
from .settings import Settings
from .training_set import read_parts
from .validate import score, validate

OWN = ("seed", "out", "threads", "cache")  # settings in which the runs may differ


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of state dicts of the same network; counters are taken from the first one."""
    first = states[0]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def mean_history(histories: Sequence[list[dict]]) -> list[dict]:
    """Epoch by epoch the mean of all figures, and the sum of the seconds; as long as the shortest run."""
    return [
        {name: sum(line[name] for line in lines) / (1 if name == "seconds" else len(lines)) for name in lines[0]}
        for lines in zip(*histories, strict=False)
    ]


def soup(runs: Sequence[Path], out: Path) -> Path:
    """Write a run folder that `training.export` takes, and print what validation says; returns the folder.

    Raises: DataError if there is nothing to average, the runs differ in more than their seed, or `out` is taken.
    """
    if len(runs) < 2 or (out / "best.pt").exists():
        raise DataError(f"Name two runs or more, and a new folder: {out} must not hold a run yet.")
    facts = [json.loads((run / "settings.json").read_text()) for run in runs]
    common = [{k: v for k, v in fact["settings"].items() if k not in OWN} for fact in facts]
    common = [settings | {"data": fact["data_fingerprint"]} for settings, fact in zip(common, facts, strict=True)]
    if any(settings != common[0] for settings in common):
        raise DataError("These runs differ in more than their seed. Average runs of the same settings and data.")
    states = [load_checkpoint(run / "best.pt") for run in runs]
    histories = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in runs]

    out.mkdir(parents=True, exist_ok=True)
    mean = mean_state(states)
    save_checkpoint(mean, out / "best.pt")
    averaged = [{"run": run.name, "seed": fact["settings"]["seed"]} for run, fact in zip(runs, facts, strict=True)]
    (out / "settings.json").write_text(json.dumps(facts[0] | {"averaged": averaged}, indent=2) + "\n")
    (out / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in mean_history(histories)))

    settings = Settings(**facts[0]["settings"])
    _, _, validation = read_parts(settings)
    frames = load_frames(validation, settings.size, SERVING_MARGIN, Path(settings.cache))
    for name, state in zip([run.name for run in runs] + ["mean"], [*states, mean], strict=True):
        net = TumorNet()
        net.load_state_dict(state)
        measured = validate(net, frames, torch.device("cpu"))
        figures = "  ".join(f"{key} {value:.4f}" for key, value in measured.items())
        print(f"{name:12}  score {score(measured):.4f}  {figures}")
    return out


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.soup", description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="the new run folder")
    options = parser.parse_args(arguments)
    try:
        soup(options.runs, options.out)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
