"""Phantoms: always the same, truthful about their lesion, and laid out on disk like the public pool."""

import csv

import numpy as np
import pytest
from PIL import Image

from examples.make_examples import FOLDER, HEADS
from examples.make_examples import SIZE as EXAMPLE_SIZE
from model import CLASSES
from training.data.phantoms import draw_other, draw_phantom, write_phantom_dataset
from training.data.phantoms.heads import SELLAR_VIEWS, SEQUENCES, VIEWS
from training.data.phantoms.others import KINDS

TUMORS = CLASSES[:3]
SIZE = 96  # all that these tests need, and quick


def test_same_seed_gives_same_pixels_and_another_seed_gives_others():
    first, again, other = (
        draw_phantom("glioma", 7, SIZE),
        draw_phantom("glioma", 7, SIZE),
        draw_phantom("glioma", 8, SIZE),
    )
    assert np.array_equal(first.image, again.image) and np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


def test_slices_of_one_patient_share_view_and_sequence_but_not_pixels():
    first, second = (draw_phantom("meningioma", 3, SIZE, slice_index=index) for index in (0, 1))
    assert (first.view, first.sequence) == (second.view, second.sequence)
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("label", CLASSES)
def test_every_class_is_drawn_in_every_view_that_can_show_it(label, view):
    if label == "pituitary" and view not in SELLAR_VIEWS:
        with pytest.raises(ValueError, match="sella"):
            draw_phantom(label, 0, SIZE, view=view)
        return
    for sequence in SEQUENCES:
        phantom = draw_phantom(label, 5, SIZE, view=view, sequence=sequence)
        assert (phantom.label, phantom.view, phantom.sequence) == (label, view, sequence)
        assert phantom.image.shape == phantom.mask.shape == (SIZE, SIZE)
        assert phantom.image.dtype == np.uint8 and phantom.mask.dtype == bool
        assert np.median(phantom.image[:3]) < 40, "the background above the head is dark"
        assert phantom.image.max() > 150 and phantom.image.std() > 20, "the head is not"


def test_unknown_names_are_named_in_the_error():
    with pytest.raises(ValueError, match="glioblastoma"):
        draw_phantom("glioblastoma", 0, SIZE)
    with pytest.raises(ValueError, match="oblique"):
        draw_phantom("glioma", 0, SIZE, view="oblique")
    with pytest.raises(ValueError, match="dwi"):
        draw_phantom("glioma", 0, SIZE, sequence="dwi")


@pytest.mark.parametrize("label", TUMORS)
def test_box_is_tight_around_the_mask(label):
    for seed in range(20):
        phantom = draw_phantom(label, seed, SIZE)
        rows, columns = np.nonzero(phantom.mask)
        x_center, y_center, width, height = (value * SIZE for value in phantom.box)
        assert x_center - width / 2 == pytest.approx(columns.min())
        assert x_center + width / 2 == pytest.approx(columns.max() + 1)
        assert y_center - height / 2 == pytest.approx(rows.min())
        assert y_center + height / 2 == pytest.approx(rows.max() + 1)


def test_a_head_without_tumor_has_no_box_and_no_mask():
    phantom = draw_phantom("notumor", 1, SIZE)
    assert phantom.box is None and not phantom.mask.any()


@pytest.mark.parametrize("label", TUMORS)
def test_lesions_have_a_plausible_size(label):
    smallest, largest = {"glioma": (0.05, 0.5), "meningioma": (0.06, 0.4), "pituitary": (0.03, 0.22)}[label]
    for seed in range(30):
        box = draw_phantom(label, seed, SIZE).box
        assert smallest <= max(box[2:]) <= largest, f"seed {seed}: {box}"


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("label", ["meningioma", "pituitary"])
def test_even_lesions_differ_in_brightness_from_what_lies_around_them(label, sequence):
    differences = []
    for seed in range(15):
        phantom = draw_phantom(label, seed, 2 * SIZE, sequence=sequence)
        around = dilated(phantom.mask, 6) & ~dilated(phantom.mask, 2)
        image = phantom.image.astype(float)
        differences.append(abs(np.median(image[phantom.mask]) - np.median(image[around])))
    assert np.median(differences) > 20, differences


def test_gliomas_stand_out_where_the_mask_says_so():
    """A glioma is darker or brighter than what surrounds it, or both at once: a rim around a dark core."""
    apart = []
    for seed in range(20):
        phantom = draw_phantom("glioma", seed, 2 * SIZE)
        image = phantom.image.astype(float)
        around = dilated(phantom.mask, 8) & ~phantom.mask
        apart.append(max(abs(image[phantom.mask].mean() - image[around].mean()), image[phantom.mask].std() - 15))
    assert np.median(apart) > 20, apart


def test_brightness_alone_does_not_tell_the_class():
    """The mean brightness of an image tells gliomas from healthy heads hardly better than a coin."""
    tumors = np.array([draw_phantom("glioma", seed, SIZE).image.mean() for seed in range(40)])
    healthy = np.array([draw_phantom("notumor", seed, SIZE).image.mean() for seed in range(40)])
    auc = (tumors[:, None] > healthy[None, :]).mean()
    assert 0.25 < auc < 0.75


def test_other_images_are_of_many_kinds_and_reproducible():
    for seed in range(30):
        image = draw_other(seed, SIZE)
        assert image.shape == (SIZE, SIZE) and image.dtype == np.uint8
        assert np.array_equal(image, draw_other(seed, SIZE))
    assert len({draw_other(seed, SIZE).tobytes() for seed in range(30)}) == 30
    assert len(KINDS) >= 8


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_phantom_dataset(tmp_path_factory.mktemp("phantoms"), per_class=6, size=SIZE)


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_dataset_lists_every_image_with_the_columns_of_the_pool(dataset):
    rows = read_rows(dataset / "manifest.csv")
    assert list(rows[0]) == ["path", "label", "source", "group", "split", "original_width", "original_height"]
    on_disk = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.suffix in (".png", ".jpg")}
    assert {row["path"] for row in rows} == on_disk
    assert {label: sum(row["label"] == label for row in rows) for label in CLASSES} == dict.fromkeys(CLASSES, 6)
    with Image.open(dataset / rows[0]["path"]) as image:
        assert image.size == (SIZE, SIZE) and image.mode == "L"


def test_dataset_has_a_box_for_every_tumor_and_no_other(dataset):
    boxed = {row["path"] for row in read_rows(dataset / "boxes.csv")}
    assert boxed == {row["path"] for row in read_rows(dataset / "manifest.csv") if row["label"] != "notumor"}


def test_no_patient_is_in_two_splits_and_every_split_has_every_class(dataset):
    rows = read_rows(dataset / "manifest.csv")
    splits = {}
    for row in rows:
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    for label in CLASSES:
        assert {row["split"] for row in rows if row["label"] == label} == {"train", "val", "test"}


def test_dataset_is_reproducible(dataset, tmp_path):
    again = write_phantom_dataset(tmp_path, per_class=6, size=SIZE)
    for name in ("manifest.csv", "boxes.csv", *(row["path"] for row in read_rows(dataset / "manifest.csv"))):
        assert (again / name).read_bytes() == (dataset / name).read_bytes()


def test_examples_are_what_the_script_draws_small_and_two_of_each_class():
    for name, (label, view, sequence, seed) in HEADS.items():
        path = FOLDER / f"{name}.png"
        assert path.stat().st_size < 60_000
        with Image.open(path) as image:
            shipped = np.asarray(image, dtype=float)
        drawn = draw_phantom(label, seed, EXAMPLE_SIZE, view=view, sequence=sequence).image
        assert np.abs(shipped - drawn).mean() < 4, f"{name} is out of date: run python -m examples.make_examples"
    labels = [label for label, *_ in HEADS.values()]
    assert all(labels.count(label) >= 2 for label in CLASSES)


def dilated(mask, by):
    """Oracle: pixels within `by` steps of the mask."""
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask
