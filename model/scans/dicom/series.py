"""A stack of slices -> one scan, shown with one window, and turned as a whole."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from .. import limits, orientation
from ..resample import is_special, outside_of, plausible, resized, sample_of, square_shape
from ..scan import Omission, Scan, UnreadableScan
from ..shapes import check_in_all, check_shape
from .grays import Display, display_of, real_values
from .headers import Frame, Instance
from .pixels import reason_against, stored_pixels
from .sequences import sequence_of
from .stacks import UNEVEN, Stack
from .values import number, numbers, text

UNEVEN_STEPS = "The slices do not lie at even distances; other planes are not cut."


def bytes_of_stack(stack: Stack) -> int:
    """What the slices of a stack take when they are read, before their pixels are made square."""
    return 2 * len(stack.frames) * int(np.prod(stack.frames[0].instance.shape[1:]))


def read_stack(stack: Stack, name: str, begin: Callable[[Instance], object] = lambda instance: None) -> Scan:
    """Decode one stack.

    Args: `name`, shown to the user; `begin`, called with a file before each of its frames is decoded.
    Raises: UnreadableScan if it is too large, or none of its slices can be decoded.
    """
    check_in_all(len(stack.frames) * np.prod(stack.frames[0].instance.shape[1:]), len(stack.frames))
    files = {id(frame.instance) for frame in stack.frames}
    kept, stored, omitted = _decoded(stack.frames, begin)
    frames = [stack.frames[i] for i in kept]
    outside = outside_of(stored, np.concatenate([sample_of(pixels, len(frames)) for pixels in stored]))
    padded = [_is_padding(pixels, frame, outside) for pixels, frame in zip(stored, frames, strict=True)]
    sample = [_sample(*each, len(frames)) for each in zip(stored, frames, padded, strict=True)]
    display = display_of(frames, np.concatenate(sample))
    slices, pixel = [], frames[0].pixel_size
    for i, frame in enumerate(frames):
        slices.append(_shown(stored[i], padded[i], frame, display, pixel))
        stored[i] = padded[i] = None  # a volume is in memory once
    marked = [frame.index in frame.instance.marked for frame in frames]
    plane, distance, assumptions = "", None, list(stack.assumptions)
    if stack.orientation is not None:
        axes = orientation.closest_axes(stack.orientation)
        plane = orientation.plane_of(axes)
        slices = [np.ascontiguousarray(orientation.displayed(one[np.newaxis], axes, plane)[0]) for one in slices]
        if axes[0].sign != orientation.DISPLAY[plane][0].sign:
            slices.reverse()
            marked.reverse()
    if stack.heights and len(kept) > 1:
        distance = _distance(np.array(stack.heights)[kept])
        assumptions += [] if distance else [UNEVEN_STEPS]
    spacing = (distance, min(pixel)) if distance and pixel else None
    kind = "DICOM" if len(files) == 1 else "DICOM series"
    omitted = (*stack.omitted, *omitted)
    marked = tuple(np.flatnonzero(marked).tolist())
    sequence, said = sequence_of(frames[0]), tuple(assumptions)
    return Scan(slices, name, plane, spacing, sequence, kind, said, omitted, stack.warnings, marked)


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
        if reason := reason_against(instance):
            failures[reason] += len(places)
            continue
        try:
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
    taken = sample_of(stored, parts) if padded is None else sample_of(stored[~padded], parts)
    return np.nan_to_num(real_values(taken, frame))


def _shown(
    stored: np.ndarray,
    padded: np.ndarray | None,
    frame: Frame,
    display: Display,
    pixel: tuple[float, float] | None,
) -> np.ndarray:
    """A slice as a viewer shows it: windowed, inverted where white is stored as zero, with square pixels."""
    header = frame.instance.header
    shown = display(real_values(stored, frame))
    is_inverse = text(header, "PresentationLUTShape") == "INVERSE"
    if is_inverse or text(header, "PhotometricInterpretation") == "MONOCHROME1":
        shown = ~shown
    if padded is not None:
        shown[padded] = 0
    sides = pixel or numbers(header, "PixelAspectRatio", 2)
    if sides and min(sides) > 0 and max(sides) <= limits.MAX_ASPECT * min(sides):
        height, width = square_shape(shown.shape, *sides)
        check_shape(height, width)
        shown = resized(shown, height, width)
    return shown


def _distance(heights: np.ndarray) -> float | None:
    """mm from slice to slice; None where it is not the same throughout, or cannot be."""
    steps = np.diff(heights)
    middle = float(np.median(steps))
    if not plausible(middle) or np.abs(steps - middle).max() > UNEVEN * middle:
        return None
    return middle
