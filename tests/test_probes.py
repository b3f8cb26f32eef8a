"""Shortcut probes against heads and stand-in networks whose shortcuts are known."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from model import CLASSES, NO_TUMOR
from model.classifier import TumorClassifier
from model.preprocess import frame
from training.augmentation.stripping import INK, blanked, covered, head_mask, mirrored, outline, silhouette
from training.data.frames import load_frames, read_dataset
from training.evaluation import probes
from training.evaluation.probes import probe

SIZE = 96


@pytest.fixture(scope="module")
def head(draw_head) -> np.ndarray:
    return frame(draw_head(3), 160, 0.06)[0]


class CenterWatcher:
    """A stand-in network that sees a tumor where the middle of the head is bright, and takes its type from there."""

    config = {"size": SIZE, "margin": 0.06}
    version = "center watcher"

    def outputs(self, frames):
        middle = frames.numpy()[:, 40:56, 40:56].astype(float)
        brightness = middle.mean((1, 2)) / 255
        logits = np.zeros((len(frames), len(CLASSES)))
        logits[:, NO_TUMOR] = 8 * (0.6 - brightness)
        logits[:, 0] = (middle[:, :, :8] - middle[:, :, 8:]).mean((1, 2)) / 20
        return type("Outputs", (), {"logits": logits})

    def calibrate(self, logits):
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Heads of one shape. Tumors, a bright disk in the middle, are in wide images, normals in tall ones."""
    root = tmp_path_factory.mktemp("shortcut")
    y, x = np.mgrid[-1:1:100j, -1:1:100j]
    shape = np.hypot(x / 0.85, y / 0.95)
    rng = np.random.default_rng(0)
    rows, boxes = [], []
    (root / "images").mkdir()
    for k in range(48):
        tumor = k % 2 == 0
        pixels = np.where(shape < 1, 60 + 15 * rng.random(x.shape), 0)
        pixels[(shape > 0.93) & (shape < 1)] = 200
        if tumor:
            pixels[np.hypot(x, y) < 0.2] = 220
        pixels = np.pad(pixels, ((0, 0), (15, 15)) if tumor else ((15, 15), (0, 0)))
        path = f"images/{k}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(root / path)
        label = "glioma" if tumor else "notumor"
        split = "train" if k < 28 else "val" if k < 32 else "test"
        rows.append({"path": path, "label": label, "source": "drawn", "group": f"g{k}", "split": split})
        if tumor:
            boxes.append(f"{path},0.5,0.5,{0.2 / 1.3:.3f},0.2")
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (root / "boxes.csv").write_text("\n".join(["path,x_center,y_center,width,height", *boxes]) + "\n")
    return root


@pytest.fixture(scope="module")
def report(dataset):
    return probe(CenterWatcher(), read_dataset(dataset), external=read_dataset(dataset))


# ---- heads without a brain


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_head_is_found_whole_whatever_is_inside_or_around(head):
    expected = head_mask(head)
    assert overlap(expected, head > 10) > 0.93
    dark_inside = np.where(head_mask(head) & (blanked(head) != head), 0, head)
    marked = head.copy()  # the frame of a screenshot, and a letter
    marked[:, 2:4], marked[-3:-1], marked[8:18, 8:11] = 255, 255, 255
    assert min(overlap(head_mask(one), expected) for one in (dark_inside, marked)) > 0.97


def test_blanking_leaves_the_rim_and_one_brightness(head):
    blank = blanked(head)
    kept, inside = blank == head, head_mask(head)
    assert kept[~inside].all()
    middle = blank[60:100, 60:100]
    assert len(np.unique(middle)) == 1 and abs(int(middle[0, 0]) - head[60:100, 60:100].mean()) < 40
    assert 0.6 < (~kept & inside).sum() / inside.sum() < 0.9


def test_silhouette_and_outline_tell_nothing_of_the_inside(head):
    other = blanked(head)
    for reduce in (silhouette, outline):
        assert overlap(reduce(head) > 0, reduce(other) > 0) > 0.9
        assert set(np.unique(reduce(head))) == {0, INK}
    assert (outline(head) > 0).sum() < 0.1 * (silhouette(head) > 0).sum()


def test_an_image_without_a_head_stays_as_it_is():
    black = np.zeros((64, 64), np.uint8)
    assert not (head_mask(black).any() or outline(black).any() or silhouette(black).any() or blanked(black).any())
    assert head_mask(np.full((64, 64), 200, np.uint8)).mean() > 0.95


def test_cover_hides_the_box_smoothly_or_by_the_other_half_and_touches_nothing_else():
    image = np.tile(np.abs(np.arange(80) - 39.5), (80, 1)).round().astype(np.uint8)
    tumor, box = image.copy(), np.array([50, 30, 60, 40]) / 80
    tumor[30:40, 50:60] = 250
    for hide in (covered, mirrored):
        hidden = hide(tumor, box)
        assert np.abs(hidden.astype(int) - image)[30:40, 50:60].max() <= 3
        assert (hidden[:, :40] == image[:, :40]).all() and hidden.shape == image.shape


def test_a_tumor_on_one_side_is_also_covered_by_the_other(dataset):
    frames = load_frames(read_dataset(dataset).where("test"), SIZE, 0.06)
    boxes = frames.boxes + torch.tensor([0.3, 0, 0.3, 0])
    report = probes.covered_tumors(CenterWatcher(), frames._replace(boxes=boxes), np.arange(16).astype(str))
    assert set(report["one_side"]) == {"whole", "covered", "mirrored", "other_side"}
    assert report["one_side"]["covered"]["seen"]["value"] == 1  # covered is the wrong place


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0, 0, 0.01, 0.01], [0.97, 0.97, 1, 1], [0, 0.5, 0.3, 1]])
def test_a_box_at_the_edge_can_be_covered(box):
    image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    assert covered(image, np.array(box)).shape == image.shape


# ---- the report


def test_proportions_give_the_label_away_until_the_head_is_framed(report):
    raw, framed = report["test"]["tree"]["raw"], report["test"]["tree"]["framed"]
    assert raw["size"]["auc_tumor"]["value"] == raw["all"]["auc_tumor"]["value"] == 1
    assert framed["size"]["auc_tumor"]["value"] == framed["border"]["auc_tumor"]["value"] == 0.5


def test_a_network_that_looks_at_the_brain_falls_to_chance_without_it(report):
    network = report["test"]["network"]
    assert network["whole"]["auc_tumor"]["value"] == 1 and network["whole"]["types"]["n"] == 8
    for name in ("silhouette", "outline"):
        assert network[name]["auc_tumor"]["value"] == report["test"]["chance"]["auc_tumor"] == 0.5
    assert network["blanked"]["tumors_seen"]["n_groups"] == 8
    assert report["test"]["chance"]["types_balanced_accuracy"] == 1, "there are gliomas only"


def test_a_covered_tumor_is_detected_no_more(report):
    covered_ones = report["test"]["covered"]["all"]
    assert covered_ones["whole"]["seen"]["value"] == 1 and covered_ones["covered"]["seen"]["value"] == 0
    assert report["test"]["covered"]["one_side"] is None  # all of them lie in the middle


def test_other_images_are_measured_with_the_same_trees(report):
    assert (report["test"]["n"], report["external"]["n"]) == (16, 48)
    assert report["external"]["tree"]["raw"]["size"]["auc_tumor"]["value"] == 1


def test_command_writes_the_report_and_names_a_missing_folder(dataset, report, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TumorClassifier, "from_folder", lambda *_: CenterWatcher())
    monkeypatch.setattr(probes, "probe", lambda *_: report)
    options = ["--weights", "w", "--out", str(tmp_path / "a" / "probes.json"), "--data"]
    assert probes.main([*options, str(dataset)]) == 0
    assert json.loads((tmp_path / "a" / "probes.json").read_text()) == report
    assert "external tree raw size auc_tumor " in capsys.readouterr().out
    assert probes.main([*options, str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
