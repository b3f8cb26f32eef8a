"""`python -m model`: the forms of the answer, their order, the exit codes."""

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from model import CLASSES
from model.__main__ import main
from model.spreadsheet import COLUMNS, ROUNDED
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
