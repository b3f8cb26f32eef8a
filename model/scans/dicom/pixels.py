"""Frames of a DICOM file -> stored pixels: decoded one by one, after what they claim was checked."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

import gdcm
import numpy as np
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, iter_pixels
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from .. import limits
from ..scan import UnreadableScan
from ..shapes import check_shape
from . import twelve_bits  # noqa: F401  registers itself
from .codestreams import check_frame
from .files import DAMAGED, open_data_set, pydicom_refusals
from .headers import Instance
from .values import number, text

COMPRESSED = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless}
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601
TO_VALUE = 12  # bytes from the tag of compressed Pixel Data to its value (PS3.5, 7.1.2)

for turn_off in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
    turn_off()  # GDCM would print what it stumbles over


def check_image(instance: Instance) -> None:
    """Raises UnreadableScan if the tags claim frames too large, too many, or encoded as no decoder here reads."""
    frames, rows, columns = instance.shape
    if frames > limits.MAX_FRAMES:
        raise UnreadableScan(
            f"The DICOM file claims {frames:,} frames; at most {limits.MAX_FRAMES:,} can be read. Export fewer at once."
        )
    check_shape(rows, columns)
    if not frames or number(instance.header, "SamplesPerPixel") not in (None, 1, 3):
        raise UnreadableScan(DAMAGED)
    syntax = instance.syntax
    if not syntax.is_transfer_syntax or (syntax.is_encapsulated and syntax not in COMPRESSED):
        raise UnreadableScan(
            "The DICOM file is compressed in a way that cannot be read here. Export it without compression."
        )


def stored_pixels(instance: Instance, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Decode frames, in the order of `indices`, each to (rows, columns): as stored, or the luminance of colors.

    Raises: UnreadableScan if the pixels are missing, damaged, or of another size than the tags say.
    """
    with open_data_set(instance.source) as file:
        if instance.syntax in COMPRESSED:
            _check_frames(file, instance, max(indices))
        with closing(iter_pixels(file, indices=indices, transfer_syntax_uid=instance.syntax)) as decoded:
            for _ in indices:
                with pydicom_refusals():
                    pixels = _gray(next(decoded), instance)
                yield pixels


def _check_frames(file: BinaryIO, instance: Instance, last: int) -> None:
    with pydicom_refusals():
        dcmread(file, stop_before_pixels=True, force=True, specific_tags=[])
        file.read(TO_VALUE)
        for index, frame in enumerate(generate_frames(file, number_of_frames=instance.shape[0])):
            check_frame(frame, instance.syntax, *instance.shape[1:])
            if index == last:
                break
    file.seek(0)


def _gray(pixels: np.ndarray, instance: Instance) -> np.ndarray:
    if text(instance.header, "PhotometricInterpretation") == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, instance.header)
    if pixels.ndim == 3:
        return pixels[..., :3].astype(np.float32) @ LUMINANCE
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
