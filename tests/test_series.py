"""DICOM series: many files, in any order, are one scan; what does not belong to it is left out and told."""

import random
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import MediaStorageDirectoryStorage

from model import scans
from model.scans import limits
from model.scans.dicom.files import DAMAGED
from model.scans.grays import WHITE
from tests.dicom_files import CORONAL, SAGITTAL, dicom, enhanced, series, slice_12_bit

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits: 0 is black, 4095 white


@pytest.fixture
def slices():
    return [slice_12_bit(seed) for seed in range(5)]


def assert_shows(scan, slices):
    expected = np.stack(slices).astype(np.float64) / 4095 * WHITE
    assert np.abs(np.stack(scan.slices) - expected).max() <= 1


def written(folder, contents, names=None):
    files = [folder / (names[i] if names else f"IM{i:04}") for i in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def zipped(files):
    """The bytes of a ZIP of {name: bytes}."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# order and place


def test_files_in_any_order_are_one_volume_from_the_feet_up(slices, tmp_path):
    contents = series(slices, spacing=3, **WINDOW)
    random.Random(0).shuffle(contents)
    (scan,) = scans.read_all(written(tmp_path, contents))
    assert (scan.kind, scan.plane, scan.spacing, scan.notes) == ("DICOM series", "axial", (3, 1), ())
    assert scan.name == "IM0000 and 4 more" and scan.is_volume
    assert_shows(scan, slices)


def test_position_counts_and_instance_numbers_do_not(slices, tmp_path):
    contents = [
        dicom(pixels, InstanceNumber=9 - i, ImagePositionPatient=[0, 0, 2 * i], **WINDOW)
        for i, pixels in enumerate(slices)
    ]
    (scan,) = scans.read_all(written(tmp_path, contents))
    assert_shows(scan, slices)


@pytest.mark.parametrize(
    ("orientation", "direction"), [(CORONAL, [0, 2, 0]), (SAGITTAL, [2, 0, 0]), ([-1, 0, 0, 0, 1, 0], [0, 0, 2])]
)
def test_each_plane_has_its_own_first_slice(slices, tmp_path, orientation, direction):
    """Coronal slices run from the face back, sagittal ones to the left, axial ones up, whichever way rows point."""
    contents = [
        dicom(
            pixels,
            ImageOrientationPatient=orientation,
            ImagePositionPatient=[step * i for step in direction],
            **WINDOW,
        )
        for i, pixels in enumerate(slices)
    ]
    (scan,) = scans.read_all(written(tmp_path, contents[::-1]))
    assert scan.spacing == (2, 1)
    assert_shows(scan, [np.fliplr(pixels) for pixels in slices] if orientation[0] == -1 else slices)


def test_without_positions_instance_numbers_count(slices, tmp_path):
    contents = [dicom(p, InstanceNumber=i, ImagePositionPatient=None, **WINDOW) for i, p in enumerate(slices)]
    (scan,) = scans.read_all(written(tmp_path, contents[::-1]))
    assert_shows(scan, slices)
    assert scan.spacing is None and not scan.is_volume and "order of their numbers" in scan.notes[0]


def test_all_slices_share_one_window(slices, tmp_path):
    """Each file brings its own; a brighter slice must stay brighter."""
    dim = [pixels // (i + 1) for i, pixels in enumerate(slices)]
    contents = [
        dicom(p, ImagePositionPatient=[0, 0, i], WindowCenter=2000 // (i + 1), WindowWidth=4000 // (i + 1))
        for i, p in enumerate(dim)
    ]
    (scan,) = scans.read_all(written(tmp_path, contents))
    assert [int(pixels.mean()) for pixels in scan.slices] == sorted((int(p.mean()) for p in scan.slices), reverse=True)
    low, high = 4000 // 3 // 2 - 4000 // 3 / 2, 2000 // 3 + 4000 // 3 / 2 - 1  # of the middle slice
    expected = np.clip((dim[1] - low) / (high - low), 0, 1) * WHITE
    assert np.abs(scan.slices[1] - expected).mean() < 0.01 * WHITE


# what does not belong


def test_two_series_are_two_scans_in_the_order_of_their_first_files(slices, tmp_path):
    first, second = (series(slices[:n], SeriesInstanceUID=f"1.2.{n}", **WINDOW) for n in (2, 3))
    contents = [second[0], first[0], *second[1:], *first[1:]]
    scans_read = scans.read_all(written(tmp_path, contents))
    assert [len(scan.slices) for scan in scans_read] == [3, 2]


def test_localizers_in_a_series_are_left_out_and_told(slices, tmp_path):
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], **WINDOW}
    others = [
        dicom(slices[0], ImageOrientationPatient=SAGITTAL, **scout),
        dicom(slice_12_bit(9, (40, 40)), **scout),
    ]
    (scan,) = scans.read_all(written(tmp_path, [others[0], *series(slices, **WINDOW), others[1]]))
    assert_shows(scan, slices)
    assert scan.notes == ("2 slices were left out. They are localizers.",) and not scan.doubts


def test_what_lies_otherwise_is_a_scan_of_its_own(slices, tmp_path):
    others = [
        dicom(slices[0], ImageOrientationPatient=SAGITTAL, **WINDOW),
        dicom(slice_12_bit(9, (40, 40)), **WINDOW),
    ]
    found = scans.read_all(written(tmp_path, [others[0], *series(slices, **WINDOW), others[1]]))
    assert sorted(len(scan.slices) for scan in found) == [1, 1, 5]
    assert_shows(max(found, key=lambda scan: len(scan.slices)), slices)
    assert len({scan.name for scan in found}) == 3 and not any(scan.doubts for scan in found)


def test_a_file_that_came_twice_counts_once(slices, tmp_path):
    contents = series(slices, **WINDOW)
    (scan,) = scans.read_all(written(tmp_path, contents + contents[:2]))
    assert_shows(scan, slices)
    assert scan.notes == ()


def test_a_gap_keeps_other_planes_from_being_cut(slices, tmp_path):
    contents = series(slices, **WINDOW)
    (scan,) = scans.read_all(written(tmp_path, contents[:2] + contents[3:]))
    assert len(scan.slices) == 4 and scan.spacing is None and "even distances" in scan.notes[0]


def test_damaged_files_of_a_series_cost_their_slices_and_are_told(slices, tmp_path):
    contents = series(slices, **WINDOW)
    contents[4] = contents[4][:-1000]  # its pixels end early
    (scan,) = scans.read_all(written(tmp_path, contents))
    assert_shows(scan, slices[:4])
    assert scan.doubts == (f"1 slice was left out. {DAMAGED}",)


def test_one_bad_file_costs_one_entry(slices, tmp_path):
    files = written(tmp_path, [slices[0].tobytes(), *series(slices, **WINDOW), b""])
    bad, scan, empty = scans.read_all(files, [f"file {i}" for i in range(7)])
    assert bad.name == "file 0" and bad.reason.startswith("This is no image")
    assert_shows(scan, slices)
    assert empty.name == "file 6" and "empty" in empty.reason


def test_a_series_of_another_kind_is_refused_once(slices, tmp_path):
    (entry,) = scans.read_all(written(tmp_path, series(slices, Modality="CT")))
    assert entry.name == "IM0000 and 4 more" and "modality CT" in entry.reason


# one file with many slices


def test_an_enhanced_image_is_ordered_by_position(slices):
    heights = [4, 0, 8, 2, 6]
    scan = scans.read(enhanced(np.stack(slices), heights, "JPEG Lossless", **WINDOW))
    assert (scan.kind, scan.plane, scan.spacing) == ("DICOM", "axial", (2, 1))
    assert_shows(scan, [slices[i] for i in np.argsort(heights)])


def test_an_enhanced_image_brings_its_window_and_rescaling_in_groups(slices):
    frames = np.stack(slices)
    each = []
    for i in range(len(slices)):
        position, value, window, frame = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, i]
        value.RescaleSlope, value.RescaleIntercept = 2, -100
        window.WindowCenter, window.WindowWidth = 2 * 2047.5 - 100 + 0.5, 2 * 4095 + 1
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = Sequence([value]), Sequence([window])
        each.append(frame)
    assert_shows(scans.read(enhanced(frames, [0] * 5, PerFrameFunctionalGroupsSequence=each)), slices)


def test_frames_at_one_position_are_repetitions(slices):
    scan = scans.read(enhanced(np.stack([*slices, *slices[::-1]]), [0, 2, 4, 6, 8] * 2, **WINDOW))
    assert_shows(scan, slices)


@pytest.mark.parametrize("syntax", ["explicit", "deflated", "RLE", "JPEG-LS"])
def test_frames_without_positions_come_as_stored(slices, syntax):
    scan = scans.read(dicom(np.stack(slices), syntax, **WINDOW))
    assert_shows(scan, slices)
    assert scan.plane == "axial" and scan.spacing is None


# archives


def test_a_zip_of_a_folder_with_a_table_of_contents_is_the_series(slices):
    contents = series(slices, **WINDOW)
    disc = {f"DICOM/ST0/IM{9 - i}": content for i, content in enumerate(contents)}
    disc |= {
        "DICOMDIR": dicom(slices[0], SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None),
        "VIEWER.EXE": b"MZ" + bytes(1000),
        "__MACOSX/DICOM/._IM0": bytes(100),
        ".DS_Store": bytes(100),
        "README.TXT": b"Insert the disc.",
    }
    scan = scans.read(zipped(disc), "disc.zip")
    assert (scan.name, scan.kind, scan.notes) == ("disc.zip", "DICOM series", ())
    assert_shows(scan, slices)


def test_a_table_of_contents_among_files_is_passed_over(slices, tmp_path):
    directory = dicom(slices[0], SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None)
    (scan,) = scans.read_all(written(tmp_path, [directory, *series(slices, **WINDOW)]))
    assert_shows(scan, slices)


def test_of_several_series_in_a_zip_each_is_an_entry_and_one_file_gives_the_longest(slices, tmp_path):
    short, long = (series(slices[:n], SeriesInstanceUID=f"1.2.{n}", **WINDOW) for n in (2, 4))
    report = dicom(slices[0], Modality="SR", SeriesInstanceUID="1.2.9")
    files = {f"a/IM{i}": content for i, content in enumerate([*short, *long, report])}
    (file,) = written(tmp_path, [zipped(files)], ["all.zip"])
    first, second, refused = scans.read_all([file])
    assert [len(first.slices), len(second.slices)] == [2, 4]
    assert first.name == "all.zip: IM0 and 1 more" and "modality SR" in refused.reason
    longest = scans.read(file)
    assert_shows(longest, slices[:4])
    assert "2 scans" in longest.doubts[0]


def test_a_damaged_entry_of_a_zip_costs_its_slice(slices, tmp_path):
    content = bytearray(zipped({f"IM{i}": file for i, file in enumerate(series(slices, **WINDOW))}))
    content[content.index(slices[2].tobytes()) + 100] ^= 1  # its checksum no longer fits
    (file,) = written(tmp_path, [bytes(content)], ["a.zip"])
    scan, damaged = scans.read_all([file])
    assert_shows(scan, [*slices[:2], *slices[3:]])
    assert damaged.name == "a.zip: IM2" and scan.doubts[0].startswith(
        "1 slice was left out. Files beside it are damaged"
    )


# limits


def test_what_is_read_at_once_is_limited(monkeypatch, slices, tmp_path):
    contents = [dicom(slices[0], SeriesInstanceUID=f"1.2.{i}") for i in range(4)]
    monkeypatch.setattr(limits, "MAX_BYTES_AT_ONCE", 2 * slices[0].nbytes)
    kinds = [type(entry).__name__ for entry in scans.read_all(written(tmp_path, contents))]
    assert kinds == ["Scan", "Scan", "Unreadable", "Unreadable"]


def test_too_many_files_are_told_in_one_entry(monkeypatch, slices, tmp_path):
    monkeypatch.setattr(limits, "MAX_FILES", 3)
    scan, more = scans.read_all(written(tmp_path, series(slices, **WINDOW)))
    assert len(scan.slices) == 3 and more.name == "2 more files"
    assert scan.doubts == (f"2 slices were left out. {more.reason}",)


def test_each_file_is_announced_when_it_is_looked_at_and_when_it_is_decoded(slices, tmp_path):
    begun = []
    scans.read_all(written(tmp_path, series(slices, **WINDOW)[::-1]), begin=begun.append)
    assert begun[:5] == [0, 1, 2, 3, 4] and begun[-5:] == [4, 3, 2, 1, 0]


def test_the_frames_that_a_cut_file_lost_are_told():
    frames = [slice_12_bit() for _ in range(4)]
    content = dicom(np.stack(frames), NumberOfFrames=4)
    scan = scans.read(content[: -3 * frames[0].nbytes // 2])
    assert len(scan.slices) < 4
    assert scan.doubts == (f"{4 - len(scan.slices)} slices were left out. {DAMAGED}",)
