"""Probabilities and labels -> the figures of the report, each with its 95 % interval over groups.

Every statistic is written once, over a (resamples, images) array of weights as `training.evaluation.bootstrap` draws them (calling
scikit-learn 1,000 times would take half a minute). Each one equals scikit-learn's; `tests/test_metrics.py` holds them
together. How sure the answers are is measured in training/evaluation/certainty.py, where they look in training/evaluation/localization.py.

Rules:
- Four classes: the answer is the most probable class. Images labelled "tumor" (type unknown) take no part.
- Tumor against none: a tumor is seen when P(tumor) = 1 - P(notumor) >= `threshold`. At 0.5 this is not quite "the most
  probable class is a tumor": 0.3 glioma + 0.3 meningioma + 0.4 notumor is a tumor seen, its type in doubt. A doctor who
  gets 60 % for "tumor" would say so too, and an operating point can move the threshold without touching the classes.
- A class that the test set does not hold has no figure (null), and a macro average is over the classes that it holds.
"""

from collections.abc import Sequence

import numpy as np

from model import CLASSES, NO_TUMOR

from ..losses import PARTIAL
from .bootstrap import RESAMPLES, figure, mean_with_interval, ratio, resample_weights

ECE_BINS = 15
EVEN_CHANCE = 0.5  # the threshold on P(tumor) of whatever comes without an operating point
SUMMARY = ("accuracy", "sensitivity_tumor", "specificity_tumor", "auc_tumor")  # what by_source and by_sequence hold


def measure(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    sources: Sequence[str] | None = None,
    sequences: Sequence[str] | None = None,
    threshold: float = EVEN_CHANCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """All figures of one test set, ready for JSON.

    Args: `probabilities` (N, 4) in the order of CLASSES, rows sum to 1; `labels` (N,) index into CLASSES, or 4 for a
    tumor of unknown type; `groups`, `sources`, `sequences` N strings each ("" is unknown); `threshold` on P(tumor).
    Returns: a dictionary; every figure is {value, low, high} (None where undefined), recall, precision and specificity
    hold one of these for each class. Brier is the sum over the classes of the squared error (0 to 2), ECE has 15 bins
    of equal width over the highest probability.
    Raises: ValueError for no images, lengths that differ, a label or probability out of range.
    """
    probabilities, labels, groups = _checked(probabilities, labels, groups)
    figures = _with_intervals(probabilities, labels, groups, threshold, resamples, seed)

    def parts(names: Sequence[str] | None) -> dict:
        """The summary for each source or sequence; empty where none is known."""
        names = np.array([name or "unknown" for name in names or ()], dtype=object)
        if set(names) <= {"unknown"}:
            return {}
        summaries = {}
        for name in sorted(set(names)):
            part = names == name
            part_of = probabilities[part], labels[part], groups[part]
            figures = _with_intervals(*part_of, threshold, resamples, seed)
            summaries[name] = _sizes(labels[part], groups[part]) | {key: figures[key] for key in SUMMARY}
        return summaries

    return {
        **_sizes(labels, groups),
        "threshold": threshold,
        **figures,
        "confusion": {"classes": list(CLASSES), "counts": confusion_counts(probabilities, labels).tolist()},
        "by_source": parts(sources),
        "by_sequence": parts(sequences),
    }


def confusion_counts(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(4, 4) int: images by true class (row) and most probable class (column); tumors of unknown type left out."""
    full = labels != PARTIAL
    cell = labels[full] * len(CLASSES) + probabilities[full].argmax(1)
    return np.bincount(cell, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), len(CLASSES))


def tumor_auc_by_sequence(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    sequences: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """AUC of P(tumor), tumors of each sequence against *all* normals: {sequence: {n, n_groups, value, low, high}}.

    Normals of the same sequence are often missing (nobody gives contrast agent to the healthy), hence all of them.
    """
    probabilities, labels, groups = _checked(probabilities, labels, groups)
    sequences, normal = np.asarray(sequences, dtype=object), labels == NO_TUMOR
    areas = {}
    for sequence in sorted(set(sequences[~normal]) - {""}):
        part = normal | (sequences == sequence)
        figures = _with_intervals(probabilities[part], labels[part], groups[part], 0.5, resamples, seed)
        areas[sequence] = _sizes(labels[part], groups[part]) | figures["auc_tumor"]
    return areas


def by_label_and_sequence(
    probabilities: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    sequences: Sequence[str],
    threshold: float = EVEN_CHANCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """At the operating point, images of each label and sequence: how many are seen as a tumor, how many named right.

    Named right: a tumor is seen and the likeliest of the three types is its own; for a normal, no tumor is seen.
    Returns: {label: {sequence, and "all": {seen, named}}}, each {n, n_groups, value, low, high}; "named" is missing for
    tumors of unknown type. Empty where no sequence is known.
    """
    probabilities, labels, groups = _checked(probabilities, labels, groups)
    sequences = np.asarray(sequences, dtype=object)
    known = sorted(set(sequences) - {""})
    seen = 1 - probabilities[:, NO_TUMOR] >= threshold
    named = np.where(labels == NO_TUMOR, ~seen, seen & (probabilities[:, :NO_TUMOR].argmax(1) == labels))
    table = {}
    for k, name in enumerate((*CLASSES, "tumor")):
        parts = {sequence: (labels == k) & (sequences == sequence) for sequence in known} | {"all": labels == k}
        answers = {"seen": seen} if k == PARTIAL else {"seen": seen, "named": named}
        table[name] = {
            sequence: {
                what: mean_with_interval(hit[part], groups[part], resamples, seed) for what, hit in answers.items()
            }
            for sequence, part in parts.items()
            if known and part.any()
        }
    return {name: row for name, row in table.items() if row}


def _checked(probabilities, labels, groups) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    groups = np.asarray(groups, dtype=object)
    if not len(labels):
        raise ValueError("there are no images to measure")
    if probabilities.shape != (len(labels), len(CLASSES)) or len(groups) != len(labels):
        raise ValueError(
            f"{len(labels)} labels need as many groups and ({len(labels)}, {len(CLASSES)}) probabilities, "
            f"not {len(groups)} and {probabilities.shape}"
        )
    if not np.all((probabilities >= 0) & (probabilities <= 1)):  # false for NaN too
        raise ValueError("probabilities lie between 0 and 1")
    if labels.min() < 0 or labels.max() > PARTIAL:
        raise ValueError(f"labels lie between 0 and {PARTIAL}")
    return probabilities, labels, groups


def _sizes(labels: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """How much a figure rests on."""
    return {"n": len(labels), "n_groups": len(set(groups)), "n_type_unknown": int((labels == PARTIAL).sum())}


def _with_intervals(probabilities, labels, groups, threshold: float, resamples: int, seed: int) -> dict:
    values = statistics(probabilities, labels, threshold, np.ones((1, len(labels))))
    spread = statistics(probabilities, labels, threshold, resample_weights(groups, resamples, seed))
    return {
        name: figure(value[0], spread[name])
        if value.ndim == 1
        else {c: figure(value[0, k], spread[name][:, k]) for k, c in enumerate(CLASSES)}
        for name, value in values.items()
    }


def statistics(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Every figure for every row of `weights` (R, N): (R,), or (R, 4) with one for each class; NaN where undefined."""
    full = labels != PARTIAL
    truth, answers, full_weights = labels[full], probabilities[full], weights[:, full]
    cell = truth * len(CLASSES) + answers.argmax(1)
    confusion = (full_weights @ np.eye(len(CLASSES) ** 2)[cell]).reshape(-1, len(CLASSES), len(CLASSES))
    hits, actual, answered = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    total = actual.sum(1, keepdims=True)
    present = actual > 0
    recall = ratio(hits, actual)
    false_alarms = answered - hits

    tumor, seen = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR] >= threshold
    seen_tumors, missed_tumors = weights @ (seen & tumor), weights @ (~seen & tumor)
    seen_normals, spared_normals = weights @ (seen & ~tumor), weights @ (~seen & ~tumor)
    sensitivity = ratio(seen_tumors, seen_tumors + missed_tumors)
    specificity = ratio(spared_normals, seen_normals + spared_normals)

    squared_error = ((answers - np.eye(len(CLASSES))[truth]) ** 2).sum(1)
    areas = [_auc(answers[:, k], truth == k, full_weights) for k in range(len(CLASSES))]
    return {
        "accuracy": ratio(hits.sum(1), total[:, 0]),
        "balanced_accuracy": _mean(recall),
        "macro_f1": _mean(np.where(present, _f_score(hits, answered, actual, beta=1), np.nan)),
        "f2_macro": _mean(np.where(present, _f_score(hits, answered, actual, beta=2), np.nan)),
        "f2_tumor": np.where(
            np.isnan(sensitivity),  # no tumor, nothing to find
            np.nan,
            _f_score(seen_tumors, seen_tumors + seen_normals, seen_tumors + missed_tumors, beta=2),
        ),
        "sensitivity_tumor": sensitivity,
        "specificity_tumor": specificity,
        "false_positive_rate": 1 - specificity,
        "false_negative_rate": 1 - sensitivity,
        "recall": recall,
        "precision": np.where(present, ratio(hits, answered), np.nan),
        "specificity": ratio(total - actual - false_alarms, total - actual),
        "roc_auc": _mean(np.stack(areas, axis=1)),
        "auc_tumor": _auc(-probabilities[:, NO_TUMOR], tumor, weights),
        "ece": calibration_error(answers, truth, full_weights),
        "brier": ratio(full_weights @ squared_error, total[:, 0]),
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
