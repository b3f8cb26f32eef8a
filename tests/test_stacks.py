"""No slice of a series is lost, none is in two stacks, and what tells stacks apart is read from their tags."""

import random
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import MediaStorageDirectoryStorage

from model import scans
from model.scans.grays import WHITE
from model.scans.reading import Death, read_each
from tests.dicom_files import AXIAL, SAGITTAL, dicom, enhanced, series, slice_12_bit

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits: 0 is black, 4095 white
SLICES = [slice_12_bit(seed) for seed in range(6)]
OTHERS = [slice_12_bit(seed) for seed in range(10, 16)]


def zipped(contents):
    """The bytes of a ZIP of files, in order."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"IM{number}", content)
    return buffer.getvalue()


def read_files(contents, shuffled=True):
    """What a ZIP of files holds, by `read_all`."""
    contents = list(contents)
    if shuffled:
        random.Random(0).shuffle(contents)
    return scans.read_all([zipped(contents)], ["series.zip"])


def assert_shows(scan, slices):
    assert len(scan.slices) == len(slices)
    expected = np.stack(slices).astype(np.float64) / 4095 * WHITE
    assert np.abs(np.stack(scan.slices) - expected).max() <= 1


def turned(degrees, about):
    """Row and column directions of axial slices, turned about an axis of the patient."""
    angle = np.radians(degrees)
    i, j = [k for k in range(3) if k != about]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return np.concatenate([turn @ [1, 0, 0], turn @ [0, 1, 0]]), turn @ [0, 0, 1]


# what is a slice


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_slice_is_shown_once_or_said_to_be_left_out(data):
    """Whatever tags a series has: each of its files is a slice of one scan, or counted in an omission."""
    count = data.draw(st.integers(1, 12))
    tags = {
        "SOPInstanceUID": st.sampled_from(["1.2", "1.3", None]),
        "SeriesInstanceUID": st.sampled_from(["1.9", None]),
        "InstanceNumber": st.sampled_from([1, 2, 3, None]),
        "ImagePositionPatient": st.sampled_from([[0, 0, 0], [0, 0, 5], [0, 0, 10], [0, 250, 5], None]),
        "ImageOrientationPatient": st.sampled_from([AXIAL, SAGITTAL, None]),
        "SliceLocation": st.sampled_from([0, 5, None]),
        "EchoTime": st.sampled_from([10, 90, None]),
        "AcquisitionNumber": st.sampled_from([1, 2, None]),
        "ImageType": st.sampled_from([["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"], None]),
    }
    pixels = [slice_12_bit(seed, (32, 32)) for seed in range(count)]
    contents = [dicom(one, **{tag: data.draw(values) for tag, values in tags.items()}, **WINDOW) for one in pixels]
    found = read_files(contents, shuffled=False)
    shown = [one for scan in found if isinstance(scan, scans.Scan) for one in scan.slices]
    omitted = sum(o.count for scan in found if isinstance(scan, scans.Scan) for o in scan.omitted)
    refused = sum(isinstance(entry, scans.Unreadable) for entry in found)
    assert len(shown) + omitted == count or refused
    if not refused and not omitted:
        means = sorted(round(float(one.mean())) for one in shown)
        np.testing.assert_allclose(means, sorted(one.mean() / 4095 * WHITE for one in pixels), atol=2)


@pytest.mark.parametrize("uid", ["1.2.3", None])
def test_one_uid_in_all_files_makes_none_of_them_a_copy(uid):
    (scan,) = read_files(series(SLICES, SOPInstanceUID=uid, **WINDOW))
    assert_shows(scan, SLICES)
    assert not scan.notes and not scan.doubts


def test_a_copy_has_the_same_pixels():
    contents = series(SLICES, **WINDOW)
    (scan,) = read_files([*contents, *contents])
    assert_shows(scan, SLICES)
    again = dcmread(BytesIO(contents[2]))
    again.PixelData = OTHERS[0].tobytes()
    buffer = BytesIO()
    again.save_as(buffer)
    found = read_files([*contents, buffer.getvalue()])
    assert sorted(len(scan.slices) for scan in found) == [1, 6]


@pytest.mark.parametrize(
    "syntax", ["explicit", "implicit", "big endian", "deflated", "RLE", "JPEG Lossless", "JPEG 2000"]
)
@pytest.mark.parametrize("claim", [None, 0, 1, 4])
def test_frames_are_counted_by_what_is_there(syntax, claim):
    content = dcmread(BytesIO(dicom(np.stack(SLICES), syntax, **WINDOW)))
    if claim is None:
        del content.NumberOfFrames
    else:
        content.NumberOfFrames = claim
    buffer = BytesIO()
    content.save_as(buffer)
    assert_shows(scans.read(buffer.getvalue()), SLICES)


def test_a_frame_in_several_fragments_is_one():
    data = dcmread(BytesIO(dicom(np.stack(SLICES), "JPEG 2000", **WINDOW)))
    from pydicom.encaps import generate_frames

    frames = list(generate_frames(data.PixelData, number_of_frames=len(SLICES)))
    for has_table in (True, False):
        data.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=has_table)
        del data.NumberOfFrames
        buffer = BytesIO()
        data.save_as(buffer)
        assert_shows(scans.read(buffer.getvalue()), SLICES)
        data.NumberOfFrames = len(SLICES)


def test_frames_that_are_promised_and_not_there_are_counted():
    scan = scans.read(enhanced(np.stack(SLICES[:4]), [0, 2, 4, 6, 8, 10], NumberOfFrames=4, **WINDOW))
    assert_shows(scan, SLICES[:4])
    assert [omission.count for omission in scan.omitted] == [2] and scan.doubts


def test_a_damaged_frame_costs_itself():
    frames = np.stack(SLICES)
    data = dcmread(BytesIO(dicom(frames, "JPEG 2000", **WINDOW)))
    from pydicom.encaps import generate_frames

    encoded = list(generate_frames(data.PixelData, number_of_frames=len(SLICES)))
    encoded[2] = encoded[2][:40]
    data.PixelData = encapsulate(encoded)
    buffer = BytesIO()
    data.save_as(buffer)
    scan = scans.read(buffer.getvalue())
    assert_shows(scan, [*SLICES[:2], *SLICES[3:]])
    assert [omission.count for omission in scan.omitted] == [1] and scan.doubts


def test_a_file_that_ends_before_its_pixels_is_a_slice_that_is_missing():
    contents = series(SLICES, **WINDOW)
    contents[3] = contents[3][: contents[3].index(b"\xe0\x7f\x10\x00")]
    (scan,) = read_files(contents)
    assert len(scan.slices) == 5 and [omission.count for omission in scan.omitted] == [1] and scan.doubts


def test_a_file_that_its_tags_refuse_is_missing_from_its_series():
    contents = series(SLICES, **WINDOW)
    contents[3] = dicom(SLICES[3], ImagePositionPatient=[0, 0, 6], BodyPartExamined="KNEE", **WINDOW)
    (scan,) = read_files(contents)
    assert len(scan.slices) == 5 and "body part KNEE" in scan.doubts[0]


def test_a_file_that_a_decoder_died_of_is_missing_from_its_series():
    contents = series(SLICES, **WINDOW)
    ((_, scan),) = read_each([zipped(contents)], ["a.zip"], deaths={(0, 3): Death("It kills.", has_headers=True)})
    assert_shows(scan, [*SLICES[:2], *SLICES[3:]])
    assert scan.doubts == ("1 slice was left out. It kills.",)


def two_echoes(**of_the_last):
    """Two echoes of each slice; `of_the_last`, tags of the last file."""
    contents = series(SLICES, EchoTime=10, **WINDOW) + series(OTHERS, EchoTime=90, **WINDOW)
    last = {"EchoTime": 90, "InstanceNumber": 6, "ImagePositionPatient": [0, 0, 10], **WINDOW}
    return [*contents[:-1], dicom(OTHERS[-1], **last | of_the_last)]


@pytest.mark.parametrize("how", ["no pixels", "death", "compression"])
def test_what_cannot_be_decoded_is_missing_from_its_own_stack(how):
    contents, deaths = two_echoes(), {}
    if how == "no pixels":
        contents[-1] = contents[-1][: contents[-1].index(b"\xe0\x7f\x10\x00")]
    elif how == "death":
        deaths = {(0, 12): Death("It kills.", has_headers=True)}
    else:
        contents[-1] = two_echoes(BitsAllocated=12)[-1]
    found = dict(read_each([zipped(contents)], ["a.zip"], deaths=deaths))
    assert [key[2] for key in found] == [0, 1]  # which entry is which does not depend on what can be decoded
    whole, part = found.values()
    assert_shows(whole, SLICES)
    assert_shows(part, OTHERS[:-1])
    assert not whole.doubts and [omission.count for omission in part.omitted] == [1] and part.doubts


def test_a_stack_of_which_nothing_can_be_decoded_keeps_its_row():
    contents = [*series(SLICES, EchoTime=10, **WINDOW), dicom(OTHERS[0], EchoTime=90, **WINDOW)]
    found = list(read_each([zipped(contents)], ["a.zip"], deaths={(0, 7): Death("It kills.", has_headers=True)}))
    ((_, scan), (_, refused)) = found
    assert_shows(scan, SLICES)
    assert refused.reason == "It kills."


@pytest.mark.parametrize("how", ["header", "zeros", "death"])
def test_a_file_that_may_be_of_any_series_forbids_acceptance_of_each(how):
    one, other = series(SLICES, SeriesInstanceUID="1.1", **WINDOW), series(OTHERS, SeriesInstanceUID="1.2", **WINDOW)
    contents, deaths = [*one, *other], {}
    contents[7] = {"header": contents[7][:200], "zeros": bytes(900), "death": contents[7]}[how]
    if how == "death":
        deaths = {(0, 8): Death("It kills.", has_headers=False)}
    entries = [entry for _, entry in read_each([zipped(contents)], ["a.zip"], deaths=deaths)]
    found = [entry for entry in entries if isinstance(entry, scans.Scan)]
    assert sorted(len(scan.slices) for scan in found) == [5, 6] and all(scan.doubts for scan in found)


# series


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": "A", "PatientName": "A^A"}, {"PatientID": "B", "PatientName": "B^B"}),
        ({"PatientID": "0", "PatientName": "A^A"}, {"PatientID": "0", "PatientName": "B^B"}),
        ({"PatientID": "A", "PatientName": None}, {"PatientID": "B", "PatientName": None}),
    ],
)
def test_patients_who_differ_in_anything_are_never_one(one, other):
    found = read_files(series(SLICES, **one, **WINDOW) + series(OTHERS, **other, **WINDOW), shuffled=False)
    for scan, slices in zip(found, (SLICES, OTHERS), strict=True):
        assert_shows(scan, slices)


def test_a_file_that_lacks_half_of_a_patient_is_still_his():
    contents = series(SLICES, **WINDOW)
    contents[2] = dicom(SLICES[2], InstanceNumber=3, ImagePositionPatient=[0, 0, 4], PatientID=None, **WINDOW)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert not scan.doubts


def test_files_that_name_nobody_are_not_accepted_as_somebodys():
    nobody = {"PatientID": None, "PatientName": None}
    contents = series(SLICES, **WINDOW)
    contents[2] = dicom(SLICES[2], InstanceNumber=3, ImagePositionPatient=[0, 0, 4], **nobody, **WINDOW)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert "name a patient and others do not" in scan.doubts[0]


def test_a_file_that_lost_its_uid_goes_with_the_only_series_like_it():
    contents = series(SLICES, SeriesNumber=5, **WINDOW)
    tags = {"SeriesNumber": 5, "InstanceNumber": 3, "ImagePositionPatient": [0, 0, 4], "SeriesInstanceUID": None}
    contents[2] = dicom(SLICES[2], **tags, **WINDOW)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


def test_a_zip_of_tables_of_contents_says_so():
    directory = dicom(SLICES[0], SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None)
    (refused,) = read_files([directory, directory])
    assert "table of contents" in refused.reason


@pytest.mark.parametrize("uids", [[None] * 6, [f"1.2.{i}" for i in range(6)]], ids=["none", "each its own"])
def test_files_without_a_common_uid_are_one_series(uids):
    contents = [
        dicom(
            one, SeriesInstanceUID=uid, SeriesNumber=5, InstanceNumber=i, ImagePositionPatient=[0, 0, 3 * i], **WINDOW
        )
        for i, (one, uid) in enumerate(zip(SLICES, uids, strict=True))
    ]
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert scan.spacing == (3, 1)


@pytest.mark.parametrize(
    "difference",
    [
        {"StudyInstanceUID": "9.9"},
        {"SeriesNumber": 6},
        {"SeriesDescription": "another"},
        {"ImageOrientationPatient": SAGITTAL},
        {"PatientID": "SOMEBODY-ELSE"},
    ],
)
def test_files_without_a_common_uid_that_differ_are_two(difference):
    def files(pixels, offset, **tags):
        return [
            dicom(
                one, SeriesInstanceUID=None, ImagePositionPatient=[0, 0, 3 * i + offset], **{"SeriesNumber": 5} | tags
            )
            for i, one in enumerate(pixels)
        ]

    found = read_files(files(SLICES, 0, **WINDOW) + files(OTHERS, 0, **WINDOW, **difference))
    sizes = [len(scan.slices) for scan in found]
    assert sum(sizes) == 12 and max(sizes) == 6
    assert_shows(
        max(found, key=lambda scan: np.array_equal(scan.slices[0].shape, (48, 64)) and len(scan.slices)), SLICES
    )


def test_one_uid_for_two_patients_is_two_scans():
    mine, yours = series(SLICES, PatientID="A", **WINDOW), series(OTHERS, PatientID="B", **WINDOW)
    found = read_files([*mine, *yours], shuffled=False)
    for scan, slices in zip(found, (SLICES, OTHERS), strict=True):
        assert_shows(scan, slices)


# places


def test_two_stations_beside_each_other_are_two_stacks():
    near = series(SLICES, **WINDOW)
    far = [dicom(one, ImagePositionPatient=[0, 250, 2 * i], **WINDOW) for i, one in enumerate(OTHERS)]
    first, second = sorted(
        read_files(near + far), key=lambda scan: scan.slices[0][0, 0] != SLICES[0][0, 0] / 4095 * WHITE
    )
    both = [first, second] if abs(int(first.slices[0][0, 0]) - SLICES[0][0, 0] / 4095 * WHITE) < 2 else [second, first]
    for scan, slices in zip(both, (SLICES, OTHERS), strict=True):
        assert_shows(scan, slices)
        assert scan.spacing == (2, 1) and not scan.doubts


@pytest.mark.parametrize("odd", [{"ImageOrientationPatient": [0.95, 0, 0, 0, 1.05, 0]}, {"PixelSpacing": [-1, 1]}])
def test_directions_and_sizes_that_are_a_little_wrong_are_all_alike(odd):
    (scan,) = read_files(series(SLICES, **odd, **WINDOW))
    assert_shows(scan, SLICES)


def test_slice_locations_do_not_overrule_positions():
    contents = [
        dicom(one, ImagePositionPatient=[0, 0, 2 * i], SliceLocation=2 * i + aside, EchoTime=echo, **WINDOW)
        for slices, aside, echo in ((SLICES, 0, 10), (OTHERS, 0.05, 90))
        for i, one in enumerate(slices)
    ]
    first, second = read_files(contents)
    assert_shows(first, SLICES)
    assert_shows(second, OTHERS)
    assert not first.notes and first.spacing == (2, 1)


def test_pixels_of_another_size_in_mm_are_another_stack():
    found = read_files(series(SLICES, **WINDOW) + series(OTHERS, PixelSpacing=[2, 2], **WINDOW))
    assert [len(scan.slices) for scan in found] == [6, 6] and len({scan.spacing for scan in found}) == 2


def test_one_copy_does_not_cut_an_interleaved_series_in_halves():
    contents = [
        dicom(one, AcquisitionNumber=1 + i % 2, InstanceNumber=i, ImagePositionPatient=[0, 0, 2 * i], **WINDOW)
        for i, one in enumerate(SLICES)
    ]
    again = dicom(OTHERS[0], AcquisitionNumber=2, InstanceNumber=9, ImagePositionPatient=[0, 0, 4], **WINDOW)
    found = read_files([*contents, again])
    assert sorted(len(scan.slices) for scan in found) == [1, 6]
    assert_shows(max(found, key=lambda scan: len(scan.slices)), SLICES)


@pytest.mark.parametrize("position", [None, "of all but one", "aside"])
def test_echoes_are_never_mixed_whatever_is_known_of_their_places(position):
    """Their numbers run on, so that these tell no two of them apart."""
    contents = []
    for echo, slices in enumerate((SLICES, OTHERS)):
        for i, one in enumerate(slices):
            place = None if position is None else [0, 0, 2 * i + (0.5 * echo if position == "aside" else 0)]
            place = None if position == "of all but one" and echo == 0 and i == 3 else place
            tags = {"EchoTime": 10 + 80 * echo, "InstanceNumber": 6 * echo + i + 1, "ImagePositionPatient": place}
            contents.append(dicom(one, **tags, **WINDOW))
    first, second = read_files(contents)
    assert_shows(first, SLICES)
    assert_shows(second, OTHERS)


def test_slices_that_lack_a_setting_which_all_others_share_are_no_other_picture():
    contents = series(SLICES, EchoTime=10, **WINDOW)
    for i in (2, 3):
        contents[i] = dicom(SLICES[i], InstanceNumber=i + 1, ImagePositionPatient=[0, 0, 2 * i], **WINDOW)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


def test_files_of_many_frames_without_positions_are_not_strung_together():
    contents = [dicom(np.stack(slices), InstanceNumber=i, **WINDOW) for i, slices in enumerate((SLICES, OTHERS))]
    first, second = read_files(contents)
    assert_shows(first, SLICES)
    assert_shows(second, OTHERS)


def test_a_sheared_stack_is_one():
    contents = [dicom(one, ImagePositionPatient=[0, 1.5 * i, 4 * i], **WINDOW) for i, one in enumerate(SLICES)]
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


@pytest.mark.parametrize("tag", ["InstanceNumber", "SliceLocation"])
@pytest.mark.parametrize("position", [None, [0, 0, 0]])
def test_without_positions_of_their_own_slices_are_ordered_by_what_there_is(tag, position):
    contents = [
        dicom(one, **{"InstanceNumber": 1, tag: 7 * i, "ImagePositionPatient": position}, **WINDOW)
        for i, one in enumerate(SLICES)
    ]
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert scan.spacing is None and len(scan.notes) == 1 and not scan.doubts
    assert ("slice location" if tag == "SliceLocation" else "order of their numbers") in scan.notes[0]


def test_a_slice_without_a_position_lies_where_its_number_puts_it():
    contents = series(SLICES, **WINDOW)
    contents[2] = dicom(SLICES[2], InstanceNumber=3, ImagePositionPatient=None, **WINDOW)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert scan.spacing == pytest.approx((2, 1)) and "numbers put them" in scan.notes[0]


@given(st.floats(0, 90), st.integers(0, 2), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_directions_that_differ_by_rounding_are_one_stack_turned_as_one(degrees, about, seed):
    """Whatever the angle: no slice stands on its head, none is taken for a localizer, as rounding to a key did."""
    rng = np.random.default_rng(seed)
    directions, normal = turned(degrees, about)
    contents = [
        dicom(
            one,
            ImageOrientationPatient=[f"{value:.10f}" for value in directions + rng.uniform(-1e-5, 1e-5, 6)],
            ImagePositionPatient=[f"{value:.6f}" for value in 3 * i * normal],
            **WINDOW,
        )
        for i, one in enumerate(SLICES)
    ]
    (scan,) = read_files(contents)
    assert len({one.shape for one in scan.slices}) == 1
    stored = [np.rint(one / 4095 * WHITE) for one in SLICES]
    ways = [
        [turn(one) for one in order]
        for order in (stored, stored[::-1])
        for turn in (
            np.asarray,
            np.fliplr,
            np.flipud,
            np.rot90,
            np.transpose,
            lambda p: np.rot90(p, 2),
            lambda p: np.rot90(p, 3),
            lambda p: np.rot90(p, 2).T,
        )
    ]
    assert any(way[0].shape == scan.slices[0].shape and np.abs(np.array(way) - scan.slices).max() <= 1 for way in ways)


@given(st.lists(st.floats(-0.004, 0.004), min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_positions_that_differ_by_rounding_are_one_place(errors):
    """Two echoes of each slice, one of them a little aside: two stacks of six, wherever a grid of 0.01 mm would cut."""
    early = [dicom(one, EchoTime=10, ImagePositionPatient=[0, 0, 2 * i], **WINDOW) for i, one in enumerate(SLICES)]
    late = [
        dicom(one, EchoTime=90, ImagePositionPatient=[0, 0, f"{2 * i + error:.6f}"], **WINDOW)
        for i, (one, error) in enumerate(zip(OTHERS, errors, strict=True))
    ]
    first, second = read_files(early + late, shuffled=False)
    assert_shows(first, SLICES)
    assert_shows(second, OTHERS)


# pictures at one place


@pytest.mark.parametrize(
    ("tag", "values", "word"),
    [
        ("EchoTime", (12, 90), "echo"),
        ("InversionTime", (400, 2500), "inversion"),
        ("DiffusionBValue", (0, 1000), "diffusion weighting"),
        ("TemporalPositionIdentifier", (1, 2), "time point"),
        ("AcquisitionNumber", (1, 2), "acquisition"),
        ("ContrastBolusAgent", (None, "GADOVIST"), "contrast phase"),
        ("SeriesDescription", ("T1", "T1 +C"), "description"),
        ("InstanceNumber", (1, 7), "repetition"),
    ],
)
def test_pictures_at_the_same_places_are_stacks_of_their_own(tag, values, word):
    first, second = (
        [
            dicom(one, **{"InstanceNumber": i + 1, "ImagePositionPatient": [0, 0, 2 * i], **WINDOW})
            for i, one in enumerate(slices)
        ]
        for slices in (SLICES, OTHERS)
    )
    contents = []
    for files, value in zip((first, second), values, strict=True):
        for i, content in enumerate(files):
            data = dcmread(BytesIO(content))
            if value is not None:
                setattr(data, tag, value + i if tag == "InstanceNumber" else value)
            buffer = BytesIO()
            data.save_as(buffer)
            contents.append(buffer.getvalue())
    found = read_files(contents)
    for scan, slices in zip(found, (SLICES, OTHERS), strict=True):
        assert_shows(scan, slices)
        assert scan.is_volume and not scan.doubts
    assert [scan.name.rpartition(", ")[2] for scan in found] == [f"{word} 1 of 2", f"{word} 2 of 2"]


def test_a_number_for_each_slice_tells_no_stacks_apart():
    contents = [
        dicom(one, AcquisitionNumber=i, EchoTime=echo, ImagePositionPatient=[0, 0, 2 * i], **WINDOW)
        for slices, echo in ((SLICES, 10), (OTHERS, 90))
        for i, one in enumerate(slices)
    ]
    first, second = read_files(contents)
    assert_shows(first, SLICES)
    assert_shows(second, OTHERS)


def test_more_pictures_than_are_answered_are_counted():
    contents = [
        dicom(
            slice_12_bit(10 * time + i), TemporalPositionIdentifier=time, ImagePositionPatient=[0, 0, 2 * i], **WINDOW
        )
        for time in range(11)
        for i in range(4)
    ]
    found = read_files(contents)
    assert [len(scan.slices) for scan in found] == [4] * 8
    assert sum(omission.count for scan in found for omission in scan.omitted) == 12 and found[0].doubts


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "phase images"),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "phase images"),
        (["ORIGINAL", "PRIMARY", "R", "ND"], "real parts"),
        (["ORIGINAL", "PRIMARY", "I", "ND"], "imaginary parts"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "maps"),
    ],
)
def test_magnitude_goes_before_all_else_and_is_never_mixed_with_it(kind, words):
    others = series(OTHERS, ImageType=kind, **WINDOW)
    (scan,) = read_files(series(SLICES, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], **WINDOW) + others)
    assert_shows(scan, SLICES)
    assert not scan.doubts and scan.notes[0].startswith("6 slices were left out. They are ") and words in scan.notes[0]


def test_a_series_of_phase_images_alone_is_refused():
    (refused,) = read_files(series(SLICES, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"], **WINDOW))
    assert "shows no anatomy" in refused.reason and "phase" in refused.reason


def test_an_enhanced_image_says_of_each_frame_what_it_is():
    each = []
    for i in range(12):
        frame, position, kind, echo = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 2 * (i % 6)]
        kind.FrameType, kind.ComplexImageComponent = ["ORIGINAL", "PRIMARY"], "MAGNITUDE" if i < 6 else "PHASE"
        echo.EffectiveEchoTime = 20
        frame.PlanePositionSequence, frame.MREchoSequence = Sequence([position]), Sequence([echo])
        frame.MRImageFrameTypeSequence = Sequence([kind])
        each.append(frame)
    scan = scans.read(enhanced(np.stack(SLICES + OTHERS), [0] * 12, PerFrameFunctionalGroupsSequence=each, **WINDOW))
    assert_shows(scan, SLICES)
    assert "phase images" in scan.notes[0]


def test_the_early_echo_of_a_double_one_is_no_t2():
    contents = series(SLICES, EchoTime=15, RepetitionTime=3000, SeriesDescription="AX PD T2", **WINDOW)
    contents += series(OTHERS, EchoTime=90, RepetitionTime=3000, SeriesDescription="AX PD T2", **WINDOW)
    first, second = read_files(contents)
    assert (first.sequence, second.sequence) == ("", "T2")


# one odd value


@pytest.mark.parametrize(
    "missing", ["SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation", "BitsStored", "HighBit"]
)
@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG 2000"])
def test_a_missing_tag_has_the_value_that_nearly_all_files_have(missing, syntax):
    contents = []
    for one in series(SLICES, syntax, **WINDOW):
        data = dcmread(BytesIO(one))
        del data[missing]
        buffer = BytesIO()
        data.save_as(buffer)
        contents.append(buffer.getvalue())
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


def test_decimal_commas_are_read():
    tags = {"PixelSpacing": [2.5, 1.25], "WindowCenter": 2048, "WindowWidth": 4096, "RescaleSlope": 1.5}
    plain = [dicom(one, ImagePositionPatient=[0, 0, 2.5 * i], **tags) for i, one in enumerate(SLICES)]
    commas = []
    for content in plain:
        for number in (b"2.5\\1.25", b"0.0\\0.0\\2.5", b"0\\0\\2.5", b"1.5 "):
            content = content.replace(number, number.replace(b".", b","))
        commas.append(content)
    assert commas != plain
    (expected,), (found,) = read_files(plain), read_files(commas)
    np.testing.assert_array_equal(np.stack(found.slices), np.stack(expected.slices))
    assert (found.spacing, found.plane, found.notes) == (expected.spacing, expected.plane, ())


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
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    (scan,) = read_files(series(SLICES, **tags, **WINDOW))
    assert_shows(scan, [4095 - one for one in SLICES] if inverted else SLICES)


@pytest.mark.parametrize(
    "odd",
    [
        {"PhotometricInterpretation": "GRAY"},
        {"PixelRepresentation": 5},
        {"PixelPaddingValue": "1e30"},
    ],
)
def test_nonsense_in_one_tag_has_the_value_that_nearly_all_files_have(odd):
    contents = []
    for one in series(SLICES, **WINDOW):
        data = dcmread(BytesIO(one))
        for tag, value in odd.items():
            data.add_new(tag, "DS" if tag == "PixelPaddingValue" else data[tag].VR, value)
        buffer = BytesIO()
        data.save_as(buffer)
        contents.append(buffer.getvalue())
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


@pytest.mark.parametrize("named", ["JPEG Baseline", "JPEG 2000", "RLE", "JPEG-LS"])
def test_plain_pixels_are_read_whatever_compression_is_named(named):
    uid = dcmread(BytesIO(dicom((SLICES[0] >> 4).astype(np.uint8), named))).file_meta.TransferSyntaxUID
    contents = []
    for one in series(SLICES, **WINDOW):
        data = dcmread(BytesIO(one))
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        buffer = BytesIO()
        data.save_as(buffer)
        old = b"1.2.840.10008.1.2.1\0"
        start = buffer.getvalue().index(b"\x02\x00\x10\x00UI")
        length = len(uid) + len(uid) % 2
        head = buffer.getvalue()[: start + 6] + length.to_bytes(2, "little") + uid.encode().ljust(length, b"\0")
        rest = buffer.getvalue()[start + 8 + len(old) :]
        size = int.from_bytes(head[140:144], "little") + length - len(old)
        contents.append(head[:140] + size.to_bytes(4, "little") + head[144:] + rest)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)


@pytest.mark.parametrize("syntax", ["JPEG 2000", "JPEG Lossless", "JPEG-LS", "RLE"])
def test_a_picture_is_decoded_as_what_it_is_whatever_is_named(syntax):
    data = dcmread(BytesIO(dicom(SLICES[0], syntax, **WINDOW)))
    other = "1.2.840.10008.1.2.4.50" if syntax == "JPEG 2000" else "1.2.840.10008.1.2.4.90"
    data.file_meta.TransferSyntaxUID = other
    buffer = BytesIO()
    data.save_as(buffer)
    assert_shows(scans.read(buffer.getvalue()), SLICES[:1])


# what is no gray


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [WINDOW, {}])
@pytest.mark.parametrize(("value", "limit"), [(4095, None), (4000, 4095), (-1, None)])
def test_padding_is_background(photometric, window, value, limit):
    padded = [one.clip(0, 3900) for one in SLICES]
    for one in padded:
        one[:10] = value % 2**16
    tags = {"PhotometricInterpretation": photometric, **window, "BitsStored": 16, "HighBit": 15}
    contents = []
    for one in series(padded, **tags):
        data = dcmread(BytesIO(one))
        data.add_new("PixelPaddingValue", "US", value % 2**16)
        if limit:
            data.add_new("PixelPaddingRangeLimit", "US", limit)
        buffer = BytesIO()
        data.save_as(buffer)
        contents.append(buffer.getvalue())
    (scan,) = read_files(contents)
    shown = np.stack(scan.slices)
    assert not shown[:, :10].any() and shown[:, 10:].max() > 0.9 * WHITE
