"""NIfTI: the same slices whatever the file's axes, type and byte order; its header checked before its data."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from model import scans
from model.scans import limits
from model.scans.nifti import read_header
from tests.nifti_files import head_volume, nifti

CODES = ("LPS", "RAS", "LAS", "RPI", "PIR", "ASL", "SRA", "IPL")


def refusal(content):
    with pytest.raises(scans.UnreadableScan) as caught:
        scans.read(content)
    return str(caught.value)


def shown(volume):
    """What must be shown of a volume in LPS, as uint16: its axial slices, feet first, between its percentiles."""
    low, high = np.percentile(volume.astype(np.float32), (0.1, 99.9))
    return np.clip((volume.astype(np.float32) - low) / (high - low) * 65535, 0, 65535).round().transpose(2, 1, 0)


def assert_shows(scan, volume):
    """Within one of 65,535 levels, for rounding."""
    assert np.abs(np.stack(scan.slices).astype(float) - shown(volume)).max() <= 1


@pytest.mark.parametrize("codes", CODES)
def test_any_orientation_gives_the_same_axial_slices(codes):
    volume = head_volume()
    scan = scans.read(nifti(volume, codes=codes))
    assert (scan.plane, scan.spacing, scan.kind, scan.notes) == ("axial", (1, 1), "NIfTI", ())
    assert_shows(scan, volume)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_any_type_and_byte_order_gives_the_same_slices(dtype, order):
    volume = head_volume() % 120
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    image = nib.Nifti1Image(volume.astype(dtype), np.diag([-1, -1, 1, 1]), header)
    assert image.header.endianness == order
    assert_shows(scans.read(image.to_bytes()), volume)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
def test_both_versions_are_read_packed_or_not(kind, packed):
    assert_shows(scans.read(nifti(head_volume(), kind=kind, packed=packed)), head_volume())


@pytest.mark.parametrize("only", ["sform", "qform"])
@pytest.mark.parametrize("codes", CODES)
def test_either_form_places_the_volume(only, codes):
    other = {"sform": "qform_code", "qform": "sform_code"}[only]
    assert_shows(scans.read(nifti(head_volume(), codes=codes, **{other: 0})), head_volume())


def test_the_place_is_the_one_that_nibabel_computes():
    """Of an oblique volume whose voxels have three different sizes, by quaternion."""
    angle = 0.2
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.9, 1.1, 1.3])
    image = nib.Nifti1Image(head_volume(), affine)
    image.header["sform_code"] = 0
    image.header.set_qform(affine, 1)
    header = read_header(image.to_bytes()[:540])
    expected = (np.diag([-1, -1, 1]) @ image.header.get_qform()[:3, :3]).T[::-1]
    np.testing.assert_allclose(header.directions, expected, atol=1e-6)


def test_slope_and_intercept_count_even_if_they_invert():
    volume = head_volume()
    scan = scans.read(nifti(volume, scl_slope=-0.5, scl_inter=10))
    assert_shows(scan, volume * -0.5 + 10)


def test_thick_slices_are_shown_in_the_plane_they_were_recorded_in():
    for thick, plane in enumerate(("sagittal", "coronal", "axial")):
        steps = [1.0, 1.0, 1.0]
        steps[thick] = 4.0
        scan = scans.read(nifti(head_volume(), steps=steps))
        assert (scan.plane, scan.spacing) == (plane, (4, 1))
        assert len(scan.slices) == head_volume().shape[thick]


def test_pixels_become_square():
    scan = scans.read(nifti(head_volume((40, 60, 44)), steps=(2, 1, 8)))
    assert scan.slices[0].shape == (60, 80) and scan.spacing == (8, 1)


def test_of_several_volumes_the_first_is_read_and_the_others_forbid_acceptance():
    volumes = np.stack([head_volume(seed=seed) for seed in range(3)], axis=-1)
    scan = scans.read(nifti(volumes))
    assert_shows(scan, volumes[..., 0])
    assert scan.doubts[0].startswith("88 slices were left out. The file holds 3 volumes; the first is read.")


def test_a_volume_of_unknown_place_is_shown_with_a_note():
    content = bytearray(nifti(head_volume()))
    struct.pack_into("<2h", content, 252, 0, 0)  # qform_code, sform_code
    scan = scans.read(bytes(content))
    assert scan.plane == "" and not scan.is_volume and "does not say how" in scan.notes[0]


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_black_and_changes_nothing_else(special):
    volume = head_volume().astype(np.float32)
    volume[:4] = special
    scan = scans.read(nifti(volume))
    low, high = np.percentile(volume[4:], (0.1, 99.9))
    expected = np.clip((volume - low) / (high - low), 0, 1) * 65535
    expected[:4] = 0
    assert np.abs(np.stack(scan.slices) - expected.round().transpose(2, 1, 0)).max() <= 1


def test_the_outside_of_z_scores_is_black():
    volume = np.random.default_rng(0).normal(0, 1, (40, 36, 44)).astype(np.float32)
    outside = np.ones(volume.shape, bool)
    outside[8:-8, 8:-8, 8:-8] = False
    inside, volume[outside] = volume[~outside], 0
    shown = np.stack(scans.read(nifti(volume)).slices).transpose(2, 1, 0)
    assert not shown[outside].any()
    low, high = np.percentile(inside, (0.1, 99.9))
    np.testing.assert_allclose(shown[~outside], (inside.clip(low, high) - low) / (high - low) * 65535, atol=1)


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("n_labels", [1, 3, 60])
def test_a_mask_is_refused_as_one_whatever_its_type(dtype, n_labels):
    labels = np.zeros((40, 36, 44))
    for label in range(1, n_labels + 1):
        labels[label % 5 * 8 : label % 5 * 8 + 7, label // 5 * 3 : label // 5 * 3 + 3, 10:30] = label
    if dtype == "i8":  # nibabel wants to be told
        content = nib.Nifti1Image(labels.astype(dtype), np.diag([-1, -1, 1, 1]), dtype="int64").to_bytes()
    else:
        content = nifti(labels.astype(dtype))
    assert "mask" in refusal(content)


@pytest.mark.parametrize("n_colors", [3, 4])
def test_an_array_of_colors_is_one_picture(n_colors):
    color = np.random.default_rng(0).integers(0, 256, (48, 64, n_colors)).astype(np.uint8)
    color[..., 3:] = 255
    scan = scans.read(nib.Nifti1Image(color, np.eye(4)).to_bytes())
    (picture,) = scan.slices
    gray = color[..., :3] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(picture, (gray - gray.min()) / np.ptp(gray) * 65535, atol=2)


def test_gray_colors_are_one_picture_and_three_slices_are_three():
    gray = np.random.default_rng(0).integers(0, 256, (48, 64, 1)).astype(np.uint8)
    assert len(scans.read(nifti(np.repeat(gray, 3, axis=2), steps=(1, 1, 5))).slices) == 1
    assert len(scans.read(nifti(head_volume((48, 64, 3)), steps=(1, 1, 5))).slices) == 3


def test_four_slices_are_no_picture_though_two_are_blank_or_nothing_says_where_they_lie():
    volume = head_volume((48, 64, 4))
    assert len(scans.read(nib.Nifti1Image(volume, np.eye(4)).to_bytes()).slices) == 4
    volume[..., :2] = 0
    assert len(scans.read(nifti(volume, steps=(1, 1, 5))).slices) == 4


def test_the_other_volumes_of_a_picture_are_counted():
    color = np.random.default_rng(0).integers(0, 256, (64, 48, 3, 5)).astype(np.uint8)
    scan = scans.read(nib.Nifti1Image(color, np.eye(4)).to_bytes())
    assert len(scan.slices) == 1 and [omission.count for omission in scan.omitted] == [4] and scan.doubts


def test_a_size_of_zero_beyond_the_last_dimension_is_one():
    content = bytearray(nifti(head_volume()))
    struct.pack_into("<8h", content, 40, 4, 40, 36, 44, 0, 1, 1, 1)
    assert_shows(scans.read(bytes(content)), head_volume())


def test_a_unit_that_cannot_be_costs_the_distances_and_nothing_else():
    plain, wrong = (scans.read(nifti(head_volume(), steps=(1, 1, 3), xyzt_units=unit)) for unit in (2, 1))
    assert wrong.plane == plain.plane and not wrong.is_volume and "in meters" in wrong.notes[0]
    np.testing.assert_array_equal(np.stack(wrong.slices), np.stack(plain.slices))
    in_meters = scans.read(nifti(head_volume(), steps=(0.001, 0.001, 0.003), xyzt_units=1))
    assert in_meters.notes == () and in_meters.spacing == pytest.approx((3, 1))


def test_a_pair_and_colors_are_refused_by_name():
    pair = nib.Nifti1Pair(head_volume(), np.eye(4))
    assert "pair" in refusal(bytes(pair.header.binaryblock) + bytes(64))
    colors = np.zeros((40, 40, 40), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "colors" in refusal(nib.Nifti1Image(colors, np.eye(4)).to_bytes())


def test_the_header_is_checked_before_any_data_are_unpacked(monkeypatch):
    """Of a header that claims 8 GB, followed by nothing."""
    content = bytearray(nifti(head_volume()))
    struct.pack_into("<3h", content, 42, 2048, 2048, 1024)
    monkeypatch.setattr("model.scans.nifti.np.empty", lambda *_: pytest.fail("room was made"))
    assert "million voxels" in refusal(gzip.compress(bytes(content)))


def test_nothing_behind_the_volume_is_unpacked(monkeypatch):
    """20 MB of zeros follow a volume, in a gzip of 20 kB, where no more than 10 MB may be unpacked."""
    content = nifti(head_volume(), packed=True)
    monkeypatch.setattr(limits, "MAX_BYTES", 10 * 2**20)
    assert_shows(scans.read(content + gzip.compress(bytes(20 * 2**20))), head_volume())


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_ends_early_is_called_incomplete(packed):
    content = nifti(head_volume(), packed=packed)
    for share in (0.05, 0.5, 0.99):
        assert "incomplete" in refusal(content[: int(len(content) * share)])
