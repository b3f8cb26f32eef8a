"""Draw the files that a visitor of the page clicks first: `python -m examples.make_examples`.

They are phantoms, no patient's images: pictures, a DICOM series in a ZIP, and a NIfTI volume. Phantoms that train have
seeds from 1,000,000 upward (`training.data.phantoms.FIRST_SEED`): no network has trained on these.
"""

import gzip
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from page.examples import middle_slice, picture_of
from training.data.phantoms import draw_other, draw_phantom, draw_volume

FOLDER = Path(__file__).parent
SIZE = 320  # pixels
GRAY_STEP = 4  # 64 gray levels: the eye sees no difference, and the files stay small

# File name: class, view, sequence, seed. To change a picture, change its seed.
HEADS = {
    "glioma_axial_t1c": ("glioma", "axial_body", "t1c", 1),
    "glioma_axial_flair": ("glioma", "axial_nuclei", "flair", 7),
    "meningioma_axial_t1c": ("meningioma", "axial_nuclei", "t1c", 4),
    "meningioma_coronal_t1c": ("meningioma", "coronal", "t1c", 0),
    "pituitary_sagittal_t1c": ("pituitary", "sagittal_midline", "t1c", 102),
    "pituitary_coronal_t1c": ("pituitary", "coronal", "t1c", 51),
    "no_tumor_axial_t2": ("notumor", "axial_body", "t2", 22),
    "no_tumor_axial_t1": ("notumor", "axial_nuclei", "t1", 8),
}
OTHERS = {"not_a_brain_chest": 31}  # file name: seed
VOLUMES = {  # file name: class, sequence, seed
    "glioma_series_t1c_dicom.zip": ("glioma", "t1c", 1),
    "meningioma_volume_t1c_nifti.nii.gz": ("meningioma", "t1c", 1),
}
SLICES, SLICE_SIZE = 24, 160  # of a volume, and pixels
SLICE_MM, PIXEL_MM = 5.0, 1.4
DRAWN = "drawn by a program, no patient"  # in every description that DICOM and NIfTI have room for


def main() -> None:
    """Write all of them beside this script."""
    heads = {
        name: draw_phantom(label, seed, SIZE, view=view, sequence=sequence).image
        for name, (label, view, sequence, seed) in HEADS.items()
    }
    for name, pixels in (heads | {name: draw_other(seed, SIZE) for name, seed in OTHERS.items()}).items():
        Image.fromarray(pixels // GRAY_STEP * GRAY_STEP).save(FOLDER / f"{name}.png", optimize=True)
    for name, (label, sequence, seed) in VOLUMES.items():
        volume = draw_volume(label, seed, SLICES, SLICE_SIZE, sequence) // GRAY_STEP * GRAY_STEP
        (FOLDER / name).write_bytes(dicom_zip(volume, name) if name.endswith(".zip") else nifti_gz(volume))
        picture = picture_of(FOLDER / name)
        picture.parent.mkdir(exist_ok=True)
        Image.fromarray(middle_slice(FOLDER / name)).save(picture, optimize=True)


def dicom_zip(volume: np.ndarray, name: str) -> bytes:
    """A ZIP of an axial MR series. `volume`: uint8 (slices, rows, columns), from the feet up; each slice is a file."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for number, pixels in enumerate(volume):
            entry = ZipInfo(f"IM{number:04}")  # dated 1980: the bytes are the same whenever they are made
            archive.writestr(entry, dicom(pixels, number, name), ZIP_DEFLATED, 9)
    return packed.getvalue()


def dicom(pixels: np.ndarray, number: int, series: str) -> bytes:
    """The file of one slice, as a scanner would export it, but for its patient."""
    slice_ = Dataset()
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.SOPClassUID, slice_.Modality, slice_.BodyPartExamined = MRImageStorage, "MR", "HEAD"
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.SOPInstanceUID = (
        generate_uid(entropy_srcs=[DRAWN, series, part]) for part in ("study", "series", str(number))
    )
    slice_.PatientName, slice_.PatientID = "No^Patient", "DRAWN"
    slice_.StudyDescription, slice_.SeriesDescription = DRAWN, f"AX T1 +C, {DRAWN}"
    slice_.InstanceNumber = number + 1
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.ImagePositionPatient = [0, 0, number * SLICE_MM]
    slice_.PixelSpacing, slice_.SliceThickness = [PIXEL_MM, PIXEL_MM], SLICE_MM
    slice_.WindowCenter, slice_.WindowWidth = 128, 256
    slice_.set_pixel_data(pixels, "MONOCHROME2", 8, generate_instance_uid=False)
    file = BytesIO()
    slice_.save_as(file, enforce_file_format=True)
    return file.getvalue()


def nifti_gz(volume: np.ndarray) -> bytes:
    """A packed NIfTI volume of `volume`, uint8 (slices, rows, columns), axial, from the feet up."""
    image = nib.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-PIXEL_MM, -PIXEL_MM, SLICE_MM, 1.0]))
    image.header["descrip"] = DRAWN
    return gzip.compress(image.to_bytes(), mtime=0)


if __name__ == "__main__":
    main()
