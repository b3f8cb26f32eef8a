"""`python -m model.batch`: a row for everything in an archive, once, whatever happens on the way."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from model import CLASSES, batch, batch_plan
from model.classifier import TumorClassifier
from model.report import each_entry
from tests.dicom_files import series, slice_12_bit
from tests.server import write_random_weights

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> str:
    return str(write_random_weights(tmp_path_factory.mktemp("weights"), temperature=0.001))


@pytest.fixture
def archive(tmp_path, draw_head, monkeypatch) -> Path:
    """Four pictures in folders, one of two slices; a text; a series whose files lie in two folders. Two to a shard."""
    monkeypatch.setattr(batch_plan, "FILES_OF_SHARD", 2)
    folder = tmp_path / "archive"
    for name in ("a/2.png", "a/10.png", "b/c/head.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_head(len(name))).save(folder / name)
    Image.fromarray(draw_head(1)).save(
        folder / "b" / "two.tif", save_all=True, append_images=[Image.new("L", (64, 64))]
    )
    (folder / "b" / "notes.txt").write_text("no picture")
    for number, content in enumerate(series([slice_12_bit(k, (64, 64)) for k in range(3)])):
        (folder / ("a" if number else "b") / f"IM{number}").write_bytes(content)
    return folder


def score(archive: Path, out: Path, weights: str, **process) -> int:
    return batch.score(archive, out, weights, **process)


def rows_of(out: Path) -> list[dict]:
    """Without what differs between two runs."""
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "answered")} for row in pq.read_table(out).to_pylist()
    ]


def test_every_file_is_told_of_once_and_as_elsewhere(archive, random_weights, tmp_path, capsys):
    out = tmp_path / "new" / "results.parquet"
    assert score(archive, out, random_weights) == 1  # of the text
    rows = rows_of(out)
    wholes = [row for row in rows if row["slice"] is None or row["slices"] == 1]
    assert [(row["path"], row["files"], row["slices"]) for row in wholes] == [
        ("a/10.png", 1, 1),
        ("a/2.png", 1, 1),
        ("a/IM1", 3, 3),
        ("b/notes.txt", 1, 0),
        ("b/two.tif", 1, 2),
        ("b/c/head.png", 1, 1),
    ]
    unreadable = wholes[3]
    assert unreadable["status"] == "unreadable" and unreadable["reason"] and unreadable["glioma"] is None
    (expected,) = each_entry(TumorClassifier.from_folder(random_weights), [archive / "b" / "two.tif"])
    study, *slices = [row for row in rows if row["path"] == "b/two.tif"]
    for row, said in zip([study, *slices], [expected, *expected["slices"]], strict=True):
        assert [row[name] for name in CLASSES] == pytest.approx([said["probabilities"][name] for name in CLASSES])
        assert (row["status"], row["sees_tumor"]) == (said["status"], said["sees_tumor"])
    assert [row["slice"] for row in slices] == [1, 2]
    assert "6 scans of 8 files" in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["results.parquet"]


def test_a_stopped_run_goes_on_and_does_nothing_twice(archive, random_weights, tmp_path, monkeypatch, capsys):
    asked, stop_at = [], 4

    def counted(classifier, files):
        asked.append(files)
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return each_entry(classifier, files)

    monkeypatch.setattr(batch, "each_entry", counted)
    out = tmp_path / "results.parquet"
    options = [str(archive), "--out", str(out), "--weights", random_weights]
    assert batch.main(options) == 2 and "run this again" in capsys.readouterr().err
    assert not out.exists() and len(asked) == 4
    (archive / "a" / "later.png").write_bytes(b"came after the plan was made")
    assert batch.main(options) == 1
    assert len(asked) == 4 + 6 - 3  # the third file of the plan was the last that was finished
    monkeypatch.undo()

    whole = tmp_path / "whole.parquet"
    (archive / "a" / "later.png").unlink()
    score(archive, whole, random_weights)
    assert rows_of(out) == rows_of(whole)
    assert batch.main(options) == 2 and "there already" in capsys.readouterr().err


def test_two_processes_write_what_one_does(archive, random_weights, tmp_path):
    alone, shared = tmp_path / "alone.parquet", tmp_path / "shared.parquet"
    score(archive, alone, random_weights)
    with ThreadPoolExecutor(2) as pool:
        ranks = [pool.submit(score, archive, shared, random_weights, rank=k, processes=2) for k in (1, 0)]
    assert [rank.result() for rank in ranks] == [0, 1]
    assert rows_of(shared) == rows_of(alone)


def test_parts_of_another_archive_or_of_other_weights_are_left_alone(archive, random_weights, tmp_path):
    out = tmp_path / "results.parquet"
    parts = tmp_path / "results.parquet.parts"
    parts.mkdir()
    batch_plan.write_plan(batch_plan.Plan(str(archive), "other weights", []), parts / "plan.json")
    with pytest.raises(batch.CannotScore, match="other weights"):
        score(archive, out, random_weights)


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_nothing_to_score_is_told(tmp_path, random_weights, place, capsys):
    (tmp_path / "empty").mkdir()
    options = [str(tmp_path / place), "--out", str(tmp_path / "r.parquet"), "--weights", random_weights]
    assert batch.main(options) == 2
    assert "Name the" in capsys.readouterr().err and not (tmp_path / "r.parquet.parts").exists()


def test_names_that_are_no_text_are_written(tmp_path, random_weights, draw_head):
    folder = tmp_path / "archive"
    folder.mkdir()
    Image.fromarray(draw_head(0)).save(tmp_path / "head.png")
    os.rename(tmp_path / "head.png", os.fsencode(folder) + b"/caf\xe9.png")
    assert score(folder, tmp_path / "r.parquet", random_weights) == 0
    assert rows_of(tmp_path / "r.parquet")[0]["path"] == "caf\\udce9.png"


def test_the_plan_keeps_a_series_together_and_every_file_once(archive, monkeypatch):
    plan = batch_plan.make_plan(archive, "some weights")
    units = [unit for shard in plan.shards for unit in shard]
    assert sorted(["a/IM1", "a/IM2", "b/IM0"]) in [sorted(unit) for unit in units]
    assert plan.files == len([path for path in archive.rglob("*") if path.is_file()])
    monkeypatch.setattr(batch_plan, "FILES_OF_SHARD", 100)
    assert len(batch_plan.make_plan(archive, "some weights").shards) == 1


def test_a_process_that_comes_when_all_is_done_has_nothing_to_do(archive, random_weights, tmp_path):
    out = tmp_path / "results.parquet"
    out.write_bytes(b"of the others")
    assert score(archive, out, random_weights, rank=1, processes=2) == 0
    assert batch.plan_of_first(tmp_path / "parts that are gone", out) is None


def test_a_process_that_is_about_to_begin_when_all_gets_done_does_nothing_again(
    archive, random_weights, tmp_path, monkeypatch
):
    out, parts = tmp_path / "all.parquet", tmp_path / "all.parquet.parts"
    batch.planned(archive, TumorClassifier.from_pretrained(random_weights).version, parts)

    def finish(*_) -> None:  # what the first process does last
        out.touch()
        shutil.rmtree(parts)

    monkeypatch.setattr(batch, "_check", finish)
    assert score(archive, out, random_weights, rank=1, processes=2) == 0
    assert not parts.exists() and not out.stat().st_size


def test_torchrun_is_not_told_of_an_unreadable_file_as_of_a_crash(tmp_path, random_weights, monkeypatch):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "notes.txt").write_text("no picture")
    options = [str(tmp_path / "archive"), "--weights", random_weights, "--out"]
    assert batch.main([*options, str(tmp_path / "alone.parquet")]) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert batch.main([*options, str(tmp_path / "shared.parquet")]) == 0


def test_pipes_are_no_files_and_a_link_to_nowhere_is_one(archive):
    os.mkfifo(archive / "a" / "pipe")
    (archive / "a" / "lost.png").symlink_to("nowhere.png")
    names = {name for shard in batch_plan.make_plan(archive, "").shards for unit in shard for name in unit}
    assert "a/lost.png" in names and "a/pipe" not in names


def test_a_folder_that_cannot_be_listed_ends_the_plan_with_a_sentence(tmp_path):
    with pytest.raises(batch.CannotScore, match="gone cannot be listed: no such file or directory. Make it readable"):
        batch.planned(tmp_path / "gone", "some weights", tmp_path / "parts")
