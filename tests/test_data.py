"""Reading data sets: layouts, groups and splits, what is reported, and the frames."""

import csv
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import preprocess
from training.data.frames import LABELS, DataError, load_frames, read_dataset, split_by_group, without_copies
from training.data.training_set import read_split
from training.settings import Settings, folders_in, without_places


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def save_table(path: Path, *rows: tuple) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def class_folders(tmp_path, draw_head):
    """Call with folder names: each gets four images of its own, twelve where the name speaks of training."""

    def make(*names: str) -> Path:
        for k, name in enumerate(names):
            for i in range(12 if "train" in name.lower() else 4):
                save(tmp_path / name / f"{i}.png", draw_head(100 * k + i))
        return tmp_path

    return make


def labels_by_folder(dataset) -> dict[str, str]:
    return {record.id.rsplit("/", 1)[0]: record.label for record in dataset.records}


# ---- layouts


def test_manifest_gives_all_that_it_knows(tmp_path, draw_head):
    for i in range(3):
        save(tmp_path / f"images/{i}.png", draw_head(i))
    save_table(
        tmp_path / "manifest.csv",
        ("path", "label", "source", "group", "split", "sequence"),
        ("images/0.png", "glioma", "clinic", "P:1", "train", "T1C+"),
        ("images/1.png", "no_tumor", "", "P:2", "Testing", ""),
        ("images/2.png", "yes", "web", "P:3", "validation", "T2"),
    )
    save_table(
        tmp_path / "boxes.csv",
        ("path", "x_center", "y_center", "width", "height"),
        ("images/0.png", 0.5, 0.4, 0.2, 0.1),
    )
    first, second, third = read_dataset(tmp_path).records
    assert first.path == tmp_path / "images/0.png"
    assert (first.label, first.source, first.group, first.split, first.sequence) == (
        "glioma",
        "clinic",
        "P:1",
        "train",
        "T1C+",
    )
    assert first.box == (0.5, 0.4, 0.2, 0.1) and second.box is None
    assert (second.label, second.source, second.split) == ("notumor", tmp_path.name, "test")
    assert (third.label, third.split) == ("tumor", "val")


def test_other_pathology_is_read_but_does_not_train(class_folders):
    dataset = read_dataset(class_folders("glioma", "other_pathology"))
    assert Counter(record.label for record in dataset.records) == {"glioma": 4, "other_pathology": 4}
    assert {record.label for record in dataset.trainable().records} == {"glioma"}
    assert load_frames(dataset, 32, 0.1).labels.tolist() == [0] * 4 + [-1] * 4


def test_class_folders_are_known_by_their_usual_spellings(class_folders):
    dataset = read_dataset(class_folders("Glioma_Tumor", "meningioma tumour", "pituitary", "no-tumor", "yes"))
    assert labels_by_folder(dataset) == {
        "Glioma_Tumor": "glioma",
        "meningioma tumour": "meningioma",
        "pituitary": "pituitary",
        "no-tumor": "notumor",
        "yes": "tumor",
    }


def test_vendor_test_is_kept_and_validation_comes_from_training(class_folders):
    dataset = read_dataset(class_folders("Training/glioma", "Training/notumor", "Testing/glioma", "Testing/notumor"))
    splits = defaultdict(set)
    for record in dataset.records:
        splits[record.id.split("/")[0]].add(record.split)
    assert splits == {"Training": {"train", "val"}, "Testing": {"test"}}
    assert dataset.where("Testing").records == dataset.where("test").records
    assert not dataset.problems


def test_groups_beside_class_folders_are_honored_and_a_leaking_vendor_split_is_named(class_folders):
    root = class_folders("train/yes", "train/no", "test/yes", "test/no")
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    save_table(root / "groups.csv", ("path", "group"), *[(file, f"P:{i % 8}") for i, file in enumerate(files)])
    dataset = read_dataset(root)
    assert {record.id: record.group for record in dataset.records} == {
        file: f"P:{i % 8}" for i, file in enumerate(files)
    }
    assert any("leaks: 8 of 8 test images" in problem for problem in dataset.problems)
    train, val = ({record.group for record in dataset.where(split).records} for split in ("train", "val"))
    assert not train & val


def test_a_validation_split_that_shares_people_with_training_is_named(tmp_path, draw_head):
    rows = ["path,label,group,split"]
    for k, (group, split) in enumerate([("a", "train"), ("b", "train"), ("a", "val"), ("c", "val"), ("d", "test")]):
        Image.fromarray(draw_head(k)).save(tmp_path / f"{k}.png")
        rows.append(f"{k}.png,glioma,{group},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    (problem,) = read_dataset(tmp_path).problems
    assert "leaks: 1 of 2 val images" in problem


@pytest.mark.parametrize("columns", [("Image", "Class"), ("filename", "tumor"), ("id", "label")])
def test_table_of_zeros_and_ones_labels_a_folder_of_images(tmp_path, draw_head, columns):
    for i in range(4):
        save(tmp_path / f"images/scan{i}.jpg", draw_head(i))
    rows = [("scan0", 0), ("scan1.jpg", 1), ("images/scan2.jpg", "1.0"), ("scan9", 1)]
    save_table(tmp_path / "labels.csv", columns, *rows)
    dataset = read_dataset(tmp_path)
    assert [record.label for record in dataset.records] == ["notumor", "tumor", "tumor"]
    assert any("scan9" in problem and "line 5" in problem for problem in dataset.problems)
    assert any("scan3.jpg has no row" in problem for problem in dataset.problems)


# ---- errors and reports


def test_folders_side_by_side_are_one_data_set_with_the_splits_of_each(tmp_path, draw_head):
    for part in ("pool", "lgg"):
        for i in range(3):
            save(tmp_path / part / f"img/{i}.png", draw_head(i + 10 * (part == "lgg")))
        table = [("path", "label", "group", "split", "source")]
        table += [(f"img/{i}.png", "glioma", f"P:{part}{i}", ("train", "val", "test")[i], part) for i in range(3)]
        save_table(tmp_path / part / "manifest.csv", *table)
        save_table(
            tmp_path / part / "boxes.csv",
            ("path", "x_center", "y_center", "width", "height"),
            ("img/1.png", 0.5, 0.5, 0.1, 0.1),
        )
    alone, both = (read_dataset(tmp_path / "pool", beside=beside) for beside in ((), [tmp_path / "lgg"]))
    assert both.records[:3] == alone.records and not both.problems
    joined = [(record.id, record.source, record.split, record.box is not None) for record in both.records[3:]]
    assert joined == [
        ("lgg/img/0.png", "lgg", "train", False),
        ("lgg/img/1.png", "lgg", "val", True),
        ("lgg/img/2.png", "lgg", "test", False),
    ]
    listed = f"{tmp_path}/pool, {tmp_path}/lgg"
    split = read_split(Settings(data=listed))
    assert split.records == both.records and without_places(listed) == "pool,lgg"
    with pytest.raises(DataError, match="would be the name of two images. Rename the folder"):
        read_dataset(tmp_path / "pool", beside=[tmp_path / "lgg", tmp_path / "lgg"])
    (tmp_path / "a,b").symlink_to(tmp_path / "pool")
    assert folders_in(str(tmp_path / "a,b")) == [tmp_path / "a,b"]


def test_unknown_class_folder_is_named_with_the_known_ones(class_folders):
    with pytest.raises(DataError, match=r"(?s)schwannoma.*unknown.*glioma_tumor"):
        read_dataset(class_folders("glioma", "schwannoma"))


def test_unknown_label_in_a_manifest_is_named_with_its_line(tmp_path):
    save_table(tmp_path / "manifest.csv", ("path", "label"), ("a.png", "gliomma"))
    with pytest.raises(DataError, match=r"line 2.*'gliomma' is unknown"):
        read_dataset(tmp_path)


def test_empty_class_folder_is_named(class_folders):
    root = class_folders("glioma", "notumor")
    (root / "pituitary").mkdir()
    with pytest.raises(DataError, match="pituitary is empty"):
        read_dataset(root)


def test_folder_of_no_known_layout_says_what_is_needed(tmp_path):
    (tmp_path / "stuff").mkdir()
    with pytest.raises(DataError, match=r"holds stuff.*manifest\.csv"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        read_dataset(tmp_path / "nowhere")


def test_missing_and_unreadable_and_loose_images_are_named(class_folders, tmp_path, draw_head):
    root = class_folders("yes", "no")
    (root / "yes" / "torn.png").write_bytes((root / "yes" / "0.png").read_bytes()[:200])
    save(root / "loose.png", draw_head(7))
    dataset = read_dataset(root)
    assert len(dataset.records) == 8
    assert any("torn.png is left out" in problem for problem in dataset.problems)
    assert any("loose.png lies in no class folder" in problem for problem in dataset.problems)

    save_table(root / "manifest.csv", ("path", "label", "group"), ("yes/0.png", "yes", 1), ("yes/gone.png", "yes", 2))
    assert any("gone.png does not exist" in problem for problem in read_dataset(root).problems)


def test_one_file_under_two_labels_is_reported(class_folders):
    root = class_folders("glioma", "meningioma", "tumor")
    content = (root / "glioma" / "1.png").read_bytes()
    (root / "meningioma" / "copy.png").write_bytes(content)
    (root / "tumor" / "copy.png").write_bytes(content)  # says less than glioma, and nothing against it
    problems = read_dataset(root).problems
    assert any("glioma/1.png (glioma) and meningioma/copy.png" in p and "are one file" in p for p in problems)
    assert not any("glioma/1.png (glioma) and tumor" in problem for problem in problems)


def test_asking_for_a_split_that_is_not_there_is_an_error(class_folders):
    dataset = read_dataset(class_folders("Testing/yes", "Testing/no"))
    assert len(dataset.where("test").records) == 8
    with pytest.raises(DataError, match="'train'"):
        dataset.where("train")
    with pytest.raises(DataError, match="names no split"):
        dataset.where("exam")


# ---- groups and splits


def test_no_planted_copy_crosses_a_split(tmp_path, draw_head):
    """Mirrored, re-encoded, smaller and brighter copies lie anywhere in plain class folders."""
    place = random.Random(0)
    for seed in range(60):
        pixels = draw_head(seed)
        folder = tmp_path / ("yes" if seed % 2 else "no")
        names = [f"{place.randrange(10**6):06}_{seed}" for _ in range(5)]
        small = Image.fromarray(pixels).resize((108, 120))
        save(folder / f"{names[0]}.png", pixels)
        save(folder / f"{names[1]}.png", pixels[:, ::-1])
        save(folder / f"{names[2]}.jpg", pixels, quality=60)
        save(folder / f"{names[3]}.png", np.asarray(small))
        save(folder / f"{names[4]}.jpg", (pixels * 0.6 + 40).astype(np.uint8)[::-1], quality=60)
    records = read_dataset(tmp_path).records
    of_original = defaultdict(set)
    for record in records:
        of_original[record.path.stem.split("_")[1]].add((record.group, record.split))
    assert len(records) == 300
    assert all(len(found) == 1 for found in of_original.values())
    assert len({record.group for record in records}) == 60  # different heads are not thrown together
    assert {record.split for record in records} == {"train", "val", "test"}


def test_an_image_without_group_joins_the_group_of_its_copy(tmp_path, draw_head):
    for i in range(3):
        save(tmp_path / f"{i}.png", draw_head(i))
    save(tmp_path / "copy.png", draw_head(1)[:, ::-1])
    rows = [("0.png", "yes", "A"), ("1.png", "yes", "B"), ("2.png", "no", ""), ("copy.png", "no", "")]
    save_table(tmp_path / "manifest.csv", ("path", "label", "group"), *rows)
    dataset = read_dataset(tmp_path)
    assert [record.group for record in dataset.records] == ["A", "B", "like 2.png", "B"]
    assert any("1.png (tumor) and copy.png (notumor) look like the same slice" in p for p in dataset.problems)


def test_splits_keep_groups_whole_and_shares_exact():
    rng = random.Random(1)
    groups = [f"g{rng.randrange(400)}" for _ in range(3000)]
    labels = [("rare", "common", "common", "common")[int(group[1:]) % 4] for group in groups]
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    splits = split_by_group(labels, groups, shares, seed=0)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    for label, total in Counter(labels).items():
        for split, share in shares.items():
            count = sum(pair == (label, split) for pair in zip(labels, splits, strict=True))
            assert abs(count - share * total) <= 10  # one group holds 7.5 images on average
    assert splits == split_by_group(labels, groups, shares, seed=0)
    assert splits != split_by_group(labels, groups, shares, seed=1)


def test_fingerprint_follows_content_and_not_place_or_order(class_folders, tmp_path_factory):
    root = class_folders("yes", "no")
    dataset = read_dataset(root)
    before = dataset.fingerprint()
    moved = tmp_path_factory.mktemp("elsewhere") / "set"
    root.rename(moved)
    again = read_dataset(moved)
    again.records.reverse()
    assert again.fingerprint() == before
    (moved / "yes" / "0.png").rename(moved / "no" / "00.png")
    assert read_dataset(moved).fingerprint() != before


# ---- frames


def test_frames_are_those_of_preprocess_and_boxes_follow_the_tumor(tmp_path):
    pixels = np.zeros((150, 200), dtype=np.uint8)
    pixels[20:130, 60:150] = 90
    pixels[40:60, 100:130] = 255  # the tumor: x 0.5 to 0.65, y 4/15 to 0.4
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "b.png", pixels[:, ::-1])
    save_table(tmp_path / "manifest.csv", ("path", "label", "group"), ("a.png", "glioma", "A"), ("b.png", "yes", "A"))
    save_table(
        tmp_path / "boxes.csv",
        ("path", "x_center", "y_center", "width", "height"),
        ("a.png", 0.575, 1 / 3, 0.15, 2 / 15),
    )
    frames = load_frames(read_dataset(tmp_path), 96, 0.1)
    assert frames.images.dtype == torch.uint8 and frames.boxes.dtype == torch.float32
    assert np.array_equal(frames.images[0], preprocess.frame(pixels, 96, 0.1)[0])
    rows, columns = np.nonzero(frames.images[0].numpy() > 200)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
    assert np.abs(frames.boxes[0].numpy() - seen).max() < 1.5 / 96
    assert frames.boxes[1].isnan().all()
    assert [LABELS[k] for k in frames.labels] == ["glioma", "tumor"]


def test_fingerprint_changes_with_pixels_even_where_the_file_size_does_not(tmp_path, draw_head):
    (tmp_path / "yes").mkdir()
    (tmp_path / "no").mkdir()
    for k, folder in enumerate(("yes", "no")):
        Image.fromarray(draw_head(k)).save(tmp_path / folder / "a.bmp")
    before = read_dataset(tmp_path).fingerprint()
    Image.fromarray(draw_head(7)).save(tmp_path / "yes" / "a.bmp")
    assert read_dataset(tmp_path).fingerprint() != before


def test_images_that_look_like_a_held_out_one_are_left_out_and_counted(tmp_path, draw_head):
    for k in range(8):
        Image.fromarray(draw_head(k)).save(tmp_path / f"train_{k}.png")
    Image.fromarray(draw_head(3)[:, ::-1]).save(tmp_path / "test_mirrored.jpg", quality=70)
    Image.fromarray(draw_head(50)).save(tmp_path / "test_other.png")
    Image.fromarray(draw_head(60)).save(tmp_path / "val_other.png")
    rows = [f"{path.name},notumor,{path.stem},{path.stem.split('_')[0]}" for path in sorted(tmp_path.iterdir())]
    (tmp_path / "manifest.csv").write_text("path,label,group,split\n" + "\n".join(rows) + "\n")
    dataset = read_dataset(tmp_path)
    kept = without_copies(dataset.where("train"), dataset.where("test").records)
    assert {record.id for record in kept.records} == {f"train_{k}.png" for k in range(8) if k != 3}
    assert any(problem.startswith("1 of 8 images") for problem in dataset.problems)


def test_unreadable_image_leaves_frames_and_records_alike_with_and_without_cache(tmp_path, draw_head):
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.png", draw_head(ord(name)))
    (tmp_path / "b.png").write_bytes(b"no image")
    rows = [(f"{name}.png", "yes", name, "test") for name in ("a", "b", "c")]
    save_table(tmp_path / "manifest.csv", ("path", "label", "group", "split"), *rows)
    cache = tmp_path / "cache"
    loaded = []
    for _ in range(2):  # the second time from the cache
        dataset = read_dataset(tmp_path)
        part = dataset.where("test")
        loaded.append(load_frames(part, 32, 0.1, cache))
        assert [record.id for record in part.records] == ["a.png", "c.png"]
        assert sum("b.png is left out" in problem for problem in dataset.problems) == 1
    assert torch.equal(loaded[0].images, loaded[1].images)
    assert len(list(cache.iterdir())) == 1


def test_cache_is_read_instead_of_the_images_and_only_for_the_same_framing(tmp_path, draw_head, monkeypatch):
    for i in range(2):
        save(tmp_path / f"{i}.png", draw_head(i))
    save_table(tmp_path / "manifest.csv", ("path", "label", "group"), ("0.png", "yes", 1), ("1.png", "no", 2))
    dataset = read_dataset(tmp_path)
    first = load_frames(dataset, 32, 0.1, tmp_path / "cache")
    monkeypatch.setattr("training.data.frames.scans.read", lambda path: pytest.fail(f"{path} was decoded again"))
    assert torch.equal(load_frames(dataset, 32, 0.1, tmp_path / "cache").images, first.images)
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        load_frames(dataset, 32, 0.2, tmp_path / "cache")


def test_no_readable_image_at_all_is_an_error(tmp_path):
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"No image can be read.*a\.png"):
        read_dataset(tmp_path)


# ---- the real data


def test_pool_is_read_with_its_own_groups_splits_and_boxes(shared_data):
    dataset = read_dataset(shared_data / "pool")
    assert len(dataset.records) == 5152 and not dataset.problems
    assert Counter(record.split for record in dataset.records) == {"train": 3625, "test": 767, "val": 760}
    assert sum(record.box is not None for record in dataset.records) == 3731
    split_of = defaultdict(set)
    for record in dataset.records:
        split_of[record.group].add(record.split)
    assert all(len(splits) == 1 for splits in split_of.values())


def test_vendor_split_of_the_kaggle_set_is_reported_as_leaking(shared_data):
    dataset = read_dataset(shared_data / "nickparvar")
    assert len(dataset.where("Testing").records) == 1311
    assert any("leaks: 1299 of 1311" in problem for problem in dataset.problems)
