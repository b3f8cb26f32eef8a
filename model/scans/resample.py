"""Square pixels, and gray levels in 16 bits."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from . import limits

SQUARE = 0.01  # pixels whose sides differ by less count as square: no eye and no network sees 1 %
DARKEST, BRIGHTEST = 0.1, 99.9  # percentiles of a volume without a window: a small bright lesion keeps its shades
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R 601)
WHITE = 65535  # of uint16: windowed 12-bit pixels keep all their levels
MUCH_BRIGHTER = 1000  # times the range of all other values: no tissue is
CORNERS, LARGE, SEEN = 0.75, 0.1, 0.01  # shares: of corners that lie outside; of pixels outside; darker and brighter
SAMPLE = 500_000  # values that percentiles are taken from
PLAUSIBLE_MM = (0.01, 100.0)  # between pixels or slices of a head; other values are somebody's typing error


def plausible(*lengths: float) -> bool:
    """Whether distances in mm can be those of a scan; false for nan."""
    return all(PLAUSIBLE_MM[0] <= length <= PLAUSIBLE_MM[1] for length in lengths)


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`pixels` (uint8, uint16 or float32) in another size, of the same type; antialiased where it shrinks."""
    if pixels.shape == (height, width):
        return np.ascontiguousarray(pixels)
    scaled = Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    scaled = np.asarray(scaled)
    return scaled.round().astype(pixels.dtype) if pixels.dtype.kind == "u" else scaled


def square_shape(shape: tuple[int, int], down: float, right: float) -> tuple[int, int]:
    """(height, width) that makes pixels of `down` x `right` mm square, at the finer of the two."""
    if abs(down - right) <= SQUARE * max(down, right):
        return shape
    finer = min(down, right)
    return max(1, round(shape[0] * down / finer)), max(1, round(shape[1] * right / finer))


def sample_of(values: np.ndarray, parts: int = 1) -> np.ndarray:
    """Evenly spread values of an array, float32: a `parts`-th of SAMPLE."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size * parts // SAMPLE)].astype(np.float32)


def is_special(values: np.ndarray, padding: Sequence[float] = ()) -> np.ndarray:
    """bool, where `values` (any shape and real type) are no gray: NaN or infinite, or one of `padding`."""
    special = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for value in padding:
        special |= values == (values.dtype.type(value) if values.dtype.kind == "f" else value)
    return special


def without_special(values: np.ndarray, padding: Sequence[float] = ()) -> np.ndarray:
    """`values` (float32, any shape) with background where no gray was measured: where a value `is_special`.

    The background is the darkest gray that is left, 0 if none is. Values that are all gray come back as they are, not
    copied.
    """
    special = is_special(values, padding)
    if not special.any():
        return values
    darkest = values.min(where=~special, initial=np.inf)
    return np.where(special, darkest if np.isfinite(darkest) else np.float32(0), values)


def outside_of(slices: Sequence[np.ndarray], sample: np.ndarray) -> tuple[float, ...]:
    """The one value around a head that is brighter than parts of it, as where a mask was applied to z-scores; or ().

    Args: `slices`, as stored; `sample`, finite values of them.
    """
    corners = np.array([pixels[i, j] for pixels in slices for i in (0, -1) for j in (0, -1)])
    values, counts = np.unique(corners, return_counts=True)
    outside = float(values[counts.argmax()])
    is_one = counts.max() >= CORNERS * len(corners) and (sample == outside).mean() >= LARGE
    has_darker = (sample < outside).mean() >= SEEN and (sample > outside).mean() >= SEEN
    return (outside,) if is_one and has_darker else ()


def gray_range(sample: np.ndarray) -> tuple[float, float]:
    """Values that become black and white where no tag says it. `sample`: finite."""
    low, high = np.percentile(sample, (DARKEST, BRIGHTEST))
    if high <= low:  # one tiny bright spot
        low, high = sample.min(), sample.max()
    return float(low), float(high)


def sentinels(values: np.ndarray) -> tuple[float, ...]:
    """Numbers that programs put where nothing was measured (-9999, the lowest or highest of float32), or ().

    A dark one is the only negative value, or farther below all others than these are apart; a bright one is
    `MUCH_BRIGHTER` times as far above them. `values`: floats of any shape; NaN and infinity are passed over.
    """
    found = []
    values = values[np.isfinite(values)]
    lowest = float(values.min(initial=np.inf))
    others = values[values > lowest]
    darkest, brightest = float(others.min(initial=np.inf)), float(others.max(initial=-np.inf))
    if lowest < 0 <= brightest and darkest < brightest and (darkest >= 0 or darkest - lowest > brightest - darkest):
        found.append(lowest)
        values = others
    others = values[values < brightest]
    darkest, second = float(others.min(initial=np.inf)), float(others.max(initial=-np.inf))
    if darkest < second and brightest - second > MUCH_BRIGHTER * (second - darkest):
        found.append(brightest)
    return tuple(found)


def to_16_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..WHITE, uint16; everything below is black, above white. All black if high <= low."""
    if high <= low:
        return np.zeros(values.shape, np.uint16)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(WHITE / (high - low))
    return np.clip(np.nan_to_num(scaled), 0, WHITE).round().astype(np.uint16)


def fits(count: int, height: int, width: int) -> bool:
    """Whether that many slices of that size are within the limits, and no stripes."""
    longer, shorter = max(height, width), min(height, width)
    return (
        shorter >= limits.MIN_SIDE
        and longer <= limits.MAX_ASPECT * shorter
        and 0 < count <= limits.MAX_SLICES
        and count * height * width <= limits.MAX_PIXELS_IN_ALL
    )
