"""What a DICOM file says it shows: refused from its tags if that is no MR scan of a head."""

from pydicom.dataset import Dataset
from pydicom.uid import (
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

MODALITIES = {  # PS3.3, C.7.3.1.1.1, those that a hospital's export may hold
    "CT": "a CT scan",
    "CR": "an X-ray",
    "DX": "an X-ray",
    "RG": "an X-ray",
    "RF": "a fluoroscopy",
    "XA": "an angiography by X-ray",
    "MG": "a mammography",
    "IO": "a dental X-ray",
    "PX": "a dental X-ray",
    "US": "an ultrasound image",
    "IVUS": "an ultrasound image",
    "PT": "a PET scan",
    "NM": "a nuclear medicine scan",
    "OP": "an eye photograph",
    "OPT": "an eye tomography",
    "ES": "an endoscopy",
    "XC": "a photograph",
    "GM": "a microscopy",
    "SM": "a microscopy",
    "ECG": "an electrocardiogram",
    "SR": "a report",
    "DOC": "a document",
    "PR": "a presentation state, which holds no image",
    "KO": "a list of key images",
    "SEG": "a segmentation",
    "REG": "a registration",
    "RTSTRUCT": "a set of outlines",
    "RTPLAN": "a radiotherapy plan",
    "RTDOSE": "a radiotherapy dose",
}
ADMITTED = ("MR", "OT", "SC", "")  # other, secondary capture, missing: tags that do not say what is shown
CLASSES = {  # SOP classes, asked where the modality is not told
    CTImageStorage: "a CT scan",
    ComputedRadiographyImageStorage: "an X-ray",
    DigitalXRayImageStorageForPresentation: "an X-ray",
    UltrasoundImageStorage: "an ultrasound image",
    UltrasoundMultiFrameImageStorage: "an ultrasound image",
    EncapsulatedPDFStorage: "a document",
    MRSpectroscopyStorage: "an MR spectroscopy, which holds no image",
}
HEAD = ("HEAD", "BRAIN", "SKULL", "NEURO", "CRAN", "CEREB", "PITUIT", "HYPOPHYS", "SELLA", "ORBIT", "FACE")
OTHER_PARTS = {  # how a word of Body Part Examined ends (PS3.16, annex L; "CSPINE", "LKNEE")
    "SPINE": "the spine",
    "SPINAL": "the spine",
    "SACRUM": "the spine",
    "COCCYX": "the spine",
    "NECK": "the neck",
    "CAROTID": "the neck",
    "THYROID": "the neck",
    "CHEST": "the chest",
    "THORAX": "the chest",
    "LUNG": "the chest",
    "HEART": "the heart",
    "CARDIAC": "the heart",
    "AORTA": "a large vessel",
    "BREAST": "a breast",
    "ABDOMEN": "the abdomen",
    "LIVER": "the abdomen",
    "KIDNEY": "the abdomen",
    "PANCREAS": "the abdomen",
    "PELVIS": "the pelvis",
    "PROSTATE": "the pelvis",
    "UTERUS": "the pelvis",
    "BLADDER": "the pelvis",
    "HIP": "a hip",
    "THIGH": "a leg",
    "FEMUR": "a leg",
    "LEG": "a leg",
    "TIBIA": "a leg",
    "KNEE": "a knee",
    "CALF": "a leg",
    "ANKLE": "an ankle",
    "FOOT": "a foot",
    "TOE": "a foot",
    "SHOULDER": "a shoulder",
    "CLAVICLE": "a shoulder",
    "HUMERUS": "an arm",
    "ARM": "an arm",
    "ELBOW": "an elbow",
    "WRIST": "a wrist",
    "HAND": "a hand",
    "FINGER": "a hand",
    "THUMB": "a hand",
    "EXTREMITY": "an arm or a leg",
}
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
    modality = text(header, "Modality").strip()
    shown = CLASSES.get(text(header, "SOPClassUID")) if modality in ADMITTED else _named(modality)
    if shown:
        return f"By its tags this DICOM file is {shown}, not an MR scan of the head. Upload the MR series."
    if "MOSAIC" in texts(header, "ImageType"):
        return MOSAIC
    part = _other_part(text(header, "BodyPartExamined"))
    if part:
        return f"By its tags this MR scan shows {part}, not the head. Upload a scan of the head."
    return NO_IMAGE if value(header, "Rows") is None or value(header, "Columns") is None else ""


def _named(modality: str) -> str:
    return MODALITIES.get(modality, "of another kind")


def _other_part(part: str) -> str:
    """What part of the body a tag names, unless it is the head, or a word that we do not know."""
    words = "".join(letter if letter.isalpha() else " " for letter in part).split()
    if any(head in part for head in HEAD):
        return ""
    return next((shown for end, shown in OTHER_PARTS.items() for word in words if word.endswith(end)), "")
