"""Stored pixels -> what a viewer shows: first the modality's table or rescaling, then window or table (PS3.4, N.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from ..resample import WHITE, gray_range, to_16_bit
from .headers import Frame
from .values import item, number, numbers, text, value

NEARLY_ALL = 0.9  # of what is not black: a window that shows as much of it as white was not meant for these pixels


class Table(NamedTuple):
    """A lookup table: `first` is the value that the first entry stands for; those beyond its ends take its ends."""

    first: float
    entries: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return np.interp(values, self.first + np.arange(len(self.entries)), self.entries).astype(np.float32)


@dataclass(frozen=True)
class Display:
    """How real values become gray levels, the same for all slices of a series."""

    low: float  # black
    high: float  # white
    sigmoid: bool = False
    table: Table | None = None  # instead of low and high, if there is one

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """uint16, 0 black."""
        if self.table:
            return to_16_bit(self.table(values), 0, float(self.table.entries.max()))
        if self.sigmoid:  # PS3.3, C.11.2.1.3.1; beyond +-30 it is black or white
            steepness = 4 / (self.high - self.low)
            exponent = np.clip(-steepness * (values - (self.low + self.high) / 2), -30, 30)
            return (WHITE / (1 + np.exp(exponent))).round().astype(np.uint16)
        return to_16_bit(values, self.low, self.high)


def real_values(stored: np.ndarray, frame: Frame) -> np.ndarray:
    """float32: what the scanner measured, by the modality's table or by slope and intercept."""
    table = _table(item(frame.instance.header, "ModalityLUTSequence"))
    if table:
        return table(stored)
    slope, intercept = frame.rescale
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def display_of(frames: Sequence[Frame], sample: np.ndarray) -> Display:
    """One display for all slices: the middle one's table, the middle of all windows, or else percentiles.

    `sample`: real values from all slices, without padding.
    """
    middle = frames[len(frames) // 2]
    table = _table(item(middle.instance.header, "VOILUTSequence"))
    if table and table.entries.max() > table.entries.min():
        return Display(0, 0, table=table)
    windows = [_window(frame.window) for frame in frames]
    if all(windows):
        low, high = (float(edge) for edge in np.median(windows, axis=0))
        seen = sample[sample > low]
        if len(seen) and (seen >= high).mean() < NEARLY_ALL:
            return Display(low, high, text(middle.window, "VOILUTFunction").strip() == "SIGMOID")
    return Display(*gray_range(sample))


def _window(data: Dataset) -> tuple[float, float] | None:
    """The values that become black and white; None without a window that makes sense (PS3.3, C.11.2.1.2)."""
    center, width = number(data, "WindowCenter"), number(data, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    if text(data, "VOILUTFunction").strip() in ("SIGMOID", "LINEAR_EXACT"):
        return center - width / 2, center + width / 2
    return (center - width / 2, center + width / 2 - 1) if width > 1 else None


def _table(data: Dataset | None) -> Table | None:
    """The table in a sequence's item; None where it has fewer entries than it says."""
    descriptor, entries = numbers(data, "LUTDescriptor", 3), value(data, "LUTData")
    if descriptor is None or entries is None:
        return None
    count, first, bits = map(int, descriptor)
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, "<u2" if bits > 8 else "u1", count=len(entries) // (2 if bits > 8 else 1))
    try:
        entries = np.asarray(entries, np.float32)
    except ValueError:  # text
        return None
    count = count or 2**16  # which the descriptor's 16 bits cannot say
    return Table(first, entries[:count]) if entries.ndim == 1 and len(entries) >= count > 1 else None
