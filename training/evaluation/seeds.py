"""The same recipe run with several seeds -> mean and spread of what it aims at.

    python -m training.evaluation.seeds runs/seed0 runs/seed1 runs/seed2 --out runs/seeds.json
    python -m training.evaluation.card --add seeds=runs/seeds.json

Reads runs/NAME/weights/metrics.json, and runs/NAME/external/metrics.json where training.evaluation.evaluate wrote one.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..settings import FREE_BETWEEN_SEEDS
from .metrics import write_report

NOTHING = "–"  # nothing was aimed at


class Aim(NamedTuple):
    """A figure, where it stands in a run's reports, and the range that was aimed at before anything was trained."""

    key: str
    what: str
    path: str  # names with dots between
    low: float = -np.inf
    high: float = np.inf
    decimals: int = 3

    def __str__(self) -> str:
        """ "≥ 0.94", "≤ 0.02" or "0.94 to 0.96"; a dash where nothing was aimed at."""
        if self.high < np.inf:
            return f"{self.low:g} to {self.high:g}" if self.low > -np.inf else f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if self.low > -np.inf else NOTHING

    def met_by(self, values: Sequence[float]) -> bool:
        """Whether the mean of the runs lies in the range; if it has two sides, whether each run does.

        Runs that miss such a range on opposite sides, as signed differences do, cancel in a mean.
        """
        judged = values if np.isfinite((self.low, self.high)).all() else [np.mean(values)]
        return all(self.low <= value <= self.high for value in judged)


OF_LABEL, OF_SEQUENCE = "external.by_label_and_sequence", "external.by_sequence"
AIMS = tuple(Aim(*row) for row in (
    ("macro_f1", "pool test: macro-F1", "test.macro_f1", 0.94),
    ("sensitivity", "pool test: sensitivity at the operating point", "test.sensitivity_tumor"),
    ("specificity", "pool test: specificity at the operating point", "test.specificity_tumor"),
    ("external_auc_t1c", "external: AUC, T1C+ tumors against all normals", "external.tumor_auc_by_sequence.T1C+", 0.98),
    ("external_auc", "external: AUC, tumors of all sequences against normals", "external.auc_tumor", 0.92),
    ("external_t1c_glioma_seen", "external, T1C+ glioma: detected", f"{OF_LABEL}.glioma.T1C+.seen", 0.95),
    ("external_t1c_glioma_named", "external, T1C+ glioma: correct class", f"{OF_LABEL}.glioma.T1C+.named", 0.85),
    ("external_t1c_meningioma_seen", "external, T1C+ meningioma: detected", f"{OF_LABEL}.meningioma.T1C+.seen", 0.95),
    ("external_t1c_meningioma_named", "external, T1C+ meningioma: correct class",
        f"{OF_LABEL}.meningioma.T1C+.named", 0.85),
    ("external_t1_sensitivity_tumor", "external, T1: sensitivity", f"{OF_SEQUENCE}.T1.sensitivity_tumor", 0.75),
    ("external_t2_sensitivity_tumor", "external, T2: sensitivity", f"{OF_SEQUENCE}.T2.sensitivity_tumor", 0.75),
    ("external_t1_specificity_tumor", "external, T1: specificity", f"{OF_SEQUENCE}.T1.specificity_tumor", 0.9),
    ("external_t2_specificity_tumor", "external, T2: specificity", f"{OF_SEQUENCE}.T2.specificity_tumor", 0.9),
    ("ece", "pool test: calibration error (ECE)", "test.ece", -np.inf, 0.02),
    ("coverage", "pool test: prediction set holds the true class", "test.prediction_set.coverage", 0.94, 0.96),
    ("set_size", "pool test: classes in the prediction set", "test.prediction_set.mean_size", -np.inf, 1.15),
    ("external_coverage", "external: prediction set holds the true class", "external.prediction_set.coverage"),
    ("others_refused", "other images than brain MRI: refused", "not_brain_mri.refused", 0.99),
    ("test_refused", "pool test: refused", "test.refusal.refused", -np.inf, 0.01),
    ("external_refused", "external brain MRI: refused", "external.refusal.refused", -np.inf, 0.05),
    ("pointing", "pool test, correct class: evidence peaks in the box",
        "test.evidence.named_right.all.peak_inside", 0.9),
    ("int8", "int8 minus fp32: points of macro-F1, pool test", "int8_minus_fp32", -0.2, 0.2, 2),
))  # fmt: skip


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
    facts = [
        {"name": run.resolve().name, "seed": recipe["seed"], "weights_sha256": report["weights_sha256"]}
        for run, recipe, report in zip(runs, recipes, reports, strict=True)
    ]
    if len({fact["seed"] for fact in facts}) < len(facts):
        seeds = ", ".join(str(fact["seed"]) for fact in facts)
        raise ValueError(f"Two of these runs have the same seed: {seeds}. Their spread says nothing.")
    rows = [{"key": aim.key} | _spread([_value(report, aim.path) for report in reports]) for aim in AIMS]
    return {"runs": facts, "rows": rows}


def _report(run: Path) -> dict:
    """A run's metrics.json, the external report in it."""
    report, external = json.loads((run / "weights" / "metrics.json").read_text()), run / "external" / "metrics.json"
    if external.exists():
        report["external"] = json.loads(external.read_text())
    if costs := report.get("quantization"):
        report["int8_minus_fp32"] = 100 * (costs["macro_f1_int8"] - costs["macro_f1_fp32"])
    return report


def _value(report: dict, path: str) -> float | None:
    """The number, or the figure's value, at the end of `path`; None if the way there breaks off."""
    found = report
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found["value"] if isinstance(found, dict) else found


def _spread(values: list[float | None]) -> dict:
    known = [value for value in values if value is not None]
    mean, sd = (float(np.mean(known)) if known else None), (float(np.std(known, ddof=1)) if known[1:] else None)
    return {"values": values, "mean": mean, "low": min(known, default=None), "high": max(known, default=None), "sd": sd}


def lines(result: dict) -> list[str]:
    """Every figure that was measured, with its spread, beside what was aimed at."""
    text = []
    for aim, row in zip(AIMS, result["rows"], strict=True):
        if row["mean"] is not None:
            met = aim.met_by([value for value in row["values"] if value is not None])
            mean, low, high = (f"{row[name]:.{aim.decimals}f}" for name in ("mean", "low", "high"))
            verdict = "" if str(aim) == NOTHING else f"  aim {aim}: {'met' if met else 'not met'}"
            text.append(f"  {aim.what:60} {mean}  ({low} to {high}){verdict}")
    return text


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where the runs cannot be put together."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.seeds", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    return write_report(lambda: collect(options.runs), options.out, lines)


if __name__ == "__main__":
    sys.exit(main())
