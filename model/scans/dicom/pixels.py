"""Frames of a DICOM file -> stored pixels: decoded one by one, after what they claim was checked.

What the tags leave out has the value that nearly all files have; how a frame is encoded is decided by its bytes where
the tags contradict them. What a compressed frame says of its own size is asked before a decoder believes it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import gdcm
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from ...marks import has_color
from .. import limits
from ..grays import LUMINANCE
from ..scan import UnreadableScan
from .files import DAMAGED, open_data_set, pydicom_refusals
from .tags import NO_IMAGE, Instance, number

COMPRESSED = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless}
PHOTOMETRIC = {
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
}
FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}
JPEG_START, JPEG_2000_SIZE = b"\xff\xd8", b"\xff\x4f\xff\x51"
JPEG_LS, JPEG_HUFFMAN, JPEG_SCAN = 0xF7, 0xC4, 0xDA  # markers: frame of JPEG-LS, table, begin of the data (T.81, T.87)
JPEG_FRAME_HEADERS = {*range(0xC0, 0xD0), JPEG_LS} - {JPEG_HUFFMAN, 0xC8, 0xCC}
JPEG_OTHERS = {0xDB, 0xDD, 0xF8, 0xFE, *range(0xE0, 0xF0)}  # tables, restarts, presets, comment, applications' own
SYNTAXES = {  # of a JPEG, by the marker of its frame header: those that it may be, the likeliest first
    JPEG_LS: (JPEGLSNearLossless, *JPEGLSTransferSyntaxes),
    0xC3: (JPEGLossless, JPEGLosslessSV1),
    0xC1: (JPEGExtended12Bit,),
}
SHORTEST_TABLE = 20  # bytes: length, class, 16 counts, one symbol
RLE_HEADER = 64  # bytes: the number of segments and where each starts (PS3.5, annex G)
UNKNOWN_SYNTAX = "The DICOM file is compressed in a way that cannot be read here. Export it without compression."
CONTRADICTS = "The picture in the DICOM file is damaged, or not of the size that its tags say. Export it again."

for turn_off in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
    turn_off()  # GDCM would print what it stumbles over


def reason_against(instance: Instance) -> str:
    """Why a file cannot be decoded, as far as its tags say; "" if it can be tried."""
    if not instance.pixels:
        return NO_IMAGE
    if instance.condemned:
        return instance.condemned
    frames, rows, columns = instance.shape
    if frames > limits.MAX_FRAMES:
        most = f"{limits.MAX_FRAMES:,}"
        return f"The DICOM file claims {frames:,} frames; at most {most} can be read. Export fewer at once."
    try:
        limits.check_shape(rows, columns)
    except UnreadableScan as error:
        return str(error)
    if instance.samples not in (1, 3) or instance.bits_allocated not in (8, 16, 32, 64):
        return DAMAGED
    syntax, is_plain = instance.syntax, instance.pixels.fragments is None
    is_known = syntax.is_transfer_syntax and (is_plain or not syntax.is_encapsulated or syntax in COMPRESSED)
    return "" if is_known else UNKNOWN_SYNTAX


def is_risky(instance: Instance) -> bool:
    """Whether GDCM decodes it, which may abort the process."""
    is_compressed = bool(instance.pixels and instance.pixels.fragments)
    return is_compressed and instance.syntax != RLELossless and not _is_for_pillow(instance.syntax, instance)


def stored_pixels(
    instance: Instance, indices: Sequence[int], begin: Callable[[], object]
) -> Iterator[np.ndarray | UnreadableScan]:
    """Decode frames, in the order of `indices`, each to (rows, columns): as stored, or the luminance of colors.

    Yields, in place of a frame whose pixels are missing, damaged, or of another size than the tags say, why. `begin` is
    called before each.
    """
    with open_data_set(instance.source) as file:
        for index in indices:
            begin()
            try:
                yield _gray(_decoded(file, instance, index), instance, index)
            except UnreadableScan as error:
                yield error


def _decoded(file: BinaryIO, instance: Instance, index: int) -> np.ndarray:
    """One frame: (rows, columns), or (rows, columns, 3) in RGB."""
    _, rows, columns = instance.shape
    length, pixels = instance.frame_bytes, instance.pixels
    little_endian = instance.header.original_encoding[1]
    frame = pixels.frame(file, index, length)
    if not frame:
        raise UnreadableScan(DAMAGED)
    if pixels.fragments is not None and pixels.keyword == "PixelData":
        syntax = syntax_of(frame, instance.syntax)
        check_frame(frame, syntax, instance)
        return _by_decoder(frame, syntax, instance)
    kind = np.dtype(FLOATS.get(pixels.keyword, "u1")).newbyteorder("<" if little_endian else ">")
    if len(frame) < (rows * columns * kind.itemsize if pixels.keyword in FLOATS else length):
        raise UnreadableScan(DAMAGED)
    if pixels.keyword in FLOATS:
        return np.frombuffer(frame, kind).reshape(rows, columns)
    return _by_pydicom(frame, ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian, instance)


def _by_decoder(frame: bytes, syntax: UID, instance: Instance) -> np.ndarray:
    if syntax == JPEGExtended12Bit and _bits_stored(instance) > 8:
        with pydicom_refusals():
            return _twelve_bits(frame, instance)
    return _by_pydicom(encapsulate([frame]), syntax, instance, "pillow" if _is_for_pillow(syntax, instance) else "")


def _is_for_pillow(syntax: UID, instance: Instance) -> bool:
    """Whether Pillow can decode it: GDCM aborts its process on damage of which Pillow raises an exception."""
    is_deep_color = instance.samples > 1 and instance.bits_allocated > 8
    return syntax == JPEGBaseline8Bit or (syntax in JPEG2000TransferSyntaxes and not is_deep_color)


def _bits_stored(instance: Instance) -> int:
    allocated = instance.bits_allocated
    stored = int(number(instance.header, "BitsStored") or allocated)
    return stored if 0 < stored <= allocated else allocated


def _by_pydicom(value: bytes, syntax: UID, instance: Instance, decoder: str = "") -> np.ndarray:
    header, allocated, named = instance.header, instance.bits_allocated, instance.photometric
    _, rows, columns = instance.shape
    default = "RGB" if instance.samples == 3 else "MONOCHROME2"
    with pydicom_refusals():
        return get_decoder(syntax).as_array(
            value,
            index=0,
            decoding_plugin=decoder,
            rows=rows,
            columns=columns,
            number_of_frames=1,
            samples_per_pixel=instance.samples,
            photometric_interpretation=named if named in PHOTOMETRIC else default,
            planar_configuration=int(number(header, "PlanarConfiguration") or 0),
            bits_allocated=allocated,
            bits_stored=_bits_stored(instance),
            pixel_representation=int(number(header, "PixelRepresentation") == 1),
            pixel_keyword="PixelData",
            pixel_vr="OW" if allocated > 8 else "OB",
        )[0]


def _twelve_bits(frame: bytes, instance: Instance) -> np.ndarray:
    """A gray JPEG Extended frame, which GDCM decodes at 12 bits, too, but pydicom's way to GDCM refuses."""
    _, rows, columns = instance.shape
    allocated, stored = instance.bits_allocated, _bits_stored(instance)
    is_signed = number(instance.header, "PixelRepresentation") == 1
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, stored, stored - 1, int(is_signed)))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands bytes over as str
    return np.frombuffer(decoded, f"<{'i' if is_signed else 'u'}{allocated // 8}").reshape(rows, columns)


def _gray(pixels: np.ndarray, instance: Instance, index: int) -> np.ndarray:
    if instance.photometric == "PALETTE COLOR":
        with pydicom_refusals():
            pixels = apply_color_lut(pixels, instance.header)
    if pixels.ndim == 3:
        if has_color(pixels[..., :3]):
            instance.marked.add(index)
        return pixels[..., :3].astype(np.float32) @ LUMINANCE
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


# what a compressed frame says of itself


def syntax_of(frame: bytes, named: UID) -> UID:
    """How a compressed frame is encoded: as its file says, unless its first bytes are of another kind."""
    if JPEG_2000_SIZE in frame[:256]:
        return named if named in JPEG2000TransferSyntaxes else JPEG2000
    if not frame.startswith(JPEG_START):
        return RLELossless
    header = _jpeg_header(frame)
    syntaxes = SYNTAXES.get(header.marker if header else 0, (JPEGBaseline8Bit,))
    return named if named in syntaxes else syntaxes[0]


def check_frame(frame: bytes, syntax: UID, instance: Instance) -> None:
    """Refuse a frame that would decode to something else than its tags say, or costs too much to.

    Raises: UnreadableScan. A decoder believes what a frame says of itself, and GDCM aborts its process where that
    contradicts the tags.
    """
    _, rows, columns = instance.shape
    if instance.bits_allocated not in (8, 16):  # PS3.5, 8.2
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
    is_as_claimed = header is not None and header[1:4] == (rows, columns, instance.samples)
    if not is_as_claimed or not 2 <= header.bits <= instance.bits_allocated:
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
    """What a picture says of itself. `marker`: of the frame header of a JPEG; `bits`: of one sample."""

    marker: int
    rows: int
    columns: int
    samples: int
    bits: int


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
