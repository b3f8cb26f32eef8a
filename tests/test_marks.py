"""Lines that people draw on slices, and what only looks like them."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from model import scans
from model.marks import DRAWN_ON, FAR, _as_bytes, has_color, has_lines, signs_of_lines
from model.report import classify
from model.scans import Scan, planes
from tests.dicom_files import dicom
from tests.test_preprocess import slices
from training.evaluation.marks import SHAPES, draw, windowed

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = sorted(path for path in EXAMPLES.glob("*.png") if "chest" not in path.name)
VOLUMES = sorted((*EXAMPLES.glob("*.zip"), *EXAMPLES.glob("*.gz")))
PLAIN = {path: scans.read(path).slices[0] for path in PICTURES}
HEALTHY = PLAIN[EXAMPLES / "no_tumor_axial_t1.png"]
SLICE = st.tuples(st.sampled_from(PICTURES), st.sampled_from((256, 320, 512, 1024)))  # and pixels of its longer side
THICK, SEED = st.integers(1, 4), st.integers(0, 2**20)


def with_ellipse(pixels: np.ndarray, white: int, width: int = 2) -> np.ndarray:
    """A slice with an ellipse in the middle of it."""
    height, across = pixels.shape
    image = Image.fromarray(np.zeros_like(pixels, np.uint8))
    box = (0.35 * across, 0.4 * height, 0.62 * across, 0.58 * height)
    ImageDraw.Draw(image).ellipse(box, outline=1, width=width)
    return np.where(np.asarray(image) > 0, np.array(white, pixels.dtype), pixels)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# ---- what is drawn


AROUND, WHITES = st.sampled_from(("ellipse", "rectangle", "freehand")), st.sampled_from(("white", "outlined"))


@settings(max_examples=25)
@given(SLICE, AROUND, WHITES, THICK, SEED)
def test_a_white_line_around_something_is_found(path_and_side, shape, color, thick, seed):
    path, side = path_and_side
    picture, _ = draw(PLAIN[path], np.random.default_rng(seed), side, color, shape, thick=1 + thick)
    assert has_lines(np.asarray(Image.fromarray(picture).convert("L")))


@settings(max_examples=15)
@given(SLICE, st.sampled_from(SHAPES), st.sampled_from(("red", "yellow", "green")), THICK, SEED)
def test_color_is_found_whatever_is_drawn_with_it(path_and_side, shape, color, thick, seed):
    path, side = path_and_side
    picture, _ = draw(PLAIN[path], np.random.default_rng(seed), side, color, shape, thick=thick)
    assert scans.read(png(picture), "a.png").marked == (0,)


@pytest.mark.parametrize("path", PICTURES[::2], ids=lambda path: path.stem)
def test_a_line_at_the_maximum_of_16_bits_is_found_over_tissue_that_is_dark_beside_it(path):
    assert has_lines(with_ellipse(PLAIN[path].astype(np.uint16) * 12, 65535))
    assert has_lines(with_ellipse(PLAIN[path].astype(np.float32), 255.0))


def test_a_mark_makes_an_accepted_answer_doubtful_and_gives_the_reason(classifier):
    plain, marked = classifier.predict([HEALTHY, with_ellipse(HEALTHY, 255)])
    assert plain.status == "accepted" and marked.status == "doubtful" and marked.about_slice.startswith(DRAWN_ON)


def test_a_colored_mark_on_one_page_is_reported_for_that_page(classifier):
    picture, _ = draw(HEALTHY, np.random.default_rng(0), 320, "red", "ellipse", thick=2)
    file = io.BytesIO()
    pages = [Image.fromarray(np.repeat(HEALTHY[..., None], 3, axis=2)), Image.fromarray(picture)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    scan = scans.read(file.getvalue(), "two.tif")
    ((_, case),) = [found for found in classify(classifier, [scan]) if found[1]]
    assert scan.marked == (1,)
    assert [DRAWN_ON in made.reason for made in case.predictions] == [False, True]


def test_a_message_is_given_once_of_lines_that_color_and_gray_show(classifier):
    scan = Scan([with_ellipse(HEALTHY, 255)], "a.png", marked=(0,))
    ((_, case),) = [found for found in classify(classifier, [scan]) if found[1]]
    assert case.status == "doubtful" and case.reason.count(DRAWN_ON) == 1


def test_a_mark_burned_into_a_secondary_capture_is_found_in_color():
    picture, _ = draw(HEALTHY, np.random.default_rng(0), 320, "yellow", "arrow", thick=2)
    for pixels, marked in ((picture, (0,)), (np.repeat(HEALTHY[..., None], 3, axis=2), ())):
        assert scans.read(dicom(pixels), "a.dcm").marked == marked


def test_a_plane_cut_through_marked_slices_is_marked():
    scan = scans.read(VOLUMES[0])
    assert not any(cut.marked for cut in planes(scan).values())
    for plane, cut in planes(replace(scan, marked=(3,))).items():
        assert cut.marked == ((3,) if plane == scan.plane else tuple(range(len(cut.slices))))


# ---- what is not


@pytest.mark.parametrize("path", [*PICTURES, *VOLUMES], ids=lambda path: path.name)
def test_no_example_is_marked(path):
    for scan in planes(scans.read(path)).values():
        assert not scan.marked and not any(has_lines(pixels) for pixels in scan.slices)


@pytest.mark.parametrize("gain", [1.5, 2, 3])
@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_what_a_narrow_window_makes_white_is_not_drawn(path, gain):
    bright = windowed(PLAIN[path], gain)
    assert not has_lines(bright) and not has_color(np.repeat(bright[..., None], 3, axis=2))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_white_frame_and_letters_in_the_corners_are_not_on_the_head(path):
    image = Image.fromarray(PLAIN[path])
    pen = ImageDraw.Draw(image)
    pen.rectangle((2, 2, image.width - 3, image.height - 3), outline=255)
    pen.text((8, 8), "R", fill=255)
    pen.text((image.width - 60, image.height - 18), "5 cm 12:30", fill=255)
    assert not has_lines(np.asarray(image))


def test_a_ring_of_fat_cut_off_by_the_window_is_not_drawn():
    y, x = np.mgrid[-1:1:320j, -1:1:320j]
    radius = np.hypot(x / 0.7, y / 0.85)
    for softness in (0.02, 0.03, 0.04):
        ring = 600 * np.exp(-(((radius - 0.95) / softness) ** 2))
        assert not has_lines(np.clip(90 * (radius < 0.9) + ring, 0, 255).astype(np.uint8))


def test_a_tinted_slice_is_not_drawn_on():
    assert not has_color((HEALTHY[..., None] * np.array((0.6, 0.8, 1))).astype(np.uint8))


def test_a_run_belongs_to_a_line_only_where_it_touches_it():
    y, x = np.mgrid[0:64, 0:64]
    head = np.where((y - 32) ** 2 + (x - 32) ** 2 < 25**2, 80, 0).astype(np.uint8)
    head[20:24, 40:42] = 255  # too short for a line
    head[24, 25:27] = 255  # in the next row, and the last of the slice
    assert not len(signs_of_lines(head)[0])
    head[24, 40:42] = 255
    assert len(signs_of_lines(head)[0]) == 1


@settings(max_examples=25)
@given(st.sampled_from(PICTURES), st.sampled_from(SHAPES), st.sampled_from((240, 256, 300)), st.integers(0, 2**20))
def test_lines_are_the_same_lines_on_a_slice_that_is_turned(path, shape, side, seed):
    picture, _ = draw(PLAIN[path], np.random.default_rng(seed), side, "white", shape, thick=2)
    gray = np.asarray(Image.fromarray(picture).convert("L"))[seed % 40 :]
    (signs, middles), (turned, turned_middles) = signs_of_lines(gray), signs_of_lines(gray.T)
    found, again = np.hstack((middles, signs[:, :13])), np.hstack((turned_middles[:, ::-1], turned[:, :13]))
    assert len(found) and sorted(found.tolist()) == sorted(again.tolist())


@settings(max_examples=100)
@given(slices())
def test_gray_is_to_the_last_bit_what_plain_steps_make_of_all_pixels(pixels):
    values = np.nan_to_num(pixels.astype(np.float32), nan=0, posinf=0, neginf=0)
    low, high = min(0, float(values.min())), float(values.max())
    tissue = float(np.percentile(values[::4, ::4], 98)) - low
    if 0 < tissue * FAR < high - low:
        high = low + tissue * FAR
    gray = (np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(_as_bytes(pixels), pixels if pixels.dtype == np.uint8 and pixels.max() >= 250 else gray)


@pytest.mark.parametrize("value", [0, 7.0, np.nan])
def test_a_slice_without_anything_on_it_has_no_lines(value):
    assert not has_lines(np.full((40, 50), value, np.float32))
