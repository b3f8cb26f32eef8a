"""ZIP and gzip: opened within limits, and closed to what nobody exports."""

import gzip
import io
import random
import struct
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model import scans
from model.scans import limits, sources
from tests.dicom_files import dicom, slice_12_bit, zipped
from tests.folders import BROKEN_SCANS, NO_SCANS
from tests.nifti_files import head_volume, nifti
from tests.regressions.bombs import zip_with_entries


@pytest.fixture
def png():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def refusal(content):
    with pytest.raises(scans.UnreadableScan) as caught:
        scans.read(content)
    return str(caught.value)


def test_every_kind_is_read_from_a_zip(png, tmp_path):
    file = tmp_path / "all.zip"
    file.write_bytes(
        zipped({"a.png": png, "b/c.dcm": dicom(slice_12_bit()), "d.nii.gz": nifti(head_volume(), packed=True)})
    )
    entries = scans.read_all([file])
    assert [(entry.name, entry.kind) for entry in entries] == [
        ("all.zip: a.png", "PNG"),
        ("all.zip: c.dcm", "DICOM"),
        ("all.zip: d.nii.gz", "NIfTI"),
    ]


def test_every_kind_is_read_from_gzip(png):
    for content, kind in ((png, "PNG"), (dicom(slice_12_bit()), "DICOM"), (nifti(head_volume()), "NIfTI")):
        scan, direct = scans.read(gzip.compress(content)), scans.read(content)
        assert scan.kind == kind
        np.testing.assert_array_equal(np.stack(scan.slices), np.stack(direct.slices))


def test_names_in_an_archive_cannot_point_anywhere(png, tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(zipped({"../../etc/slice\n.png": png, "C:\\Users\\x\\two.png": png}))
    assert [entry.name for entry in scans.read_all([file])] == ["a.zip: slice.png", "a.zip: two.png"]
    assert list(tmp_path.iterdir()) == [file]


def test_a_zip_without_scans_says_so():
    assert "no file that can be read" in refusal(zipped({"report.txt": b"hello"}))
    assert "no file that can be read" in refusal(zipped({}))


NAMES = st.text("abc./\\", min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=12))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_each_file_in_a_zip_is_an_entry_whatever_its_name(names):
    """Also those that share one; folders and hidden files are none."""
    buffers = [io.BytesIO() for _ in names]
    for number, buffer in enumerate(buffers):
        Image.fromarray(np.full((48, 64), number, np.uint8)).save(buffer, "PNG")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, buffer in zip(names, buffers, strict=True):
            archive.writestr(name, buffer.getvalue())
    content = packed.getvalue()
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    is_file = [
        not name.endswith("/") and not path.name.startswith(".") for name, path in zip(names, paths, strict=True)
    ]
    shown = [number for number, shows in enumerate(is_file) if shows]
    if shown:
        assert [entry.slices[0][0, 0] for entry in scans.read_all([content])] == shown


def zip64(content):
    """The ZIP with the end record of large ones before its own, as some programs always write it."""
    end = content.rindex(b"PK\5\6")
    entries, size, offset = struct.unpack_from("<HII", content, end + 10)
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:end] + record + locator + last


def test_a_small_zip_with_the_end_record_of_a_large_one_is_read(png):
    assert len(scans.read(zip64(zipped({"a.png": png}))).slices) == 1


def test_what_is_no_scan_costs_a_zip_no_row(png, tmp_path):
    file = tmp_path / "disc.zip"
    file.write_bytes(zipped({"scan.png": png} | NO_SCANS))
    (scan,) = scans.read_all([file])
    assert scan.name == "disc.zip" and scan.kind == "PNG"


@pytest.mark.parametrize("name", BROKEN_SCANS)
def test_what_might_be_a_damaged_scan_gets_a_row_in_a_zip(png, tmp_path, name):
    file = tmp_path / "disc.zip"
    file.write_bytes(zipped({"scan.png": png, name: BROKEN_SCANS[name]}))
    _, refused = sorted(scans.read_all([file]), key=lambda entry: isinstance(entry, scans.Unreadable))
    assert refused.name == f"disc.zip: {name}" and refused.reason


def test_archives_in_archives_are_not_opened(png):
    inner = zipped({"slice.png": png})
    assert "archive within an archive" in refusal(zipped({"inner.zip": inner}))
    assert "archive within an archive" in refusal(gzip.compress(inner))
    assert "archive within an archive" in refusal(gzip.compress(gzip.compress(gzip.compress(png))))


def test_a_protected_zip_is_called_so(png):
    content = bytearray(zipped({"slice.png": png}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    assert "password" in refusal(bytes(content))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compressions_are_refused(png, compression):
    assert "rare way" in refusal(zipped({"slice.png": png}, compression))


def test_each_limit_has_its_sentence(monkeypatch, png):
    two = zipped({"a.png": png, "b.png": png})
    black = zipped({"a.raw": bytes(10**6)})
    for limit, value, content, words in (
        ("MAX_ZIP_ENTRIES", 1, two, "more than 1 entries"),
        ("MAX_EXPANDED_BYTES", len(png), two, "unpacks to more than"),
        ("MAX_ZIP_RATIO", 100, black, "suspiciously much"),
        ("MAX_BYTES", 10**5, gzip.compress(png + bytes(10**6)), "larger than"),
        ("MAX_BYTES", 10**5, zipped({"a.png": png + random.Random(0).randbytes(10**5)})[:-1], "damaged"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, value)
            assert words in refusal(content) or words == "damaged"


def test_a_directory_is_refused_before_its_entries_are_taken_apart(monkeypatch):
    """By what it holds: what its end record says of it is not believed."""
    monkeypatch.setattr(sources, "ZipFile", lambda file: pytest.fail("it was taken apart"))
    assert "entries" in refusal(zip_with_entries(limits.MAX_ZIP_ENTRIES + 1))
    assert "entries" in refusal(zip_with_entries(70_000))


def test_a_directory_that_claims_more_than_there_is_is_called_damaged(png):
    large = bytearray(zip64(zipped({"a.png": png})))
    for place in (32, 40):  # entries, bytes of the directory
        struct.pack_into("<Q", large, large.rindex(b"PK\6\6") + place, 2**40)
    assert "damaged" in refusal(bytes(large))


def test_an_entry_larger_than_it_claims_is_refused(png):
    """The directory says 100 bytes, the stream in it holds 10 MB."""
    content = bytearray(zipped({"a.png": png + bytes(10**7)}))
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, 100)
    assert "damaged" in refusal(bytes(content))
