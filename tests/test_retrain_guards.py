"""When a metric counts as fallen, and what may replace what."""

import numpy as np
import pytest

from training.evaluation.metrics import ratio
from training.guards import HARM_BELIEVED, MIN_GROUPS, TITLES, TOLERANCE, Side, compare, judge, verdict


def on_people(hits_before: list[int], hits_after: list[int], name: str = "sensitivity_tumor") -> dict:
    """The row of a metric that is the share of people answered right, one image each."""

    def values(hits: list[int], weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: ratio(weights @ np.array(hits), weights.sum(1))}

    people = [str(k) for k in range(len(hits_before))]
    return compare(hits_before, hits_after, Side(people, {name: len(people)}, values))[name]


@pytest.mark.parametrize(
    ("people", "lost", "expected"),
    [
        (10, 0, "held"),
        (10, 1, "held"),  # one person may be chance
        (10, 2, "fell"),
        (5, 1, "held"),
        (5, 2, "fell"),
        (60, 1, "held"),
        (60, 2, "fell"),
        (110, 2, "held"),  # within the tolerance
        (100, 3, "fell"),
        (4, 0, "too few groups"),
        (4, 4, "fell"),  # however few
    ],
)
def test_a_metric_falls_when_more_than_chance_and_tolerance_is_lost(people, lost, expected):
    row = on_people([1] * people, [0] * lost + [1] * (people - lost))
    assert row["verdict"] == expected
    assert row["start"] == 1 and row["candidate"] == pytest.approx(1 - lost / people)
    assert row["difference"]["low"] <= row["difference"]["value"] <= row["difference"]["high"]


def test_what_is_lost_here_and_won_there_is_weighed_by_person():
    assert on_people([1] * 5 + [0] * 5, [0] * 4 + [1] * 6)["verdict"] == "held"  # four lost, five won
    assert on_people([1] * 5 + [0] * 5, [0] * 5 + [1] * 2 + [0] * 3)["verdict"] == "fell"  # five lost, two won


def test_of_the_brier_score_less_is_better():
    assert on_people([0] * 10, [1] * 10, "brier")["verdict"] == "fell"
    assert on_people([1] * 10, [0] * 10, "brier")["verdict"] == "held"


def test_a_loss_must_be_beyond_the_tolerance_and_believed():
    assert verdict(-2 * TOLERANCE, HARM_BELIEVED, 50) == "fell"
    assert verdict(-2 * TOLERANCE, HARM_BELIEVED - 0.01, 50) == "held"
    assert verdict(-TOLERANCE / 2, 1.0, 50) == "held"
    assert verdict(0.0, 0.0, MIN_GROUPS - 1) == "too few groups"


def test_a_metric_that_the_images_do_not_define_has_no_row():
    side = Side(["a"] * 6, {"recall_glioma": 0}, lambda _, weights: {"recall_glioma": np.full(len(weights), np.nan)})
    assert compare(None, None, side) == {}


@pytest.fixture
def all_held() -> dict:
    return {name: on_people([1] * 10, [1] * 10, name) for name in TITLES}


def test_what_held_throughout_may_be_promoted(all_held):
    judged = judge({"own": all_held})
    assert judged["promotable"] and not judged["fell"] and not judged["not_told"]
    assert judged["sentences"] == ["It did not get worse by what could be measured: no guarded metric fell."]


def test_one_fallen_metric_on_one_set_is_enough_to_be_worse(all_held):
    fallen = {"specificity_tumor": on_people([1] * 10, [0] * 10, "specificity_tumor")}
    judged = judge({"own": all_held, "original": fallen})
    assert not judged["promotable"] and judged["fell"] == [["original", "specificity_tumor"]]
    assert judged["sentences"][0] == (
        "It got worse: on the original, tumor-free images left alone there: 1.000 before, 0.000 now "
        "(-1.000, -1.000 to -1.000, 10 groups)."
    )


def test_what_nobody_measured_is_named_and_not_promoted(all_held):
    few = all_held | {"recall_pituitary": on_people([1] * 2, [1] * 2, "recall_pituitary")}
    judged = judge({"own": few})
    assert not judged["promotable"] and not judged["fell"] and judged["not_told"] == ["recall_pituitary"]
    assert "pituitary tumors named right" in judged["sentences"][1] and judged["sentences"][1].endswith(".")
    elsewhere = {"recall_pituitary": all_held["recall_pituitary"]}
    assert judge({"own": few, "original": elsewhere})["promotable"]
