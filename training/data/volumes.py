"""Tumor-free slices of whole heads, which the public sets lack: neck, skull base and vertex, in every plane, tilted.

Each file or folder in the folder of volumes is one person, unless a manifest.csv there says who is who; nobody may have
a tumor.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import scans
from model.preprocess import frame

from .layouts import DataError, rows

PER_PLANE = 150  # slices of each volume, which never are quite the same
MOST = 6000  # slices of all thin volumes: of many volumes fewer each, since all frames are kept in memory
PLANES = ("axial", "coronal", "sagittal")
THINNEST_MM = 2.0  # between slices: wider apart, other planes are stripes
TILT = 20.0  # degrees, the farthest; a head is rarely tilted more against the gantry
LEVELS = (0.03, 0.97)  # of the volume, along the normal of the plane: beyond there is nothing but air
BRIGHT = 0.15  # of the volume's bright tissue: darker places are air
LEAST_HEAD = 0.08  # of a slice must be brighter; less is air and noise, which is refused and not judged


class Head(NamedTuple):
    """What lies in the folder of volumes: a file, or a folder of them."""

    path: Path
    person: str
    planes: tuple[str, ...] = PLANES  # worth cutting


def heads_in(folder: Path) -> list[Head]:
    """What manifest.csv names in its columns path, person and, where known, planes; without one all that lies there.

    `planes` names them in words: "axial; others coarse" is axial alone, what names none is good in all of them.
    Raises: DataError if there is no volume.
    """
    if (folder / "manifest.csv").exists():
        heads = []
        for row in rows(folder / "manifest.csv", ("path", "person")):
            planes = tuple(plane for plane in PLANES if plane in row.get("planes", "").lower())
            heads.append(Head(folder / row["path"], row["person"], planes or PLANES))
    else:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
        heads = [Head(path, path.name) for path in paths]
    if not heads:
        raise DataError(f"--volumes {folder} holds no volume. Put NIfTI files or folders of DICOM files into it.")
    return heads


def healthy_frames(folder: Path, size: int, margin: float, seed: int) -> tuple[Tensor, list[str], np.ndarray]:
    """Slices through every volume in `folder`.

    Args: `margin` around the head as in `model.preprocess.frame`; `seed` fixes levels and tilts.
    Returns: frames uint8 (N, size, size), the N names of the persons, and the chances float64 (N,) of the frames, which
    sum to 1: the same for every volume, so that many thin slices of one do not drown the few thick ones of another.
    Raises: DataError if there is no volume, or one of the files is none.
    """
    heads = heads_in(folder)
    per_plane = min(PER_PLANE, max(1, MOST // (len(PLANES) * len(heads))))
    generator = np.random.default_rng(seed)
    frames, people, chances = [], [], []
    for head in heads:
        files = sorted(path for path in head.path.rglob("*") if path.is_file()) if head.path.is_dir() else [head.path]
        for scan in scans.read_all(files):
            if isinstance(scan, scans.Unreadable) or not scan.is_volume:
                reason = scan.reason if isinstance(scan, scans.Unreadable) else "It is no volume."
                raise DataError(f"--volumes: {scan.name} cannot be used. {reason}")
            framed = [frame(cut, size, margin)[0] for cut in slices_through(scan, generator, head.planes, per_plane)]
            frames += framed
            people += [head.person] * len(framed)
            chances += [1 / max(1, len(framed))] * len(framed)
    return torch.from_numpy(np.stack(frames)), people, np.array(chances) / sum(chances)


def slices_through(
    scan: scans.Scan, generator: np.random.Generator, planes: Sequence[str] = PLANES, per_plane: int = PER_PLANE
) -> Iterator[np.ndarray]:
    """Slices (H, W) of a volume that show a head: tilted ones in `planes`, or of thick slices these as they are."""
    bright = np.percentile(np.stack([pixels[::4, ::4] for pixels in scan.slices]), 99)
    if scan.spacing[0] > THINNEST_MM:
        slices = iter(scan.slices)
    else:
        cuts = (cut for name, cut in scans.planes(scan).items() if name in planes)
        slices = (pixels for cut in cuts for pixels in tilted(cut, generator, per_plane))
    for pixels in slices:
        if (pixels > BRIGHT * bright).mean() >= LEAST_HEAD:
            yield pixels


def tilted(plane: scans.Scan, generator: np.random.Generator, count: int = PER_PLANE) -> Iterator[np.ndarray]:
    """`count` float32 slices (H, W) at random levels of a stack, each turned about its two axes by up to TILT."""
    volume = torch.from_numpy(np.stack(plane.slices).astype(np.float32))
    depth, height, width = volume.shape
    between, pixel = plane.spacing
    extent = torch.tensor([width * pixel, height * pixel, depth * between])  # mm
    y, x = (pixel * (torch.arange(count) - (count - 1) / 2) for count in (height, width))  # mm from the middle
    y, x = torch.meshgrid(y, x, indexing="ij")
    for _ in range(count):
        about_x, about_y = np.deg2rad(generator.uniform(-TILT, TILT, 2))
        level = (generator.uniform(*LEVELS) - 0.5) * float(extent[2])
        place = torch.stack((x, y, x * np.tan(about_y) + y * np.tan(about_x) + level), dim=-1) / extent * 2  # -1..1
        yield F.grid_sample(volume[None, None], place[None, None], align_corners=False)[0, 0, 0].numpy()
