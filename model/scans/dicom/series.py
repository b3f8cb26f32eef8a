"""The files of an upload -> series -> stacks: slices of one picture, each at a place of its own, in order.

A tolerance is a distance: values are compared with a reference, or sorted and cut at gaps, never rounded to a key. What
is in no stack is an `Omission`. Stacks rest on tags alone: a file that turns out to be damaged changes none.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import numpy as np

from .. import limits
from ..geometry import SQUARE
from ..scan import Omission, UnreadableScan
from .files import open_data_set
from .pixels import reason_against
from .tags import Frame, Instance, number, text

SAME_PLACE = 0.01  # mm: slices closer than this lie at one place
SAME_ANGLE = np.cos(np.radians(5))  # of directions that differ by rounding, or by a head that moved
ASIDE = 1.0  # mm that a slice may lie beside the one below it, and as much more as it lies above: a sheared stack
UNEVEN = 0.1  # share by which a distance between slices may differ from the others'
OFTEN = 0.5  # share of places with several frames from which on these are pictures of their own, and no copies
MAX_STACKS = 8  # of one series that are answered: echoes and contrast phases, not each of 64 diffusion directions

# What a frame shows, by a word of Image Type, Frame Type or Complex Image Component (PS3.3, C.8.13.3.1 and vendors'
# own), the most wanted first, and why it is left out beside others: one with none of the words is a magnitude.
KINDS = {
    "real": (("R", "REAL"), "They are real parts, beside magnitude images of the same series."),
    "imaginary": (("I", "IMAGINARY"), "They are imaginary parts, which show no anatomy by themselves."),
    "phase": (
        ("P", "PHASE", "PHASE MAP", "VELOCITY", "FIELD MAP", "B0 MAP"),
        "They are phase images, which show no anatomy.",
    ),
    "map": (
        (
            *("ADC", "EADC", "FA", "TRACE", "TRACEW", "DIFFUSION_ANISO", "ADC_MAP", "CBF", "CBV", "RCBF", "RCBV"),
            *("MTT", "TTP", "TMAX", "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP", "PROJECTION IMAGE"),
            *("MIP", "MINIP", "MAX_IP", "MIN_IP", "SUBTRACTION"),
        ),
        "They are maps or projections that were computed from other images.",
    ),
    "localizer": (("LOCALIZER", "SCOUT", "SURVEY"), "They are localizers."),
}
NO_ANATOMY = ("imaginary", "phase", "map")
UPLOAD_ORIGINAL = "Upload the images that they were made from."
# What distinguishes pictures at one place, the weightiest first: tag, how much it may differ, what it is called.
SETTINGS = (("EchoTime", 1, "echo"), ("InversionTime", 1, "inversion"), ("DiffusionBValue", 1, "diffusion weighting"))
TIMES = (
    ("TemporalPositionIdentifier", 0.5, "time point"),
    ("AcquisitionNumber", 0.5, "acquisition"),
    ("TriggerTime", 1, "time point"),
    ("RepetitionTime", 1, "repetition time"),
    ("FlipAngle", 0.5, "flip angle"),
)
WORDS = (("ContrastBolusAgent", "contrast phase"), ("ImageType", "image type"), ("SeriesDescription", "description"))
BY_LOCATION = "The slices are in the order of their slice location: the files give no positions that differ."
BY_NUMBER = "The files do not say where their slices lie; they are shown in the order of their numbers."
AT_ONE_PLACE = "The files give all slices the same position; they are shown in the order of their numbers."
FITTED = "Some slices have no position: they lie where their numbers put them among the others."
TOO_MANY = (
    "Their series holds too many pictures to answer each (repetitions, diffusion weightings, time points). "
    "Upload those that you want an answer for by themselves."
)
ANONYMOUS = "Some of its files name a patient and others do not: make sure that they belong together."
NO_ORIENTATION = "Some slices do not say how they lie; they are taken to lie as the others of their series."


@dataclass
class Stack:
    """Slices of one picture, in order.

    name: what distinguishes it from the others of its series; "" if there are none.
    heights: mm along the normal; None where positions are not known.
    orientation: (3, 3), as of a frame, of the whole stack; None if unknown.
    """

    frames: list[Frame]
    name: str = ""
    heights: list[float] | None = None
    orientation: np.ndarray | None = None
    assumptions: tuple[str, ...] = ()
    omitted: tuple[Omission, ...] = ()
    warnings: tuple[str, ...] = ()


# series


def series_of(instances: Sequence[Instance]) -> list[list[Instance]]:
    """The files of each series, of one patient each: by its UID or, where each file has its own or none, by the rest.

    Files without a UID that is theirs in common are one series if they are of one study, number, description, kind and
    size, and lie in parallel; at even distances, too, where the series has no number.
    """
    by_uid: dict[Hashable, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_uid[text(instance.header, "SeriesInstanceUID") or instance.place].append(instance)
    found: list[list[Instance]] = []
    for files in by_uid.values():
        for of_one in _by_patient(files):
            refusals = dict.fromkeys(instance.refusal for instance in of_one)
            if "" in refusals:
                found.append(of_one)
            else:
                found += [[one for one in of_one if one.refusal == refusal] for refusal in refusals]
    whole = [files for files in found if len(files) > 1 or files[0].shape[0] > 1]
    alike: dict[Hashable, list[Instance]] = defaultdict(list)
    for files in found:
        if len(files) == 1 and files[0].shape[0] == 1:
            alike[_described(files[0])].append(files[0])
    known = Counter(_described(files[0]) for files in whole)
    for described, files in alike.items():
        if known[described] == 1 and not any(text(instance.header, "SeriesInstanceUID") for instance in files):
            next(some for some in whole if _described(some[0]) == described).extend(files)
            continue
        for frames in [] if files[0].refusal else _parallel([Frame(instance, 0) for instance in files]):
            together = [frame.instance for frame in frames]
            is_series = described[1] or _are_even(frames)
            whole += [together] if is_series else [[instance] for instance in together]
        whole += [files] if files[0].refusal else []
    return sorted(whole, key=lambda files: files[0].place)


def _by_patient(files: Sequence[Instance]) -> list[list[Instance]]:
    """Files that share a UID, by patient: two differ in what both say; who is not named goes with the only one."""
    patients: list[list[int]] = []
    of_patient: list[list[Instance]] = []
    for instance in sorted(files, key=lambda instance: -sum(map(bool, instance.patient))):
        fits = [
            index
            for index, known in enumerate(patients)
            if all(not a or not b or a == b for a, b in zip(known, instance.patient, strict=True))
        ]
        if len(fits) != 1:
            patients.append(list(instance.patient))
            of_patient.append([instance])
        else:
            patients[fits[0]] = [a or b for a, b in zip(patients[fits[0]], instance.patient, strict=True)]
            of_patient[fits[0]].append(instance)
    return [sorted(some, key=lambda instance: instance.place) for some in of_patient]


def _described(instance: Instance) -> Hashable:
    tags = ("StudyInstanceUID", "SeriesNumber", "SeriesDescription", "ProtocolName", "Modality")
    study, *others = (text(instance.header, tag) for tag in tags)
    return study or instance.place, *others, instance.patient, instance.refusal, instance.shape


def _are_even(frames: Sequence[Frame]) -> bool:
    """Whether frames that lie in parallel lie at multiples of one distance."""
    places, _ = _along(frames, frames[0].orientation)
    places = np.array([_by_number(frame)[0] for frame in frames], float) if places is None else places
    steps = np.diff(np.sort(places))
    steps = steps[steps > SAME_PLACE] / steps[steps > SAME_PLACE].min(initial=np.inf)
    return len(steps) > 0 and bool(np.abs(steps - np.round(steps)).max() <= UNEVEN)


# stacks


def stacks_of(files: Sequence[Instance]) -> list[Stack]:
    """The stacks of one series, at least one; what belongs to none that is known is an omission of each.

    Raises: UnreadableScan if no file can be decoded, or by its tags none shows anatomy.
    """
    frames, refused = [], Counter()
    for instance in _without_copies(files):
        if instance.refusal:
            refused[instance.refusal] += 1
        elif not all(instance.shape) or instance.shape[0] > limits.MAX_FRAMES:
            refused[reason_against(instance)] += 1
        else:  # in its stack, also if it cannot be decoded: then it is missing there
            frames += [Frame(instance, index) for index in range(instance.shape[0])]
    if not frames:
        raise UnreadableScan(next(iter(refused)))
    frames.sort(key=_by_number)
    of_kind: dict[str, list[Frame]] = defaultdict(list)
    for frame in frames:
        of_kind[kind_of(frame)].append(frame)
    wanted, *others = sorted(of_kind, key=["", *KINDS].index)
    if wanted in NO_ANATOMY:
        raise UnreadableScan(f"By its tags this series shows no anatomy. {KINDS[wanted][1]} {UPLOAD_ORIGINAL}")
    omitted = [Omission(count, reason) for reason, count in refused.items()]
    aside = [Omission(len(of_kind[kind]), KINDS[kind][1], True) for kind in others]
    found = [
        stack
        for parallel in _parallel(of_kind[wanted])
        for name, alike in _of_one_setting(parallel)
        for stack in _placed(alike, name)
    ]
    if len(found) > MAX_STACKS:
        found.sort(key=lambda stack: -len(stack.frames))
        aside.append(Omission(sum(len(stack.frames) for stack in found[MAX_STACKS:]), TOO_MANY))
        del found[MAX_STACKS:]
    for place, stack in enumerate(found, 1):
        stack.name = f"{stack.name or 'part'} {place} of {len(found)}" if len(found) > 1 else ""
        stack.omitted = (*omitted, *(aside if place == 1 else ()))
        stack.warnings = (ANONYMOUS,) if len({any(instance.patient) for instance in files}) > 1 else ()
    return found


def kind_of(frame: Frame) -> str:
    """One of KINDS, or "" of a magnitude image."""
    words = {*frame.texts("ImageType")[2:], *frame.texts("ComplexImageComponent")}
    return next((kind for kind, (names, _) in reversed(KINDS.items()) if words.intersection(names)), "")


def _without_copies(files: Sequence[Instance]) -> Iterator[Instance]:
    """A copy has the same UID, position, number and pixels: anonymizers give one UID to all files."""
    alike: dict[Hashable, list[Instance]] = defaultdict(list)
    for instance in files:
        first = Frame(instance, 0)
        place = None if first.position is None else tuple(first.position.tolist())
        same = text(instance.header, "SOPInstanceUID") or instance.place
        alike[same, place, number(instance.header, "InstanceNumber"), instance.shape].append(instance)
    for some in alike.values():
        seen = set()
        for instance in some:
            digest = _digest(instance) if len(some) > 1 else b""
            if digest not in seen:
                yield instance
            seen.add(digest)


def _digest(instance: Instance) -> bytes:
    with open_data_set(instance.source) as file:
        file.seek(instance.pixels.start if instance.pixels else 0)
        return sha256(file.read()).digest()


def _by_number(frame: Frame) -> tuple[float, int, int, int]:
    instance = frame.instance
    return frame.instance_number, *instance.place, frame.index


def _parallel(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Frames of one size, of pixels too, whose directions are a reference's; one without goes with the only others."""
    by_size: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_size[frame.instance.shape[1:]].append(frame)
    for alike in by_size.values():
        lying = [frame for frame in alike if frame.orientation is not None]
        groups = []
        while lying:
            directions = np.array([frame.orientation for frame in lying])
            near = (directions * directions[0]).sum(-1).min(-1) >= SAME_ANGLE
            sides = np.array([frame.pixel_size or (np.nan, np.nan) for frame in lying])
            near &= ~(np.abs(sides - sides[0]) > SQUARE * sides[0]).any(1)  # true also where no size is known
            near[0] = True  # whatever it is: each turn takes one at least
            groups.append([frame for frame, is_near in zip(lying, near, strict=True) if is_near])
            lying = [frame for frame, is_near in zip(lying, near, strict=True) if not is_near]
        unknown = [frame for frame in alike if frame.orientation is None]
        if len(groups) == 1:
            yield sorted(groups[0] + unknown, key=_by_number)
        else:
            yield from (groups + [unknown] if unknown else groups)


def _of_one_setting(frames: list[Frame]) -> Iterator[tuple[str, list[Frame]]]:
    """Frames cut by echo, inversion or diffusion weighting, wherever they lie, and what that is called; "" if by none.

    What differs from slice to slice is no such thing, nor that some frames lack what all others have in common.
    """
    for tag, tolerance, name in SETTINGS:
        parts = _by_number_of(frames, tag, tolerance)
        lacking = frames[parts[0][0]].number(tag) is None
        if len(parts) > 1 + lacking and (min(map(len, parts)) > 1 or len(frames) == 2):
            for part in parts:
                inner = _of_one_setting([frames[i] for i in part])
                yield from ((more or name, alike) for more, alike in inner)
            return
    yield "", frames


def _placed(frames: list[Frame], name: str) -> Iterator[Stack]:
    """The stacks of frames that lie in parallel; `name` of what distinguishes them from others there."""
    orientation = next((frame.orientation for frame in frames if frame.orientation is not None), None)
    notes = (NO_ORIENTATION,) if orientation is not None and any(f.orientation is None for f in frames) else ()
    places, sentence = _along(frames, orientation)
    notes += (sentence,) if sentence else ()
    is_position = places is not None and sentence != BY_LOCATION
    if is_position:
        chains = _chains(frames, places, orientation)
    else:
        files = [f.instance.place if f.instance.shape[0] > 1 else () for f in frames]
        order = {file: label for label, file in enumerate(dict.fromkeys(files))}  # each is a picture of its own
        chains = _parts(np.array([order[file] if places is None else 0 for file in files]))
    for chain in chains:
        chained = [frames[i] for i in chain]
        for more, kept in _apart(chained, None if places is None else places[chain]):
            stack = Stack([chained[i] for i in kept], more or name, None, orientation, notes)
            if is_position:
                stack.heights = places[chain][kept].tolist()
            elif places is None and len(kept) > 1:
                at_one_place = all(frame.position is not None for frame in stack.frames)
                stack.assumptions += (AT_ONE_PLACE if at_one_place else BY_NUMBER,)
            yield stack


def _along(frames: Sequence[Frame], orientation: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Where frames lie along their normal, in mm, and what that rests on, a sentence if not on their positions.

    None where nothing but their numbers is left. Slice locations count where positions do not differ.
    """
    locations = _values(frames, "SliceLocation")
    n_locations = 0 if np.isnan(locations).any() else _gaps(locations, SAME_PLACE)[1]
    n_places = 0
    if orientation is not None and any(frame.position is not None for frame in frames):
        positions = np.array([[np.nan] * 3 if frame.position is None else frame.position for frame in frames])
        heights = positions @ orientation[0]
        if np.isnan(heights).any():
            heights, sentence = _fitted(frames, heights)
            n_places = 0 if heights is None else len(frames)
        else:
            sentence, n_places = "", max(_gaps(along, SAME_PLACE)[1] for along in positions.T)
    if n_places > 1 or len(frames) == 1 == n_places:
        return heights, sentence
    return (locations, BY_LOCATION) if n_locations > 1 else (None, "")


def _fitted(frames: Sequence[Frame], heights: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Heights of frames without a position by their numbers, if those of all others lie on a line."""
    numbers = np.array([frame.instance_number for frame in frames])
    known = ~np.isnan(heights)
    if known.sum() < 2 or len(np.unique(numbers)) < len(frames):
        return None, ""
    slope, start = np.polyfit(numbers[known], heights[known], 1)
    line = slope * numbers + start
    if abs(slope) < SAME_PLACE or np.abs(line - heights)[known].max() > UNEVEN * abs(slope):
        return None, ""
    return np.where(known, heights, line), FITTED


def _chains(frames: Sequence[Frame], heights: np.ndarray, orientation: np.ndarray) -> list[np.ndarray]:
    """Frames, as indices, that lie above each other: two stations side by side are two chains."""
    if any(frame.position is None for frame in frames):
        return [np.arange(len(frames))]
    aside = np.array([frame.position for frame in frames])
    aside = aside - heights[:, None] * orientation[0]
    chain_of = np.arange(len(frames))
    open_ends = np.zeros(0, int)  # of each chain, the frame that it ends with
    for level in _parts(_gaps(heights, SAME_PLACE)[0]):
        ends: list[int] = []
        for i in level:
            beside = [j for j in ends if np.linalg.norm(aside[j] - aside[i]) <= ASIDE]
            if beside:
                chain_of[i] = chain_of[beside[0]]
                continue
            ends.append(i)
            apart, rise = np.linalg.norm(aside[open_ends] - aside[i], axis=1), heights[i] - heights[open_ends]
            below = np.flatnonzero(apart <= ASIDE + rise)
            if len(below):
                nearest = below[np.lexsort((apart[below], rise[below]))[0]]
                chain_of[i] = chain_of[open_ends[nearest]]
        open_ends = np.concatenate((open_ends[~np.isin(chain_of[open_ends], chain_of[ends])], ends)).astype(int)
    return [np.flatnonzero(chain_of == chain) for chain in dict.fromkeys(chain_of.tolist())]


def _apart(frames: Sequence[Frame], places: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """One frame at each place: several there are distinguished by their settings, or else by their order.

    Args: `places`, mm along the normal; None if numbers are all that is known.
    Yields: of each stack what distinguishes it, "" if nothing need, and its frames in order, as indices.
    """
    labels, count = _by_rank(frames) if places is None else _gaps(places, SAME_PLACE)
    most = np.bincount(labels).max()
    for name, parts in _divisions(frames, is_known=places is not None and count > 1) if most > 1 else ():
        is_cut = 1 < len(parts) <= most and max(np.bincount(labels[part]).max() for part in parts) < most
        if is_cut and (np.bincount(labels) > 1).mean() >= OFTEN:
            for part in parts:
                inner = _apart([frames[i] for i in part], None if places is None else places[part])
                yield from ((more or name, part[kept]) for more, kept in inner)
            return
    order = np.lexsort(([_by_number(frame)[0] for frame in frames], labels))
    rank = np.zeros(len(frames), int)
    for before, after in pairwise(order) if count > 1 else ():
        rank[after] = rank[before] + 1 if labels[before] == labels[after] else 0
    for repetition in range(rank.max() + 1):
        yield "repetition" if rank.max() else "", order[rank[order] == repetition]


def _by_rank(frames: Sequence[Frame]) -> tuple[np.ndarray, int]:
    """The place of each frame by its number and, in its file, its index; and how many places there are."""
    keys = [(frame.instance_number, frame.index) for frame in frames]
    places, labels = np.unique(keys, axis=0, return_inverse=True)
    return labels.reshape(-1), len(places)


def _gaps(values: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Cut sorted values wherever one is further than `tolerance` from the one before: labels, from low, and count."""
    order = np.argsort(values, kind="stable")
    labels = np.zeros(len(values), int)
    labels[order] = np.cumsum(np.diff(values[order], prepend=values[order[0]]) > tolerance)
    return labels, int(labels.max()) + 1


def _values(frames: Sequence[Frame], tag: str) -> np.ndarray:
    """The number in a tag of each frame; NaN where there is none."""
    return np.array([frame.number(tag) for frame in frames], float)


def _by_number_of(frames: Sequence[Frame], tag: str, tolerance: float) -> list[np.ndarray]:
    """Frames by the value of a tag, the lower first, as indices; those without one first of all."""
    values = _values(frames, tag)
    labels = np.full(len(frames), -1)
    if (has := ~np.isnan(values)).any():
        labels[has] = _gaps(values[has], tolerance)[0]
    return _parts(labels)


def _divisions(frames: Sequence[Frame], is_known: bool) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Ways to divide frames: what each is called, and the indices of each part, the lower value first.

    Args: `is_known`, whether their places are: else what changes in time may change from slice to slice.
    """
    for tag, tolerance, name in (*SETTINGS, *TIMES) if is_known else SETTINGS:
        yield name, _by_number_of(frames, tag, tolerance)
    for tag, name in WORDS:
        words = [" ".join(frame.texts(tag)) for frame in frames]
        known = sorted(set(words))
        yield name, _parts(np.array([known.index(word) for word in words]))


def _parts(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
