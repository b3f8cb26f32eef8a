"""A DICOM file -> its tags and where its frames lie, unpacked no further than the limits allow.

Frames are counted by what is there, whatever Number of Frames claims.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import pairwise
from typing import BinaryIO

from pydicom import dcmread
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from .. import limits
from ..scan import UnreadableScan
from ..sources import Source
from .tags import TAGS, Instance, PixelData, text

IDENTITY = ("PatientID", "PatientName")  # compared and dropped: they must not leave `read_instance`
PREAMBLE = 128  # bytes before "DICM" (PS3.10, 7.1)
ITEM = b"\xfe\xff\x00\xe0"  # the tag before each fragment (PS3.5, A.4)
UNDEFINED = 0xFFFFFFFF  # length of a value that comes in fragments
LONG = (b"OB", b"OW", b"OF", b"OD", b"UN")  # types whose length takes four bytes, after two that are reserved
KEYWORDS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}  # by element, in group 7FE0
BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # of JPEG and JPEG-LS, of JPEG 2000, of its file
MAX_FRAGMENTS = 16 * limits.MAX_FRAMES
DAMAGED = "The DICOM file is damaged or incomplete. Export it again."


@contextmanager
def pydicom_refusals() -> Iterator[None]:
    """Turn whatever pydicom and its decoders raise into a refusal. Only their calls stand inside."""
    try:
        yield
    except (UnreadableScan, MemoryError):
        raise
    except Exception as error:  # its parsers let through whatever they stumble over
        raise UnreadableScan(DAMAGED) from error


def read_instance(source: Source, place: tuple[int, int] = (0, 0), condemned: str = "") -> Instance:
    """The tags of one file, without its pixels. Raises: UnreadableScan if it is damaged."""
    with open_data_set(source) as file, pydicom_refusals():
        header = dcmread(file, stop_before_pixels=True, specific_tags=[*TAGS, *IDENTITY], force=True)
        pixels = _find_pixels(file, header.original_encoding)
    patient = tuple(hash(named) if (named := text(header, key).rstrip(" ^")) else 0 for key in IDENTITY)
    for keyword in IDENTITY:
        header.pop(keyword, None)
    return Instance(source, place, header, pixels, patient, condemned)


def open_data_set(source: Source) -> BinaryIO:
    """The file, a deflated one inflated: pydicom would inflate it whole, however large it gets."""
    file = source.open()
    file.seek(PREAMBLE)
    if file.read(4) == b"DICM":
        with pydicom_refusals():
            meta = read_dataset(file, False, True, stop_when=lambda tag, kind, length: tag.group != 2)
            deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        if deflated:
            with file:
                return BytesIO(_explicit_head() + _inflated(file.read()))
    file.seek(0)
    return file


def _inflated(deflated: bytes) -> bytes:
    with pydicom_refusals():
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, limits.MAX_BYTES + 1)
    if len(data) > limits.MAX_BYTES:
        raise UnreadableScan(
            f"The DICOM file unpacks to more than {limits.MAX_BYTES // 2**20} MB. Export it uncompressed, or in parts."
        )
    return data


def _explicit_head() -> bytes:
    """The least that goes before an uncompressed data set: the name of its transfer syntax."""
    name = ExplicitVRLittleEndian.encode().ljust(20, b"\0")
    return bytes(PREAMBLE) + b"DICM" + struct.pack("<HH2sH", 2, 16, b"UI", len(name)) + name


def _find_pixels(file: BinaryIO, encoding: tuple[bool, bool]) -> PixelData | None:
    """Args: `file` at the tag of Pixel Data; `encoding` of the data set: (implicit, little-endian)."""
    implicit, little_endian = encoding
    order = "little" if little_endian else "big"
    tag = file.read(4)
    keyword = KEYWORDS.get(int.from_bytes(tag[2:], order))
    if len(tag) < 4 or keyword is None:
        return None
    kind = b"" if implicit else file.read(2)
    if kind in LONG:
        file.read(2)
    length = int.from_bytes(file.read(2 if kind and kind not in LONG else 4), order)
    start = file.tell()
    if length == UNDEFINED:
        return PixelData(keyword, start, 0, _frames(file))
    there = file.seek(0, 2) - start
    return PixelData(keyword, start, min(length, there)) if there > 0 else None


def _frames(file: BinaryIO) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The fragments of each frame: one begins where a picture begins; of run lengths, each fragment is one.

    The offset table is not asked: it may be empty, and says nothing that the fragments do not.
    """
    found, begins = [], []
    while len(found) <= MAX_FRAGMENTS:
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        if len(head) < 8 or head[:4] != ITEM or length == UNDEFINED:
            break
        start = file.tell()
        begins.append(file.read(8).startswith(BEGINNINGS))
        found.append((start, length))
        file.seek(start + length)
    found, begins = found[1:], begins[1:]  # the first is the offset table
    if not any(begins):
        return tuple((fragment,) for fragment in found)
    first = [place for place, begin in enumerate(begins) if begin]
    return tuple(tuple(found[a:b]) for a, b in pairwise([0, *first[1:], len(found)]))
