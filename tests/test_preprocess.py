"""One framing rule: contrast, head window, square."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.preprocess import (
    FOREGROUND,
    LINE_SHARE,
    PERCENTILES,
    SMALLEST_HEAD,
    _percentiles,
    foreground_counts,
    frame,
    head_window,
    stretch_contrast,
)


@pytest.fixture
def slice_with_head():
    """A 12-bit-like slice, 200 x 300, with an ellipse 100 high and 80 wide around row 90, column 180."""
    y, x = np.mgrid[0:200, 0:300]
    inside = ((y - 90) / 50) ** 2 + ((x - 180) / 40) ** 2 < 1
    return np.where(inside, 1500 + 10 * x, 3).astype(np.uint16)


def test_the_window_is_a_square_around_the_head_with_its_margin(slice_with_head):
    window = head_window(stretch_contrast(slice_with_head), margin=0.1)
    assert window.side == pytest.approx(100 * 1.2, abs=6)
    assert window.left + window.side / 2 == pytest.approx(180, abs=2)
    assert window.top + window.side / 2 == pytest.approx(90, abs=2)


def test_a_wider_frame_around_the_same_head_changes_nothing(slice_with_head):
    padded = np.pad(slice_with_head, ((30, 80), (60, 10)), constant_values=3)
    near, far = (frame(pixels, 96, 0.06)[0].astype(int) for pixels in (slice_with_head, padded))
    assert np.abs(near - far).mean() < 2


def test_a_burnt_in_letter_does_not_move_the_window(slice_with_head):
    clean = head_window(stretch_contrast(slice_with_head), 0.06)
    slice_with_head[5:12, 5:11] = 4000
    assert head_window(stretch_contrast(slice_with_head), 0.06) == pytest.approx(clean, abs=2)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3), (0, 4)])
def test_anything_but_a_plane_of_pixels_is_refused(shape):
    with pytest.raises(ValueError, match="height, width"):
        frame(np.zeros(shape), 32, 0.06)


def plain_percentiles(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        ordered, places = np.sort(values, axis=None), (pixels.size - 1) * np.array(PERCENTILES) / 100
        below, above = ordered[np.floor(places).astype(int)], ordered[np.ceil(places).astype(int)]
        return below + (above - below) * (places - np.floor(places))
    return np.percentile(values, PERCENTILES)  # which rounds otherwise


def plainly_stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return (np.clip((values - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)


def plainly_framed(gray: np.ndarray, size: int, margin: float) -> np.ndarray:
    ends = []
    for axis in (1, 0):
        where = np.flatnonzero((gray > 255 * FOREGROUND).mean(axis) > LINE_SHARE)
        ends.append((where[0], where[-1] + 1) if len(where) > SMALLEST_HEAD * gray.shape[1 - axis] else None)
    if None in ends:
        ends = [(0, length) for length in gray.shape]
    side = max(last - first for first, last in ends) * (1 + 2 * margin)
    (top, left), side = (round(float((sum(both) - side) / 2)) for both in ends), max(1, round(float(side)))
    square = np.zeros((side, side), np.uint8)
    for y in range(max(top, 0), min(top + side, gray.shape[0])):
        for x in range(max(left, 0), min(left + side, gray.shape[1])):
            square[y - top, x - left] = gray[y, x]
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR))


SHAPES = ((1, 1), (1, 2), (2, 3), (1, 700), (900, 5), (37, 41), (72, 101), (63, 160), (130, 110))
DTYPES = ("?", "u1", "i1", "u2", "i2", ">u2", "i4", "i8", "f2", "f4", ">f4", "f8")
KINDS = ("noise", "few", "outliers", "gradient", "head", "bright grid", "dark grid")  # what a regular sample mistakes


@st.composite
def slices(draw) -> np.ndarray:
    rng, shape = np.random.default_rng(draw(st.integers(0, 2**20))), draw(st.sampled_from(SHAPES))
    dtype, kind = np.dtype(draw(st.sampled_from(DTYPES))), draw(st.sampled_from(KINDS))
    middle, spread = draw(st.sampled_from((0, 90, -1000, 40000))), 10 ** draw(st.floats(-1, 5))
    values = middle + spread * rng.standard_normal(shape)
    if kind == "few":
        values = np.floor(3 * rng.random(shape)) ** 4
    elif kind == "outliers":
        values = np.where(rng.random(shape) < draw(st.sampled_from((0.003, 0.006, 0.03, 0.05))), values, middle)
    elif kind == "gradient":
        values = np.sort(values, axis=None).reshape(shape)
    elif kind == "head":
        values[: shape[0] // 5] = values[:, shape[1] // 2 :] = middle - 2 * spread
    elif "grid" in kind:
        step = draw(st.integers(2, 3))
        values[::step, ::step] += (-20 if kind == "dark grid" else 20) * spread
    if dtype.kind == "f" and draw(st.booleans()):
        values[rng.random(shape) < draw(st.sampled_from((0.01, 0.5, 1)))] = rng.choice((np.nan, np.inf, -np.inf))
    if dtype.kind in "iu":
        values = values.clip(max(np.iinfo(dtype).min, -(2.0**62)), min(np.iinfo(dtype).max, 2.0**62))
    with np.errstate(over="ignore"):
        pixels = (values > middle if dtype.kind == "b" else values).astype(dtype)
    return pixels[::-1, ::-1] if draw(st.booleans()) else pixels.T


@settings(deadline=None, max_examples=300, derandomize=True)
@given(slices(), st.sampled_from((1, 20, 96)), st.sampled_from((0.0, 0.06, 0.2)))
def test_a_frame_is_to_the_last_bit_what_plain_steps_make_of_all_pixels(pixels, size, margin):
    values = np.nan_to_num(pixels.astype(np.float32), nan=0, posinf=0, neginf=0)
    low, high = plain_percentiles(pixels, values)
    few_values = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
    assert _percentiles(pixels if few_values else values) == [low, high]
    gray = plainly_stretched(values, low, high)
    assert np.array_equal(stretch_contrast(pixels), gray)
    for axis, counts in enumerate(foreground_counts(gray)):
        assert np.array_equal(counts, (gray > 255 * FOREGROUND).sum(1 - axis))
    framed, _ = frame(pixels, size, margin)
    assert framed.dtype == np.uint8 and np.array_equal(framed, plainly_framed(gray, size, margin))
