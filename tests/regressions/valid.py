"""A small valid file of each kind that is read: what the other tests cut off, bend and hide."""

import gzip
import io
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.dicom_files import SYNTAXES, dicom, series

from .bombs import nifti_header


def drawn(side: int = 80, seed: int = 0) -> np.ndarray:
    """uint16 (side + 16, side), 12 bits: a bright ellipse with grain on black."""
    y, x = np.mgrid[-1 : 1 : (side + 16) * 1j, -1 : 1 : side * 1j]
    grain = np.random.default_rng(seed).integers(0, 300, x.shape)
    return np.where(np.hypot(x / 0.7, y / 0.85) < 1, 1500 + 1000 * x * y + 400 * np.cos(7 * y) + grain, 0).astype(
        np.uint16
    )


def in_8_bits(side: int = 80) -> np.ndarray:
    return (drawn(side) // 16).astype(np.uint8)


def picture(file_format: str, pixels: np.ndarray, pages: int = 1, **options) -> bytes:
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(pixels)] * pages
    first.save(buffer, file_format, **options | ({"save_all": True, "append_images": others} if others else {}))
    return buffer.getvalue()


def animated_png(frames: int = 3) -> bytes:
    buffer = io.BytesIO()
    first, *others = [Image.fromarray((drawn(48, seed) // 16).astype(np.uint8)) for seed in range(frames)]
    first.save(buffer, "PNG", save_all=True, append_images=others)
    return buffer.getvalue()


def zipped_series(slices: int = 4) -> bytes:
    """Slices of one series in a folder of an archive, last one first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(reversed(series([drawn(48, seed) for seed in range(slices)]))):
            archive.writestr(f"study/IM{number:04}", content)
    return buffer.getvalue()


def nifti() -> bytes:
    volume = np.stack([drawn(48, number)[:48] for number in range(6)])
    return nifti_header(volume.shape[::-1]) + volume.astype("<i2").tobytes()


VALID: dict[str, Callable[[], bytes]] = {
    "PNG, 8 bits": lambda: picture("PNG", in_8_bits()),
    "PNG, 16 bits": lambda: picture("PNG", drawn()),
    "JPEG": lambda: picture("JPEG", in_8_bits(128), quality=95),
    "TIFF of pages": lambda: picture("TIFF", drawn(48), pages=3),
    "TIFF, LZW": lambda: picture("TIFF", drawn(), compression="tiff_lzw"),
    "TIFF, float": lambda: picture("TIFF", drawn(48).astype(np.float32)),
    "BMP": lambda: picture("BMP", in_8_bits()),
    "WebP": lambda: picture("WEBP", in_8_bits(128), lossless=True),
    "GIF": lambda: picture("GIF", in_8_bits()),
    "PNG, animated": animated_png,
    **{
        f"DICOM, {syntax}": lambda syntax=syntax: dicom(
            in_8_bits(64) if syntax == "JPEG Baseline" else drawn(48), syntax
        )
        for syntax in SYNTAXES
    },
    "DICOM of frames": lambda: dicom(np.stack([drawn(48)] * 3)),
    "NIfTI": nifti,
    "NIfTI, gzip": lambda: gzip.compress(nifti(), mtime=0),
    "ZIP of a series": zipped_series,
}
