"""Probabilities of the validation split -> the probability of a tumor from which one counts as seen."""

from collections.abc import Sequence

import numpy as np

from model import NO_TUMOR

from ..evaluation.metrics import ratio, resample_weights

BETA = 2  # a missed tumor costs more than a false alarm: recall weighs twice as much as precision


def balanced_f_score(sensitivity: np.ndarray, specificity: np.ndarray, beta: float = BETA) -> np.ndarray:
    """F-beta where tumor and no tumor are equally frequent, from sensitivity and specificity (0..1, of any shape).

    (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) with TP = sensitivity, FN = 1 - sensitivity, FP = 1 - specificity
    (van Rijsbergen 1979). Equally frequent, because the share of tumors in a collection is nobody's prevalence: in the
    pool four of five images show one, and there precision, hence F2, would hardly mind a false alarm.
    """
    hits = (1 + beta**2) * np.asarray(sensitivity)
    return hits / (hits + beta**2 * (1 - np.asarray(sensitivity)) + 1 - np.asarray(specificity))


def fit_operating_point(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], start: float | None = None
) -> dict:
    """The threshold on P(tumor) of the highest F2, tumor and no tumor weighing alike, as config.json holds it.

    Between two neighboring scores nothing changes, so the middle of the best such gap is taken, the point that is
    farthest from changing an answer; of gaps that are equally good, the widest.

    Args: `probabilities` (N, 4) calibrated; `labels` (N,) index into CLASSES, or 4 for a tumor of unknown type, which
    counts like any tumor; `groups` N strings; `start`, a threshold that is kept unless the best one is better in 97.5 %
    of the resamples of the groups: fitted to a few, the best one is mostly luck.
    Returns: {threshold, sensitivity, specificity, tumor_groups, no_tumor_groups}: the shares of images that fall on
    their own side of the threshold, and how many groups (patients, or clusters of look-alikes) they rest on. With
    tumors only, or none, there is nothing to weigh: the threshold is then one half, and the shares are None.
    """
    scores = 1 - np.asarray(probabilities, dtype=np.float64)[:, NO_TUMOR]
    tumor, groups = np.asarray(labels) != NO_TUMOR, np.asarray(groups, dtype=object)
    sizes = {"tumor_groups": len(set(groups[tumor])), "no_tumor_groups": len(set(groups[~tumor]))}
    if tumor.all() or not tumor.any():
        return {"threshold": 0.5 if start is None else start, "sensitivity": None, "specificity": None} | sizes
    edges = np.unique(np.concatenate(([0.0], scores, [1.0])))
    middles = (edges[1:] + edges[:-1]) / 2
    sensitivity = 1 - np.searchsorted(np.sort(scores[tumor]), middles) / tumor.sum()
    specificity = np.searchsorted(np.sort(scores[~tumor]), middles) / (~tumor).sum()
    quality = balanced_f_score(sensitivity, specificity)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    threshold = float(middles[best[np.diff(edges)[best].argmax()]])
    if start is not None:
        found, kept = (
            balanced_f_score(*_shares(scores, tumor, t, resample_weights(groups))) for t in (threshold, start)
        )
        threshold = threshold if np.nanpercentile(found - kept, 2.5) > 0 else start
    seen, spared = _shares(scores, tumor, threshold, np.ones((1, len(scores))))
    return {"threshold": threshold, "sensitivity": float(seen[0]), "specificity": float(spared[0])} | sizes


def _shares(scores: np.ndarray, tumor: np.ndarray, threshold: float, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sensitivity and specificity, (R,) each, for rows of `weights` (R, N); NaN where there are no tumors, or only."""
    seen = scores >= threshold
    return ratio(weights @ (seen & tumor), weights @ tumor), ratio(weights @ (~seen & ~tumor), weights @ ~tumor)
