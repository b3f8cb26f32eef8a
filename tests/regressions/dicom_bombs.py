"""DICOM files that claim or hold too much, or contradict themselves: each a function that returns its bytes."""

import io
import struct

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from tests.dicom_files import dataset, dicom

from .bombs import deflated_zeros
from .valid import drawn, in_8_bits

CONTRADICTIONS: dict[str, dict] = {
    "no rows": {"Rows": 0},
    "65535 x 65535": {"Rows": 65535, "Columns": 65535},
    "no frames": {"NumberOfFrames": 0},
    "fewer than no frames": {"NumberOfFrames": -3},
    "1 bit": {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
    "32 bits": {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
    "64 bits": {"BitsAllocated": 64},
    "more stored than allocated": {"BitsAllocated": 8, "BitsStored": 16, "HighBit": 15},
    "no bits": {"BitsStored": 0, "HighBit": 0},
    "seven samples": {"SamplesPerPixel": 7},
    "color that is not there": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
    "a palette that is not there": {"PhotometricInterpretation": "PALETTE COLOR"},
    "an unheard-of interpretation": {"PhotometricInterpretation": "MONOCHROME9"},
    "a window of no width": {"WindowCenter": 40, "WindowWidth": 0},
    "a window of NaN": {"WindowCenter": "nan", "WindowWidth": "inf"},
    "a slope of NaN": {"RescaleSlope": "nan", "RescaleIntercept": "inf"},
    "a huge slope": {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
    "no direction": {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    "NaN directions": {"ImageOrientationPatient": ["nan"] * 6, "ImagePositionPatient": ["nan"] * 3},
    "half a direction": {"ImageOrientationPatient": [1, 0, 0], "ImagePositionPatient": [0]},
    "no spacing": {"PixelSpacing": [0, 0]},
    "spacing backwards": {"PixelSpacing": [-1, 1]},
    "spacing of one in a million": {"PixelSpacing": ["0.000001", 1]},
    "NaN spacing": {"PixelSpacing": ["nan", "inf"]},
}


def with_tags(**tags) -> bytes:
    """A valid file of one slice, but for these."""
    return dicom(drawn(48), **tags)


def with_code_streams(streams: list[bytes], syntax: str) -> bytes:
    """A valid file of one slice of 8 bits, but for these in place of its compressed pixels."""
    made = dataset(in_8_bits(48), PixelData=encapsulate(streams))
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def deflated_to_4_gib() -> bytes:
    """4 MB: a valid head, behind which the deflated data set goes on and on."""
    content = dicom(drawn(48), "deflated")
    meta_length = int.from_bytes(content[140:144], "little")
    return content[: 144 + meta_length] + deflated_zeros(4096, wbits=-15)


def picture_larger_than_claimed(file_format: str) -> bytes:
    """The tags say 48 x 64, the compressed picture inside 25 million pixels."""
    buffer = io.BytesIO()
    Image.new("L", (5000, 5000)).save(buffer, file_format)
    return with_code_streams([buffer.getvalue()], {"JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000Lossless}[file_format])


def run_lengths_without_end() -> bytes:
    """An RLE segment that repeats zeros for 16 MB where 3 kB belong."""
    segment = b"\x81\0" * 131072  # each pair of bytes: 128 zeros
    return with_code_streams([struct.pack("<16I", 1, 64, *[0] * 14) + segment], RLELossless)


def many_fragments(count: int) -> bytes:
    return with_code_streams([b"\0\0"] * count, RLELossless)


def noise(seed: int) -> bytes:
    return with_code_streams([np.random.default_rng(seed).bytes(4000)], JPEG2000Lossless)


def nested(levels: int) -> bytes:
    """Sequences in sequences, written by hand since no library goes that deep."""
    start = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    start += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    content = dicom(drawn(48))
    place = content.index(struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0))
    return content[:place] + start * levels + end * levels + content[place:]


def window_table_of_nothing() -> bytes:
    """A lookup table that says it has 65,536 entries and has three."""
    table = Dataset()
    table.add_new(0x00283002, "US", [0, 0, 16])
    table.add_new(0x00283006, "US", [1, 2, 3])
    return with_tags(VOILUTSequence=Sequence([table]), ModalityLUTSequence=Sequence([table]))
