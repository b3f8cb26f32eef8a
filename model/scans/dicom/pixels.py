"""Frames of a DICOM file -> stored pixels: decoded one by one, after what they claim was checked.

What the tags leave out has the value that nearly all files have; how a frame is encoded is told by its bytes where the
tags contradict them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import gdcm
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from ...marks import has_color
from .. import limits
from ..resample import LUMINANCE
from ..scan import UnreadableScan
from ..shapes import check_shape
from . import twelve_bits  # noqa: F401  registers itself
from .codestreams import check_frame, syntax_of
from .files import DAMAGED, open_data_set, pydicom_refusals
from .headers import Instance, bits_allocated, bits_of_pixel, samples_of
from .subjects import NO_IMAGE
from .values import number, text

COMPRESSED = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless}
PHOTOMETRIC = {
    *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
}
FLOATS = {"FloatPixelData": "f4", "DoubleFloatPixelData": "f8"}

for turn_off in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
    turn_off()  # GDCM would print what it stumbles over


def check_image(instance: Instance) -> None:
    """Raises UnreadableScan if the tags claim frames too large, too many, or encoded as no decoder here reads."""
    if not instance.pixels:
        raise UnreadableScan(NO_IMAGE)
    if instance.condemned:
        raise UnreadableScan(instance.condemned)
    frames, rows, columns = instance.shape
    if frames > limits.MAX_FRAMES:
        raise UnreadableScan(
            f"The DICOM file claims {frames:,} frames; at most {limits.MAX_FRAMES:,} can be read. Export fewer at once."
        )
    check_shape(rows, columns)
    if samples_of(instance.header) not in (1, 3) or bits_allocated(instance.header) not in (8, 16, 32, 64):
        raise UnreadableScan(DAMAGED)
    syntax, is_plain = instance.syntax, instance.pixels.fragments is None
    if not syntax.is_transfer_syntax or (syntax.is_encapsulated and not is_plain and syntax not in COMPRESSED):
        raise UnreadableScan(
            "The DICOM file is compressed in a way that cannot be read here. Export it without compression."
        )


def reason_against(instance: Instance) -> str:
    """Why a file cannot be decoded, as far as its tags tell; "" if it can be tried."""
    try:
        check_image(instance)
    except UnreadableScan as error:
        return str(error)
    return ""


def is_risky(instance: Instance) -> bool:
    """Whether GDCM decodes it, which may abort the process."""
    is_compressed = bool(instance.pixels and instance.pixels.fragments)
    return is_compressed and instance.syntax != RLELossless and not _decoder(instance.syntax, instance)


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
    length = rows * columns * bits_of_pixel(instance.header) // 8
    frame = instance.pixels.frame(file, index, length)
    if not frame:
        raise UnreadableScan(DAMAGED)
    little_endian = instance.header.original_encoding[1]
    if instance.pixels.keyword in FLOATS:
        kind = np.dtype(FLOATS[instance.pixels.keyword]).newbyteorder("<" if little_endian else ">")
        if len(frame) < rows * columns * kind.itemsize:
            raise UnreadableScan(DAMAGED)
        return np.frombuffer(frame, kind).reshape(rows, columns)
    if instance.pixels.fragments is None:
        if len(frame) < length:
            raise UnreadableScan(DAMAGED)
        syntax = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
        return _by_pydicom(frame, syntax, instance)
    syntax = syntax_of(frame, instance.syntax)
    check_frame(frame, syntax, rows, columns, samples_of(instance.header), bits_allocated(instance.header))
    return _by_pydicom(encapsulate([frame]), syntax, instance, _decoder(syntax, instance))


def _decoder(syntax: UID, instance: Instance) -> str:
    """Pillow where it can decode: GDCM aborts its process on damage of which Pillow raises an exception."""
    is_deep_color = samples_of(instance.header) > 1 and bits_allocated(instance.header) > 8
    by_pillow = syntax == JPEGBaseline8Bit or (syntax in JPEG2000TransferSyntaxes and not is_deep_color)
    return "pillow" if by_pillow else ""


def _by_pydicom(value: bytes, syntax: UID, instance: Instance, decoder: str = "") -> np.ndarray:
    header, allocated = instance.header, bits_allocated(instance.header)
    _, rows, columns = instance.shape
    samples = samples_of(header)
    stored = int(number(header, "BitsStored") or allocated)
    named = text(header, "PhotometricInterpretation")
    with pydicom_refusals():
        return get_decoder(syntax).as_array(
            value,
            index=0,
            decoding_plugin=decoder,
            rows=rows,
            columns=columns,
            number_of_frames=1,
            samples_per_pixel=samples,
            photometric_interpretation=named if named in PHOTOMETRIC else "RGB" if samples == 3 else "MONOCHROME2",
            planar_configuration=int(number(header, "PlanarConfiguration") or 0),
            bits_allocated=allocated,
            bits_stored=stored if 0 < stored <= allocated else allocated,
            pixel_representation=int(number(header, "PixelRepresentation") == 1),
            pixel_keyword="PixelData",
            pixel_vr="OW" if allocated > 8 else "OB",
        )[0]


def _gray(pixels: np.ndarray, instance: Instance, index: int) -> np.ndarray:
    if text(instance.header, "PhotometricInterpretation") == "PALETTE COLOR":
        with pydicom_refusals():
            pixels = apply_color_lut(pixels, instance.header)
    if pixels.ndim == 3:
        if has_color(pixels[..., :3]):
            instance.marked.add(index)
        return pixels[..., :3].astype(np.float32) @ LUMINANCE
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
