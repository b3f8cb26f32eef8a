"""Tumor-free slices of whole heads: neck, skull base and vertex, in every plane, tilted as a technician may tilt them.

The public sets show the middle of the brain, and their normals are axial, nearly all. A volume of a healthy head holds
what they lack. Each file or folder in the folder of volumes is one person; nobody in it may have a lesion.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import scans
from model.preprocess import frame

from .layouts import DataError

PER_PLANE = 150  # slices of each volume, which never are quite the same
THINNEST_MM = 2.0  # between slices: wider apart, other planes are stripes
TILT = 20.0  # degrees, the farthest; a head is rarely tilted more against the gantry
LEVELS = (0.03, 0.97)  # of the volume, along the normal of the plane: beyond there is nothing but air
BRIGHT = 0.15  # of the volume's bright tissue: darker places are air
LEAST_HEAD = 0.08  # of a slice must be brighter; less is air and noise, which is refused and not judged


def healthy_frames(folder: Path, size: int, margin: float, seed: int) -> tuple[Tensor, list[str]]:
    """Frames uint8 (N, size, size) of slices through every volume in `folder`, and the N names of the persons.

    Args: `margin` around the head as in `model.preprocess.frame`; `seed` fixes levels and tilts.
    Raises: DataError if there is no volume, or one of the files is none.
    """
    people = sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    if not people:
        raise DataError(f"--volumes {folder} holds no volume. Put NIfTI files or folders of DICOM files into it.")
    generator = np.random.default_rng(seed)
    frames, names = [], []
    for person in people:
        files = sorted(path for path in person.rglob("*") if path.is_file()) if person.is_dir() else [person]
        for scan in scans.read_all(files):
            if isinstance(scan, scans.Unreadable) or not scan.is_volume:
                reason = scan.reason if isinstance(scan, scans.Unreadable) else "It is no volume."
                raise DataError(f"--volumes: {scan.name} cannot be used. {reason}")
            for pixels in slices_through(scan, generator):
                frames.append(frame(pixels, size, margin)[0])
                names.append(person.name)
    return torch.from_numpy(np.stack(frames)), names


def slices_through(scan: scans.Scan, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Slices (H, W) of a volume that show a head: tilted ones in all planes, or of thick slices these as they are."""
    bright = np.percentile(np.stack([pixels[::4, ::4] for pixels in scan.slices]), 99)
    if scan.spacing[0] > THINNEST_MM:
        slices = iter(scan.slices)
    else:
        slices = (cut for plane in scans.planes(scan).values() for cut in tilted(plane, generator))
    for pixels in slices:
        if (pixels > BRIGHT * bright).mean() >= LEAST_HEAD:
            yield pixels


def tilted(plane: scans.Scan, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """PER_PLANE float32 slices (H, W) at random levels of a stack, each turned about its two axes by up to TILT."""
    volume = torch.from_numpy(np.stack(plane.slices).astype(np.float32))
    depth, height, width = volume.shape
    between, pixel = plane.spacing
    extent = torch.tensor([width * pixel, height * pixel, depth * between])  # mm
    y, x = (pixel * (torch.arange(count) - (count - 1) / 2) for count in (height, width))  # mm from the middle
    y, x = torch.meshgrid(y, x, indexing="ij")
    for _ in range(PER_PLANE):
        about_x, about_y = np.deg2rad(generator.uniform(-TILT, TILT, 2))
        level = (generator.uniform(*LEVELS) - 0.5) * float(extent[2])
        place = torch.stack((x, y, x * np.tan(about_y) + y * np.tan(about_x) + level), dim=-1) / extent * 2  # -1..1
        yield F.grid_sample(volume[None, None], place[None, None], align_corners=False)[0, 0, 0].numpy()
