"""A slice -> the network's input: the one rule for training and serving.

A square window is laid around the head with a margin and resized; beyond the image it is black. Framing by the head
removes the shortcut "tight crop = no tumor" that the public data sets offer.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

FOREGROUND = 0.12  # of the bright end (99.5th percentile): above scanner background, below the darkest sequences' brain
LINE_SHARE = 0.04  # a row or column belongs to the head if this share of it is foreground: ignores burnt-in letters
SERVING_MARGIN = 0.06  # room around the head in what the network sees, as a share of its longer side
PERCENTILES = 0.5, 99.5  # what becomes black and white
SMALLEST_HEAD = 0.2  # a box narrower than this share of the image is no head: keep the whole image
SAMPLE = 1000  # pixels of a slice that tell roughly where the ends of its sorted pixels begin


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
    few_values = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
    if not few_values:
        pixels = finite(pixels)
    low, high = _percentiles(pixels)
    if high <= low:  # a tiny bright spot on a constant ground
        low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.zeros(pixels.shape, dtype=np.uint8)
    if pixels.dtype.itemsize == 1:
        table = _stretched(np.arange(256, dtype=np.uint8).view(pixels.dtype), low, high)
        return np.frombuffer(bytearray(pixels.tobytes()).translate(table), np.uint8).reshape(pixels.shape)
    if few_values:
        least, most = min(0, int(pixels.min())), int(pixels.max())
        if most - least < pixels.size:  # what is negative counts from the end of the table
            values = np.concatenate((np.arange(most + 1), np.arange(least, 0)))
            return _stretched(values, low, high).take(pixels, mode="wrap")
    return _stretched(pixels, low, high)


def finite(pixels: np.ndarray) -> np.ndarray:
    """Any real dtype -> float32, in which what was not finite is 0."""
    floats = pixels.astype(np.float32, copy=False)
    if pixels.dtype.kind != "f" or np.isfinite((floats.min(), floats.max())).all():
        return floats
    return np.nan_to_num(floats, nan=0.0, posinf=0.0, neginf=0.0)


def _percentiles(pixels: np.ndarray) -> list[np.float64]:
    """`PERCENTILES` of finite pixels (height, width): a sample says where the ends begin, and only those are sorted."""
    size, is_float, found = pixels.size, pixels.dtype.kind == "f", []
    step = math.isqrt(size // SAMPLE) or 1
    sample = np.sort(pixels[::step, ::step], axis=None)
    rim = min(len(sample) // 100 + 5, len(sample) - 1)  # twice as far in as the percentiles are, and a little
    low, high = sample[rim], sample[-1 - rim]
    darker = np.append(np.sort(pixels[pixels < low]), low)
    brighter = np.append(high, np.sort(pixels[pixels > high]))
    places = [(size - 1) * (share / 100) if is_float else (size - 1) * share / 100 for share in PERCENTILES]
    dark, bright = int(places[0]) + 2, size - int(places[1])  # so many have to be known
    if (len(darker) < dark and np.count_nonzero(pixels <= low) < dark) or (
        len(brighter) < bright and np.count_nonzero(pixels >= high) < bright
    ):
        darker = brighter = np.sort(pixels, axis=None)  # the sample misled
    for place, ends, first in zip(places, (darker, brighter), (0, size - len(brighter)), strict=True):
        rank, share = int(place) - first, np.float64(place % 1)
        below, above = ends.take((rank, rank + 1), mode="clip").astype(np.float32)
        from_above = is_float and share >= 0.5  # as np.percentile rounds
        found.append(above - (above - below) * (1 - share) if from_above else below + (above - below) * share)
    return found


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Finite values -> uint8 of the same shape: `low` and less is black, `high` and more is white."""
    levels = values.astype(np.float32, copy=False) - low
    levels /= high - low  # in place: of several large arrays malloc returns the pages, which costs more than the sums
    levels.clip(0, 1, out=levels)
    levels *= 255
    return levels.round(out=levels).astype(np.uint8)


def foreground_counts(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (height, width) -> how many pixels of each row, and of each column, are foreground."""
    foreground = gray > int(255 * FOREGROUND)
    dtype = np.min_scalar_type(max(gray.shape))  # the smallest is the fastest
    return foreground.sum(axis=1, dtype=dtype), foreground.sum(axis=0, dtype=dtype)


def head_window(gray: np.ndarray, margin: float) -> Window:
    """Square around the head, `margin` (share of the head's longer side) wider on each side.

    `gray`: (height, width) uint8 as `stretch_contrast` returns it.
    """
    height, width = gray.shape
    in_rows, in_columns = foreground_counts(gray)
    rows, columns = np.flatnonzero(in_rows / width > LINE_SHARE), np.flatnonzero(in_columns / height > LINE_SHARE)
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
    gray = stretch_contrast(pixels)
    window = head_window(gray, margin)
    left, top = round(window.left), round(window.top)
    side = max(1, round(window.side))
    square = Image.fromarray(gray).crop((left, top, left + side, top + side))  # crop pads with black
    resized = square.resize((size, size), Image.Resampling.BILINEAR)  # antialiased when it shrinks
    return np.asarray(resized), Window(float(left), float(top), float(side))
