"""The tags of a DICOM file: what reading needs of them and nothing else, never a patient's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ..resample import plausible
from ..sources import Source
from . import subjects
from .files import open_data_set, pydicom_refusals
from .pixel_data import PixelData, find_pixels
from .values import item, number, numbers, text, texts, value

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
IDENTITY = ("PatientID", "PatientName")  # compared and dropped: they must not leave `read_instance`
GROUPS = {  # where an enhanced image keeps, for all frames or for each, what a classic one has at the top
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
    "FlipAngle": "MRTimingAndRelatedParametersSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}
ENHANCED = {  # what an enhanced image calls by another name
    "EchoTime": "EffectiveEchoTime",
    "ImageType": "FrameType",
    "TemporalPositionIdentifier": "TemporalPositionIndex",
}


@dataclass(frozen=True)
class Instance:
    """A DICOM file whose tags were read.

    number: of the file among those uploaded.
    place: of the file among those in an archive.
    pixels: where they lie; None without any.
    patient: stands for the patient's number and name: equal where files give the same, 0 where they give none.
    condemned: why its pixels must not be decoded (a decoder died of them); "" if they may be.
    marked: indices of frames on which something is drawn in color; those that were decoded.
    """

    source: Source
    number: int
    place: int
    header: Dataset
    pixels: PixelData | None
    patient: tuple[int, int]
    condemned: str = ""
    marked: set[int] = field(default_factory=set)

    @cached_property
    def refusal(self) -> str:
        """Why it is no MR image of a head, by its tags; "" if it may be one."""
        return subjects.refusal(self.header)

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR, which lists the files on a disc."""
        return self.refusal == subjects.DIRECTORY

    @property
    def syntax(self) -> UID:
        """How the data set is encoded, by its tags."""
        return _syntax(self.header)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Frames, as many as the tags claim or the pixels hold; rows and columns, 0 where nonsense is claimed."""
        groups = value(self.header, "PerFrameFunctionalGroupsSequence")
        claims = (number(self.header, "NumberOfFrames") or 0, len(groups) if isinstance(groups, Sequence) else 0)
        rows, columns = (max(0, int(number(self.header, side) or 0)) for side in ("Rows", "Columns"))
        held = self.pixels.count(rows * columns * bits_of_pixel(self.header) // 8) if self.pixels else 0
        return max(1, held, *(int(claim) for claim in claims)), rows, columns

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

    def texts(self, keyword: str) -> list[str]:
        """As `values.texts`, of a tag that an enhanced image may keep for each frame."""
        return self._ask(texts, keyword) or []

    def number(self, keyword: str) -> float | None:
        """As `values.number`, of a tag that an enhanced image may keep for each frame."""
        return self._ask(number, keyword)

    def _ask(self, kind: Callable[[Dataset, str], T], keyword: str) -> T | None:
        names = (name for name in (ENHANCED.get(keyword), keyword) if name)
        found = (kind(self._of(name) if name in GROUPS else self.instance.header, name) for name in names)
        return next((each for each in found if each not in (None, [])), None)

    def _of(self, keyword: str) -> Dataset:
        return self.instance.of_frame(self.index, keyword)


def bits_of_pixel(header: Dataset) -> int:
    """Bits that one pixel takes in uncompressed pixel data."""
    samples = 2 if text(header, "PhotometricInterpretation") == "YBR_FULL_422" else samples_of(header)
    return samples * bits_allocated(header)


def samples_of(header: Dataset) -> int:
    """Colors of a pixel; where the tag is missing, those that the photometric interpretation names."""
    colored = text(header, "PhotometricInterpretation").startswith(("RGB", "YBR"))
    return int(number(header, "SamplesPerPixel") or (3 if colored else 1))


def bits_allocated(header: Dataset) -> int:
    """Bits of one sample; where the tag is missing, whole bytes for those that are stored, or else 16."""
    return int(number(header, "BitsAllocated") or -(-(number(header, "BitsStored") or 16) // 8) * 8)


def _syntax(header: Dataset) -> UID:
    """As the file names it, or as pydicom guessed it from the first elements."""
    named = text(header.file_meta, "TransferSyntaxUID")
    if named:
        return UID(named)
    implicit, little_endian = header.original_encoding
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def read_instance(source: Source, number: int, place: int = 0, condemned: str = "") -> Instance:
    """The tags of one file, without its pixels. Raises: UnreadableScan if it is damaged."""
    with open_data_set(source) as file, pydicom_refusals():
        header = dcmread(file, stop_before_pixels=True, specific_tags=[*TAGS, *IDENTITY], force=True)
        pixels = find_pixels(file, header.original_encoding)
    patient = tuple(hash(said) if (said := text(header, key).rstrip(" ^")) else 0 for key in IDENTITY)
    for keyword in IDENTITY:
        header.pop(keyword, None)
    return Instance(source, number, place, header, pixels, patient, condemned)
