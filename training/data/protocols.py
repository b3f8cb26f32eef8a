"""Two ways to split the images: that of the projects which this one grew from, and the honest one."""

import random
from pathlib import Path
from typing import NamedTuple

from ..settings import Settings
from .frames import Dataset, read_dataset
from .training_set import read_parts

VALIDATION_SHARE = 0.1  # of the vendor's Training, at random


class Protocol(NamedTuple):
    """One way to split: what all systems train on, choose their best weights by, and are measured on."""

    name: str  # "vendor" or "pool"
    root: Path
    training: Dataset
    validation: Dataset
    test: Dataset

    def fingerprint(self) -> str:
        """Of all three parts together."""
        records = [record for part in (self.training, self.validation, self.test) for record in part.records]
        return Dataset(self.root, records).fingerprint()


def vendor_protocol(root: Path, seed: int) -> Protocol:
    """The publisher's Training -> Testing, with a random tenth of Training, images not groups, to choose weights by."""
    dataset = read_dataset(root).trainable()
    given = [record for record in dataset.records if record.split != "test"]
    random.Random(seed).shuffle(given)
    held_out = max(1, round(VALIDATION_SHARE * len(given)))
    parts = (Dataset(root, records, dataset.problems) for records in (given[held_out:], given[:held_out]))
    return Protocol("vendor", root, *parts, dataset.where("test"))


def pool_protocol(root: Path) -> Protocol:
    """By patient, and without training images that look like held-out ones: what our own training sees."""
    dataset, training, validation = read_parts(Settings(data=str(root)))
    return Protocol("pool", root, training, validation, dataset.where("test"))
