"""How sure the answers are, and how far that can be trusted: temperature, prediction sets, refusals."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from model import CLASSES, NO_TUMOR

from ..losses import PARTIAL, log_probability
from .metrics import ECE_BINS, all_and_resamples, calibration_error, confidence_gap, figure, mean_with_interval, sizes

STATUSES = ("accepted", "doubtful", "refused")
TEMPERATURES = 0.05, 20.0  # a fit that ends at either bound tells of a broken network, not of its calibration
SURE = 0.9  # a probability above which a wrong answer would be believed


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean -log P(label) of softmax(logits / temperature); -log P(tumor) where only "a tumor" is known.

    `logits` (N, 4); `labels` (N,) index into CLASSES, or 4 for a tumor of unknown type.
    """
    scaled = torch.from_numpy(np.asarray(logits, dtype=np.float64) / temperature)
    return -log_probability(scaled, torch.from_numpy(np.asarray(labels, dtype=np.int64))).mean().item()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least negative log-likelihood (Guo et al., 2017), found on its logarithm between 0.05 and 20.

    `logits` and `labels` as in `negative_log_likelihood`. It never changes which class is the most probable.
    Raises: ValueError for no images, or logits that are not finite.
    """
    if not len(labels) or not np.isfinite(logits).all():
        raise ValueError("a temperature needs logits, all of them finite")
    fit = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, np.exp(log_t)),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(fit.x))


def set_figures(sets: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict:
    """How often the prediction set holds the true class, and how large it is.

    Args: `sets` bool (N, 4); `labels` (N,), where tumors of unknown type take no part; `groups` N strings.
    Returns: {n, n_groups, coverage, mean_size, singletons (share of sets of one class), right_if_single, by_class:
    {class: the same}}, each a figure {n, n_groups, value, low, high}. `mean_size` counts classes, 1 to 4.
    """
    full = labels != PARTIAL
    sets, labels, groups = sets[full], labels[full], np.asarray(groups, dtype=object)[full]
    size, covered = sets.sum(1), sets[np.arange(len(labels)), labels]

    def of(part: np.ndarray) -> dict:
        single = part & (size == 1)
        return sizes(groups[part]) | {
            "coverage": mean_with_interval(covered[part], groups[part]),
            "mean_size": mean_with_interval(size[part], groups[part]),
            "singletons": mean_with_interval(size[part] == 1, groups[part]),
            "right_if_single": mean_with_interval(covered[single], groups[single]),
        }

    by_class = {name: of(labels == k) for k, name in enumerate(CLASSES) if (labels == k).any()}
    return of(np.ones(len(labels), dtype=bool)) | {"by_class": by_class}


def calibration_by_source(
    logits: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], sources: Sequence[str]
) -> dict:
    """Whether one temperature suits every source.

    Args: `logits` (N, 4) as the network gives them; `probabilities` (N, 4) calibrated; `labels` (N,); `groups` and
    `sources` N strings each.
    Returns: {source: {n, n_groups, ece, ece_tumor, temperature}}: the calibration error over four classes (None where
    no type is known) and over tumor against none, and the temperature that would suit this source best. It is None if
    nothing in the source is answered wrong: then the lower, the better.
    """
    sources, groups = np.asarray(sources, dtype=object), np.asarray(groups, dtype=object)
    figures = {}
    for source in sorted(set(sources)):
        part = sources == source
        truth, full = labels[part], labels[part] != PARTIAL
        none = probabilities[part][:, NO_TUMOR]
        two_classes = np.stack((1 - none, none), axis=1), (truth == NO_TUMOR).astype(int)
        weights = all_and_resamples(groups[part])
        ece = calibration_error(probabilities[part][full], truth[full], weights[:, full])
        ece_tumor = calibration_error(*two_classes, weights)
        answers = probabilities[part].argmax(1)
        right = np.where(full, answers == truth, answers != NO_TUMOR)
        figures[source or "unknown"] = sizes(groups[part]) | {
            "ece": figure(ece[0], ece[1:]),
            "ece_tumor": figure(ece_tumor[0], ece_tumor[1:]),
            "temperature": None if right.all() else fit_temperature(logits[part], truth),
        }
    return figures


def reliability(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> list[dict]:
    """How often the answer is right against how sure it was, in the bins of the calibration error.

    Args: `probabilities` (N, 4) calibrated; `labels` (N,), where tumors of unknown type take no part; `groups`.
    Returns: of each bin that holds an image {from, to, right}: its edges, 0..1, and the share of right answers.
    """
    full = labels != PARTIAL
    probabilities, truth, groups = probabilities[full], labels[full], np.asarray(groups, dtype=object)[full]
    bin_of, right = confidence_gap(probabilities, truth)[1], probabilities.argmax(1) == truth
    shares = {k: mean_with_interval(right[bin_of == k], groups[bin_of == k]) for k in np.unique(bin_of).tolist()}
    return [{"from": k / ECE_BINS, "to": (k + 1) / ECE_BINS, "right": share} for k, share in shares.items()]


def status_shares(statuses: Sequence[str], groups: Sequence[str]) -> dict:
    """Shares of accepted, doubtful and refused images, as figures."""
    statuses = np.asarray(statuses)
    return {status: mean_with_interval(statuses == status, groups) for status in STATUSES}


def on_other_diseases(
    probabilities: np.ndarray, sets: np.ndarray, statuses: Sequence[str], groups: Sequence[str], threshold: float
) -> dict:
    """What is answered for N images of diseases that no class stands for; `threshold` of the operating point.

    Returns: figures: called_tumor; sure_of_a_type and sure_of_no_tumor (a probability above `SURE`); status, the shares
    of each; and confidently_wrong: accepted, one tumor type alone in the set, its probability above `SURE`.
    """
    types = probabilities[:, :NO_TUMOR].max(1)
    alone = (sets.sum(1) == 1) & ~sets[:, NO_TUMOR]
    shares = {
        "called_tumor": 1 - probabilities[:, NO_TUMOR] >= threshold,
        "sure_of_a_type": types > SURE,
        "sure_of_no_tumor": probabilities[:, NO_TUMOR] > SURE,
        "confidently_wrong": (np.asarray(statuses) == "accepted") & alone & (types > SURE),
    }
    found = {name: mean_with_interval(share, groups) for name, share in shares.items()}
    return found | {"status": status_shares(statuses, groups)}
