"""Bombs and lies: files that claim or hold far more than they may, or whose headers contradict themselves."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model.scans import Unreadable, isolated
from tests.regressions import bombs, dicom_bombs
from tests.regressions.answers import OF_THE_GUARD, assert_proper, settle
from tests.regressions.catalog import BOMBS
from tests.regressions.valid import drawn, nifti, picture

MAX_PEAK = 600 * 2**20  # bytes: what one upload may add to the idle server, here with the libraries of the process


@pytest.fixture(scope="module")
def defused(tmp_path_factory):
    """(what a process of its own says of each bomb, the most memory that it has held)."""
    folder, reader = tmp_path_factory.mktemp("bombs"), isolated.Reader()
    try:
        entries = {}
        for what, make in BOMBS.items():
            (folder / "upload").write_bytes(make())
            found = reader.read_each(lambda number: None, files=[folder / "upload"], names=[what])
            entries[what] = [entry for _, entry in found]
        status = Path(f"/proc/{reader.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0"]  # other systems do not tell
        return entries, 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    finally:
        reader.close()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(defused, bomb):
    for entry in defused[0][bomb]:
        assert isinstance(entry, Unreadable) and entry.reason not in OF_THE_GUARD
        assert_proper(entry)


def test_bombs_are_refused_in_little_memory(defused):
    assert defused[1] < MAX_PEAK


def test_what_follows_a_whole_volume_does_no_harm(tmp_path):
    settle(tmp_path, bombs.gzip_that_holds_more_than_its_volume())
    settle(tmp_path, dicom_bombs.run_lengths_without_end())


def test_a_tiff_whose_pages_form_a_loop_ends(tmp_path):
    for pages in (1, 2, 5):
        (scan,) = settle(tmp_path, bombs.tiff_with_a_loop(drawn(48), pages))
        assert len(scan.slices) == pages


# headers that lie


@pytest.mark.parametrize("lie", dicom_bombs.CONTRADICTIONS)
@pytest.mark.filterwarnings("ignore")  # pydicom says what is wrong while we write it
def test_a_dicom_that_contradicts_itself_is_read_or_refused(tmp_path, lie):
    settle(tmp_path, dicom_bombs.with_tags(**dicom_bombs.CONTRADICTIONS[lie]))


@pytest.mark.parametrize(
    "make",
    [
        partial(dicom_bombs.nested, 5000),
        partial(dicom_bombs.many_fragments, 100_000),
        dicom_bombs.window_table_of_nothing,
        partial(dicom_bombs.noise, 0),
        partial(dicom_bombs.with_tags, PixelData=b""),
        partial(dicom_bombs.with_tags, PixelData=bytes(48)),
        partial(dicom_bombs.with_tags, PixelData=bytes(10**6)),
    ],
)
def test_a_dicom_of_nonsense_is_read_or_refused(tmp_path, make):
    settle(tmp_path, make())


NIFTI_LIES = {  # byte of the header: what stands there instead
    "dimensions without number": (40, "<8h", (7, *[32767] * 7)),
    "negative dimensions": (40, "<4h", (3, -64, 64, 6)),
    "no dimensions": (40, "<h", (0,)),
    "too many dimensions": (40, "<h", (99,)),
    "a slice of one row": (40, "<4h", (3, 48 * 48, 1, 6)),
    "an unknown datatype": (70, "<2h", (999, 16)),
    "complex voxels": (70, "<2h", (1792, 128)),
    "voxels of 128 bits": (70, "<2h", (1536, 128)),
    "colors": (70, "<2h", (128, 24)),
    "NaN spacing": (80, "<3f", (float("nan"), float("inf"), 0)),
    "spacing backwards": (80, "<3f", (-1, -1, -1)),
    "data before the header": (108, "<f", (-1000,)),
    "data behind the file": (108, "<f", (1e30,)),
    "data nowhere": (108, "<f", (float("nan"),)),
    "a slope of NaN": (112, "<2f", (float("nan"), float("inf"))),
    "a huge slope": (112, "<2f", (3e38, 3e38)),
    "no direction": (280, "<12f", (0,) * 12),
    "NaN directions": (280, "<12f", (float("nan"),) * 12),
    "one direction for all axes": (280, "<12f", (1, 1, 1, 0) * 3),
    "a quaternion of NaN": (252, "<2h6f", (1, 0, *[float("nan")] * 6)),
}


@pytest.mark.parametrize("lie", NIFTI_LIES)
def test_a_nifti_whose_header_lies_is_read_or_refused(tmp_path, lie):
    place, layout, values = NIFTI_LIES[lie]
    content = bytearray(nifti())
    struct.pack_into(layout, content, place, *values)
    settle(tmp_path, bytes(content))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_pixels_that_are_no_numbers_are_not_handed_out(tmp_path, value):
    pixels = drawn(48).astype(np.float32)
    pixels[10:20, 10:20] = value
    settle(tmp_path, picture("TIFF", pixels))
    settle(tmp_path, picture("TIFF", np.full_like(pixels, value)))
    volume = np.stack([pixels[:48]] * 6)
    settle(tmp_path, bombs.nifti_header(volume.shape[::-1], datatype=16, bits=32) + volume.tobytes())
