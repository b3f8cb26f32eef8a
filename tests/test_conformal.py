"""Prediction sets keep their promise on new groups, in simulation."""

import numpy as np
import pytest

from model import CLASSES
from training.export.conformal import COVERAGE, fit_prediction_set
from training.losses import PARTIAL

HARD = 0.9  # spread of how hard a patient is


def patients(rng, count: int):
    """Images of `count` new patients, 1 to 40 each; those with more images are easier, and a patient's resemble."""
    sizes = np.minimum(1 + rng.geometric(0.15, count), 40)
    group = np.repeat(np.arange(count), sizes)
    hardness = HARD * rng.normal(size=count) - np.log(sizes) / 2
    labels = rng.integers(0, len(CLASSES), count)[group]
    logits = 0.6 * rng.normal(size=(len(group), len(CLASSES)))
    logits[np.arange(len(group)), labels] += 2.5 - hardness[group]
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True), labels, [f"g{k}" for k in group]


def misses(probabilities, labels, keep_from) -> np.ndarray:
    return probabilities[np.arange(len(labels)), labels] < keep_from


def test_of_new_patients_slices_the_promised_share_is_covered_and_hardly_more():
    rng = np.random.default_rng(7)
    missed = total = 0
    for _ in range(400):
        keep_from = fit_prediction_set(*patients(rng, 120))["keep_from"]
        probabilities, labels, _ = patients(rng, 120)
        missed, total = missed + misses(probabilities, labels, keep_from).sum(), total + len(labels)
    assert COVERAGE <= 1 - missed / total <= COVERAGE + 0.01


def test_with_one_image_a_group_it_is_the_usual_rank():
    rng = np.random.default_rng(1)
    probabilities, labels, _ = patients(rng, 30)
    n = len(labels)
    found = fit_prediction_set(probabilities, labels, [str(k) for k in range(n)])
    of_truth = np.sort(probabilities[np.arange(n), labels])
    assert found["keep_from"] == of_truth[int(0.05 * (n + 1)) - 1]


def test_tumors_of_unknown_type_take_no_part():
    probabilities, labels, groups = patients(np.random.default_rng(2), 60)
    more = np.vstack((probabilities, np.full((50, 4), 0.25)))
    found = fit_prediction_set(more, [*labels, *[PARTIAL] * 50], [*groups, *["x"] * 50])
    assert found == fit_prediction_set(probabilities, labels, groups)


def test_too_few_groups_keep_every_class_and_none_promise_nothing():
    probabilities, labels, groups = patients(np.random.default_rng(3), 18)
    assert fit_prediction_set(probabilities, labels, groups)["keep_from"] == 0
    assert fit_prediction_set(np.full((1, 4), 0.25), [PARTIAL], ["a"])["coverage"] is None


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.99])
def test_a_higher_coverage_keeps_more(coverage):
    made = patients(np.random.default_rng(4), 300)
    found = fit_prediction_set(*made, coverage=coverage)
    assert found["coverage"] == coverage
    assert misses(*made[:2], found["keep_from"]).mean() <= 1 - coverage
