"""Tumor-free training slices from volumes of healthy heads."""

import numpy as np
import pytest

from model.scans import Scan
from tests.dicom_files import series
from tests.nifti_files import nifti
from training.data import volumes
from training.data.frames import DataError
from training.data.phantoms import draw_volume
from training.data.volumes import PER_PLANE, PLANES, TILT, heads_in, healthy_frames, slices_through, tilted


@pytest.fixture(scope="module")
def head():
    return draw_volume("notumor", 0, 40, 48, "t1").astype(np.int16)


@pytest.fixture
def folder(tmp_path, head):
    """Two persons: a thin NIfTI volume, and a folder of thick DICOM slices."""
    (tmp_path / "ada.nii").write_bytes(nifti(head.transpose(2, 1, 0), (2.0, 2.0, 2.0)))
    (tmp_path / "ben").mkdir()
    for number, content in enumerate(series([pixels.astype(np.uint16) for pixels in head[::8]], spacing=16.0)):
        (tmp_path / "ben" / f"{number}.dcm").write_bytes(content)
    return tmp_path


def test_thin_volumes_give_every_plane_and_thick_ones_their_own_slices(folder, monkeypatch):
    monkeypatch.setattr(volumes, "PER_PLANE", 5)
    frames, people, chances = healthy_frames(folder, 64, 0.1, seed=0)
    assert frames.shape == (len(people), 64, 64) and frames.float().amax((1, 2)).min() > 100
    assert 10 < people.count("ada.nii") <= 15 and 3 <= people.count("ben") <= 6
    of_ada = chances[[name == "ada.nii" for name in people]]
    assert of_ada.sum() == pytest.approx(0.5) and chances.sum() == pytest.approx(1), "each volume the same"
    assert len(set(of_ada.tolist())) == 1


def test_a_manifest_says_who_is_who_and_which_planes_are_worth_cutting_and_what_is_no_volume_is_named(
    folder, monkeypatch
):
    monkeypatch.setattr(volumes, "PER_PLANE", 6)
    head = (folder / "ada.nii").read_bytes()
    for name in ("again", "aside"):
        (folder / f"{name}.nii").write_bytes(head)
    (folder / "manifest.csv").write_text(
        "path,person,planes\nada.nii,P:ada,all (2 mm)\nagain.nii,P:ada,axial; others coarse\nben,P:ben,\n"
    )
    assert [head.planes for head in heads_in(folder)] == [PLANES, ("axial",), PLANES]
    frames, people, chances = healthy_frames(folder, 64, 0.1, seed=0)
    assert set(people) == {"P:ada", "P:ben"} and people.count("P:ada") <= 6 * 3 + 6
    assert chances[[name == "P:ben" for name in people]].sum() == pytest.approx(1 / 3), "two volumes are of ada"
    (folder / "manifest.csv").write_text("path,person\n")
    with pytest.raises(DataError, match="holds no volume"):
        healthy_frames(folder, 64, 0.1, 0)
    (folder / "manifest.csv").unlink()
    (folder / "notes.txt").write_text("not a scan")
    with pytest.raises(DataError, match="notes.txt cannot be used"):
        healthy_frames(folder, 64, 0.1, 0)


def test_many_volumes_give_fewer_slices_each_and_a_seed_always_the_same(folder, monkeypatch):
    monkeypatch.setattr(volumes, "MOST", 2 * len(PLANES) * 4)
    (first, people, _), (again, *_), (other, *_) = (healthy_frames(folder, 64, 0.1, seed) for seed in (1, 1, 2))
    assert people.count("ada.nii") <= 4 * len(PLANES)
    assert first.equal(again) and not (first.shape == other.shape and first.equal(other))


def test_slices_are_planes_in_the_head_and_tilted_by_no_more_than_told():
    depth, height, width, between, pixel = 60, 30, 40, 1.0, 2.0
    height_mm = np.broadcast_to((np.arange(depth, dtype=np.float32) * between)[:, None, None], (depth, height, width))
    scan = Scan(list(1000 + height_mm), "ramp", plane="axial", spacing=(between, pixel))
    angles = []
    for cut in tilted(scan, np.random.default_rng(0)):
        middle = cut[5:-5, 5:-5].astype(float)
        if middle.min() < 1001 or middle.max() > 1000 + depth - 2:
            continue  # reaches beyond the volume
        down, across = np.gradient(middle, pixel)
        assert down.std() < 1e-3 and across.std() < 1e-3
        angles.append(np.rad2deg(np.arctan([down.mean(), across.mean()])))
    assert len(angles) > PER_PLANE / 10
    assert 0.5 * TILT < np.abs(angles).max() <= TILT


def test_air_is_no_slice():
    head = np.zeros((20, 32, 32), np.uint16)
    head[8:12, 4:28, 4:28] = 1000
    scan = Scan(list(head), "head", plane="axial", spacing=(5.0, 1.0))
    assert len(list(slices_through(scan, np.random.default_rng(0)))) == 4
