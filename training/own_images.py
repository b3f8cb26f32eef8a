"""A user's own few images, checked before anything is trained, split by group, and laid out for one run of training.

Any layout of training/data/layouts.py will do. Images that look the same share a group, whatever groups were given, so that
no copy is on both sides. A split that came with the images is kept unless it tears a group apart. From the original
data, where it is at hand, some training and validation images join: a network that sees only a few new images forgets
what it knew of the others, and limits and thresholds fitted to a few are loose.
"""

import csv
import os
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from .data import duplicates
from .data.frames import Dataset, decoded, read_dataset, split_by_group
from .data.layouts import DataError, Record, read_records

KINDS = ("tumor", "no tumor")
SHARES = {"train": 0.5, "val": 0.2, "test": 0.3}  # of the images: a comparison needs more than training's usual 0.15
MIN_GROUPS = 10  # with a tumor, and as many without: 5 train, 2 calibrate, 3 compare
REHEARSED = {"train": 600, "val": 200}  # at most, of the original images: without them pituitary tumors were forgotten
OWN = "own images"  # as the source of a record is called


def read_own_images(root: Path, seed: int = 0) -> Dataset:
    """The labeled images below `root` that can be read, with groups and splits.

    Raises: DataError, a sentence, if they are too few, of one kind only, or cannot be used at all.
    """
    dataset = read_dataset(root, seed).trainable()
    given = {record.id: record.split for record in read_records(root)[0]}
    records = _with_copies_in_one_group(dataset)
    _check_groups(records)
    records = [replace(record, split=given[record.id]) for record in records]
    if _is_torn(records):
        dataset.problems.append(
            "The split that came with the images has the same person, or images that look the same, on both sides. "
            "It was not kept: the images were split anew, by group."
        )
        records = [replace(record, split="") for record in records]
    records = _with_splits(records, seed)
    _check_splits(records)
    return Dataset(root, records, dataset.problems)


def rehearsal(original: Dataset, seed: int = 0) -> list[Record]:
    """Training and validation images of `original`, whole groups of every label, as many as `REHEARSED` says."""
    chosen = []
    for split, count in REHEARSED.items():
        records = original.where(split).trainable().records
        share = min(1.0, count / len(records))
        labels, groups = [record.label for record in records], [record.group for record in records]
        parts = split_by_group(labels, groups, {"in": share, "out": 1 - share}, seed)
        chosen += [record for record, part in zip(records, parts, strict=True) if part == "in"]
    return chosen


def lay_out(records: list[Record], folder: Path) -> None:
    """Write `folder` as a data set of these images: links to them, manifest.csv and boxes.csv.

    Names and groups become numbers: what a user's files are called may say who is in them.
    """
    links = folder / "images"
    links.mkdir(parents=True)
    numbers = {group: number for number, group in enumerate(sorted({_group(record) for record in records}))}
    rows, boxes = [], []
    for number, record in enumerate(records):
        name = f"images/{number:05}"
        os.symlink(record.path.resolve(), folder / name)
        rows.append((name, record.label, record.source, numbers[_group(record)], record.split, record.sequence))
        if record.box:
            boxes.append((name, *record.box))
    _write(folder / "boxes.csv", ("path", "x_center", "y_center", "width", "height"), boxes)
    _write(folder / "manifest.csv", ("path", "label", "source", "group", "split", "sequence"), rows)


def _group(record: Record) -> tuple[bool, str]:
    """Apart for own and original images; those of the original sources may share people."""
    return record.source == OWN, record.group


def _write(file: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    with file.open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows((header, *rows))


def _with_copies_in_one_group(dataset: Dataset) -> list[Record]:
    """What can be read of `dataset`, its groups joined where their images look the same."""
    thumbnails, unreadable = decoded(dataset.records, duplicates.thumbnails)
    dataset.problems += [problem for problem in unreadable if problem not in dataset.problems]
    records = [dataset.records[i] for i in thumbnails]
    pairs = duplicates.near_pairs(np.stack(list(thumbnails.values())))
    first_of: dict[str, int] = {}
    links = [(i, j) for i, j, correlation in pairs if correlation > duplicates.SAME]
    links += [(first_of.setdefault(record.group, i), i) for i, record in enumerate(records)]
    first = duplicates.clusters(len(records), links)
    return [replace(record, group=records[k].group, source=OWN) for record, k in zip(records, first, strict=True)]


def _is_torn(records: list[Record]) -> bool:
    splits_of = defaultdict(set)
    for record in records:
        splits_of[record.group].add(record.split)
    return any(len(splits) > 1 for splits in splits_of.values())


def _with_splits(records: list[Record], seed: int) -> list[Record]:
    """Deal whole groups to the splits that were not given, from what was given to training or to none."""
    missing = {split: SHARES[split] for split in SHARES if split not in {record.split for record in records}}
    missing.pop("train", None)
    dealt = [i for i, record in enumerate(records) if record.split in ("", "train")]
    labels, groups = [records[i].label for i in dealt], [records[i].group for i in dealt]
    splits = split_by_group(labels, groups, {"train": 1 - sum(missing.values()), **missing}, seed)
    records = list(records)
    for i, split in zip(dealt, splits, strict=True):
        records[i] = replace(records[i], split=split)
    return records


def _check_groups(records: list[Record]) -> None:
    """Raises DataError if the images are of one kind only, or of too few groups of either."""
    kinds = _groups_by_kind(records)
    for kind, other in (KINDS, KINDS[::-1]):
        if not kinds[kind]:
            raise DataError(
                f"All {len(records)} images are labeled {other}: a network that sees one kind only forgets the other. "
                f"Add images with {kind}."
            )
    for kind in KINDS:
        groups = kinds[kind]
        if groups < MIN_GROUPS:
            images = sum(_kind(record) == kind for record in records)
            raise DataError(
                f"The {images} images with {kind} are of {groups} group{'' if groups == 1 else 's'} (a person, or "
                f"images that look the same); {MIN_GROUPS} are needed, so that some can be held out. Add images of "
                "other people."
            )


def _check_splits(records: list[Record]) -> None:
    """Raises DataError if a split lacks images with or without tumor."""
    for split in SHARES:
        kinds = _groups_by_kind([record for record in records if record.split == split])
        for kind in KINDS:
            if not kinds[kind]:
                raise DataError(
                    f"No image with {kind} is left for the split {split!r}. Add images, or leave the split to this "
                    "program: take the column `split` or the folders Training and Testing away."
                )


def _kind(record: Record) -> str:
    return KINDS[record.label == "notumor"]


def _groups_by_kind(records: list[Record]) -> Counter:
    """How many groups hold an image with, and without, a tumor."""
    return Counter(kind for kind, _ in {(_kind(record), record.group) for record in records})
