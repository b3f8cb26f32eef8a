"""What a compressed frame says of its own size, asked before a decoder believes it and makes room."""

from itertools import pairwise
from typing import NamedTuple

from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from .. import limits
from ..scan import UnreadableScan

JPEG_START, JPEG_2000_SIZE = b"\xff\xd8", b"\xff\x4f\xff\x51"
JPEG_LS, JPEG_HUFFMAN, JPEG_SCAN = 0xF7, 0xC4, 0xDA  # markers: frame of JPEG-LS, table, begin of the data (T.81, T.87)
JPEG_FRAME_HEADERS = {*range(0xC0, 0xD0), JPEG_LS} - {JPEG_HUFFMAN, 0xC8, 0xCC}
JPEG_OTHERS = {0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}  # tables, restarts, presets, comment, applications' own
JPEG_EXTENDED, JPEG_LOSSLESS = 0xC1, 0xC3
SHORTEST_TABLE = 20  # bytes: length, class, 16 counts, one symbol
RLE_HEADER = 64  # bytes: the number of segments and where each starts (PS3.5, annex G)
CONTRADICTS = "The picture in the DICOM file is damaged, or not of the size that its tags say. Export it again."


def syntax_of(frame: bytes, named: UID) -> UID:
    """How a compressed frame is encoded: as its file says, unless its first bytes are of another kind."""
    if JPEG_2000_SIZE in frame[:256]:
        return named if named in JPEG2000TransferSyntaxes else JPEG2000
    if not frame.startswith(JPEG_START):
        return RLELossless
    header = _jpeg_header(frame)
    marker = header and header.marker
    if marker == JPEG_LS:
        return named if named in JPEGLSTransferSyntaxes else JPEGLSNearLossless
    if marker == JPEG_LOSSLESS:
        return named if named in (JPEGLossless, JPEGLosslessSV1) else JPEGLossless
    return JPEGExtended12Bit if marker == JPEG_EXTENDED else JPEGBaseline8Bit


def check_frame(frame: bytes, syntax: UID, rows: int, columns: int, samples: int, allocated: int) -> None:
    """Refuse a frame that would decode to something else than its tags say, or costs too much to.

    Args: `samples`, colors of a pixel; `allocated`, bits of each.
    Raises: UnreadableScan. A decoder believes what a frame says of itself, and GDCM aborts its process where that
    contradicts the tags.
    """
    if allocated not in (8, 16):  # PS3.5, 8.2
        raise UnreadableScan(CONTRADICTS)
    if syntax == RLELossless:
        starts = [int.from_bytes(frame[i : i + 4], "little") for i in range(4, RLE_HEADER, 4)]
        segments = starts[: min(15, int.from_bytes(frame[:4], "little"))]
        if any(_unpacks_beyond(frame[a:b], rows * columns) for a, b in pairwise([*segments, len(frame)])):
            raise UnreadableScan(CONTRADICTS)
        return
    is_jpeg_2000 = JPEG_2000_SIZE in frame[:256]
    if is_jpeg_2000 and rows * columns > limits.MAX_PIXELS_JPEG_2000:
        raise UnreadableScan(
            f"The slice has more than {limits.MAX_PIXELS_JPEG_2000 // 10**6} million pixels in JPEG 2000, which takes "
            "too long to unpack. Export it uncompressed, or scale it down."
        )
    header = _jpeg_2000_header(frame) if is_jpeg_2000 else _jpeg_header(frame)
    if header is None or header[1:4] != (rows, columns, samples) or not 2 <= header.bits <= allocated:
        raise UnreadableScan(CONTRADICTS)


def _unpacks_beyond(segment: bytes, length: int) -> bool:
    """Whether PackBits runs make more bytes than one byte plane of a frame has, and its padding."""
    place = made = 0
    while place < len(segment) and made <= length + 1:
        run = segment[place]
        made += run + 1 if run < 128 else 257 - run if run > 128 else 0
        place += run + 2 if run < 128 else 2 if run > 128 else 1
    return made > length + 1


class Header(NamedTuple):
    """What a picture says of itself. `marker`: of the frame header of a JPEG."""

    marker: int
    rows: int
    columns: int
    samples: int
    bits: int  # of one sample


def _jpeg_header(frame: bytes) -> Header | None:
    """Of a JPEG or JPEG-LS stream; None if its headers are not in order, of which GDCM would abort."""
    found, coded, place = None, False, 2
    while frame.startswith(JPEG_START) and place + 10 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4])
        if marker == JPEG_SCAN:
            return found if coded else None
        if marker in JPEG_FRAME_HEADERS and found is None:
            rows, columns = (int.from_bytes(frame[place + at : place + at + 2]) for at in (5, 7))
            found, coded = Header(marker, rows, columns, frame[place + 9], frame[place + 4]), marker == JPEG_LS
        elif marker == JPEG_HUFFMAN and length >= SHORTEST_TABLE:
            coded = True
        elif marker not in JPEG_OTHERS:
            return None
        place += 2 + length
    return None


def _jpeg_2000_header(frame: bytes) -> Header | None:
    """Of a JPEG 2000 codestream (T.800, A.5.1).

    None unless the first tile lies as B.3 demands, and tiles are not too many.
    """
    at = frame.index(JPEG_2000_SIZE)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        int.from_bytes(frame[at + 8 + 4 * i : at + 12 + 4 * i]) for i in range(8)
    )
    if not tile_width or not tile_height or (right // tile_width + 1) * (bottom // tile_height + 1) > limits.MAX_TILES:
        return None
    if not (tile_left <= left < tile_left + tile_width and tile_top <= top < tile_top + tile_height):
        return None
    samples, bits = int.from_bytes(frame[at + 40 : at + 42]), (int.from_bytes(frame[at + 42 : at + 43]) & 0x7F) + 1
    return Header(0, bottom - top, right - left, samples, bits)
