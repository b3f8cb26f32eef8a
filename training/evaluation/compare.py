"""The baselines beside ours: the same splits, the same budget, the same measurement, one table in the card.

    python -m training.evaluation.compare --vendor VENDOR --pool POOL --external EXTERNAL --minutes 8 \\
        --imagenet_lite0 efficientnet-lite0-57934424.pth --out comparison.json
    python -m training.evaluation.compare ... --only tinyvgg ours     # some of them; the file keeps the others

Each system of baselines.py trains on the vendor split (Training -> Testing, copies and all, a random tenth of Training
to choose the best weights, as those projects did) and on the honest one (pool, by patient). "ours_full" are finished
weights, with their own training time, "ours" weights that training.train has made in no more than the budget.
Results are written after each system: the same command goes on where it was stopped. With --steps nothing is timed.
"""

import argparse
import io
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from model import NO_TUMOR
from model.artifact import FILES
from model.classifier import TumorClassifier

from ..checkpoint import describe, versions, write_whole
from ..data.frames import DataError, Dataset, load_frames, read_dataset
from ..data.layouts import LABELS
from ..data.training_set import Splits, pool_splits, vendor_splits
from ..distributed import best_device
from ..losses import PARTIAL
from .baselines import (
    BASELINES,
    WHERE_TO_GET,
    Baseline,
    answer,
    as_served,
    fill_from_imagenet,
    fit_baseline,
    load_squares,
)
from .metrics import EVEN_CHANCE, figure_lines, mean_with_interval, measure, ratio_with_interval

OURS, OURS_FULL = "ours", "ours_full"
TITLES = {OURS: "ours, same budget", OURS_FULL: "ours, finished weights"}
NAMES = (*BASELINES, *TITLES)
FOUR = ("accuracy", "macro_f1", "f2_macro")  # figures of those that know four classes

Answers = Callable[[Dataset], np.ndarray]  # images -> probabilities (N, 4)


def compare(
    out: Path,
    splits: Sequence[Splits],
    budget: dict,
    external: Dataset | None,
    only: Sequence[str],
    weights: Mapping[tuple[str, str], Path | None],
    seed: int,
    imagenet: Path | None,
) -> dict:
    """Train and measure what `out` does not hold yet; returns all of it, JSON-ready, and writes it after each system.

    Args: `budget` of each system, {"minutes": of training or None, "steps": or None}; `only`, of NAMES; `weights` of
    ours, (system, split) -> folder or None; `imagenet`, file of EfficientNet-Lite0's weights.
    Raises: DataError if `out` was begun with another budget, seed, machine or data; OSError, ValueError.
    """
    for name in [name for name in only if name in BASELINES and BASELINES[name].from_imagenet]:
        if not imagenet:  # what cannot be had must not show after an hour
            raise DataError(f"{name} starts from ImageNet's weights. {WHERE_TO_GET}")
        fill_from_imagenet(BASELINES[name].layers(), imagenet)
    data = {split.name: split.fingerprint() for split in splits}
    data |= {"external": external.fingerprint()} if external else {}
    begun = {"budget": budget, "seed": seed, "threads": torch.get_num_threads(), "data": data}
    begun |= {"hardware": describe(best_device()), "versions": versions()}
    result = json.loads(out.read_text()) if out.exists() else begun | {"rows": [], "latency": {}}
    if changed := [name for name, value in begun.items() if result.get(name) != value]:
        raise DataError(f"{out} was begun with another {', '.join(changed)}. Choose another --out, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    for split, name in itertools.product(splits, only):
        baseline, folder, key = BASELINES.get(name), weights.get((name, split.name)), (name, split.name)
        version = sha256((folder / FILES["int8"]).read_bytes()).hexdigest()[:8] if folder else ""
        done = {(row["system"], row["protocol"]): row.get("version", "") for row in result["rows"]}
        if not (baseline or folder) or done.get(key) == version:
            continue
        print(f"{split.name}: {name}", flush=True)
        facts, answers = trained(baseline, split, budget, seed, imagenet) if baseline else ours(folder, TITLES[name])
        sets = {"test": split.test} | ({"external": external} if external else {})
        binary = bool(baseline and baseline.binary)
        row = {"system": name, "protocol": split.name, "version": version} | facts
        row |= {part: figures(answers(images), images, binary) for part, images in sets.items()}
        others = [other for other in result["rows"] if (other["system"], other["protocol"]) != key]
        result["rows"] = [*others, row]
        write_whole((json.dumps(result, indent=2, allow_nan=False) + "\n").encode(), out)
    return result


# ---- systems: facts for a row, and how images are answered


def trained(baseline: Baseline, split: Splits, budget: dict, seed: int, imagenet: Path | None) -> tuple[dict, Answers]:
    """One of BASELINES, trained on this split."""
    parts = (load_squares(part, baseline.size) for part in (split.training, split.validation))
    net, took = fit_baseline(baseline, *parts, seed, best_device(), **budget, imagenet=imagenet)
    net, file = as_served(baseline, net), io.BytesIO()
    torch.save(net.state_dict(), file)

    def answers(dataset: Dataset) -> np.ndarray:
        images, _ = load_squares(dataset, baseline.size)
        return baseline.probabilities(answer(baseline, net, images)).double().numpy()

    facts = {"title": baseline.title, "claimed": baseline.claimed, "assumed": baseline.assumed}
    return facts | {"trained": took, "size": {"bytes": file.tell()}}, answers


def ours(folder: Path, title: str) -> tuple[dict, Answers]:
    """The int8 artifact in `folder`, by the same rules."""
    classifier = TumorClassifier.from_folder(folder)
    size, margin = classifier.config["size"], classifier.config["margin"]

    def answers(dataset: Dataset) -> np.ndarray:
        return classifier.calibrate(classifier.outputs(load_frames(dataset, size, margin).images).logits)

    training = json.loads((folder / "metrics.json").read_text())["training"]
    init = training["settings"]["init"]
    start = "ImageNet" if init == "imagenet" or init.endswith((".pt", ".pth")) else "weights of ours"
    took = {"start": "random" if init == "scratch" else start, "seconds": training["seconds"]}
    facts = {"title": title, "claimed": {}, "trained": took | {"passes": training["epochs"]}}
    return facts | {"size": {"bytes": (folder / FILES["int8"]).stat().st_size}}, answers


def figures(probabilities: np.ndarray, dataset: Dataset, binary: bool) -> dict:
    """{n, n_groups, figure: {value, low, high}} with intervals over groups; tumors are detected from 0.5 on.

    A binary system gets the figures of tumor against none alone: to it, every tumor is one of unknown type.
    """
    labels = np.array([LABELS.index(record.label) for record in dataset.records])
    labels = np.where(labels == NO_TUMOR, labels, PARTIAL) if binary else labels
    groups = [record.group for record in dataset.records]
    report = measure(probabilities, labels, groups)
    tumor, detected = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR] >= EVEN_CHANCE
    kept = {name: report[name] for name in ("n", "n_groups", "auc_tumor", *(() if binary else FOUR))}
    kept["accuracy_tumor"] = mean_with_interval(tumor == detected, groups)
    kept["f1_tumor"] = ratio_with_interval(2.0 * (tumor & detected), 1.0 * tumor + detected, groups)
    return kept


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where something named cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.compare", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--vendor", type=Path, help="folder with Training/ and Testing/")
    parser.add_argument("--pool", type=Path, help="folder with a manifest.csv that has groups")
    parser.add_argument("--external", type=Path, help="images of another source, for reporting only")
    parser.add_argument("--out", type=Path, required=True, help="the JSON of results")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="of training, for each system on each split")
    budget.add_argument("--steps", type=int, help="of training instead, to try the program: nothing is timed")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these systems (default: all)")
    parser.add_argument("--imagenet_lite0", type=Path, help="file of EfficientNet-Lite0's ImageNet weights")
    parser.add_argument("--weights", type=Path, default=Path("model/weights"), help="ours, trained on the pool")
    parser.add_argument("--vendor_weights", type=Path, help="ours, trained on the vendor's training part")
    parser.add_argument("--same_budget", type=Path, help="ours, trained on the pool for no longer than the others")
    parser.add_argument("--vendor_same_budget", type=Path, help="the same, trained on the vendor's training part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if not (options.vendor or options.pool):
        parser.error("give --vendor, --pool or both")
    if (options.minutes or options.steps or 0) <= 0:
        parser.error("the budget is more than 0")
    torch.set_num_threads(options.threads)
    weights = {(OURS_FULL, "pool"): options.weights, (OURS_FULL, "vendor"): options.vendor_weights}
    weights |= {(OURS, "pool"): options.same_budget, (OURS, "vendor"): options.vendor_same_budget}
    try:
        splits = [pool_splits(options.pool)] if options.pool else []
        splits += [vendor_splits(options.vendor, options.seed)] if options.vendor else []
        external = read_dataset(options.external).trainable() if options.external else None
        budget = {"minutes": options.minutes, "steps": options.steps}
        more = (options.only, weights, options.seed, options.imagenet_lite0)
        result = compare(options.out, splits, budget, external, *more)
    except (OSError, ValueError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*figure_lines({f"{row['protocol']} {row['system']}": row["test"] for row in result["rows"]}), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
