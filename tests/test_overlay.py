"""Pictures: the slice is never stretched or mirrored, and the colors lie where the evidence is."""

import numpy as np
import pytest

from model import overlay
from model.preprocess import Window

PIXELS = np.random.default_rng(0).integers(0, 256, (200, 100), dtype=np.uint8)


def share_at(row, column, h=10, w=10):
    share = np.zeros((h, w), np.float32)
    share[row, column] = 1
    return share


def colored(picture):
    """Where a picture is not gray, or is the white of the contour."""
    return (picture.max(axis=2) > picture.min(axis=2)) | (picture.min(axis=2) == 255)


@pytest.mark.parametrize(
    ("shape", "expected"), [((200, 100), (512, 256)), ((600, 700), (600, 700)), ((4000, 2000), (1024, 512))]
)
def test_the_picture_keeps_the_aspect_ratio_and_has_a_handy_size(shape, expected):
    assert overlay.picture(np.zeros(shape, np.uint8)).shape == expected


def test_16_bit_slices_use_the_whole_range_of_gray():
    ramp = np.linspace(1000, 1400, 600 * 600).reshape(600, 600).astype(np.uint16)
    shown = overlay.picture(ramp)
    assert shown.min() == 0 and shown.max() == 255 and len(np.unique(shown)) > 200


def test_without_evidence_the_slice_is_unchanged():
    picture = overlay.evidence_picture(PIXELS, np.zeros((10, 10), np.float32), Window(0, 0, 200))
    np.testing.assert_array_equal(picture, np.stack([overlay.picture(PIXELS)] * 3, axis=2))


@pytest.mark.parametrize(("row", "column"), [(2, 3), (7, 3), (5, 6)])
def test_the_colors_lie_where_the_evidence_is(row, column):
    window = Window(-50, 0, 200)  # a square around a slice of 200 x 100: cells are 20 pixels wide
    dark = np.zeros_like(PIXELS)
    rows, columns = np.nonzero(colored(overlay.evidence_picture(dark, share_at(row, column), window)))
    scale = 512 / 200
    assert rows.mean() == pytest.approx((row + 0.5) * 20 * scale, abs=4)
    assert columns.mean() == pytest.approx(((column + 0.5) * 20 - 50) * scale, abs=4)


def test_evidence_beyond_the_slice_is_cut_off():
    picture = overlay.evidence_picture(np.zeros_like(PIXELS), share_at(5, 0), Window(-50, 0, 200))
    assert not colored(picture).any()


def test_the_colors_get_brighter_with_the_evidence():
    """So the map reads in gray and with any color vision (luma of ITU-R 601)."""
    levels = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in overlay.COLORS]
    assert (np.diff(np.array(levels) @ (0.299, 0.587, 0.114)) > 20).all()


def test_a_layer_shown_at_the_usual_opacity_makes_the_picture_with_the_evidence_on_it():
    share, window = share_at(4, 5) + 0.3 * share_at(7, 3), Window(-50, 0, 200)
    ground, expected = overlay.picture(PIXELS), overlay.evidence_picture(PIXELS, share, window).astype(float)
    layer = np.asarray(overlay.evidence_layer(PIXELS, share, window).convert("RGBA")).astype(float)
    cover = overlay.MOST_COVER * layer[:, :, 3:] / 255
    made = ground[:, :, None] * (1 - cover) + cover * layer[:, :, :3]
    contour = (layer == 255).all(axis=2)
    assert contour.any() and (expected[contour] == 255).all()  # the same line, but fainter in the layer
    assert np.abs(made - expected)[~contour].max() < 4  # 64 levels for 256
