"""Folds and left-out sources: who is held out, what is measured, and that no run is trained twice."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from model import CLASSES, NO_TUMOR
from training.data.frames import DataError, load_frames
from training.data.phantoms import write_phantom_dataset
from training.data.training_set import read_parts, read_split
from training.evaluation import cross_validate
from training.evaluation.cross_validate import Predictions, detected_at, folds_report, left_out_report, limit_for
from training.losses import PARTIAL
from training.network import STRIDE, TumorNet
from training.settings import Settings


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Drawn heads of three made-up sources and four sequences; one patient of "web" is also in "clinic"."""
    root = write_phantom_dataset(tmp_path_factory.mktemp("pool"), per_class=24, seed=7, size=64)
    with (root / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    patients = sorted({row["group"] for row in rows})
    for number, row in enumerate(rows):
        row["source"] = ("clinic", "web", "atlas")[patients.index(row["group"]) % 3]
        row["sequence"] = ("", "T1", "T1C+", "FLAIR")[number % 4]
    shared = next(row for row in rows if row["source"] == "web" and row["split"] == "train")
    partner = next(row for row in rows if row["source"] == "clinic" and row["split"] == "train")
    partner["group"] = shared["group"]
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def answers(p_tumor, labels, groups=None, sources=None, sequences=None, refused=False) -> Predictions:
    """Predictions with the given P(tumor), spread over the types so that the right one leads."""
    labels, p_tumor = np.asarray(labels), np.asarray(p_tumor, dtype=float)
    probabilities = np.repeat(p_tumor[:, None] / 4, 4, axis=1)
    probabilities[:, NO_TUMOR] = 1 - p_tumor
    probabilities[np.arange(len(labels)), np.where(labels < NO_TUMOR, labels, 0)] += p_tumor / 4
    n = len(labels)
    columns = {"groups": groups or [str(k) for k in range(n)], "sources": sources or ["here"] * n}
    columns |= {"sequences": sequences or [""] * n, "refused": np.broadcast_to(refused, n)}
    return Predictions(probabilities, labels, **{name: np.asarray(column) for name, column in columns.items()})


# ---- who is held out


def test_every_image_is_tested_once_and_validated_once_and_no_group_is_divided(pool):
    tested, validated = Counter(), Counter()
    for fold in range(4):
        records = read_split(Settings(data=str(pool), folds=4, fold=fold)).records
        assert records == read_split(Settings(data=str(pool), folds=4, fold=fold, seed=9)).records
        pairs = {(record.group, record.split) for record in records}
        assert len(pairs) == len({group for group, _ in pairs}), "a group is in one split"
        tested.update(record.id for record in records if record.split == "test")
        validated.update(record.id for record in records if record.split == "val")
        labels = Counter(record.label for record in records if record.split == "test")
        assert len(labels) == 4 and all(3 <= count <= 9 for count in labels.values()), "every fold holds every label"
    everything = {record.id for record in records}
    assert tested == validated == Counter(everything)


def test_a_source_left_out_is_tested_and_never_trained_or_validated_on(pool):
    dataset, training, validation = read_parts(Settings(data=str(pool), leave_out="web"))
    learned = [*training.records, *validation.records]
    assert {record.source for record in learned} == {"atlas", "clinic"}
    left_out = {record.group for record in dataset.records if record.source == "web"}
    assert not left_out & {record.group for record in learned}  # the patient in two sources is held out in both
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


def test_a_tumor_type_trains_in_the_named_sequences_alone_and_is_measured_in_all(pool):
    given, *_ = read_parts(Settings(data=str(pool)))
    known = {record.id: record for record in given.records}
    everything, *parts = read_parts(Settings(data=str(pool), typed="T1C+"))
    assert everything.records == given.records
    hidden = 0
    for record in (record for part in parts for record in part.records):
        before = known[record.id]
        hides = before.sequence in ("T1", "FLAIR") and before.label != "notumor"
        assert record == (dataclasses.replace(before, label="tumor") if hides else before)
        hidden += hides
    assert hidden > 5
    with pytest.raises(DataError, match=r"no sequence T1c; it has FLAIR, T1, T1C\+"):
        read_parts(Settings(data=str(pool), typed="T1c"))


@pytest.mark.parametrize("option", ["sources", "leave_out"])
def test_only_the_named_sources_are_used_and_an_unknown_one_is_named_beside_the_known_ones(pool, option):
    for part in read_parts(Settings(data=str(pool), sources="web, atlas")):
        assert {record.source for record in part.records} == {"atlas", "web"}
    with pytest.raises(DataError, match="no source wep; it has atlas, clinic, web"):
        read_split(Settings(data=str(pool), **{option: "atlas,wep"}))


@pytest.mark.parametrize("options", [{"folds": 2}, {"folds": 5, "fold": 5}, {"fold": 1}, {"folds": 3, "fold": -1}])
def test_impossible_folds_are_refused(options):
    with pytest.raises(ValueError, match="--fold"):
        Settings(**options)


# ---- what is measured


@pytest.mark.parametrize("seed", range(5))
def test_limit_is_the_lowest_with_enough_true_negatives(seed):
    rng = np.random.default_rng(seed)
    scores, counts = rng.integers(0, 12, 40) / 10, rng.integers(0, 3, (6, 40))
    for weights, limit in zip(counts, limit_for(scores, counts.astype(float), 0.9), strict=True):
        drawn = np.repeat(scores, weights)
        possible = [score for score in np.unique(drawn) if (drawn <= score).mean() >= 0.9]
        assert limit == min(possible)
    assert np.isnan(limit_for(scores, np.zeros((1, 40)), 0.95)).all(), "without normals there is none"


def test_tumors_are_detected_above_the_highest_normals_that_may_alarm():
    normals = answers(np.arange(40) / 100, [NO_TUMOR] * 40)
    tumors = answers([0.9, 0.375, 0.371, 0.2], [0, 1, PARTIAL, 2], groups=["a", "b", "c", "d"])
    found = detected_at(tumors, normals)  # 38 of 40 normals are at 0.37 or below
    assert found["sensitivity"]["value"] == 0.75 and (found["n"], found["n_groups"]) == (4, 4)
    assert found["sensitivity"]["low"] < 0.75 < found["sensitivity"]["high"]


def test_left_out_sources_are_measured_against_the_normals_of_the_others():
    labels = [NO_TUMOR] * 20 + [PARTIAL] * 4 + [PARTIAL] * 2 + [NO_TUMOR] * 2 + [0] * 5
    sources = ["base"] * 20 + ["x"] * 4 + ["y"] * 2 + ["x"] * 2 + ["base"] * 5
    p_tumor = [*np.arange(20) / 100, 0.9, 0.8, 0.7, 0.01, 0.6, 0.02, 0.05, 0.95, *[0.5] * 5]
    refused = [True] * 22 + [False] * 11  # two of the eight that are left out
    report = left_out_report(answers(p_tumor, labels, sources=sources, refused=refused), ["x", "y"])
    assert report["normals"] == {"n": 20, "n_groups": 20} and report["threshold"] == pytest.approx(0.18)
    others = [*p_tumor[:20], *[0.0] * 8, *p_tumor[28:]]
    again = left_out_report(answers(others, labels, sources=sources, refused=refused), ["x", "y"])
    assert again["threshold"] == report["threshold"], "it does not depend on what is left out"
    assert report["tumors"]["sensitivity"]["value"] == pytest.approx(4 / 6) and report["tumors"]["n"] == 6
    assert report["by_source"]["x"]["sensitivity"]["value"] == 0.75 and list(report["by_source"]) == ["x", "y"]
    assert report["own_normals"]["specificity"]["value"] == 0.5 and report["classes"] is None
    assert report["refused"]["value"] == 2 / 8 and report["refused"]["n"] == 8


def test_each_left_out_source_counts_once_in_the_score_and_its_sequences_are_reported(tmp_path, monkeypatch):
    labels = [NO_TUMOR] * 20 + [0, 0, NO_TUMOR, NO_TUMOR] * 2 + [NO_TUMOR] * 3 + [1] * 2
    sources = ["base"] * 20 + ["hospital"] * 8 + ["healthy"] * 3 + ["base"] * 2
    sequences = [""] * 20 + ["T1"] * 4 + ["FLAIR"] * 4 + ["T1"] * 3 + [""] * 2
    p_tumor = [*np.arange(20) / 100, 0.9, 0.8, 0.1, 0.2, 0.3, 0.9, 0.1, 0.4, 0.01, 0.02, 0.95, 0.9, 0.94]
    everything = answers(p_tumor, labels, sources=sources, sequences=sequences)
    monkeypatch.setattr(cross_validate, "predictions_of", lambda settings: everything)
    result = cross_validate.cross_validate(Settings(data="x", out=str(tmp_path)), ["hospital", "healthy"])
    report, healthy = json.loads(json.dumps(result["runs"]))
    assert {name: part["auc"]["value"] for name, part in report["by_sequence"].items()} == {"T1": 1, "FLAIR": 0.75}
    assert report["auc"]["value"] == pytest.approx(15 / 16) and report["own_normals"]["auc_tumor"] == report["auc"]
    assert report["classes"]["n"] == 8 and report["types"]["n"] == 4
    assert healthy["tumors"] is None and healthy["own_normals"]["specificity"]["value"] == pytest.approx(2 / 3)
    assert healthy["auc"]["value"] == pytest.approx(12 / 18), "against the tumors of the others"
    assert healthy["by_sequence"]["T1"] == {"auc": dict.fromkeys(("value", "low", "high"))}
    assert result["score"] == pytest.approx((15 / 16 + 12 / 18) / 2)
    with pytest.raises(DataError, match="normals"):
        left_out_report(answers([0.9], [0], sources=["web"]), ["web"])


def test_folds_of_tumors_alone_have_a_figure_for_their_types_only():
    folds = [answers([0.8] * 3, [0, 1, 2], groups=[f"{k}{i}" for i in range(3)]) for k in range(3)]
    report = json.loads(json.dumps(folds_report(folds)))
    assert report["types"]["balanced_accuracy"]["value"] == 1 and report["types"]["n"] == 9
    assert report["by_fold"][0]["auc_tumor"] is None


def test_a_run_refuses_what_is_no_brain_and_none_of_its_own_images(pool, tmp_path, monkeypatch):
    noise = torch.randint(0, 256, (30, 64, 64), dtype=torch.uint8)
    monkeypatch.setattr(cross_validate, "frames_of_others", lambda *_: noise[:20])
    settings = Settings(data=str(pool), size=64, cache=str(tmp_path))
    parts = [dataclasses.replace(part, records=part.records[:12]) for part in read_parts(settings)[1:]]
    torch.manual_seed(0)
    net = TumorNet().eval()
    shown = torch.cat((noise[20:], load_frames(parts[0], 64, 0.06).images[:10]))
    refused = cross_validate._refused(net, settings, *parts, cross_validate._outputs(net, shown)[1])
    assert refused[:10].all() and not refused[10:].any()


# ---- the command


def options_of(pool, tmp_path) -> list[str]:
    folders = {"data": pool, "out": tmp_path / "runs", "cache": tmp_path / "cache", "report": tmp_path / "report.json"}
    return [f"--{name}={value}" for name, value in (folders | {"size": 64, "init": "scratch"}).items()]


def test_a_finished_fold_is_not_trained_again(pool, tmp_path, monkeypatch, capsys):
    fitted = []

    def fit(settings, resume):
        fitted.append(settings.fold)
        if len(fitted) == 3:
            raise FloatingPointError("stopped in the third fold")
        Path(settings.out).mkdir(parents=True)
        torch.save(TumorNet().state_dict(), Path(settings.out) / "best.pt")
        return Path(settings.out)

    monkeypatch.setattr(cross_validate, "fit", fit)
    monkeypatch.setattr(cross_validate, "_outputs", lambda net, images: (torch.rand(len(images), 4), images))
    monkeypatch.setattr(cross_validate, "_refused", lambda *_: np.zeros(32, dtype=bool))
    options = [*options_of(pool, tmp_path), "--folds=3"]
    assert cross_validate.main(options) == 2 and "third fold" in capsys.readouterr().err
    assert cross_validate.main(options) == 0
    assert fitted == [0, 1, 2, 2]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["map_stride"] == STRIDE
    assert report["pooled"]["n"] == 96 and len(report["by_fold"]) == 3
    assert str(tmp_path) not in (tmp_path / "report.json").read_text()
    assert "macro_f1" in capsys.readouterr().out
    assert cross_validate.main([*options, "--learning_rate=0.5"]) == 2
    assert "--learning_rate" in capsys.readouterr().err and len(fitted) == 4


def test_sources_are_left_out_one_run_after_the_other(pool, tmp_path, monkeypatch, capsys):
    asked = []

    def instead_of_training(settings):
        asked.append((settings.leave_out, settings.out.rsplit("/", 1)[1]))
        Path(settings.out).mkdir(parents=True)
        records = read_split(settings).where("test").records
        labels = [CLASSES.index(record.label) for record in records]
        columns = ([getattr(record, name) for record in records] for name in ("group", "source", "sequence"))
        return answers(np.where(np.array(labels) == NO_TUMOR, 0.2, 0.7), labels, *columns)

    monkeypatch.setattr(cross_validate, "_trained_and_asked", instead_of_training)
    leave_out = ["--leave_out=web", "--leave_out=clinic,atlas"]
    assert cross_validate.main([*options_of(pool, tmp_path), *leave_out]) == 0
    assert asked == [("web", "without-web"), ("clinic,atlas", "without-clinic-atlas")]
    runs = json.loads((tmp_path / "report.json").read_text())["runs"]
    assert [run["left_out"] for run in runs] == [["web"], ["clinic", "atlas"]]
    printed = capsys.readouterr().out
    assert "web by_sequence FLAIR auc" in printed and "mean AUC" in printed


@pytest.mark.parametrize("more", [[], ["--folds=3", "--leave_out=web"]])
def test_folds_or_sources_must_be_named(pool, tmp_path, more):
    with pytest.raises(SystemExit):
        cross_validate.main([*options_of(pool, tmp_path), *more])
