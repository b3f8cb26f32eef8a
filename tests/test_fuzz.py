"""Properties that reading keeps for files that hypothesis makes up; derandomized, so that every run tries the same."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scans import isolated
from tests.regressions import dicom_bombs
from tests.regressions.answers import assert_proper, settle
from tests.regressions.bombs import nifti_header, zip_with_entries
from tests.regressions.valid import VALID, picture

STARTS = (
    *(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"),
    *(b"II+\0\x08\0\0\0", b"BM", b"RIFF\0\1\0\0WEBPVP8L", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08\0"),
    *(bytes(128) + b"DICM\2\0\0\0UL\4\0", bytes(128) + b"DICM", nifti_header((64, 64, 4)), b"\x08\0\5\0CS"),
)
WITHIN_A_LIMIT = settings(
    derandomize=True,
    database=None,
    deadline=None,  # the machine may be busy
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
valid_files = st.sampled_from(sorted(VALID)).map(lambda kind: VALID[kind]())


@WITHIN_A_LIMIT
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=600))
def test_noise_behind_any_first_bytes_is_refused_or_read(tmp_path, start, rest):
    settle(tmp_path, start + rest)


@WITHIN_A_LIMIT
@given(first=valid_files, second=valid_files, share=st.floats(0, 1))
def test_two_files_grown_together_are_refused_or_read(tmp_path, first, second, share):
    settle(tmp_path, first[: int(share * len(first))] + second[int(share * len(second)) :])


@WITHIN_A_LIMIT
@given(
    tags=st.fixed_dictionaries(
        {},
        optional={
            "Rows": st.integers(0, 65535),
            "Columns": st.integers(0, 65535),
            "NumberOfFrames": st.integers(-5, 2**31 - 1),
            "BitsAllocated": st.integers(0, 128),
            "BitsStored": st.integers(0, 128),
            "HighBit": st.integers(0, 128),
            "PixelRepresentation": st.integers(0, 3),
            "SamplesPerPixel": st.integers(0, 5),
            "PlanarConfiguration": st.integers(0, 3),
            "PhotometricInterpretation": st.sampled_from(
                ["MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "", "X"]
            ),
            "PixelData": st.binary(max_size=300),
            "InstanceNumber": st.integers(-(2**31), 2**31 - 1),
            "Modality": st.sampled_from(["MR", "CT", "CR", "SR", "OT", "", "🧠"]),
            "BodyPartExamined": st.text(max_size=16),
            "SeriesDescription": st.text(max_size=64),
            "ImageType": st.lists(st.text(max_size=8), max_size=4),
        },
    )
)
@pytest.mark.filterwarnings("ignore")  # pydicom says what is wrong while we write it
def test_a_dicom_with_any_tags_is_refused_or_read(tmp_path, tags):
    try:
        content = dicom_bombs.with_tags(**tags)
    except (ValueError, TypeError, UnicodeError, struct.error, OverflowError):  # pydicom does not write that
        return
    settle(tmp_path, content)


@WITHIN_A_LIMIT
@given(
    shape=st.lists(st.integers(-2, 70), min_size=1, max_size=7),
    datatype=st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 9999]),
    floats=st.lists(st.floats(width=32), min_size=26, max_size=26),
    codes=st.tuples(st.integers(-2, 5), st.integers(-2, 5)),
    seed=st.integers(0, 100),
)
def test_a_nifti_with_any_header_is_refused_or_read(tmp_path, shape, datatype, floats, codes, seed):
    header = bytearray(nifti_header(tuple(shape), datatype))
    struct.pack_into("<8f", header, 76, *floats[:8])
    struct.pack_into("<2f", header, 112, *floats[8:10])
    struct.pack_into("<2h", header, 252, *codes)
    struct.pack_into("<6f", header, 256, *floats[10:16])
    struct.pack_into("<10f", header, 280, *floats[16:])
    settle(tmp_path, bytes(header) + np.random.default_rng(seed).bytes(70 * 70 * 16))


@WITHIN_A_LIMIT
@given(
    count=st.integers(0, 50),
    data=st.binary(max_size=40),
    claimed=st.integers(0, 2**32 - 1),
    apart=st.booleans(),
    tail=st.binary(max_size=20),
)
def test_an_archive_of_anything_is_refused_or_read(tmp_path, count, data, claimed, apart, tail):
    settle(tmp_path, zip_with_entries(count, data, claimed, apart) + tail)


@WITHIN_A_LIMIT
@given(
    tag=st.sampled_from([256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 338, 339]),
    kind=st.integers(0, 14),
    count=st.integers(0, 2**32 - 1) | st.integers(0, 9),
    value=st.integers(0, 2**32 - 1) | st.integers(0, 300),
)
def test_a_tiff_with_any_entry_is_refused_or_read(tmp_path, tag, kind, count, value):
    content = bytearray(picture("TIFF", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)))
    place = int.from_bytes(content[4:8], "little") + 2
    for entry in range(place, place + 12 * int.from_bytes(content[place - 2 : place], "little"), 12):
        if int.from_bytes(content[entry : entry + 2], "little") == tag:
            struct.pack_into("<HHII", content, entry, tag, kind, count, value)
    settle(tmp_path, bytes(content))


@WITHIN_A_LIMIT
@given(name=st.text(max_size=300))
def test_any_name_is_shown_as_one(tmp_path, name):
    (tmp_path / "upload").write_bytes(picture("PNG", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)))
    (scan,) = isolated.read_all([tmp_path / "upload"], [name])
    assert_proper(scan)
