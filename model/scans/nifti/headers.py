"""The header of a NIfTI file: shape, type, place in the patient (nifti1.h and nifti2.h of the NIfTI working group)."""

from dataclasses import dataclass

import numpy as np

from .. import limits
from ..resample import plausible
from ..scan import UnreadableScan

FIELDS_1 = {  # name: type and place
    **{"dim": ("8i2", 40), "datatype": ("i2", 70), "pixdim": ("8f4", 76), "vox_offset": ("f4", 108)},
    **{"scl_slope": ("f4", 112), "scl_inter": ("f4", 116), "xyzt_units": ("u1", 123)},
    **{"qform_code": ("i2", 252), "sform_code": ("i2", 254), "quaternion": ("3f4", 256), "offset": ("3f4", 268)},
    **{"srow": ("(3,4)f4", 280)},
}
FIELDS_2 = {
    **{"datatype": ("i2", 12), "dim": ("8i8", 16), "pixdim": ("8f8", 104), "vox_offset": ("i8", 168)},
    **{"scl_slope": ("f8", 176), "scl_inter": ("f8", 184), "qform_code": ("i4", 344), "sform_code": ("i4", 348)},
    **{"quaternion": ("3f8", 352), "offset": ("3f8", 376), "srow": ("(3,4)f8", 400), "xyzt_units": ("u4", 500)},
}
SIZE_1, SIZE_2 = 348, 540
TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8"}
MILLIMETERS = ("millimeters", 1.0)
UNITS = {1: ("meters", 1000.0), 2: MILLIMETERS, 3: ("micrometers", 0.001)}  # by the lowest three bits of xyzt_units
TO_LPS = np.diag([-1.0, -1.0, 1.0])  # NIfTI's x and y grow to the right and the front
DAMAGED = "The NIfTI file is damaged or incomplete. Export it again."


@dataclass(frozen=True)
class Header:
    """What a file says of its first volume.

    shape: slices, rows, columns, as stored: the last index grows fastest.
    dtype: of the stored values, in the file's byte order.
    data_start: byte at which they begin.
    slope, intercept: of stored -> real values.
    directions: (3, 3); row i is the step in mm, in the patient, of index i (LPS, see `orientation`); None if unknown.
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
    code = int(fields["datatype"])
    if code not in TYPES:
        raise UnreadableScan(
            "The NIfTI file holds colors or complex numbers, not gray values. Convert it to a gray volume."
        )
    dtype = np.dtype(TYPES[code]).newbyteorder(fields.dtype["dim"].base.byteorder)
    if slices * rows * columns > limits.MAX_PIXELS_IN_ALL:
        raise UnreadableScan(
            f"The volume has more than {limits.MAX_PIXELS_IN_ALL // 10**6} million voxels. Crop it to the head, or "
            "scale it down."
        )
    smallest = SIZE_2 if len(start) >= SIZE_2 and fields.dtype.itemsize == SIZE_2 else SIZE_1
    data_start = float(fields["vox_offset"])
    if not smallest <= data_start <= limits.MAX_BYTES:
        data_start = smallest + 4  # old writers leave it at 0; four bytes say whether extensions follow
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if not slope or not np.isfinite([slope, intercept]).all():
        slope, intercept = 1.0, 0.0
    volumes = int(np.prod(more, dtype=np.float64))
    return Header((slices, rows, columns), dtype, int(data_start), slope, intercept, *_place(fields), volumes)


def _fields(start: bytes) -> np.void:
    for size, layout in ((SIZE_1, FIELDS_1), (SIZE_2, FIELDS_2)):
        for order in "<>":
            if int.from_bytes(start[:4], "little" if order == "<" else "big") == size and len(start) >= size:
                formats, offsets = zip(*layout.values(), strict=True)
                made = {"names": list(layout), "formats": formats, "offsets": offsets, "itemsize": size}
                return np.frombuffer(start, np.dtype(made).newbyteorder(order), count=1)[0]
    raise UnreadableScan(DAMAGED)


def _place(fields: np.void) -> tuple[np.ndarray | None, tuple[float, float, float] | None, str]:
    """Directions of the array's indices, slowest first, by sform, else by qform; their lengths; as `Header.unit`."""
    pixdim = np.abs(np.asarray(fields["pixdim"], np.float64)[1:4])
    candidates = []
    if fields["sform_code"] > 0:
        candidates.append(np.asarray(fields["srow"], np.float64)[:, :3])
    if fields["qform_code"] > 0:
        sizes = pixdim * (1, 1, -1 if fields["pixdim"][0] < 0 else 1)
        candidates.append(_rotation(*np.asarray(fields["quaternion"], np.float64)) @ np.diag(sizes))
    name, factor = UNITS.get(int(fields["xyzt_units"]) & 7, MILLIMETERS)
    for unit, in_mm in (("", factor),) if factor == 1 else (("", factor), (name, 1.0)):
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
