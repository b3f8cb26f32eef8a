"""A file -> the slices in it. The kind is told by the first bytes, never by the name; limits are checked before pixels.

Whatever is wrong with a file, `UnreadableScan` says so in a sentence that a clinician can act on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

MAX_BYTES = 50 * 2**20  # a 16-bit volume of 256 slices of 256 x 256 is 32 MB; more belongs into several files
MAX_PIXELS = 24_000_000  # of one slice: a phone's photo of a film; a bomb of 140 kB decodes to six times as many
MAX_PIXELS_IN_ALL = 64_000_000  # of all pages: 256 MB as float32, what a small server can hold beside the model
MAX_PAGES = 512  # of one TIFF: twice the slices of an isotropic head volume
MIN_SIDE = 32  # pixels: anatomy cannot be told from fewer
MAX_ASPECT = 4  # longer to shorter side: no slice is a stripe, and preprocessing pads to a square

READABLE = "PNG, JPEG, TIFF, BMP or WebP"
ADVICE = f"Export the slice as {READABLE} and upload that."
ORIENTATION_TAG = 0x0112  # EXIF 2.32, table 4: how to turn the stored rows into the picture
UPRIGHT = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}
PHOTOMETRIC_TAG = 262  # TIFF 6.0, section 3: 0 means that white is stored as zero
FEWEST_LEVELS = 64  # grey levels that are left of 16-bit color (which Pillow cuts to 8 bit) for a slice to be of use


class UnreadableScan(ValueError):
    """A file that cannot be read as a scan; the message is a sentence for the user: what is wrong, what to do."""


@dataclass(frozen=True)
class Scan:
    """What one file holds. `slices`: 2-D grey arrays (uint8, uint16 or float32), upright, in full depth, in order."""

    slices: list[np.ndarray]
    name: str


def read(source: str | Path | bytes, name: str = "") -> Scan:
    """Read every slice of a PNG, JPEG, TIFF (each page is a slice), BMP or WebP file, whatever its name says.

    Args: `source`, a path or the file's bytes; `name`, shown to the user (default: the path's last part).
    Returns: the `Scan`. 16-bit and float pixels keep their values, transparency lies on black, EXIF orientation is
        applied, color becomes luminance (ITU-R 601).
    Raises: UnreadableScan, whatever else is wrong with the file.
    """
    if not isinstance(source, bytes):
        name = name or Path(source).name
        source = _file_bytes(Path(source))
    if not source:
        raise UnreadableScan(f"The file is empty (0 bytes). {ADVICE}")
    if len(source) > MAX_BYTES:
        raise UnreadableScan(
            f"The file is larger than {MAX_BYTES // 2**20} MB. Export single slices, or fewer, and upload those."
        )
    return Scan(list(_pages(source, _image_format(source))), name)


def _file_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # one more than allowed is enough to refuse
    except IsADirectoryError:
        raise UnreadableScan("This is a folder, not a file. Choose the image files in it.") from None
    except FileNotFoundError:
        raise UnreadableScan("There is no such file. Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise UnreadableScan(f"The file could not be opened ({error}). Check its name and permissions.") from error


def _image_format(content: bytes) -> str:
    """Pillow's name of the image format; raises UnreadableScan for every other kind, by name where we know it."""
    kind = _known_kind(content)  # first: the 128 bytes before a DICOM may begin like a TIFF
    if kind:
        raise UnreadableScan(f"This is {kind}, which cannot be read here yet. {ADVICE}")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the last two: BigTIFF
        return "TIFF"
    if content.startswith(b"BM"):
        return "BMP"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    raise UnreadableScan(f"This is no image that can be read here. {ADVICE}")


def _known_kind(content: bytes) -> str | None:
    """Name, with article, of a kind that we recognize but do not read."""
    if content[128:132] == b"DICM":
        return "a DICOM file"
    if content[344:348] in (b"n+1\0", b"ni1\0") or content[4:8] in (b"n+2\0", b"ni2\0"):
        return "a NIfTI volume"
    if content[4:8] == b"ftyp":
        return "a HEIC or AVIF photo or a video"
    starts = {
        b"\x1f\x8b": "a gzip archive (perhaps a NIfTI volume, .nii.gz)",
        b"PK\x03\x04": "a ZIP archive or an Office document",
        b"%PDF-": "a PDF document",
        b"GIF8": "a GIF image",
        b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
        b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    }
    return next((kind for start, kind in starts.items() if content.startswith(start)), None)


def _pages(content: bytes, image_format: str) -> Iterator[np.ndarray]:
    with _pillow_refusals(image_format):
        image = Image.open(BytesIO(content), formats=[image_format])
    in_all = 0
    for page in range(MAX_PAGES + 1):
        if page and not (image_format == "TIFF" and _turn_to(image, page)):
            return  # the frames of an animated PNG or WebP are no slices: the first one counts
        if page == MAX_PAGES:
            raise UnreadableScan(f"The TIFF has more than {MAX_PAGES} pages. Export fewer slices at once.")
        _check_size(image.size)
        in_all += image.width * image.height
        if in_all > MAX_PIXELS_IN_ALL:
            raise UnreadableScan(
                f"The pages of the TIFF have more than {MAX_PIXELS_IN_ALL // 10**6} million pixels in all. "
                "Export fewer slices at once, or smaller ones."
            )
        yield _grey(image, image_format)


@contextmanager
def _pillow_refusals(image_format: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a refusal. Only calls of Pillow stand inside: no error of ours hides in it."""
    try:
        yield
    except Image.DecompressionBombError as error:  # Pillow's own cap, far above ours, strikes while it opens the file
        raise UnreadableScan(_too_large_sentence()) from error
    except Exception as error:  # its parsers let through whatever they stumble over: struct.error, KeyError...
        raise UnreadableScan(
            f"The file begins like a {image_format} image but is damaged or incomplete. Export it again."
        ) from error


def _turn_to(tiff: Image.Image, page: int) -> bool:
    """Whether there is such a page; the image then stands at it."""
    with _pillow_refusals("TIFF"):
        try:
            tiff.seek(page)
        except EOFError:
            return False
    return True


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise UnreadableScan(_too_large_sentence())
    if min(size) < MIN_SIDE:
        raise UnreadableScan(
            f"The image has only {width} x {height} pixels; at least {MIN_SIDE} on each side are needed. "
            "Upload the slice itself, not a thumbnail."
        )
    if max(size) > MAX_ASPECT * min(size):
        raise UnreadableScan(
            f"The image is a stripe of {width} x {height} pixels, not a slice. Crop it to one slice and upload that."
        )


def _too_large_sentence() -> str:
    return f"The image has more than {MAX_PIXELS // 10**6} million pixels. Crop it to one slice, or scale it down."


def _grey(image: Image.Image, image_format: str) -> np.ndarray:
    """Decode the current page to a (height, width) array, as bright and as turned as a viewer would show it."""
    with _pillow_refusals(image_format):
        cut_to_8_bit = bool(image.tile) and ";16" in str(image.tile[0][3]) and len(image.getbands()) > 1
        image.load()
        orientation = _orientation(image)
        white_is_zero = image_format == "TIFF" and image.tag_v2.get(PHOTOMETRIC_TAG) == 0
        deep = image.mode.startswith(("I", "F"))
        pixels = np.asarray(image if deep else _luminance(image))
    if deep:
        pixels = pixels.astype(np.uint16 if image.mode.startswith("I;16") else np.float32)  # big-endian becomes native
        hidden = image.info.get("transparency")  # PNG's one transparent grey
        if isinstance(hidden, int):
            pixels[pixels == hidden] = 0
        if white_is_zero:  # Pillow inverts such pages at 8 bit only
            pixels = np.invert(pixels) if pixels.dtype == np.uint16 else -pixels
    elif cut_to_8_bit and pixels.max() < FEWEST_LEVELS:
        raise UnreadableScan(
            "The image is 16-bit color, of which too few gray levels can be read. Export it as 16-bit grayscale PNG."
        )
    return np.ascontiguousarray(UPRIGHT.get(orientation, np.asarray)(pixels))


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a picture with broken EXIF is still a picture: show it as stored
        return 1


def _luminance(image: Image.Image) -> Image.Image:
    """8-bit grey of an image of any 8-bit mode, laid on black where it is transparent."""
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return ImageChops.multiply(layers.convert("L"), layers.getchannel("A"))
    return image.convert("RGB").convert("L")  # by way of RGB: palettes, CMYK and Lab have no direct way to grey
