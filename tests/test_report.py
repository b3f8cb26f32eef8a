"""Scans -> cases -> entries -> CSV, and the sentences in them: one bad scan costs itself, and no name does harm."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from model import report
from model.artifact import make_config
from model.report import CHUNK, NO_ANSWER, classify
from model.scans import Scan, Unreadable
from model.scans.scan import Omission
from tests.predictions import prediction

PIXELS = np.zeros((40, 40), np.uint8)
CLEAR, GLIOMA = (0.02, 0.02, 0.01, 0.95), (0.9, 0.05, 0.03, 0.02)


def answering(*probabilities):
    """A classifier that gives these answers in turn, and breaks down over slices that hold a 1."""
    turns = iter(probabilities)

    def predict(slices):
        if any(pixels.any() for pixels in slices):
            raise RuntimeError("secret")
        return [prediction(next(turns)) for _ in slices]

    return SimpleNamespace(predict=predict, config=make_config("", 64, 0.06), version="by hand")


def cases_of(classifier, found):
    return [case for _, case in classify(classifier, found) if case]


def test_one_bad_scan_costs_itself_and_its_exception_is_for_the_log(caplog):
    found = [Scan([PIXELS], "a"), Unreadable("b", "It is empty."), Scan([PIXELS + 1], "c"), Scan([PIXELS], "d")]
    cases = cases_of(answering(GLIOMA, CLEAR), found)
    assert [(case.name, case.status) for case in cases] == [
        ("a", "accepted"),
        ("b", "unreadable"),
        ("c", "failed"),
        ("d", "accepted"),
    ]
    assert [case.reason for case in cases] == ["", "It is empty.", NO_ANSWER, ""]
    assert "secret" in caplog.text
    assert all(case.verdict is None for case in cases[1:3])


def test_progress_counts_every_slice_and_ends_at_all_of_them():
    found = [Scan([PIXELS] * (2 * CHUNK + 3), "volume"), Scan([PIXELS + 1] * 2, "bad"), Scan([PIXELS], "slice")]
    steps = [answered for answered, _ in classify(answering(*[CLEAR] * 100), found)]
    assert steps == sorted(steps)
    assert {CHUNK, 2 * CHUNK, 2 * CHUNK + 3} <= set(steps)
    assert steps[-1] == 2 * CHUNK + 6


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize(
    ("left_out", "status"),
    [
        ({}, "accepted"),
        ({"omitted": (Omission(3, "They are localizers.", other_picture=True),)}, "accepted"),
        ({"omitted": (Omission(3, "The file is damaged."),)}, "doubtful"),
        ({"warnings": ("Two names.",)}, "doubtful"),
    ],
)
def test_a_verdict_over_a_part_of_a_scan_is_never_accepted_and_says_how_much_is_missing(count, left_out, status):
    classifier = answering(*[CLEAR] * count)
    point = {"sharpness": 1.0, "slope": 1.0, "intercept": 0.0, "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.9}
    classifier.config["study"] = point
    (case,) = cases_of(classifier, [Scan([PIXELS] * count, "scan", **left_out)])
    entry = report.entry(case, "by hand")
    assert (case.status, entry["status"], case.verdict.status) == (status, status, status)
    said = {"doubtful": entry["reason"], "accepted": " ".join(entry["notes"])}[status]
    for omission in left_out.get("omitted", ()):
        assert f"3 slices were left out. {omission.reason}" in said
        assert entry["omitted"] == [omission._asdict()]
    assert all(warning in said for warning in left_out.get("warnings", ()))


@pytest.fixture
def entries():
    found = [
        Scan([PIXELS] * 2, "v.nii", plane="axial", spacing=(5.0, 1.0), kind="NIfTI", assumptions=("A note.",)),
        Scan([PIXELS], "=1+1.png", kind="PNG"),
        Unreadable("-2.dcm", "It is empty."),
    ]
    return [report.entry(case, "by hand") for case in cases_of(answering(CLEAR, GLIOMA, CLEAR), found)]


def test_an_entry_is_json_with_the_study_and_its_slices(entries):
    volume, single, unreadable = json.loads(json.dumps(entries))
    assert volume["study"] == {"suspicious": [2], "judged": 2, "refused": 0}
    assert [made["slice"] for made in volume["slices"]] == [1, 2]
    assert (volume["kind"], volume["plane"], volume["spacing"]) == ("NIfTI", "axial", [5.0, 1.0])
    assert volume["notes"] == ["A note."] and volume["sentence"].endswith(".")
    assert single["study"] is None and single["label"] == "notumor" == single["slices"][0]["label"]
    assert unreadable["slices"] == [] and unreadable["reason"] == unreadable["sentence"] == "It is empty."
    assert all(unreadable[name] is None for name in ("label", "probabilities", "tumor_probability", "sees_tumor"))


def test_no_cell_of_the_csv_is_a_formula(entries):
    out = io.StringIO()
    report.write_csv(entries, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [(row["file"], row["slice"]) for row in rows] == [
        ("v.nii", "all"),
        ("v.nii", "1"),
        ("v.nii", "2"),
        ("'=1+1.png", "1"),
        ("'-2.dcm", ""),
    ]
    assert not any(cell.startswith(report.FORMULA_STARTS) for row in rows for cell in row.values())


# what is said of a prediction

CONFIG = {
    "operating_point": {"threshold": 0.5, "sensitivity": 0.97, "specificity": 0.914},
    "prediction_set": {"coverage": 0.95, "keep_from": 0.3},
}
RULED_OUT = "A tumor cannot be ruled out (30 %), although its absence is more likely."


@pytest.mark.parametrize(
    ("probabilities", "status", "threshold", "words"),
    [
        ((0.9, 0.05, 0.03, 0.02), "accepted", 0.5, "The model sees evidence of a glioma (90 %)."),
        ((0.9, 0.05, 0.03, 0.02), "refused", 0.5, "Why."),
        ((0.01, 0.01, 0.02, 0.96), "accepted", 0.5, "The model sees no evidence of a tumor (96 %)."),
        ((0.4, 0.15, 0.1, 0.35), "doubtful", 0.5, "The model leans towards a glioma (40 %)."),
        ((0.15, 0.1, 0.05, 0.7), "doubtful", 0.5, "The model leans towards no tumor (70 %)."),
        ((0.3, 0.2, 0.1, 0.4), "doubtful", 0.5, "A tumor is more likely than not (60 %), but which one is open."),
        ((0.2, 0.1, 0.0, 0.7), "doubtful", 0.2, RULED_OUT),
        ((0.2, 0.1, 0.0, 0.7), "accepted", 0.2, RULED_OUT),
        ((0.6, 0.1, 0.05, 0.25), "accepted", 0.8, "The model leans towards a glioma (60 %)."),
    ],
)
def test_the_sentence_follows_class_and_operating_point(probabilities, status, threshold, words):
    assert prediction(probabilities, status, "Why." * (status == "refused"), threshold=threshold).sentence == words


def test_no_evidence_of_a_tumor_is_said_only_below_the_operating_point():
    rng = np.random.default_rng(3)
    for probabilities in rng.dirichlet([0.4, 0.2, 0.2, 1.2], 500):
        for status in ("accepted", "doubtful"):
            made = prediction(probabilities.tolist(), status, threshold=rng.uniform(0.05, 0.95))
            denied = "no evidence" in made.sentence or "no tumor" in made.sentence
            assert not (denied and made.sees_tumor)


def test_beside_the_answer_stand_operating_point_and_prediction_set_with_what_they_are_worth():
    assert report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), CONFIG) == [
        ("Tumor", "Detected: 90 %, where 50 % is enough", "sensitivity 97 %, specificity 91 %, on validation patients"),
        (
            "Possible",
            "Glioma or meningioma",
            "such a list holds the right answer for 95 % of slices like those of training",
        ),
    ]
    tested = CONFIG["operating_point"] | {"tested": {"sensitivity": 0.9, "specificity": 0.8}}
    (_, _, worth), _ = report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), CONFIG | {"operating_point": tested})
    assert worth == "sensitivity 90 %, specificity 80 %, on test patients"
    unmeasured = report.certainty(prediction((0.5, 0.3, 0.1, 0.1)), make_config("", 64, 0.06))
    assert [worth for _, _, worth in unmeasured] == ["", ""]
    ((_, unseen, _), (_, possible, _)) = report.certainty(prediction((0.1, 0.01, 0.01, 0.88)), CONFIG)
    assert unseen == "Not detected: 12 %, where 50 % would be needed" and possible == "No tumor"
