"""What a file is, by its first bytes; its name counts only where they say nothing."""

import re
import struct
from pathlib import PurePath

from . import limits
from .scan import UnreadableScan

READABLE = "PNG, JPEG, TIFF, BMP, WebP, GIF, DICOM or NIfTI"  # alone, or in a ZIP
ENOUGH = 512  # bytes by which every kind is known

STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "ZIP",
    b"PK\x05\x06": "ZIP",  # one without entries
}
PICTURES = ("PNG", "JPEG", "TIFF", "BMP", "WebP", "GIF")

EXPORT = "Export the slice as DICOM, PNG or JPEG and upload that."
UNPACK = "Unpack it and upload the files in it."
AS_DICOM = "Export it as DICOM files (.dcm) and upload those."
WITH_MRI_CONVERT = "Convert it to NIfTI (mri_convert in.mgz out.nii.gz) and upload that."
WITH_SLICER = "Convert it to NIfTI (open it in 3D Slicer or ITK-SNAP and save it as .nii.gz) and upload that."
WITH_DCM2NIIX = "Convert it to NIfTI (dcm2niix -z y file.PAR) and upload that."
WITH_AFNI = "Convert it to NIfTI (3dAFNItoNIFTI in+orig) and upload that."
WITH_MINC = "Convert a MINC volume to NIfTI (mnc2nii in.mnc out.nii) and upload that; of other HDF5, export the slices."
FROM_MATLAB = "Write the volume as NIfTI (niftiwrite(volume, 'out.nii')) or each slice as PNG and upload that."
FROM_NUMPY = "Write the volume as NIfTI (with nibabel) or each slice as PNG and upload that."
AS_ONE_FILE = "Convert both files to one NIfTI file (mri_convert in.img out.nii.gz) and upload that."
AS_PNG = "Save it as PNG and upload that."
AS_FILES = "Save each of its parts as a .dcm file of its own and upload those."

# Scans and archives that are not read: what they begin with, what they are called, what to do.
NOT_READ = [
    (rb".{344}ni1\0|.{4}ni2\0", "the header of a NIfTI pair (.hdr and .img)", AS_ONE_FILE),
    (rb"\x5c\x01\0\0|\0\0\x01\x5c", "the header of an Analyze pair (.hdr and .img)", AS_ONE_FILE),
    (rb"\0\0\0\x01(\0\0..){4}\0\0\0[\0\1\3\4]", "a FreeSurfer volume (MGH or MGZ)", WITH_MRI_CONVERT),
    (rb"\s*(ObjectType|NDims|Comment)\s*=", "a MetaImage volume (MHA or MHD)", WITH_SLICER),
    (rb"NRRD", "an NRRD volume", WITH_SLICER),
    (rb".{252}(\xef\xff\xe9\xb0|\x2a\xe3\x89\xb8)", "a GIPL volume", WITH_SLICER),
    (rb"# vtk DataFile|<VTKFile", "a VTK file", WITH_SLICER),
    (rb"\x89HDF\r\n|CDF[\1\2\5]", "a MINC or other HDF5 or netCDF file", WITH_MINC),
    (rb"MATLAB \d", "a MATLAB file", FROM_MATLAB),
    (rb"\x93NUMPY", "a NumPy array", FROM_NUMPY),
    (rb"#[^\n]{0,80}DATA DESCRIPTION FILE|<PRIDE_V5", "the header of a Philips PAR/REC", WITH_DCM2NIIX),
    (rb"\s*type\s*=\s*(string|integer|float)-attribute", "the header of an AFNI dataset (HEAD and BRIK)", WITH_AFNI),
    (rb"\s*--[^\r\n]{1,200}\r?\n(?i:content-)|(?i:content-type|mime-version):", "an answer of several parts", AS_FILES),
    (rb"\s*\[?\s*\{\s*\"[0-9A-Fa-f]{8}\"\s*:", "DICOM written as JSON", AS_DICOM),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(NativeDicomModel|file-format)", "DICOM written as XML", AS_DICOM),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image", EXPORT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image", AS_PNG),
    (rb".{4}ftyp(avi[fs]|hei|hev|mif|msf)", "a HEIC or AVIF photo", AS_PNG),
    (rb".{4}ftyp|RIFF....AVI |\x1a\x45\xdf\xa3", "a video", EXPORT),
    (rb"P[1-6]\s+[#\d]|P7\n", "a Netpbm image", AS_PNG),
    (rb"8BPS", "a Photoshop image", AS_PNG),
    (rb".{257}ustar", "a tar archive", UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (rb"Rar!", "a RAR archive", UNPACK),
    (rb"\xfd7zXZ\0", "an xz archive", UNPACK),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (rb"BZh[1-9]", "a bzip2 archive", UNPACK),
]
# What lies beside scans on a patient's disc.
NO_SCANS = [
    (rb"%PDF-", "a PDF document", EXPORT),
    (rb"\xd0\xcf\x11\xe0", "an old Office document", EXPORT),
    (rb"\s*<(?i:!doctype html|html)", "a web page", EXPORT),
    (rb"MZ|\x7fELF|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program", EXPORT),
    (rb"\0\x05\x16[\0\7]", "what macOS notes of a file", "Upload the file of the same name without ._ before it."),
]
OF_ZIP = rb"PK\x03\x04.{26}(META-INF/|\[Content_Types\]|mimetype)"  # which Java programs and Office documents are, too
APPLE_DOUBLE = b"\0\x05\x16\7"
NO_TEXT = re.compile(rb"[^\t\n\f\r\x20-\xff]")
SCAN_SUFFIXES = {
    *("dcm", "dicom", "ima", "nii", "gz", "zip", "png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "gif"),
    *("img", "hdr", "rec", "par", "head", "brik", "mgh", "mgz", "mha", "mhd", "mnc", "nrrd", "nhdr", "gipl", "mat"),
}
OTHER_SUFFIXES = {  # of what else is on a patient's disc
    *("exe", "dll", "ocx", "sys", "so", "dylib", "jar", "class", "msi", "cab", "bat", "cmd", "sh", "inf", "ini", "cfg"),
    *("dat", "bin", "db", "mdb", "log", "lnk", "ico", "icns", "cur", "ttf", "otf", "woff", "chm", "hlp", "htm", "html"),
    *("css", "js", "json", "xml", "xsl", "txt", "rtf", "md", "csv", "pdf", "doc", "docx", "xls", "xlsx", "wav", "mp3"),
}
DICOM_FIRST_GROUPS = (b"\x08\0", b"\x02\0")  # without a preamble, a data set starts with one of them (PS3.10, 7.1)


class Unrecognized(UnreadableScan):
    """A file of a kind that is not read here."""


class Recognized(Unrecognized):
    """One whose kind is known: it is not damaged."""


def is_no_scan(name: str, start: bytes) -> bool:
    """Whether a file, met beside others, is none that anybody would miss: a program, a help page, an icon.

    What begins or is named like a scan is one, damaged as it may be; so is what neither begins nor is named like what
    lies beside scans.

    Args: `name`, the last part of its path; `start`, the first `ENOUGH` bytes, fewer if it is shorter.
    """
    try:
        kind = kind_of(start)
        return _is_icon(start, kind) or (kind == "ZIP" and bool(re.match(OF_ZIP, start, re.DOTALL)))
    except Unrecognized:
        suffix = PurePath(name).suffix[1:].lower()
        if start.startswith(APPLE_DOUBLE):  # it has the name of another file
            return True
        if suffix in SCAN_SUFFIXES or _first_of(NOT_READ, start):
            return False
        is_text = bool(start.strip()) and not NO_TEXT.search(start)
        return suffix in OTHER_SUFFIXES or is_text or _first_of(NO_SCANS, start) is not None


def kind_of(start: bytes) -> str:
    """One of PICTURES, "DICOM", "NIfTI", "gzip" or "ZIP". `start`: the first `ENOUGH` bytes.

    Raises: Unrecognized for every other kind, by its name where we know it.
    """
    if start[128:132] == b"DICM":  # first: the 128 bytes before it may begin like a TIFF
        return "DICOM"
    if start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0":
        return "NIfTI"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WebP"
    kind = next((kind for first, kind in STARTS.items() if start.startswith(first)), None)
    if kind:
        return kind
    if _looks_like_a_data_set(start):
        return "DICOM"
    if recognized := _first_of(NOT_READ + NO_SCANS, start):
        name, remedy = recognized
        raise Recognized(f"This is {name}, which cannot be read here. {remedy}")
    raise Unrecognized(f"This is no image that can be read here. {EXPORT}")


def _first_of(kinds: list[tuple[bytes, str, str]], start: bytes) -> tuple[str, str] | None:
    """Name and remedy of the first kind that `start` fits."""
    return next((tuple(rest) for pattern, *rest in kinds if re.match(pattern, start, re.DOTALL)), None)


def _is_icon(start: bytes, kind: str) -> bool:
    """Whether it is a picture too small for a slice, of a kind that says so at once."""
    place, sides = {"PNG": (16, ">2I"), "GIF": (6, "<2H"), "BMP": (18, "<2i")}.get(kind, (0, ""))
    if not sides or len(start) < place + struct.calcsize(sides):
        return False
    return 0 < min(map(abs, struct.unpack_from(sides, start, place))) < limits.MIN_SIDE


def _looks_like_a_data_set(start: bytes) -> bool:
    """Whether the first element is one that a DICOM file without preamble could begin with."""
    if len(start) < 16 or not start.startswith(DICOM_FIRST_GROUPS) or start[3]:
        return False
    has_type = start[4:6].isalpha() and start[4:6].isupper()  # explicit: two letters name the type of the value
    return has_type or int.from_bytes(start[4:8], "little") < 256  # implicit: four bytes give the length of the value
