"""Reading pictures: every kind gives the pixels that were written, and whatever is wrong gives a sentence."""

import gzip
import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from PIL import Image, ImageOps, TiffImagePlugin

from model import scans
from model.scans import limits
from tests.nifti_files import head_volume, nifti
from tests.server import REPOSITORY

EXIF_ORIENTATION = 0x0112
SUBFILE, SUB_PAGES, STRIP_OFFSETS = 254, 330, 273  # tags of TIFF


@pytest.fixture
def slice_8_bit():
    """An asymmetric slice (48, 64): no flip or turn of it equals it."""
    return np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)


@pytest.fixture
def slice_12_bit():
    return np.random.default_rng(1).integers(0, 4096, (48, 64)).astype(np.uint16)


def encoded(image, file_format, **options):
    """`image`: a Pillow image or an array; returns the bytes of the file."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if file_format == "WEBP":
        options["lossless"] = True
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def only_slice(content):
    (pixels,) = scans.read(content).slices
    return pixels


def refusal(content):
    with pytest.raises(scans.UnreadableScan) as caught:
        scans.read(content)
    return str(caught.value)


# what was written is what is read


@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})]
)
def test_a_gray_8_bit_slice_is_read_exactly(slice_8_bit, file_format, options):
    pixels = only_slice(encoded(slice_8_bit, file_format, **options))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, slice_8_bit)


def test_a_jpeg_is_read_as_pillow_decodes_it(slice_8_bit):
    content = encoded(slice_8_bit, "JPEG")
    np.testing.assert_array_equal(only_slice(content), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_pixels_keep_every_value(slice_12_bit, file_format):
    pixels = only_slice(encoded(slice_12_bit, file_format))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, slice_12_bit)


def test_big_endian_16_bit_becomes_native(slice_12_bit):
    big_endian = Image.frombytes("I;16B", slice_12_bit.shape[::-1], slice_12_bit.astype(">u2").tobytes())
    pixels = only_slice(encoded(big_endian, "TIFF"))
    assert pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(pixels, slice_12_bit)


def test_float_pixels_keep_every_value(slice_12_bit):
    values = slice_12_bit.astype(np.float32) / 7 - 100
    np.testing.assert_array_equal(only_slice(encoded(values, "TIFF")), values)


def test_the_name_does_not_matter(slice_8_bit, tmp_path):
    for name in ("slice.jpg", "IM0001", "notes.txt"):
        (tmp_path / name).write_bytes(encoded(slice_8_bit, "PNG"))
        scan = scans.read(tmp_path / name)
        assert scan.name == name
        np.testing.assert_array_equal(scan.slices[0], slice_8_bit)


def test_each_page_of_a_tiff_is_a_slice_in_order(slice_8_bit, slice_12_bit):
    pages = [slice_8_bit, slice_12_bit, slice_8_bit[:40, ::-1]]
    first, *others = map(Image.fromarray, map(np.ascontiguousarray, pages))
    read = scans.read(encoded(first, "TIFF", save_all=True, append_images=others)).slices
    assert len(read) == len(pages)
    for pixels, page in zip(read, pages, strict=True):
        np.testing.assert_array_equal(pixels, page)


def frames_of(count, side=48):
    """`count` unlike slices (uint8), so that no encoder takes two for one."""
    return [
        np.random.default_rng(number).integers(0, 256, (side, side + 16), dtype=np.uint8) for number in range(count)
    ]


def animated(frames, file_format, **options):
    first, *others = map(Image.fromarray, frames)
    return encoded(first, file_format, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "TIFF"])
@settings(max_examples=10, deadline=None)
@given(count=strategies.integers(1, 20))
def test_each_frame_is_a_slice_in_order(file_format, count):
    frames = frames_of(count)
    scan = scans.read(animated(frames, file_format))
    assert not scan.omitted
    np.testing.assert_array_equal(scan.slices, frames)


def test_frames_are_shown_as_a_viewer_composes_them():
    """The second frame covers a part of the first, the third is laid on what was there before it."""
    canvas = frames_of(1)[0]
    drawn = [canvas, canvas.copy(), canvas.copy()]
    drawn[1][10:20, 10:30] = 255
    drawn[2][30:40, 40:50] = 0
    for file_format in ("PNG", "GIF"):
        np.testing.assert_array_equal(scans.read(animated(drawn, file_format)).slices, drawn)
    patches = [Image.new("RGBA", (64, 48)) for _ in range(2)]
    for number, patch in enumerate(patches):
        patch.paste((255,) * 4, (number * 20, 0, number * 20 + 10, 48))
    first, second = scans.read(encoded(patches[0], "GIF", save_all=True, append_images=patches[1:], disposal=1)).slices
    assert not first[:, 20:30].any() and second[:, :10].all() and second[:, 20:30].all() and not second[:, 10:20].any()


@settings(max_examples=25, deadline=None)
@given(file_format=strategies.sampled_from(["PNG", "GIF", "TIFF"]), share=strategies.floats(0.3, 0.999))
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what is broken
def test_of_a_file_cut_off_what_is_missing_is_said(file_format, share):
    frames = frames_of(6)
    content = animated(frames, file_format)
    try:
        scan = scans.read(content[: int(share * len(content))])
    except scans.UnreadableScan:
        return
    np.testing.assert_array_equal(scan.slices, frames[: len(scan.slices)])
    assert len(scan.slices) == len(frames) or scan.doubts
    if file_format == "PNG":
        assert len(scan.slices) + sum(omission.count for omission in scan.omitted) == len(frames)


def test_a_gif_cut_off_between_two_frames_is_not_whole():
    content = animated(frames_of(6), "GIF")
    scan = scans.read(content[: content.rindex(b",\0\0\0\0")])
    assert len(scan.slices) == 5 and scan.doubts


def test_a_page_that_cannot_be_read_costs_itself():
    content = bytearray(animated(frames_of(3), "TIFF", compression="tiff_lzw"))
    with Image.open(io.BytesIO(content)) as image:
        image.seek(1)
        (offset,) = image.tag_v2[STRIP_OFFSETS]
    content[offset : offset + 40] = bytes(40)
    scan = scans.read(bytes(content))
    np.testing.assert_array_equal(scan.slices, [frames_of(3)[0], frames_of(3)[2]])
    assert "1 slice was left out" in scan.doubts[0] and "damaged" in scan.doubts[0]


# pages that are no slices


def tiff_of_pages(*pages):
    """Each (pixels, tags of its own)."""
    buffer = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(buffer, new=True) as file:
        for pixels, tags in pages:
            Image.fromarray(pixels).save(file, "TIFF", tiffinfo=tags)
            file.newFrame()
    return buffer.getvalue()


def smaller(pixels, times):
    return np.asarray(Image.fromarray(pixels).reduce(times))


@pytest.mark.parametrize("tags", [{SUBFILE: 1}, {}])
@pytest.mark.parametrize("times", [2, 4, 10])
def test_a_smaller_copy_of_a_page_is_no_slice(draw_head, tags, times):
    heads = [draw_head(0), draw_head(1)]
    pages = [page for head in heads for page in ((head, {}), (smaller(head, times), tags))]
    scan = scans.read(tiff_of_pages(*pages))
    np.testing.assert_array_equal(scan.slices, heads)
    assert [(omission.count, omission.other_picture) for omission in scan.omitted] == [(2, True)]
    assert not scan.doubts and "smaller copy" in scan.notes[0]


def test_a_smaller_page_of_another_slice_is_a_slice(draw_head):
    pages = [draw_head(0), smaller(draw_head(1), 2), draw_head(2)]
    scan = scans.read(tiff_of_pages(*((page, {}) for page in pages)))
    assert [pixels.shape for pixels in scan.slices] == [page.shape for page in pages] and not scan.omitted


def test_pages_that_are_all_called_reduced_are_slices(draw_head):
    scan = scans.read(tiff_of_pages(*((draw_head(number), {SUBFILE: 1}) for number in range(3))))
    assert len(scan.slices) == 3 and not scan.omitted


@pytest.mark.parametrize(("subfile", "is_aside"), [(1, True), (0, False)])
def test_pages_within_a_page_are_counted(draw_head, subfile, is_aside):
    """What a tag 330 points to, here the second page: `subfile` says whether it is a smaller copy."""
    content = bytearray(tiff_of_pages((draw_head(0), {SUB_PAGES: 1}), (smaller(draw_head(0), 2), {SUBFILE: subfile})))
    first = int.from_bytes(content[4:8], "little")
    after = first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")
    tag = content.index(struct.pack("<H", SUB_PAGES), first)
    content[tag + 8 : tag + 12] = content[after : after + 4]
    content[after : after + 4] = bytes(4)  # no next page
    scan = scans.read(bytes(content))
    assert len(scan.slices) == 1
    assert [(omission.count, omission.other_picture) for omission in scan.omitted] == [(1, is_aside)]


@pytest.mark.parametrize("tags", [{270: "ImageJ=1.54f\nimages=5\nslices=5\n"}, {32997: 5}])
def test_slices_that_have_no_page_are_counted(draw_head, tags):
    content = tiff_of_pages((draw_head(0), tags)) + bytes(4 * draw_head(0).size)
    assert sum(omission.count for omission in scans.read(content).omitted) == 4
    (doubt,) = scans.read(content).doubts
    assert "4 slices were left out" in doubt


def test_a_page_taken_out_of_a_stack_is_whole(draw_head):
    assert not scans.read(tiff_of_pages((draw_head(0), {270: "ImageJ=1.54f\nimages=24\n"}))).omitted


def test_what_a_camera_stores_beside_its_picture_is_no_slice(draw_head):
    head = Image.fromarray(draw_head(0))
    scan = scans.read(encoded(head, "MPO", save_all=True, append_images=[head.reduce(2)]))
    assert len(scan.slices) == 1 and scan.kind == "JPEG"
    assert [(omission.count, omission.other_picture) for omission in scan.omitted] == [(1, True)]


@pytest.mark.parametrize("is_planar", [False, True])
def test_a_color_page_is_one_slice(slice_8_bit, is_planar):
    """Red, green and blue pixel by pixel, or one plane after the other, are no three slices."""
    content = encoded(Image.fromarray(slice_8_bit).convert("RGB"), "TIFF")
    if is_planar:
        content = planar(slice_8_bit)
    scan = scans.read(content)
    np.testing.assert_array_equal(scan.slices, [slice_8_bit])
    assert not scan.omitted


def planar(pixels):
    """A TIFF of three planes, which Pillow cannot write: the tags are put together by hand."""
    (height, width), size = pixels.shape, pixels.size
    values = {256: width, 257: height, 259: 1, 262: 2, 277: 3, 278: height, 284: 2}
    data = 8 + 2 + 12 * (len(values) + 3) + 4
    lists = struct.pack("<3H", 8, 8, 8) + b"".join(
        struct.pack("<3I", *(data + 30 + k * size for k in range(3))) for _ in "1"
    )
    lists += struct.pack("<3I", size, size, size)
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items()}
    entries |= {258: struct.pack("<HHII", 258, 3, 3, data)}
    entries |= {tag: struct.pack("<HHII", tag, 4, 3, data + place) for tag, place in ((273, 6), (279, 18))}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return head + lists + 3 * pixels.tobytes()


# values that are no gray


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -9999, -3.4e38, 3.4e38, 1e20, -1])
@settings(max_examples=10, deadline=None)
@given(side=strategies.integers(1, 40), offset=strategies.sampled_from([0, 1, 500]))
def test_what_was_not_measured_becomes_the_background(special, side, offset):
    values = np.random.default_rng(side).random((48, 48), dtype=np.float32) * 4095 + offset
    values[:side, :side] = special
    measured = values[np.where(values == np.float32(special), False, np.isfinite(values))]
    expected = values.copy()
    expected[:side, :side] = measured.min()
    np.testing.assert_array_equal(only_slice(encoded(values, "TIFF")), expected)


@pytest.mark.parametrize("make", [np.zeros_like, np.ones_like, lambda v: v - v.mean(), lambda v: -v, lambda v: v > 0.5])
def test_values_that_are_measured_stay(make):
    values = make(np.random.default_rng(0).random((48, 48), dtype=np.float32)).astype(np.float32)
    np.testing.assert_array_equal(only_slice(encoded(values, "TIFF")), values)


# color, transparency, orientation, inversion


def test_a_palette_shows_its_colors(slice_8_bit):
    image = Image.fromarray(slice_8_bit, "L").convert("P")
    image.putpalette([value for gray in range(255, -1, -1) for value in (gray, gray, gray)])  # an inverting palette
    np.testing.assert_array_equal(only_slice(encoded(image, "PNG")), 255 - slice_8_bit)


def test_cmyk_is_not_inverted(slice_8_bit):
    image = Image.fromarray(slice_8_bit).convert("RGB").convert("CMYK")
    np.testing.assert_array_equal(only_slice(encoded(image, "TIFF")), slice_8_bit)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_goes_on_black(slice_8_bit, mode):
    image = Image.fromarray(slice_8_bit).convert(mode)
    opacity = np.full(slice_8_bit.shape, 255, np.uint8)
    opacity[:, :20] = 0
    image.putalpha(Image.fromarray(opacity))
    pixels = only_slice(encoded(image, "PNG"))
    assert not pixels[:, :20].any()
    np.testing.assert_array_equal(pixels[:, 20:], slice_8_bit[:, 20:])


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_one_transparent_gray_of_a_png_becomes_black(depth):
    pixels = np.full((40, 40), 200, depth)
    pixels[10:20, 10:20] = 77
    read = only_slice(encoded(pixels, "PNG", transparency=200))
    np.testing.assert_array_equal(read, np.where(pixels == 200, 0, pixels))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(slice_8_bit, file_format, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    content = encoded(slice_8_bit, file_format, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("L")
    np.testing.assert_array_equal(only_slice(content), np.asarray(upright))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_tiff_that_stores_white_as_zero_is_shown_right(depth):
    brightest = np.iinfo(depth).max
    pixels = np.linspace(0, brightest, 40 * 40).reshape(40, 40).astype(depth)
    content = encoded(brightest - pixels, "TIFF")
    black_is_zero, white_is_zero = (bytes([6, 1, 3, 0, 1, 0, 0, 0, meaning, 0, 0, 0]) for meaning in (1, 0))  # tag 262
    assert content.count(black_is_zero) == 1
    np.testing.assert_array_equal(only_slice(content.replace(black_is_zero, white_is_zero)), pixels)


# what is refused, and how


KINDS = {  # what it is called: how it begins, a word of what to do
    "NIfTI pair": (bytes(344) + b"ni1\0", "mri_convert"),
    "Analyze pair": (b"\x5c\x01\0\0" + bytes(400), "mri_convert"),
    "MGH": (struct.pack(">7ih", 1, 256, 256, 256, 1, 0, 0, 1) + bytes(300), "mri_convert"),
    "MetaImage": (b"ObjectType = Image\nNDims = 3\n", "3D Slicer"),
    "NRRD": (b"NRRD0004\n", "3D Slicer"),
    "GIPL": (bytes(252) + b"\xef\xff\xe9\xb0", "3D Slicer"),
    "MINC": (b"\x89HDF\r\n\x1a\n", "mnc2nii"),
    "netCDF": (b"CDF\1" + bytes(60), "mnc2nii"),
    "MATLAB": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "niftiwrite"),
    "NumPy": (b"\x93NUMPY\1\0", "nibabel"),
    "PAR/REC": (b"# === DATA DESCRIPTION FILE ====\n#\n", "dcm2niix"),
    "AFNI": (b"\ntype = string-attribute\nname = HISTORY", "3dAFNItoNIFTI"),
    "several parts": (b"--boundary\r\nContent-Type: application/dicom\r\n\r\n", ".dcm"),
    "JSON": (b'[{"00080005": {"vr": "CS"}}]', ".dcm"),
    "XML": (b'<?xml version="1.0"?>\n<NativeDicomModel>', ".dcm"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "DICOM"),
    "JPEG XL": (b"\xff\x0a" + bytes(64), "PNG"),
    "HEIC": (b"\0\0\0\x18ftypheic", "PNG"),
    "AVIF": (b"\0\0\0\x18ftypavif", "PNG"),
    "video": (b"\0\0\0\x18ftypisom", "PNG"),
    "tar": (bytes(257) + b"ustar\0", "Unpack"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c", "Unpack"),
    "RAR": (b"Rar!\x1a\x07", "Unpack"),
    "xz": (b"\xfd7zXZ\0", "Unpack"),
    "Zstandard": (b"\x28\xb5\x2f\xfd", "Unpack"),
    "bzip2": (b"BZh91AY", "Unpack"),
    "PDF": (b"%PDF-1.7\n", "PNG"),
    "Office": (b"\xd0\xcf\x11\xe0", "PNG"),
    "web page": (b"<!DOCTYPE html>", "PNG"),
    "program": (b"MZ\x90\0", "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_known_kind_is_refused_by_its_name_with_the_remedy(kind, pack):
    start, remedy = KINDS[kind]
    sentence = refusal(pack(start + bytes(64)))
    assert kind in sentence and remedy in sentence
    assert re.search(r"upload (that|those|the files in it)", sentence)


@pytest.mark.parametrize(
    "content", [b"hello, I am a text\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(5000)]
)
def test_what_is_no_image_is_called_so(content, tmp_path):
    (tmp_path / "slice.png").write_bytes(content)
    with pytest.raises(scans.UnreadableScan, match="no image that can be read"):
        scans.read(tmp_path / "slice.png")


def test_an_empty_file_is_called_empty():
    assert "empty" in refusal(b"")


def test_a_folder_and_a_missing_file_get_their_own_sentences(tmp_path):
    with pytest.raises(scans.UnreadableScan, match="folder"):
        scans.read(tmp_path)
    with pytest.raises(scans.UnreadableScan, match="no such file"):
        scans.read(tmp_path / "gone.png")
    with pytest.raises(scans.UnreadableScan, match="could not be opened"):
        scans.read("null\0character.png")


@pytest.mark.parametrize("size", [(1, 1), (31, 200), (40, 200)])
def test_a_thumbnail_and_a_stripe_are_refused_with_their_size(size):
    assert f"{size[0]} x {size[1]}" in refusal(encoded(Image.new("L", size), "PNG"))


def test_each_limit_has_its_sentence(monkeypatch, slice_8_bit):
    one = encoded(slice_8_bit, "PNG")
    pages = [Image.fromarray(slice_8_bit)] * 3
    three = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert len(scans.read(three).slices) == 3
    for limit, value, content, words in (
        ("MAX_BYTES", 1000, one, "larger than"),
        ("MAX_SLICES", 2, three, "more than 2 pages"),
        ("MAX_PIXELS", 48 * 64 - 1, one, "million pixels"),
        ("MAX_PIXELS_IN_ALL", 3 * 48 * 64 - 1, three, "pixels in all"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, value)
            assert words in refusal(content)


def color_png_16_bit(brightest):
    """A ramp to `brightest` as 16-bit RGB, which Pillow cannot write: the chunks are put together by hand."""
    values = np.linspace(0, brightest, 40 * 40).astype(">u2").reshape(40, 40, 1).repeat(3, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content


def test_16_bit_color_is_refused_only_where_its_depth_would_be_lost():
    assert only_slice(color_png_16_bit(65535)).max() == 255
    assert "16-bit grayscale" in refusal(color_png_16_bit(4095))  # 12 bits: only 16 levels would be left


# what else must hold


def test_an_error_of_our_own_is_not_dressed_as_a_damaged_file(monkeypatch, slice_8_bit):
    def faulty(*_):
        raise TypeError("ours")

    monkeypatch.setattr(limits, "check_shape", faulty)
    with pytest.raises(TypeError, match="ours"):
        scans.read(encoded(slice_8_bit, "PNG"))


def test_libraries_for_volumes_are_loaded_when_one_comes(tmp_path, slice_8_bit):
    """They would add a second to the start of a server that may never need them."""
    (tmp_path / "slice.png").write_bytes(encoded(slice_8_bit, "PNG"))
    (tmp_path / "head.nii").write_bytes(nifti(head_volume()))
    program = f"""
import sys
from model import scans
scans.read({str(tmp_path / "slice.png")!r}), scans.read({str(tmp_path / "head.nii")!r})
print(*{{name.split(".")[0] for name in sys.modules}} & {{"pydicom", "gdcm", "nibabel", "torch"}})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
