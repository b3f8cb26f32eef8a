"""Coronal heads: through sella, third ventricle and temporal lobes."""

import numpy as np

from training.data.phantoms.canvas import Canvas, Outline, ramp
from training.data.phantoms.contrast import Tissues
from training.data.phantoms.tissue import (
    Anatomy,
    both_sides,
    falx_sites,
    paint_brain,
    paint_face,
    paint_shell,
    skull_sites,
    wobble,
)

CENTER = (0.0, -0.24)
# Radius by direction of the inner table, and of the skin without the thickness of scalp and bone.
VAULT = {90: 0.58, 60: 0.60, 30: 0.585, 0: 0.56, 335: 0.575, 318: 0.58, 305: 0.50, 290: 0.37, 270: 0.33, 250: 0.37,
         235: 0.50, 222: 0.58, 205: 0.575, 180: 0.56, 150: 0.585, 120: 0.60}  # fmt: skip
SKIN = {90: 0.58, 45: 0.595, 0: 0.57, 340: 0.60, 320: 0.70, 305: 0.82, 290: 1.25, 270: 1.4, 250: 1.25, 235: 0.82,
        220: 0.70, 200: 0.60, 180: 0.57, 135: 0.595}  # fmt: skip


def coronal(canvas: Canvas, t: Tissues) -> Anatomy:
    """From the front, through sella, third ventricle and temporal lobes."""
    rng = canvas.rng
    vault = Outline(CENTER, VAULT, 11)
    vault = vault.grown(wobble(rng, 0.008, 8))
    bone, scalp = rng.uniform(0.035, 0.06), rng.uniform(0.04, 0.09)
    jaw = rng.uniform(0.95, 1.05)
    skin = Outline(CENTER, SKIN | {305: 0.82 * jaw, 235: 0.82 * jaw}, 12)
    skin = skin.grown(bone + scalp)
    paint_shell(canvas, t, skin, vault, bone)
    paint_face(canvas, t, skin, vault, bone, 0.0)
    _paint_throat(canvas, t)
    depth = canvas.inside(vault) - rng.uniform(0.018, 0.04)
    midline = np.abs(canvas.x - 0.005 * canvas.noise(5))
    fissure = np.hypot(midline, np.maximum(canvas.y + 0.42, 0)) - 0.006
    lateral = [(0.56, -0.20), (0.42, -0.14), (0.36, -0.24), (0.35, -0.32)]  # Sylvian fissure and insula
    medial = [(0.42, -0.14), (0.26, -0.09), (0.16, 0.0)]  # above the temporal lobe
    lines = [[(s * x, y) for x, y in line] for line in (lateral, medial) for s in (-1, 1)]
    clefts = np.minimum.reduce([canvas.distance_to(line) for line in lines]) - rng.uniform(0.004, 0.014)
    cistern = 1 - np.hypot(canvas.x / 0.17, (canvas.y - 0.06) / 0.09)
    surface = np.minimum(np.minimum(depth, fissure), -0.1 * cistern)
    white = paint_brain(canvas, t, CENTER, surface, rng.uniform(0.13, 0.19), clefts, rng.uniform(14, 18))
    wide = rng.uniform(0.7, 1.5)
    canvas.stroke(
        t.white, [(-0.26, -0.36), (-0.12, -0.42), (0, -0.395), (0.12, -0.42), (0.26, -0.36)], 0.055, soft=0.02
    )
    for s in (-1, 1):
        canvas.ellipse(t.gray, (s * 0.14, -0.29), 0.045, 0.065, soft=0.02)  # caudate
        canvas.ellipse(t.gray, (s * 0.245, -0.19), 0.065, 0.085, s * 20, soft=0.025)  # lentiform nucleus
        canvas.ellipse(t.gray, (s * 0.075, -0.17), 0.055, 0.06, soft=0.025)  # thalamus
        canvas.stroke(
            t.csf, [(s * 0.02, -0.33), (s * 0.07, -0.36), (s * 0.13, -0.375)], [0.05 * wide, 0.06 * wide, 0.015]
        )
        canvas.ellipse(t.csf, (s * 0.33, 0.06), 0.028 * wide, 0.010, s * 30)  # temporal horn
        canvas.ellipse(t.gray, (s * 0.27, 0.07), 0.05, 0.035, soft=0.02)  # hippocampus, amygdala
    canvas.stroke(t.white, [(0, -0.37), (0, -0.30)], 0.012)
    canvas.stroke(t.csf, [(0, -0.24), (0, -0.08)], [0.014, 0.03 * wide])  # third ventricle
    canvas.fill(
        ramp(0.006 - midline, canvas.soft) * ramp(-0.46 - canvas.y, 0.04) * ramp(canvas.inside(vault), canvas.soft),
        t.dura,
    )
    tip = vault.at(90)
    canvas.ellipse(t.vessel, (tip[0], tip[1] + 0.028), 0.03, 0.026)
    canvas.stroke(t.white, [(-0.07, -0.01), (0, -0.005), (0.07, -0.01)], 0.022)  # optic chiasm
    canvas.stroke(t.gland, [(0, 0.0), (0, 0.05)], 0.012)  # stalk
    canvas.ellipse(t.gland, (0, 0.075), 0.055, 0.024)
    for s in (-1, 1):
        canvas.ellipse(t.dura, (s * 0.09, 0.075), 0.035, 0.05)  # cavernous sinus
        canvas.ellipse(t.vessel if rng.random() < 0.3 else t.bone, (s * 0.085, 0.08), 0.018, 0.018)
        canvas.stroke(t.vessel, [(s * 0.06, -0.02), (s * 0.2, -0.06), (s * 0.32, -0.12)], 0.010, opacity=0.7)
    deep = both_sides([(0.28, -0.46), (0.38, -0.30), (0.24, -0.56), (0.38, 0.02), (0.20, -0.30)])
    dural = skull_sites(vault, (70, 55, 40, 25, 10, 350, 330, 300, 110, 125, 140, 155, 170, 190, 210, 240))
    dural += falx_sites((-0.62, -0.52))
    return Anatomy(vault, np.minimum(surface, clefts + 0.1), white, deep, dural, (0.0, 0.05))


def _paint_throat(canvas: Canvas, t: Tissues) -> None:
    rng = canvas.rng
    canvas.ellipse(t.marrow, (0, 0.17), 0.24, 0.09, soft=0.03)
    canvas.ellipse(t.bone, (0, 0.185), rng.uniform(0.09, 0.15), rng.uniform(0.05, 0.075))  # sphenoid sinus
    if rng.random() < 0.6:
        canvas.stroke(t.bone, [(0.0, 0.13), (0.0, 0.24)], 0.01)
    for s in (-1, 1):
        canvas.stroke(t.muscle, [(s * 0.46, 0.30), (s * 0.50, 0.55), (s * 0.44, 0.85)], [0.10, 0.15, 0.08])  # masseter
        canvas.stroke(t.bone, [(s * 0.40, 0.28), (s * 0.40, 0.55), (s * 0.36, 0.90)], 0.035)
        canvas.stroke(t.marrow, [(s * 0.40, 0.34), (s * 0.40, 0.55), (s * 0.36, 0.85)], 0.015)
        canvas.stroke(
            t.muscle, [(s * 0.28, 0.28), (s * 0.31, 0.45), (s * 0.27, 0.66)], [0.10, 0.14, 0.06]
        )  # pterygoids
        canvas.stroke(t.mucosa, [(s * 0.15, 0.30), (s * 0.17, 0.48)], 0.04)
    canvas.ellipse(t.bone, (0, 0.40), rng.uniform(0.08, 0.14), rng.uniform(0.06, 0.12))  # nasopharynx
    canvas.ellipse(t.muscle, (0, 0.72), 0.20, 0.16, soft=0.03)  # tongue
    canvas.stroke(t.fat, [(0, 0.62), (0, 0.86)], 0.02, opacity=0.7)
