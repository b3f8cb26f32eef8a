"""Which images train and steer a run, and the training images as tensors on the device."""

import csv
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import CLASSES, NO_TUMOR

from ..augmentation.augment import CACHE_MARGIN
from ..augmentation.neighbors import Heads, find_twins
from ..settings import Settings, folders_in, listed
from .frames import DataError, Dataset, Record, load_frames, read_dataset, without_copies
from .phantoms import write_phantom_dataset
from .splits import folds_by_group
from .volumes import healthy_frames

FRAME_SIZE = 208  # of the cached training frames: as sharp as the network's 160 px once the wide margin is cut off
PHANTOM_SEED = 1  # the examples of the page are drawn from seeds that no phantom data set uses


@dataclass
class TrainingSet:
    heads: Heads  # frames of FRAME_SIZE pixels
    twins: Tensor  # int64 (N, twins.COUNT), as `twins.find_twins` returns them; phantoms have none
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
    aside = named_in(Path(settings.set_aside)) if settings.set_aside else set()
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


def named_in(table: Path) -> set[str]:
    """The column `path` of a CSV file. Raises DataError."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return {row["path"] for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"--set_aside {table} is no CSV file with a column `path`. Check its name and head.") from error


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
        folds = folds_by_group([f"{r.label} {r.source}" for r in records], [r.group for r in records], settings.folds)
        part_of = {settings.fold: "test", (settings.fold + 1) % settings.folds: "val"}
        records = [replace(r, split=part_of.get(fold, "train")) for r, fold in zip(records, folds, strict=True)]
    held_out = {record.group for record in records if record.source in left_out}
    records = [replace(record, split="test") if record.group in held_out else record for record in records]
    return Dataset(dataset.root, records, dataset.problems)


def load_training_set(dataset: Dataset, settings: Settings, device: torch.device) -> TrainingSet:
    """The images of `dataset`; slices of healthy volumes, and phantoms, with their shares of the chances."""
    cache = Path(settings.cache)
    heads = Heads(*(part.to(device) for part in load_frames(dataset, FRAME_SIZE, CACHE_MARGIN, cache)))
    groups = [record.group for record in dataset.records]
    chances = balanced_chances(dataset)
    if settings.volumes:
        slices, people, of_slices = healthy_frames(Path(settings.volumes), FRAME_SIZE, CACHE_MARGIN, settings.seed)
        groups += [f"volume {person}" for person in people]
        heads, chances = joined(heads, chances, tumor_free(slices), settings.volume_share * of_slices)
    numbers = {group: number for number, group in enumerate(sorted(set(groups)))}
    twins = find_twins(heads, torch.tensor([numbers[group] for group in groups], device=device))
    if settings.phantoms:
        drawn = load_frames(phantoms(settings.phantoms, cache), FRAME_SIZE, CACHE_MARGIN, cache)
        share = np.full(len(drawn.labels), settings.phantom_share / len(drawn.labels))
        heads, chances = joined(heads, chances, drawn, share)
        twins = torch.cat((twins, twins.new_full((len(drawn.labels), twins.shape[1]), -1)))
    return TrainingSet(heads, twins, torch.from_numpy(chances))


def joined(heads: Heads, chances: np.ndarray, more: Heads, share: np.ndarray) -> tuple[Heads, np.ndarray]:
    """`heads` and `more` in one, and the chances of each to be drawn: `share` (M,) of `more`, the rest of `heads`."""
    both = Heads(*(torch.cat((ours, theirs.to(ours.device))) for ours, theirs in zip(heads, more, strict=True)))
    return both, np.concatenate((chances * (1 - share.sum()), share))


def tumor_free(frames: Tensor) -> Heads:
    """Frames (N, S, S) as heads without a tumor."""
    return Heads(frames, torch.full((len(frames), 4), torch.nan), torch.full((len(frames),), NO_TUMOR))


def balanced_chances(dataset: Dataset) -> np.ndarray:
    """Each (label, source) pair is drawn in proportion to the square root of its size: rare ones more often."""
    pairs = [(record.label, record.source) for record in dataset.records]
    sizes = {pair: pairs.count(pair) for pair in set(pairs)}
    chances = np.array([sizes[pair] ** -0.5 for pair in pairs])
    return chances / chances.sum()


def phantoms(count: int, cache: Path) -> Dataset:
    """`count` drawn heads, made once and kept in `cache`."""
    folder = cache / f"phantoms-{count}"
    if not folder.exists():
        unfinished = cache / f"phantoms-{count}.{os.getpid()}.tmp"
        write_phantom_dataset(unfinished, per_class=-(-count // 4), seed=PHANTOM_SEED)
        unfinished.rename(folder)
    return read_dataset(folder)
