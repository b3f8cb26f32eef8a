"""The systems that this one grew from beside ours: the same splits, the same budget, the same measurement, one table.

    python -m training.evaluation.compare --vendor VENDOR --pool POOL --external EXTERNAL --minutes 2 --out comparison.json
    python -m training.evaluation.compare ... --weights runs/NAME/weights --vendor_weights runs/VENDOR/weights
    python -m training.evaluation.compare ... --only tinyvgg alexnet             # some of them; the file keeps the others

Each system of training/evaluation/baselines.py trains on the vendor split (Training -> Testing, copies and all, a random tenth of
Training to choose the best weights: the protocol of those projects) and on the honest one (pool, by patient). "ours" is
this network with as many epochs as the same budget holds; "ours_full" are finished weights, with their own training
time. Results are written after each one: the same command goes on where it was stopped. With --steps nothing is timed.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from model.artifact import FILES
from model.classifier import TumorClassifier

from ..data.frames import DataError, Dataset, load_frames, read_dataset
from ..data.training_set import Splits, pool_splits, vendor_splits
from ..hardware import best_device, describe, versions
from ..initialize import initialize
from ..network import TumorNet
from ..schedules import image_size_at
from ..settings import Settings
from ..train import fit, train
from .baselines import BASELINES
from .card import section
from .comparison_figures import latency, measured
from .fit_baseline import Budget, answer, as_served, file_bytes, fit_baseline, load_squares

OURS, OURS_FULL = "ours", "ours_full"
NAMES = (*BASELINES, OURS, OURS_FULL)
# Ours from the vendor's Training alone, as it is.
VENDOR_SETTINGS = {"copies": "keep", "phantoms": 0, "transplants_from": 1.0, "blanked": 0.0}
WARMUP_SHARE = 0.1  # of our epochs, where these are few


def compare(
    out: Path,
    protocols: list[Splits],
    budget: Budget,
    external: Dataset | None = None,
    only: tuple[str, ...] = NAMES,
    weights: Mapping[str, Path] = MappingProxyType({}),
    init: str = Settings.init,
    seed: int = 0,
) -> dict:
    """Train and measure what `out` does not hold yet; returns all of it, JSON-ready, and writes it after each system.

    Args: `only`, of NAMES; `weights`, protocol -> folder of finished weights of ours; `init`, where "ours" starts, as
    in `training.initialize`.
    Raises: DataError if `out` was begun with another budget, seed, machine or data; OSError, ValueError.
    """
    if OURS in only:
        initialize(TumorNet(), init)  # what cannot be had must not show after an hour
    finished = {name: version_of(folder) for name, folder in weights.items() if OURS_FULL in only}
    out.parent.mkdir(parents=True, exist_ok=True)
    result = begin(out, protocols, budget, external, seed)
    for protocol in protocols:
        for name in only:
            if name == OURS_FULL:
                version = finished.get(protocol.name)
                if version and not is_done(result, name, protocol, version):
                    folder = weights[protocol.name]
                    keep(out, result, row_of_weights(name, "ours, finished weights", protocol, folder, external))
            elif not is_done(result, name, protocol):
                print(f"{protocol.name}: {name}", flush=True)
                if name == OURS:
                    folder = train_ours(protocol, budget, init, seed, out.with_suffix(""))
                    keep(out, result, row_of_weights(name, "ours, same budget", protocol, folder, external))
                else:
                    keep(out, result, row_of_baseline(name, protocol, budget, external, seed))
    if budget.minutes:
        names = {row["system"] for row in result["rows"]}
        folders = [*out.with_suffix("").glob("ours-*/weights"), *weights.values()] if {OURS, OURS_FULL} & names else []
        result["latency"] = latency([name for name in BASELINES if name in names], next(iter(folders), None))
        write(out, result)
    return result


# ---- the file of results


def begin(out: Path, protocols: list[Splits], budget: Budget, external: Dataset | None, seed: int) -> dict:
    """The results so far, or an empty file of them. Raises: DataError if these would not stand beside new ones."""
    data = {protocol.name: protocol.fingerprint() for protocol in protocols}
    data |= {"external": external.fingerprint()} if external else {}
    facts = {
        "budget": budget._asdict(),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "hardware": describe(best_device()),
        "versions": versions(),
    }
    if not out.exists():
        return facts | {"data": data, "rows": [], "latency": {}}
    result = json.loads(out.read_text())
    changed = [name for name, value in facts.items() if result.get(name) != value]
    changed += [name for name, value in data.items() if result["data"].get(name, value) != value]
    if external and "external" not in result["data"] and result["rows"]:
        changed.append("external")
    if changed:
        raise DataError(f"{out} was begun with another {', '.join(changed)}. Choose another --out, or remove it.")
    result["data"] |= data
    return result


def is_done(result: dict, system: str, protocol: Splits, version: str | None = None) -> bool:
    rows = [row for row in result["rows"] if (row["system"], row["protocol"]) == (system, protocol.name)]
    return any(version in (None, row.get("version")) for row in rows)


def keep(out: Path, result: dict, row: dict) -> None:
    """Put `row` in the place of an older one of the same system and protocol, and write the file."""
    key = row["system"], row["protocol"]
    result["rows"] = [other for other in result["rows"] if (other["system"], other["protocol"]) != key] + [row]
    write(out, result)


def write(out: Path, result: dict) -> None:
    unfinished = out.with_suffix(".part")
    unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    os.replace(unfinished, out)


# ---- one row


def row_of_baseline(name: str, protocol: Splits, budget: Budget, external: Dataset | None, seed: int) -> dict:
    """Train and measure one of BASELINES."""
    baseline = BASELINES[name]
    training, validation = (load_squares(part, baseline.size) for part in (protocol.training, protocol.validation))
    net, trained = fit_baseline(baseline, training, validation, budget, seed, best_device())
    parameters = sum(parameter.numel() for parameter in net.parameters())
    net = as_served(baseline, net)

    def answers(dataset: Dataset) -> np.ndarray:
        images = load_squares(dataset, baseline.size).images
        return baseline.probabilities(answer(baseline, net, images)).double().numpy()

    return {
        "system": name,
        "protocol": protocol.name,
        "title": baseline.title,
        "claimed": baseline.claimed,
        "assumed": baseline.assumed,
        "trained": trained,
        **measured(answers, protocol, external, baseline.binary),
        "size": {
            "input": f"{baseline.size} px, {'gray' if baseline.channels == 1 else 'color'}",
            "parameters": parameters,
            "bytes": file_bytes(net),
        },
    }


def row_of_weights(name: str, title: str, protocol: Splits, folder: Path, external: Dataset | None) -> dict:
    """Measure the int8 artifact in `folder`, by the same rules."""
    classifier = TumorClassifier.from_folder(folder)
    size, margin = classifier.config["size"], classifier.config["margin"]

    def answers(dataset: Dataset) -> np.ndarray:
        return classifier.calibrate(classifier.outputs(load_frames(dataset, size, margin).images).logits)

    metrics = folder / "metrics.json"
    training = json.loads(metrics.read_text()).get("training", {}) if metrics.exists() else {}
    settings = training.get("settings", {})
    return {
        "system": name,
        "protocol": protocol.name,
        "title": title,
        "claimed": {},
        "version": version_of(folder),
        "trained": {
            "start": starting_point(settings.get("init", "")),
            "seconds": training.get("seconds"),
            "passes": training.get("epochs"),
        },
        **measured(answers, protocol, external, binary=False),
        "size": {
            "input": f"{size} px, gray, framed by the head",
            "parameters": sum(parameter.numel() for parameter in TumorNet().parameters()),
            "bytes": (folder / FILES["int8"]).stat().st_size,
        },
    }


def starting_point(init: str) -> str:
    """What our training started from, in the words of the table; `init` as in the settings."""
    if init == "imagenet" or init.endswith((".pt", ".pth")):
        return "ImageNet"
    return {"scratch": "random", "": ""}.get(init, "weights of ours")


def version_of(folder: Path) -> str:
    """Start of the SHA-256 of the int8 weights in `folder`."""
    return hashlib.sha256((folder / FILES["int8"]).read_bytes()).hexdigest()[:8]


def train_ours(protocol: Splits, budget: Budget, init: str, seed: int, runs: Path) -> Path:
    """Train this network for as long as `budget` says, from Settings; returns the folder of its weights.

    A run of one epoch tells how long the epochs of such a budget are (with --steps, one epoch is all there is).
    """
    own = VENDOR_SETTINGS if protocol.name == "vendor" else {}
    settings = Settings(data=str(protocol.root), init=init, seed=seed, threads=torch.get_num_threads(), **own)
    epochs = 1
    if budget.minutes:
        pilot = dataclasses.replace(settings, out=str(runs / f"ours-{protocol.name}-pilot"), epochs=1)
        history = Path(pilot.out) / "history.jsonl"
        if not history.exists():
            fit(pilot, resume=(Path(pilot.out) / "checkpoint.pt").exists())
        first = json.loads(history.read_text().splitlines()[0])
        epochs = epochs_within(60 * budget.minutes, first["seconds"], first["size"], settings)
    out = runs / f"ours-{protocol.name}"
    settings = dataclasses.replace(settings, out=str(out), epochs=epochs, warmup_epochs=WARMUP_SHARE * epochs)
    return train(settings, resume=(out / "checkpoint.pt").exists())


def epochs_within(seconds: float, of_one: float, size_of_one: int, settings: Settings) -> int:
    """Most epochs, at least 1, that fit; an epoch takes as long as its images have pixels. `of_one`: seconds."""
    epochs = 1
    while True:
        longer = dataclasses.replace(settings, epochs=epochs + 1)
        pixels = sum((image_size_at(epoch, longer) / size_of_one) ** 2 for epoch in range(epochs + 1))
        if of_one * pixels > seconds:
            return epochs
        epochs += 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.compare", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--vendor", type=Path, help="folder with Training/ and Testing/")
    parser.add_argument("--pool", type=Path, help="folder with a manifest.csv that has groups")
    parser.add_argument("--external", type=Path, help="images of another source, for reporting only")
    parser.add_argument("--out", type=Path, required=True, help="the JSON of results; our runs lie beside it")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="of training, for each system on each split")
    budget.add_argument("--steps", type=int, help="of training instead, to try the program: nothing is timed")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these systems (default: all)")
    parser.add_argument("--weights", type=Path, default=Path("model/weights"), help="ours, trained on the pool")
    parser.add_argument("--vendor_weights", type=Path, help="ours, trained on the vendor's training part")
    parser.add_argument("--init", default=Settings.init, help="where ours starts, as in training.train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if not (options.vendor or options.pool):
        parser.error("give --vendor, --pool or both")
    if (options.minutes or options.steps or 0) <= 0:
        parser.error("the budget is more than 0")
    torch.set_num_threads(options.threads)
    try:
        protocols, weights = [], {}
        if options.pool:
            protocols.append(pool_splits(options.pool))
            weights["pool"] = options.weights
        if options.vendor:
            protocols.append(vendor_splits(options.vendor, options.seed))
            weights |= {"vendor": options.vendor_weights} if options.vendor_weights else {}
        result = compare(
            options.out,
            protocols,
            Budget(options.minutes, options.steps),
            read_dataset(options.external).trainable() if options.external else None,
            tuple(options.only),
            weights,
            options.init,
            options.seed,
        )
    except (OSError, ValueError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 2
    print(section("comparison", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
