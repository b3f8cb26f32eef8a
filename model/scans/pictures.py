"""Pictures (PNG, JPEG, TIFF, BMP, WebP) -> gray slices, as bright and as turned as a viewer shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops

from . import limits
from .scan import Scan, UnreadableScan
from .shapes import check_in_all, check_shape, too_large
from .sources import Source

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
FEWEST_LEVELS = 64  # gray levels that are left of 16-bit color (which Pillow cuts to 8 bit) for a slice to be of use


def read_picture(source: Source, kind: str) -> Scan:
    """Every page of a TIFF, or the one slice of another picture. `kind`: as `kinds.kind_of` names it.

    16-bit and float pixels keep their values, transparency lies on black, EXIF orientation is applied, color becomes
    luminance (ITU-R 601).
    """
    return Scan(list(_pages(source.content(), kind)), source.name, kind=kind)


def _pages(content: bytes, kind: str) -> Iterator[np.ndarray]:
    with _pillow_refusals(kind):
        image = Image.open(BytesIO(content), formats=[kind.upper()])
    in_all = 0
    for page in range(limits.MAX_SLICES + 1):
        if page and not (kind == "TIFF" and _turn_to(image, page)):
            return  # the frames of an animated PNG or WebP are no slices: the first one counts
        if page == limits.MAX_SLICES:
            raise UnreadableScan(f"The TIFF has more than {limits.MAX_SLICES} pages. Export fewer slices at once.")
        check_shape(image.height, image.width)
        in_all += image.width * image.height
        check_in_all(in_all)
        yield _gray(image, kind)


@contextmanager
def _pillow_refusals(kind: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a refusal. Only calls of Pillow stand inside: no error of ours hides in it."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own cap, far above ours, strikes while it opens the file
        raise too_large() from error
    except Exception as error:  # its parsers let through whatever they stumble over: struct.error, KeyError...
        raise UnreadableScan(
            f"The file begins like a {kind} image but is damaged or incomplete. Export it again."
        ) from error


def _turn_to(tiff: Image.Image, page: int) -> bool:
    """Whether there is such a page; the image then stands at it."""
    with _pillow_refusals("TIFF"):
        try:
            tiff.seek(page)
        except EOFError:
            return False
    return True


def _gray(image: Image.Image, kind: str) -> np.ndarray:
    """Decode the current page to a (height, width) array."""
    with _pillow_refusals(kind):
        cut_to_8_bit = bool(image.tile) and ";16" in str(image.tile[0][3]) and len(image.getbands()) > 1
        image.load()
        orientation = _orientation(image)
        white_is_zero = kind == "TIFF" and image.tag_v2.get(PHOTOMETRIC_TAG) == 0
        deep = image.mode.startswith(("I", "F"))
        pixels = np.asarray(image if deep else _luminance(image))
    if deep:
        pixels = pixels.astype(np.uint16 if image.mode.startswith("I;16") else np.float32)  # big-endian becomes native
        hidden = image.info.get("transparency")  # PNG's one transparent gray
        if isinstance(hidden, int):
            pixels[pixels == hidden] = 0
        if white_is_zero:  # Pillow inverts such pages at 8 bit only
            pixels = np.invert(pixels) if pixels.dtype == np.uint16 else -pixels
        pixels = _finite(pixels)
    elif cut_to_8_bit and pixels.max() < FEWEST_LEVELS:
        raise UnreadableScan(
            "The image is 16-bit color, of which too few gray levels can be read. Export it as 16-bit grayscale PNG."
        )
    return np.ascontiguousarray(UPRIGHT.get(orientation, np.asarray)(pixels))


def _finite(pixels: np.ndarray) -> np.ndarray:
    """What is no number becomes the darkest gray that is one, the infinitely bright the brightest."""
    are_numbers = np.isfinite(pixels)
    if are_numbers.all():
        return pixels
    darkest, brightest = (pixels[are_numbers].min(), pixels[are_numbers].max()) if are_numbers.any() else (0, 0)
    return np.nan_to_num(pixels, nan=darkest, posinf=brightest, neginf=darkest)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a picture with broken EXIF is still a picture: show it as stored
        return 1


def _luminance(image: Image.Image) -> Image.Image:
    """8-bit gray of an image of any 8-bit mode, laid on black where it is transparent."""
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return ImageChops.multiply(layers.convert("L"), layers.getchannel("A"))
    return image.convert("RGB").convert("L")  # by way of RGB: palettes, CMYK and Lab have no direct way to gray
