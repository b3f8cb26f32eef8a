"""From network outputs to predictions."""

import hashlib
import json

import numpy as np
import pytest
import torch

from model import CLASSES, NO_TUMOR
from model.classifier import Prediction, TumorClassifier
from model.preprocess import Window
from model.quantization import CONFIG, DamagedWeights
from tests.server import write_random_weights


@pytest.fixture(scope="module")
def random_classifier(tmp_path_factory):
    return TumorClassifier.from_folder(write_random_weights(tmp_path_factory.mktemp("weights"), temperature=2.0))


@pytest.fixture
def slices():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in ((90, 70), (64, 64), (200, 120))]


def prediction(**probabilities) -> Prediction:
    return Prediction("accepted", "", "notumor", probabilities, 1.0, np.ones((4, 1, 1)), Window(0, 0, 1))


def test_calibration_is_softmax_of_the_logits_over_the_temperature(random_classifier):
    logits = np.random.default_rng(1).normal(0, 5, (6, 4)).astype(np.float32)
    expected = torch.from_numpy(logits / 2.0).softmax(1)
    np.testing.assert_allclose(random_classifier.calibrate(logits), expected, atol=1e-6)


def test_an_answer_does_not_depend_on_what_else_was_asked(random_classifier, slices):
    together = random_classifier.predict(slices)
    for pixels, among_others in zip(slices, together, strict=True):
        (alone,) = random_classifier.predict([pixels])
        assert alone.probabilities == among_others.probabilities
        assert np.array_equal(alone.evidence, among_others.evidence)


def test_evidence_is_a_share_of_each_class(random_classifier, slices):
    for answer in random_classifier.predict(slices):
        assert answer.evidence.shape == (len(CLASSES), 10, 10) and answer.evidence.min() >= 0
        np.testing.assert_allclose(answer.evidence.sum((1, 2)), 1, atol=1e-4)


def test_nothing_asked_nothing_answered(random_classifier):
    assert random_classifier.predict([]) == []


@pytest.mark.parametrize(
    ("brain_score", "top", "status"),
    [(0.1, 0.9, "refused"), (0.4, 0.9, "doubtful"), (0.9, 0.45, "doubtful"), (0.9, 0.9, "accepted")],
)
def test_status_follows_the_brain_score_then_the_top_probability(random_classifier, brain_score, top, status):
    got, reason = random_classifier.judge(np.full((4, 4), 9, dtype=np.uint8), brain_score, top)
    assert got == status and bool(reason) == (status != "accepted")


def test_a_blank_slice_is_refused_as_blank(random_classifier):
    (answer,) = random_classifier.predict([np.full((64, 64), 77, dtype=np.uint8)])
    assert answer.status == "refused" and "blank" in answer.reason


def test_a_tumor_can_be_seen_though_no_type_is_likelier_than_none():
    split = prediction(glioma=0.3, meningioma=0.2, pituitary=0.05, notumor=0.45)
    assert split.sees_tumor and split.likeliest_tumor == "glioma"
    assert split.tumor_probability == pytest.approx(0.55)
    assert not prediction(glioma=0.3, meningioma=0.1, pituitary=0.05, notumor=0.55).sees_tumor
    assert CLASSES[NO_TUMOR] == "notumor"


def test_json_of_a_prediction_holds_no_arrays(random_classifier, slices):
    (answer, *_) = random_classifier.predict(slices)
    assert json.loads(json.dumps(answer.as_dict()))["tumor_probability"] == answer.tumor_probability


def test_weights_without_a_name_are_damaged_not_a_crash(tmp_path):
    write_random_weights(tmp_path, temperature=1.0)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({key: value for key, value in config.items() if key != "name"}))
    with pytest.raises(DamagedWeights):
        TumorClassifier.from_folder(tmp_path)


def test_the_shipped_folder_stays_small_and_its_metrics_are_of_its_weights(weights):
    assert sum(file.stat().st_size for file in weights.iterdir() if "fp32" not in file.name) < 12e6
    digest = hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads((weights / "metrics.json").read_text())["weights_sha256"] == digest
