"""Tumors: each where its kind grows, painted on a head without one."""

import math
from typing import NamedTuple

import numpy as np

from training.data.phantoms.canvas import Canvas, Point, ramp
from training.data.phantoms.contrast import Tissues
from training.data.phantoms.tissue import Anatomy

LEAST_CONTRAST = 0.14  # between a lesion and what lies around it, on the scale of `Tissues`


class Lesion(NamedTuple):
    """Where a tumor was painted."""

    inside: np.ndarray  # (size, size) float32: distance to its edge, positive inside
    center: Point
    radius: float


def paint_glioma(canvas: Canvas, t: Tissues, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """In white matter, ragged, in edema that follows the white matter; high grades with a rim around necrosis."""
    rng = canvas.rng
    site = anatomy.deep_sites[rng.integers(len(anatomy.deep_sites))]
    center = (site[0] + rng.normal(0, 0.03), site[1] + rng.normal(0, 0.03))
    radius = growth * rng.uniform(0.08, 0.20)
    far = _distance(canvas, center, rng.uniform(0.75, 1.3), rng.uniform(0, 180))
    for _ in range(int(rng.integers(0, 3))):  # lobes
        turn = rng.uniform(0, 2 * math.pi)
        lobe = (center[0] + 0.7 * radius * math.cos(turn), center[1] + 0.7 * radius * math.sin(turn))
        far = np.minimum(far, _distance(canvas, lobe, rng.uniform(0.75, 1.3), rng.uniform(0, 180)) + 0.35 * radius)
    ragged = canvas.noise(1.3 / radius)
    fine = canvas.noise(min(3.5 / radius, 45))
    inside = radius - far + radius * (0.16 * ragged + 0.10 * fine)
    in_brain = ramp(anatomy.depth - 0.01, 0.03)
    spread = radius * rng.uniform(1.2, 2.3)
    halo = spread - far + spread * 0.30 * canvas.noise(0.8 / radius)
    edema = ramp(halo, 0.12) * in_brain * (0.12 + 0.88 * anatomy.white)
    canvas.fill(edema * rng.uniform(0.7, 1.0), t.edema)
    high_grade = rng.random() < (0.75 if sequence == "t1c" else 0.55)
    if high_grade:
        rim = radius * np.maximum(rng.uniform(0.16, 0.5) + 0.13 * canvas.noise(1.6 / radius) + 0.07 * fine, 0.08)
        value = _apart(t.solid, canvas, inside, anatomy)
        canvas.fill(ramp(inside, 1.5 * canvas.soft) * in_brain, value * (1 + 0.16 * canvas.noise(26)))
        canvas.fill(ramp(inside - rim, 0.03) * in_brain, t.core * (1 + 0.15 * canvas.noise(18)))
    else:
        value = t.edema if sequence == "t1c" else t.solid
        value = _apart(value, canvas, inside, anatomy)
        canvas.fill(ramp(inside, rng.uniform(0.03, 0.08)) * in_brain, value * (1 + 0.08 * canvas.noise(20)))
        if sequence == "t1c" and rng.random() < 0.5:  # some enhancing islands
            islands = ramp(canvas.noise(1.6 / radius) - 0.6, 0.5) * ramp(inside - 0.3 * radius, 0.03) * in_brain
            canvas.fill(islands, t.solid)
    return Lesion(np.minimum(inside, anatomy.depth), center, radius)


def paint_meningioma(canvas: Canvas, t: Tissues, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """On the dura with a broad base, sharply bounded, even; CSF cleft, dural tail, sometimes edema beside it."""
    rng = canvas.rng
    site = anatomy.dural_sites[rng.integers(len(anatomy.dural_sites))]
    radius = growth * rng.uniform(0.10, 0.22)
    length = radius * rng.uniform(0.35, 0.8)
    center = (site.point[0] + length * site.inward[0], site.point[1] + length * site.inward[1])
    far = _distance(canvas, center, rng.uniform(0.8, 1.2), rng.uniform(0, 180))
    inside = radius - far + radius * 0.07 * canvas.noise(0.8 / radius)
    room = canvas.inside(anatomy.vault) - 0.006
    inside = np.minimum(inside, room)
    in_head = ramp(room, canvas.soft)
    if rng.random() < 0.45:
        spread = radius * rng.uniform(0.3, 0.9)
        halo = radius + spread - far + spread * 0.5 * canvas.noise(0.8 / radius)
        canvas.fill(ramp(halo, 0.10) * ramp(anatomy.depth, 0.03) * (0.1 + 0.9 * anatomy.white), t.edema)
    canvas.fill(ramp(inside + rng.uniform(0.008, 0.02), canvas.soft) * in_head * 0.8, t.csf)
    if sequence == "t1c":
        near = ramp(radius * rng.uniform(1.4, 2.0) - _distance(canvas, site.point, 1.0, 0.0), 0.1)
        sheet = np.abs(canvas.x - site.point[0]) if site.on_falx else np.abs(room - 0.004)
        canvas.fill(ramp(0.012 - sheet, 0.012) * near * in_head * 0.9, t.meningioma)
    value = _apart(t.meningioma, canvas, inside, anatomy)
    canvas.fill(ramp(inside, canvas.soft), value * (1 + 0.045 * canvas.noise(26)))
    return Lesion(inside, center, radius)


def paint_adenoma(canvas: Canvas, t: Tissues, anatomy: Anatomy, growth: float, sequence: str) -> Lesion:
    """Round or a snowman out of the sella, sharply bounded, even; some with a darker middle."""
    rng = canvas.rng
    site = anatomy.sella
    radius = growth * rng.uniform(0.05, 0.10)
    lower = radius - _distance(canvas, site, rng.uniform(0.85, 1.2), rng.uniform(0, 180))
    if rng.random() < 0.6:
        head = radius * rng.uniform(0.6, 1.0)
        above = (site[0] + rng.normal(0, 0.15) * radius, site[1] - rng.uniform(0.5, 1.2) * radius)
        lower = np.maximum(lower, head - _distance(canvas, above, rng.uniform(0.85, 1.2), rng.uniform(0, 180)))
    inside = lower + radius * 0.08 * canvas.noise(0.7 / radius)
    canvas.fill(ramp(inside + 0.012, canvas.soft) * 0.7, t.csf)
    value = _apart(t.adenoma, canvas, inside, anatomy)
    canvas.fill(ramp(inside, canvas.soft), value * (1 + 0.05 * canvas.noise(24)))
    if rng.random() < 0.25:
        canvas.fill(ramp(inside - radius * rng.uniform(0.4, 0.6), 0.04) * 0.5, t.core)
    return Lesion(inside, site, radius)


def _distance(canvas: Canvas, center: Point, stretch: float, degrees: float) -> np.ndarray:
    """Distance from a center, in a space stretched by `stretch` along a direction."""
    x, y = canvas.x - center[0], canvas.y - center[1]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
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


PAINT = {"glioma": paint_glioma, "meningioma": paint_meningioma, "pituitary": paint_adenoma}
