"""Heads without a tumor in seven views: skull and skin, folded cortex, cerebellum, face; and where tumors may grow."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from .canvas import ANATOMY, TABLE, Canvas, Outline, Point, ramp, wobble

SEQUENCES = ("t1", "t1c", "t2", "flair")
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


def draw_tissues(rng: np.random.Generator, sequence: str) -> SimpleNamespace:
    """Signal of every tissue in one scan: typical of the sequence, jittered, so that brightness alone tells nothing.

    Gray and white matter are nearer to or farther from each other. A number for each name in `anatomy.toml`.
    """
    typical = {name: signals[SEQUENCES.index(sequence)] for name, signals in ANATOMY["tissues"].items()}
    t = SimpleNamespace(**{name: value * float(np.exp(rng.normal(0, 0.08))) for name, value in typical.items()})
    middle = (t.gray + t.white) / 2
    half = (typical["white"] - typical["gray"]) / 2 * rng.uniform(0.6, 1.5)
    t.gray, t.white = middle - half, middle + half
    return t


# ---- the seven views


def axial_vertex(canvas: Canvas) -> Anatomy:
    """Above the ventricles, front up: sulci all over, the fissure from front to back."""
    rng = canvas.rng
    vault = _upper_shell(canvas, 0.88)
    midline = _midline(canvas, 0.006)
    surface = np.minimum(canvas.inside(vault) - rng.uniform(0.018, 0.05), midline - rng.uniform(0.004, 0.012))
    folds, combed = rng.uniform(15, 19), rng.uniform(0.1, 0.4)
    white = _paint_brain(canvas, vault.center, surface, 0.34, folds=folds, combed=combed)
    canvas.fill(ramp(0.006 - midline, canvas.soft) * ramp(canvas.inside(vault), canvas.soft), canvas.tissues.dura)
    _paint_sinus(canvas, vault)
    return _anatomy("axial_vertex", vault, surface, white)


def axial_body(canvas: Canvas) -> Anatomy:
    """Through the bodies of the lateral ventricles, front up."""
    return _axial_middle(canvas, "axial_body", (-0.36, 0.34), None)


def axial_nuclei(canvas: Canvas) -> Anatomy:
    """Through the deep nuclei, the third ventricle, frontal and occipital horns, and the insula, front up."""
    clefts = canvas.distance_to("insula", both=True) - canvas.rng.uniform(0.004, 0.014)
    return _axial_middle(canvas, "axial_nuclei", (-0.40, 0.42), clefts)


def axial_base(canvas: Canvas) -> Anatomy:
    """The lowest, front up: orbits, temporal lobes, suprasellar cistern, brain stem, cerebellum."""
    rng = canvas.rng
    vault = Outline.smooth((0.0, 0.06), ANATOMY["outlines"]["axial_lower"], 16).grown(wobble(rng, 0.008, 9))
    skin = Outline.smooth((0.0, 0.06), ANATOMY["outlines"]["axial_lower_skin"], 10)
    bone = rng.uniform(0.035, 0.075)
    _paint_shell(canvas, skin, vault, bone)
    _paint_orbits(canvas, skin, vault, bone)
    depth = canvas.inside(vault) - rng.uniform(0.018, 0.05)
    between_lobes = np.hypot(np.maximum(np.abs(canvas.x) - 0.07, 0), np.maximum(canvas.y + 0.10, 0)) - 0.004
    star = np.minimum(canvas.distance_to("cistern_front"), canvas.distance_to("cistern_back"))
    star = np.minimum(star - rng.uniform(0.02, 0.035), np.hypot(canvas.x, 1.2 * (canvas.y + 0.10)) - 0.085)
    tent = canvas.distance_to("tent_axial", both=True)
    surface = np.minimum(np.minimum(depth, star), tent - 0.008)
    clefts = np.maximum(between_lobes, -canvas.y - 0.32)
    white = _paint_brain(canvas, vault.center, surface, 0.16, clefts, rng.uniform(14, 17))
    _paint_folia(canvas, np.minimum(np.minimum(depth, tent - 0.012), canvas.y - 0.16), (0.0, 0.20))
    if rng.random() < 0.5:
        canvas.paint("pons", wide=rng.uniform(0.7, 1.3))
    else:
        canvas.paint("midbrain")
    canvas.paint("cistern_axial")
    _paint_sinus(canvas, vault)
    return _anatomy("axial_base", vault, surface, white)


def coronal(canvas: Canvas) -> Anatomy:
    """From the front, through sella, third ventricle and temporal lobes."""
    rng, t, center, outlines = canvas.rng, canvas.tissues, (0.0, -0.24), ANATOMY["outlines"]
    vault = Outline.smooth(center, outlines["coronal"], 11).grown(wobble(rng, 0.008, 8))
    bone, scalp = rng.uniform(0.035, 0.06), rng.uniform(0.04, 0.09)
    jaw = rng.uniform(0.95, 1.05)
    skin = Outline.smooth(center, outlines["coronal_skin"] | {"305": 0.82 * jaw, "235": 0.82 * jaw}, 12)
    skin = skin.grown(bone + scalp)
    _paint_shell(canvas, skin, vault, bone)
    _paint_face(canvas, skin, vault, bone, 0.0)
    canvas.paint("throat", sinus_x=rng.uniform(0.09, 0.15), sinus_y=rng.uniform(0.05, 0.075))
    if rng.random() < 0.6:
        canvas.paint("sinus_wall")
    canvas.paint("jaws", airway_x=rng.uniform(0.08, 0.14), airway_y=rng.uniform(0.06, 0.12))
    depth = canvas.inside(vault) - rng.uniform(0.018, 0.04)
    midline = _midline(canvas, 0.005)
    fissure = np.hypot(midline, np.maximum(canvas.y + 0.42, 0)) - 0.006
    clefts = np.minimum(*(canvas.distance_to(f"sylvian_{part}", both=True) for part in ("lateral", "medial")))
    clefts -= rng.uniform(0.004, 0.014)
    cistern = 1 - np.hypot(canvas.x / 0.17, (canvas.y - 0.06) / 0.09)
    surface = np.minimum(np.minimum(depth, fissure), -0.1 * cistern)
    white = _paint_brain(canvas, center, surface, rng.uniform(0.13, 0.19), clefts, rng.uniform(14, 18))
    canvas.paint("coronal", wide=rng.uniform(0.7, 1.5))
    falx = ramp(0.006 - midline, canvas.soft) * ramp(-0.46 - canvas.y, 0.04) * ramp(canvas.inside(vault), canvas.soft)
    canvas.fill(falx, t.dura)
    x, y = vault.at(90)
    carotids = [t.vessel if rng.random() < 0.3 else t.bone for _ in range(2)]
    canvas.paint("sella_coronal", sinus_x=x, sinus_y=y, left_carotid=carotids[0], right_carotid=carotids[1])
    return _anatomy("coronal", vault, np.minimum(surface, clefts + 0.1), white)


def sagittal_midline(canvas: Canvas) -> Anatomy:
    """Face to the left: corpus callosum, stem, cerebellum, sella above the sphenoid sinus, nose, tongue and spine."""
    rng, t = canvas.rng, canvas.tissues
    vault = _sagittal_outside(canvas, "sagittal_midline", nose=rng.uniform(0.8, 1.2))
    sinus_x, sinus_y, frontal = rng.uniform((0.07, 0.055, 0.05), (0.11, 0.08, 0.10)).tolist()
    canvas.paint("face_midline", sinus_x=sinus_x, sinus_y=sinus_y, frontal=frontal)
    depth = canvas.inside(vault) - rng.uniform(0.015, 0.035)
    tent = canvas.distance_to("tent_midline")
    surface = np.minimum(depth, np.where(canvas.x > 0.10, tent - 0.008, 1))
    surface = np.minimum(surface, np.where(canvas.y > 0.02, -canvas.x - 0.05, 1))
    arch = canvas.distance_to("callosum")
    cingulate = np.abs(arch - rng.uniform(0.12, 0.15)) - 0.004 + 0.2 * ramp(canvas.y + 0.22, 0.1)
    white = _paint_brain(canvas, vault.center, surface, rng.uniform(0.26, 0.36), cingulate, rng.uniform(13, 17))
    cisterns = np.minimum(np.minimum(depth + 0.01, canvas.y + 0.10), canvas.x + 0.20)
    canvas.fill(ramp(cisterns, 0.03) * ramp(0.10 - np.abs(canvas.x - 0.02), 0.05), t.csf)
    canvas.paint("sagittal_midline")
    _paint_cerebellum(canvas, depth, tent, (0.33, 0.15), 0.235, 0.13, (0.15, 0.10))
    canvas.paint("stem_sagittal")
    if rng.random() < 0.7:
        canvas.paint("basilar_sagittal")
    canvas.paint("sella_sagittal")
    return _anatomy("sagittal_midline", vault, surface, white)


def sagittal_beside(canvas: Canvas) -> Anatomy:
    """Face to the left: one hemisphere with the Sylvian fissure, the lateral ventricle if it is met, an eye."""
    rng = canvas.rng
    vault = _sagittal_outside(canvas, "sagittal_beside", nose=0.0)
    canvas.paint("face_beside", sinus_x=rng.uniform(0.09, 0.15), sinus_y=rng.uniform(0.08, 0.13))
    depth = canvas.inside(vault) - rng.uniform(0.015, 0.035)
    tent = canvas.distance_to("tent_beside")
    sylvian = canvas.distance_to("sylvian_sagittal") - rng.uniform(0.004, 0.016)
    surface = np.minimum(depth, np.where(canvas.x > 0.10, tent - 0.008, 1))
    white = _paint_brain(canvas, vault.center, surface, rng.uniform(0.22, 0.32), sylvian, rng.uniform(14, 18))
    if rng.random() < 0.7:
        canvas.paint("ventricle_beside", wide=rng.uniform(0.6, 1.4))
    _paint_cerebellum(canvas, depth, tent, (0.34, 0.14), 0.26, 0.08, (0.18, 0.12))
    return _anatomy("sagittal_beside", vault, surface, white)


VIEWS = {
    view.__name__: view
    for view in (axial_vertex, axial_body, axial_nuclei, axial_base, coronal, sagittal_midline, sagittal_beside)
}
SELLAR_VIEWS = ("axial_base", "coronal", "sagittal_midline")  # the only ones in which a pituitary tumor is seen


# ---- what several views share


def _anatomy(view: str, vault: Outline, surface: np.ndarray, white: np.ndarray) -> Anatomy:
    """The painted head with the sites of the table."""
    sites = ANATOMY["sites"][view]
    sides = (1,) if view.startswith("sagittal") else (-1, 1)
    deep = [(side * x, y) for x, y in sites["deep"] for side in sides]
    dural = []
    for degrees in sites["skull"]:
        x, y = vault.at(degrees)
        dx, dy = vault.center[0] - x, vault.center[1] - y
        far = float(np.hypot(dx, dy))
        dural.append(DuralSite((x, y), (dx / far, dy / far)))
    dural += [DuralSite((0.0, y), (side, 0.0), on_falx=True) for y in sites.get("falx", ()) for side in (-1.0, 1.0)]
    return Anatomy(vault, surface, white, deep, dural, sites.get("sella"))


def _midline(canvas: Canvas, waves: float) -> np.ndarray:
    """Distance to the slightly wavy plane between the hemispheres."""
    return np.abs(canvas.x - waves * canvas.noise(5))


def _paint_sinus(canvas: Canvas, vault: Outline) -> None:
    """Superior sagittal sinus at the back."""
    canvas.paint("sinus_axial", x=vault.at(270)[0], y=vault.at(270)[1])


def _upper_shell(canvas: Canvas, size: float) -> Outline:
    """Paint skin and skull above the orbits; returns the inner table."""
    rng = canvas.rng
    radii = {angle: size * radius for angle, radius in ANATOMY["outlines"]["axial_upper"].items()}
    vault = Outline.smooth((0.0, 0.0), radii, 16).grown(wobble(rng, 0.008, 9))
    bone, scalp = rng.uniform(0.035, 0.075), rng.uniform(0.035, 0.085)
    _paint_shell(canvas, vault.grown(bone + scalp), vault, bone)
    return vault


def _axial_middle(canvas: Canvas, parts: str, gap: tuple[float, float], clefts: np.ndarray | None) -> Anatomy:
    """A slice whose fissure is bridged by the corpus callosum within `gap`, from front to back."""
    rng = canvas.rng
    vault = _upper_shell(canvas, 1.0)
    midline = _midline(canvas, 0.006)
    bridged = np.maximum(np.minimum(canvas.y - gap[0], gap[1] - canvas.y), 0)
    surface = np.minimum(canvas.inside(vault) - rng.uniform(0.018, 0.05), np.hypot(midline, bridged) - 0.006)
    white = _paint_brain(canvas, vault.center, surface, rng.uniform(0.14, 0.22), clefts, rng.uniform(14, 18))
    canvas.paint("axial_middle")
    canvas.paint(parts, wide=rng.uniform(0.7, 1.5))
    falx = ramp(0.006 - midline, canvas.soft) * ramp(canvas.inside(vault), canvas.soft)
    canvas.fill(falx * ramp(np.abs(canvas.y) - 0.40, 0.05), canvas.tissues.dura)
    _paint_sinus(canvas, vault)
    return _anatomy("axial_middle", vault, surface, white)


def _sagittal_outside(canvas: Canvas, view: str, nose: float) -> Outline:
    """Skin, skull and face; `nose`: how far it stands out, 0 beside it. Returns the inner table."""
    rng, center, outlines = canvas.rng, (0.06, -0.24), ANATOMY["outlines"]
    vault = Outline.smooth(center, outlines[view], 9).grown(wobble(rng, 0.006, 8))
    bone, scalp = rng.uniform(0.035, 0.06), rng.uniform(0.035, 0.08)
    profile = {"221": 0.97 + 0.03 * nose, "216": 0.88 + 0.14 * nose}
    profile |= {"211": 0.82 + 0.10 * nose, "204": 0.74 + 0.02 * nose}
    skin = Outline.smooth(center, outlines["sagittal_skin"] | profile, 4).grown(bone + scalp)
    _paint_shell(canvas, skin, vault, bone)
    _paint_face(canvas, skin, vault, bone, -0.12)
    return vault


def _paint_shell(canvas: Canvas, skin: Outline, vault: Outline, bone: float) -> None:
    """Skin, fat under it, the skull with its marrow, and CSF inside."""
    rng, t = canvas.rng, canvas.tissues
    to_skin, to_vault = canvas.inside(skin), canvas.inside(vault)
    grain = 1 + 0.04 * canvas.noise(70) + 0.05 * canvas.noise(6)
    canvas.fill(ramp(to_skin, canvas.soft), 0.6 * t.fat)
    canvas.fill(ramp(to_skin - rng.uniform(0.008, 0.02), canvas.soft), t.fat * grain)
    to_bone = canvas.inside(vault.grown(bone + wobble(rng, 0.007)))
    canvas.fill(ramp(to_bone, canvas.soft), t.bone)
    diploe = bone * rng.uniform(0.1, 0.3) - np.abs(to_bone - bone / 2)
    canvas.fill(ramp(diploe, 0.02) * rng.uniform(0.2, 0.9), t.marrow)
    canvas.fill(ramp(to_vault, canvas.soft), t.dura)
    canvas.fill(ramp(to_vault - 0.010, canvas.soft), t.csf)


def _paint_brain(
    canvas: Canvas,
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
    rng, t = canvas.rng, canvas.tissues
    rays = int(rng.integers(11, 16))
    direction = canvas.polar(center)[1].astype(np.float32) * (2 * np.pi / TABLE)
    radial = np.sin(rays * direction + 2.4 * canvas.noise(5) + 0.9 * canvas.noise(folds))
    noise = combed * radial + 0.55 * canvas.noise(folds) + 0.2 * canvas.noise(2 * folds)
    down, right = np.gradient(noise)  # per pixel
    to_sulcus = canvas.pixel * np.abs(noise) / (np.hypot(down, right) + 2 * canvas.pixel)
    too_deep = np.maximum(surface - reach * (0.95 + 0.45 * canvas.noise(12)), 0)
    cleft = rng.uniform(-0.006, 0.008) + 0.005 * canvas.noise(9)
    to_csf = np.minimum(surface, np.hypot(to_sulcus, too_deep) - cleft)
    if fissures is not None:
        to_csf = np.minimum(to_csf, fissures)
    brain = ramp(surface, canvas.soft)
    white = ramp(to_csf - rng.uniform(0.034, 0.046), 0.022) * brain
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


def _paint_cerebellum(canvas, depth, tent, center, radius, front, hilum) -> None:
    """Under the tent, behind `front`, in CSF."""
    under = np.minimum(np.minimum(depth, tent - 0.010), canvas.y + 0.02 * canvas.x)
    canvas.fill(ramp(np.minimum(under, canvas.x - 0.02), canvas.soft), canvas.tissues.csf)
    leaf = np.minimum(under, radius - np.hypot((canvas.x - center[0]) * 0.93, canvas.y - center[1]))
    _paint_folia(canvas, np.minimum(leaf, canvas.x - front), hilum)


def _paint_folia(canvas: Canvas, inside: np.ndarray, hilum: Point) -> None:
    """Cerebellum: fine leaves that run along its surface, a white core with branches towards `hilum`."""
    t, x, y = canvas.tissues, canvas.x - hilum[0], canvas.y - hilum[1]
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


def _paint_face(canvas: Canvas, skin: Outline, vault: Outline, bone: float, below: float) -> None:
    """Muscle, fat and air between skull base and skin, as a ragged texture."""
    t = canvas.tissues
    outside = np.minimum(canvas.inside(skin) - 0.03, -canvas.inside(vault) - 0.5 * bone)
    region = ramp(np.minimum(outside, canvas.y - below), 0.04)
    canvas.fill(region, t.muscle * (1 + 0.10 * canvas.noise(50) + 0.18 * canvas.noise(9, tall=2)))
    strands = canvas.noise(15, tall=2.5) + 0.3 * canvas.noise(40)
    canvas.fill(region * ramp(0.16 - np.abs(strands), 0.4) * np.clip(0.45 + 0.4 * canvas.noise(7), 0, 0.9), t.fat)
    canvas.fill(region * ramp(canvas.noise(12, tall=1.6) - 1.3, 0.9) * 0.75, t.bone)
    canvas.fill(region * ramp(canvas.noise(24) - 1.6, 0.8) * 0.6, t.mucosa)


def _paint_orbits(canvas: Canvas, skin: Outline, vault: Outline, bone: float) -> None:
    """Eyes in their fat, nasal cavity with ethmoid cells, sphenoid sinus, temporal muscles and petrous bones."""
    rng, t, x, y = canvas.rng, canvas.tissues, np.abs(canvas.x), canvas.y
    muscle = np.minimum(np.minimum(canvas.inside(skin) - 0.035, -canvas.inside(vault) - bone), 0.25 - y)
    canvas.fill(ramp(muscle, 0.02) * (x > 0.3), t.muscle * (1 + 0.1 * canvas.noise(40)))
    canvas.paint("orbits")
    half = rng.uniform(0.10, 0.14)
    canvas.paint("nose_axial", half=half)
    cells = ramp(canvas.noise(30) - 0.1, 0.6) * ramp(half - 0.02 - x, 0.02)
    canvas.fill(cells * ramp(np.minimum(y + 0.84, -0.36 - y), 0.03) * 0.9, t.mucosa)
    canvas.paint("septum_axial")
    if rng.random() < 0.6:
        canvas.paint("petrous_axial")
