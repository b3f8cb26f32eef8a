"""The tags of a DICOM file: what reading needs of them and nothing else, never a patient's."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ..sources import Source
from . import subjects
from .files import open_data_set, pydicom_refusals
from .values import item, number, numbers, text, value

TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "BodyPartExamined"),
    *("SeriesDescription", "ProtocolName", "ScanningSequence", "ContrastBolusAgent"),
    *("EchoTime", "RepetitionTime", "InversionTime", "DiffusionBValue"),
    *("InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "PixelAspectRatio"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation"),
    *("PhotometricInterpretation", "PlanarConfiguration", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *(f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
]
GROUPS = {  # where an enhanced image keeps, for all frames or for each, what a classic one has at the top
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
}
IN_ORDER = ("EchoTime", "DiffusionBValue", "TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")


@dataclass(frozen=True)
class Instance:
    """A DICOM file whose tags were read. `number`: of the file among those uploaded; `has_pixels`: behind the tags."""

    source: Source
    number: int
    header: Dataset
    has_pixels: bool

    @property
    def series(self) -> str:
        """What the files of one series share; a file that does not say it is a series of its own."""
        return text(self.header, "SeriesInstanceUID") or f"file {self.number} {self.source.name}"

    @cached_property
    def refusal(self) -> str:
        """Why it is no MR image of a head, by its tags; "" if it may be one."""
        return subjects.refusal(self.header) or ("" if self.has_pixels else subjects.NO_IMAGE)

    @property
    def is_directory(self) -> bool:
        """Whether it is a DICOMDIR, which lists the files on a disc."""
        return self.refusal == subjects.DIRECTORY

    @property
    def syntax(self) -> UID:
        """How the data set is encoded; as pydicom guessed it from the first elements where the file does not say it."""
        named = text(self.header.file_meta, "TransferSyntaxUID")
        if named:
            return UID(named)
        implicit, little_endian = self.header.original_encoding
        return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns, as claimed; 0 where nonsense is claimed."""
        frames = number(self.header, "NumberOfFrames")
        counts = (1 if frames is None else frames, number(self.header, "Rows"), number(self.header, "Columns"))
        return tuple(max(0, int(count or 0)) for count in counts)

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
        return np.array([np.cross(right, down), down, right])

    @cached_property
    def pixel_size(self) -> tuple[float, float] | None:
        """mm from row to row and from column to column."""
        return numbers(self._of("PixelSpacing"), "PixelSpacing", 2)

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
    def order(self) -> tuple[float, ...]:
        """What tells apart slices at one position: the earlier echo, diffusion weighting, repetition comes first."""
        return (*(number(self.instance.header, keyword) or 0 for keyword in IN_ORDER), self.instance.number, self.index)

    def _of(self, keyword: str) -> Dataset:
        return self.instance.of_frame(self.index, keyword)


def read_instance(source: Source, number: int) -> Instance:
    """The tags of one file, without its pixels. Raises: UnreadableScan if it is damaged."""
    with open_data_set(source) as file, pydicom_refusals():
        header = dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=True)
        has_pixels = bool(file.read(1))
    return Instance(source, number, header, has_pixels)
