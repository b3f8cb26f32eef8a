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

BOX_COLUMNS = ("path", "x_center", "y_center", "width", "height")


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


@pytest.fixture
def listed(tmp_path, draw_head):
    """Call with columns and rows of a manifest, the path first: a folder with the table and an image for each row."""

    def make(columns: str, *rows: str, folder: Path = tmp_path) -> Path:
        for k, row in enumerate(rows):
            save(folder / row.split(",")[0], draw_head(k))
        (folder / "manifest.csv").write_text("\n".join((columns, *rows)) + "\n")
        return folder

    return make


# ---- layouts


def test_manifest_gives_all_that_it_knows(listed):
    root = listed(
        "path,label,source,group,split,sequence",
        *("images/0.png,glioma,clinic,P:1,train,T1C+", "images/1.png,no_tumor,,P:2,Testing,"),
        "images/2.png,yes,web,P:3,validation,T2",
    )
    box = (0.5, 0.4, 0.2, 0.1)
    save_table(
        root / "boxes.csv", BOX_COLUMNS, ("images/0.png", *box), ("images/1.png", 0.5, 0.4, "nan", 0.1), ("x", *box)
    )
    dataset = read_dataset(root)
    known = [(r.label, r.source, r.group, r.split, r.sequence, r.box) for r in dataset.records]
    assert known == [
        ("glioma", "clinic", "P:1", "train", "T1C+", box),
        ("notumor", root.name, "P:2", "test", "", None),
        ("tumor", "web", "P:3", "val", "T2", None),
    ]
    assert dataset.records[0].path == root / "images/0.png"
    assert len(dataset.problems) == 2 and "line 3: not four fractions" in dataset.problems[0]
    assert "names x, which is no image" in dataset.problems[1]


def test_class_folders_are_known_by_their_usual_spellings_and_other_pathology_does_not_train(class_folders):
    names = {"Glioma_Tumor": "glioma", "meningioma tumour": "meningioma", "other_pathology": "other_pathology"}
    names |= {"no-tumor": "notumor", "yes": "tumor"}
    dataset = read_dataset(class_folders(*names))
    assert {record.id.split("/")[0]: record.label for record in dataset.records} == names
    trainable = dataset.trainable().records
    assert trainable == [record for record in dataset.records if record.label != "other_pathology"]
    labels = load_frames(dataset, 32, 0.1).labels.tolist()
    assert labels == [LABELS.index(r.label) if r in trainable else -1 for r in dataset.records]


def test_vendor_test_is_kept_and_validation_comes_from_training(class_folders):
    dataset = read_dataset(class_folders("Training/glioma", "Training/notumor", "Testing/glioma", "Testing/notumor"))
    splits = {(record.id.split("/")[0], record.split) for record in dataset.records}
    assert splits == {("Training", "train"), ("Training", "val"), ("Testing", "test")}
    assert dataset.where("Testing").records == dataset.where("test").records and not dataset.problems


def test_groups_beside_class_folders_are_honored_and_a_leaking_vendor_split_is_named(class_folders):
    root = class_folders("train/yes", "train/no", "test/yes", "test/no")
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    groups = {file: f"P:{i % 8}" for i, file in enumerate(files)}
    save_table(root / "groups.csv", ("path", "group"), *groups.items())
    dataset = read_dataset(root)
    assert {record.id: record.group for record in dataset.records} == groups
    assert any("leaks: 8 of 8 test images" in problem for problem in dataset.problems)
    train, val = ({record.group for record in dataset.where(split).records} for split in ("train", "val"))
    assert not train & val


def test_a_validation_split_that_shares_people_with_training_is_named(listed):
    people = ("a,train", "b,train", "a,val", "c,val", "d,test")
    root = listed("path,label,group,split", *(f"{k}.png,glioma,{who}" for k, who in enumerate(people)))
    (problem,) = read_dataset(root).problems
    assert "leaks: 1 of 2 val images" in problem


@pytest.mark.parametrize("columns", [("Image", "Class"), ("id", "label")])
def test_table_of_zeros_and_ones_labels_a_folder_of_images(tmp_path, draw_head, columns):
    for i in range(4):
        save(tmp_path / f"images/scan{i}.jpg", draw_head(i))
    rows = [("scan0", 0), ("scan1.jpg", 1), ("images/scan2.jpg", "1.0"), ("scan9", 1)]
    save_table(tmp_path / "labels.csv", columns, *rows)
    dataset = read_dataset(tmp_path)
    assert [record.label for record in dataset.records] == ["notumor", "tumor", "tumor"]
    missing, unlisted = dataset.problems
    assert "line 5: scan9 does not exist" in missing and "scan3.jpg has no row" in unlisted


def test_folders_side_by_side_are_one_data_set_with_the_splits_of_each(tmp_path, listed):
    for part in ("pool", "lgg"):
        rows = [f"img/{i}.png,glioma,P:{part}{i},{split},{part}" for i, split in enumerate(("train", "val", "test"))]
        listed("path,label,group,split,source", *rows, folder=tmp_path / part)
        save_table(tmp_path / part / "boxes.csv", BOX_COLUMNS, ("img/1.png", 0.5, 0.5, 0.1, 0.1))
    alone, both = (read_dataset(tmp_path / "pool", beside=beside) for beside in ((), [tmp_path / "lgg"]))
    assert both.records[:3] == alone.records and not both.problems
    joined = [(record.id, record.source, record.split, record.box is not None) for record in both.records[3:]]
    assert joined == [(f"lgg/img/{i}.png", "lgg", split, i == 1) for i, split in enumerate(("train", "val", "test"))]
    folders = f"{tmp_path}/pool, {tmp_path}/lgg"
    assert read_split(Settings(data=folders)).records == both.records and without_places(folders) == "pool,lgg"
    with pytest.raises(DataError, match="would be the name of two images. Rename the folder"):
        read_dataset(tmp_path / "pool", beside=[tmp_path / "lgg", tmp_path / "lgg"])
    (tmp_path / "a,b").symlink_to(tmp_path / "pool")
    assert folders_in(str(tmp_path / "a,b")) == [tmp_path / "a,b"]


# ---- errors and reports


@pytest.mark.parametrize(
    "files, message",
    [
        ({"glioma/a.png": "", "schwannoma/a.png": ""}, r"schwannoma.*unknown.*glioma_tumor"),
        ({"manifest.csv": "path,label\na.png,gliomma\n"}, r"line 2.*'gliomma' is unknown"),
        ({"manifest.csv": "path\na.png\n"}, "lacks the column label; it has path"),
        ({"manifest.csv": b"\xff\xfe\x00"}, "is no CSV in UTF-8"),
        ({"a.png": "", "manifest.csv": "path,label\na.png,yes\na.png,no\n"}, "listed a second time"),
        ({"a.png": "", "manifest.csv": "path,label,split\na.png,yes,exam\n"}, "line 2: 'exam' names no split"),
        ({"manifest.csv": "path,label\na.png,yes\n"}, "lists no image that exists"),
        ({"glioma/a.png": "", "pituitary/.DS_Store": ""}, "pituitary is empty"),
        ({"train/yes/a.png": "", "more/yes/b.png": ""}, "more.*names no split"),
        ({"stuff/notes.txt": ""}, r"holds stuff.*manifest\.csv"),
        ({"yes/a.png": "no image"}, r"No image can be read.*a\.png"),
        ({}, "is not a folder"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(tmp_path, files, message):
    for name, content in files.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=f"(?s){message}"):
        read_dataset(tmp_path / "set")


def test_missing_and_unreadable_and_loose_images_are_named(class_folders, draw_head):
    root = class_folders("yes", "no")
    (root / "yes" / "torn.png").write_bytes((root / "yes" / "0.png").read_bytes()[:200])
    save(root / "loose.png", draw_head(7))
    dataset = read_dataset(root)
    assert len(dataset.records) == 8
    assert any("torn.png is left out" in problem for problem in dataset.problems)
    assert any("loose.png lies in no class folder" in problem for problem in dataset.problems)
    with pytest.raises(DataError, match="names no split"):
        dataset.where("exam")

    save_table(root / "manifest.csv", ("path", "label", "group"), ("yes/0.png", "yes", 1), ("yes/gone.png", "yes", 2))
    dataset = read_dataset(root)
    assert any("gone.png does not exist" in problem for problem in dataset.problems)
    with pytest.raises(DataError, match="no image in the split 'test'"):
        dataset.where("test")


# ---- groups and splits


def test_no_planted_copy_crosses_a_split(tmp_path, draw_head):
    """Mirrored, re-encoded, smaller and brighter copies lie anywhere in plain class folders."""
    place = random.Random(0)
    for seed in range(24):
        pixels = draw_head(seed)
        names = [tmp_path / ("yes" if seed % 2 else "no") / f"{place.randrange(10**6):06}_{seed}" for _ in range(4)]
        save(names[0].with_suffix(".png"), pixels)
        save(names[1].with_suffix(".png"), pixels[:, ::-1])
        save(names[2].with_suffix(".png"), np.asarray(Image.fromarray(pixels).resize((108, 120))))
        save(names[3].with_suffix(".jpg"), (pixels * 0.6 + 40).astype(np.uint8)[::-1], quality=60)
    records = read_dataset(tmp_path).records
    of_original = defaultdict(set)
    for record in records:
        of_original[record.path.stem.split("_")[1]].add((record.group, record.split))
    assert len(records) == 96 and all(len(found) == 1 for found in of_original.values())
    assert len({record.group for record in records}) == 24  # different heads are not thrown together
    assert {record.split for record in records} == {"train", "val", "test"}


def test_an_image_without_group_joins_the_group_of_its_copy(listed, draw_head):
    root = listed("path,label,group", "0.png,yes,A", "1.png,yes,B", "2.png,no,", "copy.png,no,")
    save(root / "copy.png", draw_head(1)[:, ::-1])
    dataset = read_dataset(root)
    assert [record.group for record in dataset.records] == ["A", "B", "like 2.png", "B"]
    (problem,) = dataset.problems
    assert "1.png (tumor) and copy.png (notumor) look like the same slice" in problem


def test_splits_keep_groups_whole_and_shares_exact():
    rng = random.Random(1)
    groups = [f"g{rng.randrange(400)}" for _ in range(3000)]
    labels = [("rare", "common", "common", "common")[int(group[1:]) % 4] for group in groups]
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    splits = split_by_group(labels, groups, shares, seed=0)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    counts, totals = Counter(zip(labels, splits, strict=True)), Counter(labels)
    for (label, split), count in counts.items():
        assert abs(count - shares[split] * totals[label]) <= 10  # one group holds 7.5 images on average
    assert splits == split_by_group(labels, groups, shares, seed=0)
    assert splits != split_by_group(labels, groups, shares, seed=1)


def test_fingerprint_follows_content_and_not_place_or_order(class_folders, draw_head, tmp_path_factory):
    root = class_folders("yes", "no")
    before = read_dataset(root).fingerprint()
    moved = root.rename(tmp_path_factory.mktemp("elsewhere") / "set")
    again = read_dataset(moved)
    again.records.reverse()
    assert again.fingerprint() == before
    save(moved / "yes" / "0.png", draw_head(41))
    changed = read_dataset(moved).fingerprint()
    (moved / "yes" / "1.png").rename(moved / "no" / "11.png")
    assert len({before, changed, read_dataset(moved).fingerprint()}) == 3


def test_images_that_look_like_a_held_out_one_are_left_out_and_counted(listed, draw_head):
    names = ["train_0.png", "train_1.png", "train_2.png", "test_mirrored.jpg", "test_other.png", "val_other.png"]
    root = listed("path,label,group,split", *(f"{n},notumor,{n},{n.split('_')[0]}" for n in names))
    save(root / "test_mirrored.jpg", draw_head(1)[:, ::-1], quality=70)
    dataset = read_dataset(root)
    kept = without_copies(dataset.where("train"), dataset.where("test").records)
    assert [record.id for record in kept.records] == ["train_0.png", "train_2.png"]
    assert any(problem.startswith("1 of 3 images") for problem in dataset.problems)


# ---- frames


def test_frames_are_those_of_preprocess_and_boxes_follow_the_tumor(listed):
    pixels = np.zeros((150, 200), dtype=np.uint8)
    pixels[20:130, 60:150] = 90
    pixels[40:60, 100:130] = 255  # the tumor: x 0.5 to 0.65, y 4/15 to 0.4
    root = listed("path,label,group", "a.png,glioma,A", "b.png,yes,A")
    save(root / "a.png", pixels)
    save_table(root / "boxes.csv", BOX_COLUMNS, ("a.png", 0.575, 1 / 3, 0.15, 2 / 15))
    frames = load_frames(read_dataset(root), 96, 0.1)
    assert frames.images.dtype == torch.uint8 and frames.boxes.dtype == torch.float32
    assert np.array_equal(frames.images[0], preprocess.frame(pixels, 96, 0.1)[0])
    rows, columns = np.nonzero(frames.images[0].numpy() > 200)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
    assert np.abs(frames.boxes[0].numpy() - seen).max() < 1.5 / 96
    assert frames.boxes[1].isnan().all()
    assert [LABELS[k] for k in frames.labels] == ["glioma", "tumor"]


def test_the_cache_gives_the_same_frames_and_never_stale_ones(listed, draw_head, monkeypatch):
    root = listed("path,label,group,split", *(f"{name}.png,yes,{name},test" for name in "abc"))
    (root / "b.png").write_bytes(b"no image")

    def load(margin: float = 0.1):
        part = read_dataset(root).where("test")
        frames = load_frames(part, 32, margin, root / "cache")
        assert [record.id for record in part.records] == ["a.png", "c.png"]
        assert sum("b.png is left out" in problem for problem in part.problems) == 1
        return frames

    first = load()
    with monkeypatch.context() as patched:
        patched.setattr("training.data.frames.scans.read", lambda path: pytest.fail(f"{path} was decoded again"))
        assert all(torch.equal(*pair) for pair in zip(first[::2], load()[::2], strict=True))
        with pytest.raises(pytest.fail.Exception, match="decoded again"):
            load(margin=0.2)
    save(root / "c.png", draw_head(9))
    changed = load()
    assert torch.equal(changed.images[0], first.images[0]) and not torch.equal(changed.images[1], first.images[1])


# ---- the real data


def test_pool_is_read_with_its_own_groups_splits_and_boxes(shared_data):
    dataset = read_dataset(shared_data / "pool")
    assert len(dataset.records) == 5152 and not dataset.problems
    assert Counter(record.split for record in dataset.records) == {"train": 3625, "test": 767, "val": 760}
    assert sum(record.box is not None for record in dataset.records) == 3731
    assert len({(record.group, record.split) for record in dataset.records}) == len({r.group for r in dataset.records})
