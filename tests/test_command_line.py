"""`python -m model`: the forms of the answer, their order, the exit codes."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import MediaStorageDirectoryStorage

from model import CLASSES, scans
from model.__main__ import _answers, main
from model.report import ANSWERED
from model.classifier import TumorClassifier
from model.files import files_below, grouped, series_of
from model.scans import limits
from model.scans.reading import read_each
from model.report import COLUMNS, ROUNDED
from tests.dicom_files import dicom, series, slice_12_bit
from tests.folders import BROKEN_SCANS, NO_SCANS
from tests.server import REPOSITORY, write_random_weights


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    return str(write_random_weights(tmp_path_factory.mktemp("weights"), temperature=0.001))


@pytest.fixture
def files(draw_head, tmp_path):
    """A slice, a text called an image, and a TIFF of two slices, in an order that is not the alphabet's."""
    head, other = Image.fromarray(draw_head(0)), Image.fromarray(draw_head(1))
    head.save(tmp_path / "c.png")
    (tmp_path / "a.png").write_text('not a picture, "quoted"\n')
    head.save(tmp_path / "b.tif", save_all=True, append_images=[other])
    return [str(tmp_path / name) for name in ("c.png", "a.png", "b.tif")]


@pytest.fixture
def run(random_weights, capsys):
    def run(*arguments):
        code = main([*arguments, "--weights", random_weights])
        return code, capsys.readouterr().out

    return run


def test_json_has_an_entry_a_scan_in_the_order_given(run, files):
    code, out = run(*files, "--json")
    entries = json.loads(out)
    assert [(entry["file"], len(entry["slices"])) for entry in entries] == [("c.png", 1), ("a.png", 0), ("b.tif", 2)]
    assert [entry["status"] == "unreadable" for entry in entries] == [False, True, False]
    assert "no image" in entries[1]["reason"] and entries[1]["label"] is None
    assert entries[0]["label"] in CLASSES and sum(entries[0]["probabilities"].values()) == pytest.approx(1)
    assert entries[0]["study"] is None and entries[2]["study"]["judged"] == 2
    # The same head as PNG and as TIFF: what stands beside it in the file makes no difference.
    assert entries[0]["probabilities"] == pytest.approx(entries[2]["slices"][0]["probabilities"], abs=1e-6)
    assert code == 1


def test_csv_says_the_same_as_json(run, files):
    _, printed = run(*files, "--json")
    _, table = run(*files, "--csv")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert tuple(rows[0]) == COLUMNS
    single, unreadable, volume = json.loads(printed)
    said = [single | single["slices"][0], unreadable | {"slice": ""}, volume | {"slice": "all"}]
    said += [volume | made for made in volume["slices"]]
    for row, entry in zip(rows, said, strict=True):
        assert row["slice"] == str(entry["slice"])
        for key in ("file", "status", "reason", "model"):
            assert row[key] == entry[key]
        if entry["probabilities"]:
            assert row["prediction_set"].split() == entry.get("prediction_set", [])  # a study has none
            assert row["sees_tumor"] == ("yes" if entry["sees_tumor"] else "no")
            assert float(row["tumor_probability"]) == pytest.approx(1 - entry["probabilities"]["notumor"], abs=5e-5)
            assert [float(row[name]) for name in CLASSES] == pytest.approx(
                list(entry["probabilities"].values()), abs=5e-5
            )
        else:
            assert all(row[name] == "" for name in ("label", "prediction_set", "sees_tumor", *ROUNDED))
        assert row["distance"] == (f"{entry['distance']:.4f}" if "distance" in entry else "")


def test_the_table_gives_reasons_and_names_the_slices_to_look_at(run, files):
    _, out = run(*files)
    lines = out.splitlines()
    head = " ".join(lines[0].split())
    assert head == "file status tumor seen glioma meningioma pituitary tumor no tumor possible"
    assert lines[1].startswith("c.png ") and " %" in lines[1] and (" yes " in lines[1] or " no " in lines[1])
    assert "unreadable" in lines[2] and " %" not in lines[2]
    assert "no image that can be read" in lines[3]
    assert lines[4].startswith("b.tif ")
    assert re.search(r"^    2 slices; most suspicious first: [12]", out, re.MULTILINE)


def test_a_folder_stands_for_the_files_in_it_by_name(run, files, tmp_path):
    _, out = run(str(tmp_path), "--json")
    found = dict.fromkeys(entry["file"] for entry in json.loads(out))
    assert list(found) == ["a.png", "b.tif", "c.png"]


# a folder of any size, and what lies in it


def disc(folder, files):
    """Write contents by path below `folder`, and a table of contents as on every disc."""
    table = dicom(slice_12_bit(), SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None)
    for name, content in {"DICOMDIR": table, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_what_is_no_scan_in_a_folder_costs_neither_a_row_nor_the_exit_code(random_weights, tmp_path, capsys):
    scan = {f"IMAGES/IM{i}": content for i, content in enumerate(series([slice_12_bit(k) for k in range(3)]))}
    folder = disc(tmp_path / "disc", scan | NO_SCANS)
    assert main([str(folder), "--json", "--weights", random_weights]) == 0
    printed = capsys.readouterr()
    (entry,) = json.loads(printed.out)
    assert len(entry["slices"]) == 3
    assert printed.err == f"{len(NO_SCANS) + 1} files that are no scans were passed over.\n"
    named = [str(folder / name) for name in ("report.txt", "autorun.inf", "DICOMDIR")]
    assert main([*named, "--json", "--weights", random_weights]) == 1
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 3 and not printed.err


def test_what_might_be_a_damaged_scan_in_a_folder_gets_a_row(run, tmp_path):
    code, out = run(str(disc(tmp_path / "disc", BROKEN_SCANS)), "--json")
    entries = json.loads(out)
    assert code == 1 and {entry["status"] for entry in entries} == {"unreadable"}
    assert sorted(entry["file"] for entry in entries) == sorted(BROKEN_SCANS)


def test_a_folder_that_cannot_be_listed_is_an_error(random_weights, tmp_path, monkeypatch, capsys):
    def denied(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", denied)
    assert main([str(tmp_path), "--weights", random_weights]) == 2
    assert "cannot be listed: permission denied" in capsys.readouterr().err


def test_each_answer_is_there_before_the_next_file_is_read(random_weights, files, tmp_path):
    later = tmp_path / "later.png"
    answers = _answers(TumorClassifier.from_folder(random_weights), [Path(files[0]), later], set())
    assert next(answers)["file"] == "c.png"
    shutil.copy(files[0], later)  # it was not there before
    assert next(answers)["status"] in ANSWERED


def test_limits_of_an_upload_do_not_hold_for_what_is_read_one_at_a_time(files, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILES", 1)
    monkeypatch.setattr(limits, "MAX_BYTES_AT_ONCE", 1)
    readable = [files[0], files[2]]
    assert not any(isinstance(entry, scans.Scan) for entry in scans.read_all(readable))
    assert [len(scan.slices) for _, scan in read_each(readable, most_bytes=math.inf)] == [1, 2]


STUDIES = {  # tags of each of six files
    "two series": [{"SeriesInstanceUID": f"1.2.{i % 2}"} for i in range(6)],
    "a UID for each slice": [{"SeriesInstanceUID": f"1.2.{i}", "SeriesNumber": 3} for i in range(6)],
    "no UID": [{"SeriesInstanceUID": None, "SeriesNumber": 3} for i in range(6)],
    "no UID, no study": [{"SeriesInstanceUID": None, "StudyInstanceUID": None} for i in range(6)],
    "two of a UID for each slice": [{"SeriesInstanceUID": f"1.2.{i}", "SeriesNumber": i // 3} for i in range(6)],
    "two patients": [{"PatientID": f"{i // 3}"} for i in range(6)],
}


@pytest.mark.parametrize("study", STUDIES)
def test_files_are_read_together_as_in_one_upload(tmp_path, study):
    """Whatever folders they lie in, and with a picture among them."""
    tags = STUDIES[study]
    contents = [
        dicom(slice_12_bit(i), InstanceNumber=i + 1, ImagePositionPatient=[0, 0, 2 * i], **each)
        for i, each in enumerate(tags)
    ]
    places = {f"{'ab'[i % 2]}/{i}": content for i, content in enumerate(contents)}
    files = list(files_below(disc(tmp_path / "disc", places)))
    groups = grouped([(str(file), series_of(file)) for file in files])
    assert sorted(file for unit in grouped for file in unit) == files
    apart = [entry for unit in grouped for entry in scans.read_all(unit)]
    together = scans.read_all(files)
    slices = [
        sorted(len(entry.slices) for entry in found if isinstance(entry, scans.Scan)) for found in (apart, together)
    ]
    assert slices[0] == slices[1] and sum(slices[0]) == len(tags)


def test_a_damaged_file_is_missing_from_the_only_series_of_its_folder(tmp_path):
    contents = series([slice_12_bit(k) for k in range(3)])
    cut = contents[1][:300]  # within its first tags
    folder = disc(tmp_path, {"a/1": contents[0], "a/2": cut, "a/3": contents[2], "b/1": cut})
    grouped = units(file for file in files_below(folder) if file.name != "DICOMDIR")
    assert [[f"{file.parent.name}/{file.name}" for file in unit] for unit in grouped] == [
        ["a/1", "a/2", "a/3"],
        ["b/1"],
    ]
    scan = next(entry for entry in scans.read_all(grouped[0]) if isinstance(entry, scans.Scan))
    assert scan.doubts


def test_the_exit_code_is_0_only_if_every_file_was_read(run, files):
    assert run(files[0], files[2])[0] == 0
    assert run(files[0], str(files[0]) + ".gone")[0] == 1


def test_a_refused_slice_was_read_and_shows_no_probabilities(run, tmp_path):
    Image.fromarray(np.full((99, 99), 7, np.uint8)).save(tmp_path / "blank.png")
    code, out = run(str(tmp_path / "blank.png"))
    assert code == 0
    assert "refused" in out and "blank" in out and "%" not in out


def test_without_weights_or_files_there_is_a_sentence_and_code_2(files, random_weights, tmp_path, capsys):
    assert main([files[0], "--weights", str(tmp_path / "nowhere")]) == 2
    assert "No model could be loaded" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--weights", random_weights]) == 2
    assert "no file" in capsys.readouterr().err


def test_the_command_works_from_a_shell(files, random_weights):
    command = [sys.executable, "-m", "model", files[0], "--json", "--weights", random_weights]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["file"] == "c.png"


@pytest.mark.parametrize("form", [["--json"], ["--csv"], []])
def test_a_file_name_that_is_no_text_does_not_stop_the_answer(random_weights, files, tmp_path, form):
    path = os.fsencode(tmp_path / "caf") + b"\xe9.png"  # Latin-1, as old disks have it: no valid UTF-8
    try:
        os.rename(files[0], path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    command = [sys.executable, "-m", "model", path, files[1], *form, "--weights", random_weights]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "caf.png" in done.stdout and "a.png" in done.stdout  # what no reader could see is left out
