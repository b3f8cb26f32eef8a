"""ZIP and gzip: opened within limits, and closed to what nobody exports."""

import gzip
import io
import random
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from model import scans
from model.scans import archives, limits
from tests.dicom_files import dicom, slice_12_bit
from tests.nifti_files import head_volume, nifti


@pytest.fixture
def png():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
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


def test_a_directory_is_refused_before_its_entries_are_taken_apart(monkeypatch, png):
    monkeypatch.setattr(archives, "ZipFile", lambda file: pytest.fail("it was taken apart"))
    content = bytearray(zipped({"a.png": png}))
    struct.pack_into("<H", content, len(content) - 22 + 10, 60_000)
    assert "entries" in refusal(bytes(content))
    locator = b"PK\x06\x07" + bytes(16)  # of a directory for more than 65,535 entries
    assert "entries" in refusal(bytes(content[:-22] + locator + content[-22:]))


def test_an_entry_larger_than_it_claims_is_refused(png):
    """The directory says 100 bytes, the stream in it holds 10 MB."""
    content = bytearray(zipped({"a.png": png + bytes(10**7)}))
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, 100)
    assert "damaged" in refusal(bytes(content))


def test_damaged_archives_are_read_or_refused(png):
    chance = random.Random(0)
    for content in (zipped({"a.png": png, "b.png": png}), gzip.compress(png)):
        for length in range(1, len(content), len(content) // 40):
            assert refusal(content[:length]).endswith(".")
        for _ in range(100):
            broken = bytearray(content)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            try:
                assert scans.read(bytes(broken)).slices
            except scans.UnreadableScan as error:
                assert str(error).endswith("."), zlib.crc32(broken)
