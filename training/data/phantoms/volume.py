"""A drawn head from the skull base to the vertex: a run of axial slices with one lesion that grows and shrinks."""

import math

import numpy as np

from training.data.phantoms.axial import axial_base, axial_body, axial_nuclei, axial_vertex
from training.data.phantoms.canvas import Canvas, resized, warped
from training.data.phantoms.contrast import draw_tissues
from training.data.phantoms.lesions import PAINT

LEVELS = (axial_base, axial_nuclei, axial_body, axial_vertex)  # from the feet up
ENDS = (0.18, 0.45, 0.8, 1.0)  # share of the height at which each level ends
WITH_LESION = 2  # the level that shows it
FULL_SIZE, SMALLEST = 1.15, 0.4  # growth of the lesion in its middle, and from which on it is drawn
NOISE = 0.012  # on the scale of `Tissues`


def draw_volume(label: str, seed: int, count: int, size: int, sequence: str) -> np.ndarray:
    """Draw a head with or without a glioma or meningioma, always the same for the same arguments.

    Args: `label`, "glioma", "meningioma" or "notumor": the same head for each; `count` of slices; `size` of their
        square in pixels; `sequence`, a member of `contrast.SEQUENCES`.
    Returns: uint8 (count, size, size), axial slices from the feet up, the patient's right on the left.
    Raises: ValueError for another label: a pituitary tumor is seen in one of the lowest slices only.
    """
    if label not in ("glioma", "meningioma", "notumor"):
        raise ValueError(f"{label!r} cannot be drawn as a volume")
    rng = np.random.default_rng([seed, 0])
    bends = rng.standard_normal((2, 2, 5, 5)) * 0.012
    field = np.exp(resized(rng.standard_normal((4, 4)) * 0.08, size))
    slices = []
    for height in (np.arange(count) + 0.5) / count:
        head = _slice(label, seed, height, size, sequence, bends)
        noise = rng.standard_normal((2, size, size)) * NOISE
        slices.append(np.hypot(head * field + noise[0], noise[1]))
    volume = np.stack(slices)
    return (np.clip(volume / np.percentile(volume, 99.7), 0, 1) * 255).round().astype(np.uint8)


def _slice(label: str, seed: int, height: float, size: int, sequence: str, bends: np.ndarray) -> np.ndarray:
    """Tissue values, float32 (size, size). `height`: 0 at the skull base, 1 at the vertex; `bends`: (2, 2, 5, 5)."""
    level = next(i for i, end in enumerate(ENDS) if height <= end)
    rng = np.random.default_rng([seed, 1])  # the same for all slices: one patient
    tissues = draw_tissues(rng, sequence)
    canvas = Canvas(size, rng)
    anatomy = LEVELS[level](canvas, tissues)
    start, end = ENDS[WITH_LESION - 1], ENDS[WITH_LESION]
    growth = FULL_SIZE * math.sin(math.pi * (height - start) / (end - start)) if level == WITH_LESION else 0
    if label in PAINT and growth > SMALLEST:
        PAINT[label](canvas, tissues, anatomy, growth, sequence)
    narrowing = 0.95 / math.sqrt(1 - (0.75 * max(0.0, height - 0.4) / 0.6) ** 2)  # towards the vertex
    bend = math.cos(math.pi * height) * bends[0] + math.sin(math.pi * height) * bends[1]
    x = (canvas.x * narrowing + resized(bend[0], size)).astype(np.float32)
    y = (canvas.y * narrowing + resized(bend[1], size)).astype(np.float32)
    return warped(canvas.pixels, x, y)
