"""The figures against scikit-learn, the bootstrap against what it claims."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from model import CLASSES, NO_TUMOR
from training.evaluation.metrics import (
    PARTIAL,
    by_label_and_sequence,
    mean_with_interval,
    measure,
    ratio_with_interval,
    resample_weights,
    statistics,
    tumor_auc,
    tumor_auc_by_sequence,
    tumor_types,
)


def answers(n=400, classes=4, seed=0, decimals=2):
    """Random but informed probabilities; rounded, so that ties occur."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, 4)) + 1.5 * np.eye(4)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities = probabilities.round(decimals)
    return probabilities / probabilities.sum(1, keepdims=True), labels, [f"g{k // 4}" for k in range(n)]


def figures(probabilities, labels, groups, **options):
    return measure(np.asarray(probabilities), np.asarray(labels), groups, **{"resamples": 50, **options})


def test_every_figure_equals_that_of_scikit_learn_and_lies_in_its_interval():
    probabilities, labels, groups = answers()
    report = figures(probabilities, labels, groups)
    answered, tumor = probabilities.argmax(1), labels != NO_TUMOR
    detected = probabilities[:, NO_TUMOR] <= 0.5
    expected = {
        "accuracy": sk.accuracy_score(labels, answered),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, answered),
        "macro_f1": sk.f1_score(labels, answered, average="macro"),
        "f2_macro": sk.fbeta_score(labels, answered, beta=2, average="macro"),
        "f2_tumor": sk.fbeta_score(tumor, detected, beta=2),
        "sensitivity_tumor": sk.recall_score(tumor, detected),
        "specificity_tumor": sk.recall_score(~tumor, ~detected),
        "roc_auc": sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        "auc_tumor": sk.roc_auc_score(tumor, -probabilities[:, NO_TUMOR]),
        "brier": sk.brier_score_loss(labels, probabilities, labels=range(4), scale_by_half=False),
    }
    assert {name: report[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)
    recalls = dict(zip(CLASSES, sk.recall_score(labels, answered, average=None), strict=True))
    assert {name: recall["value"] for name, recall in report["recall"].items()} == pytest.approx(recalls, abs=1e-12)
    assert report["confusion"]["counts"] == sk.confusion_matrix(labels, answered).tolist()
    for name in (*expected, "ece"):
        assert report[name]["low"] <= report[name]["value"] <= report[name]["high"]


def test_weighted_resamples_equal_measuring_the_repeated_images():
    """The bootstrap's weights against what they stand for: the images written out as often as their group was drawn."""
    probabilities, labels, groups = answers(n=80)
    weights = resample_weights(np.array(groups, dtype=object), resamples=3, seed=1)
    by_weight = statistics(probabilities, labels, 0.5, weights)
    for row, weight in enumerate(weights):
        again = np.repeat(np.arange(80), weight.astype(int))
        assert len(set(weight[:4])) == 1  # one group, one weight
        written_out = statistics(probabilities[again], labels[again], 0.5, np.ones((1, len(again))))
        for name, value in written_out.items():
            np.testing.assert_allclose(by_weight[name][row], value[0], err_msg=name)


def test_calibration_error_of_a_known_case():
    probabilities = np.array([[0.8, 0.2, 0, 0]] * 10 + [[0.5, 0.1, 0.4, 0]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [0] * 8 + [2] * 2)  # 0.6 right at 0.8, and 0.8 right at 0.5
    report = figures(probabilities, labels, [str(k) for k in range(20)])
    assert report["ece"]["value"] == pytest.approx((0.2 + 0.3) / 2)


def test_intervals_are_over_groups_not_images():
    probabilities, labels, _ = answers(n=60)
    alone = figures(probabilities, labels, [str(k) for k in range(60)])
    repeated = figures(np.repeat(probabilities, 9, 0), np.repeat(labels, 9), [str(k // 9) for k in range(540)])
    for name in ("accuracy", "macro_f1", "auc_tumor", "brier"):
        assert repeated[name] == pytest.approx(alone[name])  # nine slices of one patient teach nothing new
    assert (repeated["n"], repeated["n_groups"]) == (540, 60)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        group_rates = rng.beta(8, 2, size=60)  # patients differ: mean 0.8
        hits = (rng.random((60, 5)) < group_rates[:, None]).ravel()
        figure = mean_with_interval(hits, np.repeat(np.arange(60), 5), resamples=200)
        covered += figure["low"] <= 0.8 <= figure["high"]
    assert 0.90 <= covered / 200 <= 0.98


def test_tumors_of_unknown_type_count_for_tumor_against_none_only():
    probabilities, labels, groups = answers()
    plain = figures(probabilities, labels, groups)
    missed = np.tile([0.05, 0.05, 0.0, 0.9], (50, 1))
    more = np.append(labels, [PARTIAL] * 50), groups + [f"p{k}" for k in range(50)]
    report = figures(np.vstack([probabilities, missed]), *more)
    for name in ("accuracy", "macro_f1", "roc_auc", "ece", "brier"):
        assert report[name]["value"] == plain[name]["value"]
    assert report["confusion"] == plain["confusion"]
    for name in ("sensitivity_tumor", "auc_tumor"):
        assert report[name]["value"] < plain[name]["value"]


def test_two_halves_of_a_tumor_make_one_and_the_threshold_moves_it():
    one = [[0.3, 0.3, 0.0, 0.4]], [PARTIAL], ["g"]
    assert figures(*one)["sensitivity_tumor"]["value"] == 1
    assert figures(*one, threshold=0.7)["sensitivity_tumor"]["value"] == 0


def test_missing_class_has_no_figure_and_leaves_the_macro_average_alone():
    probabilities, labels, groups = answers()
    keep = labels != CLASSES.index("pituitary")
    probabilities, labels, present = probabilities[keep], labels[keep], [0, 1, 3]
    report = figures(probabilities, labels, np.array(groups)[keep].tolist())
    assert report["recall"]["pituitary"] == {"value": None, "low": None, "high": None}
    answered = probabilities.argmax(1)
    assert (answered == 2).any(), "the case has to hold wrong answers of the missing class"
    f1 = sk.f1_score(labels, answered, labels=present, average="macro")
    areas = [sk.roc_auc_score(labels == k, probabilities[:, k]) for k in present]
    assert report["macro_f1"]["value"] == pytest.approx(f1)
    assert report["roc_auc"]["value"] == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("labels", [[PARTIAL] * 4, [NO_TUMOR] * 4, [0] * 4])
def test_test_sets_of_one_kind_give_null_not_a_crash_and_empty_ones_a_message(labels):
    report = figures(np.tile([0.4, 0.1, 0.1, 0.4], (4, 1)), labels, list("abcd"), sources=list("xxyy"))
    assert report["auc_tumor"]["value"] is None
    assert report["by_source"]["x"]["auc_tumor"]["value"] is None
    json.dumps(report, allow_nan=False)
    with pytest.raises(ValueError, match="no images"):
        figures(np.zeros((0, 4)), [], [])


def test_parts_are_measured_as_if_alone():
    probabilities, labels, groups = answers(n=80)
    report = figures(probabilities, labels, groups, sources=["left"] * 40 + ["right"] * 40, sequences=[""] * 80)
    alone = figures(probabilities[:40], labels[:40], groups[:40])
    assert report["by_source"]["left"] == {name: alone[name] for name in report["by_source"]["left"]}
    assert report["by_source"]["left"]["n"] == 40 and report["by_sequence"] == {}


def test_tumors_of_a_sequence_stand_against_all_normals():
    labels = np.array([0, 0, 1, 1, 3, 3])
    p_tumor = np.array([0.9, 0.7, 0.1, 0.5, 0.2, 0.6])
    probabilities = np.column_stack([p_tumor, 0 * p_tumor, 0 * p_tumor, 1 - p_tumor])
    areas = tumor_auc_by_sequence(probabilities, labels, list("abcdef"), ["T1C+", "T1C+", "T2", "T2", "T1", "T2"])
    assert {name: (area["n"], area["value"]) for name, area in areas.items()} == {"T1C+": (4, 1), "T2": (4, 1 / 4)}


def test_correct_class_at_the_operating_point_is_the_likeliest_type_of_a_tumor_that_is_detected():
    probabilities = [
        [0.30, 0.10, 0.0, 0.6],  # detected from 0.35 on, glioma the likeliest type: correct, though no tumor leads
        [0.10, 0.30, 0.0, 0.6],  # detected, but as a meningioma
        [0.20, 0.10, 0.0, 0.7],  # not detected
        [0.20, 0.10, 0.0, 0.7],
        [0.20, 0.20, 0.0, 0.6],
    ]
    given = np.array(probabilities), np.array([0, 0, 0, NO_TUMOR, PARTIAL]), list("abcde")
    table = by_label_and_sequence(*given, ["T1", "T1", "T2", "T2", ""], 0.35)
    values = {
        name: {sequence: tuple(figure["value"] for figure in cell.values()) for sequence, cell in row.items()}
        for name, row in table.items()
    }
    assert values["glioma"] == {"T1": (1, 1 / 2), "T2": (0, 0), "all": pytest.approx((2 / 3, 1 / 3))}
    assert values["notumor"]["T2"] == (0, 1) and values["tumor"] == {"all": (1,)}
    assert by_label_and_sequence(*given, [""] * 5) == {}, "nothing to tell apart"


def test_types_are_told_apart_among_tumors_only():
    probabilities = np.array(
        [[0.1, 0, 0, 0.9], [0.1, 0.2, 0, 0.7], [0, 0, 0.3, 0.7], [0.9, 0, 0, 0.1], [0.9, 0, 0, 0.1]]
    )
    labels = np.array([0, 1, 2, NO_TUMOR, PARTIAL])
    report = tumor_types(probabilities, labels, list("abcde"))
    assert report["n"] == 3 and report["balanced_accuracy"]["value"] == 1
    assert set(report["recall"]) == {"glioma", "meningioma", "pituitary"}
    assert tumor_types(probabilities[3:], labels[3:], ["d", "e"]) is None


def test_ratios_and_areas_alone_equal_those_of_the_whole_report():
    probabilities, labels, groups = answers(n=80)
    report = measure(probabilities, labels, groups)
    assert tumor_auc(probabilities, labels, groups) == report["auc_tumor"]
    tumor, detected = labels != NO_TUMOR, probabilities[:, NO_TUMOR] <= 0.5
    ratio = ratio_with_interval(1.0 * (tumor & detected), 1.0 * tumor, groups)
    assert ratio == pytest.approx(report["sensitivity_tumor"])
    assert mean_with_interval(np.zeros(0), []) == dict.fromkeys(("value", "low", "high")) | {"n": 0, "n_groups": 0}
