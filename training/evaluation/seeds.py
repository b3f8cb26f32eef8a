"""The same recipe run with several seeds -> mean and spread of what it aims at.

    python -m training.evaluation.seeds runs/seed0 runs/seed1 runs/seed2 --out runs/seeds.json
    python -m training.evaluation.card --add seeds=runs/seeds.json

Reads runs/NAME/weights/metrics.json, and runs/NAME/external/metrics.json where training.evaluation.evaluate has written it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..settings import FREE_BETWEEN_SEEDS
from .markdown import NOT_MEASURED, NOTHING, table


class Aim(NamedTuple):
    """A figure, where it stands in a run's reports, and the range that was aimed at before anything was trained."""

    key: str
    what: str
    path: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    decimals: int = 3

    def __str__(self) -> str:
        """ "≥ 0.94", "≤ 0.02" or "0.94 to 0.96"; a dash where nothing was aimed at."""
        if self.low is None and self.high is None:
            return NOTHING
        if self.high is None:
            return f"≥ {self.low:g}"
        return f"≤ {self.high:g}" if self.low is None else f"{self.low:g} to {self.high:g}"

    def met_by(self, values: Sequence[float]) -> bool:
        """Whether the runs' mean lies in the range; in one with two sides each run must, since those that miss it on
        opposite sides, as signed differences do, cancel in a mean."""
        between = self.low is not None and self.high is not None
        judged = values if between else [float(np.mean(values))]
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        return all(low <= value <= high for value in judged)


def _seen(label: str, what: str, low: float) -> Aim:
    words = {"seen": "seen as a tumor", "named": "named right"}[what]
    path = ("external", "by_label_and_sequence", label, "T1C+", what)
    return Aim(f"external_t1c_{label}_{what}", f"external, T1C+ {label}: {words}", path, low)


def _by_sequence(sequence: str, key: str, words: str, low: float) -> Aim:
    path = ("external", "by_sequence", sequence, key)
    return Aim(f"external_{sequence.lower()}_{key}", f"external, {sequence} {words}", path, low)


AIMS = (
    Aim("macro_f1", "pool test: macro-F1", ("test", "macro_f1"), 0.94),
    Aim("sensitivity", "pool test: tumors seen at the operating point", ("test", "sensitivity_tumor")),
    Aim("specificity", "pool test: normals left alone at the operating point", ("test", "specificity_tumor")),
    Aim(
        "external_auc_t1c",
        "external: AUC, T1C+ tumors against all normals",
        ("external", "tumor_auc_by_sequence", "T1C+"),
        0.98,
    ),
    Aim("external_auc", "external: AUC, tumors of all sequences against normals", ("external", "auc_tumor"), 0.92),
    *(_seen(label, what, low) for label in ("glioma", "meningioma") for what, low in (("seen", 0.95), ("named", 0.85))),
    *(_by_sequence(sequence, "sensitivity_tumor", "tumors: seen as a tumor", 0.75) for sequence in ("T1", "T2")),
    *(_by_sequence(sequence, "specificity_tumor", "normals: left alone", 0.90) for sequence in ("T1", "T2")),
    Aim("ece", "pool test: calibration error (ECE)", ("test", "ece"), None, 0.02),
    Aim("coverage", "pool test: prediction set holds the truth", ("test", "prediction_set", "coverage"), 0.94, 0.96),
    Aim("set_size", "pool test: classes in the prediction set", ("test", "prediction_set", "mean_size"), None, 1.15),
    Aim("external_coverage", "external: prediction set holds the truth", ("external", "prediction_set", "coverage")),
    Aim("others_refused", "other images than brain MRI: refused", ("not_brain_mri", "refused"), 0.99),
    Aim("test_refused", "pool test: refused", ("test", "refusal", "refused"), None, 0.01),
    Aim("external_refused", "external brain MRI: refused", ("external", "refusal", "refused"), None, 0.05),
    Aim("pointing", "pool test, named right: evidence peaks in the box",
        ("test", "evidence", "named_right", "all", "peak_inside"), 0.9),
    Aim("int8", "int8 minus fp32: points of macro-F1, pool test", ("int8_minus_fp32",), -0.2, 0.2, 2),
)  # fmt: skip


def collect(runs: Sequence[Path]) -> dict:
    """Reports of several runs of one recipe -> mean and spread of every figure in `AIMS`.

    Returns: {"runs": [{name, seed, weights_sha256}], "rows": [{key, values (one for each run, None if not measured),
    mean, low, high, sd}]}; low and high are the least and greatest of the runs, sd their standard deviation (n - 1).
    Raises: OSError; ValueError for runs whose recipes differ, or two of the same seed.
    """
    reports = [_report(run) for run in runs]
    recipes = [report["training"]["settings"] for report in reports]
    images = [report["training"].get("data_fingerprint") for report in reports]
    for run, recipe, fingerprint in zip(runs, recipes, images, strict=True):
        differ = [n for n in sorted({*recipe, *recipes[0]} - FREE_BETWEEN_SEEDS) if recipe.get(n) != recipes[0].get(n)]
        differ += ["the images in data"] * (fingerprint != images[0])
        if differ:
            raise ValueError(
                f"{run} is of another recipe than {runs[0]}: {', '.join(differ)}. Give runs of one recipe."
            )
    seeds = [recipe["seed"] for recipe in recipes]
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"Two of these runs have the same seed: {', '.join(map(str, seeds))}. Their spread says nothing."
        )
    rows = []
    for aim in AIMS:
        values = [_value(report, aim.path) for report in reports]
        known = [value for value in values if value is not None]
        spread = {"mean": float(np.mean(known)), "low": min(known), "high": max(known)} if known else {}
        spread |= {"sd": float(np.std(known, ddof=1))} if len(known) > 1 else {}
        rows.append({"key": aim.key, "values": values} | dict.fromkeys(("mean", "low", "high", "sd")) | spread)
    names = zip(runs, seeds, reports, strict=True)
    return {
        "runs": [
            {"name": run.resolve().name, "seed": seed, "weights_sha256": report["weights_sha256"]}
            for run, seed, report in names
        ],
        "rows": rows,
    }


def _report(run: Path) -> dict:
    """A run's metrics.json, the external report in it."""
    report = json.loads((run / "weights" / "metrics.json").read_text())
    external = run / "external" / "metrics.json"
    if external.exists():
        report["external"] = json.loads(external.read_text())
    if "quantization" in report:
        costs = report["quantization"]
        report["int8_minus_fp32"] = 100 * (costs["macro_f1_int8"] - costs["macro_f1_fp32"])
    return report


def _value(report: dict, path: tuple[str, ...]) -> float | None:
    """The number, or the figure's value, at the end of `path`; None if the way there breaks off."""
    found = report
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found["value"] if isinstance(found, dict) else found


def markdown(result: dict, run_name: str = "", shipped: str = "") -> str:
    """Mean and spread as a table, beside what was aimed at.

    `run_name` and `shipped`: the run that the weights of a card are of, and their sha256.
    """
    if not result:
        return f"Several seeds of the same recipe: {NOT_MEASURED}."
    spread = {row["key"]: row for row in result["rows"]}
    rows = []
    for aim in AIMS:
        row = spread.get(aim.key, {})
        if row.get("mean") is None:
            rows.append([aim.what, NOT_MEASURED, NOTHING, NOTHING, str(aim), NOTHING])
            continue
        mean, low, high, sd = (
            NOTHING if row[name] is None else f"{row[name]:.{aim.decimals}f}" for name in ("mean", "low", "high", "sd")
        )
        known = [value for value in row["values"] if value is not None]
        met = NOTHING if str(aim) == NOTHING else "yes" if aim.met_by(known) else "no"
        rows.append([aim.what, mean, f"{low} to {high}", sd, str(aim), met])
    seeds = ", ".join(str(run["seed"]) for run in result["runs"])
    own = [
        f"those of seed {run['seed']}{'' if run['weights_sha256'] == shipped else ', exported anew since'}"
        for run in result["runs"]
        if run["name"] == run_name
    ]
    head = [
        f"{len(result['runs'])} runs, the same but for the seed",
        "mean",
        "lowest to highest",
        "standard deviation",
        "aim",
        "met",
    ]
    return (
        table(head, rows)
        + f"\n\nSeeds {seeds}; the weights here are {own[0] if own else 'none of these'}. This is the spread of "
        "training alone, on the same patients: the intervals over patients are wider. The aims were set before this "
        "recipe was sought; they are met by the mean, those with two sides by every run. Named right: a tumor is seen "
        "at the operating point, and its likeliest type is right."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.seeds", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    try:
        result = collect(options.runs)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    except (OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 2
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
