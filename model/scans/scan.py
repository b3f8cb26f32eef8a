"""What reading gives: a scan, or a sentence why there is none."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class UnreadableScan(ValueError):
    """A file that cannot be read as a scan; the message is a sentence for the user: what is wrong, what to do."""


class Unreadable(NamedTuple):
    """One of many files that could not be read: what the user calls it, and the sentence that says why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """The slices of one picture, series or volume, and what its tags say of them; no tag that identifies anybody.

    slices: 2-D gray arrays (uint8, uint16 or float32), upright, in full depth, with square pixels, in order. Those of
        DICOM and NIfTI are shown as radiologists see them: the patient's right is on the left of axial and coronal
        slices, the face on the left of sagittal ones. Axial slices run from the feet up, coronal ones from the face
        back, sagittal ones from the patient's right to the left.
    name: what the user calls it; made of the file's name.
    plane: "axial", "coronal", "sagittal", or "" where it is not known.
    spacing: mm from slice to slice, and from pixel to pixel; None where either is not known.
    sequence: "T1", "T1C+", "T2", "FLAIR", or "" where the tags do not say it.
    kind: "PNG", "JPEG", "TIFF", "BMP", "WebP", "DICOM", "DICOM series" or "NIfTI".
    notes: sentences about what was left out or assumed.
    """

    slices: list[np.ndarray]
    name: str
    plane: str = ""
    spacing: tuple[float, float] | None = None
    sequence: str = ""
    kind: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_volume(self) -> bool:
        """Whether other planes can be cut: several slices of one shape, in a known plane, at known distances."""
        shapes = {pixels.shape for pixels in self.slices}
        return len(self.slices) > 1 and len(shapes) == 1 and bool(self.plane) and self.spacing is not None
