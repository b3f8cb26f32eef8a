"""Volumes put together from slices, and what is fitted and measured on them."""

import numpy as np
import pytest

from model import NO_TUMOR
from model.artifact import UNCALIBRATED_STUDY
from training.evaluation import studies
from training.evaluation.card import section
from training.evaluation.markdown import figure, share
from training.evaluation.studies import STRETCHES, JudgedSlices, draw_studies, measure_study, with_noise
from training.export import calibration
from training.export.calibration import fit_study


def judged(seed: int, alarms: float = 0.0, separation: float = 4.0) -> JudgedSlices:
    """Answers for 30 tumor groups and 30 without, four slices each; `alarms`: share of normal slices with high odds."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.r_[np.arange(30) % 3, np.full(30, NO_TUMOR)], 4)
    odds = rng.normal(np.where(labels == NO_TUMOR, -separation, separation), 1.0)
    odds[(labels == NO_TUMOR) & (rng.random(len(labels)) < alarms)] = 3.0
    tumor = 1 / (1 + np.exp(-odds))
    types = 0.9 * np.eye(4)[np.where(labels == NO_TUMOR, 0, labels)][:, :3] + 0.1 / 3
    groups = np.repeat([f"{kind}{k}" for kind in "tn" for k in range(30)], 4)
    return JudgedSlices(np.column_stack((types * tumor[:, None], 1 - tumor)), labels, groups)


@pytest.fixture(autouse=True)
def few_studies(monkeypatch):
    monkeypatch.setattr(calibration, "FITTED_ON", 80)
    for name, value in {"MEASURED_ON": 80, "IN_A_RESAMPLE": 16, "RESAMPLES": 8}.items():
        monkeypatch.setattr(studies, name, value)


def test_a_tumor_lies_in_neighboring_slices_of_one_group_among_tumor_free_ones(monkeypatch):
    monkeypatch.setattr(studies, "NOISE", 0.0)
    slices = judged(0)
    slices.probabilities[:, :NO_TUMOR] = 0
    slices.probabilities[:, 0] = np.arange(len(slices.labels)) / 1e4 + 1e-4  # tells which image a slice is of
    slices.probabilities[:, NO_TUMOR] = 1 - slices.probabilities[:, 0]
    rng = np.random.default_rng(1)
    drawn = draw_studies(slices, slices.free_groups(), slices.tumor_groups(), 20, 150, 40, rng)
    image = np.round((drawn.probabilities[..., 0] - 1e-4) * 1e4).astype(int)
    for row, label, group in zip(image, drawn.labels, drawn.groups, strict=True):
        where = np.flatnonzero(slices.labels[row] != NO_TUMOR)
        assert len(where) == 40 and where[-1] - where[0] == 39, "one lesion of 40 mm, 1 mm apart"
        assert set(slices.groups[row[where]]) == {group} and slices.labels[row[where[0]]] == label
        assert len(set(row)) <= STRETCHES
    free = draw_studies(slices, slices.free_groups(), slices.tumor_groups(), 20, 24, 0, rng)
    assert set(free.labels) == {NO_TUMOR} and free.probabilities.shape == (20, 24, 4)


def test_groups_that_are_not_named_are_not_drawn():
    slices = judged(0)
    drawn = draw_studies(slices, ["n3"], ["t7", "t9", "t9"], 30, 24, 20, np.random.default_rng(0))
    assert set(drawn.groups) == {"t7", "t9"} and sum(drawn.groups == "t9") > sum(drawn.groups == "t7")


def test_noise_moves_the_odds_of_a_tumor_and_leaves_its_type():
    probabilities = np.tile([0.3, 0.2, 0.1, 0.4], (4000, 1))
    noisy = with_noise(probabilities, np.random.default_rng(0))
    np.testing.assert_allclose(noisy.sum(1), 1)
    np.testing.assert_allclose(noisy[:, 0] / noisy[:, 1], 1.5)
    odds = np.log(1 / noisy[:, NO_TUMOR] - 1)
    assert odds.mean() == pytest.approx(np.log(1.5), abs=0.05)
    assert odds.std() == pytest.approx(studies.NOISE, rel=0.05)


def test_the_rule_that_is_fitted_holds_on_other_groups():
    fitted = fit_study(judged(0))
    assert fitted.keys() >= UNCALIBRATED_STUDY.keys() and fitted["slope"] > 0
    assert (fitted["tumor_groups"], fitted["no_tumor_groups"]) == (30, 30)
    figures = measure_study(judged(1), {"study": fitted, "operating_point": {"threshold": 0.5}})
    for name in ("auc", "sensitivity", "specificity", "named_right"):
        assert figures[name]["value"] > 0.95


def test_false_alarms_of_single_slices_cost_a_study_less_than_any_slice_would():
    config = {"study": fit_study(judged(0, alarms=0.05)), "operating_point": {"threshold": 0.5}}
    figures = measure_study(judged(1, alarms=0.05), config)
    assert figures["any_slice_specificity"]["value"] < figures["specificity"]["value"] - 0.1
    assert figures["specificity"]["low"] <= figures["specificity"]["value"] <= figures["specificity"]["high"]


def test_every_figure_has_its_row_in_the_card_and_the_other_way_around():
    slices = judged(0)
    config = {"study": fit_study(slices), "operating_point": {"threshold": 0.5}}
    figures = measure_study(slices, config)
    assert figures == measure_study(slices, config), "the same groups give the same figures"
    text = section("study", figures)
    for name, value in figures.items():
        assert not isinstance(value, dict) or figure(value) in text or share(value) in text, name


def test_tumors_alone_calibrate_nothing():
    both = judged(0)
    alone = JudgedSlices(*(part[both.labels != NO_TUMOR] for part in both))
    assert fit_study(alone) == UNCALIBRATED_STUDY and measure_study(alone, {"study": UNCALIBRATED_STUDY}) == {}
