"""Single DICOM files: their pixels in every transfer syntax, their gray levels, and what their tags refuse."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

from model import scans
from model.scans import limits
from model.scans.grays import WHITE
from tests import dicom_files
from tests.dicom_files import (
    CORONAL,
    LOSSLESS,
    PLANTED,
    SAGITTAL,
    WINDOW,
    dataset,
    dicom,
    encoded,
    enhanced,
    retagged,
    slice_12_bit,
)


def shown(pixels, low=0, high=4095):
    return np.clip((pixels.astype(np.float64) - low) / (high - low) * WHITE, 0, WHITE).round()


def only_slice(content):
    (pixels,) = scans.read(content).slices
    return pixels.astype(np.float64)


def refusal(content):
    with pytest.raises(scans.UnreadableScan) as caught:
        scans.read(content)
    return str(caught.value)


# pixels


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_every_lossless_syntax_gives_the_pixels_that_were_written(syntax):
    pixels = slice_12_bit()
    assert np.abs(only_slice(dicom(pixels, syntax, **WINDOW)) - shown(pixels)).max() <= 1


def test_jpeg_with_12_bits_is_read():
    ramp = np.add.outer(np.arange(64) * 32, np.arange(64) * 32).astype(np.uint16)
    content = dicom(ramp, "JPEG Extended", **WINDOW)
    assert dcmread(BytesIO(content)).file_meta.TransferSyntaxUID.name == "JPEG Extended (Process 2 and 4)"
    assert np.abs(only_slice(content) - shown(ramp)).mean() < 0.002 * WHITE  # of an 8-bit copy at least 0.1 % is off


def test_jpeg_with_8_bits_is_read_as_pillow_decodes_it():
    pixels = (slice_12_bit() >> 4).astype(np.uint8)
    content = dicom(pixels, "JPEG Baseline", WindowCenter=128, WindowWidth=256)
    start = content.index(b"\xff\xd8\xff")
    decoded = np.asarray(Image.open(BytesIO(content[start:])))
    np.testing.assert_array_equal(only_slice(content), shown(decoded, 0, 255))


@pytest.mark.parametrize("syntax", ["explicit", "big endian", "JPEG Lossless", "JPEG 2000"])
def test_signed_pixels_keep_their_sign(syntax):
    pixels = slice_12_bit().astype(np.int16) - 2048
    content = dicom(pixels, syntax, WindowCenter=0, WindowWidth=4096)
    assert np.abs(only_slice(content) - shown(pixels, -2048, 2047)).max() <= 1


@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG Baseline"])
def test_color_becomes_luminance(syntax):
    gradient = np.linspace(0, 255, 64 * 64).reshape(64, 64)
    color = np.stack([gradient, gradient[::-1], gradient.T], axis=-1).astype(np.uint8)
    content = dicom(color, syntax, SOPClassUID=SecondaryCaptureImageStorage, WindowCenter=128, WindowWidth=256)
    luminance = np.asarray(Image.fromarray(color).convert("L"))
    assert np.abs(only_slice(content) - shown(luminance, 0, 255)).max() <= WHITE * 5 / 255  # JPEG, YCbCr, rounding


def test_a_palette_shows_its_colors():
    pixels = (slice_12_bit() >> 4).astype(np.uint8)
    inverting = np.arange(255, -1, -1).astype("<u2") * 257
    palette = {f"{color}PaletteColorLookupTableData": inverting.tobytes() for color in ("Red", "Green", "Blue")}
    sizes = {key.replace("Data", "Descriptor"): [256, 0, 16] for key in palette}
    data = dataset(pixels, PhotometricInterpretation="PALETTE COLOR", **palette, **sizes)
    for key in sizes:
        data[key].VR = "US"
    assert np.corrcoef(only_slice(encoded(data)).ravel(), pixels.ravel())[0, 1] < -0.999


def test_a_file_without_preamble_and_name_is_recognized(tmp_path):
    pixels = slice_12_bit()
    (tmp_path / "IM0001").write_bytes(dicom_files.without_preamble(dicom(pixels, "implicit", **WINDOW)))
    scan = scans.read(tmp_path / "IM0001")
    assert (scan.name, scan.kind) == ("IM0001", "DICOM")
    assert np.abs(scan.slices[0] - shown(pixels)).max() <= 1


def test_a_preamble_that_begins_like_a_tiff_misleads_nobody():
    content = b"II*\0" + dicom(slice_12_bit())[4:]
    assert scans.read(content).kind == "DICOM"


# gray levels


def by_pydicom(content):
    """What pydicom shows of an uninverted file."""
    data = dcmread(BytesIO(content))
    return apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float64)


def table(first, entries, bits=16):
    made = Dataset()
    made.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    made.add_new("LUTData", "US", list(map(int, entries)))
    return Sequence([made])


CURVE = (np.linspace(0, 1, 4096) ** 2 * 65535).astype(int)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 1000, "WindowWidth": 800},
        {"WindowCenter": [1000, 2000], "WindowWidth": [800, 900]},
        {"WindowCenter": 1000.5, "WindowWidth": 800, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000, "WindowWidth": 800, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 500, "WindowWidth": 3000, "RescaleSlope": 1.7, "RescaleIntercept": -900},
        {"VOILUTSequence": table(0, CURVE)},
        {"VOILUTSequence": table(1000, CURVE[:2000])},
        {"ModalityLUTSequence": table(0, CURVE), "WindowCenter": 20000, "WindowWidth": 30000},
    ],
)
def test_gray_levels_are_those_of_pydicom(tags):
    content = dicom(slice_12_bit(), **tags)
    expected, read = by_pydicom(content).ravel(), only_slice(content).ravel()
    slope, offset = np.polyfit(expected, read, 1)
    assert slope > 0 and np.abs(slope * expected + offset - read).max() <= 40, "a line, to 0.06 % of white"


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", None, True),
    ],
)
def test_white_is_zero_where_either_tag_says_so(photometric, shape, inverted):
    pixels = slice_12_bit()
    read = only_slice(dicom(pixels, PhotometricInterpretation=photometric, PresentationLUTShape=shape, **WINDOW))
    assert np.abs(read - (shown(4095 - pixels) if inverted else shown(pixels))).max() <= 1


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"WindowCenter": 9000, "WindowWidth": 10},
        {"WindowCenter": -500, "WindowWidth": 10},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": "", "WindowWidth": ""},
    ],
)
def test_without_a_window_that_fits_percentiles_decide(window):
    pixels = slice_12_bit()
    low, high = np.percentile(pixels, (0.1, 99.9))
    assert np.abs(only_slice(dicom(pixels, **window)) - shown(pixels, low, high)).max() <= 1


def test_padding_does_not_count_for_percentiles():
    pixels = slice_12_bit().astype(np.int16)
    low, high = np.percentile(pixels[:, 10:], (0.1, 99.9))
    pixels[:, :10] = -32768
    data = dataset(pixels)
    data.add_new("PixelPaddingValue", "SS", -32768)
    read = only_slice(encoded(data))
    assert np.abs(read[:, 10:] - shown(pixels[:, 10:], low, high)).max() <= 1 and not read[:, :10].any()


# orientation


@pytest.mark.parametrize(
    ("orientation", "plane", "turn"),
    [
        ([1, 0, 0, 0, 1, 0], "axial", lambda pixels: pixels),
        ([-1, 0, 0, 0, 1, 0], "axial", np.fliplr),
        ([1, 0, 0, 0, -1, 0], "axial", np.flipud),
        ([0, 1, 0, 1, 0, 0], "axial", np.transpose),
        (CORONAL, "coronal", lambda pixels: pixels),
        ([1, 0, 0, 0, 0, 1], "coronal", np.flipud),
        (SAGITTAL, "sagittal", lambda pixels: pixels),
        ([0, -1, 0, 0, 0, -1], "sagittal", np.fliplr),
        ([0, 0.98, -0.2, 0, -0.2, -0.98], "sagittal", lambda pixels: pixels),
    ],
)
def test_slices_are_turned_as_radiologists_see_them(orientation, plane, turn):
    pixels = slice_12_bit()
    scan = scans.read(dicom(pixels, ImageOrientationPatient=orientation, **WINDOW))
    assert scan.plane == plane
    assert np.abs(scan.slices[0] - turn(shown(pixels))).max() <= 1


def test_pixels_become_square():
    pixels = slice_12_bit(shape=(40, 96))
    assert scans.read(dicom(pixels, PixelSpacing=[2, 1])).slices[0].shape == (80, 96)
    assert scans.read(dicom(pixels.T, PixelSpacing=[1, 2])).slices[0].shape == (96, 80)


@pytest.mark.parametrize("orientation", [None, [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], ["x"] * 3])
def test_a_slice_of_unknown_orientation_is_shown_as_stored(orientation):
    data = dataset(slice_12_bit(), ImageOrientationPatient=None, **WINDOW)
    if orientation:
        data.add_new("ImageOrientationPatient", "LO" if orientation == ["x"] * 3 else "DS", orientation)
    scan = scans.read(encoded(data))
    assert scan.plane == "" and np.abs(scan.slices[0] - shown(slice_12_bit())).max() <= 1


# what the tags refuse


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Modality": "CT"}, "(modality CT)"),
        ({"Modality": "CR"}, "(modality CR)"),
        ({"Modality": "US"}, "(modality US)"),
        ({"Modality": "SR"}, "(modality SR)"),
        ({"Modality": "DOE JOHN"}, "(modality unknown)"),
        ({"Modality": None, "SOPClassUID": CTImageStorage}, "(CT Image Storage)"),
        ({"Modality": "OT", "SOPClassUID": EncapsulatedPDFStorage}, "(Encapsulated PDF Storage)"),
        ({"BodyPartExamined": "KNEE"}, "(body part KNEE)"),
        ({"BodyPartExamined": "CSPINE"}, "(body part SPINE)"),
        ({"BodyPartExamined": "L-SPINE"}, "(body part SPINE)"),
        ({"BodyPartExamined": "chest"}, "(body part CHEST)"),
        ({"BodyPartExamined": "KNEE LEFT"}, "(body part KNEE)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "a mosaic"),
    ],
)
def test_what_is_no_mr_scan_of_a_head_is_named_before_its_pixels_are_decoded(monkeypatch, tags, words):
    monkeypatch.setattr("model.scans.dicom.display.stored_pixels", lambda *_: pytest.fail("pixels were decoded"))
    sentence = refusal(dicom(slice_12_bit(), **tags))
    assert words in sentence and "upload" in sentence.lower()


@pytest.mark.parametrize("part", ["HEAD", "BRAIN", "HEADNECK", "SKULL", "KOPF", "", None, "CEREBRAL SPINE"])
def test_a_head_or_an_unknown_word_is_no_reason_to_refuse(part):
    assert scans.read(dicom(slice_12_bit(), BodyPartExamined=part)).kind == "DICOM"


@pytest.mark.parametrize("modality", ["MR", "OT", None])
def test_a_secondary_capture_may_leave_open_what_it_shows(modality):
    assert scans.read(dicom(slice_12_bit(), Modality=modality, SOPClassUID=SecondaryCaptureImageStorage)).slices


def test_a_file_without_pixels_is_called_so():
    assert "no image" in refusal(dicom(slice_12_bit(), Rows=None))
    for syntax in ("explicit", "RLE"):
        data = dataset(slice_12_bit())
        content = encoded(data, syntax)
        assert "holds no image" in refusal(content[: content.rindex(b"\xe0\x7f\x10\0")])


def test_a_table_of_contents_alone_gets_its_own_sentence():
    data = dataset(slice_12_bit(), SOPClassUID=MediaStorageDirectoryStorage)
    assert "DICOMDIR" in refusal(encoded(data))


# limits and damage


def test_frames_and_sizes_are_checked_before_pixels(monkeypatch):
    monkeypatch.setattr("model.scans.dicom.display.stored_pixels", lambda *_: pytest.fail("pixels were decoded"))
    assert "1,000,000 frames" in refusal(dicom(slice_12_bit(), NumberOfFrames=1_000_000))
    assert "million pixels" in refusal(dicom(slice_12_bit(), Rows=20000, Columns=20000))
    assert "pixels in all" in refusal(dicom(slice_12_bit(), Rows=2000, Columns=2000, NumberOfFrames=100))
    assert "more than 512 slices" in refusal(dicom(slice_12_bit(), NumberOfFrames=600))
    assert "64 x 20" in refusal(dicom(slice_12_bit(), Rows=20))


def test_a_jpeg_2000_slice_that_takes_too_long_is_refused_before_it_is_decoded(monkeypatch):
    content = dicom(slice_12_bit(), "JPEG 2000")
    assert only_slice(content).any()
    monkeypatch.setattr(limits, "MAX_PIXELS_JPEG_2000", slice_12_bit().size - 1)
    assert "JPEG 2000" in refusal(content)
    assert only_slice(dicom(slice_12_bit(), "JPEG Lossless")).any()


def test_a_deflated_file_is_not_inflated_beyond_the_limit(monkeypatch):
    content = dicom(np.zeros((512, 512), np.uint16), "deflated")
    monkeypatch.setattr(limits, "MAX_BYTES", 100_000)
    assert len(content) < 10_000 and "unpacks to more" in refusal(content)


@pytest.mark.parametrize("file_format", ["JPEG", "JPEG2000"])
def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded(monkeypatch, file_format):
    monkeypatch.setattr("model.scans.dicom.pixels.get_decoder", lambda *_, **__: pytest.fail("decoded"))
    picture = BytesIO()
    Image.new("L", (900, 900)).save(picture, file_format)
    syntax = {"JPEG": "JPEG Baseline", "JPEG2000": "JPEG 2000"}[file_format]
    content = dicom(np.zeros((64, 64), np.uint8), syntax)
    assert "is damaged, or" in refusal(retagged(content, PixelData=encapsulate([picture.getvalue()])))


def test_run_lengths_beyond_the_frame_are_refused():
    endless = b"\x81\0" * 10_000
    header = np.array([2, 64, 64 + len(endless), *[0] * 13], "<u4").tobytes()
    content = retagged(dicom(slice_12_bit(), "RLE"), PixelData=encapsulate([header + 2 * endless]))
    assert "is damaged, or" in refusal(content)


# what leaves the reader


def test_no_identifying_tag_leaves_the_reader(capfd):
    scan = scans.read(dicom(slice_12_bit()), "IM0001")
    refused = refusal(dicom(slice_12_bit(), Modality="CT"))
    frames = np.stack([slice_12_bit(seed) for seed in range(3)])
    said = f"{scan} {scans.read(enhanced(frames, [0, 2, 4]))} {refused} {capfd.readouterr()}"
    assert scan.name == "IM0001"
    assert not [value for value in PLANTED.values() if value in said]
