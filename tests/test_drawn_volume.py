"""Volumes drawn of one head: always the same, with a lesion that comes and goes; and the examples made of them."""

import gzip

import numpy as np
import pytest

from examples.make_examples import (
    DRAWN,
    FOLDER,
    GRAY_STEP,
    PIXEL_MM,
    SLICE_MM,
    SLICE_SIZE,
    SLICES,
    VOLUMES,
    dicom,
    dicom_zip,
    nifti_gz,
)
from model import scans
from training.data.phantoms import draw_volume

SIZE = 96  # all that these tests need, and quick


@pytest.fixture(scope="module", params=["glioma", "meningioma"])
def lesion_area(request):
    """Share of each slice that the lesion changes."""
    with_lesion, without = (draw_volume(label, 3, 24, SIZE, "t1c") for label in (request.param, "notumor"))
    return (np.abs(with_lesion.astype(int) - without) > 20).mean(axis=(1, 2))


def test_the_lesion_grows_and_shrinks_and_most_slices_show_none(lesion_area):
    shown = np.flatnonzero(lesion_area > 0.001)
    assert 4 <= len(shown) <= 12 and shown[-1] - shown[0] == len(shown) - 1
    middle = lesion_area[shown[len(shown) // 2]]
    assert middle > 2 * lesion_area[shown[0]] and middle > 2 * lesion_area[shown[-1]]


def test_the_same_arguments_give_the_same_volume_and_another_seed_another():
    first, again, other = (draw_volume("notumor", seed, 4, SIZE, "t2") for seed in (1, 1, 2))
    assert first.shape == (4, SIZE, SIZE) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_neighbors_are_alike_and_the_head_narrows_to_the_vertex():
    volume = draw_volume("notumor", 1, 40, SIZE, "t1").astype(float)
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(volume, volume[1:], strict=False)]
    assert np.median(alike) > 0.9
    covered = (volume > 30).mean(axis=(1, 2))
    assert covered[-1] < 0.7 * covered[20]


def test_a_pituitary_tumor_is_refused():
    with pytest.raises(ValueError, match="pituitary"):
        draw_volume("pituitary", 0, 4, SIZE, "t1")


@pytest.mark.parametrize("name", VOLUMES)
def test_example_volumes_are_what_the_script_draws_and_small(name):
    assert sum((FOLDER / each).stat().st_size for each in VOLUMES) < 600_000
    label, sequence, seed = VOLUMES[name]
    volume = draw_volume(label, seed, SLICES, SLICE_SIZE, sequence) // GRAY_STEP * GRAY_STEP
    scan = scans.read(FOLDER / name)
    gray = np.stack(scan.slices) / 257
    assert np.abs(gray - volume).mean() < 4, f"{name} is out of date: run python -m examples.make_examples"
    assert scan.plane == "axial" and scan.spacing == pytest.approx((SLICE_MM, PIXEL_MM))
    assert list(scans.planes(scan)) == ["axial", "coronal", "sagittal"] and scan.notes == ()


def test_example_files_are_the_same_bytes_each_time_and_say_that_they_are_drawn():
    volume = draw_volume("notumor", 1, 3, SIZE, "t1")
    assert dicom_zip(volume, "a") == dicom_zip(volume, "a") and nifti_gz(volume) == nifti_gz(volume)
    assert DRAWN.encode() in dicom(volume[0], 0, "a") and DRAWN.encode() in gzip.decompress(nifti_gz(volume))
