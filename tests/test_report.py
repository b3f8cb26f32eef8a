"""What is said of a prediction, on predictions made by hand: no network."""

import json

import numpy as np
import pytest

from model import report
from model.artifact import make_config
from tests.predictions import prediction

CONFIG = {
    "operating_point": {"threshold": 0.5, "sensitivity": 0.97, "specificity": 0.914},
    "prediction_set": {"coverage": 0.95, "keep_from": 0.3},
}


@pytest.mark.parametrize(
    ("probabilities", "status", "threshold", "words"),
    [
        ((0.9, 0.05, 0.03, 0.02), "accepted", 0.5, "The model sees evidence of a glioma (90 %)."),
        ((0.01, 0.01, 0.02, 0.96), "accepted", 0.5, "The model sees no evidence of a tumor (96 %)."),
        ((0.4, 0.15, 0.1, 0.35), "doubtful", 0.5, "The model leans towards a glioma (40 %)."),
        ((0.15, 0.1, 0.05, 0.7), "doubtful", 0.5, "The model leans towards no tumor (70 %)."),
        ((0.3, 0.2, 0.1, 0.4), "doubtful", 0.5, "A tumor is more likely than not (60 %), but which one is open."),
        (
            (0.2, 0.1, 0.0, 0.7),
            "doubtful",
            0.2,
            "A tumor cannot be ruled out (30 %), although its absence is more likely.",
        ),
        (
            (0.2, 0.1, 0.0, 0.7),
            "accepted",
            0.2,
            "A tumor cannot be ruled out (30 %), although its absence is more likely.",
        ),
        ((0.6, 0.1, 0.05, 0.25), "doubtful", 0.8, "The model leans towards a glioma (60 %)."),
        ((0.6, 0.1, 0.05, 0.25), "accepted", 0.8, "The model leans towards a glioma (60 %)."),
    ],
)
def test_the_sentence_follows_class_and_operating_point(probabilities, status, threshold, words):
    assert prediction(probabilities, status, threshold=threshold).sentence == words


def test_no_evidence_of_a_tumor_is_said_only_below_the_operating_point():
    rng = np.random.default_rng(3)
    for probabilities in rng.dirichlet([0.4, 0.2, 0.2, 1.2], 500):
        for status in ("accepted", "doubtful"):
            made = prediction(probabilities.tolist(), status, threshold=rng.uniform(0.05, 0.95))
            denied = "no evidence" in made.sentence or "no tumor" in made.sentence
            assert not (denied and made.sees_tumor)


def test_what_the_test_split_measured_is_printed_rather_than_what_chose_the_threshold():
    tested = CONFIG["operating_point"] | {"tested": {"sensitivity": 0.9, "specificity": 0.8}}
    (_, _, worth), _ = report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), CONFIG | {"operating_point": tested})
    assert worth == "sensitivity 90 %, specificity 80 %, on test patients"


def test_beside_the_answer_stand_operating_point_and_prediction_set_with_what_they_are_worth():
    assert report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), CONFIG) == [
        ("Tumor", "Seen: 90 %, where 50 % is enough", "sensitivity 97 %, specificity 91 %, on validation patients"),
        (
            "Possible",
            "Glioma or meningioma",
            "such a list holds the right answer for 95 % of slices like those of training",
        ),
    ]
    ((_, unseen, _), (_, possible, _)) = report.certainty(prediction((0.1, 0.01, 0.01, 0.88)), CONFIG)
    assert unseen == "Not seen: 12 %, where 50 % would be needed" and possible == "No tumor"


def test_what_was_not_measured_is_not_promised():
    config = make_config("", 64, 0.06)
    assert [worth for _, _, worth in report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), config)] == ["", ""]


def test_the_sentence_for_a_refused_slice_is_its_reason():
    assert prediction((0.9, 0.05, 0.03, 0.02), "refused", "This is blank.").sentence == "This is blank."


def test_an_entry_carries_the_probability_of_any_tumor():
    entry = json.loads(json.dumps(prediction((0.3, 0.2, 0.1, 0.4)).as_dict()))
    assert entry["tumor_probability"] == pytest.approx(0.6)
