"""Phantoms as a data set on disk, in the layout of the public pool."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from model import CLASSES
from training.data.phantoms.phantom import draw_phantom

SOURCE = "phantom"
FIRST_SEED = 1_000_000  # of a patient; smaller ones are left to the examples, so that no network has trained on them
MOST_SLICES = 3  # of one patient
SPLITS = ("train", "val", "test")
SHARES = (0.70, 0.15, 0.15)


def write_phantom_dataset(root: Path, per_class: int, seed: int = 0, size: int = 256) -> Path:
    """Write `per_class` phantoms of each class under `root`, with `manifest.csv` and `boxes.csv`; returns `root`.

    Slices of one drawn patient share a group, and a group lies in one split. With three patients a class or
    more, every split holds every class.
    """
    root = Path(root)
    rows, boxes = [], []
    for label in CLASSES:
        folder = root / SOURCE / label
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, CLASSES.index(label)])
        patients = _slices_per_patient(rng, per_class)
        splits = _splits(len(patients))
        for patient, slices in enumerate(patients):
            patient_seed = int(rng.integers(FIRST_SEED, 2**40))
            for index in range(slices):
                phantom = draw_phantom(label, patient_seed, size, slice_index=index)
                jpeg = rng.random() < 0.5
                name = f"{SOURCE}/{label}/{patient:04d}_{index}.{'jpg' if jpeg else 'png'}"
                options = {"quality": int(rng.integers(80, 96))} if jpeg else {"compress_level": 1}
                Image.fromarray(phantom.image).save(root / name, **options)
                rows.append((name, label, SOURCE, f"{SOURCE}:{label}:{patient}", splits[patient], size, size))
                if phantom.box:
                    boxes.append((name, *(f"{value:.4f}" for value in phantom.box)))
    _write_csv(root / "manifest.csv", "path,label,source,group,split,original_width,original_height", rows)
    _write_csv(root / "boxes.csv", "path,x_center,y_center,width,height", boxes)
    return root


def _slices_per_patient(rng: np.random.Generator, count: int) -> list[int]:
    """How many slices each patient gives: 1 to 3 each, `count` in all."""
    patients = []
    while sum(patients) < count:
        patients.append(min(int(rng.integers(1, MOST_SLICES + 1)), count - sum(patients)))
    return patients


def _splits(patients: int) -> list[str]:
    """Split of each patient: the shares as nearly as they go, at least one patient in each split if there are three."""
    held_out = [max(1, round(share * patients)) if patients >= len(SPLITS) else 0 for share in SHARES[1:]]
    counts = (patients - sum(held_out), *held_out)
    return [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]


def _write_csv(path: Path, header: str, rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
