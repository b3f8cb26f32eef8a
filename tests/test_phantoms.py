"""Drawn slices, volumes and data sets: always the same, truthful about their lesion; and the page's examples."""

import gzip
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from examples import make_examples
from examples.make_examples import DRAWN, FOLDER, GRAY_STEP, HEADS, PIXEL_MM, SLICE_MM, SLICE_SIZE, SLICES, VOLUMES
from model import CLASSES, scans
from training.data.frames import read_dataset
from training.data.phantoms import draw_other, draw_phantom, draw_volume, write_phantom_dataset
from training.data.phantoms.heads import SELLAR_VIEWS, SEQUENCES, VIEWS
from training.data.phantoms.others import KINDS

TUMORS = CLASSES[:3]
SIZE = 96  # all that these tests need, and quick


@pytest.fixture(scope="module")
def drawn():
    """Phantoms of each class."""
    return {label: [draw_phantom(label, seed, SIZE) for seed in range(12)] for label in CLASSES}


def test_a_seed_gives_the_same_pixels_and_slices_of_one_patient_share_view_and_sequence(drawn):
    first, second = (draw_phantom("glioma", 7, SIZE, slice_index=index) for index in (0, 1))
    assert np.array_equal(first.image, drawn["glioma"][7].image) and np.array_equal(first.mask, drawn["glioma"][7].mask)
    assert (first.view, first.sequence) == (second.view, second.sequence)
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.image, drawn["glioma"][8].image)


@pytest.mark.parametrize("label", CLASSES)
def test_every_class_is_drawn_in_every_view_that_can_show_it(label):
    views = SELLAR_VIEWS if label == "pituitary" else VIEWS
    for k, view in enumerate(views):
        sequence = SEQUENCES[k % 4]
        phantom = draw_phantom(label, 5, SIZE, view=view, sequence=sequence)
        assert (phantom.label, phantom.view, phantom.sequence) == (label, view, sequence)
        assert phantom.image.shape == phantom.mask.shape == (SIZE, SIZE) and phantom.image.dtype == np.uint8
        assert np.median(phantom.image[:3]) < 40, "the background above the head is dark"
        assert phantom.image.max() > 150 and phantom.image.std() > 20, "the head is not"


@pytest.mark.parametrize("label", TUMORS)
def test_box_is_tight_around_a_mask_of_plausible_size(drawn, label):
    smallest, largest = {"glioma": (0.05, 0.5), "meningioma": (0.06, 0.4), "pituitary": (0.03, 0.22)}[label]
    for phantom in drawn[label]:
        x_center, y_center, width, height = phantom.box
        for center, extent, places in zip((y_center, x_center), (height, width), np.nonzero(phantom.mask), strict=True):
            ends = (center - extent / 2) * SIZE, (center + extent / 2) * SIZE
            assert ends == pytest.approx((places.min(), places.max() + 1))
        assert smallest <= max(width, height) <= largest
    assert all(phantom.box is None and not phantom.mask.any() for phantom in drawn["notumor"])


def test_lesions_stand_out_and_brightness_alone_does_not_tell_the_class(drawn):
    """A glioma may also be both brighter and darker: a rim around a dark core."""
    apart = []
    for phantom in (phantom for label in TUMORS for phantom in drawn[label]):
        image, around = phantom.image.astype(float), binary_dilation(phantom.mask, iterations=4) & ~phantom.mask
        difference = abs(np.median(image[phantom.mask]) - np.median(image[around]))
        apart.append(max(difference, image[phantom.mask].std() - 15) if phantom.label == "glioma" else difference)
    assert np.median(apart) > 20, apart
    tumors, healthy = (np.array([phantom.image.mean() for phantom in drawn[name]]) for name in ("glioma", "notumor"))
    assert 0.25 < (tumors[:, None] > healthy).mean() < 0.75


def test_other_images_are_of_many_kinds_and_reproducible():
    images = [draw_other(seed, SIZE) for seed in range(24)]
    assert all(np.array_equal(image, draw_other(seed, SIZE)) for seed, image in enumerate(images[:12]))
    assert len({image.tobytes() for image in images}) == 24 and len(KINDS) >= 8


# ---- a data set on disk


def test_a_data_set_lists_every_image_with_its_box_and_no_patient_is_in_two_splits(tmp_path):
    first, again = (write_phantom_dataset(tmp_path / name, per_class=6, size=SIZE) for name in ("first", "again"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert all((first / file).read_bytes() == (again / file).read_bytes() for file in files)
    dataset = read_dataset(first)
    assert {record.id for record in dataset.records} == {f.as_posix() for f in files if f.suffix != ".csv"}
    assert Counter(record.label for record in dataset.records) == dict.fromkeys(CLASSES, 6) and not dataset.problems
    assert all((record.box is None) == (record.label == "notumor") for record in dataset.records)
    of_groups = {(record.group, record.split) for record in dataset.records}
    assert len(of_groups) == len({group for group, _ in of_groups}), "one split each"
    assert len({(record.label, record.split) for record in dataset.records}) == len(CLASSES) * 3


# ---- volumes


def test_the_lesion_of_a_volume_grows_and_shrinks_and_most_slices_show_none():
    with_lesion, without = (draw_volume(name, 3, 24, SIZE, "t1c") for name in ("glioma", "notumor"))
    lesion_area = (np.abs(with_lesion.astype(int) - without) > 20).mean(axis=(1, 2))
    shown = np.flatnonzero(lesion_area > 0.001)
    assert 4 <= len(shown) <= 12 and shown[-1] - shown[0] == len(shown) - 1
    assert lesion_area[shown[len(shown) // 2]] > 2 * max(lesion_area[shown[0]], lesion_area[shown[-1]])
    assert without.shape == (24, SIZE, SIZE) and without.dtype == np.uint8
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(without, without[1:], strict=False)]
    covered = (without > 30).mean(axis=(1, 2))
    assert np.median(alike) > 0.85 and covered[-1] < 0.7 * covered[12], "narrower at the vertex"


# ---- the examples of the page


def test_examples_are_what_the_script_draws_and_small():
    for name, (label, view, sequence, seed) in HEADS.items():
        path = FOLDER / f"{name}.png"
        assert path.stat().st_size < 60_000
        drawn = draw_phantom(label, seed, make_examples.SIZE, view=view, sequence=sequence).image
        with Image.open(path) as image:
            off = np.abs(np.asarray(image, dtype=float) - drawn).mean()
        assert off < 4, f"{name} is out of date: run python -m examples.make_examples"


@pytest.mark.parametrize("name", VOLUMES)
def test_example_volumes_are_what_the_script_draws_and_small(name):
    assert (FOLDER / name).stat().st_size < 310_000
    label, sequence, seed = VOLUMES[name]
    volume = draw_volume(label, seed, SLICES, SLICE_SIZE, sequence) // GRAY_STEP * GRAY_STEP
    scan = scans.read(FOLDER / name)
    off = np.abs(np.stack(scan.slices) / 257 - volume).mean()
    assert off < 4, f"{name} is out of date: run python -m examples.make_examples"
    assert scan.plane == "axial" and scan.spacing == pytest.approx((SLICE_MM, PIXEL_MM))
    assert list(scans.planes(scan)) == ["axial", "coronal", "sagittal"] and scan.notes == ()


def test_example_files_are_the_same_bytes_each_time_and_say_that_they_are_drawn():
    volume = draw_volume("notumor", 1, 3, SIZE, "t1")
    packed, nifti = make_examples.dicom_zip(volume, "a"), make_examples.nifti_gz(volume)
    assert make_examples.dicom_zip(volume, "a") == packed and make_examples.nifti_gz(volume) == nifti
    assert DRAWN.encode() in make_examples.dicom(volume[0], 0, "a") and DRAWN.encode() in gzip.decompress(nifti)
