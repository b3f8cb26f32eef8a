"""What lies beside scans on a patient's disc, and what might be a damaged one: contents by name."""

import io
import struct

from PIL import Image

from tests.dicom_files import dicom, slice_12_bit


def _icon(file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, file_format)
    return buffer.getvalue()


NO_SCANS = {
    ".DS_Store": b"\0\0\0\1Bud1" + bytes(64),
    "._scan.png": b"\0\5\x16\7" + bytes(64),
    "scan copy.png": b"\0\5\x16\7" + bytes(64),  # of an archive that shows hidden files
    "__MACOSX/scan.png": b"\0\5\x16\7" + bytes(64),
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64),
    "desktop.ini": b"[.ShellClassInfo]\r\n",
    "autorun.inf": b"[autorun]\r\nopen=viewer.exe\r\n",
    "viewer.exe": b"MZ\x90\0" + bytes(64),
    "viewer.dll": b"MZ\x90\0" + bytes(64),
    "viewer.jar": b"PK\3\4" + struct.pack("<5H3L2H", 20, 0, 0, 0, 0, 0, 0, 0, 9, 0) + b"META-INF/" + bytes(64),
    "VIEWER": b"\x7fELF\2\1\1" + bytes(64),
    "data.cab": b"MSCF" + bytes(64),
    "help/index.html": b"<!DOCTYPE html><html>",
    "help/style.css": b"body { color: black }",
    "help/script.js": b"var page = 1;",
    "help/logo.gif": _icon("GIF"),
    "help/logo.png": _icon("PNG"),
    "help/logo.bmp": _icon("BMP"),
    "help/font.ttf": b"\0\1\0\0" + bytes(64),
    "report.pdf": b"%PDF-1.4\n",
    "report.txt": b"Normal findings.",
    "report.xml": b"<?xml version='1.0'?><report/>",
    "report.docx": b"PK\3\4" + struct.pack("<5H3L2H", 20, 0, 0, 0, 0, 0, 0, 0, 19, 0) + b"[Content_Types].xml",
    "README": b"Put this disc into your computer.",
    "empty.log": b"",
}
BROKEN_SCANS = {
    "empty.dcm": b"",
    "empty.nii": b"",
    "IM0002": b"",
    "1.2.840.113619.2.5": bytes(600),  # a UID, wiped
    "IM0003": dicom(slice_12_bit())[:400],
    "text.png": b"not a picture",
    "page.dcm": b"<!DOCTYPE html><title>404</title>",
    "head.mgh": struct.pack(">7ih", 1, 256, 256, 256, 1, 0, 0, 1) + bytes(300),
    "head.nrrd": b"NRRD0004\n",
    "series.tar": bytes(257) + b"ustar\0" + bytes(300),
    "series.json": b'[{"00080005": {"vr": "CS"}}]',
    "head.img": bytes(600),
}
