"""From the answers for single slices to the verdict on a volume."""

import numpy as np
import pytest

from model import CLASSES, NO_TUMOR
from model.artifact import UNCALIBRATED_STUDY
from model.prediction import NO_BRAIN, OUT_OF_DISTRIBUTION, Prediction
from model.preprocess import Window
from model.study import SHOWN, judge_study, peaks, pooled_odds, study_probabilities

PARAMETERS = {"sharpness": 0.7, "slope": 1.5, "intercept": -1.0, "threshold": 0.3, "sensitivity": 0.9}
CONFIG = {"study": PARAMETERS}
GLIOMA, MENINGIOMA = (0.9, 0.07, 0.03), (0.05, 0.9, 0.05)


def slice_of(tumor: float, types=GLIOMA, status="accepted", reason="", threshold=0.7) -> Prediction:
    """The answer for one slice, with P(tumor) and the types' shares of it."""
    values = (*(tumor * share for share in types), 1 - tumor)
    probabilities = dict(zip(CLASSES, values, strict=True))
    return Prediction(
        status, reason, "", "notumor", probabilities, (), threshold, 1.0, 1.0, np.ones((4, 1, 1)), Window(0, 0, 1)
    )


def volume(*runs: tuple[int, float]) -> list[Prediction]:
    """Runs of (how many slices, P(tumor))."""
    return [slice_of(tumor) for count, tumor in runs for _ in range(count)]


def test_score_of_sharpness_1_is_the_logarithm_of_the_mean_odds():
    tumor = np.array([0.1, 0.5, 0.8])
    probabilities = np.stack((tumor / 2, tumor / 4, tumor / 4, 1 - tumor), axis=1)
    score, shares = pooled_odds(probabilities, 1.0)
    odds = tumor / (1 - tumor)
    assert score == pytest.approx(np.log(odds.mean()))
    certain = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    assert np.isfinite(study_probabilities(certain, PARAMETERS)).all()
    np.testing.assert_allclose(shares, odds / odds.sum())


def test_thinner_slices_of_the_same_head_get_the_same_verdict():
    thick = volume((10, 0.03), (3, 0.95), (12, 0.03))
    thin = [one for one in thick for _ in range(6)]
    first, second = judge_study(thick, CONFIG), judge_study(thin, CONFIG)
    assert first.probabilities == pytest.approx(second.probabilities) and len(thin) == 150


def test_one_false_alarm_among_155_slices_is_no_tumor_but_a_lesion_over_neighbors_is():
    alarm, lesion = volume((80, 0.03), (1, 0.99), (74, 0.03)), volume((80, 0.03), (15, 0.99), (60, 0.03))
    assert max(one.tumor_probability for one in alarm) > alarm[0].threshold, "by itself the slice counts as a tumor"
    assert not judge_study(alarm, CONFIG).sees_tumor
    study = judge_study(lesion, CONFIG)
    assert study.sees_tumor and study.status == "accepted" and "evidence of a tumor" in study.sentence


def test_probabilities_sum_to_1_and_the_type_is_that_of_the_suspicious_slices():
    slices = volume((20, 0.04)) + [slice_of(0.98, MENINGIOMA)] * 5
    study = judge_study(slices, CONFIG)
    assert sum(study.probabilities.values()) == pytest.approx(1)
    assert max(study.probabilities, key=study.probabilities.get) == "meningioma"
    assert study.tumor_probability == pytest.approx(1 - study.probabilities[CLASSES[NO_TUMOR]])


def test_refused_slices_take_no_part():
    slices = volume((20, 0.05), (4, 0.9))
    empty = [slice_of(0.99, status="refused", reason=NO_BRAIN)] * 6
    alone, among = judge_study(slices, CONFIG), judge_study(empty + slices + empty, CONFIG)
    assert (alone.status, alone.reason) == ("accepted", "")
    assert (among.n_judged, among.n_refused) == (24, 12) and alone.n_refused == 0
    assert among.probabilities == alone.probabilities and among.status == alone.status == "accepted"
    assert among.suspicious == tuple(index + 6 for index in alone.suspicious)


def test_a_volume_of_refused_slices_is_refused_for_the_commonest_reason():
    refused = [slice_of(0.99, status="refused", reason=reason) for reason in (OUT_OF_DISTRIBUTION, NO_BRAIN, NO_BRAIN)]
    study = judge_study(refused, CONFIG)
    assert (study.status, study.sees_tumor, study.suspicious, study.n_judged) == ("refused", False, (), 0)
    assert NO_BRAIN in study.reason and "None of the 3 slices" in study.reason and study.sentence == study.reason


@pytest.mark.parametrize(
    ("slices", "parameters", "words"),
    [
        (volume((3, 0.04)), {}, "A volume of 3 slices is too small"),
        (volume((4, 0.04)) + [slice_of(0.9, status="refused")] * 3, {}, "Only 4 of 7 slices"),
        (volume((20, 0.04)) + [slice_of(0.9, status="refused")] * 41, {}, "Only 20 of 61 slices"),
        (volume((9, 0.04), (11, 0.95)), {}, "more than half of the slices"),
        ([slice_of(0.04, status="doubtful", reason="Odd.")] * 20, {}, "most of its slices are doubtful"),
        (volume((20, 0.04)), {"sensitivity": None}, "not calibrated for whole volumes"),
        (volume((20, 0.04), (2, 0.9)), {"threshold": 0.02}, "The most probable class is no tumor, but"),
        (volume((20, 0.04), (3, 0.98)), {"threshold": 0.999}, "not probable enough to count as seen"),
    ],
)
def test_a_doubtful_study_says_why(slices, parameters, words):
    study = judge_study(slices, {"study": PARAMETERS | parameters})
    assert study.status == "doubtful" and words in study.reason


def test_a_tumor_that_is_seen_below_one_half_is_not_called_likely():
    study = judge_study(volume((20, 0.04), (2, 0.9)), {"study": PARAMETERS | {"threshold": 0.02}})
    assert study.sees_tumor and "cannot be ruled out" in study.sentence


def test_suspicious_slices_are_peaks_apart_from_each_other_the_highest_first():
    suspicion = np.full(120, 0.05)
    suspicion[30:41] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5]
    suspicion[90:93] = [0.6, 0.95, 0.7]
    found = peaks(suspicion)
    assert found[:2] == (91, 35) and len(found) <= SHOWN
    assert min(abs(a - b) for a in found for b in found if a != b) > 0.05 * 120


def test_the_sentence_counts_slices_from_one_and_names_the_most_suspicious():
    study = judge_study(volume((12, 0.04), (1, 0.97), (3, 0.99), (10, 0.04)), CONFIG)
    assert study.suspicious[0] == 13 and "Look at slice 14 first" in study.sentence


def test_without_calibration_the_odds_are_the_mean_odds():
    study = judge_study(volume((3, 0.5), (1, 0.75)), {"study": UNCALIBRATED_STUDY})
    mean_odds = (3 * 1 + 3) / 4
    assert study.tumor_probability == pytest.approx(mean_odds / (1 + mean_odds))
