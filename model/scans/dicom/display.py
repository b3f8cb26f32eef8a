"""A stack of slices -> one scan, turned as a whole and shown with one window.

Stored pixels become what a viewer shows by the modality's table or rescaling, then a window or table (PS3.4, N.2).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from .. import geometry, limits
from ..grays import WHITE, gray_range, is_special, outside_of, sample_of, to_16_bit
from ..scan import Omission, Scan, UnreadableScan
from .pixels import reason_against, stored_pixels
from .sequences import sequence_of
from .series import UNEVEN, Stack
from .tags import Frame, Instance, item, number, numbers, text, value

NEARLY_ALL = 0.9  # of what is not black: a window that shows as much of it as white was not meant for these pixels
UNEVEN_STEPS = "The slices do not lie at even distances; other planes are not cut."


class Table(NamedTuple):
    """A lookup table: `first` is the value that the first entry stands for; those beyond its ends take its ends."""

    first: float
    entries: np.ndarray

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """The entries that `values` stand for, float32."""
        return np.interp(values, self.first + np.arange(len(self.entries)), self.entries).astype(np.float32)


@dataclass(frozen=True)
class Display:
    """How real values become gray levels, the same for all slices of a series."""

    low: float  # black
    high: float  # white
    sigmoid: bool = False
    table: Table | None = None  # instead of low and high, if there is one

    def shown(self, values: np.ndarray) -> np.ndarray:
        """uint16, 0 black."""
        if self.table:
            return to_16_bit(self.table.look_up(values), 0, float(self.table.entries.max()))
        if self.sigmoid:  # PS3.3, C.11.2.1.3.1; beyond +-30 it is black or white
            steepness = 4 / (self.high - self.low)
            exponent = np.clip(-steepness * (values - (self.low + self.high) / 2), -30, 30)
            return (WHITE / (1 + np.exp(exponent))).round().astype(np.uint16)
        return to_16_bit(values, self.low, self.high)


def read_stack(stack: Stack, name: str, begin: Callable[[Instance], object] = lambda instance: None) -> Scan:
    """Decode one stack.

    Args: `name`, shown to the user; `begin`, called with a file before each of its frames is decoded.
    Raises: UnreadableScan if it is too large, or none of its slices can be decoded.
    """
    limits.check_in_all(len(stack.frames) * np.prod(stack.frames[0].instance.shape[1:]), len(stack.frames))
    kept, stored, omitted = _decoded(stack.frames, begin)
    frames = [stack.frames[i] for i in kept]
    outside = outside_of(stored, np.concatenate([sample_of(pixels, len(frames)) for pixels in stored]))
    padded = [_is_padding(pixels, frame, outside) for pixels, frame in zip(stored, frames, strict=True)]
    sample = [_sample(*each, len(frames)) for each in zip(stored, frames, padded, strict=True)]
    display = _display_of(frames, np.concatenate(sample))
    slices, pixel = [], frames[0].pixel_size
    for i, frame in enumerate(frames):
        slices.append(_shown(stored[i], padded[i], frame, display, pixel))
        stored[i] = padded[i] = None  # a volume is in memory once
    marked = [frame.index in frame.instance.marked for frame in frames]
    plane = ""
    if stack.orientation is not None:
        axes = geometry.closest_axes(stack.orientation)
        plane = geometry.plane_of(axes)
        slices = [np.ascontiguousarray(geometry.displayed(one[np.newaxis], axes, plane)[0]) for one in slices]
        if axes[0].sign != geometry.DISPLAY[plane][0].sign:
            slices.reverse()
            marked.reverse()
    has_places = stack.heights is not None and len(kept) > 1
    distance = _distance(np.array(stack.heights)[kept]) if has_places else None
    return Scan(
        slices,
        name,
        plane,
        (distance, min(pixel)) if distance and pixel else None,
        sequence_of(frames[0]),
        "DICOM" if len({id(frame.instance) for frame in stack.frames}) == 1 else "DICOM series",
        (*stack.assumptions, UNEVEN_STEPS) if has_places and not distance else stack.assumptions,
        (*stack.omitted, *omitted),
        stack.warnings,
        tuple(np.flatnonzero(marked).tolist()),
    )


def _decoded(
    frames: Sequence[Frame], begin: Callable[[Instance], object]
) -> tuple[list[int], list[np.ndarray], list[Omission]]:
    """Which frames could be decoded, as indices, their pixels, and what could not."""
    places_of: dict[int, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        places_of[id(frame.instance)].append(place)
    stored: dict[int, np.ndarray] = {}
    failures: Counter[str] = Counter()
    for places in places_of.values():
        instance = frames[places[0]].instance
        try:
            if reason := reason_against(instance):
                raise UnreadableScan(reason)
            found = stored_pixels(instance, [frames[place].index for place in places], lambda i=instance: begin(i))
            for place, pixels in zip(places, found, strict=True):
                if isinstance(pixels, UnreadableScan):
                    failures[str(pixels)] += 1
                else:
                    stored[place] = pixels
        except UnreadableScan as error:  # the file itself
            failures[str(error)] += len(places)
    if not stored:
        raise UnreadableScan(next(iter(failures)))
    kept = sorted(stored)
    return kept, [stored[place] for place in kept], [Omission(count, reason) for reason, count in failures.items()]


def _is_padding(stored: np.ndarray, frame: Frame, outside: tuple[float, ...]) -> np.ndarray | None:
    """Where a slice is no gray: `outside`, not finite, or padding (PS3.3, C.7.5.1.1.2); None if nowhere."""
    header = frame.instance.header
    padding, limit = number(header, "PixelPaddingValue"), number(header, "PixelPaddingRangeLimit")
    where = is_special(stored, outside)
    if padding is not None:
        low, high = sorted((padding, padding if limit is None else limit))
        where |= (stored >= low) & (stored <= high)
        if stored.dtype.kind in "iu" and low == high and abs(low) < 2**31:  # a tag that is read with the wrong sign
            where |= stored == np.array(int(padding)).astype(stored.dtype)
    return where if where.any() and not where.all() else None


def _sample(stored: np.ndarray, frame: Frame, padded: np.ndarray | None, parts: int) -> np.ndarray:
    """Real values of some pixels, without those that are no gray."""
    taken = sample_of(stored if padded is None else stored[~padded], parts)
    return np.nan_to_num(_real_values(taken, frame))


def _real_values(stored: np.ndarray, frame: Frame) -> np.ndarray:
    """float32: what the scanner measured, by the modality's table or by slope and intercept."""
    if table := _table(item(frame.instance.header, "ModalityLUTSequence")):
        return table.look_up(stored)
    slope, intercept = frame.rescale
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _display_of(frames: Sequence[Frame], sample: np.ndarray) -> Display:
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
        above = sample[sample > low]
        if len(above) and (above >= high).mean() < NEARLY_ALL:
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


def _shown(
    stored: np.ndarray, padded: np.ndarray | None, frame: Frame, display: Display, pixel: tuple[float, float] | None
) -> np.ndarray:
    """A slice as a viewer shows it: windowed, inverted where white is stored as zero, with square pixels."""
    header = frame.instance.header
    shown = display.shown(_real_values(stored, frame))
    if text(header, "PresentationLUTShape") == "INVERSE" or frame.instance.photometric == "MONOCHROME1":
        shown = ~shown
    if padded is not None:
        shown[padded] = 0
    sides = pixel or numbers(header, "PixelAspectRatio", 2)
    if sides and min(sides) > 0 and max(sides) <= limits.MAX_ASPECT * min(sides):
        shape = geometry.square_shape(shown.shape, *sides)
        limits.check_shape(*shape)
        shown = geometry.resized(shown, *shape)
    return shown


def _distance(heights: np.ndarray) -> float | None:
    """mm from slice to slice; None where it is not the same throughout, or cannot be."""
    steps = np.diff(heights)
    middle = float(np.median(steps))
    if not geometry.plausible(middle) or np.abs(steps - middle).max() > UNEVEN * middle:
        return None
    return middle
