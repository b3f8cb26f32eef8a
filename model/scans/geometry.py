"""How an array lies in the patient, how radiologists want to see it, and what that takes: planes, square pixels.

Directions are those of DICOM: x grows to the patient's left, y to the back, z to the head (LPS).
"""

from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np
from PIL import Image

from . import limits
from .scan import Scan

LEFT, BACK, HEAD = range(3)
SQUARE = 0.01  # pixels whose sides differ by less count as square: no eye and no network sees 1 %
PLAUSIBLE_MM = (0.01, 100.0)  # between pixels or slices of a head; other values are somebody's typing error
FINEST_MM = 1.0  # of pixels and distances in a plane that is cut: the network sees no finer, and no volume takes 100 MB


class Axis(NamedTuple):
    """Where the indices of one array axis grow to: along LEFT, BACK or HEAD (sign 1), or against it (sign -1)."""

    along: int
    sign: int


Axes = tuple[Axis, Axis, Axis]
DISPLAY = {  # from slice to slice, down, to the right
    "axial": (Axis(HEAD, 1), Axis(BACK, 1), Axis(LEFT, 1)),
    "coronal": (Axis(BACK, 1), Axis(HEAD, -1), Axis(LEFT, 1)),
    "sagittal": (Axis(LEFT, 1), Axis(HEAD, -1), Axis(BACK, 1)),
}


def closest_axes(directions: np.ndarray) -> Axes:
    """The axes of the body that the three axes of an array run along, or nearest to if it lies obliquely.

    `directions`: (3, 3); row i is the direction, in the patient, in which index i grows.
    """
    along = max(permutations(range(3)), key=lambda order: sum(abs(directions[i, order[i]]) for i in range(3)))
    return tuple(Axis(along[i], 1 if directions[i, along[i]] >= 0 else -1) for i in range(3))


def plane_of(axes: Axes) -> str:
    """The plane that the slices of an array (its last two axes) lie in."""
    return next(plane for plane, display in DISPLAY.items() if display[0].along == axes[0].along)


def displayed_order(axes: Axes, plane: str) -> list[int]:
    """Which axes of an array become slices, rows and columns of `plane`."""
    return [next(i for i in range(3) if axes[i].along == wanted.along) for wanted in DISPLAY[plane]]


def displayed(volume: np.ndarray, axes: Axes, plane: str) -> np.ndarray:
    """A view of `volume` whose slices are those of `plane`, turned as radiologists see them and in their order."""
    order = displayed_order(axes, plane)
    steps = [axes[i].sign * wanted.sign for i, wanted in zip(order, DISPLAY[plane], strict=True)]
    return volume.transpose(order)[tuple(slice(None, None, step) for step in steps)]


def plausible(*lengths: float) -> bool:
    """Whether distances in mm can be those of a scan; false for nan."""
    return all(PLAUSIBLE_MM[0] <= length <= PLAUSIBLE_MM[1] for length in lengths)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`pixels` (uint8, uint16 or float32) in another size, of the same type; antialiased where it shrinks."""
    if pixels.shape == (height, width):
        return np.ascontiguousarray(pixels)
    scaled = np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    return scaled.round().astype(pixels.dtype) if pixels.dtype.kind == "u" else scaled


def square_shape(shape: tuple[int, int], down: float, right: float) -> tuple[int, int]:
    """(height, width) that makes pixels of `down` x `right` mm square, at the finer of the two."""
    if abs(down - right) <= SQUARE * max(down, right):
        return shape
    finer = min(down, right)
    return max(1, round(shape[0] * down / finer)), max(1, round(shape[1] * right / finer))


def planes(scan: Scan) -> dict[str, Scan]:
    """Cut a volume into "axial", "coronal" and "sagittal" slices with square pixels, turned as radiologists see them.

    The plane that `scan` came in is `scan` itself. A plane whose slices would be stripes is left out, as of a volume of
    few thick slices. A scan that is no volume gives only itself, under its own plane's name, which may be "".
    """
    if not scan.is_volume:
        return {scan.plane: scan}
    between, pixel = scan.spacing
    side = max(FINEST_MM, min(between, pixel))
    shape = [max(1, round(length * pixel / side)) for length in scan.slices[0].shape]
    if not limits.fits(len(scan.slices), *shape):
        return {scan.plane: scan}
    volume = np.stack([resized(pixels, *shape) for pixels in scan.slices])
    own, steps, cut = DISPLAY[scan.plane], (between, side, side), {}
    for plane in DISPLAY:
        view = displayed(volume, own, plane)
        height, width = (
            round(n * steps[i] / side) for n, i in zip(view.shape[1:], displayed_order(own, plane)[1:], strict=True)
        )
        if plane == scan.plane:
            cut[plane] = scan
        elif limits.fits(len(view), height, width):
            slices = [resized(pixels, height, width) for pixels in view]
            marked = tuple(range(len(slices))) if scan.marked else ()  # a line may pass through each of them
            cut[plane] = replace(scan, slices=slices, plane=plane, spacing=(side, side), marked=marked)
    return cut
