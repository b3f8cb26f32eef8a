"""A user's own few images: what is refused before anything is trained, and how the rest is split and laid out."""

import csv
import shutil
from collections import defaultdict

import pytest
from PIL import Image

from training.data.frames import DataError, read_dataset
from training.own_images import MIN_GROUPS, OWN, lay_out, read_own_images

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


def write_table(file, *rows):
    with file.open("w", newline="") as table:
        csv.writer(table).writerows(rows)


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


def test_every_split_has_both_kinds_and_no_person_is_in_two(hospital):
    dataset = read_own_images(hospital)
    assert len(dataset.records) == 3 * PEOPLE and not dataset.problems
    assert all(len(splits) == 1 for splits in splits_by_group(dataset.records).values())
    for split, least in (("train", 15), ("val", 5), ("test", 8)):
        part = dataset.where(split).records
        assert len(part) >= least
        assert {record.label == "notumor" for record in part} == {True, False}


def test_one_kind_only_is_refused(images):
    shutil.rmtree(images / "notumor")
    assert "All 24 images are labeled tumor" in refusal(images)
    shutil.rmtree(images / "glioma")
    (images / "pituitary").rename(images / "no")
    assert "All 12 images are labeled no tumor" in refusal(images)


def test_too_few_people_are_refused(images):
    for k in range(MIN_GROUPS - 1, PEOPLE):
        (images / "notumor" / f"{k}.png").unlink()
    assert f"9 images with no tumor are of 9 groups (a person, or images that look the same); {MIN_GROUPS}" in (
        refusal(images)
    )


def test_copies_of_one_image_are_one_group_whatever_the_table_says(images):
    for k in range(1, PEOPLE):
        shutil.copy(images / "notumor" / "0.png", images / "notumor" / f"{k}.png")
    assert "12 images with no tumor are of 1 group (" in refusal(images)
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    write_table(images / "groups.csv", ("path", "group"), *[(file, f"P{k}") for k, file in enumerate(files)])
    assert "12 images with no tumor are of 1 group (" in refusal(images)


def test_images_of_a_person_named_in_the_table_stay_together(images):
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    write_table(images / "groups.csv", ("path", "group"), *[(file, f"P{k // 3}") for k, file in enumerate(files)])
    assert "24 images with tumor are of 8 groups" in refusal(images)


def test_unknown_labels_are_refused(images):
    (images / "glioma").rename(images / "schwannoma")
    assert "'schwannoma' is unknown" in refusal(images)


def test_unreadable_files_are_left_out_and_named(images):
    (images / "glioma" / "0.png").write_text("not a picture")
    (images / "notumor" / "1.png").write_bytes(b"")
    dataset = read_own_images(images)
    assert len(dataset.records) == 3 * PEOPLE - 2
    assert [any(name in problem for problem in dataset.problems) for name in ("glioma/0.png", "notumor/1.png")] == [
        True,
        True,
    ]


def test_files_none_of_which_can_be_read_are_refused(images):
    for file in images.rglob("*.png"):
        file.write_text("not a picture")
    assert "No image can be read" in refusal(images)


def test_a_test_split_that_came_with_the_images_is_kept(images):
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    rows = [(file, file.split("/")[0], "test" if file.endswith(("/0.png", "/1.png")) else "train") for file in files]
    write_table(images / "manifest.csv", ("path", "label", "split"), *rows)
    dataset = read_own_images(images)
    assert {r.id for r in dataset.where("test").records} == {path for path, _, split in rows if split == "test"}
    assert dataset.where("val").records


def test_a_split_with_a_person_on_both_sides_is_dealt_anew(images):
    shutil.copy(images / "glioma" / "0.png", images / "glioma" / "again.png")
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    rows = [(file, file.split("/")[0], "test" if file.endswith("/0.png") else "train") for file in files]
    write_table(images / "manifest.csv", ("path", "label", "split"), *rows)
    dataset = read_own_images(images)
    assert all(len(splits) == 1 for splits in splits_by_group(dataset.records).values())
    assert any("on both sides" in problem for problem in dataset.problems)


def test_a_split_without_healthy_images_is_refused(images):
    files = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    rows = [(file, file.split("/")[0], "test" if file.startswith("glioma") else "train") for file in files]
    write_table(images / "manifest.csv", ("path", "label", "split"), *rows)
    assert "No image with no tumor is left for the split 'test'" in refusal(images)


def test_what_is_laid_out_is_the_same_data_without_names(images, tmp_path):
    write_table(
        images / "boxes.csv", ("path", "x_center", "y_center", "width", "height"), ("glioma/3.png", 0.5, 0.4, 0.2, 0.1)
    )
    own = read_own_images(images)
    lay_out(own.records, tmp_path / "data")
    again = read_dataset(tmp_path / "data")
    assert not again.problems
    facts = [(r.label, r.split, r.box, r.path.read_bytes()) for r in own.records]
    assert [(r.label, r.split, r.box, r.path.read_bytes()) for r in again.records] == facts
    assert {r.source for r in again.records} == {OWN}
    assert len({r.group for r in again.records}) == len({r.group for r in own.records})
    assert "glioma/3.png" not in (tmp_path / "data" / "manifest.csv").read_text()
