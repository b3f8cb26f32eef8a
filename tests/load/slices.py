"""What is sent: a drawn slice as a JPEG of 512 pixels, or as every slice of a volume."""

import io

import nibabel
import numpy as np
from PIL import Image

from tests.server import REPOSITORY

SIDE, QUALITY = 512, 90


def _drawn(side: int) -> Image.Image:
    return Image.open(REPOSITORY / "examples" / "glioma_axial_flair.png").convert("L").resize((side, side))


def _jpeg() -> bytes:
    out = io.BytesIO()
    _drawn(SIDE).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def volume(count: int, side: int) -> bytes:
    """NIfTI of `count` slices 1 mm apart, of `side` x `side` pixels of 1 mm."""
    slices = np.repeat(np.asarray(_drawn(side), np.int16).T[:, :, None], count, axis=2)
    return nibabel.Nifti1Image(slices, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes()


JPEG = _jpeg()
