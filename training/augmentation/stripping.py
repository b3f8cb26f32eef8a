"""Framed heads without their brain, or without their tumor: what the shortcut probes show the network."""

import numpy as np
from scipy import ndimage

DIM = 0.08  # of full brightness: darker places are outside the head
LETTER = 0.01  # of the frame: smaller bright parts are letters, a ruler, noise
GAP = 0.1  # of the frame's side: half the width of gaps in a thin scalp that are closed
RIM = 0.16  # of the head's depth at its innermost point, from the edge inwards: skin, fat and bone of most heads
OUTLINE = 2  # pixels
INK = 160  # brightness of outline and silhouette, as bright as tissue
GROWN = 1.2  # a tumor's box is covered with this much of its size, since boxes are drawn tight


def head_mask(frame: np.ndarray) -> np.ndarray:
    """Where the head is in a framed slice, uint8 (S, S) -> bool (S, S), without holes; all False if it is blank.

    All that is bright, but for screenshots' thin frames and letters; closed, and filled between its outermost points,
    so that a dark brain, or a head cut off at the neck, is inside too.
    """
    size = len(frame)
    bright = ndimage.gaussian_filter(frame.astype(np.float32), size / 100) > 255 * DIM
    long = [ndimage.binary_opening(bright, np.ones(shape)) for shape in ((1, size // 2), (size // 2, 1))]
    thick = ndimage.binary_opening(bright, np.ones((size // 16, size // 16)))
    parts, count = ndimage.label(bright & ~((long[0] | long[1]) & ~thick))
    large = np.bincount(parts.ravel(), minlength=count + 1) >= LETTER * size**2
    large[0] = False  # the background
    reach = round(GAP * size)
    near = ndimage.distance_transform_edt(~np.pad(large[parts], reach)) <= reach
    closed = (ndimage.distance_transform_edt(np.pad(near, 1))[1:-1, 1:-1] > reach)[reach:-reach, reach:-reach]
    filled = _between_ends(closed) & _between_ends(closed.T).T
    parts, count = ndimage.label(ndimage.binary_opening(filled, iterations=max(1, size // 50)))
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else parts > 0


def _between_ends(mask: np.ndarray) -> np.ndarray:
    """Each row filled from its first to its last True."""
    return np.logical_or.accumulate(mask, axis=1) & np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def blanked(frame: np.ndarray) -> np.ndarray:
    """A framed slice, uint8 (S, S), whose head keeps its rim, and has the inside's mean brightness everywhere else."""
    depth = _depth(frame)
    inside = depth > RIM * depth.max()
    if not inside.any():
        return frame.copy()
    share = ndimage.gaussian_filter(inside.astype(np.float32), 1.0) * inside  # a soft edge that shows nothing new
    return (frame * (1 - share) + frame[inside].mean() * share).round().astype(np.uint8)


def silhouette(frame: np.ndarray) -> np.ndarray:
    """The head of a framed slice as a shape of one brightness on black: uint8 (S, S)."""
    return np.where(head_mask(frame), np.uint8(INK), np.uint8(0))


def outline(frame: np.ndarray) -> np.ndarray:
    """The edge of the head of a framed slice as a line on black: uint8 (S, S)."""
    depth = _depth(frame)
    return np.where((depth > 0) & (depth <= OUTLINE), np.uint8(INK), np.uint8(0))


def _depth(frame: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the edge of the head, 0 outside, in pixels; the frame's edge is one, too."""
    return ndimage.distance_transform_edt(np.pad(head_mask(frame), 1))[1:-1, 1:-1]


def covered(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A framed slice, uint8 (S, S), with a smooth continuation of what surrounds the box in the box.

    `box`: left, top, right, bottom as fractions of the frame; what is covered is `GROWN` times as wide and high.
    """
    left, top, right, bottom = _grown(box, len(frame))
    image = frame.astype(np.float32)
    here, there = slice(top, bottom), slice(left, right)
    sides = (image[here, left - 1], image[here, right], image[top - 1, there], image[bottom, there])
    west, east, north, south = (ndimage.gaussian_filter1d(side, 2, mode="nearest") for side in sides)
    x, y = (np.arange(1, n + 1) / (n + 1) for n in (right - left, bottom - top))
    across = west[:, None] * (1 - x) + east[:, None] * x
    down = north * (1 - y)[:, None] + south * y[:, None]
    trust_across, trust_down = 1 / np.minimum(x, 1 - x), 1 / np.minimum(y, 1 - y)[:, None]
    image[here, there] = (across * trust_across + down * trust_down) / (trust_across + trust_down)
    return image.round().astype(np.uint8)


def mirrored(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """As `covered`, with what lies at the same place of the frame's other half, its edges blended."""
    left, top, right, bottom = _grown(box, len(frame))
    share = np.zeros(frame.shape, dtype=np.float32)
    share[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = 1
    share = ndimage.gaussian_filter(share, 1.0)
    return (frame * (1 - share) + frame[:, ::-1] * share).round().astype(np.uint8)


def _grown(box: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the box times `GROWN`, at least one pixel away from the frame's edges."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * GROWN
    left, top = np.floor((middle - half) * size).astype(int).clip(1, size - 3)
    right, bottom = np.maximum(np.ceil((middle + half) * size).astype(int).clip(2, size - 1), (left + 1, top + 1))
    return left, top, right, bottom
