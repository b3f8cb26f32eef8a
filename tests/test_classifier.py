"""From network outputs to predictions."""

import copy
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from model import CLASSES
from model.artifact import FILES
from model.classifier import RawOutputs, TumorClassifier
from tests.server import write_random_weights


@pytest.fixture(scope="module")
def random_classifier(tmp_path_factory):
    return TumorClassifier.from_folder(write_random_weights(tmp_path_factory.mktemp("weights"), temperature=2.0))


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((90, 70), (64, 64), (200, 120))]


def judged(classifier, probabilities, brain_score=0.9, distance=1.0) -> tuple[str, str, str]:
    """Status, what is said about the slice and what about the answer, for one slice that is not blank."""
    raw = RawOutputs(np.zeros((1, 4)), np.zeros((1, 4, 1, 1)), np.array([brain_score]), np.array([distance]), None)
    return classifier.judge(np.full((1, 4, 4), 9, dtype=np.uint8), raw, np.array([probabilities]))[0]


def test_calibration_is_softmax_of_the_logits_over_the_temperature(random_classifier):
    logits = np.random.default_rng(1).normal(0, 5, (6, 4)).astype(np.float32)
    expected = torch.from_numpy(logits / 2.0).softmax(1)
    np.testing.assert_allclose(random_classifier.calibrate(logits), expected, atol=1e-6)


@pytest.mark.parametrize("cores", [1, 3])
def test_a_volume_gets_the_answers_of_its_slices_one_by_one_on_any_number_of_cores(random_classifier, slices, cores):
    classifier = copy.copy(random_classifier)
    classifier.threads = ThreadPoolExecutor(cores)
    volume = [np.roll(pixels, shift, axis=0).astype(np.float32) for shift in range(4) for pixels in slices]
    together = classifier.predict(volume)
    for pixels, among_others in zip(volume, together, strict=True):
        (alone,) = random_classifier.predict([pixels])
        assert alone.as_dict() == among_others.as_dict() and alone.window == among_others.window
        assert np.array_equal(alone.evidence, among_others.evidence)


def test_evidence_is_a_share_of_each_class(random_classifier, slices):
    for answer in random_classifier.predict(slices):
        assert answer.evidence.shape == (len(CLASSES), 20, 20) and answer.evidence.min() >= 0
        np.testing.assert_allclose(answer.evidence.sum((1, 2)), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("brain_score", "distance", "status", "words"),
    [
        (0.1, 9.0, "refused", "does not look like a brain MRI"),
        (0.9, 2.0, "refused", "Upload a plain slice that shows the whole head"),
        (0.4, 1.0, "doubtful", "differs from the brain MRI"),
        (0.9, 1.6, "doubtful", "differs from the brain MRI"),
        (0.9, 1.0, "accepted", ""),
    ],
)
def test_a_slice_that_is_strange_is_doubted_or_refused_however_sure_the_answer(
    random_classifier, brain_score, distance, status, words
):
    got, about_slice, about_answer = judged(random_classifier, [0.97, 0.01, 0.01, 0.01], brain_score, distance)
    assert got == status and words in about_slice and bool(about_slice) == (status != "accepted") and not about_answer


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ([0.55, 0.4, 0.03, 0.02], "Glioma or meningioma: the model cannot tell which."),
        ([0.33, 0.31, 0.31, 0.05], "Glioma, meningioma or pituitary tumor: the model cannot tell which."),
        ([0.02, 0.03, 0.35, 0.6], "No tumor or pituitary tumor: the model cannot tell which."),
        ([0.29, 0.24, 0.22, 0.25], "No class reaches 50 %: the model cannot tell which one it is."),
        (
            [0.25, 0.1, 0.1, 0.55],
            "The most probable class is no tumor, but a tumor is probable enough to count as seen.",
        ),
    ],
)
def test_an_open_answer_is_doubtful_and_names_what_it_is_open_between(random_classifier, probabilities, words):
    assert judged(random_classifier, probabilities) == ("doubtful", "", words)


def test_a_tumor_below_a_high_operating_point_is_doubtful(tmp_path):
    strict = {"threshold": 0.8, "sensitivity": 0.9, "specificity": 0.99}
    classifier = TumorClassifier.from_folder(write_random_weights(tmp_path, temperature=1.0, operating_point=strict))
    status, about_slice, about_answer = judged(classifier, [0.6, 0.05, 0.02, 0.28])
    assert status == "doubtful" and "not probable enough to count as seen" in about_answer and not about_slice


def test_the_prediction_set_holds_what_is_probable_enough_and_is_never_empty(random_classifier):
    sets = random_classifier.prediction_sets(np.array([[0.55, 0.3, 0.1, 0.05], [0.26, 0.24, 0.25, 0.25]]))
    np.testing.assert_array_equal(sets, [[True, True, False, False], [True, False, False, False]])


def test_a_blank_slice_is_refused_as_blank(random_classifier):
    (answer,) = random_classifier.predict([np.full((64, 64), 77, dtype=np.uint8)])
    assert answer.status == "refused" and "blank" in answer.reason


def test_json_of_a_prediction_holds_no_arrays(random_classifier, slices):
    (answer, *_) = random_classifier.predict(slices)
    entry = json.loads(json.dumps(answer.as_dict()))
    assert entry["tumor_probability"] == answer.tumor_probability and entry["sees_tumor"] == answer.sees_tumor
    assert entry["prediction_set"] == list(answer.prediction_set) and entry["prediction_set"][0] == answer.label
    assert (entry["distance"], entry["threshold"]) == (answer.distance, 0.4)


def test_the_shipped_folder_stays_small_and_its_metrics_are_of_its_weights(weights):
    files = [file for file in weights.rglob("*") if file.is_file() and file != weights / FILES["fp32"]]
    assert sum(file.stat().st_size for file in files) < 12e6
    digest = hashlib.sha256((weights / FILES["int8"]).read_bytes()).hexdigest()
    assert json.loads((weights / "metrics.json").read_text())["weights_sha256"] == digest
