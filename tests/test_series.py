"""DICOM series: no slice is lost, none is in two scans, and what tells these apart is read from the tags."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import MediaStorageDirectoryStorage

from model import scans
from model.scans import limits
from model.scans.dicom.files import DAMAGED
from model.scans.grays import WHITE
from model.scans.reading import Death, read_each
from tests.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    WINDOW,
    BytesIO,
    dicom,
    enhanced,
    retagged,
    series,
    slice_12_bit,
    zipped,
)

SLICES = [slice_12_bit(seed) for seed in range(6)]
OTHERS = [slice_12_bit(seed) for seed in range(10, 16)]
OTHER = slice_12_bit(9, (40, 40))
KILLED = Death("It kills.", has_headers=True)


def at(number, step=2, **tags):
    """Tags of the slice of that number, counted from 0, and of the window."""
    return {"InstanceNumber": number + 1, "ImagePositionPatient": [0, 0, step * number], **WINDOW, **tags}


def made(slices, step=2, of_each=lambda number: {}, **tags):
    """A file for each slice, `step` mm apart, with tags in common and `of_each`."""
    return [dicom(one, **at(i, step) | tags | of_each(i)) for i, one in enumerate(slices)]


def read_files(contents, shuffled=True, **others):
    """What a ZIP of files holds."""
    contents = list(contents)
    if shuffled:
        random.Random(0).shuffle(contents)
    return [entry for _, entry in read_each([zipped(contents)], ["series.zip"], **others)]


def assert_shows(scan, slices):
    assert len(scan.slices) == len(slices)
    expected = np.stack(slices).astype(np.float64) / 4095 * WHITE
    assert np.abs(np.stack(scan.slices) - expected).max() <= 1


def assert_both(found, slices=SLICES, others=OTHERS):
    for scan, expected in zip(found, (slices, others), strict=True):
        assert_shows(scan, expected)


def counts(scan):
    return [omission.count for omission in scan.omitted]


# what is a slice


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_every_slice_is_shown_once_or_said_to_be_left_out(data):
    """Whatever tags a series has: each of its files is a slice of one scan, or counted in an omission."""
    count = data.draw(st.integers(1, 10))
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
    read = [scan for scan in found if isinstance(scan, scans.Scan)]
    shown, omitted = [one for scan in read for one in scan.slices], sum(sum(counts(scan)) for scan in read)
    assert len(shown) + omitted == count or len(read) < len(found)
    if len(read) == len(found) and not omitted:
        means = sorted(round(float(one.mean())) for one in shown)
        np.testing.assert_allclose(means, sorted(one.mean() / 4095 * WHITE for one in pixels), atol=2)


@pytest.mark.parametrize("uid", ["1.2.3", None])
def test_one_uid_in_all_files_makes_none_of_them_a_copy(uid):
    (scan,) = read_files(made(SLICES, SOPInstanceUID=uid))
    assert_shows(scan, SLICES)
    assert not scan.notes and not scan.doubts


def test_a_copy_has_the_same_pixels():
    contents = made(SLICES)
    (scan,) = read_files([*contents, *contents])
    assert_shows(scan, SLICES)
    assert scan.notes == ()
    found = read_files([*contents, retagged(contents[2], PixelData=OTHERS[0].tobytes())])
    assert sorted(len(scan.slices) for scan in found) == [1, 6]


@pytest.mark.parametrize("syntax", ["implicit", "big endian", "deflated", "RLE", "JPEG Lossless", "JPEG 2000"])
@pytest.mark.parametrize("claim", [None, 0, 4])
def test_frames_are_counted_by_what_is_there(syntax, claim):
    content = dicom(np.stack(SLICES), syntax, **WINDOW)
    assert_shows(scans.read(retagged(content, NumberOfFrames=claim)), SLICES)


def code_streams():
    content = dicom(np.stack(SLICES), "JPEG 2000", **WINDOW)
    return content, list(generate_frames(dcmread(BytesIO(content)).PixelData, number_of_frames=len(SLICES)))


@pytest.mark.parametrize("has_table", [True, False])
def test_a_frame_in_several_fragments_is_one(has_table):
    content, frames = code_streams()
    data = encapsulate(frames, fragments_per_frame=3, has_bot=has_table)
    assert_shows(scans.read(retagged(content, PixelData=data, NumberOfFrames=None)), SLICES)


def test_frames_that_are_promised_and_not_there_are_counted():
    scan = scans.read(enhanced(np.stack(SLICES[:4]), [0, 2, 4, 6, 8, 10], NumberOfFrames=4, **WINDOW))
    assert_shows(scan, SLICES[:4])
    assert counts(scan) == [2] and scan.doubts
    content = dicom(np.stack(SLICES[:4]), **WINDOW)
    scan = scans.read(content[: -3 * SLICES[0].nbytes // 2])
    assert_shows(scan, SLICES[:2])
    assert scan.doubts == (f"2 slices were left out. {DAMAGED}",)


def test_a_damaged_frame_costs_itself():
    content, frames = code_streams()
    scan = scans.read(retagged(content, PixelData=encapsulate([*frames[:2], frames[2][:40], *frames[3:]])))
    assert_shows(scan, [*SLICES[:2], *SLICES[3:]])
    assert counts(scan) == [1] and scan.doubts


def without_pixels(content):
    return content[: content.index(b"\xe0\x7f\x10\x00")]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_pixels, "holds no image"),
        (lambda content: content[:-1000], DAMAGED),
        (lambda content: retagged(content, BodyPartExamined="KNEE"), "body part KNEE"),
    ],
)
def test_a_file_that_cannot_be_read_is_missing_from_its_series(spoil, words):
    contents = made(SLICES)
    contents[3] = spoil(contents[3])
    (scan,) = read_files(contents)
    assert_shows(scan, [*SLICES[:3], *SLICES[4:]])
    assert counts(scan) == [1] and words in scan.doubts[0]


@pytest.mark.parametrize("how", ["no pixels", "death", "compression"])
def test_what_cannot_be_decoded_is_missing_from_its_own_stack(how):
    contents, deaths = made(SLICES, EchoTime=10) + made(OTHERS, EchoTime=90), {}
    if how == "no pixels":
        contents[-1] = without_pixels(contents[-1])
    elif how == "death":
        deaths = {(0, 12): KILLED}
    else:
        contents[-1] = retagged(contents[-1], BitsAllocated=12)
    found = dict(read_each([zipped(contents)], ["a.zip"], deaths=deaths))
    assert [key[2] for key in found] == [0, 1]  # which entry is which does not depend on what can be decoded
    whole, part = found.values()
    assert_both([whole, part], others=OTHERS[:-1])
    assert not whole.doubts and counts(part) == [1] and part.doubts


def test_a_stack_of_which_nothing_can_be_decoded_keeps_its_row():
    contents = [*made(SLICES, EchoTime=10), dicom(OTHERS[0], EchoTime=90, **WINDOW)]
    scan, refused = read_files(contents, shuffled=False, deaths={(0, 7): KILLED})
    assert_shows(scan, SLICES)
    assert refused.reason == KILLED.reason


@pytest.mark.parametrize("how", ["header", "zeros", "death"])
def test_a_file_that_may_be_of_any_series_forbids_acceptance_of_each(how):
    contents = made(SLICES, SeriesInstanceUID="1.1") + made(OTHERS, SeriesInstanceUID="1.2")
    contents[7] = {"header": contents[7][:200], "zeros": bytes(900), "death": contents[7]}[how]
    deaths = {(0, 8): Death("It kills.", has_headers=False)} if how == "death" else {}
    entries = read_files(contents, shuffled=False, deaths=deaths)
    found = [entry for entry in entries if isinstance(entry, scans.Scan)]
    assert [len(scan.slices) for scan in found] == [6, 5] and all(scan.doubts for scan in found)


# what is a series


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientID": "A", "PatientName": "A^A"}, {"PatientID": "B", "PatientName": "B^B"}),
        ({"PatientID": "0", "PatientName": "A^A"}, {"PatientID": "0", "PatientName": "B^B"}),
        ({"PatientID": "A", "PatientName": None}, {"PatientID": "B", "PatientName": None}),
    ],
)
def test_patients_who_differ_in_anything_are_never_one(one, other):
    assert_both(read_files(made(SLICES, **one) + made(OTHERS, **other), shuffled=False))


@pytest.mark.parametrize("lacks", [{"PatientID": None}, {"PatientID": None, "PatientName": None}])
def test_a_file_that_names_half_of_a_patient_is_his_and_one_that_names_nobody_is_not_accepted_as_his(lacks):
    (scan,) = read_files(made(SLICES, of_each=lambda i: lacks if i == 2 else {}))
    assert_shows(scan, SLICES)
    assert bool(scan.doubts) == (len(lacks) == 2)
    assert all("name a patient and others do not" in doubt for doubt in scan.doubts)


@pytest.mark.parametrize(
    "uid", [lambda i: None, lambda i: f"1.2.{i}", lambda i: None if i == 2 else "1.2"], ids=["none", "own", "one lost"]
)
def test_files_without_a_common_uid_are_one_series(uid):
    (scan,) = read_files(made(SLICES, 3, of_each=lambda i: {"SeriesInstanceUID": uid(i)}, SeriesNumber=5))
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
    tags = {"SeriesInstanceUID": None, "SeriesNumber": 5}
    found = read_files(made(SLICES, 3, **tags) + made(OTHERS, 3, **tags | difference))
    sizes = [len(scan.slices) for scan in found]
    assert sum(sizes) == 12 and max(sizes) == 6
    assert_shows(max(found, key=lambda scan: (len(scan.slices), scan.slices[0].shape == (48, 64))), SLICES)


def test_two_series_are_two_scans_in_the_order_of_their_first_files(tmp_path):
    first, second = (made(SLICES[:n], SeriesInstanceUID=f"1.2.{n}") for n in (2, 3))
    found = scans.read_all([second[0], first[0], *second[1:], *first[1:]], ["a"] * 5)
    assert [len(scan.slices) for scan in found] == [3, 2]


# where slices lie


def test_files_in_any_order_are_one_volume_from_the_feet_up_whatever_their_numbers(tmp_path):
    contents = made(SLICES, 3, of_each=lambda i: {"InstanceNumber": 9 - i})
    random.Random(0).shuffle(contents)
    files = [tmp_path / f"IM{i}" for i in range(6)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    begun = []
    (scan,) = scans.read_all(files, begin=begun.append)
    assert (scan.kind, scan.plane, scan.spacing, scan.notes) == ("DICOM series", "axial", (3, 1), ())
    assert scan.name == "IM0 and 5 more" and scan.is_volume
    assert_shows(scan, SLICES)
    assert begun[:6] == [*range(6)] and sorted(begun[6:]) == [*range(6)]  # looked at, then decoded


@pytest.mark.parametrize(
    ("orientation", "direction"), [(CORONAL, [0, 2, 0]), (SAGITTAL, [2, 0, 0]), ([-1, 0, 0, 0, 1, 0], [0, 0, 2])]
)
def test_each_plane_has_its_own_first_slice(orientation, direction):
    """Coronal slices run from the face back, sagittal ones to the left, axial ones up, whichever way rows point."""
    place = {"of_each": lambda i: {"ImagePositionPatient": [step * i for step in direction]}}
    (scan,) = read_files(made(SLICES, ImageOrientationPatient=orientation, **place))
    assert scan.spacing == (2, 1)
    assert_shows(scan, [np.fliplr(pixels) for pixels in SLICES] if orientation[0] == -1 else SLICES)


def turned(degrees, about):
    """Row and column directions of axial slices, turned about an axis of the patient."""
    angle = np.radians(degrees)
    i, j = [k for k in range(3) if k != about]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(angle)
    turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
    return np.concatenate([turn @ [1, 0, 0], turn @ [0, 1, 0]]), turn @ [0, 0, 1]


@given(st.floats(0, 90), st.integers(0, 2), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_directions_that_differ_by_rounding_are_one_stack_turned_as_one(degrees, about, seed):
    """Whatever the angle: no slice stands on its head, none is taken for a localizer, as rounding to a key did."""
    rng = np.random.default_rng(seed)
    directions, normal = turned(degrees, about)

    def place(i):
        lies = [f"{value:.10f}" for value in directions + rng.uniform(-1e-5, 1e-5, 6)]
        return {"ImageOrientationPatient": lies, "ImagePositionPatient": [f"{value:.6f}" for value in 3 * i * normal]}

    (scan,) = read_files(made(SLICES, of_each=place))
    stored = np.stack([np.rint(one / 4095 * WHITE) for one in SLICES])
    ways = [
        np.rot90(way, times, axes=(1, 2))
        for order in (stored, stored[::-1])
        for way in (order, order[:, :, ::-1])
        for times in range(4)
    ]
    shown = np.stack(scan.slices)
    assert any(way.shape == shown.shape and np.abs(way - shown).max() <= 1 for way in ways)


@given(st.lists(st.floats(-0.004, 0.004), min_size=6, max_size=6))
@settings(max_examples=15, deadline=None)
def test_positions_that_differ_by_rounding_are_one_place(errors):
    """Two echoes of each slice, one of them a little aside: two stacks of six, wherever a grid of 0.01 mm would cut."""
    late = made(OTHERS, EchoTime=90, of_each=lambda i: {"ImagePositionPatient": [0, 0, f"{2 * i + errors[i]:.6f}"]})
    assert_both(read_files(made(SLICES, EchoTime=10) + late, shuffled=False))


@pytest.mark.parametrize("odd", [{"ImageOrientationPatient": [0.95, 0, 0, 0, 1.05, 0]}, {"PixelSpacing": [-1, 1]}])
def test_directions_and_sizes_that_are_a_little_wrong_are_all_alike(odd):
    (scan,) = read_files(made(SLICES, **odd))
    assert_shows(scan, SLICES)


def test_two_stations_beside_each_other_are_two_stacks():
    far = made(OTHERS, of_each=lambda i: {"ImagePositionPatient": [0, 250, 2 * i]})
    found = sorted(read_files(made(SLICES) + far), key=lambda scan: abs(int(scan.slices[0][0, 0]) - near_first))
    assert_both(found)
    assert all(scan.spacing == (2, 1) and not scan.doubts for scan in found)


near_first = SLICES[0][0, 0] / 4095 * WHITE


def test_a_sheared_stack_is_one():
    (scan,) = read_files(made(SLICES, of_each=lambda i: {"ImagePositionPatient": [0, 1.5 * i, 4 * i]}))
    assert_shows(scan, SLICES)


def test_slice_locations_do_not_overrule_positions():
    contents = [
        one
        for slices, aside, echo in ((SLICES, 0, 10), (OTHERS, 0.05, 90))
        for one in made(slices, EchoTime=echo, of_each=lambda i, aside=aside: {"SliceLocation": 2 * i + aside})
    ]
    first, second = read_files(contents)
    assert_both([first, second])
    assert not first.notes and first.spacing == (2, 1)


@pytest.mark.parametrize("tag", ["InstanceNumber", "SliceLocation"])
@pytest.mark.parametrize("position", [None, [0, 0, 0]])
def test_without_positions_of_their_own_slices_are_ordered_by_what_there_is(tag, position):
    tags = {"InstanceNumber": 1, "ImagePositionPatient": position}
    (scan,) = read_files(made(SLICES, **tags, of_each=lambda i: {tag: 7 * i}))
    assert_shows(scan, SLICES)
    assert scan.spacing is None and not scan.is_volume and len(scan.notes) == 1 and not scan.doubts
    assert ("slice location" if tag == "SliceLocation" else "order of their numbers") in scan.notes[0]


def test_a_slice_without_a_position_lies_where_its_number_puts_it():
    (scan,) = read_files(made(SLICES, of_each=lambda i: {"ImagePositionPatient": None} if i == 2 else {}))
    assert_shows(scan, SLICES)
    assert scan.spacing == pytest.approx((2, 1)) and "numbers put them" in scan.notes[0]


def test_a_gap_keeps_other_planes_from_being_cut():
    contents = made(SLICES)
    (scan,) = read_files(contents[:2] + contents[3:])
    assert len(scan.slices) == 5 and scan.spacing is None and "even distances" in scan.notes[0]


def test_files_of_many_frames_without_positions_are_not_strung_together():
    assert_both(read_files([dicom(np.stack(slices), **at(i)) for i, slices in enumerate((SLICES, OTHERS))]))


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
    contents = [
        one
        for slices, value in zip((SLICES, OTHERS), values, strict=True)
        for one in made(slices, of_each=lambda i, v=value: {tag: v + i if tag == "InstanceNumber" else v})
    ]
    found = read_files(contents)
    assert_both(found)
    assert all(scan.is_volume and not scan.doubts for scan in found)
    assert [scan.name.rpartition(", ")[2] for scan in found] == [f"{word} 1 of 2", f"{word} 2 of 2"]


@pytest.mark.parametrize("position", ["none", "of all but one", "aside", "known, and an acquisition for each slice"])
def test_echoes_are_never_mixed_whatever_is_known_of_their_places(position):
    """Their numbers run on, so that these tell no two of them apart."""
    contents = []
    for echo, slices in enumerate((SLICES, OTHERS)):
        for i, one in enumerate(slices):
            place = [0, 0, 2 * i + (0.5 * echo if position == "aside" else 0)]
            if position == "none" or (position == "of all but one" and echo == 0 and i == 3):
                place = None
            tags = {"EchoTime": 10 + 80 * echo, "InstanceNumber": 6 * echo + i + 1, "ImagePositionPatient": place}
            contents.append(dicom(one, AcquisitionNumber=i if "known" in position else None, **tags, **WINDOW))
    assert_both(read_files(contents))


def test_slices_that_lack_a_setting_which_all_others_share_are_no_other_picture():
    (scan,) = read_files(made(SLICES, of_each=lambda i: {} if i in (2, 3) else {"EchoTime": 10}))
    assert_shows(scan, SLICES)


def test_one_copy_does_not_cut_an_interleaved_series_in_halves():
    contents = made(SLICES, of_each=lambda i: {"AcquisitionNumber": 1 + i % 2})
    found = read_files([*contents, dicom(OTHERS[0], **at(2, AcquisitionNumber=2, InstanceNumber=9))])
    assert sorted(len(scan.slices) for scan in found) == [1, 6]
    assert_shows(max(found, key=lambda scan: len(scan.slices)), SLICES)


def test_more_pictures_than_are_answered_are_counted():
    contents = [
        one
        for time in range(11)
        for one in made([slice_12_bit(10 * time + i) for i in range(4)], TemporalPositionIdentifier=time)
    ]
    found = read_files(contents)
    assert [len(scan.slices) for scan in found] == [4] * 8
    assert sum(sum(counts(scan)) for scan in found) == 12 and found[0].doubts


@pytest.mark.parametrize(
    "other", [{"ImageOrientationPatient": SAGITTAL}, {"PixelSpacing": [2, 2]}, {"size": (40, 40)}], ids=str
)
def test_what_lies_otherwise_or_has_another_size_is_a_scan_of_its_own(other):
    pixels = OTHER if "size" in other else OTHERS[0]
    tags = {tag: value for tag, value in other.items() if tag != "size"}
    found = read_files([dicom(pixels, **tags, **WINDOW), *made(SLICES)])
    assert sorted(len(scan.slices) for scan in found) == [1, 6]
    assert_shows(max(found, key=lambda scan: len(scan.slices)), SLICES)
    assert len({scan.name for scan in found}) == 2 and not any(scan.doubts for scan in found)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "phase images"),
        (["ORIGINAL", "PRIMARY", "P", "ND"], "phase images"),
        (["ORIGINAL", "PRIMARY", "R", "ND"], "real parts"),
        (["ORIGINAL", "PRIMARY", "I", "ND"], "imaginary parts"),
        (["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "maps"),
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "localizers"),
    ],
)
def test_magnitude_goes_before_all_else_and_is_never_mixed_with_it(kind, words):
    contents = made(SLICES, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"]) + made(OTHERS, ImageType=kind)
    (scan,) = read_files(contents)
    assert_shows(scan, SLICES)
    assert not scan.doubts and scan.notes[0].startswith("6 slices were left out. They are ") and words in scan.notes[0]


def test_a_series_of_phase_images_alone_is_refused():
    (refused,) = read_files(made(SLICES, ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]))
    assert "shows no anatomy" in refused.reason and "phase" in refused.reason


def test_a_series_of_another_kind_is_refused_once():
    (entry,) = read_files(made(SLICES, Modality="CT"), shuffled=False)
    assert entry.name == "series.zip" and "modality CT" in entry.reason


# one file with many slices


def test_an_enhanced_image_is_ordered_by_position():
    heights = [4, 0, 8, 2, 6, 10]
    scan = scans.read(enhanced(np.stack(SLICES), heights, "JPEG Lossless", **WINDOW))
    assert (scan.kind, scan.plane, scan.spacing) == ("DICOM", "axial", (2, 1))
    assert_shows(scan, [SLICES[i] for i in np.argsort(heights)])


def groups(**tags):
    """A data set of one item for each functional group."""
    frame = Dataset()
    for sequence, values in tags.items():
        inner = Dataset()
        for tag, value in values.items():
            setattr(inner, tag, value)
        setattr(frame, sequence, Sequence([inner]))
    return frame


def test_an_enhanced_image_says_of_each_frame_what_it_is():
    """Its place, window, rescaling, echo and kind: the first six are magnitudes, the last six phases."""
    each = [
        groups(
            PlanePositionSequence={"ImagePositionPatient": [0, 0, 2 * (i % 6)]},
            PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": -100},
            FrameVOILUTSequence={"WindowCenter": 2 * 2047.5 - 100 + 0.5, "WindowWidth": 2 * 4095 + 1},
            MREchoSequence={"EffectiveEchoTime": 20},
            MRImageFrameTypeSequence={
                "FrameType": ["ORIGINAL", "PRIMARY"],
                "ComplexImageComponent": "MAGNITUDE" if i < 6 else "PHASE",
            },
        )
        for i in range(12)
    ]
    scan = scans.read(enhanced(np.stack(SLICES + OTHERS), [0] * 12, PerFrameFunctionalGroupsSequence=each))
    assert_shows(scan, SLICES)
    assert "phase images" in scan.notes[0]


def test_frames_at_one_position_are_repetitions():
    scan = scans.read(enhanced(np.stack([*SLICES, *SLICES[::-1]]), [0, 2, 4, 6, 8, 10] * 2, **WINDOW))
    assert_shows(scan, SLICES)


@pytest.mark.parametrize("syntax", ["explicit", "deflated", "RLE", "JPEG-LS"])
def test_frames_without_positions_come_as_stored(syntax):
    scan = scans.read(dicom(np.stack(SLICES), syntax, **WINDOW))
    assert_shows(scan, SLICES)
    assert scan.plane == "axial" and scan.spacing is None


# values that are odd, or no gray


def test_all_slices_share_one_window():
    """Each file brings its own; a brighter slice must stay brighter."""
    dim = [pixels // (i + 1) for i, pixels in enumerate(SLICES[:5])]
    windows = {"of_each": lambda i: {"WindowCenter": 2000 // (i + 1), "WindowWidth": 4000 // (i + 1)}}
    (scan,) = read_files(made(dim, **windows))
    assert [int(pixels.mean()) for pixels in scan.slices] == sorted((int(p.mean()) for p in scan.slices), reverse=True)
    low, high = 4000 // 3 // 2 - 4000 // 3 / 2, 2000 // 3 + 4000 // 3 / 2 - 1  # of the middle slice
    expected = np.clip((dim[1] - low) / (high - low), 0, 1) * WHITE
    assert np.abs(scan.slices[1] - expected).mean() < 0.01 * WHITE


@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG 2000"])
@pytest.mark.parametrize(
    "odd",
    [
        {"SamplesPerPixel": None},
        {"PhotometricInterpretation": None},
        {"PixelRepresentation": None},
        {"BitsStored": None, "HighBit": None},
        {"PhotometricInterpretation": "GRAY"},
        {"PixelRepresentation": 5},
        {"PixelPaddingValue": ("DS", "1e30")},
    ],
    ids=str,
)
def test_a_missing_tag_and_nonsense_have_the_value_that_nearly_all_files_have(odd, syntax):
    assert_shows(scans.read(retagged(dicom(SLICES[0], syntax, **WINDOW), **odd)), SLICES[:1])


def test_decimal_commas_are_read():
    plain = made(SLICES, 2.5, PixelSpacing=[2.5, 1.25], RescaleSlope=1.5)
    commas = []
    for content in plain:
        for number in (b"2.5\\1.25", b"0.0\\0.0\\2.5", b"0\\0\\2.5", b"1.5 "):
            content = content.replace(number, number.replace(b".", b","))
        commas.append(content)
    assert commas != plain
    (expected,), (found,) = read_files(plain), read_files(commas)
    np.testing.assert_array_equal(np.stack(found.slices), np.stack(expected.slices))
    assert (found.spacing, found.plane, found.notes) == (expected.spacing, expected.plane, ())


@pytest.mark.parametrize("named", ["JPEG Baseline", "JPEG 2000", "RLE", "JPEG-LS"])
def test_plain_pixels_are_read_whatever_compression_is_named(named):
    uid = dcmread(BytesIO(dicom((SLICES[0] >> 4).astype(np.uint8), named))).file_meta.TransferSyntaxUID
    content, old = dicom(SLICES[0], **WINDOW), b"1.2.840.10008.1.2.1\0"
    new = uid.encode() + b"\0" * (len(uid) % 2)
    start = content.index(old)
    head = bytearray(content[: start - 2] + len(new).to_bytes(2, "little") + new)
    head[140:144] = (int.from_bytes(head[140:144], "little") + len(new) - len(old)).to_bytes(4, "little")
    assert_shows(scans.read(bytes(head) + content[start + len(old) :]), SLICES[:1])


@pytest.mark.parametrize("syntax", ["JPEG 2000", "JPEG Lossless", "JPEG-LS", "RLE"])
def test_a_picture_is_decoded_as_what_it_is_whatever_is_named(syntax):
    other = "1.2.840.10008.1.2.4.50" if syntax == "JPEG 2000" else "1.2.840.10008.1.2.4.90"
    content = retagged(dicom(SLICES[0], syntax, **WINDOW), TransferSyntaxUID=other)
    assert_shows(scans.read(content), SLICES[:1])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [WINDOW, {}])
@pytest.mark.parametrize(("value", "limit"), [(4095, None), (4000, 4095), (-1, None)])
def test_padding_is_background(photometric, window, value, limit):
    padded = [one.clip(0, 3900) for one in SLICES]
    for one in padded:
        one[:10] = value % 2**16
    tags = {"PhotometricInterpretation": photometric, **window, "BitsStored": 16, "HighBit": 15}
    padding = {"PixelPaddingValue": ("US", value % 2**16), "PixelPaddingRangeLimit": ("US", limit) if limit else None}
    (scan,) = read_files(retagged(content, **padding) for content in series(padded, **tags))
    shown = np.stack(scan.slices)
    assert not shown[:, :10].any() and shown[:, 10:].max() > 0.9 * WHITE


# discs, archives and limits


def test_a_zip_of_a_folder_with_a_table_of_contents_is_the_series():
    directory = dicom(SLICES[0], SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None)
    disc = {f"DICOM/ST0/IM{9 - i}": content for i, content in enumerate(made(SLICES))}
    beside = {
        "DICOMDIR": directory,
        "VIEWER.EXE": b"MZ" + bytes(1000),
        "__MACOSX/DICOM/._IM0": bytes(100),
        ".DS_Store": bytes(100),
        "README.TXT": b"Insert the disc.",
    }
    scan = scans.read(zipped(disc | beside), "disc.zip")
    assert (scan.name, scan.kind, scan.notes) == ("disc.zip", "DICOM series", ())
    assert_shows(scan, SLICES)
    (refused,) = read_files([directory, directory])
    assert "table of contents" in refused.reason


def test_of_several_series_in_a_zip_each_is_an_entry_and_one_file_gives_the_longest():
    short, long = (made(SLICES[:n], SeriesInstanceUID=f"1.2.{n}") for n in (2, 4))
    content = zipped([*short, *long, dicom(SLICES[0], Modality="SR", SeriesInstanceUID="1.2.9")])
    first, second, refused = scans.read_all([content], ["all.zip"])
    assert [len(first.slices), len(second.slices)] == [2, 4]
    assert first.name == "all.zip: IM0 and 1 more" and "modality SR" in refused.reason
    longest = scans.read(content)
    assert_shows(longest, SLICES[:4])
    assert "2 scans" in longest.doubts[0]


def test_a_damaged_entry_of_a_zip_costs_its_slice():
    content = bytearray(zipped(made(SLICES), method=0))
    content[content.index(SLICES[2].tobytes()) + 100] ^= 1  # its checksum no longer fits
    scan, damaged = scans.read_all([bytes(content)], ["a.zip"])
    assert_shows(scan, [*SLICES[:2], *SLICES[3:]])
    assert damaged.name == "a.zip: IM2"
    assert scan.doubts[0].startswith("1 slice was left out. Files beside it are damaged")


def test_one_bad_file_costs_one_entry():
    bad, scan, empty = scans.read_all([SLICES[0].tobytes(), *made(SLICES), b""], [f"file {i}" for i in range(8)])
    assert bad.name == "file 0" and bad.reason.startswith("This is no image")
    assert_shows(scan, SLICES)
    assert empty.name == "file 7" and "empty" in empty.reason


def test_what_is_read_at_once_is_limited(monkeypatch):
    contents = [dicom(SLICES[0], SeriesInstanceUID=f"1.2.{i}") for i in range(4)]
    monkeypatch.setattr(limits, "MAX_BYTES_AT_ONCE", 2 * SLICES[0].nbytes)
    kinds = [type(entry).__name__ for entry in scans.read_all(contents)]
    assert kinds == ["Scan", "Scan", "Unreadable", "Unreadable"]


def test_too_many_files_are_one_entry_and_counted(monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILES", 3)
    scan, more = scans.read_all(made(SLICES))
    assert len(scan.slices) == 3 and more.name == "3 more files"
    assert scan.doubts == (f"3 slices were left out. {more.reason}",)
