"""One phantom: a head, a tumor, mass effect and the scanner's marks, all from one integer."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from model import CLASSES
from training.data.phantoms.axial import axial_base, axial_body, axial_nuclei, axial_vertex
from training.data.phantoms.canvas import Canvas, ramp, resized, warped
from training.data.phantoms.contrast import SEQUENCES, draw_tissues
from training.data.phantoms.coronal import coronal
from training.data.phantoms.lesions import PAINT, Lesion
from training.data.phantoms.sagittal import sagittal_beside, sagittal_midline
from training.data.phantoms.tissue import Anatomy

VIEWS = {
    "axial_vertex": axial_vertex,
    "axial_body": axial_body,
    "axial_nuclei": axial_nuclei,
    "axial_base": axial_base,
    "coronal": coronal,
    "sagittal_midline": sagittal_midline,
    "sagittal_beside": sagittal_beside,
}
SELLAR_VIEWS = ("axial_base", "coronal", "sagittal_midline")  # the only ones in which a pituitary tumor is seen
SHARES = (0.2, 0.4, 0.2, 0.2)  # of the sequences


@dataclass(frozen=True)
class Phantom:
    """A drawn slice and the truth about it."""

    image: np.ndarray  # (size, size) uint8
    label: str  # member of CLASSES
    box: (
        tuple[float, float, float, float] | None
    )  # x_center, y_center, width, height of the lesion, shares of the image
    mask: np.ndarray  # (size, size) bool: the lesion, without its edema
    view: str  # member of VIEWS
    sequence: str  # member of SEQUENCES


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
    another slice of the same patient, near this one; `view` and `sequence`, drawn if None.
    Raises: ValueError for an unknown label, view or sequence, and a pituitary tumor in a view that misses the sella.
    """
    if label not in CLASSES:
        raise ValueError(f"unknown class {label!r}: choose one of {', '.join(CLASSES)}")
    patient_rng = np.random.default_rng([seed, CLASSES.index(label)])
    slice_rng = np.random.default_rng([seed, CLASSES.index(label), 1 + slice_index])  # [.., 0] is the patient's stream
    sellar = label == "pituitary" or (label == "notumor" and patient_rng.random() < 0.4)  # such views hold both classes
    view = view or str(patient_rng.choice(SELLAR_VIEWS if sellar else tuple(VIEWS)))
    sequence = sequence or str(patient_rng.choice(SEQUENCES, p=SHARES))
    if view not in VIEWS or sequence not in SEQUENCES:
        raise ValueError(f"unknown view {view!r} or sequence {sequence!r}")
    if label == "pituitary" and view not in SELLAR_VIEWS:
        raise ValueError(f"view {view!r} misses the sella: choose one of {', '.join(SELLAR_VIEWS)}")
    tissues = draw_tissues(patient_rng, sequence)
    canvas = Canvas(size, patient_rng)
    anatomy = VIEWS[view](canvas, tissues)
    x, y = _pose(slice_rng, canvas)
    mask = np.zeros((size, size), dtype=bool)
    if label in PAINT:
        lesion = PAINT[label](canvas, tissues, anatomy, slice_rng.uniform(0.85, 1.1), sequence)
        x, y = _push(slice_rng.uniform(0.10, 0.35), canvas, anatomy, lesion, x, y)
        mask = warped(lesion.inside + 1, x, y) > 1  # plus one, for beyond the canvas there is none
    return Phantom(_scan(slice_rng, warped(canvas.pixels, x, y)), label, _box(mask), mask, view, sequence)


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
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    height, width = mask.shape
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return (
        float((left + right) / 2 / width),
        float((top + bottom) / 2 / height),
        float((right - left) / width),
        float((bottom - top) / height),
    )
