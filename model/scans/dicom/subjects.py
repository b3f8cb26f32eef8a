"""What a DICOM file says it shows: refused from its tags if that is no MR scan of a head."""

import re

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    MediaStorageDirectoryStorage,
    MRSpectroscopyStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from .values import text, texts, value

ADMITTED = ("MR", "OT", "SC", "")  # other, secondary capture, missing: tags that do not say what is shown
OTHER_CLASSES = (  # SOP classes, asked where the modality is not told
    *(CTImageStorage, ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, UltrasoundImageStorage),
    *(UltrasoundMultiFrameImageStorage, EncapsulatedPDFStorage, MRSpectroscopyStorage),
)
CODE = re.compile("[A-Z0-9]{1,6}")  # of a modality (PS3.3, C.7.3.1.1.1): anything else might name a patient
HEAD = ("HEAD", "BRAIN", "SKULL", "NEURO", "CRAN", "CEREB", "PITUIT", "HYPOPHYS", "SELLA", "ORBIT", "FACE")
OTHER_PARTS = (  # how a word of Body Part Examined ends (PS3.16, annex L; "CSPINE", "LKNEE")
    *("SPINE", "SPINAL", "SACRUM", "COCCYX", "NECK", "CAROTID", "THYROID", "CHEST", "THORAX", "LUNG", "HEART"),
    *("CARDIAC", "AORTA", "BREAST", "ABDOMEN", "LIVER", "KIDNEY", "PANCREAS", "PELVIS", "PROSTATE", "UTERUS"),
    *("BLADDER", "HIP", "THIGH", "FEMUR", "LEG", "TIBIA", "KNEE", "CALF", "ANKLE", "FOOT", "TOE", "SHOULDER"),
    *("CLAVICLE", "HUMERUS", "ARM", "ELBOW", "WRIST", "HAND", "FINGER", "THUMB", "EXTREMITY"),
)
NO_IMAGE = "This DICOM file holds no image. Upload the image files of the series."
MOSAIC = (
    "By its tags this DICOM file is a mosaic: many slices tiled in one picture. Convert the series with dcm2niix and "
    "upload the NIfTI file."
)
DIRECTORY = "This is the table of contents of a disc (DICOMDIR). Upload the image files beside it, or a ZIP."


def refusal(header: Dataset) -> str:
    """Why the file cannot be a scan of a head by its tags; "" if it can."""
    if text(header.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return DIRECTORY
    modality, sop_class = text(header, "Modality").strip(), text(header, "SOPClassUID")
    if modality not in ADMITTED:
        return _no_mr(f"modality {modality if CODE.fullmatch(modality) else 'unknown'}")
    if sop_class in OTHER_CLASSES:
        return _no_mr(UID(sop_class).name)
    if "MOSAIC" in texts(header, "ImageType"):
        return MOSAIC
    part = _other_part(text(header, "BodyPartExamined"))
    if part:
        return f"By its tags (body part {part}) this MR scan does not show the head. Upload a scan of the head."
    return NO_IMAGE if value(header, "Rows") is None or value(header, "Columns") is None else ""


def _no_mr(tag: str) -> str:
    return f"By its tags ({tag}) this DICOM file is no MR scan. Upload the MR series of the head."


def _other_part(part: str) -> str:
    """The word of `OTHER_PARTS` that a tag names, unless it names the head, too; "" if there is none."""
    words = "".join(letter if letter.isalpha() else " " for letter in part).split()
    if any(head in part for head in HEAD):
        return ""
    return next((end for end in OTHER_PARTS for word in words if word.endswith(end)), "")
