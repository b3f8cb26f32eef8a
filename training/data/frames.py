"""A folder of labeled images -> records with groups and splits -> the frames that the network sees, in memory.

    dataset = read_dataset(Path("../shared/data/pool"))     # the four layouts are described in training/data/layouts.py
    train = dataset.where("train").trainable()
    frames = load_frames(train, size=160, margin=0.06, cache_dir=Path("runs/cache"))

Missing groups are found by near-duplicates (training/data/duplicates.py), and missing splits made from whole groups,
so that no person is on both sides. Whatever is left out is named in `Dataset.problems`.
"""

import hashlib
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from model import preprocess, scans

from . import duplicates
from .layouts import LABELS, DataError, Record, read_records, split_named

HELD_OUT = {"val": 0.15, "test": 0.15}  # shares of the images; what the publisher's split lacks is taken from train


@dataclass
class Dataset:
    """Images of one root. `problems`: a sentence for each thing left out or odd; parts of a data set share one list."""

    root: Path
    records: list[Record]
    problems: list[str] = field(default_factory=list)

    def where(self, split: str) -> "Dataset":
        """The records of one split, "train", "val" or "test" (also as publishers write it, "Testing").

        Raises: DataError if there is no such split, or nothing in it.
        """
        wanted = split_named(split)
        return self._part([record for record in self.records if record.split == wanted], f"in the split {wanted!r}")

    def trainable(self) -> "Dataset":
        """The records whose label is one of `LABELS`: those of `OTHER` are for measuring only."""
        return self._part([record for record in self.records if record.label in LABELS], f"labeled {', '.join(LABELS)}")

    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the data set is: id, label, group, split and content of every image, in any order."""
        facts = sorted(
            (r.id, r.label, r.group, r.split, hashlib.sha256(r.path.read_bytes()).hexdigest()) for r in self.records
        )
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _part(self, records: list[Record], what: str) -> "Dataset":
        if not records:
            raise DataError(f"{self.root} has no image {what}.")
        return Dataset(self.root, records, self.problems)


class Frames(NamedTuple):
    """Framed heads, of a data set or a batch, and what is known of them."""

    images: torch.Tensor  # uint8 (N, size, size)
    boxes: torch.Tensor  # float32 (N, 4): left, top, right, bottom of the tumor, fractions of the frame; NaN if unknown
    labels: torch.Tensor  # int64 (N,): index into LABELS, -1 for OTHER, or where there is no head


def read_dataset(root: Path, seed: int = 0, beside: Sequence[Path] = ()) -> Dataset:
    """Read any of the layouts in training/data/layouts.py; find groups and make splits where they are not given.

    Images of the folders `beside` join, their ids led by the folder's name; groups of one name are one person, wherever
    they lie, but splits are made for each folder by itself. A publisher's split is kept, even where it leaks
    (`problems` then says so); what it lacks of validation and test is taken from its training part, by group. `seed`
    decides which groups.

    Raises: DataError if the data set as a whole cannot be used. Single files that cannot are named in `problems`.
    """
    records, problems = read_records(Path(root))
    part_of = dict.fromkeys((record.id for record in records), root)
    for folder in beside:
        more, sentences = read_records(folder)
        more = [replace(record, id=f"{folder.resolve().name}/{record.id}") for record in more]
        if twice := [record.id for record in more if record.id in part_of]:
            raise DataError(f"{twice[0]} would be the name of two images. Rename the folder {folder}.")
        records, problems = records + more, problems + sentences
        part_of |= dict.fromkeys((record.id for record in more), folder)
    if not all(record.group for record in records):
        records = _with_found_groups(records, problems)
    problems += _leaks(records)
    parts = ([record for record in records if part_of[record.id] == part] for part in dict.fromkeys((root, *beside)))
    return Dataset(Path(root), [record for part in parts for record in _with_splits(part, seed)], problems)


def load_frames(dataset: Dataset, size: int, margin: float, cache_dir: Path | None = None) -> Frames:
    """Decode and frame every image of the data set, or take the frames from `cache_dir` if they are there.

    An image that cannot be read leaves `dataset.records` and is named in `dataset.problems`.

    Args: `size` of a frame in pixels and `margin` around the head, as in `model.preprocess.frame`.
    Raises: DataError if no image can be read.
    """
    rules = [*sorted(Path(scans.__file__).parent.rglob("*.py")), Path(preprocess.__file__)]  # others make other frames
    key = hashlib.sha256(f"{dataset.fingerprint()} {size} {margin} ".encode())
    for file in rules:
        key.update(file.read_bytes())
    cache = Path(cache_dir) / f"frames-{key.hexdigest()[:16]}.pt" if cache_dir else None
    if cache and cache.exists():
        images, windows, problems = torch.load(cache, weights_only=True)
    else:
        framed, problems = decoded(
            dataset.records, lambda pixels: (*preprocess.frame(pixels, size, margin), pixels.shape)
        )
        images = torch.from_numpy(np.stack([image for image, _, _ in framed.values()]))
        windows = {i: [float(x) for x in (*window, *shape)] for i, (_, window, shape) in framed.items()}
        if cache:
            cache.parent.mkdir(parents=True, exist_ok=True)
            unfinished = cache.with_suffix(f".{os.getpid()}.tmp")  # two runs may fill the cache at once
            torch.save((images, windows, problems), unfinished)
            os.replace(unfinished, cache)
    dataset.records[:] = [dataset.records[i] for i in windows]
    dataset.problems += [problem for problem in problems if problem not in dataset.problems]
    boxes = [_box_in_frame(r.box, *window) for r, window in zip(dataset.records, windows.values(), strict=True)]
    labels = [LABELS.index(record.label) if record.label in LABELS else -1 for record in dataset.records]
    return Frames(images, torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels))


def without_copies(dataset: Dataset, held_out: Sequence[Record]) -> Dataset:
    """`dataset` without the images that show the same slice as one of `held_out`, mirrored or re-encoded ones too.

    Groups should keep copies together; where they were given and do not, the figures on `held_out` would flatter. How
    many images this drops is told in `problems`.
    """
    own = len(dataset.records)
    made, _ = decoded([*dataset.records, *held_out], duplicates.thumbnails)
    indices = sorted(made)
    pairs = duplicates.near_pairs(np.stack([made[i] for i in indices]))
    found = [(indices[i], indices[j]) for i, j, correlation in pairs if correlation > duplicates.SAME]
    copies = {i for i, j in found if i < own <= j}
    if not copies:
        return dataset
    dataset.problems.append(
        f"{len(copies)} of {own} images were left out: held-out images of other groups look the same."
    )
    return Dataset(dataset.root, [r for i, r in enumerate(dataset.records) if i not in copies], dataset.problems)


# ---- pixels


def decoded(records: Sequence[Record], work: Callable[[np.ndarray], object]) -> tuple[dict[int, object], list[str]]:
    """`work` on the pixels of every readable record, by its index; and a sentence for each that is not, or not in full.

    Raises: DataError if nothing can be read.
    """

    def of_one(record: Record) -> tuple[object, str]:
        try:
            slices = scans.read(record.path).slices
        except scans.UnreadableScan as error:
            return None, f"{record.path} is left out. {error}"
        more = f"{record.path} has {len(slices)} slices; only the first is used." if len(slices) > 1 else ""
        return work(slices[0]), more

    with ThreadPoolExecutor() as pool:  # decoding and resizing release the interpreter's lock
        outcomes = list(pool.map(of_one, records))
    results = {i: result for i, (result, _) in enumerate(outcomes) if result is not None}
    problems = [sentence for _, sentence in outcomes if sentence]
    if not results:
        raise DataError(f"No image can be read. The first of {len(problems)} problems: {problems[0]}")
    return results, problems


def _box_in_frame(
    box: tuple[float, float, float, float] | None, left: float, top: float, side: float, height: float, width: float
) -> list[float]:
    """A box in fractions of the slice -> left, top, right, bottom in fractions of the frame, cut at its edges."""
    if box is None:
        return [float("nan")] * 4
    x_center, y_center, box_width, box_height = box
    xs = [((x_center + sign * box_width / 2) * width - left) / side for sign in (-1, 1)]
    ys = [((y_center + sign * box_height / 2) * height - top) / side for sign in (-1, 1)]
    return [min(max(value, 0.0), 1.0) for value in (xs[0], ys[0], xs[1], ys[1])]


# ---- groups and splits


def split_by_group(
    labels: Sequence[str], groups: Sequence[str], shares: Mapping, seed: int, largest_first: bool = False
) -> list:
    """Deal groups to splits so that every label comes as close to the shares as whole groups allow.

    Groups are dealt in random order, each to the split that still lacks most of the group's labels; with
    `largest_first` in order of their size, so that the small ones even out what the large ones left uneven.

    Args: `labels` and `groups`, one of each an image; `shares`, split -> share of the images, sums to 1.
    Returns: the split of each image; the same for the same arguments on every machine.
    """
    totals = Counter(labels)
    contents: dict[str, Counter] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        contents[group][label] += 1
    wanted = {split: {label: share * n for label, n in totals.items()} for split, share in shares.items()}

    order = sorted(contents)
    random.Random(seed).shuffle(order)
    if largest_first:
        order.sort(key=lambda group: -contents[group].total())
    split_of = {}
    for group in order:
        content = contents[group]
        lack = {
            split: sum(n * need[label] / totals[label] for label, n in content.items())
            for split, need in wanted.items()
        }
        split_of[group] = max(lack, key=lack.__getitem__)
        for label, n in content.items():
            wanted[split_of[group]][label] -= n
    return [split_of[group] for group in groups]


def _with_found_groups(records: list[Record], problems: list[str]) -> list[Record]:
    """Complete the groups by near-duplicates; what cannot be read leaves the records."""
    thumbnails, unreadable = decoded(records, duplicates.thumbnails)
    problems += unreadable
    records = [records[i] for i in thumbnails]
    pairs = duplicates.near_pairs(np.stack(list(thumbnails.values())))
    for i, j, correlation in pairs:
        a, b = records[i], records[j]
        types = {a.label, b.label} - {"tumor"}  # which says less than a type, and nothing against it
        if correlation > duplicates.SAME and a.label != b.label and (len(types) > 1 or "notumor" in types):
            problems.append(f"{a.id} ({a.label}) and {b.id} ({b.label}) look like the same slice. Check their labels.")

    links = [(i, j) for i, j, _ in pairs if not (records[i].group and records[j].group)]  # given groups stay apart
    first_of: dict[str, int] = {}
    links += [(first_of.setdefault(record.group, i), i) for i, record in enumerate(records) if record.group]
    clusters = duplicates.clusters(len(records), links)
    name_of = {cluster: record.group for record, cluster in zip(records, clusters, strict=True) if record.group}
    names = [name_of.get(cluster, f"like {records[cluster].id}") for cluster in clusters]
    return [replace(record, group=name) for record, name in zip(records, names, strict=True)]


def _with_splits(records: list[Record], seed: int) -> list[Record]:
    given = {record.split for record in records}
    missing = {split: share for split, share in HELD_OUT.items() if split not in given}
    dealt = [record for record in records if record.split in ("", "train")]
    shares = {"train": 1 - sum(missing.values()), **missing}
    splits = split_by_group([record.label for record in dealt], [record.group for record in dealt], shares, seed)
    split_of = {record.id: split for record, split in zip(dealt, splits, strict=True)}
    return [replace(record, split=split_of.get(record.id, record.split)) for record in records]


def _leaks(records: list[Record]) -> list[str]:
    """A sentence for each held-out split that came with the data and shares groups with another."""
    splits_of = defaultdict(set)
    for record in records:
        splits_of[record.group].add(record.split)
    sentences = []
    for split in ("test", "val"):
        images = [record for record in records if record.split == split]
        if crossing := sum(len(splits_of[record.group]) > 1 for record in images):
            sentences.append(
                f"The split that came with the data leaks: {crossing} of {len(images)} {split} images share a person "
                "or a near-duplicate with another split. Figures on it flatter."
            )
    return sentences
