"""Prediction sets keep their promise on new groups, in simulation; no other threshold beats the operating point."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from model import CLASSES, NO_TUMOR
from training.export.calibration import (
    COVERAGES,
    balanced_f_score,
    fit_operating_point,
    fit_prediction_set,
)
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
    for _ in range(150):
        keep_from = fit_prediction_set(*patients(rng, 120))["keep_from"]
        probabilities, labels, _ = patients(rng, 120)
        missed, total = missed + misses(probabilities, labels, keep_from).sum(), total + len(labels)
    assert COVERAGES[0] <= 1 - missed / total <= COVERAGES[0] + 0.01


def test_with_one_image_a_group_it_is_the_usual_rank():
    rng = np.random.default_rng(1)
    probabilities, labels, _ = patients(rng, 30)
    n = len(labels)
    found = fit_prediction_set(probabilities, labels, [str(k) for k in range(n)])
    of_truth = np.sort(probabilities[np.arange(n), labels])
    assert found["keep_from"] == of_truth[int(0.05 * (n + 1)) - 1]


def test_tumors_of_unknown_type_take_no_part_and_none_at_all_promise_nothing():
    probabilities, labels, groups = patients(np.random.default_rng(2), 60)
    more = np.vstack((probabilities, np.full((50, 4), 0.25)))
    found = fit_prediction_set(more, [*labels, *[PARTIAL] * 50], [*groups, *["x"] * 50])
    assert found == fit_prediction_set(probabilities, labels, groups)
    assert fit_prediction_set(np.full((1, 4), 0.25), [PARTIAL], ["a"])["coverage"] is None


@pytest.mark.parametrize(
    ("groups", "coverage", "keep_from"),
    [(19, 0.95, 0.7), (18, 0.9, 0.7), (9, 0.9, 0.7), (8, 0.8, 0.7), (4, 0.8, 0.7), (3, 0.8, 0)],
)
def test_few_groups_promise_less_or_keep_every_class(groups, coverage, keep_from):
    probabilities = np.tile([0.7, 0.1, 0.1, 0.1], (groups, 1))
    found = fit_prediction_set(probabilities, np.zeros(groups, dtype=int), [str(k) for k in range(groups)])
    assert found == {"coverage": coverage, "keep_from": keep_from}


def probabilities(of_tumor) -> np.ndarray:
    """(N, 4) whose P(tumor) is given."""
    of_tumor = np.asarray(of_tumor, dtype=float)
    return np.stack((of_tumor / 2, of_tumor / 4, of_tumor / 4, 1 - of_tumor), axis=1)


def sample(seed: int, tumors: int = 90, normals: int = 30):
    """Scores that overlap, labels with types known and not, three images a group."""
    rng = np.random.default_rng(seed)
    scores = np.concatenate((rng.beta(5, 1.5, tumors), rng.beta(1.2, 4, normals)))
    labels = np.concatenate((rng.choice([0, 1, 2, PARTIAL], tumors), np.full(normals, NO_TUMOR)))
    return probabilities(scores), labels, [f"g{k // 3}" for k in range(tumors + normals)]


def test_no_other_threshold_has_a_higher_f2_where_tumor_and_none_weigh_alike():
    """Whatever their shares in the data are."""
    made, labels, groups = sample(1)
    found = fit_operating_point(made, labels, groups)
    tumor = labels != NO_TUMOR
    weights = np.where(tumor, 1 / tumor.sum(), 1 / (~tumor).sum())

    def f2(threshold):
        return fbeta_score(tumor, 1 - made[:, NO_TUMOR] >= threshold, beta=2, sample_weight=weights)

    assert f2(found["threshold"]) == pytest.approx(max(map(f2, 1 - made[:, NO_TUMOR])))
    assert f2(found["threshold"]) == pytest.approx(balanced_f_score(found["sensitivity"], found["specificity"]))
    more_normals = np.concatenate((np.arange(len(labels)), *[np.flatnonzero(~tumor)] * 4))
    again = fit_operating_point(made[more_normals], labels[more_normals], [groups[k] for k in more_normals])
    assert again["threshold"] == found["threshold"]


def test_it_lies_in_the_middle_of_the_best_gap():
    labels = [NO_TUMOR, NO_TUMOR, 0, PARTIAL]
    found = fit_operating_point(probabilities([0.1, 0.2, 0.6, 0.9]), labels, ["a", "b", "c", "c"])
    assert found["threshold"] == pytest.approx(0.4)
    assert (found["sensitivity"], found["specificity"]) == (1, 1)
    assert (found["tumor_groups"], found["no_tumor_groups"]) == (1, 2)


def test_tumors_alone_leave_it_at_one_half_and_promise_nothing():
    found = fit_operating_point(probabilities([0.9, 0.8]), [0, 1], ["a", "b"])
    assert found["threshold"] == 0.5 and found["sensitivity"] is None and found["specificity"] is None


def test_the_threshold_moves_only_if_the_groups_insist():
    few = probabilities([0.9, 0.8, 0.6, 0.5, 0.4, 0.1])  # 0.55 is best here, for one person's sake
    labels, people = [0, 0, 0, 3, 3, 3], list("abcdef")
    assert fit_operating_point(few, labels, people)["threshold"] == pytest.approx(0.55)
    kept = fit_operating_point(few, labels, people, start=0.7)
    assert kept["threshold"] == 0.7 and kept["sensitivity"] == pytest.approx(2 / 3) and kept["specificity"] == 1

    many, labels = np.concatenate([few] * 20), labels * 20
    moved = fit_operating_point(many, labels, [str(k) for k in range(len(labels))], start=0.7)
    assert moved["threshold"] == pytest.approx(0.55) and moved["sensitivity"] == moved["specificity"] == 1
