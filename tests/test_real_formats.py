"""Real exports, where they are at hand: against nibabel and pydicom, which read them in their own way."""

import random
import zipfile
from io import BytesIO

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from model import scans


@pytest.fixture
def formats(shared_data):
    folder = shared_data / "formats"
    if not folder.is_dir():
        pytest.skip(f"needs the real exports in {folder}")
    return folder


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("MR_Gd.nii.gz", (144, 188, 176)),
        ("avg152T1_LR_nifti.nii.gz", (91, 109, 91)),
        ("sample1_FL.nii.gz", (35, 256, 256)),
        ("sample1_T1.nii.gz", (120, 120, 90)),
    ],
)
def test_a_volume_is_shown_as_nibabel_turns_it(formats, name, shape):
    scan = scans.read(formats / name)
    stack = np.stack(scan.slices).astype(np.float64)
    assert (scan.plane, scan.kind, scan.notes) == ("axial", "NIfTI", ()) and scan.is_volume
    assert 0.97 < stack.shape[1] / shape[1] < 1.05, "voxels that are not quite square are made so"
    canonical = nib.as_closest_canonical(nib.load(formats / name))  # right, front, head
    expected = canonical.get_fdata()[::-1, ::-1].transpose(2, 1, 0)
    assert len(stack) == len(expected)
    low, high = np.percentile(expected, (0.1, 99.9))
    if stack.shape == expected.shape:
        expected = np.clip((expected - low) / (high - low), 0, 1) * 65535
        assert np.corrcoef(expected.ravel(), stack.ravel())[0, 1] > 0.9999
    assert set(scans.planes(scan)) == {"axial", "coronal", "sagittal"}


def test_a_series_is_one_volume_however_it_comes(formats, tmp_path):
    files = sorted((formats / "dicom_series").glob("*.dcm"))
    (scan,) = scans.read_all(files)
    assert (scan.kind, scan.plane, scan.sequence, scan.notes) == ("DICOM series", "axial", "T1", ())
    assert len(scan.slices) == len(files) and scan.is_volume
    by_height = sorted((dcmread(file) for file in files), key=lambda data: data.ImagePositionPatient[2])
    for pixels, data in zip(scan.slices, by_height, strict=True):
        down, right = data.PixelSpacing
        assert pixels.shape == (data.Rows, round(data.Columns * right / down)), "its pixels are wider than high"
        stored = Image.fromarray(data.pixel_array.astype(np.float32)).resize(pixels.shape[::-1])
        shown = pixels < 65535  # the window cuts the brightest
        assert np.corrcoef(pixels[shown], np.asarray(stored)[shown])[0, 1] > 0.98
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, file in enumerate(random.Random(0).sample(files, len(files))):
            archive.write(file, f"study/IM{i}")
    np.testing.assert_array_equal(scans.read(packed.getvalue()).slices, scan.slices)
