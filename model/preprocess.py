"""A slice -> the network's input: the one rule for training and serving.

The head is found, a square window is laid around it with a margin, and the window is resized: the aspect ratio is kept,
whatever the window covers beyond the image is black. Framing by the head removes the shortcut "tight crop = no tumor"
that the public data sets offer.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

FOREGROUND = 0.12  # of the bright end (99.5th percentile): above scanner background, below the darkest sequences' brain
LINE_SHARE = 0.04  # a row or column belongs to the head if this share of it is foreground: ignores burnt-in letters
SERVING_MARGIN = 0.06  # room around the head in what the network sees, as a share of its longer side
PERCENTILES = 0.5, 99.5  # what becomes black and white
SMALLEST_HEAD = 0.2  # a box narrower than this share of the image is no head: keep the whole image


class Window(NamedTuple):
    """A square in the slice's pixel coordinates; it may reach beyond the slice."""

    left: float
    top: float
    side: float


def stretch_contrast(pixels: np.ndarray) -> np.ndarray:
    """Map the 0.5th to 99.5th percentile of a slice to 0..255 (uint8), so that no dim or 16-bit slice is lost.

    `pixels`: (height, width), any real dtype; non-finite values count as 0. A constant slice becomes black.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:  # few values: a look-up is eight times as fast
        first = int(pixels.min())
        places = pixels if first == 0 else np.subtract(pixels, first, dtype=np.int32)
        counts = np.bincount(places.ravel())
        values = np.arange(first, first + len(counts), dtype=np.float32)
        return _stretched(values, *_percentiles_of_counted(values, counts)).take(places)
    pixels = np.nan_to_num(np.asarray(pixels, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return _stretched(pixels, *np.percentile(pixels, PERCENTILES))


def _percentiles_of_counted(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """As `np.percentile` of each of the ascending `values` repeated `counts` times."""
    up_to = np.cumsum(counts)
    places = (up_to[-1] - 1) * np.array(PERCENTILES) / 100
    below, above = (values[np.searchsorted(up_to, edge(places), side="right")] for edge in (np.floor, np.ceil))
    low, high = below + (above - below) * (places - np.floor(places))
    return low, high


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Finite float32 values -> uint8 of the same shape: `low` and less is black, `high` and more is white."""
    if high <= low:  # a tiny bright spot on a constant ground
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    return (np.clip((values - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)


def head_window(grey: np.ndarray, margin: float) -> Window:
    """Square around the head, `margin` (share of the head's longer side) wider on each side.

    `grey`: (height, width) uint8 as `stretch_contrast` returns it.
    """
    height, width = grey.shape
    foreground = grey > 255 * FOREGROUND
    rows = np.flatnonzero(foreground.mean(axis=1) > LINE_SHARE)
    columns = np.flatnonzero(foreground.mean(axis=0) > LINE_SHARE)
    top, bottom, left, right = 0, height, 0, width
    if len(rows) > SMALLEST_HEAD * height and len(columns) > SMALLEST_HEAD * width:
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) * (1 + 2 * margin)
    return Window(float((left + right - side) / 2), float((top + bottom - side) / 2), float(side))


def frame(pixels: np.ndarray, size: int, margin: float) -> tuple[np.ndarray, Window]:
    """Slice -> the square that the network sees, and where that square lies on the slice.

    Args: `pixels` (height, width), any real dtype; `size` of the square in pixels; `margin` as in `head_window`.
    Returns: uint8 (size, size), and the `Window` in the slice's pixels.
    Raises: ValueError if `pixels` is not two-dimensional or is empty.
    """
    if np.ndim(pixels) != 2 or 0 in np.shape(pixels):
        raise ValueError(f"a slice is a (height, width) array, not one of shape {np.shape(pixels)}")
    grey = stretch_contrast(pixels)
    window = head_window(grey, margin)
    left, top = round(window.left), round(window.top)
    side = max(1, round(window.side))
    square = Image.fromarray(grey).crop((left, top, left + side, top + side))  # crop pads with black
    resized = square.resize((size, size), Image.Resampling.BILINEAR)  # antialiased when it shrinks
    return np.asarray(resized), Window(float(left), float(top), float(side))
