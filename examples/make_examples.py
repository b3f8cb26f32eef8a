"""Draw the pictures that a visitor of the page clicks first: `python -m examples.make_examples`.

They are phantoms, no patient's images. `training.phantoms.write_phantom_dataset` draws its patients' seeds from
1,000,000 upward, so a network that trained on phantoms has seen none of these.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from training.phantoms import draw_other, draw_phantom

FOLDER = Path(__file__).parent
SIZE = 320  # pixels
GREY_STEP = 4  # 64 grey levels: the eye sees no difference, and the files stay small

# File name: class, view, sequence, seed. To change a picture, change its seed.
HEADS = {
    "glioma_axial_t1c": ("glioma", "axial_body", "t1c", 1),
    "glioma_axial_flair": ("glioma", "axial_nuclei", "flair", 7),
    "meningioma_axial_t1c": ("meningioma", "axial_nuclei", "t1c", 4),
    "meningioma_coronal_t1c": ("meningioma", "coronal", "t1c", 0),
    "pituitary_sagittal_t1c": ("pituitary", "sagittal_midline", "t1c", 13),
    "pituitary_coronal_t1c": ("pituitary", "coronal", "t1c", 1),
    "no_tumor_axial_t2": ("notumor", "axial_body", "t2", 22),
    "no_tumor_axial_t1": ("notumor", "axial_nuclei", "t1", 8),
}
OTHERS = {"not_a_brain_chest": 31}  # file name: seed


def main() -> None:
    for name, (label, view, sequence, seed) in HEADS.items():
        save(name, draw_phantom(label, seed, SIZE, view=view, sequence=sequence).image)
    for name, seed in OTHERS.items():
        save(name, draw_other(seed, SIZE))


def save(name: str, pixels: np.ndarray) -> None:
    """Write a (size, size) uint8 image as a small PNG beside this script."""
    Image.fromarray(pixels // GREY_STEP * GREY_STEP).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
