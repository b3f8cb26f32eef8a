"""How an array lies in the patient, and how radiologists want to see it.

Directions are those of DICOM: x grows to the patient's left, y to the back, z to the head (LPS).
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np

LEFT, BACK, HEAD = range(3)


class Axis(NamedTuple):
    """Where the indices of one array axis grow to: along LEFT, BACK or HEAD (sign 1), or against it (sign -1)."""

    along: int
    sign: int


DISPLAY = {  # from slice to slice, down, to the right
    "axial": (Axis(HEAD, 1), Axis(BACK, 1), Axis(LEFT, 1)),
    "coronal": (Axis(BACK, 1), Axis(HEAD, -1), Axis(LEFT, 1)),
    "sagittal": (Axis(LEFT, 1), Axis(HEAD, -1), Axis(BACK, 1)),
}


def closest_axes(directions: np.ndarray) -> tuple[Axis, Axis, Axis]:
    """The axes of the body that the three axes of an array run along, or nearest to if it lies obliquely.

    `directions`: (3, 3); row i is the direction, in the patient, in which index i grows.
    """
    along = max(permutations(range(3)), key=lambda order: sum(abs(directions[i, order[i]]) for i in range(3)))
    return tuple(Axis(along[i], 1 if directions[i, along[i]] >= 0 else -1) for i in range(3))


def plane_of(axes: tuple[Axis, Axis, Axis]) -> str:
    """The plane that the slices of an array (its last two axes) lie in."""
    return next(plane for plane, display in DISPLAY.items() if display[0].along == axes[0].along)


def displayed_order(axes: tuple[Axis, Axis, Axis], plane: str) -> list[int]:
    """Which axes of an array become slices, rows and columns of `plane`."""
    return [next(i for i in range(3) if axes[i].along == wanted.along) for wanted in DISPLAY[plane]]


def displayed(volume: np.ndarray, axes: tuple[Axis, Axis, Axis], plane: str) -> np.ndarray:
    """A view of `volume` whose slices are those of `plane`, turned as radiologists see them and in their order."""
    order = displayed_order(axes, plane)
    steps = [axes[i].sign * wanted.sign for i, wanted in zip(order, DISPLAY[plane], strict=True)]
    return volume.transpose(order)[tuple(slice(None, None, step) for step in steps)]
