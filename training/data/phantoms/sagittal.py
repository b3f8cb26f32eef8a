"""Sagittal heads, face to the left: in the midline, and beside it through a hemisphere and an eye."""

import numpy as np

from training.data.phantoms.canvas import Canvas, Outline, ramp
from training.data.phantoms.contrast import Tissues
from training.data.phantoms.tissue import (
    Anatomy,
    paint_brain,
    paint_face,
    paint_folia,
    paint_shell,
    skull_sites,
    wobble,
)

CENTER = (0.06, -0.24)
# Radius by direction of the inner table, and of the skin without the thickness of scalp and bone.
MIDLINE_VAULT = {90: 0.58, 60: 0.61, 30: 0.67, 10: 0.70, 350: 0.69, 335: 0.64, 318: 0.60, 300: 0.58, 285: 0.54,
                 268: 0.50, 255: 0.45, 246: 0.40, 238: 0.36, 228: 0.38, 215: 0.44, 203: 0.54, 190: 0.62, 180: 0.65,
                 160: 0.67, 120: 0.60}  # fmt: skip
BESIDE_VAULT = MIDLINE_VAULT | {318: 0.58, 300: 0.50, 285: 0.44, 268: 0.42, 255: 0.44, 246: 0.45, 238: 0.45, 228: 0.46}
SKIN = {90: 0.58, 60: 0.61, 30: 0.67, 10: 0.70, 350: 0.70, 335: 0.68, 322: 0.72, 312: 0.95, 300: 1.3, 270: 1.6,
        255: 1.5, 248: 1.32, 243: 1.28, 236: 1.16, 231: 1.14, 226: 1.02, 221: 0.97, 216: 0.88, 211: 0.82, 204: 0.74,
        198: 0.68, 190: 0.68, 180: 0.67, 160: 0.67, 120: 0.60}  # fmt: skip
CALLOSUM = [(-0.17, -0.20), (-0.24, -0.26), (-0.22, -0.35), (-0.10, -0.42), (0.08, -0.44), (0.24, -0.38), (0.31, -0.27),
            (0.26, -0.22)]  # fmt: skip


def sagittal_midline(canvas: Canvas, t: Tissues) -> Anatomy:
    """Corpus callosum, brain stem and cerebellum, sella above the sphenoid sinus, nose, tongue and spine."""
    rng = canvas.rng
    vault = _paint_outside(canvas, t, MIDLINE_VAULT, nose=rng.uniform(0.8, 1.2))
    _paint_face_midline(canvas, t)
    depth = canvas.inside(vault) - rng.uniform(0.015, 0.035)
    tent = canvas.distance_to([(0.12, 0.02), (0.28, -0.03), (0.45, -0.02), (0.72, 0.06)])
    arch = canvas.distance_to(CALLOSUM)
    surface = np.minimum(depth, np.where(canvas.x > 0.10, tent - 0.008, 1))
    surface = np.minimum(surface, np.where(canvas.y > 0.02, -canvas.x - 0.05, 1))
    cingulate = np.abs(arch - rng.uniform(0.12, 0.15)) - 0.004 + 0.2 * ramp(canvas.y + 0.22, 0.1)
    white = paint_brain(canvas, t, CENTER, surface, rng.uniform(0.26, 0.36), cingulate, rng.uniform(13, 17))
    cisterns = np.minimum(np.minimum(depth + 0.01, canvas.y + 0.10), canvas.x + 0.20)
    canvas.fill(ramp(cisterns, 0.03) * ramp(0.10 - np.abs(canvas.x - 0.02), 0.05), t.csf)
    canvas.ellipse(t.csf, (0.05, -0.24), 0.27, 0.20, soft=0.02)
    canvas.stroke(t.csf, CALLOSUM, 0.085, soft=0.02, opacity=0.9)
    canvas.stroke(t.white, CALLOSUM, [0.03, 0.06, 0.055, 0.05, 0.045, 0.05, 0.075, 0.04])
    canvas.ellipse(0.5 * (t.csf + t.gray), (-0.04, -0.31), 0.16, 0.07, 8, soft=0.03)  # septum, half in the slice
    canvas.stroke(t.white, [(0.16, -0.36), (0.0, -0.33), (-0.12, -0.20)], [0.02, 0.03, 0.03])  # fornix
    canvas.ellipse(t.gray, (0.07, -0.22), 0.13, 0.075, 5, soft=0.02)  # thalamus
    canvas.ellipse(t.gray, (-0.07, -0.11), 0.06, 0.05, soft=0.02)  # hypothalamus
    _paint_cerebellum(canvas, t, depth, tent, (0.33, 0.15), 0.235, 0.13, (0.15, 0.10))
    _paint_stem(canvas, t)
    canvas.stroke(t.dura, [(0.20, -0.16), (0.34, -0.09), (0.52, -0.02), (0.70, 0.03)], 0.018)  # straight sinus
    canvas.stroke(t.white, [(-0.20, -0.05), (-0.13, -0.055), (-0.08, -0.09)], 0.022)  # optic chiasm
    canvas.stroke(t.gland, [(-0.11, -0.05), (-0.14, 0.03)], 0.010)  # stalk and gland
    canvas.ellipse(t.gland, (-0.155, 0.045), 0.04, 0.022, 10)
    deep = [(-0.32, -0.35), (-0.15, -0.56), (0.15, -0.60), (0.40, -0.45), (0.48, -0.22), (-0.36, -0.26)]
    dural = skull_sites(vault, (25, 40, 55, 70, 85, 100, 115, 130, 145, 160, 175, 190, 205, 340))
    return Anatomy(vault, surface, white, deep, dural, (-0.15, 0.02))


def sagittal_beside(canvas: Canvas, t: Tissues) -> Anatomy:
    """One hemisphere with the Sylvian fissure, the lateral ventricle if it is met, an eye."""
    rng = canvas.rng
    vault = _paint_outside(canvas, t, BESIDE_VAULT, nose=0.0)
    _paint_face_beside(canvas, t)
    depth = canvas.inside(vault) - rng.uniform(0.015, 0.035)
    tent = canvas.distance_to([(0.12, 0.03), (0.4, 0.02), (0.72, 0.06)])
    sylvian = canvas.distance_to([(-0.34, 0.02), (-0.20, -0.10), (0.02, -0.16), (0.20, -0.26)]) - rng.uniform(
        0.004, 0.016
    )
    surface = np.minimum(depth, np.where(canvas.x > 0.10, tent - 0.008, 1))
    white = paint_brain(canvas, t, CENTER, surface, rng.uniform(0.22, 0.32), sylvian, rng.uniform(14, 18))
    if rng.random() < 0.7:
        wide = rng.uniform(0.6, 1.4)
        line = [(-0.16, -0.34), (0.02, -0.40), (0.20, -0.36), (0.30, -0.24), (0.20, -0.12)]
        canvas.stroke(t.csf, line, [0.03, 0.05 * wide, 0.06 * wide, 0.08 * wide, 0.02])
        canvas.ellipse(t.gray, (0.06, -0.27), 0.12, 0.07, soft=0.03)  # thalamus
    _paint_cerebellum(canvas, t, depth, tent, (0.34, 0.14), 0.26, 0.08, (0.18, 0.12))
    deep = [(-0.25, -0.42), (0.0, -0.50), (0.25, -0.48), (0.45, -0.25), (-0.05, 0.0), (-0.3, -0.3), (0.35, -0.38)]
    dural = skull_sites(vault, (20, 35, 50, 65, 80, 95, 110, 125, 140, 155, 170, 185, 200, 240, 340, 5))
    return Anatomy(vault, surface, white, deep, dural, None)


def _paint_outside(canvas: Canvas, t: Tissues, radii: dict[float, float], nose: float) -> Outline:
    """Skin, skull and face; `nose`: how far it stands out, 0 beside it. Returns the inner table."""
    rng = canvas.rng
    vault = Outline(CENTER, radii, 9).grown(wobble(rng, 0.006, 8))
    bone, scalp = rng.uniform(0.035, 0.06), rng.uniform(0.035, 0.08)
    profile = {221: 0.97 + 0.03 * nose, 216: 0.88 + 0.14 * nose, 211: 0.82 + 0.10 * nose, 204: 0.74 + 0.02 * nose}
    skin = Outline(CENTER, SKIN | profile, 4)
    skin = skin.grown(bone + scalp)
    paint_shell(canvas, t, skin, vault, bone)
    paint_face(canvas, t, skin, vault, bone, -0.12)
    return vault


def _paint_cerebellum(canvas, t, depth, tent, center, radius, front, hilum) -> None:
    """Under the tent, behind `front`, in CSF."""
    under = np.minimum(np.minimum(depth, tent - 0.010), canvas.y + 0.02 * canvas.x)
    canvas.fill(ramp(np.minimum(under, canvas.x - 0.02), canvas.soft), t.csf)
    leaf = np.minimum(under, radius - np.hypot((canvas.x - center[0]) * 0.93, canvas.y - center[1]))
    paint_folia(canvas, t, np.minimum(leaf, canvas.x - front), hilum)


def _paint_stem(canvas: Canvas, t: Tissues) -> None:
    """Midbrain, pons, medulla and cord, the fourth ventricle behind and the basilar artery before them."""
    stem = 0.3 * t.gray + 0.7 * t.white
    line = [(0.10, -0.14), (0.06, -0.03), (0.05, 0.10), (0.09, 0.26), (0.14, 0.42), (0.19, 0.62), (0.21, 1.0)]
    canvas.stroke(stem, line, [0.16, 0.15, 0.15, 0.11, 0.09, 0.075, 0.075])
    canvas.ellipse(stem, (0.005, 0.06), 0.095, 0.115, 8)
    canvas.ellipse(t.gray, (0.17, -0.10), 0.035, 0.04)  # colliculi
    canvas.stroke(t.csf, [(0.135, -0.05), (0.14, 0.02), (0.155, 0.10), (0.14, 0.2)], [0.008, 0.018, 0.05, 0.01])
    if canvas.rng.random() < 0.7:
        canvas.stroke(t.vessel, [(-0.06, -0.05), (-0.055, 0.06), (-0.03, 0.18)], 0.014)


def _paint_face_midline(canvas: Canvas, t: Tissues) -> None:
    rng = canvas.rng
    canvas.stroke(t.marrow, [(-0.13, 0.08), (-0.06, 0.16), (0.02, 0.30)], [0.06, 0.09, 0.05])  # clivus
    canvas.ellipse(t.bone, (-0.22, 0.13), rng.uniform(0.07, 0.11), rng.uniform(0.055, 0.08), 20)  # sphenoid sinus
    canvas.ellipse(t.bone, (-0.60, -0.20), 0.035, rng.uniform(0.05, 0.10), -15)  # frontal sinus
    canvas.stroke(t.bone, [(-0.66, 0.30), (-0.45, 0.14), (-0.30, 0.20)], [0.05, 0.22, 0.12], soft=0.03)  # nasal cavity
    for height in (0.12, 0.20, 0.28):
        canvas.stroke(
            t.mucosa, [(-0.62, height + 0.03), (-0.45, height - 0.01), (-0.30, height + 0.02)], [0.02, 0.05, 0.02]
        )
    canvas.stroke(t.bone, [(-0.70, 0.38), (-0.45, 0.36), (-0.25, 0.37)], 0.03)  # hard palate
    canvas.stroke(t.marrow, [(-0.66, 0.385), (-0.45, 0.365)], 0.012)
    canvas.ellipse(t.muscle * 1.05, (-0.42, 0.56), 0.24, 0.15, 8, soft=0.03)  # tongue
    canvas.stroke(
        t.bone, [(-0.16, 0.24), (-0.12, 0.40), (-0.10, 0.60), (-0.08, 0.85)], [0.07, 0.05, 0.05, 0.06]
    )  # airway
    for step in range(4):
        at = (0.06 + 0.02 * step, 0.44 + 0.19 * step)
        canvas.ellipse(t.bone, at, 0.062, 0.09, -6)
        canvas.ellipse(t.marrow, at, 0.05, 0.078, -6)
    canvas.stroke(t.csf, [(0.10, 0.24), (0.16, 0.42), (0.20, 0.62), (0.22, 1.0)], [0.16, 0.14, 0.12, 0.11])


def _paint_face_beside(canvas: Canvas, t: Tissues) -> None:
    rng = canvas.rng
    eye = (-0.58, 0.02)
    canvas.stroke(t.bone, [(-0.34, 0.06), eye], [0.12, 0.32])
    canvas.stroke(t.fat, [(-0.32, 0.06), (-0.44, 0.045), eye], [0.06, 0.18, 0.27])
    for bend in (-0.07, 0.07):
        canvas.stroke(t.muscle, [(-0.33, 0.06), (-0.44, 0.045 + bend), (-0.54, 0.03 + 1.4 * bend)], 0.03)
    canvas.stroke(0.5 * (t.white + t.muscle), [(-0.32, 0.06), (-0.50, 0.035)], 0.026)
    canvas.ellipse(t.muscle, eye, 0.118, 0.112)
    canvas.ellipse(t.vitreous, eye, 0.100, 0.095)
    canvas.ellipse(t.bone, (-0.48, 0.33), rng.uniform(0.09, 0.15), rng.uniform(0.08, 0.13), 10)  # maxillary sinus
    canvas.stroke(t.muscle, [(-0.22, 0.24), (-0.20, 0.45), (-0.24, 0.65)], [0.14, 0.20, 0.12])
    canvas.stroke(t.bone, [(0.06, 0.12), (0.14, 0.18), (0.26, 0.24)], [0.10, 0.12, 0.05], soft=0.03)  # petrous bone
    canvas.stroke(t.muscle, [(0.16, 0.35), (0.26, 0.60), (0.30, 0.95)], [0.12, 0.18, 0.2])
