"""What is said and drawn for a prediction, on predictions made by hand: no network."""

import json
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest

import app
from model import CLASSES, overlay, report, scans
from model.classifier import Prediction
from model.preprocess import Window

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 100), dtype=np.uint8)


def prediction(probabilities, status="accepted", reason=""):
    """A prediction whose evidence lies in another corner for each class."""
    evidence = np.zeros((len(CLASSES), 10, 10), np.float32)
    evidence[range(4), [1, 1, 8, 8], [1, 8, 1, 8]] = 1
    label = CLASSES[int(np.argmax(probabilities))]
    by_class = dict(zip(CLASSES, probabilities, strict=True))
    return Prediction(status, reason, label, by_class, 0.9, evidence, Window(-10, 0, 120))


@pytest.mark.parametrize(
    ("probabilities", "status", "words"),
    [
        ((0.9, 0.05, 0.03, 0.02), "accepted", "The model sees evidence of a glioma (90 %)."),
        ((0.01, 0.01, 0.02, 0.96), "accepted", "The model sees no evidence of a tumor (96 %)."),
        ((0.4, 0.15, 0.1, 0.35), "doubtful", "The model leans towards a glioma (40 %)."),
        ((0.15, 0.1, 0.05, 0.7), "doubtful", "The model leans towards no tumor (70 %)."),
        ((0.3, 0.2, 0.1, 0.4), "doubtful", "A tumor is more likely than not (60 %), but which one is open."),
    ],
)
def test_the_sentence_says_a_tumor_is_seen_exactly_if_it_counts_as_seen(probabilities, status, words):
    made = prediction(probabilities, status)
    assert report.sentence(made) == words
    assert made.sees_tumor == ("no evidence" not in words and "no tumor" not in words)


def test_the_sentence_for_a_refused_slice_is_its_reason():
    assert report.sentence(prediction((0.9, 0.05, 0.03, 0.02), "refused", "This is blank.")) == "This is blank."


@pytest.mark.parametrize(
    ("probabilities", "tumor"),
    [
        ((0.9, 0.05, 0.03, 0.02), "glioma"),
        ((0.05, 0.03, 0.9, 0.02), "pituitary"),
        ((0.2, 0.3, 0.1, 0.4), "meningioma"),  # the most probable class is "notumor", and yet a tumor is seen
        ((0.2, 0.1, 0.1, 0.6), None),
    ],
)
def test_the_page_draws_the_evidence_of_the_likeliest_tumor_exactly_if_one_is_seen(probabilities, tumor):
    made = prediction(probabilities)
    changes = app.findings(PIXELS, "a.png", made)
    assert (app.evidence_image in changes) == (app.legend in changes) == (tumor is not None)
    if tumor:
        drawn = changes[app.evidence_image]
        expected = overlay.evidence_picture(PIXELS, made.evidence[CLASSES.index(tumor)], made.window)
        np.testing.assert_array_equal(drawn.constructor_args["value"], expected)
        assert drawn.label.lower().startswith(f"evidence of {tumor}")


def test_an_entry_carries_the_probability_of_any_tumor():
    entry = json.loads(json.dumps(prediction((0.3, 0.2, 0.1, 0.4)).as_dict()))
    assert entry["tumor_probability"] == pytest.approx(0.6)


@pytest.mark.parametrize("reason", ["", "Read it with care."])
def test_the_card_has_a_caveat_only_if_there_is_one(reason):
    card = app.verdict_html("accepted", "a.png", "The model sees evidence of a glioma (90 %).", reason)
    assert ("<p>" in card) == bool(reason)


def test_an_unforeseen_exception_ends_the_waiting_and_keeps_its_text_to_itself(monkeypatch):
    def predict(slices):
        raise RuntimeError("secret")

    broken = Future()
    broken.set_result(SimpleNamespace(predict=predict))
    monkeypatch.setattr(app, "model", broken)
    answer = app.classify(scans.Scan([PIXELS], "a.png"))
    assert "Looking at the slice" in next(answer)[app.verdict]
    told = next(answer)[app.verdict]
    assert "Something went wrong" in told and "secret" not in told
    with pytest.raises(RuntimeError):  # for the log
        next(answer)
