"""Gray levels in 16 bits: which values become black and white, and which were never measured."""

from collections.abc import Sequence

import numpy as np

WHITE = 65535  # of uint16: windowed 12-bit pixels keep all their levels
DARKEST, BRIGHTEST = 0.1, 99.9  # percentiles of a volume without a window: a small bright lesion keeps its shades
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R 601)
MUCH_BRIGHTER = 1000  # times the range of all other values: no tissue is
CORNERS, LARGE, SEEN = 0.75, 0.1, 0.01  # shares: of corners that lie outside; of pixels outside; darker and brighter
SAMPLE = 500_000  # values that percentiles are taken from


def sample_of(values: np.ndarray, parts: int = 1) -> np.ndarray:
    """Evenly spread values of an array, float32: a `parts`-th of SAMPLE."""
    flat = values.reshape(-1)
    return flat[:: max(1, flat.size * parts // SAMPLE)].astype(np.float32)


def gray_range(sample: np.ndarray) -> tuple[float, float]:
    """Values that become black and white where no tag says it. `sample`: finite."""
    low, high = np.percentile(sample, (DARKEST, BRIGHTEST))
    if high <= low:  # one tiny bright spot
        low, high = sample.min(), sample.max()
    return float(low), float(high)


def to_16_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..WHITE, uint16; everything below is black, above white. All black if high <= low."""
    if high <= low:
        return np.zeros(values.shape, np.uint16)
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(WHITE / (high - low))
    return np.clip(np.nan_to_num(scaled), 0, WHITE).round().astype(np.uint16)


def is_special(values: np.ndarray, padding: Sequence[float] = ()) -> np.ndarray:
    """bool, where `values` (any shape and real type) are no gray: NaN or infinite, or one of `padding`."""
    special = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for value in padding:
        special |= values == (values.dtype.type(value) if values.dtype.kind == "f" else value)
    return special


def without_special(values: np.ndarray, padding: Sequence[float] = ()) -> np.ndarray:
    """`values` (float32, any shape) with the darkest gray, or else 0, where a value `is_special`."""
    special = is_special(values, padding)
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
