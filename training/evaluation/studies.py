"""Verdicts on volumes, measured on volumes that are put together from single slices, since no labeled ones are at hand.

A synthetic study is a head of `HEAD_MM`, in stretches of `ALIKE_MM`. Tumor-free groups (patients, or clusters of
look-alikes) are drawn, each as likely as the other, and their slices laid side by side, a stretch for each, until the
head is full. Where the study has a tumor, one tumor group is drawn, and its slices replace neighboring stretches. Every
slice of the volume has the probabilities of its stretch's image, and a little noise of its own.

Real volumes are of one person, so that false alarms come together; they hold neck, skull base and vertex, and slices at
a tumor's edge. Tumors and the slices around them come from other sources, and the share of studies with a tumor (half),
its length and the slices' thickness are assumed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from model import NO_TUMOR
from model.classifier import TumorClassifier
from model.study import study_probabilities

from ..data.frames import Dataset
from ..losses import PARTIAL
from .evaluate import answers, statuses
from .metrics import calibration_error, figure, ratio

HEAD_MM = 150  # of the brain from base to vertex
ALIKE_MM = 10  # over which neighbors in the few real volumes at hand keep most of their answer
NOISE = 0.7  # in log-odds: there, the answers of neighbors differ by a deviation of about 1, sqrt 2 times this
SLICES = (24, 40, 80, 155)  # in a study: 6 to 1 mm apart
LENGTHS_MM = (10, 20, 40, 60)  # of a tumor, across the slices
STRETCHES = HEAD_MM // ALIKE_MM
TINY = 1e-6  # of a probability, so that its logarithm is finite
MEASURED_ON, IN_A_RESAMPLE = 800, 100  # studies of each number of slices: for a figure, and for each resample
RESAMPLES = 200  # not 1,000: each draws its studies anew


class JudgedSlices(NamedTuple):
    """What the model says of M slices that it does not refuse."""

    probabilities: np.ndarray  # float64 (M, classes), calibrated
    labels: np.ndarray  # int64 (M,): index into CLASSES, or 4 for a tumor of unknown type
    groups: np.ndarray  # str (M,)

    def tumor_groups(self) -> np.ndarray:
        """Names of the groups that show a tumor."""
        return np.unique(self.groups[self.labels != NO_TUMOR])

    def free_groups(self) -> np.ndarray:
        """Names of those that show none."""
        return np.unique(self.groups[self.labels == NO_TUMOR])


class Studies(NamedTuple):
    """S studies of N slices each."""

    probabilities: np.ndarray  # float64 (S, N, classes)
    labels: np.ndarray  # int64 (S,), as in `JudgedSlices`
    groups: np.ndarray  # str (S,): that of the tumor; of a study without one, of its first slice


def draw_studies(
    slices: JudgedSlices,
    free: Sequence[str],
    tumors: Sequence[str],
    count: int,
    n_slices: int,
    length_mm: int,
    rng: np.random.Generator,
) -> Studies:
    """`count` studies of `n_slices`, each with a tumor of `length_mm`; without one where that is 0.

    Args: `free` and `tumors`, the groups to draw from; one that stands there twice is twice as likely.
    """
    normal = slices.labels == NO_TUMOR
    of_free = {name: np.flatnonzero((slices.groups == name) & normal) for name in set(free)}
    of_tumor = {name: np.flatnonzero((slices.groups == name) & ~normal) for name in set(tumors)}
    heads = ([rng.permutation(of_free[name]) for name in rng.choice(free, STRETCHES)] for _ in range(count))
    images = np.array([np.concatenate(head)[:STRETCHES] for head in heads])
    of_whom = images[:, 0]
    if stretches := length_mm // ALIKE_MM:
        starts = rng.integers(STRETCHES - stretches + 1, size=count)
        found = [np.resize(rng.permutation(of_tumor[name]), stretches) for name in rng.choice(tumors, count)]
        images[np.arange(count)[:, None], starts[:, None] + np.arange(stretches)] = found
        of_whom = np.array(found)[:, 0]
    along = images[:, np.arange(n_slices) * STRETCHES // n_slices]
    return Studies(with_noise(slices.probabilities[along], rng), slices.labels[of_whom], slices.groups[of_whom])


def with_noise(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (..., classes) whose log-odds of a tumor move by a normal deviate of `NOISE`; types keep theirs."""
    tumor = np.clip(1 - probabilities[..., NO_TUMOR], TINY, 1 - TINY)
    moved = 1 / (1 + (1 / tumor - 1) * np.exp(NOISE * rng.normal(size=tumor.shape)))
    types = probabilities[..., :NO_TUMOR] / np.maximum(probabilities[..., :NO_TUMOR].sum(-1, keepdims=True), TINY)
    return np.concatenate((types * moved[..., None], 1 - moved[..., None]), axis=-1)


def judged_slices(classifier: TumorClassifier, dataset: Dataset) -> JudgedSlices:
    """What the model says of the images of `dataset` that it does not refuse: those take no part in a study either."""
    frames, raw, probabilities = answers(classifier, dataset)
    kept = np.array(statuses(classifier, frames, raw, probabilities)) != "refused"
    groups = np.array([record.group for record in dataset.records])
    return JudgedSlices(probabilities[kept], frames.labels.numpy()[kept], groups[kept])


def draw_all(slices: JudgedSlices, free: np.ndarray, tumors: np.ndarray, count: int, seed: int) -> dict[tuple, Studies]:
    """{(slices, length of the tumor in mm): studies}: for each number of slices `count` studies with a tumor, of all
    lengths alike, and as many without (length 0). `free` and `tumors`: as in `draw_studies`.
    """
    rng, each = np.random.default_rng(seed), count // len(LENGTHS_MM)
    return {
        (n, length): draw_studies(slices, free, tumors, each if length else count, n, length, rng)
        for n in SLICES
        for length in (0, *LENGTHS_MM)
    }


def measure_study(slices: JudgedSlices, config: dict) -> dict:
    """Figures of the rule in `config` on synthetic studies of `slices`, each {value, low, high} over groups.

    A resample draws groups, tumor and tumor-free ones apart, and puts its studies together from these.
    Returns: `tumor_groups`, `no_tumor_groups` and the figures of `_statistics`; {} without tumors or normals.
    """
    free, tumors = slices.free_groups(), slices.tumor_groups()
    if not len(free) or not len(tumors):
        return {}
    values = _statistics(draw_all(slices, free, tumors, MEASURED_ON, seed=1), config)
    rng, spread = np.random.default_rng(2), []
    for resample in range(RESAMPLES):
        again = (rng.choice(names, len(names)) for names in (free, tumors))
        spread.append(_statistics(draw_all(slices, *again, IN_A_RESAMPLE, seed=3 + resample), config))
    figures = {name: figure(value, np.array([one[name] for one in spread])) for name, value in values.items()}
    return {"tumor_groups": len(tumors), "no_tumor_groups": len(free)} | figures


def _statistics(drawn_studies: dict[tuple, Studies], config: dict) -> dict[str, float]:
    """`auc`, `sensitivity`, `specificity`, `ece` of P(tumor), and the others that follow.

    `named_right`: a tumor of known type is detected, and its likeliest type is correct; `sensitivity_MM`: of tumors of
    a length; `..._of_N`: of studies of N slices; `any_slice_...`: if one slice at its operating point were enough.
    """
    studies = drawn_studies.values()
    n_slices, length = np.repeat(list(drawn_studies), [len(part.labels) for part in studies], axis=0).T
    probabilities = np.concatenate([study_probabilities(part.probabilities, config["study"]) for part in studies])
    labels = np.concatenate([part.labels for part in studies])
    least = np.concatenate([part.probabilities[..., NO_TUMOR].min(-1) for part in studies])
    tumor, p = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR]
    detected, any_slice = p >= config["study"]["threshold"], 1 - least >= config["operating_point"]["threshold"]
    correct = detected & (probabilities[:, :NO_TUMOR].argmax(1) == labels)
    two_classes, whole = np.stack((1 - p, p), axis=1), np.ones((1, len(p)))
    return {
        "auc": float(roc_auc_score(tumor, p)),
        "sensitivity": _share(detected, tumor),
        "specificity": _share(~detected, ~tumor),
        "ece": float(calibration_error(two_classes, tumor.astype(int), whole)[0]),
        "named_right": _share(correct, tumor & (labels != PARTIAL)),
        **{f"sensitivity_{mm}": _share(detected, length == mm) for mm in LENGTHS_MM},
        **{f"sensitivity_of_{n}": _share(detected, tumor & (n_slices == n)) for n in SLICES},
        **{f"specificity_of_{n}": _share(~detected, ~tumor & (n_slices == n)) for n in SLICES},
        "any_slice_sensitivity": _share(any_slice, tumor),
        "any_slice_specificity": _share(~any_slice, ~tumor),
    }


def _share(hits: np.ndarray, among: np.ndarray) -> float:
    """Share of True of `hits` where `among` holds; NaN where it never does."""
    return float(ratio(np.sum(hits & among), np.sum(among)))
