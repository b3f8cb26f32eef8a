"""Probabilities and labels -> the figures of the report, each with its 95 % interval over groups.

Images of one patient resemble each other, so *groups* are resampled, never images. A resample is a weight for each
image: how often its group was drawn. Every statistic is written once, over rows of weights (resamples, images): a row
of ones gives its value, 1,000 random rows its interval. Each equals scikit-learn's (tests/test_metrics.py).

Rules:
- Four classes: the answer is the most probable class. Images labeled "tumor" (type unknown) take no part.
- Tumor against none: a tumor is detected when P(tumor) = 1 - P(notumor) >= `threshold`. At 0.5 this is not quite "the
  most probable class is a tumor": 0.3 glioma + 0.3 meningioma + 0.4 notumor is a detected tumor, its type in doubt. An
  operating point can move the threshold without touching the classes.
- A class that the test set does not hold has no figure (null), and a macro average is over the classes that it holds.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from model import CLASSES, NO_TUMOR

from ..losses import PARTIAL

RESAMPLES = 1000
ECE_BINS = 15
EVEN_CHANCE = 0.5  # the threshold on P(tumor) of whatever comes without an operating point
SUMMARY = (
    "n",
    "n_groups",
    "accuracy",
    "sensitivity_tumor",
    "specificity_tumor",
    "auc_tumor",
)  # what by_source and by_sequence hold


# ---- the group bootstrap


def resample_weights(groups: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """float64 (resamples, N): how often each image's group was drawn; as many draws as groups, with replacement."""
    names, group_of = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return draws[:, group_of].astype(np.float64)


def all_and_resamples(groups: Sequence[str], resamples: int = RESAMPLES) -> np.ndarray:
    """float64 (1 + resamples, N): a row of ones, for the value, then `resample_weights`, for its interval."""
    return np.vstack((np.ones(len(groups)), resample_weights(groups, resamples)))


def figure(value: float, spread: np.ndarray) -> dict[str, float | None]:
    """{value, low, high} with the 2.5th and 97.5th percentile of the resamples in which the figure is defined.

    The interval is widened to hold the value: resampling inflates a calibration error, so its bare percentiles may not.
    """
    spread = spread[np.isfinite(spread)]
    if not np.isfinite(value) or not len(spread):
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(spread, (2.5, 97.5))
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def mean_with_interval(
    values: np.ndarray, groups: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, int | float | None]:
    """Mean over images of `values` (N,), for bool the share of True: {n, n_groups, value, low, high}."""
    values = np.asarray(values, dtype=float)
    return sizes(groups) | ratio_with_interval(values, np.ones(len(values)), groups, resamples)


def ratio_with_interval(
    parts: np.ndarray, wholes: np.ndarray, groups: Sequence[str], resamples: int = RESAMPLES
) -> dict[str, float | None]:
    """Sum of `parts` over sum of `wholes`, both (N,) over images: {value, low, high}."""
    if not len(parts):
        return figure(np.nan, np.zeros(0))
    weights = all_and_resamples(groups, resamples)
    ratios = ratio(weights @ parts, weights @ wholes)
    return figure(ratios[0], ratios[1:])


def sizes(groups: Sequence[str]) -> dict[str, int]:
    """{n, n_groups}: how many images and groups a figure rests on."""
    return {"n": len(groups), "n_groups": len(set(groups))}


# ---- reports


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    sources: Sequence[str] = (),
    sequences: Sequence[str] = (),
    threshold: float = EVEN_CHANCE,
    resamples: int = RESAMPLES,
) -> dict:
    """All figures of one test set, ready for JSON.

    Args: `probabilities` (N, 4) in the order of CLASSES, rows sum to 1; `labels` (N,) index into CLASSES, or 4 for a
    tumor of unknown type; `groups`, `sources`, `sequences` N strings each ("" is unknown); `threshold` on P(tumor).
    Returns: a dictionary; every figure is {value, low, high} (None where undefined), recall holds one of these for each
    class. Brier is the sum over the classes of the squared error (0 to 2), ECE has 15 bins of equal width over the
    highest probability.
    Raises: ValueError for no images.
    """
    if not len(labels):
        raise ValueError("there are no images to measure")
    groups = np.asarray(groups, dtype=object)

    def figures(part: np.ndarray) -> dict:
        found = statistics(probabilities[part], labels[part], threshold, all_and_resamples(groups[part], resamples))
        recall = found.pop("recall").T
        report = sizes(groups[part]) | {name: figure(values[0], values[1:]) for name, values in found.items()}
        return report | {"recall": {name: figure(recall[k, 0], recall[k, 1:]) for k, name in enumerate(CLASSES)}}

    def by(names: Sequence[str]) -> dict:
        """The summary for each source or sequence; empty where none is known."""
        names = np.array([name or "unknown" for name in names], dtype=object)
        known = sorted(set(names)) if set(names) - {"unknown"} else []
        found = {name: figures(names == name) for name in known}
        return {name: {key: part[key] for key in SUMMARY} for name, part in found.items()}

    full = labels != PARTIAL
    cell = labels[full] * len(CLASSES) + probabilities[full].argmax(1)
    confusion = np.bincount(cell, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), len(CLASSES))
    return {
        "threshold": threshold,
        **figures(np.ones(len(labels), dtype=bool)),
        "confusion": {"classes": list(CLASSES), "counts": confusion.tolist()},  # rows: true, columns: most probable
        "by_source": by(sources),
        "by_sequence": by(sequences),
    }


def tumor_auc(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict[str, float | None]:
    """The "auc_tumor" of `measure` alone, {value, low, high}; None in all three without tumors or without normals."""
    areas = _auc(-probabilities[:, NO_TUMOR], labels != NO_TUMOR, all_and_resamples(groups))
    return figure(areas[0], areas[1:])


def tumor_auc_by_sequence(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], sequences: Sequence[str]
) -> dict:
    """AUC of P(tumor), tumors of each sequence against *all* normals: {sequence: {n, n_groups, value, low, high}}.

    Normals of the same sequence are often missing (nobody gives contrast agent to the healthy), hence all of them.
    """
    groups, sequences = (np.asarray(names, dtype=object) for names in (groups, sequences))
    normal, areas = labels == NO_TUMOR, {}
    for sequence in sorted(set(sequences[~normal]) - {""}):
        part = normal | (sequences == sequence)
        areas[sequence] = sizes(groups[part]) | tumor_auc(probabilities[part], labels[part], groups[part])
    return areas


def tumor_types(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict | None:
    """How well the types are told apart where a tumor of known type is sure to be there: chance is a third.

    The answer is the most probable of the tumor types, however probable "no tumor" is. Images without a tumor and
    tumors of unknown type take no part.

    Args: as for `measure`. Returns: {n, n_groups, accuracy, balanced_accuracy, macro_f1, recall} with {value, low,
    high} each, in `recall` one for each type; None if there is no such image.
    """
    typed = labels < NO_TUMOR
    if not typed.any():
        return None
    among_types = probabilities[typed].copy()
    among_types[:, NO_TUMOR] = 0
    report = measure(among_types, labels[typed], np.asarray(groups, dtype=object)[typed])
    recall = {name: report["recall"][name] for name in CLASSES[:NO_TUMOR]}
    kept = ("n", "n_groups", "accuracy", "balanced_accuracy", "macro_f1")
    return {name: report[name] for name in kept} | {"recall": recall}


def by_label_and_sequence(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    sequences: Sequence[str],
    threshold: float = EVEN_CHANCE,
) -> dict:
    """For images of each label and sequence, at the operating point: how many are detected, how many correctly classed.

    Correct class: a tumor is detected and the likeliest of the three types is its own; for a normal, none is detected.
    Returns: {label: {sequence, and "all": {seen, named}}}, each {n, n_groups, value, low, high}: "seen" is detected,
    "named" correct class, missing for tumors of unknown type. Empty where no sequence is known.
    """
    groups, sequences = (np.asarray(names, dtype=object) for names in (groups, sequences))
    known = sorted(set(sequences) - {""})
    detected = 1 - probabilities[:, NO_TUMOR] >= threshold
    correct = np.where(labels == NO_TUMOR, ~detected, detected & (probabilities[:, :NO_TUMOR].argmax(1) == labels))
    table = {}
    for k, name in enumerate((*CLASSES, "tumor") if known else ()):
        parts = {sequence: (labels == k) & (sequences == sequence) for sequence in known} | {"all": labels == k}
        answers = {"seen": detected} if k == PARTIAL else {"seen": detected, "named": correct}
        if parts["all"].any():
            table[name] = {
                sequence: {key: mean_with_interval(hit[part], groups[part]) for key, hit in answers.items()}
                for sequence, part in parts.items()
                if part.any()
            }
    return table


def figure_lines(report: dict, path: str = "") -> Iterator[str]:
    """The figures of a report as lines of text: where each stands in it, its value and its interval."""
    for key, part in report.items():
        name = f"{path}{key}"
        if isinstance(part, dict) and "value" in part:
            if part["value"] is not None:
                yield f"  {name:40} {part['value']:.3f}  ({part['low']:.3f} to {part['high']:.3f})"
        elif isinstance(part, dict):
            yield from figure_lines(part, f"{name} ")
        elif isinstance(part, float):
            yield f"  {name:40} {part:.3f}"


def write_report(work: Callable[[], dict], out: Path, lines: Callable[[dict], Iterable[str]] = figure_lines) -> int:
    """Write the report that `work` returns to `out` and print its `lines`; exit code 0, or 2 with a message."""
    try:
        report = work()
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    except (OSError, FloatingPointError, KeyError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(*lines(report), sep="\n")
    return 0


# ---- statistics, over rows of weights


def statistics(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every figure for every row of `weights` (R, N): (R,), or (R, 4) with one for each class; NaN where undefined."""
    full = labels != PARTIAL
    truth, answers, full_weights = labels[full], probabilities[full], weights[:, full]
    cell = truth * len(CLASSES) + answers.argmax(1)
    confusion = (full_weights @ np.eye(len(CLASSES) ** 2)[cell]).reshape(-1, len(CLASSES), len(CLASSES))
    hits, actual, answered = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    total, present, recall = actual.sum(1), actual > 0, ratio(hits, actual)

    tumor, detected = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR] >= threshold
    true_positives, false_positives = weights @ (detected & tumor), weights @ (detected & ~tumor)
    tumors, normals = weights @ tumor, weights @ ~tumor
    f2_tumor = _f_score(true_positives, true_positives + false_positives, tumors, beta=2)

    squared_error = ((answers - np.eye(len(CLASSES))[truth]) ** 2).sum(1)
    areas = [_auc(answers[:, k], truth == k, full_weights) for k in range(len(CLASSES))]
    return {
        "accuracy": ratio(hits.sum(1), total),
        "balanced_accuracy": _mean(recall),
        "macro_f1": _mean(np.where(present, _f_score(hits, answered, actual, beta=1), np.nan)),
        "f2_macro": _mean(np.where(present, _f_score(hits, answered, actual, beta=2), np.nan)),
        "f2_tumor": np.where(tumors > 0, f2_tumor, np.nan),  # no tumor, nothing to find
        "sensitivity_tumor": ratio(true_positives, tumors),
        "specificity_tumor": ratio(normals - false_positives, normals),
        "recall": recall,
        "roc_auc": _mean(np.stack(areas, axis=1)),
        "auc_tumor": _auc(-probabilities[:, NO_TUMOR], tumor, weights),
        "ece": calibration_error(answers, truth, full_weights),
        "brier": ratio(full_weights @ squared_error, total),
    }


def _mean(by_class: np.ndarray) -> np.ndarray:
    """(R, 4) -> (R,): mean over the classes that are defined."""
    defined = np.isfinite(by_class)
    return ratio(np.where(defined, by_class, 0).sum(1), defined.sum(1))


def _f_score(hits: np.ndarray, answered: np.ndarray, actual: np.ndarray, beta: float) -> np.ndarray:
    """F-beta from counts: recall weighs beta times as much as precision (van Rijsbergen, 1979)."""
    return ratio((1 + beta**2) * hits, answered + beta**2 * actual)


def _auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,): chance that a positive scores above a negative, ties count half (Mann-Whitney); NaN without either."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # the first image of each distinct score
    weights, positive = weights[:, order], positive[order]
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    return ratio((positives * below).sum(1), positives.sum(1) * negatives.sum(1))


def calibration_error(answers: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,): expected calibration error, sum over bins of |hits - confidence| (Guo et al., 2017).

    `answers` (N, C) probabilities, `truth` (N,) index of the right column, `weights` (R, N).
    """
    gap, bin_of = confidence_gap(answers, truth)
    return ratio(np.abs(weights @ (np.eye(ECE_BINS)[bin_of] * gap[:, None])).sum(1), weights.sum(1))


def confidence_gap(probabilities: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each image's (right or wrong) - confidence, (N,) in -1..1, and its bin (N,) in 0..14, upper edges included."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    bin_of = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    return right - confidence, bin_of
