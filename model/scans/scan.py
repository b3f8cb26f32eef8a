"""What reading gives: a scan, or the reason why there is none."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..wording import many


class UnreadableScan(ValueError):
    """A file that cannot be read as a scan; the message is for the user: what is wrong, what to do."""


class Unreadable(NamedTuple):
    """One of many files that could not be read: what the user calls it, and why."""

    name: str
    reason: str


class Omission(NamedTuple):
    """Slices that the files of a scan hold and that are not shown.

    count: how many; a file that cannot be read counts as the slices that its tags promise, at least as one.
    reason: why, and what to do, a sentence or more for the user.
    other_picture: whether they are known to be another picture, such as a localizer or a derived map, which a verdict
        on this scan need not cover.
    """

    count: int
    reason: str
    other_picture: bool = False

    def __str__(self) -> str:
        return f"{many(self.count, 'slice')} {'was' if self.count == 1 else 'were'} left out. {self.reason}"


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
    kind: "PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF", "DICOM", "DICOM series" or "NIfTI".
    assumptions: sentences about what the files do not say, or do not say rightly.
    warnings: sentences for which no verdict is "accepted" either.
    marked: indices of slices on which something is drawn in color; what is drawn in white, the gray slices show.
    omitted: what the files hold besides `slices`. With anything in it but other pictures, no verdict is "accepted".
    """

    slices: list[np.ndarray]
    name: str
    plane: str = ""
    spacing: tuple[float, float] | None = None
    sequence: str = ""
    kind: str = ""
    assumptions: tuple[str, ...] = ()
    omitted: tuple[Omission, ...] = ()
    warnings: tuple[str, ...] = ()
    marked: tuple[int, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why a verdict on the slices is none on the scan, such as what was left out, a sentence or more each."""
        return self.warnings + tuple(str(omission) for omission in self.omitted if not omission.other_picture)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, and which other pictures were left out, a sentence or more each."""
        return (*self.assumptions, *(str(omission) for omission in self.omitted if omission.other_picture))

    @property
    def nbytes(self) -> int:
        """Bytes that the slices take."""
        return sum(pixels.nbytes for pixels in self.slices)

    @property
    def is_volume(self) -> bool:
        """Whether other planes can be cut: several slices of one shape, in a known plane, at known distances."""
        shapes = {pixels.shape for pixels in self.slices}
        return len(self.slices) > 1 and len(shapes) == 1 and bool(self.plane) and self.spacing is not None
