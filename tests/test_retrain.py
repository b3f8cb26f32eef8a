"""Own images, the regression check, and what fine-tuning does around training; tests/test_retrain_service.py trains."""

import csv
import shutil
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.artifact import EMBEDDED
from training import retrain
from training.data.frames import read_dataset
from training.data.layouts import DataError
from training.data.phantoms import write_phantom_dataset
from training.evaluation.metrics import ratio
from training.retrain import (
    MIN_GROUPS,
    OWN,
    TITLES,
    Side,
    compare,
    fine_tuning,
    judge,
    lay_out,
    main,
    parse,
    prepare,
    read_own_images,
)

PEOPLE = 12  # of each class


@pytest.fixture(scope="module")
def hospital(tmp_path_factory, draw_head):
    """Class folders, one image of each person."""
    root = tmp_path_factory.mktemp("hospital")
    for number, label in enumerate(("glioma", "pituitary", "notumor")):
        (root / label).mkdir()
        for k in range(PEOPLE):
            Image.fromarray(draw_head(100 * number + k)).save(root / label / f"{k}.png")
    return root


@pytest.fixture
def images(hospital, tmp_path):
    """A copy to change."""
    return shutil.copytree(hospital, tmp_path / "images")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_phantom_dataset(tmp_path_factory.mktemp("original"), per_class=20, seed=3, size=64)


def write_groups(images, group_of):
    """groups.csv, with the group of each image by its number."""
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    with (images / "groups.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("path", "group"), *((file, group_of(k)) for k, file in enumerate(files))])


def splits_by_group(records):
    splits = defaultdict(set)
    for record in records:
        splits[record.group].add(record.split)
    return splits


def refusal(root):
    with pytest.raises(DataError) as caught:
        read_own_images(root)
    assert str(caught.value).endswith(".")
    return str(caught.value)


# ---- own images: what is refused before anything is trained, and how the rest is split and laid out


def test_every_split_has_both_kinds_and_no_person_is_in_two(hospital):
    dataset = read_own_images(hospital)
    assert len(dataset.records) == 3 * PEOPLE and not dataset.problems
    assert all(len(splits) == 1 for splits in splits_by_group(dataset.records).values())
    for split, least in (("train", 15), ("val", 5), ("test", 8)):
        part = dataset.where(split).records
        assert len(part) >= least
        assert {record.label == "notumor" for record in part} == {True, False}


def test_one_kind_only_and_unknown_labels_are_refused(images):
    shutil.move(images / "notumor", images.with_name("notumor"))
    assert "All 24 images are labeled tumor" in refusal(images)
    shutil.rmtree(images / "glioma")
    (images / "pituitary").rename(images / "no")
    assert "All 12 images are labeled no tumor" in refusal(images)
    (images / "no").rename(images / "schwannoma")
    shutil.move(images.with_name("notumor"), images)
    assert "'schwannoma' is unknown" in refusal(images)


def test_too_few_people_are_refused(images):
    for k in range(MIN_GROUPS - 1, PEOPLE):
        (images / "notumor" / f"{k}.png").unlink()
    sentence = f"9 images with no tumor are of 9 groups (a person, or images that look the same); {MIN_GROUPS}"
    assert sentence in refusal(images)
    write_groups(images, lambda k: f"P{k // 3}")
    assert "24 images with tumor are of 8 groups" in refusal(images)  # a person named in the table stays together


def test_copies_of_one_image_are_one_group_whatever_the_table_says(images):
    for k in range(1, PEOPLE):
        shutil.copy(images / "notumor" / "0.png", images / "notumor" / f"{k}.png")
    write_groups(images, lambda k: f"P{k}")
    assert "12 images with no tumor are of 1 group (" in refusal(images)


def test_unreadable_files_are_left_out_and_named_and_refused_if_there_are_no_others(images):
    (images / "glioma" / "0.png").write_text("not a picture")
    (images / "notumor" / "1.png").write_bytes(b"")
    dataset = read_own_images(images)
    assert len(dataset.records) == 3 * PEOPLE - 2
    assert all(
        name in problem for name, problem in zip(("glioma/0.png", "notumor/1.png"), dataset.problems, strict=True)
    )
    for file in images.rglob("*.png"):
        file.write_text("not a picture")
    assert "No image can be read" in refusal(images)


def test_what_is_laid_out_is_the_same_data_without_names(hospital, tmp_path):
    own = read_own_images(hospital)
    own.records[3] = replace(own.records[3], box=(0.5, 0.4, 0.2, 0.1))
    lay_out(own.records, tmp_path / "data")
    again = read_dataset(tmp_path / "data")
    assert not again.problems and {r.source for r in again.records} == {OWN}
    one, other = ([(r.label, r.split, r.box, r.path.read_bytes()) for r in data.records] for data in (own, again))
    assert one == other
    assert len(splits_by_group(again.records)) == len(splits_by_group(own.records))
    assert "glioma/3.png" not in (tmp_path / "data" / "manifest.csv").read_text()


def test_own_and_original_images_train_and_only_own_ones_are_compared(original, hospital, tmp_path, monkeypatch):
    monkeypatch.setattr(retrain, "REHEARSED", {"train": 20, "val": 8})
    prepare(read_own_images(hospital), read_dataset(original), tmp_path / "data", seed=0)
    dataset = read_dataset(tmp_path / "data")
    sources = {split: [r.source for r in dataset.where(split).records] for split in ("train", "val", "test")}
    assert set(sources["train"]) == set(sources["val"]) == {OWN, "phantom"} and set(sources["test"]) == {OWN}
    assert 15 <= sources["train"].count("phantom") <= 25
    assert {r.label for r in dataset.where("train").records} == {"glioma", "meningioma", "pituitary", "notumor"}
    held_out = {r.path.read_bytes() for r in read_dataset(original).where("test").records}
    assert not held_out & {r.path.read_bytes() for r in dataset.records}


def test_own_images_that_are_original_test_images_train_nothing(original, images, tmp_path):
    copied = read_dataset(original).where("test").records[0]
    own = read_own_images(images)
    copy = replace(copied, path=images / "glioma" / "copy.png", id="copy.png", source=OWN, group="copy", split="train")
    copy.path.write_bytes(copied.path.read_bytes())
    left = next(record for record in own.records if record.split == "train")
    own.records.append(copy)
    prepare(own, read_dataset(original), tmp_path / "data", seed=0)
    contents = {r.path.read_bytes() for r in read_dataset(tmp_path / "data").records}
    assert copied.path.read_bytes() not in contents and left.path.read_bytes() in contents
    assert "look the same" in (tmp_path / "own_images.txt").read_text()


# ---- regression check


def on_people(hits_before: list[int], hits_after: list[int], name: str = "sensitivity_tumor") -> dict:
    """The row of a metric that is the share of people with the correct answer, one image each."""

    def values(hits: list[int], weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: ratio(weights @ np.array(hits), weights.sum(1))}

    people = [str(k) for k in range(len(hits_before))]
    return compare(hits_before, hits_after, Side(people, {name: len(people)}, values))[name]


@pytest.mark.parametrize(
    ("people", "lost", "expected"),
    [
        (10, 0, "held"),
        (10, 1, "held"),  # one person may be chance
        (10, 2, "fell"),
        (5, 1, "held"),
        (5, 2, "fell"),
        (60, 1, "held"),
        (60, 2, "fell"),
        (110, 2, "held"),  # within the tolerance
        (100, 3, "fell"),
        (4, 0, "too few groups"),
        (4, 4, "fell"),  # however few
    ],
)
def test_a_metric_falls_when_more_than_chance_and_tolerance_is_lost(people, lost, expected):
    row = on_people([1] * people, [0] * lost + [1] * (people - lost))
    assert row["verdict"] == expected
    assert row["start"] == 1 and row["candidate"] == pytest.approx(1 - lost / people)
    assert row["difference"]["low"] <= row["difference"]["value"] <= row["difference"]["high"]


def test_what_is_lost_here_and_won_there_is_weighed_by_person_and_of_the_brier_score_less_is_better():
    assert on_people([1] * 5 + [0] * 5, [0] * 4 + [1] * 6)["verdict"] == "held"  # four lost, five won
    assert on_people([1] * 5 + [0] * 5, [0] * 5 + [1] * 2 + [0] * 3)["verdict"] == "fell"  # five lost, two won
    assert on_people([0] * 10, [1] * 10, "brier")["verdict"] == "fell"
    assert on_people([1] * 10, [0] * 10, "brier")["verdict"] == "held"


def test_a_metric_that_the_images_do_not_define_has_no_row():
    side = Side(["a"] * 6, {"recall_glioma": 0}, lambda _, weights: {"recall_glioma": np.full(len(weights), np.nan)})
    assert compare(None, None, side) == {}


def test_weights_are_worse_by_one_fallen_metric_and_promotable_if_each_held_somewhere():
    all_held = {name: on_people([1] * 10, [1] * 10, name) for name in TITLES}
    judged = judge({"own": all_held})
    assert judged["promotable"] and not judged["fell"] and not judged["not_told"]
    assert judged["sentences"] == ["It did not get worse by what could be measured: no compared metric fell."]

    fallen = {"specificity_tumor": on_people([1] * 10, [0] * 10, "specificity_tumor")}
    judged = judge({"own": all_held, "original": fallen})
    assert not judged["promotable"] and judged["fell"] == [["original", "specificity_tumor"]]
    assert judged["sentences"][0] == (
        "It got worse: on the original, true negatives at the operating point: 1.000 before, 0.000 now "
        "(-1.000, -1.000 to -1.000, 10 groups)."
    )

    few = all_held | {"recall_pituitary": on_people([1] * 2, [1] * 2, "recall_pituitary")}
    judged = judge({"own": few})
    assert not judged["promotable"] and not judged["fell"] and judged["not_told"] == ["recall_pituitary"]
    assert TITLES["recall_pituitary"] in judged["sentences"][1] and judged["sentences"][1].endswith(".")
    assert judge({"own": few, "original": {"recall_pituitary": all_held["recall_pituitary"]}})["promotable"]


# ---- the command line


def options(*more):
    return ["--data", "own", "--out", "run", *more]


def test_other_data_than_the_start_was_trained_on_is_refused_before_training(original, hospital, tmp_path, capsys):
    arguments = ["--data", str(hospital), "--out", str(tmp_path / "run"), "--original", str(original)]
    assert main(arguments) == 2
    assert "is not the data that tumornet" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_trained_on_is_a_sentence_and_exit_code_2(hospital, tmp_path, capsys):
    (tmp_path / "run" / "data").mkdir(parents=True)
    assert main(["--data", str(hospital), "--out", str(tmp_path / "run")]) == 2
    assert "already holds a run. Add --resume" in capsys.readouterr().err
    assert main(["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "new")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_head_trains_alone_at_first_and_the_steps_are_kept_whatever_the_images():
    settings, original, steps, resume = parse(options("--seed", "3"))
    assert settings.init == str(EMBEDDED) and 0 < settings.unfreeze_at < 1 and not original and not resume
    for images in (10, 100, 1000):
        run = fine_tuning(settings, settings.data, 64, images, steps)
        batches = run.epochs * int(np.ceil(images / run.batch))
        assert abs(batches - steps) < np.ceil(images / run.batch)
        assert run.patience == run.epochs and run.size == run.smallest_size == 64


@pytest.mark.parametrize("option", ["--size", "--folds", "--epochs", "--copies", "--epochz"])
def test_unknown_options_and_what_the_start_decides_are_refused(option):
    with pytest.raises(SystemExit):
        parse(options(option, "3"))
    with pytest.raises(ValueError):
        parse(options("--batch", "0"))
