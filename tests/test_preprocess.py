"""One framing rule: contrast, head window, square."""

import numpy as np
import pytest

from model.preprocess import frame, head_window, stretch_contrast


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


def test_the_aspect_ratio_is_kept(slice_with_head):
    square, _ = frame(slice_with_head, 120, 0.0)
    rows, columns = ((square > 60).any(axis) for axis in (1, 0))
    assert rows.sum() / columns.sum() == pytest.approx(100 / 80, rel=0.06)


def test_a_burnt_in_letter_does_not_move_the_window(slice_with_head):
    clean = head_window(stretch_contrast(slice_with_head), 0.06)
    slice_with_head[5:12, 5:11] = 4000
    assert head_window(stretch_contrast(slice_with_head), 0.06) == pytest.approx(clean, abs=2)


@pytest.mark.parametrize("factor", [1, 0.01, 16])
def test_depth_and_brightness_do_not_matter(slice_with_head, factor):
    expected = stretch_contrast(slice_with_head).astype(int)
    scaled = slice_with_head.astype(np.float32) * factor + 7
    assert np.abs(stretch_contrast(scaled) - expected).max() <= 1


def test_constant_and_broken_pixels_become_black_not_errors():
    broken = np.full((40, 40), np.nan, dtype=np.float32)
    assert not stretch_contrast(broken).any() and not stretch_contrast(np.full((40, 40), 9)).any()
    assert frame(broken, 32, 0.06)[0].shape == (32, 32)


def test_a_bright_spot_on_a_constant_ground_is_still_seen():
    spot = np.zeros((100, 100))
    spot[50, 50] = 5
    assert stretch_contrast(spot).max() == 255


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3), (0, 4)])
def test_anything_but_a_plane_of_pixels_is_refused(shape):
    with pytest.raises(ValueError, match="height, width"):
        frame(np.zeros(shape), 32, 0.06)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("share", [1, 0.004, 0], ids=["noise", "few values", "constant"])
def test_values_that_are_looked_up_become_what_each_pixel_alone_would(dtype, share):
    limits, rng = np.iinfo(dtype), np.random.default_rng(3)
    anything = rng.integers(limits.min, limits.max, (61, 83), dtype=dtype, endpoint=True)
    pixels = np.where(rng.random(anything.shape) < share, anything, 9).astype(dtype)
    assert (stretch_contrast(pixels) == stretch_contrast(pixels.astype(np.float64))).all()
