"""How sure the answers are: sets, calibration and statuses whose shares are known by counting."""

import json

import numpy as np
import pytest

from model import NO_TUMOR
from training.evaluation.certainty import (
    calibration_by_source,
    fit_temperature,
    negative_log_likelihood,
    on_other_diseases,
    set_figures,
)
from training.losses import PARTIAL


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def drawn(n, temperature, seed):
    """Logits that are `temperature` times too large for the labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, 4))
    return logits * temperature, (logits + rng.gumbel(size=(n, 4))).argmax(1)


def test_set_figures_are_those_of_counting():
    sets = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=bool)
    labels = np.array([0, 0, 0, NO_TUMOR, NO_TUMOR, PARTIAL])
    figures = set_figures(sets, labels, list("aabcde"))
    assert (figures["n"], figures["n_groups"]) == (5, 4), "tumors of unknown type take no part"
    assert figures["coverage"]["value"] == 4 / 5 and figures["mean_size"]["value"] == 9 / 5
    assert figures["singletons"]["value"] == 3 / 5 and figures["right_if_single"]["value"] == pytest.approx(2 / 3)
    assert set(figures["by_class"]) == {"glioma", "notumor"}
    assert figures["by_class"]["glioma"]["coverage"]["value"] == pytest.approx(2 / 3)
    assert figures["by_class"]["notumor"]["mean_size"]["value"] == 5 / 2


def test_source_that_is_too_sure_wants_a_higher_temperature():
    parts = [drawn(3000, temperature, seed) for seed, temperature in enumerate((1.0, 3.0))]
    logits, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    groups = [str(k // 3) for k in range(6000)]
    figures = calibration_by_source(logits, softmax(logits), labels, groups, ["honest"] * 3000 + ["boastful"] * 3000)
    assert figures["honest"]["temperature"] == pytest.approx(1, rel=0.1)
    assert figures["boastful"]["temperature"] == pytest.approx(3, rel=0.1)
    assert figures["honest"]["ece"]["value"] < 0.03 < 0.15 < figures["boastful"]["ece"]["value"]
    assert figures["honest"]["ece_tumor"]["value"] < 0.03 < figures["boastful"]["ece_tumor"]["value"]
    assert (figures["honest"]["n"], figures["honest"]["n_groups"]) == (3000, 1000)


def test_source_of_unknown_types_is_calibrated_for_tumor_against_none_alone():
    logits = np.log([[0.4, 0.3, 0.1, 0.2]] * 9 + [[0.05, 0.05, 0.1, 0.8]])  # a tumor seen at 0.8, and one missed at 0.8
    labels, groups = np.full(10, PARTIAL), [str(k) for k in range(10)]
    figures = calibration_by_source(logits, softmax(logits), labels, groups, [""] * 10)["unknown"]
    assert figures["ece"]["value"] is None
    assert figures["ece_tumor"]["value"] == pytest.approx(0.9 - 0.8), (
        "nine of ten are right, eight of ten were promised"
    )


def test_source_without_a_wrong_answer_has_no_best_temperature():
    labels = np.arange(40) % 4
    logits = 3.0 * np.eye(4)[labels]
    [figures] = calibration_by_source(logits, softmax(logits), labels, [str(k) for k in range(40)], ["a"] * 40).values()
    assert figures["temperature"] is None
    json.dumps(figures, allow_nan=False)


def test_confidently_wrong_is_one_sure_tumor_that_nothing_on_the_page_doubts():
    sure, open_set = [0.95, 0.02, 0.02, 0.01], [0.5, 0.4, 0.05, 0.05]
    probabilities = np.array([sure, sure, sure, open_set, [0.02, 0.02, 0.01, 0.95]])
    sets = probabilities > 0.3
    sets[2] = [1, 1, 0, 0]
    statuses = ["accepted", "doubtful", "accepted", "accepted", "accepted"]
    shares = on_other_diseases(probabilities, sets, statuses, list("abcde"), threshold=0.3)
    assert {name: share["value"] for name, share in shares.items() if name != "status"} == {
        "called_tumor": 4 / 5,
        "sure_of_a_type": 3 / 5,
        "sure_of_no_tumor": 1 / 5,
        "confidently_wrong": 1 / 5,
    }
    assert [share["value"] for share in shares["status"].values()] == [4 / 5, 1 / 5, 0]


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_known_temperature_is_found(temperature):
    assert fit_temperature(*drawn(20_000, temperature, 0)) == pytest.approx(temperature, rel=0.04)


def test_known_temperature_is_found_from_partial_labels_alone():
    logits, labels = drawn(20_000, 2.0, 0)
    labels[labels != NO_TUMOR] = PARTIAL
    assert fit_temperature(logits, labels) == pytest.approx(2.0, rel=0.06)
    logits = np.log([[0.2, 0.3, 0.1, 0.4]])
    assert negative_log_likelihood(logits, [PARTIAL], 1.0) == pytest.approx(-np.log(0.6))
    assert negative_log_likelihood(logits, [1], 1.0) == pytest.approx(-np.log(0.3))


def test_temperature_of_nothing_or_of_nan_raises():
    with pytest.raises(ValueError, match="logits"):
        fit_temperature(np.zeros((0, 4)), np.zeros(0, dtype=int))
    with pytest.raises(ValueError, match="finite"):
        fit_temperature(np.full((2, 4), np.nan), [0, 1])
