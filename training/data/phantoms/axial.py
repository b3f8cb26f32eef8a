"""Axial heads, front up: vertex, bodies of the ventricles, deep nuclei, and the base with orbits and cerebellum."""

import numpy as np

from training.data.phantoms.canvas import Canvas, Outline, ramp
from training.data.phantoms.contrast import Tissues
from training.data.phantoms.tissue import (
    Anatomy,
    both_sides,
    falx_sites,
    paint_brain,
    paint_folia,
    paint_shell,
    skull_sites,
    wobble,
)

# Radius of the inner table by direction.
UPPER_VAULT = {90: 0.80, 60: 0.73, 25: 0.63, 0: 0.64, 335: 0.68, 300: 0.76, 270: 0.80, 240: 0.76, 205: 0.68, 180: 0.64,
               155: 0.63, 120: 0.73}  # fmt: skip
LOWER_VAULT = {90: 0.56, 72: 0.50, 50: 0.52, 25: 0.58, 0: 0.64, 335: 0.68, 300: 0.76, 270: 0.80, 240: 0.76, 205: 0.68,
               180: 0.64, 155: 0.58, 130: 0.52, 108: 0.50}  # fmt: skip
LOWER_SKIN = {0: 0.72, 30: 0.74, 55: 0.88, 75: 0.92, 86: 0.95, 90: 1.0, 94: 0.95, 105: 0.92, 125: 0.88, 150: 0.74,
              180: 0.72, 210: 0.76, 240: 0.83, 270: 0.88, 300: 0.83, 330: 0.76}  # fmt: skip
AROUND = [angle for angle in range(0, 360, 15) if angle not in (90, 270)]  # all but the ends of the falx


def axial_vertex(canvas: Canvas, t: Tissues) -> Anatomy:
    """Above the ventricles: sulci all over, the fissure from front to back."""
    rng = canvas.rng
    vault = _paint_upper_shell(canvas, t, 0.88)
    midline = _midline(canvas)
    surface = np.minimum(canvas.inside(vault) - rng.uniform(0.018, 0.05), midline - rng.uniform(0.004, 0.012))
    folds, combed = rng.uniform(15, 19), rng.uniform(0.1, 0.4)
    white = paint_brain(canvas, t, vault.center, surface, 0.34, folds=folds, combed=combed)
    _paint_falx(canvas, t, vault, midline, gap=None)
    deep = both_sides([(0.28, -0.20), (0.30, 0.10), (0.25, 0.30)])
    return Anatomy(vault, surface, white, deep, skull_sites(vault, AROUND) + falx_sites((-0.45, 0.4)), None)


def axial_body(canvas: Canvas, t: Tissues) -> Anatomy:
    """Through the bodies of the lateral ventricles."""
    vault, surface, white, midline = _paint_middle(canvas, t, gap=(-0.36, 0.34), clefts=None)
    wide = canvas.rng.uniform(0.7, 1.5)
    for s in (-1, 1):
        canvas.ellipse(t.gray, (s * 0.155, -0.06), 0.035, 0.17, -s * 6, soft=0.02)  # caudate nucleus
        line = [(s * 0.10, -0.27), (s * 0.055, -0.16), (s * 0.05, 0.0), (s * 0.09, 0.15), (s * 0.15, 0.27)]
        canvas.stroke(t.csf, line, [0.03, 0.065 * wide, 0.06 * wide, 0.06 * wide, 0.03])
        canvas.stroke(0.5 * (t.vessel + t.gray), [(s * 0.07, 0.05), (s * 0.10, 0.17)], 0.014)  # choroid plexus
    canvas.stroke(t.white, [(0, -0.24), (0, 0.1)], 0.014)  # septum
    _paint_falx(canvas, t, vault, midline, gap=(-0.40, 0.40))
    return _middle_anatomy(vault, surface, white)


def axial_nuclei(canvas: Canvas, t: Tissues) -> Anatomy:
    """Through the deep nuclei, the third ventricle, frontal and occipital horns, and the insula."""
    insula = [(0.60, -0.10), (0.46, -0.13), (0.40, -0.03), (0.41, 0.12)]
    clefts = np.minimum(*(canvas.distance_to([(s * x, y) for x, y in insula]) for s in (-1, 1)))
    clefts -= canvas.rng.uniform(0.004, 0.014)
    vault, surface, white, midline = _paint_middle(canvas, t, gap=(-0.40, 0.42), clefts=clefts)
    wide = canvas.rng.uniform(0.7, 1.5)
    for s in (-1, 1):
        canvas.ellipse(t.gray, (s * 0.235, 0.0), 0.06, 0.15, -s * 14, soft=0.025)  # lentiform nucleus
        canvas.ellipse(t.gray, (s * 0.10, 0.10), 0.075, 0.12, s * 18, soft=0.025)  # thalamus
        canvas.ellipse(t.gray, (s * 0.125, -0.17), 0.045, 0.085, -s * 14, soft=0.02)  # head of the caudate nucleus
        horn = [(s * 0.02, -0.13), (s * 0.055, -0.20), (s * 0.09, -0.28)]
        canvas.stroke(t.csf, horn, [0.02 * wide, 0.05 * wide, 0.03 * wide])
        canvas.stroke(t.csf, [(s * 0.16, 0.24), (s * 0.215, 0.31), (s * 0.21, 0.42)], [0.03, 0.055 * wide, 0.01])
        canvas.ellipse(0.5 * (t.vessel + t.gray), (s * 0.19, 0.275), 0.016, 0.024, s * 30)  # choroid plexus
    canvas.stroke(t.csf, [(0, -0.08), (0, 0.04), (0, 0.17)], [0.012, 0.026 * wide, 0.018])  # third ventricle
    canvas.ellipse(t.csf, (0, 0.225), 0.045, 0.03)  # quadrigeminal cistern
    canvas.ellipse(t.vessel, (0, 0.24), 0.010, 0.014)
    _paint_falx(canvas, t, vault, midline, gap=(-0.40, 0.40))
    return _middle_anatomy(vault, surface, white)


def axial_base(canvas: Canvas, t: Tissues) -> Anatomy:
    """The lowest: orbits, temporal lobes, suprasellar cistern, brain stem, cerebellum."""
    rng = canvas.rng
    vault = Outline((0.0, 0.06), LOWER_VAULT, 16).grown(wobble(rng, 0.008, 9))
    skin = Outline((0.0, 0.06), LOWER_SKIN, 10)
    bone = rng.uniform(0.035, 0.075)
    paint_shell(canvas, t, skin, vault, bone)
    _paint_orbits(canvas, t, skin, vault, bone)
    depth = canvas.inside(vault) - rng.uniform(0.018, 0.05)
    between_lobes = np.hypot(np.maximum(np.abs(canvas.x) - 0.07, 0), np.maximum(canvas.y + 0.10, 0)) - 0.004
    star = np.minimum(
        canvas.distance_to([(-0.22, -0.20), (-0.11, -0.11), (0, -0.13), (0.11, -0.11), (0.22, -0.20)]),
        canvas.distance_to([(-0.17, 0.10), (-0.12, -0.02), (0, -0.06), (0.12, -0.02), (0.17, 0.10)]),
    )
    star = np.minimum(star - rng.uniform(0.02, 0.035), np.hypot(canvas.x, 1.2 * (canvas.y + 0.10)) - 0.085)
    tent = np.minimum(*(canvas.distance_to([(s * 0.17, 0.12), (s * 0.34, 0.22), (s * 0.62, 0.24)]) for s in (-1, 1)))
    surface = np.minimum(np.minimum(depth, star), tent - 0.008)
    clefts = np.maximum(between_lobes, -canvas.y - 0.32)
    white = paint_brain(canvas, t, vault.center, surface, 0.16, clefts, rng.uniform(14, 17))
    paint_folia(canvas, t, np.minimum(np.minimum(depth, tent - 0.012), canvas.y - 0.16), (0.0, 0.20))
    _paint_stem(canvas, t)
    canvas.ellipse(t.vessel, (0, -0.035), 0.014, 0.014)  # basilar artery
    for s in (-1, 1):
        canvas.ellipse(t.vessel, (s * 0.10, -0.16), 0.017, 0.017)  # carotid arteries
        canvas.stroke(t.vessel, [(s * 0.10, -0.16), (s * 0.2, -0.17), (s * 0.3, -0.14)], 0.012, opacity=0.7)
    canvas.stroke(t.white, [(-0.06, -0.20), (0, -0.15), (0.06, -0.20)], 0.02, opacity=0.8)  # optic chiasm
    _paint_sinus(canvas, t, vault)
    deep = both_sides([(0.38, 0.0), (0.24, 0.46)])
    dural = skull_sites(vault, (20, 160, 0, 180, 215, 325, 240, 300))
    return Anatomy(vault, surface, white, deep, dural, (0.0, -0.13))


def _paint_upper_shell(canvas: Canvas, t: Tissues, small: float) -> Outline:
    rng = canvas.rng
    vault = Outline((0.0, 0.0), {angle: small * radius for angle, radius in UPPER_VAULT.items()}, 16)
    vault = vault.grown(wobble(rng, 0.008, 9))
    bone, scalp = rng.uniform(0.035, 0.075), rng.uniform(0.035, 0.085)
    paint_shell(canvas, t, vault.grown(bone + scalp), vault, bone)
    return vault


def _midline(canvas: Canvas) -> np.ndarray:
    """Distance to the slightly wavy plane between the hemispheres."""
    return np.abs(canvas.x - 0.006 * canvas.noise(5))


def _paint_middle(canvas: Canvas, t: Tissues, gap: tuple[float, float], clefts: np.ndarray | None):
    """Shell, cortex and corpus callosum of a slice whose fissure is bridged within `gap`, from front to back."""
    rng = canvas.rng
    vault = _paint_upper_shell(canvas, t, 1.0)
    midline = _midline(canvas)
    to_ends = np.minimum(canvas.y - gap[0], gap[1] - canvas.y)
    surface = np.minimum(
        canvas.inside(vault) - rng.uniform(0.018, 0.05), np.hypot(midline, np.maximum(to_ends, 0)) - 0.006
    )
    white = paint_brain(canvas, t, vault.center, surface, rng.uniform(0.14, 0.22), clefts, rng.uniform(14, 18))
    canvas.ellipse(t.white, (0, -0.30), 0.14, 0.045, soft=0.02)
    canvas.ellipse(t.white, (0, 0.31), 0.16, 0.05, soft=0.02)
    return vault, surface, white, midline


def _middle_anatomy(vault: Outline, surface: np.ndarray, white: np.ndarray) -> Anatomy:
    deep = both_sides([(0.30, -0.30), (0.36, 0.05), (0.32, 0.34), (0.24, -0.42)])
    dural = skull_sites(vault, AROUND) + falx_sites((-0.55, -0.45, 0.45, 0.55))
    return Anatomy(vault, surface, white, deep, dural, None)


def _paint_falx(
    canvas: Canvas, t: Tissues, vault: Outline, midline: np.ndarray, gap: tuple[float, float] | None
) -> None:
    cover = ramp(0.006 - midline, canvas.soft) * ramp(canvas.inside(vault), canvas.soft)
    if gap:
        cover = cover * ramp(np.maximum(gap[0] - canvas.y, canvas.y - gap[1]), 0.05)
    canvas.fill(cover, t.dura)
    _paint_sinus(canvas, t, vault)


def _paint_sinus(canvas: Canvas, t: Tissues, vault: Outline) -> None:
    x, y = vault.at(270)
    canvas.ellipse(t.vessel, (x, y - 0.03), 0.028, 0.032)  # superior sagittal sinus


def _paint_stem(canvas: Canvas, t: Tissues) -> None:
    """Pons with the fourth ventricle, or midbrain with its aqueduct, in the cistern around it."""
    stem = 0.5 * (t.white + t.gray)
    if canvas.rng.random() < 0.5:
        canvas.ellipse(t.csf, (0, 0.09), 0.20, 0.16)
        canvas.ellipse(stem, (0, 0.10), 0.155, 0.125)
        for s in (-1, 1):
            canvas.stroke(t.white, [(s * 0.10, 0.14), (s * 0.22, 0.25)], 0.09, soft=0.03)
        canvas.ellipse(t.csf, (0, 0.245), 0.05 * canvas.rng.uniform(0.7, 1.3), 0.028)
    else:
        canvas.ellipse(t.csf, (0, 0.10), 0.19, 0.15)
        for s in (-1, 1):
            canvas.ellipse(stem, (s * 0.075, 0.05), 0.06, 0.085, -s * 30)
        canvas.ellipse(stem, (0, 0.11), 0.13, 0.085)
        canvas.ellipse(t.csf, (0, 0.165), 0.010, 0.012)


def _paint_orbits(canvas: Canvas, t: Tissues, skin: Outline, vault: Outline, bone: float) -> None:
    """Eyes in their fat, nasal cavity with ethmoid cells, sphenoid sinus, temporal muscles and petrous bones."""
    rng = canvas.rng
    muscle = np.minimum(np.minimum(canvas.inside(skin) - 0.035, -canvas.inside(vault) - bone), 0.25 - canvas.y)
    canvas.fill(ramp(muscle, 0.02) * (np.abs(canvas.x) > 0.3), t.muscle * (1 + 0.1 * canvas.noise(40)))
    for s in (-1, 1):
        apex, eye = (s * 0.13, -0.40), (s * 0.33, -0.66)
        canvas.stroke(t.bone, [apex, eye], [0.12, 0.36])
        canvas.stroke(t.fat, [apex, (s * 0.23, -0.53), eye], [0.07, 0.20, 0.29])
        for offset in (-0.11, 0.11):
            canvas.stroke(
                t.muscle, [apex, (s * (0.23 + offset), -0.55), (s * (0.33 + offset), -0.63)], [0.025, 0.04, 0.02]
            )
        canvas.stroke(0.5 * (t.white + t.muscle), [apex, (s * 0.25, -0.52), (s * 0.32, -0.60)], 0.028)
        canvas.ellipse(t.muscle, eye, 0.125, 0.125)
        canvas.ellipse(t.vitreous, eye, 0.108, 0.108)
        canvas.ellipse(0.5 * (t.muscle + t.vitreous), (eye[0] + s * 0.01, eye[1] - 0.085), 0.05, 0.022, s * 12)
    half = rng.uniform(0.10, 0.14)
    canvas.stroke(t.bone, [(0, -0.86), (0, -0.55), (0, -0.30)], [0.12, 2.0 * half, 1.9 * half])
    cells = ramp(canvas.noise(30) - 0.1, 0.6) * ramp(half - 0.02 - np.abs(canvas.x), 0.02)
    cells *= ramp(np.minimum(canvas.y + 0.84, -0.36 - canvas.y), 0.03)
    canvas.fill(cells * 0.9, t.mucosa)
    canvas.stroke(t.mucosa, [(0.01, -0.90), (-0.01, -0.6), (0, -0.40)], 0.018)  # septum
    canvas.ellipse(t.bone, (0, -0.31), 0.13, 0.085)
    if rng.random() < 0.6:
        for s in (-1, 1):
            canvas.stroke(t.bone, [(s * 0.22, 0.02), (s * 0.42, 0.14), (s * 0.60, 0.20)], [0.04, 0.10, 0.14], soft=0.03)
            canvas.stroke(t.marrow, [(s * 0.30, 0.07), (s * 0.40, 0.13)], 0.03, opacity=0.4)
