"""Probabilities of the validation split -> the probability from which a class stays in the prediction set.

Split conformal prediction: a class is in the set if its probability reaches a threshold, which is chosen on images that
took no part in training so that the set holds the true class for a stated share of new images, however good the
network. Of all rules that keep that promise, one threshold for all classes gives the smallest sets (LAC: Sadinle, Lei
and Wasserman 2019, arXiv:1609.00451).

The promise rests on exchangeability, and images of one patient are not exchangeable with those of others: whole groups
(patients, or clusters of look-alikes) are (Dunn, Wasserman and Ramdas 2022, arXiv:1809.07441). Two promises can be
made. For *a random slice of a random group*, every group weighs the same. For *a random slice of all that come in*,
every image does, and a patient with more slices counts more. The second is what a user of single slices meets, what a
test split measures by image, and what is promised here. It holds in expectation: with m + 1 exchangeable groups, the
new one's expected misses are the average group's, which the threshold bounds once the new group is counted in as if all
of it were missed. Its size is not known beforehand, so that of an average group is taken; with one image a group this
is the usual rank correction, (n + 1)(1 - coverage).
"""

from collections.abc import Sequence

import numpy as np

from model import CLASSES

COVERAGE = 0.95
LESS = (
    0.9,
    0.8,
)  # promised instead where few groups cannot promise that much: 19 are needed for it, 9 and 4 for these


def fit_prediction_set(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], coverage: float = COVERAGE
) -> dict[str, float | None]:
    """The threshold on a class's probability, as config.json holds it: {coverage, keep_from}.

    Args: `probabilities` (N, 4) calibrated; `labels` (N,) index into CLASSES; 4, a tumor of unknown type, is left out:
    no single class is the right one; `groups` N strings; `coverage` 0..1.
    Returns: `keep_from` 0..1: a class belongs to the set if its probability is at least this. It is 0 (every class
    belongs) where fewer groups than 1 / (1 - coverage) - 1 cannot promise more; none at all promise nothing.
    """
    labels, groups = np.asarray(labels), np.asarray(groups, dtype=object)
    full = labels < len(CLASSES)
    if not full.any():
        return {"coverage": None, "keep_from": 1.0}
    n, n_groups = int(full.sum()), len(set(groups[full]))
    of_truth = np.sort(np.asarray(probabilities, dtype=np.float64)[full, labels[full]])
    allowed = _allowed(coverage, n_groups) * n / n_groups  # misses, once the new group's are set aside
    return {"coverage": coverage, "keep_from": float(of_truth[int(allowed + 1e-9)]) if allowed >= 0 else 0.0}


def affordable_coverage(labels: np.ndarray, groups: Sequence[str]) -> float:
    """The highest coverage, of `COVERAGE` and `LESS`, that is promised by a set smaller than all classes.

    `labels` and `groups` as in `fit_prediction_set`. The lowest where even that cannot be.
    """
    full = np.asarray(labels) < len(CLASSES)
    n_groups = len(set(np.asarray(groups, dtype=object)[full]))
    return next((coverage for coverage in (COVERAGE, *LESS) if _allowed(coverage, n_groups) >= 0), LESS[-1])


def _allowed(coverage: float, n_groups: int) -> float:
    """How many groups may be missed whole, once the new one is counted in as missed."""
    return round((1 - coverage) * (n_groups + 1), 9) - 1  # 0.2 * 5 is a hair below 1
