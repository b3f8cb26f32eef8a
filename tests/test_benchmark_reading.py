"""The benchmark of reading runs on each kind of file it makes; its times are for a quiet machine, not for a test."""

import json
from pathlib import Path

import pytest

from model.scans import Scan, read
from training import benchmark_reading
from training.benchmark_reading import LARGEST, ORDINARY, main, table

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone tells peaks of memory")


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(benchmark_reading, "RUNS", 1)
    monkeypatch.setattr(benchmark_reading, "SIDE", 64)
    monkeypatch.setattr(benchmark_reading, "SLICES", 3)


@pytest.mark.parametrize("what", sorted(set(LARGEST) - {"DICOM, uncompressed", "NIfTI"}))  # as long as a file may be
def test_each_file_that_it_makes_is_read(what):
    assert isinstance(read(LARGEST[what]()), Scan)


def test_a_report_tells_time_memory_and_what_isolation_costs(monkeypatch, tmp_path, capsys):
    refused = {"nothing": lambda: b"no picture"}
    monkeypatch.setattr(benchmark_reading, "LARGEST", {"PNG, 8 bits": LARGEST["PNG, 8 bits"]} | refused)
    monkeypatch.setattr(benchmark_reading, "ORDINARY", {"DICOM of 512 x 512": ORDINARY["DICOM of 512 x 512"]})
    assert main(["--json", str(tmp_path / "reading.json")]) == 0
    report = json.loads((tmp_path / "reading.json").read_text())
    read_one, refused_one = report["largest"]
    assert read_one["slices"] == 1 and read_one["seconds"] >= 0 and not read_one["reason"]
    assert refused_one["slices"] == 0 and "no image" in refused_one["reason"]
    (isolation,) = report["isolation"]
    assert isolation["here_ms"] > 0 and isolation["isolated_ms"] > 0
    assert table(report) in capsys.readouterr().out
