"""What a file may hold, claim and unpack to. Every limit is checked before what it limits is decoded or kept."""

from .scan import UnreadableScan

MAX_BYTES = 100 * 2**20  # of one file: a zipped series of 400 slices of 512 x 512 is 60 MB
MAX_PIXELS = 24_000_000  # of one slice: a phone's photo of a film; a bomb of 140 kB decodes to six times as many
MAX_PIXELS_JPEG_2000 = 12_000_000  # of one such slice: its decoder holds 24 bytes a pixel, and is the slowest
MAX_PIXELS_IN_ALL = 64_000_000  # of one scan: 244 slices of 512 x 512, which take 128 MB in 16 bits
MAX_SLICES = 512  # of one scan: twice the slices of an isotropic head volume
MAX_FRAMES = 4096  # that one DICOM file may claim: 60 slices in 64 diffusion directions, of which the first 60 are read
MAX_FILES = 4096  # in one upload: a whole examination of the head is 500 to 3,000 files
MAX_ZIP_ENTRIES = 8192  # as MAX_FILES, and what else is on a hospital's disc: viewers, help pages
MAX_EXPANDED_BYTES = 512 * 2**20  # of one archive: 64 million voxels of 8 bytes; inflating more takes too many seconds
MAX_ZIP_RATIO = 100  # of bytes in all entries to bytes of the ZIP: black slices compress 20-fold, zip bombs 1000-fold
MAX_NESTING = 2  # archives around a file: a ZIP, and the gzip of a .nii.gz in it; nobody exports a ZIP in a ZIP
MAX_BYTES_AT_ONCE = 256 * 2**20  # of the decoded slices of one upload, which wait in memory until all are judged
MAX_TILES = 4096  # of one JPEG 2000 picture: 24 million pixels in tiles of 77 x 77; each costs its decoder memory
MIN_SIDE = 32  # pixels: fewer show no anatomy
MAX_ASPECT = 4  # longer to shorter side: no slice is a stripe, and preprocessing pads to a square
MAX_NAME = 120  # characters of a name that is shown: a table's cell holds no more


def check_bytes(size: int) -> None:
    """Raises UnreadableScan if a file of that many bytes is empty or too large."""
    if not size:
        raise UnreadableScan("The file is empty (0 bytes). Export it again and upload that.")
    if size > MAX_BYTES:
        raise UnreadableScan(
            f"The file is larger than {MAX_BYTES // 2**20} MB. Export single slices, or fewer, and upload those."
        )


def check_shape(height: int, width: int) -> None:
    """Raises UnreadableScan if a slice of that many pixels is too large, a thumbnail or a stripe."""
    if width * height > MAX_PIXELS:
        raise too_large()
    if min(height, width) < MIN_SIDE:
        raise UnreadableScan(
            f"The image has only {width} x {height} pixels; at least {MIN_SIDE} on each side are needed. "
            "Upload the slice itself, not a thumbnail."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise UnreadableScan(
            f"The image is a stripe of {width} x {height} pixels, not a slice. Crop it to one slice and upload that."
        )


def check_in_all(pixels: int, slices: int = 1) -> None:
    """Raises UnreadableScan if a scan of that many pixels and slices in all is too large."""
    if slices > MAX_SLICES:
        raise UnreadableScan(f"The scan has more than {MAX_SLICES} slices. Export fewer slices at once.")
    if pixels > MAX_PIXELS_IN_ALL:
        raise UnreadableScan(
            f"The slices have more than {MAX_PIXELS_IN_ALL // 10**6} million pixels in all. "
            "Export fewer slices at once, or smaller ones."
        )


def fits(count: int, height: int, width: int) -> bool:
    """Whether that many slices of that many pixels are within the limits."""
    try:
        check_shape(height, width)
        check_in_all(count * height * width, count)
    except UnreadableScan:
        return False
    return True


def too_large() -> UnreadableScan:
    """The refusal of an image with more than `MAX_PIXELS`."""
    return UnreadableScan(
        f"The image has more than {MAX_PIXELS // 10**6} million pixels. Crop it to one slice, or scale it down."
    )
