"""`python -m model.batch`: a row for everything in an archive, once, whatever happens on the way."""

import os
import runpy
import sys
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from PIL import Image

from model import CLASSES
from model.artifact import CONFIG, FILES
from model.classifier import TumorClassifier
from model.report import each_entry
from tests.dicom_files import series, slice_12_bit

ray = pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-batch.txt")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install -r requirements-batch.txt")

from ray.cluster_utils import Cluster  # noqa: E402

from model import batch  # noqa: E402

PICTURES = [f"a/{k}.png" for k in range(8)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory, draw_head) -> Path:
    """Pictures, one of two slices and one whose name is no text; a text; a series whose files lie in two folders."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    for seed, name in enumerate(PICTURES):
        Image.fromarray(draw_head(seed)).save(folder / name)
    Image.fromarray(draw_head(1)).save(folder / "two.tif", save_all=True, append_images=[Image.new("L", (64, 64))])
    (folder / "notes.txt").write_text("no picture")
    for number, content in enumerate(series([slice_12_bit(k, (64, 64)) for k in range(3)])):
        (folder / "ab"[number % 2] / f"IM{number}").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one core each, as far as Ray knows; the test's process is at the first."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 1})
        cluster.second = cluster.add_node(num_cpus=1)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def rows_of(out: Path) -> list[dict]:
    """Without what differs between two runs."""
    kept = [name for name in batch.NAMES if name not in ("seconds", "answered")]
    return sorted(pq.read_table(out, columns=kept).to_pylist(), key=lambda row: (row["path"], row["slice"] or 0))


def test_every_file_is_told_of_once_though_a_machine_dies_and_the_program_stops(
    cluster, archive, weights, tmp_path, draw_head, monkeypatch
):
    monkeypatch.setattr(batch, "UNITS_OF_SHARD", 1)
    out, latin = tmp_path / "scores", os.fsencode(archive) + b"/caf\xe9.png"
    with open(latin, "wb") as file:
        Image.fromarray(draw_head(0)).save(file, "PNG")

    def kill_the_second_when_something_is_done() -> None:
        while not any(out.glob("*.parquet")):
            sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = Thread(target=kill_the_second_when_something_is_done)
    killer.start()
    statuses = batch.score(str(archive), str(out), weights)
    killer.join()
    assert statuses.total() == len(PICTURES) + 4 and statuses["unreadable"] == 1
    rows = rows_of(out)
    of_scans = [row for row in rows if row["slice"] is None or row["slices"] == 1]
    wholes = {row["path"].removeprefix(f"{archive}/"): row for row in of_scans}
    assert sorted(wholes) == sorted([*PICTURES, "a/IM0", "caf\\udce9.png", "notes.txt", "two.tif"])
    assert len(rows) == len({(row["path"], row["slice"]) for row in rows}) == len(PICTURES) + 1 + 1 + (1 + 2) + (1 + 3)
    assert (wholes["a/IM0"]["files"], wholes["a/IM0"]["slices"]) == (3, 3)
    unreadable = wholes["notes.txt"]
    assert unreadable["reason"] and unreadable["glioma"] is None
    (expected,) = each_entry(TumorClassifier.from_folder(weights), [archive / "two.tif"])
    for row, made in zip([row for row in rows if row["slices"] == 2], [expected, *expected["slices"]], strict=True):
        assert [row[name] for name in CLASSES] == pytest.approx([made["probabilities"][name] for name in CLASSES])
        assert (row["status"], row["sees_tumor"]) == (made["status"], made["sees_tumor"])

    lost, *kept = out.glob("*.parquet")  # as if the program had been stopped before this was written
    lost.unlink()
    (out / ".unfinished.parquet").write_bytes(b"PAR1")
    kept = {file: file.stat().st_mtime_ns for file in kept}
    assert batch.main([str(archive), "--out", str(out), "--weights", str(weights)]) == 1  # of the text
    assert rows_of(out) == rows
    assert kept.items() <= {file: file.stat().st_mtime_ns for file in out.glob("*.parquet")}.items()
    os.unlink(latin)


def test_an_object_store_is_read_like_a_folder(cluster, archive, weights):
    paths = ["two.tif", "a/IM0", "b/IM1", "a/IM2", "notes.txt"]
    weights = ray.put({name: (weights / name).read_bytes() for name in (CONFIG, FILES["int8"])})
    answers = []
    for name in (str(archive), archive.as_uri()):
        place = batch.Archive(name)
        assert {f"{archive}/{path}" for path in paths} <= set(place.paths())
        found = [(path, place.series([f"{archive}/{path}"])[0][1]) for path in paths]
        units = [[f"{archive}/{path}" for path in unit] for unit in batch.grouped(found)]
        assert list(map(len, units)) == [1, 3, 1]
        table = batch.Scorer(place, weights)({"shard": [batch.pickle.dumps(units)]})
        answers.append(table.drop_columns(["seconds", "answered"]).to_pylist())
    assert answers[0] == answers[1]


def test_answers_of_other_weights_are_left_alone(archive, weights, tmp_path, capsys):
    row = dict.fromkeys(batch.NAMES) | {"path": "a.png", "model": "other weights"}
    pq.write_table(batch.pa.Table.from_pylist([row], batch.SCHEMA), tmp_path / "earlier.parquet")
    assert batch.main([str(archive), "--out", str(tmp_path), "--weights", str(weights)]) == 2
    assert "holds answers of other weights" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "words"), [("empty", "Name the folder"), ("nowhere", "o such file or directory")])
def test_nothing_to_score_is_told(tmp_path, place, words, capsys):
    (tmp_path / "empty").mkdir()
    assert batch.main([str(tmp_path / place), "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_cluster_that_does_not_answer_is_told(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert batch.main([str(archive), "--out", str(tmp_path / "out")]) == 2
    assert "No Ray cluster answers at RAY_ADDRESS=127.0.0.1:9" in capsys.readouterr().err


def test_without_ray_the_command_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.delitem(sys.modules, "model.batch")
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("model.batch", run_name="__main__")
    assert "pip install -r requirements-batch.txt" in capsys.readouterr().err
