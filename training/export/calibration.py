"""Answers on the validation split -> what config.json says of probabilities: prediction set, operating point, study.

(The temperature, which evaluation needs as well, is fitted in training/evaluation/certainty.py.)
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from model import CLASSES, NO_TUMOR
from model.artifact import UNCALIBRATED_STUDY
from model.study import pooled_odds, study_probabilities

from ..evaluation.metrics import ratio, resample_weights
from ..evaluation.studies import JudgedSlices, draw_all

COVERAGES = (0.95, 0.9, 0.8)  # the first that the groups can promise: 19 are needed for it, 9 and 4 for the others
BETA = 2  # a missed tumor costs more than a false alarm: recall weighs twice as much as precision
SHARPNESS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried; below, a lesion drowns in the slices beside it
FITTED_ON = 800  # studies with a tumor of each number of slices, and as many without


def fit_prediction_set(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict[str, float | None]:
    """The probability from which a class stays in the prediction set, as config.json holds it: {coverage, keep_from}.

    Split conformal prediction with one threshold for all classes (LAC: Sadinle, Lei and Wasserman 2019,
    arXiv:1609.00451), over exchangeable groups (Dunn, Wasserman and Ramdas 2022, arXiv:1809.07441). Promised is the
    coverage of a random image: of m + 1 groups, the new one counts as missed whole, at an average group's size. With
    one image a group this is the usual rank correction, (n + 1)(1 - coverage).

    Args: `probabilities` (N, 4) calibrated; `labels` (N,) index into CLASSES; 4, a tumor of unknown type, is left out:
    no single class is correct; `groups` N strings.
    Returns: `coverage`, of `COVERAGES`, and `keep_from` 0..1: a class belongs to the set if its probability is at least
    this. It is 0 (every class belongs) where the groups are too few for any; none at all promise nothing.
    """
    labels, groups = np.asarray(labels), np.asarray(groups, dtype=object)
    known = labels < len(CLASSES)
    if not known.any():
        return {"coverage": None, "keep_from": 1.0}
    n, n_groups = int(known.sum()), len(set(groups[known]))
    of_truth = np.sort(np.asarray(probabilities, dtype=np.float64)[known, labels[known]])
    for coverage in COVERAGES:
        missed = round((1 - coverage) * (n_groups + 1), 9) - 1  # whole groups; 0.2 * 5 is a hair below 1
        if missed >= 0:
            return {"coverage": coverage, "keep_from": float(of_truth[int(missed * n / n_groups + 1e-9)])}
    return {"coverage": COVERAGES[-1], "keep_from": 0.0}


def balanced_f_score(sensitivity: np.ndarray, specificity: np.ndarray, beta: float = BETA) -> np.ndarray:
    """F-beta where tumor and no tumor are equally frequent, from sensitivity and specificity (0..1, of any shape).

    (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP) with TP = sensitivity, FN = 1 - sensitivity, FP = 1 - specificity
    (van Rijsbergen 1979). Equally frequent, because the share of tumors in a collection is nobody's prevalence.
    """
    hits = (1 + beta**2) * np.asarray(sensitivity)
    return hits / (hits + beta**2 * (1 - np.asarray(sensitivity)) + 1 - np.asarray(specificity))


def fit_operating_point(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], start: float | None = None
) -> dict:
    """The threshold on P(tumor) of the highest balanced F2, as config.json holds it: the middle of the widest best gap.

    Args: `probabilities` (N, 4) calibrated; `labels` (N,) index into CLASSES, or 4 for a tumor of unknown type, which
    counts like any tumor; `groups` N strings; `start`, a threshold that is kept unless the best one is better in 97.5 %
    of the resamples of the groups: fitted to a few, the best one is mostly luck.
    Returns: {threshold, sensitivity, specificity, tumor_groups, no_tumor_groups}: shares of images, and how many groups
    they rest on. Where either kind is missing, the threshold is one half (or `start`), and the shares are None.
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
        weights = resample_weights(groups)
        found, kept = (balanced_f_score(*_rates(scores, tumor, t, weights)) for t in (threshold, start))
        threshold = threshold if np.nanpercentile(found - kept, 2.5) > 0 else start
    detected, cleared = _rates(scores, tumor, threshold, np.ones((1, len(scores))))
    return {"threshold": threshold, "sensitivity": float(detected[0]), "specificity": float(cleared[0])} | sizes


def _rates(scores: np.ndarray, tumor: np.ndarray, threshold: float, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sensitivity and specificity, (R,) each, for rows of `weights` (R, N); NaN where there are no tumors, or only."""
    alarm = scores >= threshold
    return ratio(weights @ (alarm & tumor), weights @ tumor), ratio(weights @ (~alarm & ~tumor), weights @ ~tumor)


def fit_study(slices: JudgedSlices) -> dict:
    """How the slices of a volume become a verdict of the study, as config.json holds it under "study".

    Fitted on synthetic studies (training/evaluation/studies.py) of `slices` of the validation groups.
    Returns: `sharpness`, `slope` and `intercept` of `model.study`, of least log-loss, and the operating point as
    `fit_operating_point` gives it, counted in studies. `UNCALIBRATED_STUDY` where either kind is missing.
    """
    free, tumors = slices.free_groups(), slices.tumor_groups()
    if not len(free) or not len(tumors):
        return UNCALIBRATED_STUDY
    studies = list(draw_all(slices, free, tumors, FITTED_ON, seed=0).values())
    labels, groups = (np.concatenate([getattr(part, name) for part in studies]) for name in ("labels", "groups"))
    has_tumor, candidates = labels != NO_TUMOR, []
    for sharpness in SHARPNESS:
        scores = np.concatenate([pooled_odds(part.probabilities, sharpness)[0] for part in studies])[:, None]
        fit = LogisticRegression(C=np.inf).fit(scores, has_tumor)
        logistic = {"slope": float(fit.coef_[0, 0]), "intercept": float(fit.intercept_[0])}
        candidates.append((log_loss(has_tumor, fit.predict_proba(scores)), {"sharpness": sharpness} | logistic))
    _, parameters = min(candidates, key=lambda candidate: candidate[0])
    probabilities = np.concatenate([study_probabilities(part.probabilities, parameters) for part in studies])
    point = fit_operating_point(probabilities, labels, groups)
    return parameters | point | {"tumor_groups": len(tumors), "no_tumor_groups": len(free)}
