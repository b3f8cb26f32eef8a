"""What a compressed frame says of its own size, asked before a decoder believes it and makes room."""

from itertools import pairwise

from pydicom.uid import UID, RLELossless

from .. import limits
from ..scan import UnreadableScan

JPEG_START, JPEG_2000_SIZE = b"\xff\xd8", b"\xff\x4f\xff\x51"
JPEG_LS, JPEG_HUFFMAN, JPEG_SCAN = 0xF7, 0xC4, 0xDA  # markers: frame of JPEG-LS, table, begin of the data (T.81, T.87)
JPEG_FRAME_HEADERS = {*range(0xC0, 0xD0), JPEG_LS} - {JPEG_HUFFMAN, 0xC8, 0xCC}
JPEG_OTHERS = {0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}  # tables, restarts, presets, comment, applications' own
SHORTEST_TABLE = 20  # bytes: length, class, 16 counts, one symbol
RLE_HEADER = 64  # bytes: the number of segments and where each starts (PS3.5, annex G)
CONTRADICTS = "The picture in the DICOM file is damaged, or not of the size that its tags say. Export it again."


def check_frame(frame: bytes, syntax: UID, rows: int, columns: int) -> None:
    """Raises UnreadableScan if a frame would decode to another size than rows x columns, or costs too much to."""
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
    size = _jpeg_2000_size(frame) if is_jpeg_2000 else _jpeg_size(frame)
    if size != (rows, columns):
        raise UnreadableScan(CONTRADICTS)


def _unpacks_beyond(segment: bytes, length: int) -> bool:
    """Whether PackBits runs make more bytes than one byte plane of a frame has, and its padding."""
    place = made = 0
    while place < len(segment) and made <= length + 1:
        run = segment[place]
        made += run + 1 if run < 128 else 257 - run if run > 128 else 0
        place += run + 2 if run < 128 else 2 if run > 128 else 1
    return made > length + 1


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG or JPEG-LS stream; None if its headers are not in order, of which GDCM would abort."""
    size, coded, place = None, False, 2
    while frame.startswith(JPEG_START) and place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4])
        if marker == JPEG_SCAN:
            return size if coded else None
        if marker in JPEG_FRAME_HEADERS and size is None:
            size = int.from_bytes(frame[place + 5 : place + 7]), int.from_bytes(frame[place + 7 : place + 9])
            coded = marker == JPEG_LS
        elif marker == JPEG_HUFFMAN and length >= SHORTEST_TABLE:
            coded = True
        elif marker not in JPEG_OTHERS:
            return None
        place += 2 + length
    return None


def _jpeg_2000_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG 2000 codestream (T.800, A.5.1), tiles being no smaller than reason allows."""
    at = frame.index(JPEG_2000_SIZE)
    right, bottom, left, top, tile_width, tile_height = (
        int.from_bytes(frame[at + 8 + 4 * i : at + 12 + 4 * i]) for i in range(6)
    )
    if not tile_width or not tile_height or (right // tile_width + 1) * (bottom // tile_height + 1) > limits.MAX_TILES:
        return None
    return bottom - top, right - left
