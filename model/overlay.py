"""A prediction's evidence map -> a picture: the slice in gray and the evidence on it as a heat map with a contour.

The colors are five anchors of matplotlib's plasma (CC0): brightness rises with the evidence, so the map reads the same
with any color vision and in a black-and-white print; the contour at half of the maximum needs no color at all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from .preprocess import PERCENTILES, Window, finite, stretch_contrast

COLORS = ("#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921")  # from no evidence to the most
MOST_COVER = 0.6  # opacity where the evidence is strongest: the anatomy below must stay visible
LAYER_LEVELS = 64  # of evidence in a layer: no step shows, and a PNG takes half the bytes of 256 levels
CONTOUR_LEVEL = 0.5  # of the maximum
CONTOUR_WIDTH = 2  # pixels of the picture
SHORTEST, LONGEST = 512, 1024  # pixels, the picture's longer side: room for a smooth map, and quick to send
SAMPLE = 1_000_000  # pixels that a window for a whole volume is chosen by: percentiles of more are the same, and slow

ANCHORS = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in COLORS])
HEAT = np.stack(  # float32 (256, 3): the color of each level of evidence
    [np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(COLORS)), channel) for channel in ANCHORS.T], axis=1
).astype(np.float32)


def under_one_window(slices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """2-D slices of one scan, any real dtype -> uint8 of the same shapes, without jumps of brightness between them.

    8-bit ones stay as they are; of deeper ones the 0.5th to 99.5th percentile of all together becomes 0..255.
    """
    if all(pixels.dtype == np.uint8 for pixels in slices):
        return list(slices)
    step = max(1, sum(pixels.size for pixels in slices) // SAMPLE)
    sample = np.concatenate([finite(pixels.ravel()[::step]) for pixels in slices])
    low, high = np.percentile(sample, PERCENTILES)
    if high <= low:  # hardly anything stands out of the ground: each slice for itself
        return [stretch_contrast(pixels) for pixels in slices]
    levels = ((finite(pixels) - low) / (high - low) for pixels in slices)
    return [(level.clip(0, 1) * 255).round().astype(np.uint8) for level in levels]


def picture(pixels: np.ndarray) -> np.ndarray:
    """The slice as a person wants to see it.

    Args: `pixels` (height, width), any real dtype. 8-bit pixels are shown as they are, deeper ones windowed.
    Returns: uint8 (H, W), aspect ratio kept, the longer side between `SHORTEST` and `LONGEST`.
    """
    gray = pixels if pixels.dtype == np.uint8 else stretch_contrast(pixels)
    return np.asarray(Image.fromarray(gray).resize(_size(pixels)[1], Image.Resampling.BICUBIC))


def evidence_picture(pixels: np.ndarray, share: np.ndarray, window: Window) -> np.ndarray:
    """The slice with one class's evidence on it: uint8 (H, W, 3) of the size of `picture(pixels)`.

    Args: `pixels` as for `picture`; `share` (h, w) >= 0, where the class's score comes from (`Prediction.evidence`);
        `window`, the square of the slice that `share` covers.
    """
    layer = np.asarray(evidence_layer(pixels, share, window).convert("RGBA"), np.float32)
    colors, cover = layer[..., :3], MOST_COVER * layer[..., 3:] / 255
    ground = picture(pixels)[:, :, None]
    blended = (ground + cover * (colors - ground)).round().astype(np.uint8)
    blended[(layer == 255).all(axis=2)] = 255  # the contour: opaque, unlike what it surrounds
    return blended


def evidence_layer(pixels: np.ndarray, share: np.ndarray, window: Window) -> Image.Image:
    """One class's evidence alone, to be laid on `picture(pixels)` at an opacity of `MOST_COVER`.

    Args: as for `evidence_picture`.
    Returns: an image with a palette, as large as `picture(pixels)`, transparent where there is no evidence.
    """
    level = _level(pixels, share, window)
    indices = (level * (LAYER_LEVELS - 1)).round().astype(np.uint8)
    indices[_contour(level)] = LAYER_LEVELS
    opacity = np.linspace(0, 255, LAYER_LEVELS).round().astype(np.uint8)
    layer = Image.fromarray(indices)
    layer.putpalette(HEAT[opacity].round().astype(np.uint8).tobytes() + b"\xff\xff\xff")
    layer.info["transparency"] = opacity.tobytes() + b"\xff"
    return layer


def _size(pixels: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Pixels of the picture for each pixel of the slice; (width, height) of the picture."""
    longer = max(pixels.shape)
    scale = min(max(longer, SHORTEST), LONGEST) / longer
    return scale, tuple(max(1, round(side * scale)) for side in reversed(pixels.shape))


def _level(pixels: np.ndarray, share: np.ndarray, window: Window) -> np.ndarray:
    """Evidence relative to its maximum, at every pixel of the picture: float32 in 0..1, 0 outside the window."""
    scale, size = _size(pixels)
    side = max(1, round(window.side * scale))
    relative = np.asarray(share, dtype=np.float32) / max(float(share.max()), np.finfo(np.float32).tiny)
    smooth = Image.fromarray(relative).resize((side, side), Image.Resampling.BICUBIC)
    level = Image.new("F", size, 0)
    level.paste(smooth, (round(window.left * scale), round(window.top * scale)))
    return np.clip(np.asarray(level), 0, 1)


def _contour(level: np.ndarray) -> np.ndarray:
    """Mask of a line just inside the region of at least `CONTOUR_LEVEL`."""
    inside = level >= CONTOUR_LEVEL
    core = np.pad(inside, CONTOUR_WIDTH, mode="edge")
    for axis in (0, 1):
        core = sliding_window_view(core, 2 * CONTOUR_WIDTH + 1, axis).all(-1)
    return inside & ~core
