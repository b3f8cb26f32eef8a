"""Every bomb by its name."""

from collections.abc import Callable
from functools import partial

from . import bombs, dicom_bombs
from .valid import drawn, picture

BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG of 144 million pixels": bombs.png_of_144_million_pixels,
    "PNG whose profile expands": bombs.png_with_a_profile_that_expands,
    "gzip that claims 4 GiB": bombs.gzip_that_claims_4_gib,
    "gzip that holds 4 GiB": bombs.gzip_that_holds_4_gib,
    "gzip that holds 4 GiB behind a header of 2": partial(
        bombs.gzip_that_holds_4_gib, bombs.nifti_header((1024, 1024, 1024))
    ),
    "ZIP in ZIP in ZIP": partial(bombs.zip_in_zip, 12, picture("PNG", drawn(48))),
    "ZIP of ZIPs": partial(bombs.zip_in_zip, 4, bytes(1024), 8),
    "ZIP of 100,000 entries": partial(bombs.zip_with_entries, 100_000),
    "ZIP of one entry, 1 GiB": partial(bombs.zip_with_entries, 1, bombs.deflated_zeros(1024, -15), 2**30),
    "ZIP of one entry, 1 GiB, said to be small": partial(
        bombs.zip_with_entries, 1, bombs.deflated_zeros(1024, -15), 99
    ),
    "ZIP of 200 entries that share 200 MiB": partial(
        bombs.zip_with_entries, 200, bombs.deflated_zeros(200, -15), 200 * 2**20
    ),
    "ZIP of 40 entries, 40 MiB each": partial(
        bombs.zip_with_entries, 40, bombs.deflated_zeros(40, -15), 40 * 2**20, apart=True
    ),
    "DICOM of 1,000,000 frames": partial(dicom_bombs.with_tags, NumberOfFrames=10**6),
    "DICOM of 2,000,000,000 frames": partial(dicom_bombs.with_tags, NumberOfFrames=2 * 10**9),
    "DICOM that inflates to 4 GiB": dicom_bombs.deflated_to_4_gib,
    "DICOM with a larger JPEG in it": partial(dicom_bombs.picture_larger_than_claimed, "JPEG"),
    "DICOM with a larger JPEG 2000 in it": partial(dicom_bombs.picture_larger_than_claimed, "JPEG2000"),
}
