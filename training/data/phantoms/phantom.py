"""Slices, volumes and data sets on disk of drawn heads with tumors, mass effect and the scanner's marks."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from model import CLASSES

from .canvas import Canvas, Point, ramp, resized, warped
from .heads import SELLAR_VIEWS, SEQUENCES, VIEWS, Anatomy, draw_tissues

SEQUENCE_SHARES = (0.2, 0.4, 0.2, 0.2)
LEAST_CONTRAST = 0.14  # between a lesion and what lies around it, on the scale of the tissues

# Of a volume:
LEVELS = {"axial_base": 0.18, "axial_nuclei": 0.45, "axial_body": 0.8, "axial_vertex": 1.0}  # share of height, the end
WITH_LESION = "axial_body"  # the level that shows it
FULL_SIZE, SMALLEST = 1.15, 0.4  # growth of the lesion in its middle, and from which on it is drawn
NOISE = 0.012  # on the scale of the tissues

# Of a data set:
SOURCE = "phantom"
FIRST_SEED = 1_000_000  # of a patient; smaller ones are left to the examples, so that no network has trained on them
MOST_SLICES = 3  # of one patient
HELD_OUT = {"val": 0.15, "test": 0.15}  # shares of the patients


@dataclass(frozen=True)
class Phantom:
    """A drawn slice and the truth about it."""

    image: np.ndarray  # (size, size) uint8
    label: str  # member of CLASSES
    box: tuple[float, float, float, float] | None  # x_center, y_center, width, height, fractions of the image
    mask: np.ndarray  # (size, size) bool: the lesion, without its edema
    view: str  # member of VIEWS
    sequence: str  # member of SEQUENCES


class Lesion(NamedTuple):
    """Where a tumor was painted."""

    inside: np.ndarray  # (size, size) float32: distance to its edge, positive inside
    center: Point
    radius: float


def draw_phantom(
    label: str,
    seed: int,
    size: int = 256,
    *,
    slice_index: int = 0,
    view: str | None = None,
    sequence: str | None = None,
) -> Phantom:
    """Draw an MRI-like head, always the same for the same arguments.

    Args: `label`, a member of `CLASSES`; `seed` >= 0, a patient's; `size` of the square in pixels; `slice_index`, for
    another slice of the same patient, near this one; `view` and `sequence`, drawn if None. Pituitary tumors are in
    `SELLAR_VIEWS` only.
    """
    patient_rng = np.random.default_rng([seed, CLASSES.index(label)])
    slice_rng = np.random.default_rng([seed, CLASSES.index(label), 1 + slice_index])  # [.., 0] is the patient's stream
    sellar = label == "pituitary" or (label == "notumor" and patient_rng.random() < 0.4)  # such views hold both classes
    view = view or str(patient_rng.choice(SELLAR_VIEWS if sellar else tuple(VIEWS)))
    sequence = sequence or str(patient_rng.choice(SEQUENCES, p=SEQUENCE_SHARES))
    canvas = Canvas(size, patient_rng, draw_tissues(patient_rng, sequence))
    anatomy = VIEWS[view](canvas)
    x, y = _pose(slice_rng, canvas)
    mask = np.zeros((size, size), dtype=bool)
    if label in PAINT:
        lesion = PAINT[label](canvas, anatomy, slice_rng.uniform(0.85, 1.1), sequence)
        x, y = _push(slice_rng.uniform(0.10, 0.35), canvas, anatomy, lesion, x, y)
        mask = warped(lesion.inside + 1, x, y) > 1  # plus one, for beyond the canvas there is none
    return Phantom(_scan(slice_rng, warped(canvas.pixels, x, y)), label, _box(mask), mask, view, sequence)


def draw_volume(label: str, seed: int, count: int, size: int, sequence: str) -> np.ndarray:
    """Draw a head from the skull base to the vertex, always the same for the same arguments.

    Args: `label`, "glioma", "meningioma" or "notumor": the same head for each, with a lesion that grows and shrinks;
        `count` of slices; `size` of their square in pixels; `sequence`, a member of `SEQUENCES`.
    Returns: uint8 (count, size, size), axial slices from the feet up, the patient's right on the left.
    """
    rng = np.random.default_rng([seed, 0])
    bends = rng.standard_normal((2, 2, 5, 5)) * 0.012
    field = np.exp(resized(rng.standard_normal((4, 4)) * 0.08, size))
    start, end = LEVELS["axial_nuclei"], LEVELS[WITH_LESION]
    slices = []
    for height in (np.arange(count) + 0.5) / count:
        level = next(view for view, top in LEVELS.items() if height <= top)
        patient = np.random.default_rng([seed, 1])  # the same for all slices
        canvas = Canvas(size, patient, draw_tissues(patient, sequence))
        anatomy = VIEWS[level](canvas)
        growth = FULL_SIZE * math.sin(math.pi * (height - start) / (end - start)) if level == WITH_LESION else 0
        if label in PAINT and growth > SMALLEST:
            PAINT[label](canvas, anatomy, growth, sequence)
        narrowing = 0.95 / math.sqrt(1 - (0.75 * max(0.0, height - 0.4) / 0.6) ** 2)  # towards the vertex
        bend = math.cos(math.pi * height) * bends[0] + math.sin(math.pi * height) * bends[1]
        x, y = (
            (place * narrowing + resized(part, size)).astype(np.float32)
            for place, part in zip((canvas.x, canvas.y), bend, strict=True)
        )
        noise = rng.standard_normal((2, size, size)) * NOISE
        slices.append(np.hypot(warped(canvas.pixels, x, y) * field + noise[0], noise[1]))
    volume = np.stack(slices)
    return (np.clip(volume / np.percentile(volume, 99.7), 0, 1) * 255).round().astype(np.uint8)


def write_phantom_dataset(root: Path, per_class: int, seed: int = 0, size: int = 256) -> Path:
    """Write `per_class` phantoms of each class under `root`, with `manifest.csv` and `boxes.csv`; returns `root`.

    Slices of one drawn patient share a group, and a group lies in one split. With three patients a class or
    more, every split holds every class.
    """
    rows = [["path", "label", "source", "group", "split"]]
    boxes = [["path", "x_center", "y_center", "width", "height"]]
    for label in CLASSES:
        (root / SOURCE / label).mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, CLASSES.index(label)])
        patients: list[int] = []  # slices of each
        while sum(patients) < per_class:
            patients.append(min(int(rng.integers(1, MOST_SLICES + 1)), per_class - sum(patients)))
        held_out = {split: max(1, round(share * len(patients))) for split, share in HELD_OUT.items()}
        held_out = [split for split, count in held_out.items() for _ in range(count)] if len(patients) >= 3 else []
        splits = ["train"] * (len(patients) - len(held_out)) + held_out
        for patient, (slices, split) in enumerate(zip(patients, splits, strict=True)):
            patient_seed = int(rng.integers(FIRST_SEED, 2**40))
            for index in range(slices):
                phantom = draw_phantom(label, patient_seed, size, slice_index=index)
                jpeg = rng.random() < 0.5
                name = f"{SOURCE}/{label}/{patient:04d}_{index}.{'jpg' if jpeg else 'png'}"
                options = {"quality": int(rng.integers(80, 96))} if jpeg else {"compress_level": 1}
                Image.fromarray(phantom.image).save(root / name, **options)
                rows.append([name, label, SOURCE, f"{SOURCE}:{label}:{patient}", split])
                if phantom.box:
                    boxes.append([name, *(f"{value:.4f}" for value in phantom.box)])
    for name, table in (("manifest.csv", rows), ("boxes.csv", boxes)):
        with (root / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    return root


# ---- from a painted head to an image


def _pose(rng: np.random.Generator, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Where on the canvas each pixel of the slice looks: turned, scaled, mirrored, shifted and gently bent."""
    bend_x, bend_y = (resized(rng.standard_normal((5, 5)) * 0.016, canvas.size) for _ in range(2))
    turn = math.radians(rng.normal(0, 5))
    zoom, stretch = rng.uniform(0.94, 1.22), math.exp(rng.normal(0, 0.04))
    mirror = -1 if rng.random() < 0.5 else 1
    x, y = canvas.x - rng.normal(0, 0.02), canvas.y - rng.normal(0, 0.02)
    along = mirror * zoom * stretch * (x * math.cos(turn) + y * math.sin(turn)) + bend_x
    across = zoom / stretch * (y * math.cos(turn) - x * math.sin(turn)) + bend_y
    if canvas.pixels[-1].any():  # a neck: it reaches the lower edge
        across -= max(0.0, float(across[-1].mean()) - 1)
    return along.astype(np.float32), across.astype(np.float32)


def _push(
    strength: float, canvas: Canvas, anatomy: Anatomy, lesion: Lesion, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mass effect: what lies around the lesion is pushed away from it, but not the skull."""
    dx, dy = x - lesion.center[0], y - lesion.center[1]
    room = ramp(canvas.inside(anatomy.vault) - 0.06, 0.12)[::2, ::2]  # coarse will do: it is smooth
    room = resized(warped(room, x[::2, ::2], y[::2, ::2]), canvas.size)
    pull = strength * room * np.exp((dx * dx + dy * dy) * (-1 / (2.2 * lesion.radius) ** 2))
    return x - pull * dx, y - pull * dy


def _scan(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Coil's bias field, blur, noise as of a magnitude image, and somebody's choice of window: uint8."""
    size = pixels.shape[0]
    field = np.exp(resized(rng.standard_normal((4, 4)) * rng.uniform(0.02, 0.16), size))
    gray = Image.fromarray((np.clip(pixels * field * 170, 0, 255)).astype(np.uint8))
    gray = np.asarray(gray.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 0.5) * size / 256)), dtype=np.float32) / 170
    level = rng.uniform(0.004, 0.035)
    real, imaginary = rng.standard_normal((2, size, size), dtype=np.float32) * level
    magnitude = np.hypot(gray + real, imaginary)
    bright = np.percentile(magnitude[::4, ::4], rng.uniform(98, 99.8))
    curve = np.clip(magnitude / bright, 0, 1) ** math.exp(rng.normal(0, 0.18))
    return (curve * rng.uniform(190, 255)).round().astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """x_center, y_center, width, height of what is True, fractions of the mask's sides; None if nothing is."""
    if not mask.any():
        return None
    (left, top), (right, bottom) = (end(np.argwhere(mask.T), axis=0).tolist() for end in (np.min, np.max))
    ends = (left + right + 1) / 2, (top + bottom + 1) / 2, right - left + 1, bottom - top + 1
    return tuple(end / len(mask) for end in ends)


# ---- tumors, each where its kind grows


def paint_glioma(canvas: Canvas, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """In white matter, ragged, in edema that follows the white matter; high grades with a rim around necrosis."""
    rng, t = canvas.rng, canvas.tissues
    site = anatomy.deep_sites[rng.integers(len(anatomy.deep_sites))]
    center = (site[0] + rng.normal(0, 0.03), site[1] + rng.normal(0, 0.03))
    radius = growth * rng.uniform(0.08, 0.20)
    far = _distance(canvas, center, 0.75, 1.3)
    for _ in range(int(rng.integers(0, 3))):  # lobes
        turn = rng.uniform(0, 2 * math.pi)
        lobe = (center[0] + 0.7 * radius * math.cos(turn), center[1] + 0.7 * radius * math.sin(turn))
        far = np.minimum(far, _distance(canvas, lobe, 0.75, 1.3) + 0.35 * radius)
    ragged = canvas.noise(1.3 / radius)
    fine = canvas.noise(min(3.5 / radius, 45))
    inside = radius - far + radius * (0.16 * ragged + 0.10 * fine)
    in_brain = ramp(anatomy.depth - 0.01, 0.03)
    spread = radius * rng.uniform(1.2, 2.3)
    halo = spread - far + spread * 0.30 * canvas.noise(0.8 / radius)
    edema = ramp(halo, 0.12) * in_brain * (0.12 + 0.88 * anatomy.white)
    canvas.fill(edema * rng.uniform(0.7, 1.0), t.edema)
    high_grade = rng.random() < (0.75 if sequence == "t1c" else 0.55)
    value = t.edema if sequence == "t1c" and not high_grade else t.solid
    if high_grade:
        rim = radius * np.maximum(rng.uniform(0.16, 0.5) + 0.13 * canvas.noise(1.6 / radius) + 0.07 * fine, 0.08)
        value = _apart(value, canvas, inside, anatomy)
        canvas.fill(ramp(inside, 1.5 * canvas.soft) * in_brain, value * (1 + 0.16 * canvas.noise(26)))
        canvas.fill(ramp(inside - rim, 0.03) * in_brain, t.core * (1 + 0.15 * canvas.noise(18)))
    else:
        value = _apart(value, canvas, inside, anatomy)
        canvas.fill(ramp(inside, rng.uniform(0.03, 0.08)) * in_brain, value * (1 + 0.08 * canvas.noise(20)))
        if sequence == "t1c" and rng.random() < 0.5:  # some enhancing islands
            islands = ramp(canvas.noise(1.6 / radius) - 0.6, 0.5) * ramp(inside - 0.3 * radius, 0.03) * in_brain
            canvas.fill(islands, t.solid)
    return Lesion(np.minimum(inside, anatomy.depth), center, radius)


def paint_meningioma(canvas: Canvas, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """On the dura with a broad base, sharply bounded, even; CSF cleft, dural tail, sometimes edema beside it."""
    rng, t = canvas.rng, canvas.tissues
    site = anatomy.dural_sites[rng.integers(len(anatomy.dural_sites))]
    radius = growth * rng.uniform(0.10, 0.22)
    length = radius * rng.uniform(0.35, 0.8)
    center = (site.point[0] + length * site.inward[0], site.point[1] + length * site.inward[1])
    far = _distance(canvas, center, 0.8, 1.2)
    room = canvas.inside(anatomy.vault) - 0.006
    inside = np.minimum(radius - far + radius * 0.07 * canvas.noise(0.8 / radius), room)
    in_head = ramp(room, canvas.soft)
    if rng.random() < 0.45:
        spread = radius * rng.uniform(0.3, 0.9)
        halo = radius + spread - far + spread * 0.5 * canvas.noise(0.8 / radius)
        canvas.fill(ramp(halo, 0.10) * ramp(anatomy.depth, 0.03) * (0.1 + 0.9 * anatomy.white), t.edema)
    canvas.fill(ramp(inside + rng.uniform(0.008, 0.02), canvas.soft) * in_head * 0.8, t.csf)
    if sequence == "t1c":
        to_site = np.hypot(canvas.x - site.point[0], canvas.y - site.point[1])
        near = ramp(radius * rng.uniform(1.4, 2.0) - to_site, 0.1)
        sheet = np.abs(canvas.x - site.point[0]) if site.on_falx else np.abs(room - 0.004)
        canvas.fill(ramp(0.012 - sheet, 0.012) * near * in_head * 0.9, t.meningioma)
    value = _apart(t.meningioma, canvas, inside, anatomy)
    canvas.fill(ramp(inside, canvas.soft), value * (1 + 0.045 * canvas.noise(26)))
    return Lesion(inside, center, radius)


def paint_adenoma(canvas: Canvas, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """Round or a snowman out of the sella, sharply bounded, even; some with a darker middle."""
    rng, t, site = canvas.rng, canvas.tissues, anatomy.sella
    radius = growth * rng.uniform(0.05, 0.10)
    inside = radius - _distance(canvas, site, 0.85, 1.2)
    if rng.random() < 0.6:
        head = radius * rng.uniform(0.6, 1.0)
        above = (site[0] + rng.normal(0, 0.15) * radius, site[1] - rng.uniform(0.5, 1.2) * radius)
        inside = np.maximum(inside, head - _distance(canvas, above, 0.85, 1.2))
    inside = inside + radius * 0.08 * canvas.noise(0.7 / radius)
    canvas.fill(ramp(inside + 0.012, canvas.soft) * 0.7, t.csf)
    value = _apart(t.adenoma, canvas, inside, anatomy)
    canvas.fill(ramp(inside, canvas.soft), value * (1 + 0.05 * canvas.noise(24)))
    if rng.random() < 0.25:
        canvas.fill(ramp(inside - radius * rng.uniform(0.4, 0.6), 0.04) * 0.5, t.core)
    return Lesion(inside, site, radius)


PAINT = {"glioma": paint_glioma, "meningioma": paint_meningioma, "pituitary": paint_adenoma}


def _distance(canvas: Canvas, center: Point, least: float, most: float) -> np.ndarray:
    """Distance from a center, in a space stretched by `least` to `most` along some direction."""
    stretch, turn = canvas.rng.uniform(least, most), math.radians(canvas.rng.uniform(0, 180))
    x, y, cos, sin = canvas.x - center[0], canvas.y - center[1], math.cos(turn), math.sin(turn)
    return np.hypot((x * cos + y * sin) / stretch, (y * cos - x * sin) * stretch)


def _apart(value: float, canvas: Canvas, inside: np.ndarray, anatomy: Anatomy) -> float:
    """`value`, moved away from the mean of the brain around the lesion if it is too near to be seen."""
    around = (inside > -0.08) & (inside < -0.01) & (anatomy.depth > 0)
    if not around.any():
        return value
    mean = float(canvas.pixels[around].mean())
    if abs(value - mean) >= LEAST_CONTRAST:
        return value
    below = mean - LEAST_CONTRAST
    return mean + LEAST_CONTRAST if value >= mean or below < 0.08 else below
