"""The first volume of a NIfTI file -> slices as radiologists see them."""

from typing import BinaryIO

import numpy as np

from .. import orientation
from ..resample import LUMINANCE, gray_range, is_special, outside_of, resized, sample_of, square_shape, to_16_bit
from ..scan import Omission, Scan, UnreadableScan
from ..shapes import check_in_all, check_shape
from ..sources import Source
from .headers import DAMAGED, Header

FEWEST_VALUES = 9  # different ones: a mask has as many as it has labels, a scan hundreds
FLAT = 0.7  # share of whole numbers that equal their neighbor, where they are no background: a map of many labels
MASK = "This volume has only a few different values, like a mask of outlines. Upload the scan that it belongs to."
LABELS = "This volume is a map of labels, like a mask of outlines. Upload the scan that it belongs to."
OPAQUE = 0.5  # share of pixels from which on a fourth color is how opaque the others are
COLORS = (3, 4)  # of a picture, with or without transparency
ANISOTROPIC = 1.2  # longest to shortest step from which on the slices are those that were recorded
AS_STORED = "The file does not say how the volume lies in the patient; its sides may be swapped."
WRONG_UNIT = "The file gives the size of its voxels in {unit}, which cannot be: other planes are not cut."
OTHER_VOLUMES = "The file holds {volumes} volumes; the first is read. Save the others as files of their own."
COLOR = "The volume has the shape of a color picture, and is read as one."
CHUNK = 2**20  # bytes that are skipped at once


def read_volume(source: Source, header: Header) -> Scan:
    """Slices of the first volume, as uint16: in the plane that was recorded, or axial where all steps are alike.

    Raises: UnreadableScan if values are missing, or the volume is a mask, or so flat that no plane makes a slice.
    """
    may_be_picture = header.shape[0] in COLORS and not header.is_placed
    plane, axes = ("", ()) if may_be_picture else _best_plane(header)
    with source.open() as file:
        stored = _stored(file, header)
    if header.shape[0] in COLORS and _is_picture(stored, header):
        return _picture(stored, header, source.name)
    if may_be_picture:
        plane, axes = _best_plane(header)
    sample = sample_of(stored)
    sample = sample[np.isfinite(sample)]
    if len(np.unique(sample)) < FEWEST_VALUES:
        raise UnreadableScan(MASK)
    if _is_labels(stored, sample):
        raise UnreadableScan(LABELS)
    outside = outside_of(stored, sample)
    gray = gray_range(_rescaled(sample[~is_special(sample, outside)], header))
    between, down, right = _steps_of(header, axes, plane) or (0, 1, 1)
    slices = []
    for pixels in orientation.displayed(stored, axes, plane):
        shown = to_16_bit(_rescaled(pixels, header), *gray)
        shown[is_special(pixels, outside)] = 0
        slices.append(resized(shown, *square_shape(shown.shape, down, right)))
    assumptions, is_known = [], header.directions is not None
    if not is_known:
        assumptions.append(AS_STORED)
    if header.unit:
        assumptions.append(WRONG_UNIT.format(unit=header.unit))
    left = (header.volumes - 1) * len(slices)
    omitted = (Omission(left, OTHER_VOLUMES.format(volumes=f"{header.volumes:,}")),) if left else ()
    spacing = (between, min(down, right)) if between and not header.unit else None
    return Scan(slices, source.name, plane if is_known else "", spacing, "", "NIfTI", tuple(assumptions), omitted)


def bytes_of_volume(header: Header) -> int:
    """What the slices take when they are read, before their pixels are made square."""
    return 2 * int(np.prod(header.shape, dtype=np.int64))


def _is_picture(stored: np.ndarray, header: Header) -> bool:
    """Whether an array (colors, rows, columns) is one: its colors are all gray, or it was saved without a place.

    The fourth color, how opaque the picture is, is the same nearly everywhere.
    """
    is_gray = stored[0].min() < stored[0].max() and np.array_equal(stored[0], stored[1])
    is_opaque = len(stored) == 3 or (stored[3] == np.median(stored[3])).mean() > OPAQUE
    return bool(is_opaque and (is_gray or not header.is_placed))


def _picture(stored: np.ndarray, header: Header, name: str) -> Scan:
    """An array (height, width, colors) that was saved as a volume: one slice."""
    check_shape(*stored.shape[:0:-1])
    left = header.volumes - 1
    omitted = (Omission(left, OTHER_VOLUMES.format(volumes=f"{header.volumes:,}")),) if left else ()
    color = np.nan_to_num(_rescaled(stored[:3], header)).transpose(2, 1, 0)
    gray = color @ LUMINANCE
    slices = [to_16_bit(gray, float(gray.min()), float(gray.max()))]
    return Scan(slices, name, kind="NIfTI", assumptions=(COLOR,), omitted=omitted)


def _is_labels(stored: np.ndarray, sample: np.ndarray) -> bool:
    """Whether whole numbers are as flat as no scan is, noise or not."""
    if not np.array_equal(sample, np.round(sample)):
        return False
    values, counts = np.unique(sample, return_counts=True)
    inside = stored[:, :, :-1] != values[counts.argmax()]
    return inside.any() and (stored[:, :, 1:] == stored[:, :, :-1])[inside].mean() > FLAT


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
    return volume


def _rescaled(stored: np.ndarray, header: Header) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return stored.astype(np.float32) * np.float32(header.slope) + np.float32(header.intercept)


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
