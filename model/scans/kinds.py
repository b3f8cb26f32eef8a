"""What a file is, told by its first bytes, never by its name."""

from .scan import UnreadableScan

READABLE = "PNG, JPEG, TIFF, BMP, WebP, DICOM or NIfTI"  # alone, or in a ZIP
ADVICE = "Export the slice as DICOM, PNG or JPEG and upload that."
ENOUGH = 512  # bytes that tell every kind

STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP",  # one without entries
}
PICTURES = ("PNG", "JPEG", "TIFF", "BMP", "WebP")
RECOGNIZED = {  # but not read; named with their article
    b"%PDF-": "a PDF document",
    b"GIF8": "a GIF image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"\xff\x4f\xff\x51": "a JPEG 2000 image",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"NRRD": "an NRRD volume",
}
DICOM_FIRST_GROUPS = (b"\x08\0", b"\x02\0")  # without a preamble, a data set starts with one of them (PS3.10, 7.1)


class Unrecognized(UnreadableScan):
    """A file of a kind that is not read here."""


def kind_of(start: bytes) -> str:
    """One of PICTURES, "DICOM", "NIfTI", "gzip" or "ZIP". `start`: the first `ENOUGH` bytes.

    Raises: Unrecognized for every other kind, by its name where we know it.
    """
    if start[128:132] == b"DICM":  # first: the 128 bytes before it may begin like a TIFF
        return "DICOM"
    if start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0":
        return "NIfTI"
    if start[344:348] == b"ni1\0" or start[4:8] == b"ni2\0":
        raise Unrecognized(
            "This is the header of a NIfTI pair (.hdr and .img). Convert the pair to one .nii file and upload that."
        )
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WebP"
    kind = next((kind for first, kind in STARTS.items() if start.startswith(first)), None)
    if kind:
        return kind
    if _looks_like_a_data_set(start):
        return "DICOM"
    recognized = "a HEIC or AVIF photo or a video" if start[4:8] == b"ftyp" else None
    recognized = recognized or next((kind for first, kind in RECOGNIZED.items() if start.startswith(first)), None)
    if recognized:
        raise Unrecognized(f"This is {recognized}, which cannot be read here. {ADVICE}")
    raise Unrecognized(f"This is no image that can be read here. {ADVICE}")


def _looks_like_a_data_set(start: bytes) -> bool:
    """Whether the first element is one that a DICOM file without preamble could begin with."""
    if len(start) < 16 or not start.startswith(DICOM_FIRST_GROUPS) or start[3]:
        return False
    has_type = start[4:6].isalpha() and start[4:6].isupper()  # explicit: two letters name the type of the value
    return has_type or int.from_bytes(start[4:8], "little") < 256  # implicit: four bytes give the length of the value
