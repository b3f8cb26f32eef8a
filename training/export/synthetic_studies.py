"""Volumes put together from single slices, since no labeled volume is at hand: to fit and measure `model.study`.

A synthetic study is a head of `HEAD_MM`, in stretches of `ALIKE_MM`. Tumor-free groups (patients, or clusters of
look-alikes) are drawn, each as likely as the other, and their slices laid side by side, a stretch for each, until the
head is full. Where the study has a tumor, one tumor group is drawn, and its slices take the place of neighboring
stretches. Every slice of the volume has the probabilities of its stretch's image, and a little noise of its own.

What they miss, and a reader of the figures must know:

- A study mixes the heads of several people. A real head is of one: its false alarms come in most slices or in none.
- The tumor-free slices of the public sets show the middle of the brain. Neck, skull base and the top of the head, which
  real volumes hold, are next to missing; so are empty slices (real ones are refused and take no part).
- The tumor slices were chosen by their publishers because the tumor shows; a real one begins and ends with slices that
  hardly show it. And they come from other sources than the tumor-free ones around them.
- How many studies have a tumor (half), how long it is and how thick the slices are is assumed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model import NO_TUMOR

HEAD_MM = 150  # of the brain from base to vertex
ALIKE_MM = 10  # over which neighbors in the few real volumes at hand keep most of their answer
NOISE = 0.7  # in log-odds: there, the answers of neighbors differ by a deviation of about 1, sqrt 2 times this
SLICES = (24, 40, 80, 155)  # in a study: 6 to 1 mm apart
LENGTHS_MM = (10, 20, 40, 60)  # of a tumor, across the slices
STRETCHES = HEAD_MM // ALIKE_MM
TINY = 1e-6  # of a probability, so that its logarithm is finite


class JudgedSlices(NamedTuple):
    """What the model says of M slices that it does not refuse."""

    probabilities: np.ndarray  # float64 (M, classes), calibrated
    labels: np.ndarray  # int64 (M,): index into CLASSES, or 4 for a tumor of unknown type
    groups: np.ndarray  # str (M,)

    def tumor_groups(self) -> np.ndarray:
        """The names of the groups that show a tumor."""
        return np.unique(self.groups[self.labels != NO_TUMOR])

    def free_groups(self) -> np.ndarray:
        """The names of those that show none."""
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

    Args: `free` and `tumors`, the groups to draw from with equal chances; one that stands there twice is twice as
    likely, as a bootstrap resample wants it.
    """
    normal = slices.labels == NO_TUMOR
    of_free = {name: np.flatnonzero((slices.groups == name) & normal) for name in set(free)}
    of_tumor = {name: np.flatnonzero((slices.groups == name) & ~normal) for name in set(tumors)}
    images = np.array([_free_head([of_free[name] for name in rng.choice(free, STRETCHES)], rng) for _ in range(count)])
    of_whom = images[:, 0]
    if stretches := length_mm // ALIKE_MM:
        starts = rng.integers(STRETCHES - stretches + 1, size=count)
        found = [np.resize(rng.permutation(of_tumor[name]), stretches) for name in rng.choice(tumors, count)]
        images[np.arange(count)[:, None], starts[:, None] + np.arange(stretches)] = found
        of_whom = np.array(found)[:, 0]
    along = images[:, np.arange(n_slices) * STRETCHES // n_slices]
    return Studies(with_noise(slices.probabilities[along], rng), slices.labels[of_whom], slices.groups[of_whom])


def _free_head(patients: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Indices of the images of each stretch: patient by patient, all of one side by side."""
    return np.concatenate([rng.permutation(images) for images in patients])[:STRETCHES]


def with_noise(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (..., classes) whose log-odds of a tumor move by a normal deviate of `NOISE`; types keep theirs."""
    tumor = np.clip(1 - probabilities[..., NO_TUMOR], TINY, 1 - TINY)
    moved = 1 / (1 + (1 / tumor - 1) * np.exp(NOISE * rng.normal(size=tumor.shape)))
    types = probabilities[..., :NO_TUMOR] / np.maximum(probabilities[..., :NO_TUMOR].sum(-1, keepdims=True), TINY)
    return np.concatenate((types * moved[..., None], 1 - moved[..., None]), axis=-1)
