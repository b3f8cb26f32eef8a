"""The threshold on P(tumor), against every other threshold."""

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from model import NO_TUMOR
from training.export.operating_point import balanced_f_score, fit_operating_point
from training.losses import PARTIAL


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


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_higher_f2_where_tumor_and_none_weigh_alike(seed):
    made, labels, groups = sample(seed)
    found = fit_operating_point(made, labels, groups)
    tumor = labels != NO_TUMOR
    weights = np.where(tumor, 1 / tumor.sum(), 1 / (~tumor).sum())

    def f2(threshold):
        return fbeta_score(tumor, 1 - made[:, NO_TUMOR] >= threshold, beta=2, sample_weight=weights)

    assert f2(found["threshold"]) == pytest.approx(max(map(f2, 1 - made[:, NO_TUMOR])))
    assert f2(found["threshold"]) == pytest.approx(balanced_f_score(found["sensitivity"], found["specificity"]))


def test_the_shares_of_normals_and_tumors_in_the_data_do_not_move_it():
    made, labels, groups = sample(1)
    normal = labels == NO_TUMOR
    twice = np.concatenate((np.arange(len(labels)), *[np.flatnonzero(normal)] * 4))
    again = fit_operating_point(made[twice], labels[twice], [groups[k] for k in twice])
    assert again["threshold"] == fit_operating_point(made, labels, groups)["threshold"]


def test_it_lies_in_the_middle_of_the_best_gap():
    labels = [NO_TUMOR, NO_TUMOR, 0, PARTIAL]
    found = fit_operating_point(probabilities([0.1, 0.2, 0.6, 0.9]), labels, ["a", "b", "c", "c"])
    assert found["threshold"] == pytest.approx(0.4)
    assert (found["sensitivity"], found["specificity"]) == (1, 1)
    assert (found["tumor_groups"], found["no_tumor_groups"]) == (1, 2)


def test_a_missed_tumor_costs_more_than_a_false_alarm():
    made = probabilities([0.1, 0.2, 0.3, 0.5, 0.4, 0.8, 0.9, 0.95])
    labels = [NO_TUMOR] * 4 + [0] * 4
    assert fit_operating_point(made, labels, list("abcdefgh"))["threshold"] == pytest.approx(0.35)


def test_tumors_alone_leave_it_at_one_half_and_promise_nothing():
    found = fit_operating_point(probabilities([0.9, 0.8]), [0, 1], ["a", "b"])
    assert found["threshold"] == 0.5 and found["sensitivity"] is None and found["specificity"] is None
