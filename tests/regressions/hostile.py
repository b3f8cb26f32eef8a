"""Hostile uploads of our own making, thousands of them: `FAMILIES`, by name, each from a seed.

What is random is drawn from a generator that is seeded by `seed` and the kind of file, so that an upload can be made
again from its seed, family and `what`.
"""

import bz2
import gzip
import io
import lzma
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
from nibabel import Nifti2Image
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames

from tests import nifti_files
from tests.dicom_files import dicom, enhanced, retagged, without_preamble, zipped

from .bombs import MEGABYTE, deflated_zeros, nifti_header, zip_in_zip, zip_with_entries
from .catalog import BOMBS
from .dicom_bombs import CONTRADICTIONS, many_fragments, nested, run_lengths_without_end, window_table_of_nothing
from .valid import VALID, drawn, in_8_bits, nifti, picture

Files = Iterator[tuple[str, bytes]]  # what it is, the content of the one file that is uploaded
BOUNDARY = "----siege"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
COMPRESSED = ("RLE", "JPEG Baseline", "JPEG Extended", "JPEG Lossless", "JPEG-LS", "JPEG 2000")
SIDES = (48, 64, 80, 96, 128, 144)  # of the valid files: where such a number stands, a size is said
GOOD = "good.png"  # in an upload with bad neighbors: must be answered all the same
FRAMES = np.stack([drawn(48, seed) for seed in range(3)])
COLORS = np.stack([in_8_bits(128)] * 3, -1)


class Upload(NamedTuple):
    """`body`, of `content_type`, is what is sent. Whether it holds a valid file named GOOD: `has_good`."""

    what: str
    body: bytes
    content_type: str = FORM
    has_good: bool = False


def form(*files: tuple[str, bytes]) -> bytes:
    """The body of an upload of files, each a name and a content; names are sent as they are, escaped in no way."""
    return b"".join(part(f'form-data; name="files"; filename="{name}"', content) for name, content in files) + END


def part(disposition: str, content: bytes, headers: bytes = b"") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n".encode("utf-8", "surrogatepass")
    return head + headers + b"\r\n" + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def animated(file_format: str) -> bytes:
    buffer, frames = io.BytesIO(), [Image.fromarray(pixels) for pixels in (COLORS, COLORS[::-1])]
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


KINDS: dict[str, Callable[[], bytes]] = VALID | {
    "PNG, color and alpha": lambda: picture("PNG", np.dstack([COLORS, in_8_bits(128)])),
    "JPEG, progressive": lambda: picture("JPEG", COLORS, progressive=True),
    "TIFF, BigTIFF of pages": lambda: picture("TIFF", drawn(48), pages=3, big_tiff=True),
    "TIFF, deflate": lambda: picture("TIFF", drawn(), compression="tiff_adobe_deflate"),
    "TIFF, JPEG": lambda: picture("TIFF", in_8_bits(128), compression="jpeg"),
    "TIFF, PackBits, color": lambda: picture("TIFF", COLORS, compression="packbits"),
    "BMP, color": lambda: picture("BMP", COLORS),
    "WebP, lossy": lambda: picture("WEBP", COLORS),
    **{f"{kind}, animated": partial(animated, kind) for kind in ("PNG", "WebP", "GIF")},
    "DICOM without preamble": lambda: without_preamble(dicom(drawn(48), "implicit")),
    "DICOM, color": lambda: dicom(COLORS),
    "DICOM, enhanced": lambda: enhanced(FRAMES, [0, 2, 4]),
    "DICOM of frames, JPEG Baseline": lambda: dicom((FRAMES // 16).astype(np.uint8), "JPEG Baseline"),
    **{f"DICOM of frames, {name}": partial(dicom, FRAMES, name) for name in COMPRESSED if name != "JPEG Baseline"},
    "NIfTI-2": lambda: nifti_files.nifti(FRAMES.astype(np.int16).T, kind=Nifti2Image),
    "ZIP of all": lambda: zipped({"a.png": picture("PNG", drawn()), "b/c.nii.gz": gzip.compress(nifti(), mtime=0)}),
}
valid = cache(lambda kind: KINDS[kind]())


# one file of a known kind, bent


def place(content: bytes, chance: random.Random) -> int:
    """A random place, more often near the start, where headers stand; a preamble holds nothing to bend."""
    start = 128 if content[128:132] == b"DICM" else 0
    return start + int(chance.random() ** 3 * (len(content) - start))


def unbent(content: bytes, chance: random.Random) -> bytes:
    return content


def cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: place(content, chance) if chance.random() < 0.6 else chance.randrange(len(content))]


def flipped(content: bytes, chance: random.Random) -> bytes:
    """One bit to eight are wrong; half of the PNGs have the checksums of what they hold now."""
    broken = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        broken[place(content, chance)] ^= 1 << chance.randrange(8)
    return with_checksums(broken) if chance.random() < 0.5 else bytes(broken)


def with_checksums(content: bytes) -> bytes:
    """A PNG with those of its chunks, as far as they can be followed; any other file as it is."""
    mended, at = bytearray(content), 8
    while content.startswith(b"\x89PNG") and at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4])
        mended[end : end + 4] = zlib.crc32(content[at + 4 : end]).to_bytes(4)[: max(0, len(content) - end)]
        at = end + 4
    return bytes(mended)


def patched(content: bytes, chance: random.Random) -> bytes:
    """Pieces are cut out, repeated, overwritten, or come from a file of another kind."""
    broken = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at, length = place(content, chance), chance.choice((1, 2, 4, 16, 200))
        other = valid(chance.choice(sorted(KINDS)))
        put_in = chance.choice(
            (b"", bytes(length), b"\xff" * length, chance.randbytes(length), other[at : at + length])
        )
        broken[at : at + chance.choice((0, length))] = put_in
    return bytes(broken)


def at_its_limit(content: bytes, chance: random.Random) -> bytes:
    """A number of the header, or each that says a size, is the least or largest of its type: up to 65535 x 65535."""
    layout = chance.choice("<>") + chance.choice("HHIIQ")
    bits = 8 * struct.calcsize(layout)
    value = chance.choice((0, 1, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1))
    sizes = [struct.pack(layout, side) for side in SIDES]
    places = [at for at in range(min(1500, len(content))) if content[at : at + bits // 8] in sizes]
    if not places or chance.random() < 0.4:
        places = [place(content[:600], chance)]
    broken = bytearray(content)
    for at in places if chance.random() < 0.5 else [chance.choice(places)]:
        broken[at : at + bits // 8] = struct.pack(layout, value)
    return with_checksums(broken)


def each_kind(bend: Callable[[bytes, random.Random], bytes], times: int, seed: int) -> Files:
    for kind in KINDS:
        chance = random.Random(f"{seed} {bend.__name__} {kind}")
        for number in range(times):
            yield f"{kind} {number}", bend(valid(kind), chance)


def bent_inside(seed: int) -> Files:
    """What is compressed is bent before it is packed, so that the decompressor has no reason to complain."""
    deflated, compressor = valid("DICOM, deflated"), partial(zlib.compressobj, wbits=-15)
    meta = 144 + int.from_bytes(deflated[140:144], "little")
    packed: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
        "gzip of NIfTI": (nifti(), gzip.compress),
        "gzip of NIfTI-2": (valid("NIfTI-2"), gzip.compress),
        "ZIP of DICOM": (valid("DICOM, explicit"), lambda bent: zipped({"IM1": valid("DICOM, RLE"), "IM2": bent})),
        "DICOM, deflated": (
            zlib.decompress(deflated[meta:], -15),
            lambda bent: deflated[:meta] + (one := compressor()).compress(bent) + one.flush(),
        ),
    }
    for kind, (content, pack) in packed.items():
        chance = random.Random(f"{seed} {kind}")
        for number in range(40):
            bend = chance.choice((flipped, patched, at_its_limit, cut_off))
            yield f"{kind} {number}", pack(bend(content, chance))


# DICOM


def contradictions(seed: int) -> Files:
    claims = CONTRADICTIONS | {f"{frames} frames": {"NumberOfFrames": frames} for frames in (4, 4097, 2**31 - 1)}
    claims["more than there is"] = {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1}
    for syntax, claim in product(("explicit", "deflated", *COMPRESSED), claims):
        yield f"{syntax}, {claim}", retagged(valid(f"DICOM, {syntax}"), **claims[claim])
    yield "nested", nested(5000)
    yield "fragments", many_fragments(100_000)
    yield "table of nothing", window_table_of_nothing()
    yield "runs without end", run_lengths_without_end()


@cache
def code_stream(syntax: str) -> bytes:
    return next(generate_frames(dcmread(io.BytesIO(valid(f"DICOM, {syntax}"))).PixelData, number_of_frames=1))


def with_stream(syntax: str, stream: bytes) -> bytes:
    """The valid file of one slice, but for its compressed pixels, of which there are as many bytes."""
    return valid(f"DICOM, {syntax}").replace(code_stream(syntax), stream)


def code_streams(seed: int) -> Files:
    """Other values for each of the first 101 bytes of JPEG 2000, that is its main header; for 80 of the others'."""
    for syntax in COMPRESSED:
        stream = code_stream(syntax)
        every = [(at, value) for at in range(101) for value in sorted({0, 255, stream[at] ^ 128, stream[at] ^ 1})]
        chosen = every if syntax == "JPEG 2000" else random.Random(f"{seed} {syntax}").sample(every, 80)
        for at, value in chosen:
            bent = stream[:at] + bytes([value]) + stream[at + 1 :]
            yield f"{syntax}, byte {at} is {value}", with_stream(syntax, bent)


def aborting() -> list[bytes]:
    """A file for each contradiction between compressed pixels and tags of which GDCM aborts its process."""
    streams = {syntax: bytearray(code_stream(syntax)) for syntax in ("JPEG-LS", "JPEG Lossless", "JPEG 2000")}
    streams["JPEG-LS"][6] = streams["JPEG Lossless"][6] = 17  # bits of a pixel, in the frame header
    streams["JPEG 2000"][42] = 255  # the same: signed, 128 bits
    lossless, color = valid("DICOM, JPEG Lossless"), {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    return [
        *(with_stream(syntax, bytes(stream)) for syntax, stream in streams.items()),
        *(retagged(lossless, BitsAllocated=bits, BitsStored=12, HighBit=11) for bits in (32, 64)),
        *(retagged(valid(f"DICOM, {syntax}"), PlanarConfiguration=0, **color) for syntax in ("JPEG-LS", "JPEG 2000")),
    ]


def neighbors(seed: int) -> Iterator[Upload]:
    """Five bad files and a good one behind them."""
    chance, worst = random.Random(seed), aborting()
    for number in range(40):
        kinds = chance.sample(sorted(KINDS), 5)
        bad = [chance.choice(worst) if chance.random() < 0.5 else flipped(valid(kind), chance) for kind in kinds]
        named = [(f"{place}.dcm", content) for place, content in enumerate(bad)]
        yield Upload(f"{number}", form(*named, (GOOD, valid("PNG, 16 bits"))), has_good=True)


# files that are two things

PE = b"PE\0\0\x64\x86" + bytes(18) + b"\x0b\x02" + bytes(238)
STARTS = {
    "PE": b"MZ\x90".ljust(60, b"\0") + struct.pack("<I", 132),
    "ELF": b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<HHIQQQ", 2, 62, 1, 0x400078, 64, 0),
    "Mach-O": b"\xcf\xfa\xed\xfe\7\0\0\1",
    "HTML": b"<html><script>alert(document.domain)</script><!--",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><!--',
    "shell": b"#!/bin/sh\nid; exit\n",
    "PHP": b"<?php system($_GET['c']); __halt_compiler();",
    "pickle": b"\x80\4\x8c\5posix\x8c\6system\x93\x8c\2id\x85R.",
    "PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n",
    "Java": b"\xca\xfe\xba\xbe\0\0\0\x34",
    "GIF": b"GIF89a",
    "RAR": b"Rar!\x1a\7\0",
    "TIFF": b"II*\0\x08\0\0\0\1\0\0\1\4\0\1\0\0\0\xff\xff\xff\xff",
    "BigTIFF": b"MM\0+\0\x08\0\0" + b"\xff" * 8,
    "PNG": picture("PNG", in_8_bits(48))[:41],
    "JPEG": b"\xff\xd8\xff\xfe\xff\xff",
    "BMP": b"BM\xff\xff\xff\xff\0\0\0\0\x36\0\0\0\x28\0\0\0\xff\xff\0\0\xff\xff\0\0\1\0\x18\0",
    "WebP": b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff/\xff\xff\xff\xff",
    "ZIP": b"PK\3\4" + bytes(26),
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\3",
    "NIfTI": nifti_header((32767, 32767, 32767))[:128],
}


def polyglots(seed: int) -> Files:
    for (what, start), syntax in product(STARTS.items(), ("explicit", "implicit", "deflated", "RLE", "JPEG 2000")):
        yield f"{what} in the preamble, {syntax}", start.ljust(128, b"\0") + valid(f"DICOM, {syntax}")[128:] + PE
    for (what, start), kind in product(
        STARTS.items(), ("PNG, 16 bits", "JPEG", "TIFF of pages", "NIfTI", "ZIP of a series")
    ):
        yield f"{what} before {kind}", start + valid(kind)
        yield f"{what} behind {kind}", valid(kind) + start + PE
        yield f"{what} over {kind}", start + valid(kind)[len(start) :]
    yield "NIfTI and DICOM", nifti()[:128] + b"DICM" + nifti()[132:]


# bombs


def holds_itself(method: int) -> bytes:
    """A ZIP whose one entry reaches to the end of the file, the directory that lists it included."""
    name, size = b"r.zip", 73
    facts = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 33, 0, size, size, len(name), 0)
    listed = b"PK\1\2\x14\0" + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(listed), 30 + len(name), 0)
    return b"PK\3\4" + facts + name + listed + end


def zip_bombs(seed: int) -> Files:
    yield from ((what, make()) for what, make in BOMBS.items() if "ZIP" in what)
    for megabytes in (10, 100, 600):
        zeros = deflated_zeros(megabytes, -15)
        for claimed in (0, 99, megabytes * MEGABYTE, 2**31, 2**32 - 1):
            yield f"flat, {megabytes} MiB said to be {claimed}", zip_with_entries(1, zeros, claimed)
        for count in (2, 60, 5000):
            one_over_another = zip_with_entries(count, zeros, megabytes * MEGABYTE)
            yield f"{count} entries over one another, {megabytes} MiB", one_over_another
    for count in (8191, 8193, 65534, 65536, 300_000):
        yield f"{count} empty entries", zip_with_entries(count)
    for levels, copies in ((1, 1), (2, 1), (3, 10), (5, 5), (200, 1)):
        yield f"{levels} levels of {copies}", zip_in_zip(levels, valid("PNG, 8 bits"), copies)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"method {method}", zipped({"a.nii": bytes(20 * MEGABYTE)}, method)
        yield f"holds itself, method {method}", holds_itself(method)
    yield "holds itself", holds_itself(zipfile.ZIP_STORED)
    yield "names of 65,535 bytes", zipped({f"{number}".zfill(65535): b"" for number in range(100)})
    yield "folders in folders", zipped({"a/" * 30_000 + "b.png": valid("PNG, 8 bits")})
    yield "up and away", zipped({name: valid("PNG, 8 bits") for name in NAMES.values() if name.isprintable()})
    png = BOMBS["PNG of 144 million pixels"]()
    yield "PNG bombs", zipped({f"{number}.png": png for number in range(40)})
    content, chance = valid("ZIP of a series"), random.Random(seed)
    for number in range(80):  # the directory and its end stand behind the files
        width = chance.choice((2, 4))
        at = len(content) - width - chance.randrange(chance.choice((18, 350)))
        lie = chance.choice((bytes(width), b"\xff" * width, b"\xff" * (width - 1) + b"\x7f"))
        yield f"directory {number}", content[:at] + lie + content[at + width :]


def other_bombs(seed: int) -> Files:
    yield from ((what, make()) for what, make in BOMBS.items() if "ZIP" not in what)
    content = nifti()
    for layers in range(1, 21):
        content = gzip.compress(content, mtime=0)
        yield f"{layers} layers of gzip", content
    shapes = ((32767,) * 3, (32767,) * 7, (65, 65, 32767), (1024, 1024, 60), (512, 512, 512))
    for shape, (datatype, bits) in product(shapes, ((2, 8), (64, 64), (128, 24), (2048, 256))):
        header = nifti_header(shape, datatype, bits)
        yield f"NIfTI {shape} of {bits} bits", header + bytes(1000)
        zeros = gzip.compress(bytes(16 * MEGABYTE)) * 40
        yield f"NIfTI {shape} of {bits} bits, 640 MiB in gzip", gzip.compress(header) + zeros
    yield "100,000 empty members of gzip", gzip.compress(b"", mtime=0) * 100_000 + gzip.compress(nifti())
    yield "gzip with a name without end", b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * MEGABYTE
    yield "gzip with all that a header can have", b"\x1f\x8b\x08\x1f" + bytes(6) + b"\xff\xff" + bytes(70_000)
    yield "gzip with reserved flags", b"\x1f\x8b\x08\xff" + gzip.compress(nifti())[4:]
    for inside in ("ZIP of one entry, 1 GiB", "PNG of 144 million pixels"):
        yield f"{inside}, in gzip", gzip.compress(BOMBS[inside]())
    yield "bzip2", bz2.compress(bytes(10 * MEGABYTE))
    yield "xz", lzma.compress(bytes(10 * MEGABYTE))


# names and forms

NAMES = {
    "upwards": "../../../etc/passwd",
    "upwards on Windows": "..\\..\\secret.dcm",
    "control characters": "a\nb\rc\td\x00e\x1b[31mf\x7f.png",
    "right to left": "slice\u202egnp.exe",
    "emoji": "🧠 head 👩‍⚕️.png",
    "4,000 characters": "n" * 4000,
    "4,000 emoji": "🧠" * 4000,
    "half a character": "\udcff\ud800.png",
    "HTML": "<img src=x onerror=alert(1)>.png",
    "nothing to see": "\u200b\u200b",
    "dots": "...",
}
IN_A_FORM = {
    "a quote": 'a".png',
    "a header": 'a"\r\nX-Injected: 1\r\n\r\n',
    "a template": "{{7*7}}${7*7}%s%n",
    "a megabyte": "n" * MEGABYTE,
    "nothing": "",
    "all accents": "a" + "\u0301" * 5000,
}
HEADERS = {
    "of a megabyte": b"X-A: " + b"a" * MEGABYTE + b"\r\n",
    "10,000": b"X-A: a\r\n" * 10_000,
    "of zeros": b"X\0: \0\r\n",
    "base64": b"Content-Transfer-Encoding: base64\r\n",
    "gzip": b"Content-Encoding: gzip\r\n",
    "a form in the form": b"Content-Type: multipart/mixed; boundary=x\r\n",
}
CONTENT_TYPES = (
    *("", "text/html", "<b>" * 20, "application/json", "application/x-www-form-urlencoded", "multipart/form-data"),
    *("multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 5000, f"{FORM}; boundary=x"),
    *('multipart/form-data; boundary="\xff\xfe"', f"{FORM}; charset=utf-99", FORM.replace("form-data", "mixed")),
)


def names_and_forms(seed: int) -> Iterator[Upload]:
    png, field = valid("PNG, 16 bits"), 'form-data; name="files"; filename="a.png"'
    for what, name in (NAMES | IN_A_FORM).items():
        for content in (png, valid("DICOM, explicit"), b"no picture", b"", zipped({"b.png": png, "c.dcm": b"x"})):
            yield Upload(f"name: {what}, {len(content)} bytes", form((name, content)))
    for what, headers in HEADERS.items():
        yield Upload(f"headers of a part: {what}", part(field, png, headers) + END)
    whole = part(field, png) + END
    for number, kind in enumerate(CONTENT_TYPES):
        yield Upload(f"content type {number}", whole, kind)
    for disposition in (
        *(
            "",
            "form-data",
            'form-data; name="files"',
            field.replace("files", "x"),
            field.replace("files", "f" * MEGABYTE),
        ),
        *(field + '; filename="b.png"', "form-data; name=files; filename*=UTF-8''%ff%fe%00..%2fa.png"),
    ):
        yield Upload(f"disposition {disposition[:60]}", part(disposition, png) + END)
    yield Upload("no end", whole[: -len(END)])
    yield Upload("end first", END + whole)
    yield Upload("line feeds only", whole.replace(b"\r\n", b"\n"))
    yield Upload("another boundary", whole.replace(b"siege", b"other"))
    yield Upload("boundary without end", b"-" * 200_000)
    yield Upload("nothing", b"")
    yield Upload("1,001 files", part(field, b"x") * 1001 + END)
    yield Upload("5,000 fields", part('form-data; name="f"', b"x") * 5000 + END)
    yield Upload("100 MB of blanks", part(field, b" " * 100 * MEGABYTE) + END)
    yield Upload("129 MB", b"a" * 129 * MEGABYTE)


def one_by_one(files: Callable[[int], Files], seed: int) -> Iterator[Upload]:
    """Each eighth file is so large that the service reads it from the disk, where readers have other ways to fail."""
    for number, (what, content) in enumerate(files(seed)):
        yield Upload(what, form(("IM0001", content if number % 8 else content + bytes(MEGABYTE))))


FAMILIES: dict[str, Callable[[int], Iterator[Upload]]] = {
    "valid": partial(one_by_one, partial(each_kind, unbent, 1)),
    "cut off": partial(one_by_one, partial(each_kind, cut_off, 22)),
    "bits flipped": partial(one_by_one, partial(each_kind, flipped, 36)),
    "pieces cut out, put in, mixed": partial(one_by_one, partial(each_kind, patched, 12)),
    "numbers at their limits, 4 GB claims": partial(one_by_one, partial(each_kind, at_its_limit, 20)),
    "bent before it was packed": partial(one_by_one, bent_inside),
    "DICOM that contradicts itself": partial(one_by_one, contradictions),
    "compressed pixels with bent headers": partial(one_by_one, code_streams),
    "polyglots": partial(one_by_one, polyglots),
    "ZIP bombs": partial(one_by_one, zip_bombs),
    "gzip and other bombs": partial(one_by_one, other_bombs),
    "names and forms": names_and_forms,
    "a good file among bad ones": neighbors,
}
