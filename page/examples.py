"""The examples that a visitor clicks first: files drawn by a program, each with a picture and a caption."""

from functools import cache
from pathlib import Path

import numpy as np

from model import overlay, scans

FOLDER = Path(__file__).parents[1] / "examples"
FILES = sorted(  # pictures first
    (path for path in FOLDER.iterdir() if path.suffix in (".png", ".gz", ".zip", ".dcm")),
    key=lambda path: (path.suffix != ".png", path.name),
)
NAMES = [path.name.split(".")[0] for path in FILES]  # as a link to the page calls them
SPELLED = {"brain": "brain:", "flair": "FLAIR", "t1": "T1", "t1c": "T1C+", "t2": "T2", "mri": "MRI", "dicom": "DICOM"}
SPELLED |= {"nifti": "NIfTI"}


def pictures() -> list[tuple[str, str]]:
    """For `gr.Gallery`, in the order of `FILES`: a picture and its caption each."""
    return [(str(picture_of(path)), caption(path)) for path in FILES]


def picture_of(example: Path) -> Path:
    """The picture itself; of a volume its middle slice, made beforehand: reading it would delay the port."""
    return example if example.suffix == ".png" else FOLDER / "middle_slices" / f"{example.name.split('.')[0]}.png"


def caption(example: Path) -> str:
    """glioma_axial_t1c.png -> Glioma axial T1C+."""
    words = " ".join(SPELLED.get(word, word) for word in example.name.split(".")[0].split("_"))
    return words[0].upper() + words[1:]


@cache
def scan(number: int) -> scans.Scan:
    """An example, read once: a file of our own, which need not wait behind other people's uploads."""
    return scans.read(FILES[number])


def middle_slice(volume: Path) -> np.ndarray:
    """uint8, as the gallery shows it."""
    slices = scans.read(volume).slices  # our own file: no decoder is at risk
    return overlay.picture(slices[len(slices) // 2])
