"""NIfTI volumes. The header is 348 or 540 bytes of a fixed layout: read here, so that nothing is unpacked unchecked."""

from .headers import SIZE_2 as HEADER_BYTES
from .headers import read_header
from .volume import bytes_of_volume, read_volume

__all__ = ["HEADER_BYTES", "bytes_of_volume", "read_header", "read_volume"]
