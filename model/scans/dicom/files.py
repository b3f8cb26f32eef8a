"""A DICOM file -> a stream that pydicom can read without unpacking more than the limits allow."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from .. import limits
from ..scan import UnreadableScan
from ..sources import Source

PREAMBLE = 128  # bytes before "DICM" (PS3.10, 7.1)
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
    try:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, limits.MAX_BYTES + 1)
    except zlib.error as error:
        raise UnreadableScan(DAMAGED) from error
    if len(data) > limits.MAX_BYTES:
        raise UnreadableScan(
            f"The DICOM file unpacks to more than {limits.MAX_BYTES // 2**20} MB. Export it uncompressed, or in parts."
        )
    return data


def _explicit_head() -> bytes:
    """The least that goes before an uncompressed data set: the name of its transfer syntax."""
    name = ExplicitVRLittleEndian.encode().ljust(20, b"\0")
    return bytes(PREAMBLE) + b"DICM" + struct.pack("<HH2sH", 2, 16, b"UI", len(name)) + name
