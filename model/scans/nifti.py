"""The first volume of a NIfTI file -> slices as radiologists see them.

The header (nifti1.h and nifti2.h of the NIfTI working group) has a fixed layout of 348 or 540 bytes. It is read here,
so that nothing is unpacked unchecked.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from . import geometry, limits
from .geometry import plausible, resized, square_shape
from .grays import LUMINANCE, gray_range, is_special, outside_of, sample_of, to_16_bit
from .scan import Omission, Scan, UnreadableScan
from .sources import Source

FIELDS_1 = {  # name: type and place
    **{"dim": ("8i2", 40), "datatype": ("i2", 70), "pixdim": ("8f4", 76), "vox_offset": ("f4", 108)},
    **{"scl_slope": ("f4", 112), "scl_inter": ("f4", 116), "xyzt_units": ("u1", 123)},
    **{"qform_code": ("i2", 252), "sform_code": ("i2", 254), "quaternion": ("3f4", 256), "srow": ("(3,4)f4", 280)},
}
FIELDS_2 = {
    **{"datatype": ("i2", 12), "dim": ("8i8", 16), "pixdim": ("8f8", 104), "vox_offset": ("i8", 168)},
    **{"scl_slope": ("f8", 176), "scl_inter": ("f8", 184), "qform_code": ("i4", 344), "sform_code": ("i4", 348)},
    **{"quaternion": ("3f8", 352), "srow": ("(3,4)f8", 400), "xyzt_units": ("u4", 500)},
}
LAYOUTS = {348: FIELDS_1, 540: FIELDS_2}  # by the size of the header, its first number
HEADER_BYTES = max(LAYOUTS)
TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8"}
UNITS = {1: ("meters", 1000.0), 3: ("micrometers", 0.001)}  # but millimeters, by the lowest three bits of xyzt_units
TO_LPS = np.diag([-1.0, -1.0, 1.0])  # NIfTI's x and y grow to the right and the front
COLORS = (3, 4)  # of a picture, with or without transparency
OPAQUE = 0.5  # share of pixels from which on a fourth color is how opaque the others are
FEWEST_VALUES = 9  # different ones: a mask has as many as it has labels, a scan hundreds
FLAT = 0.7  # share of whole numbers that equal their neighbor, where they are no background: a map of many labels
ANISOTROPIC = 1.2  # longest to shortest step from which on the slices are those that were recorded
CHUNK = 2**20  # bytes that are skipped at once

DAMAGED = "The NIfTI file is damaged or incomplete. Export it again."
NO_GRAY = "The NIfTI file holds colors or complex numbers, not gray values. Convert it to a gray volume."
MASK = "This volume has only a few different values, like a mask of outlines. Upload the scan that it belongs to."
LABELS = "This volume is a map of labels, like a mask of outlines. Upload the scan that it belongs to."
AS_STORED = "The file does not say how the volume lies in the patient; its sides may be swapped."
WRONG_UNIT = "The file gives the size of its voxels in {unit}, which cannot be: other planes are not cut."
OTHER_VOLUMES = "The file holds {volumes:,} volumes; the first is read. Save the others as files of their own."
COLOR = "The volume has the shape of a color picture, and is read as one."


@dataclass(frozen=True)
class Header:
    """What a file says of its first volume.

    shape: slices, rows, columns, as stored: the last index grows fastest.
    dtype: of the stored values, in the file's byte order.
    data_start: byte at which they begin.
    slope, intercept: of stored -> real values.
    directions: (3, 3); row i is the step in mm, in the patient, of index i (LPS, see `geometry`); None if unknown.
    steps: mm of one step along each index; None where that makes no sense.
    unit: that the file names, if its steps make no sense in it and are taken for millimeters; else "".
    volumes: how many the file holds.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    data_start: int
    slope: float
    intercept: float
    directions: np.ndarray | None
    steps: tuple[float, float, float] | None
    unit: str
    volumes: int

    @property
    def is_placed(self) -> bool:
        """Whether the file says where the volume lies, and more than a library writes that knows nothing of it."""
        return self.directions is not None and not np.allclose(np.abs(self.directions), np.eye(3)[::-1])

    def steps_in(self, axes: geometry.Axes, plane: str) -> tuple[float, float, float] | None:
        """mm from slice to slice, row to row, column to column."""
        return tuple(self.steps[i] for i in geometry.displayed_order(axes, plane)) if self.steps else None

    def rescaled(self, stored: np.ndarray) -> np.ndarray:
        """Real values, float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            return stored.astype(np.float32) * np.float32(self.slope) + np.float32(self.intercept)

    def omitted(self, slices: int) -> tuple[Omission, ...]:
        """The other volumes, of which each has so many `slices`."""
        left = (self.volumes - 1) * slices
        return (Omission(left, OTHER_VOLUMES.format(volumes=self.volumes)),) if left else ()


def read_header(start: bytes) -> Header:
    """Args: `start`, the first 540 bytes, or all of a shorter file.

    Raises: UnreadableScan if they contradict themselves or claim more than the limits allow.
    """
    fields = _fields(start)
    dimensions = int(fields["dim"][0]) if 2 <= fields["dim"][0] <= 7 else 3
    columns, rows, *more = (int(size) for size in fields["dim"][1 : dimensions + 1])
    slices, *more = [size or 1 for size in more] or [1]  # writers leave sizes beyond the last dimension at 0
    if min(columns, rows, slices, *more) < 1:
        raise UnreadableScan(DAMAGED)
    if int(fields["datatype"]) not in TYPES:
        raise UnreadableScan(NO_GRAY)
    dtype = np.dtype(TYPES[int(fields["datatype"])]).newbyteorder(fields.dtype["dim"].base.byteorder)
    if slices * rows * columns > limits.MAX_PIXELS_IN_ALL:
        raise UnreadableScan(
            f"The volume has more than {limits.MAX_PIXELS_IN_ALL // 10**6} million voxels. Crop it to the head, or "
            "scale it down."
        )
    data_start = float(fields["vox_offset"])
    if not fields.dtype.itemsize <= data_start <= limits.MAX_BYTES:
        data_start = fields.dtype.itemsize + 4  # old writers leave it at 0; four bytes say whether extensions follow
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if not slope or not np.isfinite([slope, intercept]).all():
        slope, intercept = 1.0, 0.0
    volumes = int(np.prod(more, dtype=np.float64))
    return Header((slices, rows, columns), dtype, int(data_start), slope, intercept, *_place(fields), volumes)


def _fields(start: bytes) -> np.void:
    for order, byte_order in (("<", "little"), (">", "big")):
        size = int.from_bytes(start[:4], byte_order)
        if size in LAYOUTS and len(start) >= size:
            formats, offsets = zip(*LAYOUTS[size].values(), strict=True)
            layout = {"names": list(LAYOUTS[size]), "formats": formats, "offsets": offsets, "itemsize": size}
            return np.frombuffer(start, np.dtype(layout).newbyteorder(order), count=1)[0]
    raise UnreadableScan(DAMAGED)


def _place(fields: np.void) -> tuple[np.ndarray | None, tuple[float, float, float] | None, str]:
    """`Header.directions`, by sform or else by qform, `steps` and `unit`."""
    pixdim = np.abs(np.asarray(fields["pixdim"], np.float64)[1:4])
    candidates = []
    if fields["sform_code"] > 0:
        candidates.append(np.asarray(fields["srow"], np.float64)[:, :3])
    if fields["qform_code"] > 0:
        sizes = pixdim * (1, 1, -1 if fields["pixdim"][0] < 0 else 1)
        candidates.append(_rotation(*np.asarray(fields["quaternion"], np.float64)) @ np.diag(sizes))
    name, factor = UNITS.get(int(fields["xyzt_units"]) & 7, ("", 1.0))
    for unit, in_mm in {"": factor, name: 1.0}.items():
        for matrix in candidates:
            directions = (TO_LPS @ matrix * in_mm).T[::-1]  # rows: of slices, rows, columns
            lengths = np.linalg.norm(directions, axis=1)
            if plausible(*lengths) and abs(np.linalg.det(directions / lengths[:, None])) > 0.1:
                return directions, tuple(lengths.tolist()), unit
        lengths = (pixdim * in_mm)[::-1]
        if plausible(*lengths):
            return None, tuple(lengths.tolist()), unit
    return None, None, ""


def _rotation(b: float, c: float, d: float) -> np.ndarray:
    """Rotation matrix of the unit quaternion whose last three parts are given (nifti1.h, method 2)."""
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


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
    gray = gray_range(header.rescaled(sample[~is_special(sample, outside)]))
    between, down, right = header.steps_in(axes, plane) or (0, 1, 1)
    slices = []
    for pixels in geometry.displayed(stored, axes, plane):
        shown = to_16_bit(header.rescaled(pixels), *gray)
        shown[is_special(pixels, outside)] = 0
        slices.append(resized(shown, *square_shape(shown.shape, down, right)))
    is_known = header.directions is not None
    return Scan(
        slices,
        source.name,
        plane if is_known else "",
        (between, min(down, right)) if between and not header.unit else None,
        kind="NIfTI",
        assumptions=(
            *(() if is_known else (AS_STORED,)),
            *((WRONG_UNIT.format(unit=header.unit),) if header.unit else ()),
        ),
        omitted=header.omitted(len(slices)),
    )


def _is_picture(stored: np.ndarray, header: Header) -> bool:
    """Whether an array (colors, rows, columns) is one: its colors are all gray, or it was saved without a place.

    The fourth color, how opaque the picture is, is the same nearly everywhere.
    """
    is_gray = stored[0].min() < stored[0].max() and np.array_equal(stored[0], stored[1])
    is_opaque = len(stored) == 3 or (stored[3] == np.median(stored[3])).mean() > OPAQUE
    return bool(is_opaque and (is_gray or not header.is_placed))


def _picture(stored: np.ndarray, header: Header, name: str) -> Scan:
    """An array (height, width, colors) that was saved as a volume: one slice."""
    limits.check_shape(*stored.shape[:0:-1])
    gray = np.nan_to_num(header.rescaled(stored[:3])).transpose(2, 1, 0) @ LUMINANCE
    slices = [to_16_bit(gray, float(gray.min()), float(gray.max()))]
    return Scan(slices, name, kind="NIfTI", assumptions=(COLOR,), omitted=header.omitted(1))


def _is_labels(stored: np.ndarray, sample: np.ndarray) -> bool:
    """Whether whole numbers are as flat as no scan is, noise or not."""
    if not np.array_equal(sample, np.round(sample)):
        return False
    values, counts = np.unique(sample, return_counts=True)
    inside = stored[:, :, :-1] != values[counts.argmax()]
    return inside.any() and (stored[:, :, 1:] == stored[:, :, :-1])[inside].mean() > FLAT


def _stored(file: BinaryIO, header: Header) -> np.ndarray:
    """(slices, rows, columns) in native byte order: integers of up to 16 bits as stored, all others as float32."""
    left = header.data_start
    while left:
        part = file.read(min(CHUNK, left))
        if not part:
            raise UnreadableScan(DAMAGED)
        left -= len(part)
    keep = header.dtype.kind in "iu" and header.dtype.itemsize <= 2
    volume = np.empty(header.shape, header.dtype.newbyteorder("=") if keep else np.float32)
    length = header.shape[1] * header.shape[2] * header.dtype.itemsize
    for pixels in volume:  # slice by slice: a volume of 8 bytes a voxel would not fit beside its copy
        part = file.read(length)
        if len(part) < length:
            raise UnreadableScan(DAMAGED)
        with np.errstate(over="ignore", invalid="ignore"):
            pixels.flat = np.frombuffer(part, header.dtype)
    return volume


def _best_plane(header: Header) -> tuple[str, geometry.Axes]:
    """The plane to show, and how the array lies; raises UnreadableScan if no plane makes slices of a fit size."""
    directions = header.directions if header.directions is not None else np.diag([1.0, -1.0, -1.0])[:, ::-1]
    axes = geometry.closest_axes(directions)
    planes = list(geometry.DISPLAY)
    if header.steps and max(header.steps) > ANISOTROPIC * min(header.steps):
        coarsest = axes[int(np.argmax(header.steps))].along
        planes.sort(key=lambda plane: geometry.DISPLAY[plane][0].along != coarsest)
    failures = []
    for plane in planes:
        count, height, width = (header.shape[i] for i in geometry.displayed_order(axes, plane))
        _, *sides = header.steps_in(axes, plane) or (0, 1, 1)
        height, width = square_shape((height, width), *sides)
        try:
            limits.check_shape(height, width)
            limits.check_in_all(count * height * width, count)
            return plane, axes
        except UnreadableScan as error:
            failures.append(error)
    raise failures[0]
