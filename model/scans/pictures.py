"""Pictures (PNG, JPEG, TIFF, BMP, WebP, GIF) -> gray slices, as bright and as turned as a viewer shows them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import count
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..marks import has_color
from . import limits
from .geometry import resized
from .grays import sentinels, without_special
from .scan import Omission, Scan, UnreadableScan
from .sources import Source

PHOTOMETRIC_TAG = 262  # TIFF 6.0, section 3: 0 means that white is stored as zero
SUBFILE_TAG, REDUCED_OR_MASK = 254, 0b101  # TIFF 6.0, section 8: bits that say that a page is no slice
SUB_PAGES_TAG = 330  # TIFF, supplement 1: pages within a page
BIG_TIFF = 43  # in the third byte, where other TIFF files have 42
DEPTH_TAG, DESCRIPTION_TAG = 32997, 270  # where programs say that one page stands for many slices
OF_IMAGEJ = re.compile(r"ImageJ=.*?\bimages=(\d{1,9})\b", re.DOTALL)
FEWEST_LEVELS = 64  # gray levels that are left of 16-bit color (which Pillow cuts to 8 bit) for a slice to be of use
COARSE = 24  # pixels on each side at which pages of several sizes are first compared
ALIKE = 0.98  # correlation of a page with a smaller copy of it

COPY = "A smaller copy of another page, or a mask for one, is no slice."
OF_CAMERA = "What a camera stores beside its main picture (previews, views from aside) is no slice."
WITHIN_A_PAGE = "They are hidden in a page of the TIFF. Save each slice as a page or a file of its own."
DAMAGED = "The file begins like a {} image but is damaged or incomplete. Export it again."
TOO_FEW_LEVELS = (
    "The image is 16-bit color, of which too few gray levels can be read. Export it as 16-bit grayscale PNG."
)


class Page(NamedTuple):
    """A (height, width) array, whether its tags call it a smaller copy of another or a mask, and whether something is
    drawn on it in color.
    """

    pixels: np.ndarray
    is_aside: bool
    is_marked: bool


def read_picture(source: Source, kind: str) -> Scan:
    """Every page of a TIFF, every frame of an animation, or the one slice of another picture.

    16-bit and float pixels keep their values, transparency lies on black, EXIF orientation is applied, color becomes
    luminance (ITU-R 601). What is no slice, or cannot be read beside others, is omitted.

    Args: `kind`, as `kinds.kind_of` names it.
    Raises: UnreadableScan if there is no slice that can be read, or more than the limits allow.
    """
    found = list(_pages(source.content(), kind))
    pages = [page for page in found if isinstance(page, Page)]
    omitted = [omission for omission in found if isinstance(omission, Omission)]
    kept = _without_copies(pages)
    slices = []
    for page in kept:
        try:
            limits.check_shape(*page.pixels.shape)
            slices.append(page)
        except UnreadableScan as error:
            omitted.append(Omission(1, str(error)))
    if not slices:
        raise UnreadableScan(next(omission.reason for omission in omitted if not omission.other_picture))
    if len(kept) < len(pages):
        omitted.append(Omission(len(pages) - len(kept), COPY, other_picture=True))
    counts = Counter()
    for omission in omitted:
        counts[omission[1:]] += omission.count
    return Scan(
        [page.pixels for page in slices],
        source.name,
        kind=kind,
        omitted=tuple(Omission(n, *why) for why, n in counts.items()),
        marked=tuple(i for i, page in enumerate(slices) if page.is_marked),
    )


def _pages(content: bytes, kind: str) -> Iterator[Page | Omission]:
    """What a viewer shows, page by page or frame by frame, and what it does not show or cannot be read."""
    with _pillow_refusals(kind):
        image = Image.open(BytesIO(content), formats=[kind.upper()])
        promised = _promised(image, kind, len(content))
    if kind == "JPEG" and promised > 1:
        yield Omission(promised - 1, OF_CAMERA, other_picture=True)
    in_all = 0
    for page in count():
        try:
            if page and (kind == "JPEG" or not _turn_to(image, page, kind)):
                break
        except UnreadableScan as error:
            yield Omission(max(1, promised - page), str(error))
            return
        in_all += image.width * image.height
        _check_limits(image, kind, page, in_all)
        if kind == "TIFF":
            yield from _within(image, content)
        try:
            pixels = _gray(image, kind)
            yield Page(pixels, kind == "TIFF" and _is_aside(image.tag_v2), _is_marked(image, kind))
        except UnreadableScan as error:
            yield Omission(1 if kind == "TIFF" else max(1, promised - page), str(error))
            if kind != "TIFF":
                return  # the frames after it are drawn over it
    if kind == "GIF" and not content.rstrip(b"\0\r\n ").endswith(b";"):  # it was cut off between two frames
        promised = page + 1
    if page < promised and kind != "JPEG":
        yield Omission(promised - page, WITHIN_A_PAGE if kind == "TIFF" else DAMAGED.format(kind))


def _promised(image: Image.Image, kind: str, size: int) -> int:
    """How many pictures a file of `size` bytes has by its first header; 1 where that does not say it."""
    if kind != "TIFF":
        return 1 if kind == "GIF" else getattr(image, "n_frames", 1)
    depth, of_imagej = image.tag_v2.get(DEPTH_TAG), OF_IMAGEJ.match(str(image.tag_v2.get(DESCRIPTION_TAG)))
    images = int(of_imagej[1]) if of_imagej else 1
    if images * image.width * image.height > size:  # a page that was taken out of a stack may still name its number
        images = 1
    return max(depth if isinstance(depth, int) else 1, images)


def _within(tiff: Image.Image, content: bytes) -> Iterator[Omission]:
    """The pages within a page, which Pillow does not turn to."""
    with _pillow_refusals("TIFF"):
        offsets = tiff.tag_v2.get(SUB_PAGES_TAG, ())
    for offset in (offsets if isinstance(offsets, tuple) else (offsets,))[: limits.MAX_SLICES]:
        is_aside = False
        with suppress(UnreadableScan), _pillow_refusals("TIFF"):
            file = BytesIO(content)
            tags = ImageFileDirectory_v2(file.read(16 if content[2] == BIG_TIFF else 8))
            file.seek(offset)
            tags.load(file)
            is_aside = _is_aside(tags)
        yield Omission(1, COPY if is_aside else WITHIN_A_PAGE, is_aside)


def _is_aside(tags: ImageFileDirectory_v2) -> bool:
    subfile = tags.get(SUBFILE_TAG, 0)
    return isinstance(subfile, int) and bool(subfile & REDUCED_OR_MASK)


def _check_limits(image: Image.Image, kind: str, page: int, in_all: int) -> None:
    """Refuse, before it is decoded, a page that is too large, or one too many."""
    if page == limits.MAX_SLICES:
        pages = "pages" if kind == "TIFF" else "frames"
        raise UnreadableScan(f"The {kind} has more than {limits.MAX_SLICES} {pages}. Export fewer slices at once.")
    if image.width * image.height > limits.MAX_PIXELS:
        raise limits.too_large()
    limits.check_in_all(in_all)


def _without_copies(pages: Sequence[Page]) -> list[Page]:
    """The pages without smaller copies of others, which are known by their tags or by looking alike."""
    kept = [page for page in pages if not page.is_aside] or list(pages)
    if len({page.pixels.shape for page in kept}) < 2:
        return kept
    coarse = np.stack([_standard(page.pixels, COARSE, COARSE) for page in kept])
    alike = coarse @ coarse.T

    def is_copy(place: int) -> bool:
        height, width = kept[place].pixels.shape
        larger = [
            i
            for i, (rows, columns) in enumerate(page.pixels.shape for page in kept)
            if rows > height and columns > width and abs(rows * width - columns * height) <= max(rows, columns)
        ]
        if not larger:
            return False
        best = kept[max(larger, key=lambda i: alike[place, i])].pixels
        return _standard(best, height, width) @ _standard(kept[place].pixels, height, width) >= ALIKE

    return [page for place, page in enumerate(kept) if not is_copy(place)]


def _standard(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """In that size, flat, of mean 0 and length 1, or all 0: the product of two is their correlation."""
    flat = resized(pixels, height, width).ravel().astype(np.float64)
    flat -= flat.mean()
    return flat / max(np.linalg.norm(flat), 1e-9)


@contextmanager
def _pillow_refusals(kind: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a refusal. Only calls of Pillow stand inside: no error of ours hides in it."""
    try:
        yield
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own cap, far above ours, strikes while it opens the file
        raise limits.too_large() from error
    except Exception as error:  # its parsers let through whatever they stumble over: struct.error, KeyError...
        raise UnreadableScan(DAMAGED.format(kind)) from error


def _turn_to(image: Image.Image, page: int, kind: str) -> bool:
    """Whether there is such a page or frame; the image then stands at it."""
    with _pillow_refusals(kind):
        try:
            image.seek(page)
        except EOFError:
            return False
    return True


def _gray(image: Image.Image, kind: str) -> np.ndarray:
    """Decode the current page to a (height, width) array."""
    with _pillow_refusals(kind):
        cut_to_8_bit = bool(image.tile) and ";16" in str(image.tile[0][3]) and len(image.getbands()) > 1
        image.load()
        white_is_zero = kind == "TIFF" and image.tag_v2.get(PHOTOMETRIC_TAG) == 0
        deep = image.mode.startswith(("I", "F"))
        upright = image
        with suppress(Exception):  # a picture with broken EXIF is still a picture: show it as stored
            upright = ImageOps.exif_transpose(image)
        pixels = np.ascontiguousarray(upright if deep else _luminance(upright))
    if deep:
        pixels = pixels.astype(np.uint16 if image.mode.startswith("I;16") else np.float32)  # big-endian becomes native
        hidden = image.info.get("transparency")  # PNG's one transparent gray
        if isinstance(hidden, int):
            pixels[pixels == hidden] = 0
        padding = sentinels(pixels) if pixels.dtype == np.float32 else ()
        if white_is_zero:  # Pillow inverts such pages at 8 bit only
            pixels = np.invert(pixels) if pixels.dtype == np.uint16 else -pixels
            padding = tuple(-value for value in padding)
        if pixels.dtype == np.float32:
            pixels = without_special(pixels, padding)
    elif cut_to_8_bit and pixels.max() < FEWEST_LEVELS:
        raise UnreadableScan(TOO_FEW_LEVELS)
    return pixels


def _is_marked(image: Image.Image, kind: str) -> bool:
    """Whether something is drawn in color on a page that was decoded."""
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return False
    with _pillow_refusals(kind):
        colors = image.convert("RGB")
        if image.has_transparency_data:  # what is hidden has a color, too
            hidden = ImageChops.invert(image.convert("RGBA").getchannel("A"))
            colors.paste(0, mask=hidden)
        return has_color(np.asarray(colors))


def _luminance(image: Image.Image) -> Image.Image:
    """8-bit gray of an image of any 8-bit mode, laid on black where it is transparent."""
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        return ImageChops.multiply(layers.convert("L"), layers.getchannel("A"))
    return image.convert("RGB").convert("L")  # by way of RGB: palettes, CMYK and Lab have no direct way to gray
