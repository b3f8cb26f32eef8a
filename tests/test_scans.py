"""Reading pictures: every kind gives the pixels that were written, and whatever is wrong gives a sentence."""

import io
import random
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from model import scans
from model.scans import limits, pictures
from tests.nifti_files import head_volume, nifti
from tests.server import REPOSITORY

EXIF_ORIENTATION = 0x0112


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


def test_an_animation_is_one_slice(slice_8_bit):
    frames = [Image.fromarray(slice_8_bit), Image.fromarray(255 - slice_8_bit)]
    content = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(only_slice(content), slice_8_bit)


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


KINDS = {
    "NIfTI pair": bytes(344) + b"ni1\0" + bytes(64),
    "RAR": b"Rar!\x1a\x07" + bytes(64),
    "NRRD": b"NRRD0004\n" + bytes(64),
    "PDF": b"%PDF-1.7\n",
    "GIF": b"GIF89a" + bytes(64),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(64),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_kind_is_refused_by_its_name_with_the_remedy(kind):
    sentence = refusal(KINDS[kind])
    assert kind in sentence
    assert "upload that" in sentence


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


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_its_pixels_are_read():
    content = encoded(Image.new("L", (12000, 12000)), "PNG")  # 140 kB; decoding takes seconds and 144 MB
    start = time.process_time()
    assert "million pixels" in refusal(content)
    assert time.process_time() - start < 0.2


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


# files that bite


def read_or_refused(content):
    """Whether it was read; fails on anything but a slice or a sentence."""
    try:
        slices = scans.read(content).slices
    except scans.UnreadableScan as refused:
        sentence = str(refused)
        assert sentence[0].isupper() and sentence.endswith(".") and len(sentence) > 30, sentence
        assert "object at" not in sentence and "Error" not in sentence, sentence
        return False
    for pixels in slices:
        assert pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16, np.float32)
    return True


def valid_files(slice_8_bit, slice_12_bit):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    pages = [Image.fromarray(slice_8_bit)] * 2
    yield encoded(slice_12_bit, "PNG")
    yield encoded(slice_8_bit, "JPEG", exif=exif)
    yield encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield encoded(slice_8_bit, "TIFF", compression="tiff_lzw")
    yield encoded(slice_8_bit, "BMP")
    yield encoded(slice_8_bit, "WEBP")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what is broken
def test_a_file_cut_off_anywhere_is_read_or_refused(slice_8_bit, slice_12_bit):
    for content in valid_files(slice_8_bit, slice_12_bit):
        assert read_or_refused(content)
        outcomes = [read_or_refused(content[:length]) for length in range(1, len(content), max(1, len(content) // 60))]
        assert not all(outcomes)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what is broken
def test_a_file_with_flipped_bytes_is_read_or_refused(slice_8_bit, slice_12_bit):
    chance = random.Random(0)
    for content in valid_files(slice_8_bit, slice_12_bit):
        for _ in range(100):
            broken = bytearray(content)
            broken[chance.randrange(min(len(broken), 600))] ^= 1 << chance.randrange(8)  # headers stand in front
            read_or_refused(bytes(broken))


def test_a_tiff_whose_pages_form_a_loop_ends(slice_8_bit):
    content = bytearray(encoded(slice_8_bit, "TIFF"))
    first = int.from_bytes(content[4:8], "little")
    entries = int.from_bytes(content[first : first + 2], "little")
    end = first + 2 + 12 * entries
    content[end : end + 4] = content[4:8]  # "the next page" is this page
    assert len(scans.read(bytes(content)).slices) == 1


def test_an_error_of_our_own_is_not_dressed_as_a_damaged_file(monkeypatch, slice_8_bit):
    def faulty(*_):
        raise TypeError("ours")

    monkeypatch.setattr(pictures, "check_shape", faulty)
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
