"""The tags of a DICOM file: what reading needs of them and nothing else, never a patient's.

Values are taken as they come: missing, empty, of another type, nonsense.
"""

import math
import re
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO, TypeVar

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from ..geometry import plausible
from ..sources import Source

T = TypeVar("T")
TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("BodyPartExamined", "SeriesDescription", "ProtocolName", "ScanningSequence", "ImageType", "ContrastBolusAgent"),
    *("ComplexImageComponent", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue"),
    *("InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "SliceLocation"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PixelAspectRatio"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PhotometricInterpretation", "PresentationLUTShape", "PlanarConfiguration"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
]
GROUPS = {  # where an enhanced image keeps, for all frames or for each, what a classic one has at the top
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept"), "PixelValueTransformationSequence"),
    **dict.fromkeys(("WindowCenter", "WindowWidth", "VOILUTFunction"), "FrameVOILUTSequence"),
    **dict.fromkeys(("FrameType", "ComplexImageComponent"), "MRImageFrameTypeSequence"),
    "EffectiveEchoTime": "MREchoSequence",
    **dict.fromkeys(("RepetitionTime", "FlipAngle"), "MRTimingAndRelatedParametersSequence"),
    "DiffusionBValue": "MRDiffusionSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}
ENHANCED = {  # what an enhanced image calls by another name
    "EchoTime": "EffectiveEchoTime",
    "ImageType": "FrameType",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
}

ADMITTED = ("MR", "OT", "SC", "")  # other, secondary capture, missing: tags that do not say what is shown
OTHER_CLASSES = re.compile(r"\bCT\b|Radiography|X-Ray|Ultrasound|PDF|Spectroscopy")  # where the modality is missing
CODE = re.compile("[A-Z0-9]{1,6}")  # of a modality (PS3.3, C.7.3.1.1.1): anything else might name a patient
HEAD = ("HEAD", "BRAIN", "SKULL", "NEURO", "CRAN", "CEREB", "PITUIT", "HYPOPHYS", "SELLA", "ORBIT", "FACE")
OTHER_PARTS = (  # how a word of Body Part Examined ends (PS3.16, annex L; "CSPINE", "LKNEE")
    *("SPINE", "SPINAL", "SACRUM", "COCCYX", "NECK", "CAROTID", "THYROID", "CHEST", "THORAX", "LUNG", "HEART"),
    *("CARDIAC", "AORTA", "BREAST", "ABDOMEN", "LIVER", "KIDNEY", "PANCREAS", "PELVIS", "PROSTATE", "UTERUS"),
    *("BLADDER", "HIP", "THIGH", "FEMUR", "LEG", "TIBIA", "KNEE", "CALF", "ANKLE", "FOOT", "TOE", "SHOULDER"),
    *("CLAVICLE", "HUMERUS", "ARM", "ELBOW", "WRIST", "HAND", "FINGER", "THUMB", "EXTREMITY"),
)
NO_MR = "By its tags ({}) this DICOM file is no MR scan. Upload the MR series of the head."
NO_HEAD = "By its tags (body part {}) this MR scan does not show the head. Upload a scan of the head."
NO_IMAGE = "This DICOM file holds no image. Upload the image files of the series."
MOSAIC = (
    "By its tags this DICOM file is a mosaic: many slices tiled in one picture. Convert the series with dcm2niix and "
    "upload the NIfTI file."
)
DIRECTORY = "This is the table of contents of a disc (DICOMDIR). Upload the image files beside it, or a ZIP."


def value(data: Dataset | None, keyword: str) -> object:
    """The value of a tag; None where it is missing or empty; as text, where its type does not allow what it holds."""
    try:
        found = data.get(keyword) if data is not None else None
    except Exception:  # pydicom converts when asked, and raises whatever the conversion does
        found = _as_text(data, keyword)
    return None if isinstance(found, str | bytes | Iterable) and not len(found) else found


def _as_text(data: Dataset, keyword: str) -> list[str] | None:
    try:
        raw = data.get_item(keyword).value
    except Exception:  # here, too
        return None
    return raw.decode("latin-1").strip(" \0").split("\\") if isinstance(raw, bytes) else None


def texts(data: Dataset | None, keyword: str) -> list[str]:
    """Each of a tag's values in upper case, without blanks around it."""
    found = value(data, keyword)
    return [] if found is None else [str(part).strip().upper() for part in _several(found)]


def text(data: Dataset | None, keyword: str) -> str:
    """Upper case, several values joined by blanks; "" where there is none."""
    return " ".join(texts(data, keyword))


def numbers(data: Dataset | None, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    made = tuple(map(_number, _several(value(data, keyword))))
    return made if len(made) == count and None not in made else None


def number(data: Dataset | None, keyword: str) -> float | None:
    """The first of a tag's values, if it is finite."""
    return _number(next(iter(_several(value(data, keyword))), None))


def _several(found: object) -> Iterable:
    return found if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]


def _number(found: object) -> float | None:
    """A finite number, also of a text with a decimal comma, or None."""
    try:
        made = float(found.replace(",", ".") if isinstance(found, str) else found)
    except (TypeError, ValueError, OverflowError):
        return None
    return made if math.isfinite(made) else None


def item(data: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    """One data set of a sequence, if there are so many."""
    found = value(data, keyword)
    has_item = isinstance(found, MutableSequence) and len(found) > index
    return found[index] if has_item and isinstance(found[index], Dataset) else None


@dataclass(frozen=True)
class PixelData:
    """The value of Pixel Data.

    keyword: "PixelData", "FloatPixelData" or "DoubleFloatPixelData".
    start, length: in bytes, of an uncompressed value; no further than the file reaches.
    fragments: of a compressed value: for each frame, where its fragments start and how long they are; else None.
    """

    keyword: str
    start: int
    length: int
    fragments: tuple[tuple[tuple[int, int], ...], ...] | None = None

    def count(self, frame_bytes: int) -> int:
        """Frames there are, if an uncompressed one takes `frame_bytes`."""
        if self.fragments is not None:
            return len(self.fragments)
        return self.length // frame_bytes if frame_bytes > 0 else 0

    def frame(self, file: BinaryIO, index: int, frame_bytes: int) -> bytes:
        """The bytes of one frame, as they are in the file; too few, or none, where it ends early."""
        if self.fragments is None:
            file.seek(self.start + index * frame_bytes)
            return file.read(min(frame_bytes, max(0, self.length - index * frame_bytes)))
        parts = []
        for start, length in self.fragments[index] if index < len(self.fragments) else ():
            file.seek(start)
            parts.append(file.read(length))
        return b"".join(parts)


@dataclass(frozen=True)
class Instance:
    """A DICOM file whose tags were read.

    place: of the file: its number among those uploaded, and in its archive.
    pixels: where they lie; None without any.
    patient: stands for the patient's number and name: equal where files give the same, 0 where they give none.
    condemned: why its pixels must not be decoded (a decoder died of them); "" if they may be.
    marked: indices of frames on which something is drawn in color; those that were decoded.
    """

    source: Source
    place: tuple[int, int]
    header: Dataset
    pixels: PixelData | None
    patient: tuple[int, int]
    condemned: str = ""
    marked: set[int] = field(default_factory=set)

    @cached_property
    def refusal(self) -> str:
        """Why it is no MR image of a head, by its tags; "" if it may be one."""
        return _refusal(self.header)

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR, which lists the files on a disc."""
        return self.refusal == DIRECTORY

    @property
    def syntax(self) -> UID:
        """How the data set is encoded, as the file names it, or as pydicom guessed it from the first elements."""
        if named := text(self.header.file_meta, "TransferSyntaxUID"):
            return UID(named)
        implicit, little_endian = self.header.original_encoding
        return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian

    @property
    def photometric(self) -> str:
        """What the values mean, such as MONOCHROME1; "" if that is not known."""
        return text(self.header, "PhotometricInterpretation")

    @property
    def samples(self) -> int:
        """Colors of a pixel; where the tag is missing, those that the photometric interpretation names."""
        colored = self.photometric.startswith(("RGB", "YBR"))
        return int(number(self.header, "SamplesPerPixel") or (3 if colored else 1))

    @property
    def bits_allocated(self) -> int:
        """Bits of one sample; where the tag is missing, whole bytes for those that are stored, or else 16."""
        stored = number(self.header, "BitsStored") or 16
        return int(number(self.header, "BitsAllocated") or -(-stored // 8) * 8)

    @cached_property
    def frame_bytes(self) -> int:
        """Bytes that one frame takes in uncompressed pixel data."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        rows, columns = self._sides
        return rows * columns * (samples * self.bits_allocated) // 8

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Frames, as many as the tags claim or the pixels hold; rows and columns, 0 where nonsense is claimed."""
        groups = value(self.header, "PerFrameFunctionalGroupsSequence")
        claims = (number(self.header, "NumberOfFrames") or 0, len(groups) if isinstance(groups, MutableSequence) else 0)
        held = self.pixels.count(self.frame_bytes) if self.pixels else 0
        return max(1, held, *(int(claim) for claim in claims)), *self._sides

    @property
    def _sides(self) -> tuple[int, int]:
        return tuple(max(0, int(number(self.header, side) or 0)) for side in ("Rows", "Columns"))

    def of_frame(self, index: int, keyword: str) -> Dataset:
        """The data set that holds a tag of GROUPS for one frame: of the frame, of all frames, or of the file."""
        for groups in (
            item(self.header, "PerFrameFunctionalGroupsSequence", index),
            item(self.header, "SharedFunctionalGroupsSequence"),
        ):
            group = item(groups, GROUPS[keyword])
            if value(group, keyword) is not None:
                return group
        return self.header


def _refusal(header: Dataset) -> str:
    """As `Instance.refusal`."""
    if text(header.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return DIRECTORY
    modality, sop_class = text(header, "Modality").strip(), UID(text(header, "SOPClassUID"))
    if modality not in ADMITTED:
        return NO_MR.format(f"modality {modality if CODE.fullmatch(modality) else 'unknown'}")
    if sop_class.name != sop_class and OTHER_CLASSES.search(sop_class.name):  # an unknown one might name a patient
        return NO_MR.format(sop_class.name)
    if "MOSAIC" in texts(header, "ImageType"):
        return MOSAIC
    if part := _other_part(text(header, "BodyPartExamined")):
        return NO_HEAD.format(part)
    return NO_IMAGE if value(header, "Rows") is None or value(header, "Columns") is None else ""


def _other_part(part: str) -> str:
    """The word of `OTHER_PARTS` that a tag names, unless it names the head, too; "" if there is none."""
    words = "".join(letter if letter.isalpha() else " " for letter in part).split()
    if any(head in part for head in HEAD):
        return ""
    return next((end for end in OTHER_PARTS for word in words if word.endswith(end)), "")


@dataclass(frozen=True)
class Frame:
    """One slice of an instance: where it lies and what its values mean, before its pixels are decoded."""

    instance: Instance
    index: int

    @cached_property
    def position(self) -> np.ndarray | None:
        """(3,) mm: the center of the first pixel, in the patient; None where all frames of a file share one."""
        holder = self._of("ImagePositionPatient")
        found = numbers(holder, "ImagePositionPatient", 3)
        shared = self.instance.shape[0] > 1 and holder is self.instance.header
        return None if found is None or shared else np.array(found)

    @cached_property
    def orientation(self) -> np.ndarray | None:
        """(3, 3): unit vectors, in the patient, from slice to slice, from row to row, and from column to column."""
        found = numbers(self._of("ImageOrientationPatient"), "ImageOrientationPatient", 6)
        if found is None:
            return None
        right, down = np.array(found[:3]), np.array(found[3:])
        lengths = np.linalg.norm(right), np.linalg.norm(down)
        if not np.allclose(lengths, 1, atol=0.1) or abs(right @ down) > 0.1:
            return None
        found = np.array([np.cross(right, down), down, right])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    @cached_property
    def pixel_size(self) -> tuple[float, float] | None:
        """mm from row to row and from column to column; None where that makes no sense."""
        found = numbers(self._of("PixelSpacing"), "PixelSpacing", 2)
        return found if found and plausible(*found) else None

    @cached_property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept of stored -> real value."""
        slope = number(self._of("RescaleSlope"), "RescaleSlope") or 1.0
        return slope, number(self._of("RescaleIntercept"), "RescaleIntercept") or 0.0

    @cached_property
    def window(self) -> Dataset:
        """The data set that holds center and width, if there are any."""
        return self._of("WindowCenter")

    @property
    def instance_number(self) -> float:
        """The number of its file in the series; 0 where that is not known."""
        return number(self.instance.header, "InstanceNumber") or 0

    def texts(self, keyword: str) -> list[str]:
        """As `texts`, of a tag that an enhanced image may keep for each frame."""
        return self._ask(texts, keyword) or []

    def number(self, keyword: str) -> float | None:
        """As `number`, of a tag that an enhanced image may keep for each frame."""
        return self._ask(number, keyword)

    def _ask(self, kind: Callable[[Dataset, str], T], keyword: str) -> T | None:
        names = (name for name in (ENHANCED.get(keyword), keyword) if name)
        found = (kind(self._of(name) if name in GROUPS else self.instance.header, name) for name in names)
        return next((each for each in found if each not in (None, [])), None)

    def _of(self, keyword: str) -> Dataset:
        return self.instance.of_frame(self.index, keyword)
