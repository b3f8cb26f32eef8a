"""Other planes cut from a volume: every structure stands where it stood, in square pixels."""

import numpy as np
import pytest

from model import scans
from model.scans import Scan, planes
from tests.nifti_files import nifti

STEPS = {"axial": (1, 1, 3), "coronal": (1, 3, 1), "sagittal": (3, 1, 1)}  # mm along L, P, S


def landmarks(steps):
    """A volume of 96 mm each way in LPS: a ramp to the left, to the back and up, each with a weight of its own."""
    x, y, z = (np.linspace(0, 96, 96 // step, endpoint=False) + step / 2 for step in steps)
    return (x[:, None, None] + 2 * y[:, None] + 5 * z).astype(np.float32)


@pytest.mark.parametrize("own", STEPS)
def test_all_planes_show_the_same_places(own):
    """Whatever the plane of recording, the three planes are those cut straight from the volume at 1 mm."""
    volume = landmarks((1, 1, 1))
    expected = {
        "axial": volume.transpose(2, 1, 0),
        "coronal": volume.transpose(1, 2, 0)[:, ::-1],
        "sagittal": volume.transpose(0, 2, 1)[:, ::-1],
    }
    scan = scans.read(nifti(landmarks(STEPS[own]), steps=STEPS[own]))
    cut = planes(scan)
    assert list(cut) == ["axial", "coronal", "sagittal"] and cut[own] is scan
    low, high = np.percentile(volume, (0.1, 99.9))
    for plane, other in cut.items():
        assert other.plane == plane and other.is_volume and other.name == scan.name
        assert other.slices[0].dtype == np.uint16
        if plane != own:
            assert other.spacing == (1, 1)
            levels = np.clip((expected[plane] - low) / (high - low), 0, 1) * 65535
            inside = (slice(2, -2),) * 3  # at the rim nothing lies beyond to interpolate with
            assert np.abs(np.stack(other.slices) - levels)[inside].max() < 0.01 * 65535


def test_planes_are_no_finer_than_a_millimeter():
    fine = Scan([np.zeros((400, 400), np.uint8)] * 200, "", "axial", (0.5, 0.5))
    cut = planes(fine)
    assert cut["coronal"].spacing == (1, 1)
    assert (len(cut["coronal"].slices), cut["coronal"].slices[0].shape) == (200, (100, 200))


def test_a_plane_of_stripes_is_left_out():
    """Ten slices of 5 mm are 50 mm high and 256 mm wide."""
    few = Scan([np.zeros((256, 256), np.uint8)] * 10, "", "axial", (5, 1))
    assert list(planes(few)) == ["axial"]


@pytest.mark.parametrize(
    "scan",
    [
        Scan([np.zeros((64, 64), np.uint8)] * 64, "without spacing", "axial"),
        Scan([np.zeros((64, 64), np.uint8)] * 64, "without a plane", "", (1, 1)),
        Scan([np.zeros((64, 64), np.uint8)], "one slice", "axial", (1, 1)),
        Scan([np.zeros((64, 64), np.uint8), np.zeros((64, 60), np.uint8)], "two sizes", "axial", (1, 1)),
    ],
    ids=lambda scan: scan.name,
)
def test_what_is_no_volume_is_only_itself(scan):
    assert planes(scan) == {scan.plane: scan}


def test_absurd_distances_make_no_absurd_planes():
    for spacing in ((100, 0.02), (0.02, 100)):
        cut = planes(Scan([np.zeros((64, 64), np.uint8)] * 64, "", "axial", spacing))
        assert list(cut) == ["axial"]
