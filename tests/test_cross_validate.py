"""Folds and left-out sources: who is held out, what is measured, and that no run is trained twice."""

import csv
import dataclasses
import json
import shutil
from collections import Counter

import numpy as np
import pytest

from model import NO_TUMOR
from training import train
from training.data.frames import DataError
from training.data.phantoms import write_phantom_dataset
from training.data.training_set import read_parts, read_split
from training.evaluation import cross_validate
from training.evaluation.card import section
from training.evaluation.cross_validate import (
    Predictions,
    folds_report,
    given_to_truth,
    left_out_report,
    limit_for,
    seen_at,
    tumor_types,
)
from training.losses import PARTIAL
from training.network import STRIDE
from training.settings import Settings


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Drawn heads of three made-up sources; one patient of "web" is also in "clinic"."""
    root = write_phantom_dataset(tmp_path_factory.mktemp("pool"), per_class=24, seed=7, size=64)
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    patients = sorted({row["group"] for row in rows})
    for row in rows:
        row["source"] = ("clinic", "web", "atlas")[patients.index(row["group"]) % 3]
    shared = next(row for row in rows if row["source"] == "web" and row["split"] == "train")
    partner = next(row for row in rows if row["source"] == "clinic" and row["split"] == "train")
    partner["group"] = shared["group"]
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def split_of(pool, **options) -> dict[str, str]:
    return {record.id: record.split for record in read_split(Settings(data=str(pool), **options)).records}


def answers(p_tumor, labels, groups=None, sources=None, sequences=None) -> Predictions:
    """Predictions with the given P(tumor), spread over the types so that the right one leads."""
    labels, p_tumor = np.asarray(labels), np.asarray(p_tumor, dtype=float)
    probabilities = np.repeat(p_tumor[:, None] / 4, 4, axis=1)
    probabilities[:, NO_TUMOR] = 1 - p_tumor
    for row, label in zip(probabilities, labels, strict=True):
        row[label if label < NO_TUMOR else 0] += row[0] if label >= NO_TUMOR else row[label]
    names = np.array([str(k) for k in range(len(labels))])
    groups = names if groups is None else np.asarray(groups)
    sources = np.repeat("here", len(labels)) if sources is None else np.asarray(sources)
    sequences = np.repeat("", len(labels)) if sequences is None else np.asarray(sequences)
    return Predictions(probabilities, labels, names, groups, sources, sequences)


# ---- who is held out


def test_every_image_is_tested_once_and_validated_once_and_no_group_is_divided(pool):
    settings = Settings(data=str(pool), folds=4)
    tested, validated = Counter(), Counter()
    for fold in range(4):
        records = read_split(Settings(data=str(pool), folds=4, fold=fold)).records
        splits_of_group = {}
        for record in records:
            splits_of_group.setdefault(record.group, set()).add(record.split)
        assert all(len(splits) == 1 for splits in splits_of_group.values())
        tested.update(record.id for record in records if record.split == "test")
        validated.update(record.id for record in records if record.split == "val")
    everything = {record.id for record in read_split(settings).records}
    assert set(tested) == set(validated) == everything
    assert set(tested.values()) == set(validated.values()) == {1}


def test_folds_hold_every_label_alike(pool):
    for fold in range(3):
        records = read_split(Settings(data=str(pool), folds=3, fold=fold)).records
        labels = Counter(record.label for record in records if record.split == "test")
        assert len(labels) == 4 and all(6 <= count <= 10 for count in labels.values())


def test_folds_do_not_depend_on_the_seed_of_training(pool):
    assert split_of(pool, folds=5, fold=2, seed=0) == split_of(pool, folds=5, fold=2, seed=9)


def test_a_source_left_out_is_tested_and_never_trained_or_validated_on(pool):
    settings = Settings(data=str(pool), leave_out="web")
    dataset, training, validation = read_parts(settings)
    seen = [*training.records, *validation.records]
    assert {record.source for record in seen} == {"atlas", "clinic"}
    left_out = {record.group for record in dataset.records if record.source == "web"}
    assert not left_out & {record.group for record in seen}  # the patient in two sources is held out in both
    assert all(record.split == "test" for record in dataset.records if record.source == "web")


def test_images_that_are_set_aside_train_and_validate_nothing_but_are_tested(pool, tmp_path):
    everything, training, validation = read_parts(Settings(data=str(pool)))
    test = everything.where("test")
    aside = {part.records[0].id for part in (training, validation, test)}
    table = tmp_path / "doubtful.csv"
    table.write_text("path,seen\n" + "".join(f"{name},a lesion\n" for name in sorted(aside)))
    left, *parts = read_parts(Settings(data=str(pool), set_aside=str(table)))
    assert not aside & {record.id for part in parts for record in part.records}
    assert left.where("test").records == test.records
    table.write_text("name\nx\n")
    with pytest.raises(DataError, match="lacks the column path"):
        read_parts(Settings(data=str(pool), set_aside=str(table)))


def test_a_tumor_type_trains_in_the_named_sequences_alone_and_is_measured_in_all(pool, tmp_path):
    for name in ("manifest.csv", "boxes.csv"):
        shutil.copy(pool / name, tmp_path)
    (tmp_path / "phantom").symlink_to(pool / "phantom")
    rows = list(csv.DictReader((pool / "manifest.csv").open(newline="")))
    for number, row in enumerate(rows):
        row["sequence"] = ("", "T1", "T1C+", "FLAIR")[number % 4]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    given, *_ = read_parts(Settings(data=str(tmp_path)))
    known = {record.id: record for record in given.records}
    everything, *parts = read_parts(Settings(data=str(tmp_path), typed="T1C+"))
    assert everything.records == given.records
    hidden = 0
    for record in (record for part in parts for record in part.records):
        before = known[record.id]
        hides = before.sequence in ("T1", "FLAIR") and before.label != "notumor"
        assert record == (dataclasses.replace(before, label="tumor") if hides else before)
        hidden += hides
    assert hidden > 5
    with pytest.raises(DataError, match=r"no sequence T1c; it has FLAIR, T1, T1C\+"):
        read_parts(Settings(data=str(tmp_path), typed="T1c"))


def test_only_the_named_sources_are_used(pool):
    dataset, training, validation = read_parts(Settings(data=str(pool), sources="web, atlas"))
    for part in (dataset, training, validation):
        assert {record.source for record in part.records} == {"atlas", "web"}


@pytest.mark.parametrize("option", ["sources", "leave_out"])
def test_an_unknown_source_is_named_beside_the_known_ones(pool, option):
    with pytest.raises(DataError, match="no source wep; it has atlas, clinic, web"):
        read_split(Settings(data=str(pool), **{option: "atlas,wep"}))


@pytest.mark.parametrize("options", [{"folds": 2}, {"folds": 5, "fold": 5}, {"fold": 1}, {"folds": 3, "fold": -1}])
def test_impossible_folds_are_refused(options):
    with pytest.raises(ValueError, match="--fold"):
        Settings(**options)


# ---- what is measured


@pytest.mark.parametrize("seed", range(5))
def test_limit_is_the_lowest_that_leaves_enough_normals_alone(seed):
    rng = np.random.default_rng(seed)
    scores, counts = rng.integers(0, 12, 40) / 10, rng.integers(0, 3, (6, 40))
    for weights, limit in zip(counts, limit_for(scores, counts.astype(float), 0.9), strict=True):
        drawn = np.repeat(scores, weights)
        possible = [score for score in np.unique(drawn) if (drawn <= score).mean() >= 0.9]
        assert limit == min(possible)


def test_no_normals_have_no_limit():
    assert np.isnan(limit_for(np.array([0.1, 0.2]), np.zeros((1, 2)), 0.95)).all()


def test_tumors_are_seen_above_the_highest_normals_that_may_alarm():
    normals = answers(np.arange(40) / 100, [NO_TUMOR] * 40)
    tumors = answers([0.9, 0.375, 0.371, 0.2], [0, 1, PARTIAL, 2], groups=["a", "b", "c", "d"])
    found = seen_at(0.95, tumors, normals)  # 38 of 40 normals are at 0.37 or below
    assert found["sensitivity"]["value"] == 0.75 and (found["n"], found["n_groups"]) == (4, 4)
    assert found["sensitivity"]["low"] < 0.75 < found["sensitivity"]["high"]


def test_types_are_told_apart_among_tumors_only():
    mixed = answers([0.1, 0.2, 0.3, 0.9, 0.9], [0, 1, 2, NO_TUMOR, PARTIAL])
    report = tumor_types(mixed.probabilities, mixed.labels, mixed.groups)
    assert report["n"] == 3 and report["balanced_accuracy"]["value"] == 1
    assert set(report["recall"]) == {"glioma", "meningioma", "pituitary"}
    assert tumor_types(mixed.probabilities[3:], mixed.labels[3:], mixed.groups[3:]) is None


def test_a_constant_answer_gives_the_right_type_a_third_however_unequal_the_types():
    assert given_to_truth(np.full((6, 4), 1 / 3), np.array([0, 0, 0, 0, 1, 2]), list("abcdef"))[
        "value"
    ] == pytest.approx(1 / 3)
    leaning = np.tile([0.6, 0.3, 0.1, 0.0], (6, 1))
    assert given_to_truth(leaning, np.array([0, 0, 0, 0, 1, 2]), list("abcdef"))["value"] == pytest.approx(1 / 3)
    knowing = np.eye(4)[[0, 1, 2]] * 0.7 + 0.1
    assert given_to_truth(knowing, np.array([0, 1, 2]), list("abc"))["value"] == pytest.approx(0.8)


def test_left_out_sources_are_measured_against_the_normals_of_the_others():
    labels = [NO_TUMOR] * 20 + [PARTIAL] * 4 + [PARTIAL] * 2 + [NO_TUMOR] * 2 + [0] * 5
    sources = ["base"] * 20 + ["x"] * 4 + ["y"] * 2 + ["x"] * 2 + ["base"] * 5
    p_tumor = [*np.arange(20) / 100, 0.9, 0.8, 0.7, 0.01, 0.6, 0.02, 0.05, 0.95, *[0.5] * 5]
    report = left_out_report(answers(p_tumor, labels, sources=sources), ["x", "y"])
    assert report["normals"] == {"n": 20, "n_groups": 20, "by_source": {"base": 20}}
    assert report["threshold"] == pytest.approx(0.18) and report["specificity"] == 0.95
    assert report["tumors"]["sensitivity"]["value"] == pytest.approx(4 / 6) and report["tumors"]["n"] == 6
    assert report["by_source"]["x"]["sensitivity"]["value"] == 0.75
    assert report["own_normals"]["specificity"]["value"] == 0.5 and report["classes"] is None
    settings = {"epochs": 1, "size": 64, "seed": 0}
    text = section("leave_source_out", {"runs": [json.loads(json.dumps(report))], "settings": settings})
    assert "x + y" in text and "66.7 %" in text


def test_each_left_out_source_counts_once_in_the_score_and_its_sequences_are_told(tmp_path, monkeypatch):
    labels = [NO_TUMOR] * 20 + [0, 0, NO_TUMOR, NO_TUMOR] * 2 + [NO_TUMOR] * 3 + [1] * 2
    sources = ["base"] * 20 + ["hospital"] * 8 + ["healthy"] * 3 + ["base"] * 2
    sequences = [""] * 20 + ["T1"] * 4 + ["FLAIR"] * 4 + ["T1"] * 3 + [""] * 2
    p_tumor = [*np.arange(20) / 100, 0.9, 0.8, 0.1, 0.2, 0.3, 0.9, 0.1, 0.4, 0.01, 0.02, 0.95, 0.9, 0.94]
    everything = answers(p_tumor, labels, sources=sources, sequences=sequences)
    report = left_out_report(everything, ["hospital"])
    assert {name: part["auc"]["value"] for name, part in report["by_sequence"].items()} == {"T1": 1, "FLAIR": 0.75}
    assert report["auc"]["value"] == pytest.approx(15 / 16) and report["own_normals"]["auc_tumor"] == report["auc"]
    healthy = left_out_report(everything, ["healthy"])
    assert healthy["tumors"] is None and healthy["own_normals"]["specificity"]["value"] == pytest.approx(2 / 3)
    assert healthy["auc"]["value"] == pytest.approx(12 / 18), (
        "against the tumors of the others: 2 of 3 are below all six"
    )
    assert healthy["by_sequence"]["T1"] == {"n": 3, "auc": dict.fromkeys(("value", "low", "high"))}
    monkeypatch.setattr(cross_validate, "predictions_of", lambda settings: everything)
    result = cross_validate.cross_validate(Settings(data="x", out=str(tmp_path)), ["hospital", "healthy"])
    assert result["score"] == pytest.approx((15 / 16 + 12 / 18) / 2)
    text = section("leave_source_out", json.loads(json.dumps(result)))
    assert f"Mean AUC over what was left out: {result['score']:.3f}." in text and "FLAIR 0.750" in text


def test_left_out_classes_are_measured_where_there_are_several():
    labels, sources = [NO_TUMOR] * 20 + [0, 1, 2, NO_TUMOR], ["base"] * 20 + ["web"] * 4
    report = left_out_report(answers([0.1] * 20 + [0.9, 0.9, 0.9, 0.1], labels, sources=sources), ["web"])
    assert report["classes"]["macro_f1"]["value"] == 1 and report["classes"]["n"] == 4
    with pytest.raises(DataError, match="normals"):
        left_out_report(answers([0.9], [0], sources=["web"]), ["web"])


def test_folds_of_tumors_alone_have_a_figure_for_their_types_only():
    folds = [answers([0.8] * 3, [0, 1, 2], groups=[f"{k}{i}" for i in range(3)]) for k in range(3)]
    report = json.loads(json.dumps(folds_report(folds)))
    assert report["types"]["balanced_accuracy"]["value"] == 1 and report["types"]["n"] == 9
    assert report["by_fold"][0]["auc_tumor"] is None
    settings = {"epochs": 1, "size": 64, "seed": 0}
    text = section("folds", report | {"sources": ["figshare"], "settings": settings})
    assert "tumor types alone | 1.000" in text and "Macro-F1" not in text


# ---- the command


def options_of(pool, tmp_path) -> list[str]:
    tiny = {"size": 64, "smallest_size": 64, "epochs": 1, "batch": 32, "phantoms": 0, "init": "scratch"}
    options = {"data": pool, "out": tmp_path / "runs", "cache": tmp_path / "cache", "report": tmp_path / "report.json"}
    return [f"--{name}={value}" for name, value in (options | tiny).items()]


def test_a_finished_fold_is_not_trained_again(pool, tmp_path, monkeypatch, capsys):
    fitted = []

    def fit(settings, resume):
        fitted.append(settings.fold)
        if len(fitted) == 3:
            raise FloatingPointError("stopped in the third fold")
        return fit_for_real(settings, resume)

    fit_for_real = train.fit
    monkeypatch.setattr(train, "fit", fit)
    options = [*options_of(pool, tmp_path), "--folds=3"]
    assert cross_validate.main(options) == 2 and "third fold" in capsys.readouterr().err
    assert cross_validate.main(options) == 0
    assert fitted == [0, 1, 2, 2]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["map_stride"] == STRIDE
    assert report["pooled"]["n"] == 96 and sum(fold["n"] for fold in report["by_fold"]) == 96
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()
    assert "3 folds by group" in capsys.readouterr().out

    assert cross_validate.main([*options, "--learning_rate=0.5"]) == 2
    assert "--learning_rate" in capsys.readouterr().err and len(fitted) == 4


def test_sources_are_left_out_one_run_after_the_other(pool, tmp_path, monkeypatch, capsys):
    asked = []

    def instead_of_training(settings):
        asked.append((settings.leave_out, settings.out.rsplit("/", 1)[1]))
        records = read_split(settings).where("test").records
        labels = [["glioma", "meningioma", "pituitary", "notumor"].index(record.label) for record in records]
        p_tumor = np.where(np.array(labels) == NO_TUMOR, 0.2, 0.7)
        columns = ([getattr(record, name) for record in records] for name in ("group", "source"))
        return answers(p_tumor, labels, *columns)

    monkeypatch.setattr(cross_validate, "_trained_and_asked", instead_of_training)
    (tmp_path / "runs" / "without-web").mkdir(parents=True)
    (tmp_path / "runs" / "without-clinic-atlas").mkdir()
    leave_out = ["--leave_out=web", "--leave_out=clinic,atlas"]
    assert cross_validate.main([*options_of(pool, tmp_path), *leave_out]) == 0
    assert asked == [("web", "without-web"), ("clinic,atlas", "without-clinic-atlas")]
    runs = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert [run["left_out"] for run in runs] == [["web"], ["clinic", "atlas"]]
    assert set(runs[1]["by_source"]) == {"clinic", "atlas"} and "| web |" in capsys.readouterr().out


def test_folds_or_sources_must_be_named(pool, tmp_path):
    for more in ([], ["--folds=3", "--leave_out=web"]):
        with pytest.raises(SystemExit):
            cross_validate.main([*options_of(pool, tmp_path), *more])
