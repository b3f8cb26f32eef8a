"""The files of a series -> one scan: sorted by where the slices lie, not by name, and shown with one window."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from .. import limits, orientation
from ..names import of_several
from ..resample import plausible, resized, sample_of, square_shape
from ..scan import Scan, UnreadableScan
from ..shapes import check_in_all, check_shape
from .grays import Display, display_of, real_values
from .headers import Frame, Instance
from .pixels import check_image, stored_pixels
from .sequences import sequence_of
from .values import number, numbers, text

SAME_PLACE = 0.01  # mm: slices closer than this lie at one position
UNEVEN = 0.1  # share by which a distance between slices may differ from the others'


def read_series(instances: Sequence[Instance], begin: Callable[[int], object] = lambda number: None) -> Scan:
    """One scan of all files that share a series.

    Args: `instances`, at least one, none of which its tags refuse; `begin`, called with a file's number before it is
        decoded.
    Raises: UnreadableScan if no file of the series can be read.
    """
    notes: list[str] = []
    frames = _of_one_volume(_claimed(instances, notes), notes)
    frames, stored = _decoded(frames, begin, notes)
    sample = np.concatenate([_sample(each, frame, len(frames)) for each, frame in zip(stored, frames, strict=True)])
    display = display_of(frames, sample)
    slices, pixel = [], _pixel_size(frames[0])
    for i, frame in enumerate(frames):
        slices.append(_shown(stored[i], frame, display, pixel))
        stored[i] = None  # a volume is in memory once
    plane, distance = "", None
    if frames[0].orientation is not None:
        axes = orientation.closest_axes(frames[0].orientation)
        plane, distance = orientation.plane_of(axes), _distance(frames, notes)
        if axes[0].sign != orientation.DISPLAY[plane][0].sign:
            slices.reverse()
    spacing = (distance, min(pixel)) if distance and pixel else None
    first = frames[0].instance.header
    kind = "DICOM" if len(instances) == 1 else "DICOM series"
    name = of_several([instance.source.name for instance in instances])
    return Scan(slices, name, plane, spacing, sequence_of(first), kind, tuple(notes))


def _claimed(instances: Sequence[Instance], notes: list[str]) -> list[Frame]:
    """Every frame that the tags promise, of files that came once; those that cannot be right are left out."""
    frames, refused, seen = [], [], set()
    for instance in instances:
        unique = text(instance.header, "SOPInstanceUID")
        if unique and unique in seen:
            continue
        seen.add(unique)
        try:
            check_image(instance)
        except UnreadableScan as error:
            refused.append(error)
        else:
            frames += [Frame(instance, index) for index in range(instance.shape[0])]
    if not frames:
        raise refused[0]
    if refused:
        notes.append(f"{len(refused)} of {len(instances)} files of the series could not be read.")
    return frames


def _of_one_volume(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """The frames of the size and orientation that most have, one at each position, in order."""
    kinds = defaultdict(list)
    for frame in frames:
        kinds[(frame.instance.shape[1:], _rounded(frame.orientation))].append(frame)
    most = max(kinds.values(), key=len)
    if len(most) < len(frames):
        notes.append(
            f"{len(frames) - len(most)} slices of another size or orientation, such as localizers, were left out."
        )
    if most[0].orientation is None or any(frame.position is None for frame in most):
        if len(most) > 1:
            notes.append("The files do not say where their slices lie; they are shown in the order of their numbers.")
        ordered = sorted(most, key=_by_number)
    else:
        ordered = _one_at_each_place(most, notes)
    check_in_all(len(ordered) * np.prod(ordered[0].instance.shape[1:]), len(ordered))
    return ordered


def _rounded(directions: np.ndarray | None) -> tuple[float, ...] | None:
    return None if directions is None else tuple((directions.ravel().round(1) + 0.0).tolist())


def _by_number(frame: Frame) -> tuple[float, int, int]:
    return number(frame.instance.header, "InstanceNumber") or 0, frame.instance.number, frame.index


def _height(frame: Frame, normal: np.ndarray) -> float:
    return float(frame.position @ normal)


def _one_at_each_place(frames: list[Frame], notes: list[str]) -> list[Frame]:
    """Sorted along the normal of the slices; where several lie at one position, the first echo or repetition."""
    normal = frames[0].orientation[0]
    places = groupby(
        sorted(frames, key=lambda frame: _height(frame, normal)),
        key=lambda frame: round(_height(frame, normal) / SAME_PLACE),
    )
    ordered = [sorted(place, key=lambda frame: frame.order) for _, place in places]
    repeated = Counter(len(place) for place in ordered)
    if max(repeated) > 1:
        notes.append(
            f"Up to {max(repeated)} slices lie at one position (echoes, repetitions, diffusion weightings); "
            "the first of them is shown."
        )
    return [place[0] for place in ordered]


def _decoded(
    frames: list[Frame], begin: Callable[[int], object], notes: list[str]
) -> tuple[list[Frame], list[np.ndarray]]:
    """The frames whose pixels could be decoded, and those pixels."""
    wanted: dict[int, list[int]] = defaultdict(list)  # places in `frames` by file
    for place, frame in enumerate(frames):
        wanted[id(frame.instance)].append(place)
    stored: dict[int, np.ndarray] = {}
    first_failure = None
    for places in wanted.values():
        instance = frames[places[0]].instance
        begin(instance.number)
        try:
            decoded = stored_pixels(instance, [frames[place].index for place in places])
            stored.update(zip(places, decoded, strict=True))
        except UnreadableScan as error:
            first_failure = first_failure or error
    if not stored:
        raise first_failure
    if len(stored) < len(frames):
        notes.append(f"{len(frames) - len(stored)} of {len(frames)} slices could not be read: export the scan again.")
    places = sorted(stored)
    return [frames[place] for place in places], [stored[place] for place in places]


def _sample(stored: np.ndarray, frame: Frame, parts: int) -> np.ndarray:
    """Real values of some pixels, without those that only pad the slice to a rectangle."""
    taken = sample_of(stored, parts)
    padding = number(frame.instance.header, "PixelPaddingValue")
    inside = taken[taken != padding] if padding is not None else taken
    return np.nan_to_num(real_values(inside if len(inside) else taken, frame))


def _pixel_size(frame: Frame) -> tuple[float, float] | None:
    found = frame.pixel_size
    return found if found and plausible(*found) else None


def _shown(stored: np.ndarray, frame: Frame, display: Display, pixel: tuple[float, float] | None) -> np.ndarray:
    """A slice as a viewer shows it: windowed, inverted where white is stored as zero, square pixels, upright."""
    shown = display(real_values(stored, frame))
    if text(frame.instance.header, "PhotometricInterpretation") == "MONOCHROME1":
        shown = ~shown
    sides = pixel or numbers(frame.instance.header, "PixelAspectRatio", 2)
    if sides and min(sides) > 0 and max(sides) <= limits.MAX_ASPECT * min(sides):
        height, width = square_shape(shown.shape, *sides)
        check_shape(height, width)
        shown = resized(shown, height, width)
    if frame.orientation is not None:
        axes = orientation.closest_axes(frame.orientation)
        in_plane = orientation.displayed(shown[np.newaxis], axes, orientation.plane_of(axes))
        shown = in_plane[0]
    return np.ascontiguousarray(shown)


def _distance(frames: list[Frame], notes: list[str]) -> float | None:
    """mm from slice to slice; None where it is not known or not the same throughout."""
    if len(frames) < 2 or any(frame.position is None for frame in frames):
        return None
    steps = np.diff([_height(frame, frames[0].orientation[0]) for frame in frames])
    middle = float(np.median(steps))
    if not plausible(middle) or np.abs(steps - middle).max() > UNEVEN * middle:
        notes.append("The slices do not lie at even distances; other planes are not cut.")
        return None
    return middle
