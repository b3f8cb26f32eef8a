"""Files that bite: each is read or refused with a sentence that helps, by a process that survives it."""

import json
import random

import numpy as np
import pytest

from model import scans
from model.scans import Scan, Unreadable, isolated
from tests.dicom_files import dicom, zipped
from tests.load.clients import Reply
from tests.regressions.answers import OF_THE_GUARD, assert_proper, assert_shown_name, settle, was_read
from tests.regressions.hostile import FAMILIES, GOOD, KINDS, NAMES, Upload, at_its_limit, flipped, patched, valid
from tests.regressions.valid import VALID, drawn, picture, zipped_series
from tests.siege import outcome

KILOBYTE, MEGABYTE = 1024, 1024**2


# files of others


def test_every_hostile_file_is_read_or_refused_with_a_sentence(tmp_path, shared_data):
    files = sorted(path for path in (shared_data / "hostile").rglob("*") if path.is_file())
    assert len(files) == 562
    assert sum(was_read(settle(tmp_path, path, path.name)) for path in files) > 150


def test_hostile_files_in_one_upload_cost_a_row_each(shared_data):
    files = sorted(path for path in (shared_data / "hostile").rglob("*.*") if path.suffix != ".dcm")[::9]
    names = [f"{number} {file.name}" for number, file in enumerate(files)]
    entries = isolated.read_all(files, names)
    assert [entry.name for entry in entries] == names
    for entry in entries:
        assert_proper(entry)


# our own, cut off and bent


@pytest.mark.parametrize("kind", VALID)
def test_a_file_cut_off_after_any_kilobyte_is_read_or_refused(tmp_path, kind):
    content = VALID[kind]()
    assert was_read(settle(tmp_path, content))
    half = settle(tmp_path, content[: len(content) // 2])
    assert not was_read(half) or half[0].notes or half[0].doubts  # that there was more
    for length in range(0, len(content), KILOBYTE):
        settle(tmp_path, content[:length])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_wrong_bits_pieces_or_numbers_is_read_or_refused(tmp_path, kind):
    chance = random.Random(kind)
    for bend in 2 * (flipped, patched, at_its_limit):
        settle(tmp_path, bend(valid(kind), chance))


@pytest.mark.parametrize("kind", VALID)
def test_a_wrong_extension_changes_nothing(tmp_path, kind):
    (tmp_path / "upload").write_bytes(VALID[kind]())
    expected, *others = (scans.read(tmp_path / "upload", name) for name in ("IM0001", "a.png", "a.dcm", "a.nii.gz"))
    for other in others:
        assert other.kind == expected.kind
        np.testing.assert_array_equal(np.stack(other.slices), np.stack(expected.slices))


@pytest.mark.parametrize("size", [0, 1, 2, 128, 132, 348, 5000])
def test_zero_bytes_are_refused(tmp_path, size):
    assert not was_read(settle(tmp_path, bytes(size)))


def test_an_element_longer_than_any_memory_is_not_made_room_for(tmp_path):
    content = valid("DICOM, explicit")
    place = content.index(b"OB\0\0") + 4  # of the second element
    for length in (2**31 - 1, 2**31, 2**32 - 1):
        settle(tmp_path, content[:place] + length.to_bytes(4, "little") + content[place + 4 :])


# the siege, of which `make hostile` sends all to a started server


@pytest.mark.parametrize("family", [family for family in FAMILIES if "bombs" not in family])  # see test_bombs
def test_the_service_stands_a_sample_of_the_siege(api, family):
    uploads = [upload for upload in FAMILIES[family](1) if len(upload.body) < MEGABYTE]
    for upload in uploads[:: -(-len(uploads) // 8)]:
        kind = {"Content-Type": upload.content_type.encode("latin-1")}
        answer = api.post("/predict", content=upload.body, headers=kind)
        came = outcome(family, upload, Reply(answer.status_code, 0, 0, answer.content))
        assert not came.harm and not came.has_trace, (upload.what, came.harm, answer.text)


@pytest.mark.parametrize(
    "status, answer, harm",
    [
        (0, "", "no answer"),
        (500, {"detail": "Something went wrong."}, "status 500"),
        (503, {"detail": "Too busy."}, ""),
        (422, {"detail": "x", "files": [{"file": "a", "reason": isolated.DEADLY}]}, isolated.DEADLY),
        (200, [{"file": "a", "status": "failed", "reason": ""}], "status 200"),
        (200, [{"file": GOOD, "status": "unreadable", "reason": ""}], "a good file was refused beside bad ones"),
        (200, [{"file": GOOD, "status": "doubtful", "reason": ""}], ""),
    ],
)
def test_the_siege_counts_what_is_harm(status, answer, harm):
    upload = Upload("", b"", has_good=harm != "status 200" and status == 200)
    came = outcome("", upload, Reply(status, 0, 0, json.dumps(answer).encode() if answer else b""))
    assert (came.harm, came.has_trace) == (harm, False)


def test_the_siege_finds_traces():
    for sentence in ("KeyError: 'Rows'", 'File "/srv/model/cases.py", line 3', "Traceback (most recent call last)"):
        body = json.dumps({"detail": "x", "files": [{"file": "a", "reason": sentence}]}).encode()
        assert outcome("", Upload("", b""), Reply(422, 0, 0, body)).has_trace


# names


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_the_reading_or_what_is_shown(tmp_path, name):
    (scan,) = settle(tmp_path, valid("DICOM, explicit"), NAMES[name])
    assert isinstance(scan, Scan) and scan.name
    (refused,) = settle(tmp_path, b"no picture at all", NAMES[name])
    assert refused.name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "half a character"])  # no ZIP has that one
def test_no_name_in_an_archive_leaves_it(tmp_path, name):
    inside = NAMES[name].replace("\0", "")
    settle(tmp_path, zipped({inside: picture("PNG", drawn(48)), f"/tmp/../{inside}": dicom(drawn(48))}))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["upload"]


def test_an_encrypted_archive_and_one_of_folders_are_refused(tmp_path):
    content = bytearray(zipped_series())
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(header, at + 1)) >= 0:
            content[at + place] |= 1  # "encrypted"
    assert not was_read(settle(tmp_path, bytes(content)))
    assert not was_read(settle(tmp_path, zipped({"study/": b""})))


def test_the_sentences_of_the_guard_are_plain():
    for sentence in OF_THE_GUARD:
        assert_proper(Unreadable("IM0001", sentence))
    with pytest.raises(AssertionError):
        assert_shown_name("a/b")
