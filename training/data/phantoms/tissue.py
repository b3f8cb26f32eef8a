"""What all views share: shell of skin, fat and bone, folded cortex, cerebellum, face; and places where tumors grow."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from training.data.phantoms.canvas import TABLE, Canvas, Outline, Point, ramp
from training.data.phantoms.contrast import Tissues

LEAF = 0.032  # thickness of the leaves of the cerebellum


class DuralSite(NamedTuple):
    """A place on the dura, and the direction from it into the brain (of length 1)."""

    point: Point
    inward: Point
    on_falx: bool = False


class Anatomy(NamedTuple):
    """What a painted head tells the one who places a lesion."""

    vault: Outline  # inner table of the skull
    depth: np.ndarray  # (size, size) float32: how far inside the brain's surface, negative outside
    white: np.ndarray  # (size, size) float32 0..1: share of white matter
    deep_sites: list[Point]  # where a glioma may grow
    dural_sites: list[DuralSite]  # where a meningioma may grow
    sella: Point | None  # where a pituitary tumor grows, in views that cut it


def skull_sites(vault: Outline, directions: Iterable[float]) -> list[DuralSite]:
    """Places on the inner table, in directions (degrees) from its center."""
    sites = []
    for degrees in directions:
        x, y = vault.at(degrees)
        dx, dy = vault.center[0] - x, vault.center[1] - y
        far = float(np.hypot(dx, dy))
        sites.append(DuralSite((x, y), (dx / far, dy / far)))
    return sites


def falx_sites(heights: Iterable[float]) -> list[DuralSite]:
    """Places on both sides of the falx."""
    return [DuralSite((0.0, y), (float(side), 0.0), on_falx=True) for y in heights for side in (-1, 1)]


def both_sides(points: Iterable[Point]) -> list[Point]:
    """Points and their mirror images."""
    return [(side * x, y) for x, y in points for side in (-1, 1)]


def wobble(rng: np.random.Generator, amount: float, waves: int = 7) -> np.ndarray:
    """A random periodic curve for `Outline.grown`, of spread `amount`."""
    angle = np.arange(TABLE) * (2 * np.pi / TABLE)
    orders = np.arange(1, waves + 1)
    weights = rng.standard_normal(waves) / np.sqrt(orders)
    phases = rng.uniform(0, 2 * np.pi, waves)
    return amount * (np.cos(np.outer(angle, orders) + phases) @ weights)


def paint_shell(canvas: Canvas, t: Tissues, skin: Outline, vault: Outline, bone: float) -> None:
    """Skin, fat under it, the skull with its marrow, and CSF inside."""
    rng = canvas.rng
    to_skin, to_vault = canvas.inside(skin), canvas.inside(vault)
    grain = 1 + 0.04 * canvas.noise(70) + 0.05 * canvas.noise(6)
    canvas.fill(ramp(to_skin, canvas.soft), 0.6 * t.fat)
    canvas.fill(ramp(to_skin - rng.uniform(0.008, 0.02), canvas.soft), t.fat * grain)
    thickness = vault.grown(bone + wobble(rng, 0.007))
    to_bone = canvas.inside(thickness)
    canvas.fill(ramp(to_bone, canvas.soft), t.bone)
    share = rng.uniform(0.1, 0.3)
    diploe = bone * share - np.abs(to_bone - bone / 2)
    canvas.fill(ramp(diploe, 0.02) * rng.uniform(0.2, 0.9), t.marrow)
    canvas.fill(ramp(to_vault, canvas.soft), t.dura)
    canvas.fill(ramp(to_vault - 0.010, canvas.soft), t.csf)


def paint_brain(
    canvas: Canvas,
    t: Tissues,
    center: Point,
    surface: np.ndarray,
    reach: float,
    fissures: np.ndarray | None = None,
    folds: float = 17.0,
    combed: float = 1.1,
) -> np.ndarray:
    """White matter, the cortical ribbon and the sulci between its folds; returns the share of white matter.

    `surface`: depth below the brain's surface, negative outside; `reach`: how deep sulci run; `fissures`: distance to
    clefts that are there in every brain; `folds`: gyri across the image; `combed`: how strictly sulci run inward.

    A sulcus is a line where smooth noise changes sign, more or less a ray from `center`; dividing by the slope makes a
    distance of it. The ribbon is all that lies within its thickness of either surface or sulcus.
    """
    rng = canvas.rng
    rays = int(rng.integers(11, 16))
    radial = np.sin(rays * canvas.direction(center) + 2.4 * canvas.noise(5) + 0.9 * canvas.noise(folds))
    noise = combed * radial + 0.55 * canvas.noise(folds) + 0.2 * canvas.noise(2 * folds)
    down, right = np.gradient(noise)  # per pixel
    to_sulcus = canvas.pixel * np.abs(noise) / (np.hypot(down, right) + 2 * canvas.pixel)
    too_deep = np.maximum(surface - reach * (0.95 + 0.45 * canvas.noise(12)), 0)
    cleft = rng.uniform(-0.006, 0.008) + 0.005 * canvas.noise(9)
    to_csf = np.minimum(surface, np.hypot(to_sulcus, too_deep) - cleft)
    if fissures is not None:
        to_csf = np.minimum(to_csf, fissures)
    thickness = rng.uniform(0.034, 0.046)
    brain = ramp(surface, canvas.soft)
    white = ramp(to_csf - thickness, 0.022) * brain
    texture = 1 + 0.02 * canvas.noise(30)
    canvas.fill(brain, t.gray * texture)
    canvas.fill(white, t.white * texture)
    canvas.fill(ramp(-to_csf, 1.2 * canvas.soft) * brain, t.csf)
    if rng.random() < 0.3:  # the white spots of age and small vessels
        spots = ramp(canvas.noise(26) - rng.uniform(1.5, 2.0), 0.5) * ramp(to_csf - 0.09, 0.03)
        canvas.fill(spots * 0.8, t.edema)
    vessels = ramp(canvas.noise(52) - 1.5, 0.6) * ramp(0.008 - to_csf, 0.015) * brain
    canvas.fill(vessels, t.vessel)
    return white


def paint_folia(canvas: Canvas, t: Tissues, inside: np.ndarray, hilum: Point) -> None:
    """Cerebellum: fine leaves that run along its surface, a white core with branches towards `hilum`."""
    x, y = canvas.x - hilum[0], canvas.y - hilum[1]
    bend = canvas.noise(9) + 0.5 * canvas.noise(24)
    leaves = 0.5 + 0.5 * np.sin(inside * (2 * np.pi / LEAF) + 4.0 * bend)
    leaves *= np.clip(0.55 + 0.6 * canvas.noise(14), 0, 1)
    cover = ramp(inside, canvas.soft)
    canvas.fill(cover, t.gray * (1 + 0.04 * canvas.noise(40)))
    branches = 0.5 + 0.5 * np.cos(np.arctan2(y, x) * 9 + 1.2 * bend)
    core = ramp(inside - 0.09 - 0.03 * bend, 0.12) * (0.55 + 0.45 * branches)
    canvas.fill(cover * np.clip(core, 0, 1), t.white)
    fading = np.exp(-np.maximum(inside, 0) / 0.09)
    canvas.fill(cover * leaves**2 * 0.5 * fading, t.csf)


def paint_face(canvas: Canvas, t: Tissues, skin: Outline, vault: Outline, bone: float, below: float) -> None:
    """Muscle, fat and air between skull base and skin, as a ragged texture."""
    outside = np.minimum(canvas.inside(skin) - 0.03, -canvas.inside(vault) - 0.5 * bone)
    region = ramp(np.minimum(outside, canvas.y - below), 0.04)
    canvas.fill(region, t.muscle * (1 + 0.10 * canvas.noise(50) + 0.18 * canvas.noise(9, tall=2)))
    strands = canvas.noise(15, tall=2.5) + 0.3 * canvas.noise(40)
    canvas.fill(region * ramp(0.16 - np.abs(strands), 0.4) * np.clip(0.45 + 0.4 * canvas.noise(7), 0, 0.9), t.fat)
    canvas.fill(region * ramp(canvas.noise(12, tall=1.6) - 1.3, 0.9) * 0.75, t.bone)
    canvas.fill(region * ramp(canvas.noise(24) - 1.6, 0.8) * 0.6, t.mucosa)
