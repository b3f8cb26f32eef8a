"""The first volume of a NIfTI file -> slices as radiologists see them."""

from typing import BinaryIO

import numpy as np

from .. import orientation
from ..resample import gray_range, resized, sample_of, square_shape, to_16_bit
from ..scan import Scan, UnreadableScan
from ..shapes import check_in_all, check_shape
from ..sources import Source
from .headers import DAMAGED, Header

FEWEST_VALUES = 9  # different ones, of whole numbers: a mask has as many as it has labels, a scan hundreds
ANISOTROPIC = 1.2  # longest to shortest step from which on the slices are those that were recorded
AS_STORED = "The file does not say how the volume lies in the patient; its sides may be swapped."
CHUNK = 2**20  # bytes that are skipped at once


def read_volume(source: Source, header: Header) -> Scan:
    """Slices of the first volume, as uint16: in the plane that was recorded, or axial where all steps are alike.

    Raises: UnreadableScan if values are missing, or the volume is a mask, or so flat that no plane makes a slice.
    """
    notes = []
    plane, axes = _best_plane(header)
    with source.open() as file:
        stored = _stored(file, header)
    sample = _rescaled(sample_of(stored), header)
    if stored.dtype.kind != "f" and len(np.unique(sample)) < FEWEST_VALUES:
        raise UnreadableScan(
            "This volume has only a few different values, like a mask of outlines. Upload the scan that it belongs to."
        )
    gray = gray_range(sample)
    shown = orientation.displayed(stored, axes, plane)
    between, down, right = _steps_of(header, axes, plane) or (0, 1, 1)
    height, width = square_shape(shown.shape[1:], down, right)
    slices = [resized(to_16_bit(_rescaled(pixels, header), *gray), height, width) for pixels in shown]
    if header.volumes > 1:
        notes.append(f"The file holds {header.volumes:,} volumes; the first is read.")
    if header.directions is None:
        notes.append(AS_STORED)
    spacing = (between, min(down, right)) if between else None
    return Scan(
        slices, source.name, plane if header.directions is not None else "", spacing, kind="NIfTI", assumptions=tuple(notes)
    )


def _stored(file: BinaryIO, header: Header) -> np.ndarray:
    """(slices, rows, columns) in native byte order: integers of up to 16 bits as stored, all others as float32."""
    skipped = 0
    while skipped < header.data_start:
        part = file.read(min(CHUNK, header.data_start - skipped))
        if not part:
            raise UnreadableScan(DAMAGED)
        skipped += len(part)
    keep = header.dtype.kind in "iu" and header.dtype.itemsize <= 2
    volume = np.empty(header.shape, header.dtype.newbyteorder("=") if keep else np.float32)
    count = header.shape[1] * header.shape[2]
    for pixels in volume:  # slice by slice: a volume of 8 bytes a voxel would not fit beside its copy
        part = file.read(count * header.dtype.itemsize)
        if len(part) < count * header.dtype.itemsize:
            raise UnreadableScan(DAMAGED)
        with np.errstate(over="ignore", invalid="ignore"):
            pixels.flat = np.frombuffer(part, header.dtype)
        if not keep:
            np.nan_to_num(pixels, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return volume


def _rescaled(stored: np.ndarray, header: Header) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(stored.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept))


def _best_plane(header: Header) -> tuple[str, tuple[orientation.Axis, ...]]:
    """The plane to show, and how the array lies; raises UnreadableScan if no plane makes slices of a fit size."""
    directions = header.directions if header.directions is not None else np.diag([1.0, -1.0, -1.0])[:, ::-1]
    axes = orientation.closest_axes(directions)
    planes = list(orientation.DISPLAY)
    steps = header.steps
    if steps and max(steps) > ANISOTROPIC * min(steps):
        coarsest = axes[int(np.argmax(steps))].along
        planes.sort(key=lambda plane: orientation.DISPLAY[plane][0].along != coarsest)
    failures = []
    for plane in planes:
        count, height, width = (header.shape[i] for i in orientation.displayed_order(axes, plane))
        mm = _steps_of(header, axes, plane)
        try:
            shape = square_shape((height, width), *mm[1:]) if mm else (height, width)
            check_shape(*shape)
            check_in_all(count * shape[0] * shape[1], count)
        except UnreadableScan as error:
            failures.append(error)
        else:
            return plane, axes
    raise failures[0]


def _steps_of(header: Header, axes: tuple[orientation.Axis, ...], plane: str) -> tuple[float, float, float] | None:
    """mm from slice to slice, row to row, column to column."""
    return tuple(header.steps[i] for i in orientation.displayed_order(axes, plane)) if header.steps else None
