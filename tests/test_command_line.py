"""`python -m model`: the forms of the answer, their order, the exit codes; folders and what lies in them."""

import csv
import io
import json
import math
import os
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
from model.classifier import TumorClassifier
from model.files import files_below, grouped, series_of
from model.report import ANSWERED, COLUMNS, ROUNDED
from model.scans import limits
from model.scans.reading import read_each
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
        """The exit code, and what is printed."""
        code = main([*map(str, arguments), "--weights", random_weights])
        return code, *capsys.readouterr()

    return run


def test_json_has_an_entry_a_scan_in_the_order_given_and_csv_and_text_say_the_same(run, files):
    code, out, _ = run(*files, "--json")
    single, unreadable, volume = entries = json.loads(out)
    order = [(entry["file"], len(entry["slices"])) for entry in entries]
    assert code == 1 and order == [("c.png", 1), ("a.png", 0), ("b.tif", 2)]
    assert unreadable["status"] == "unreadable" and "no image" in unreadable["reason"] and unreadable["label"] is None
    assert single["label"] in CLASSES and sum(single["probabilities"].values()) == pytest.approx(1)
    assert single["study"] is None and volume["study"]["judged"] == 2
    # The same head as PNG and as TIFF: what stands beside it in the file makes no difference.
    assert single["probabilities"] == pytest.approx(volume["slices"][0]["probabilities"], abs=1e-6)

    rows = list(csv.DictReader(io.StringIO(run(*files, "--csv")[1])))
    assert tuple(rows[0]) == COLUMNS
    expected = [single | single["slices"][0], unreadable | {"slice": ""}, volume | {"slice": "all"}]
    expected += [volume | made for made in volume["slices"]]
    for row, entry in zip(rows, expected, strict=True):
        assert [row[key] for key in ("file", "slice", "status", "reason", "model")] == [
            *(entry["file"], str(entry["slice"]), entry["status"], entry["reason"], entry["model"])
        ]
        if entry["probabilities"]:
            assert row["prediction_set"].split() == entry.get("prediction_set", [])  # a study has none
            assert row["sees_tumor"] == ("yes" if entry["sees_tumor"] else "no")
            assert float(row["tumor_probability"]) == pytest.approx(1 - entry["probabilities"]["notumor"], abs=5e-5)
            by_class = [float(row[name]) for name in CLASSES]
            assert by_class == pytest.approx(list(entry["probabilities"].values()), abs=5e-5)
        else:
            assert all(row[name] == "" for name in ("label", "prediction_set", "sees_tumor", *ROUNDED))
        assert row["distance"] == (f"{entry['distance']:.4f}" if "distance" in entry else "")

    text = run(*files)[1].splitlines()
    heads = [line for line in text if not line.startswith("    ")]
    assert heads == [f"{entry['file']}: {entry['status']}. {entry['sentence']}" for entry in entries]
    assert [line.count(" %") >= len(CLASSES) for line in text if line.startswith("    glioma ")] == [True, True]
    assert any(line.startswith("    2 slices; most suspicious first: ") for line in text)


def test_a_refused_slice_was_read_and_shows_no_probabilities(run, tmp_path):
    Image.fromarray(np.full((99, 99), 7, np.uint8)).save(tmp_path / "blank.png")
    code, out, _ = run(tmp_path / "blank.png")
    assert code == 0 and "refused" in out and "blank" in out and "%" not in out


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


def test_without_weights_or_files_or_a_folder_that_can_be_listed_there_is_a_sentence_and_code_2(
    run, files, tmp_path, monkeypatch, capsys
):
    assert main([files[0], "--weights", str(tmp_path / "nowhere")]) == 2
    assert "No model could be loaded" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    code, _, complaint = run(tmp_path / "empty")
    assert code == 2 and "no file" in complaint

    def denied(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", denied)
    code, _, complaint = run(tmp_path)
    assert code == 2 and "cannot be listed: permission denied" in complaint


def test_the_command_works_from_a_shell_and_a_file_name_that_is_no_text_does_not_stop_it(
    random_weights, files, tmp_path
):
    path = os.fsencode(tmp_path / "caf") + b"\xe9.png"  # Latin-1, as old disks have it: no valid UTF-8
    try:
        os.rename(files[0], path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    command = [sys.executable, "-m", "model", path, files[1], "--weights", random_weights]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "caf.png" in done.stdout and "a.png" in done.stdout  # what no reader could see is left out


# a folder of any size, and what lies in it


def disc(folder, files):
    """Write contents by path below `folder`, and a table of contents as on every disc."""
    table = dicom(slice_12_bit(), SOPClassUID=MediaStorageDirectoryStorage, SeriesInstanceUID=None)
    for name, content in {"DICOMDIR": table, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def groups_in(folder: Path) -> list[list[str]]:
    """What is read together, as paths below the folder."""
    found = [file for file in files_below(folder) if file.name != "DICOMDIR"]
    return [
        [os.path.relpath(file, folder) for file in group]
        for group in grouped([(str(file), series_of(file)) for file in found])
    ]


def test_what_is_no_scan_in_a_folder_has_no_row_and_what_may_be_a_damaged_one_has_one(run, tmp_path):
    scan = {f"IMAGES/IM{i}": content for i, content in enumerate(series([slice_12_bit(k) for k in range(3)]))}
    folder = disc(tmp_path / "disc", scan | NO_SCANS)
    code, out, complaint = run(folder, "--json")
    (entry,) = json.loads(out)
    assert code == 0 and len(entry["slices"]) == 3
    assert complaint == f"Passed over {len(NO_SCANS) + 1} files that cannot be a scan.\n"
    code, out, _ = run(disc(tmp_path / "broken", BROKEN_SCANS), "--json")
    entries = json.loads(out)
    assert code == 1 and {entry["status"] for entry in entries} == {"unreadable"}
    assert [entry["file"] for entry in entries] == sorted(BROKEN_SCANS)
    code, out, complaint = run(*(folder / name for name in ("report.txt", "autorun.inf", "DICOMDIR")), "--json")
    assert code == 1 and len(json.loads(out)) == 3 and not complaint


def test_pipes_are_no_files_and_a_link_to_nowhere_is_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost.png").symlink_to("nowhere.png")
    assert groups_in(tmp_path) == [["lost.png"]]


STUDIES = {  # tags of each of six files
    "two series": [{"SeriesInstanceUID": f"1.2.{i % 2}"} for i in range(6)],
    "a UID for each slice": [{"SeriesInstanceUID": f"1.2.{i}", "SeriesNumber": 3} for i in range(6)],
    "no UID": [{"SeriesInstanceUID": None, "SeriesNumber": 3} for i in range(6)],
    "no UID, no study": [{"SeriesInstanceUID": None, "StudyInstanceUID": None} for i in range(6)],
    "two of a UID for each slice": [{"SeriesInstanceUID": f"1.2.{i}", "SeriesNumber": i // 3} for i in range(6)],
    "two patients": [{"PatientID": f"{i // 3}"} for i in range(6)],
}


@pytest.mark.parametrize("study", STUDIES)
def test_files_are_read_together_as_in_one_upload_whatever_folders_they_lie_in(tmp_path, study):
    contents = [
        dicom(slice_12_bit(i), InstanceNumber=i + 1, ImagePositionPatient=[0, 0, 2 * i], **tags)
        for i, tags in enumerate(STUDIES[study])
    ]
    folder = disc(tmp_path, {f"{'ab'[i % 2]}/{i}": content for i, content in enumerate(contents)})
    groups = [[folder / name for name in group] for group in groups_in(folder)]
    files = [file for group in groups for file in group]
    assert len(files) == len(set(files)) == 6
    apart = [entry for group in groups for entry in scans.read_all(group)]
    slices = [
        sorted(len(entry.slices) for entry in found if isinstance(entry, scans.Scan))
        for found in (apart, scans.read_all(sorted(files)))
    ]
    assert slices[0] == slices[1] and sum(slices[0]) == 6


def test_a_damaged_file_is_missing_from_the_only_series_of_its_folder(tmp_path):
    contents = series([slice_12_bit(k) for k in range(3)])
    cut = contents[1][:300]  # within its first tags
    folder = disc(tmp_path, {"a/1": contents[0], "a/2": cut, "a/3": contents[2], "b/1": cut})
    assert groups_in(folder) == [["a/1", "a/2", "a/3"], ["b/1"]]
    found = scans.read_all([folder / name for name in ("a/1", "a/2", "a/3")])
    assert next(entry for entry in found if isinstance(entry, scans.Scan)).doubts
