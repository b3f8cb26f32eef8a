"""The files whose reading is timed: the largest of each kind that is allowed, and some ordinary ones."""

import gzip
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from model.scans import limits

SIDE = int(limits.MAX_PIXELS**0.5)
SIDE_JPEG_2000 = int(limits.MAX_PIXELS_JPEG_2000**0.5)
SLICES = limits.MAX_PIXELS_IN_ALL // 512**2  # of 512 x 512


def grain(*shape: int, dtype: type = np.uint16, step: int = 1) -> np.ndarray:
    """Twelve bits of a ramp with noise in its lowest five: about as hard to compress as tissue, and less by `step`s."""
    ramp = np.linspace(0, 4000, shape[-1], dtype=np.uint16)
    noisy = ramp + np.random.default_rng(0).integers(0, 32, shape, dtype=np.uint16)
    return (noisy // (16 if dtype == np.uint8 else step)).astype(dtype)


def picture(image: np.ndarray | Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff(page: np.ndarray, pages: int) -> bytes:
    return picture(
        page, "TIFF", save_all=True, compression="tiff_lzw", append_images=[Image.fromarray(page)] * (pages - 1)
    )


def dicom(frame: np.ndarray, frames: int, syntax: str = ExplicitVRLittleEndian, first: int = 0) -> bytes:
    """An Enhanced MR image of a head, `frames` times the same uint16 slice, 1 mm apart, the first at `first` mm."""
    made, shared, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], []
    for number in range(frames):
        each, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, first + number]
        each.PlanePositionSequence = [position]
        made.PerFrameFunctionalGroupsSequence.append(each)
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = EnhancedMRImageStorage, f"1.2.{first + 1}", "1.2"
    made.Modality, made.BodyPartExamined, made.NumberOfFrames = "MR", "HEAD", frames
    made.Rows, made.Columns = frame.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    if syntax == ExplicitVRLittleEndian:
        made.PixelData = frame.tobytes() * frames
    else:
        made.PixelData = encapsulate([compressed(frame, syntax)] * frames)
    made["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(frame: np.ndarray, syntax: str) -> bytes:
    """The code stream of one slice, made by GDCM."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        plain.write_bytes(dicom(frame, 1))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(packed))
        writer.Write()
        return next(generate_frames(dcmread(packed).PixelData, number_of_frames=1))


def zipped(files: int) -> bytes:
    frame, buffer = grain(512, 512), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(files):
            archive.writestr(f"IM{number:04}", dicom(frame, 1, first=number))
    return buffer.getvalue()


def nifti(slices: int, dtype: type) -> tuple[bytes, bytes]:
    """(a NIfTI-1 header, axial, 1 mm; the voxels of each of its slices)."""
    header, code = bytearray(352), {np.int16: 4, np.float64: 64}[dtype]
    voxels = grain(512, 512, step=64).astype(dtype)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 512, 512, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, 8 * voxels.itemsize)
    struct.pack_into("<8f", header, 76, *[1] * 8)
    struct.pack_into("<f", header, 108, len(header))
    struct.pack_into("<h", header, 254, 1)  # the rows that follow say where the axes point
    struct.pack_into("<12f", header, 280, *np.eye(3, 4).ravel())
    header[344:348] = b"n+1\0"
    return bytes(header), voxels.tobytes()


def plain_nifti(slices: int) -> bytes:
    header, voxels = nifti(slices, np.int16)
    return header + voxels * slices


def gzipped_nifti(dtype: type) -> bytes:
    header, voxels = nifti(SLICES, dtype)
    return gzip.compress(header) + gzip.compress(voxels, 1) * SLICES  # members one after another are one file


LARGEST: dict[str, Callable[[], bytes]] = {
    "PNG, 8 bits": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "PNG", compress_level=1),
    "PNG, 16 bits": lambda: picture(grain(SIDE, SIDE), "PNG", compress_level=1),
    "PNG, color and alpha": lambda: picture(
        Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGBA"), "PNG", compress_level=1
    ),
    "JPEG": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "JPEG"),
    "JPEG, color": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGB"), "JPEG"),
    "WebP": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "WEBP", method=0),
    "BMP": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGB"), "BMP"),
    "TIFF, CMYK": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("CMYK"), "TIFF"),
    "TIFF of 16-bit pages": lambda: tiff(grain(512, 512, step=64), SLICES),
    "TIFF of float pages": lambda: tiff(grain(512, 512, step=64).astype(np.float32), SLICES),
    "DICOM, uncompressed": lambda: dicom(grain(512, 512), limits.MAX_BYTES // 2**19 - 1),
    "DICOM, RLE": lambda: dicom(grain(512, 512), SLICES, RLELossless),
    "DICOM, JPEG Lossless": lambda: dicom(grain(512, 512), SLICES, JPEGLosslessSV1),
    "DICOM, JPEG-LS": lambda: dicom(grain(512, 512), SLICES, JPEGLSLossless),
    "DICOM, JPEG 2000": lambda: dicom(grain(512, 512), SLICES, JPEG2000Lossless),
    "DICOM, one slice in JPEG 2000": lambda: dicom(grain(SIDE_JPEG_2000, SIDE_JPEG_2000), 1, JPEG2000Lossless),
    "ZIP of a DICOM series": lambda: zipped(SLICES),
    "NIfTI": lambda: plain_nifti(limits.MAX_BYTES // 2**19 - 1),
    "NIfTI, gzip": lambda: gzipped_nifti(np.int16),
    "NIfTI, gzip, 64-bit floats": lambda: gzipped_nifti(np.float64),
}
ORDINARY: dict[str, Callable[[], bytes]] = {
    "PNG of 256 x 256, 8 bits": lambda: picture(grain(256, 256, dtype=np.uint8), "PNG"),
    "DICOM of 512 x 512": lambda: dicom(grain(512, 512), 1),
    "DICOM of 512 x 512, JPEG Lossless": lambda: dicom(grain(512, 512), 1, JPEGLosslessSV1),
    "DICOM of 155 x 240 x 240": lambda: dicom(grain(240, 240), 155),
}
