"""The benchmark of reading runs on each kind of file it makes; its times are for a quiet machine, not for a test."""

import json

import pytest

from model.scans import Scan, read
from training.benchmark import files, memory, reading
from training.benchmark.__main__ import main
from training.benchmark.files import LARGEST, ORDINARY

pytestmark = pytest.mark.skipif(not memory.FOUND, reason="Linux alone tells peaks of memory")


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(reading, "RUNS", 1)
    monkeypatch.setattr(files, "SIDE", 64)
    monkeypatch.setattr(files, "SLICES", 3)


@pytest.mark.parametrize("what", sorted(set(LARGEST) - {"DICOM, uncompressed", "NIfTI"}))  # as long as a file may be
def test_each_file_that_it_makes_is_read(what):
    assert isinstance(read(LARGEST[what]()), Scan)


def test_a_report_tells_time_memory_and_what_isolation_costs(monkeypatch, tmp_path, capsys):
    refused = {"nothing": lambda: b"no picture"}
    monkeypatch.setattr(reading, "LARGEST", {"PNG, 8 bits": LARGEST["PNG, 8 bits"]} | refused)
    monkeypatch.setattr(reading, "ORDINARY", {"DICOM of 512 x 512": ORDINARY["DICOM of 512 x 512"]})
    assert main(["--only", "reading", "--quick", "--json", str(tmp_path / "reading.json")]) == 0
    report = json.loads((tmp_path / "reading.json").read_text())["reading"]
    read_one, refused_one = report["largest"]
    assert read_one["slices"] == 1 and read_one["seconds"] >= 0 and not read_one["reason"]
    assert refused_one["slices"] == 0 and "no image" in refused_one["reason"]
    (isolation,) = report["isolation"]
    assert isolation["here_ms"] > 0 and isolation["isolated_ms"] > 0
    printed = capsys.readouterr().out
    assert "PNG, 8 bits" in printed and "DICOM of 512 x 512" in printed and "10 s that one may take" in printed


def test_of_several_rounds_the_median_time_and_the_highest_peak_count():
    rounds = [{"what": "a", "seconds": s, "busy_seconds": s / 2, "peak_mb": 10 * s} for s in (3, 1, 2)]
    assert reading.median_row(tuple(rounds)) == {"what": "a", "seconds": 2, "busy_seconds": 1.0, "peak_mb": 30}
