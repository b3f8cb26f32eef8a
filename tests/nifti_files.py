"""NIfTI files made in memory by nibabel, the field's own library, which the reader does without."""

import gzip

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform


def head_volume(shape: tuple[int, ...] = (40, 36, 44), seed: int = 0) -> np.ndarray:
    """int16 with all axes of different length, indices growing to the left, the back and the head (LPS)."""
    return np.random.default_rng(seed).integers(-200, 3000, shape).astype(np.int16)


def nifti(
    volume: np.ndarray,
    steps: tuple[float, float, float] = (1, 1, 1),
    codes: str = "LPS",
    kind: type = nib.Nifti1Image,
    packed: bool = False,
    **header: object,
) -> bytes:
    """The file of a volume that lies as LPS, stored with its axes in the order and directions of `codes`.

    Args: `steps`, mm along L, P and S; `packed`, as .nii.gz; `header`, fields to set besides.
    """
    affine = np.diag([-steps[0], -steps[1], steps[2], 1.0])  # nibabel's world is RAS
    change = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(codes))
    stored = apply_orientation(volume, change)
    image = kind(stored, affine @ inv_ornt_aff(change, volume.shape[:3]))
    image.header["sform_code"], image.header["qform_code"] = 1, 1
    for field, value in header.items():
        image.header[field] = value
    content = image.to_bytes()
    return gzip.compress(content, 1) if packed else content
