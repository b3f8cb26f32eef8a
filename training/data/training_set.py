"""Which images train and steer a run, and the training images as tensors on the device."""

import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model import CLASSES, NO_TUMOR

from ..augmentation.augment import CACHE_MARGIN
from ..augmentation.neighbors import find_neighbors
from ..settings import Settings, folders_in, listed
from .frames import Dataset, Frames, load_frames, read_dataset, split_by_group, without_copies
from .layouts import DataError, Record, rows
from .phantoms import write_phantom_dataset
from .volumes import healthy_frames

FRAME_SIZE = 208  # of the cached training frames: as sharp as the network's 160 px once the wide margin is cut off
PHANTOM_SEED = 1  # the examples of the page are drawn from seeds that no phantom data set uses
VALIDATION_SHARE = 0.1  # of the publisher's Training, at random


@dataclass
class TrainingSet:
    """What a run draws its batches from."""

    heads: Frames  # frames of FRAME_SIZE pixels
    neighbors: Tensor  # int64 (N, COUNT), as `find_neighbors` returns them; phantoms have none
    chances: Tensor  # float64 (N,), sums to 1, on the CPU


def read_parts(settings: Settings) -> tuple[Dataset, Dataset, Dataset]:
    """Everything that can be trained on, its training and its validation part. Raises DataError.

    Images that `set_aside` names, or that look like a held-out one of another group, leave the training and the
    validation part; the test part stays as it is given. In sequences that `typed` does not name, a tumor
    is only known to be one: where all of a sequence are of one type, a network would read the type from the sequence.
    """
    dataset, typed = read_split(settings), listed(settings.typed)
    known = {record.sequence for record in dataset.records} - {""}
    if unknown := sorted({*typed} - known):
        raise DataError(f"{settings.data} has no sequence {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    aside = {row["path"] for row in rows(Path(settings.set_aside), ("path",))} if settings.set_aside else set()
    training, validation = (
        Dataset(part.root, [_typed(record, typed) for record in part.records if record.id not in aside], part.problems)
        for part in (dataset.where("train"), dataset.where("val"))
    )
    if settings.copies == "drop":
        test = dataset.where("test").records
        validation = without_copies(validation, test)
        training = without_copies(training, validation.records + test)
    return dataset, training, validation


def _typed(record: Record, typed: list[str]) -> Record:
    """The record, its type hidden where `typed`, if it names any sequence, does not name the record's known one."""
    hidden = typed and record.sequence and record.sequence not in typed and record.label in CLASSES[:NO_TUMOR]
    return replace(record, label="tumor") if hidden else record


def read_split(settings: Settings) -> Dataset:
    """Everything that can be trained on, split as `settings` say. Raises DataError.

    - `sources`: the other sources do not exist.
    - `folds` and `fold`: fold `fold` is the test split, the next one validation, the others training. Every fold has
      its share of each label of each source, as near as whole groups allow, and they are the same whatever the seed.
    - `leave_out`: these sources are test images, and so are images of other sources that share a group with them (a
      person, or near-duplicates, known in two sources).
    """
    data, *beside = folders_in(settings.data)
    dataset = read_dataset(data, beside=beside).trainable()
    only, left_out = listed(settings.sources), listed(settings.leave_out)
    known = {record.source for record in dataset.records}
    if unknown := sorted({*only, *left_out} - known):
        raise DataError(f"{settings.data} has no source {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    records = [record for record in dataset.records if not only or record.source in only]
    if settings.folds:
        labels, groups = [f"{r.label} {r.source}" for r in records], [r.group for r in records]
        shares = dict.fromkeys(range(settings.folds), 1 / settings.folds)
        folds = split_by_group(labels, groups, shares, seed=0, largest_first=True)
        part_of = {settings.fold: "test", (settings.fold + 1) % settings.folds: "val"}
        records = [replace(r, split=part_of.get(fold, "train")) for r, fold in zip(records, folds, strict=True)]
    held_out = {record.group for record in records if record.source in left_out}
    records = [replace(record, split="test") if record.group in held_out else record for record in records]
    return Dataset(dataset.root, records, dataset.problems)


def load_training_set(dataset: Dataset, settings: Settings, device: torch.device) -> TrainingSet:
    """The images of `dataset`; slices of healthy volumes, and phantoms, with their shares of the chances."""
    cache = Path(settings.cache)
    heads = Frames(*(part.to(device) for part in load_frames(dataset, FRAME_SIZE, CACHE_MARGIN, cache)))
    groups = [record.group for record in dataset.records]
    chances = balanced_chances(dataset)
    if settings.volumes:
        slices, people, of_slices = healthy_frames(Path(settings.volumes), FRAME_SIZE, CACHE_MARGIN, settings.seed)
        groups += [f"volume {person}" for person in people]
        nowhere, tumor_free = torch.full((len(slices), 4), torch.nan), torch.full((len(slices),), NO_TUMOR)
        heads, chances = joined(heads, chances, Frames(slices, nowhere, tumor_free), settings.volume_share * of_slices)
    numbers = torch.from_numpy(np.unique(groups, return_inverse=True)[1]).to(device)
    neighbors = find_neighbors(heads, numbers)
    if settings.phantoms:
        drawn = load_frames(phantoms(settings.phantoms, cache), FRAME_SIZE, CACHE_MARGIN, cache)
        share = np.full(len(drawn.labels), settings.phantom_share / len(drawn.labels))
        heads, chances = joined(heads, chances, drawn, share)
        neighbors = torch.cat((neighbors, neighbors.new_full((len(drawn.labels), neighbors.shape[1]), -1)))
    return TrainingSet(heads, neighbors, torch.from_numpy(chances))


def joined(heads: Frames, chances: np.ndarray, more: Frames, share: np.ndarray) -> tuple[Frames, np.ndarray]:
    """`heads` and `more` in one, and the chances of each to be drawn: `share` (M,) of `more`, the rest of `heads`."""
    both = Frames(*(torch.cat((ours, theirs.to(ours.device))) for ours, theirs in zip(heads, more, strict=True)))
    return both, np.concatenate((chances * (1 - share.sum()), share))


def balanced_chances(dataset: Dataset) -> np.ndarray:
    """Each (label, source) pair is drawn in proportion to the square root of its size: rare ones more often."""
    pairs = [f"{record.label} {record.source}" for record in dataset.records]
    _, pair, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    chances = sizes[pair] ** -0.5
    return chances / chances.sum()


def phantoms(count: int, cache: Path) -> Dataset:
    """`count` drawn heads, made once and kept in `cache`."""
    folder = cache / f"phantoms-{count}"
    if not folder.exists():
        unfinished = cache / f"phantoms-{count}.{os.getpid()}.tmp"
        write_phantom_dataset(unfinished, per_class=-(-count // 4), seed=PHANTOM_SEED)
        unfinished.rename(folder)
    return read_dataset(folder)


# ---- the two ways to split that `training.evaluation.compare` measures side by side


class Splits(NamedTuple):
    """What all systems train on, choose their best weights by, and are measured on."""

    name: str  # "vendor" or "pool"
    root: Path
    training: Dataset
    validation: Dataset
    test: Dataset

    def fingerprint(self) -> str:
        """Of all three parts together."""
        records = [record for part in (self.training, self.validation, self.test) for record in part.records]
        return Dataset(self.root, records).fingerprint()


def vendor_splits(root: Path, seed: int) -> Splits:
    """The publisher's Training -> Testing, with a random tenth of Training, images not groups, to choose weights by."""
    dataset = read_dataset(root).trainable()
    given = [record for record in dataset.records if record.split != "test"]
    random.Random(seed).shuffle(given)
    held_out = max(1, round(VALIDATION_SHARE * len(given)))
    parts = (Dataset(root, records, dataset.problems) for records in (given[held_out:], given[:held_out]))
    return Splits("vendor", root, *parts, dataset.where("test"))


def pool_splits(root: Path) -> Splits:
    """By patient, and without training images that look like held-out ones: what our own training sees."""
    dataset, training, validation = read_parts(Settings(data=str(root)))
    return Splits("pool", root, training, validation, dataset.where("test"))
