"""Files that are small and claim, or hold, far more than a server has: each a function that returns its bytes."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

MEGABYTE = 2**20


def png_of_144_million_pixels() -> bytes:
    """140 kB."""
    rows = zlib.compress(bytes(12000 * 12001))
    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def png_with_a_profile_that_expands() -> bytes:
    """A small picture whose color profile and text inflate to 200 MB each."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    endless = deflated_zeros(200)
    content = b"\x89PNG\r\n\x1a\n"
    chunks = (
        (b"IHDR", header),
        (b"iCCP", b"profile\0\0" + endless),
        (b"zTXt", b"Comment\0\0" + endless),
        (b"IDAT", zlib.compress(bytes(64 * 65))),
        (b"IEND", b""),
    )
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def deflated_zeros(megabytes: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """A zlib stream (raw deflate if `wbits` is negative) of that many zero bytes, made without compressing them all."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = compressor.compress(bytes(MEGABYTE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(MEGABYTE)) + compressor.flush(zlib.Z_FULL_FLUSH)  # stands for itself, anywhere
    if wbits < 0:
        return start + block * (megabytes - 1) + b"\x03\0"
    checksum = 1 + (megabytes * MEGABYTE % 65521 << 16)  # Adler-32 of zeros
    return start + block * (megabytes - 1) + b"\x03\0" + struct.pack(">I", checksum)


def nifti_header(shape: tuple[int, ...], datatype: int = 4, bits: int = 16) -> bytes:
    """352 bytes of a NIfTI-1 header (int16 unless told otherwise), axial, 1 mm; `shape` is not checked."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, datatype, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<2h", header, 252, 0, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    return bytes(header)


def gzip_that_claims_4_gib() -> bytes:
    """One compressed kilobyte, with a trailer that says 4 GiB and a NIfTI header that says 8."""
    content = bytearray(gzip.compress(nifti_header((2048, 2048, 1024)) + bytes(1000)))
    content[-4:] = b"\xff\xff\xff\xff"
    return bytes(content)


def gzip_that_holds_4_gib(start: bytes = b"") -> bytes:
    """4 MB: `start`, then a member of 16 MB of zeros, again and again."""
    return gzip.compress(start) + gzip.compress(bytes(16 * MEGABYTE)) * 256


def gzip_that_holds_more_than_its_volume() -> bytes:
    """A volume of 64 x 64 x 20 voxels, then 4 GiB that belong to nothing."""
    voxels = np.arange(64 * 64 * 20, dtype="<i2").tobytes()
    return gzip_that_holds_4_gib(nifti_header((64, 64, 20)) + voxels)


def zip_in_zip(levels: int, innermost: bytes, copies: int = 1) -> bytes:
    content, name = innermost, "slice.png"
    for _ in range(levels):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for copy in range(copies):
                archive.writestr(f"{copy}/{name}", content)
        content, name = buffer.getvalue(), "more.zip"
    return content


def zip_with_entries(count: int, data: bytes = b"", claimed: int | None = None, apart: bool = False) -> bytes:
    """An archive whose directory lists the one file in it `count` times.

    `data` is raw deflate, or nothing for empty files; `claimed` is the size that the headers state; `apart` gives each
    entry a copy of its own instead of the same bytes.
    """
    method = 8 if data else 0
    facts = struct.pack("<HHHHHIII", 20, 0, method, 0, 33, 0, len(data), claimed or 0)
    files, directory = [], []
    for number in range(count):
        name = f"{number:07}.dcm".encode()
        place = sum(map(len, files)) if apart else 0
        if apart or not files:
            files.append(b"PK\x03\x04" + facts + struct.pack("<HH", len(name), 0) + name + data)
        numbers = struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, place)
        directory.append(b"PK\x01\x02" + struct.pack("<H", 20) + facts + numbers + name)
    body, listed = b"".join(files), b"".join(directory)
    if count < 65535:
        return body + listed + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(listed), len(body), 0)
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(listed), len(body))
    end += struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(listed), 1)
    end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    return body + listed + end


def tiff_with_a_loop(pixels: np.ndarray, pages: int) -> bytes:
    """A TIFF whose last page names the first one as the next."""
    first, *others = [Image.fromarray(pixels)] * pages
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    content = bytearray(buffer.getvalue())
    place = start = int.from_bytes(content[4:8], "little")
    while place:
        after = place + 2 + 12 * int.from_bytes(content[place : place + 2], "little")
        place = int.from_bytes(content[after : after + 4], "little")
    content[after : after + 4] = start.to_bytes(4, "little")
    return bytes(content)
