"""Where the evidence lies: maps whose peak and shares are known, against boxes and masks that are known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from model import NO_TUMOR
from model.overlay import _level
from model.preprocess import Window, frame
from training.data.phantoms import FIRST_SEED, draw_phantom, write_phantom_dataset
from training.evaluation import localization
from training.evaluation.localization import FIRST_PHANTOM, PHANTOMS, box_masks, evidence_figures, in_frame, peak
from training.losses import PARTIAL

UNKNOWN = [np.nan] * 4


def peaks_at(row, column, n, cells=10):
    """Evidence (n, 4, cells, cells): half of it in one cell, the rest even."""
    evidence = np.full((n, 4, cells, cells), 0.5 / (cells**2 - 1))
    evidence[:, :, row, column] = 0.5
    return evidence


def sure_of(answers):
    return 0.96 * np.eye(4)[answers] + 0.01


def test_peak_is_inside_the_box_or_a_cell_beside_it_or_elsewhere():
    boxes = np.array(
        [
            [0.7, 0.2, 0.8, 0.3],  # around the peak, whose cell has its center at x 0.75, y 0.25
            [0.5, 0.2, 0.66, 0.3],  # ends less than a cell to its left
            [0.5, 0.2, 0.64, 0.3],  # ends more than a cell to its left
            [0.7, 0.36, 0.8, 0.5],  # begins more than a cell below
        ]
    )
    labels = np.array([0, 0, 1, 1])
    figures = evidence_figures(peaks_at(2, 7, 4), sure_of(labels), labels, box_masks(boxes, 100), list("abcd"))
    row = figures["named_right"]
    assert (row["all"]["peak_inside"]["value"], row["all"]["peak_near"]["value"]) == (1 / 4, 1 / 2)
    assert row["glioma"]["peak_near"]["value"] == 1 and row["meningioma"]["peak_near"]["value"] == 0
    assert "pituitary" not in row and figures["cells"] == 10
    mask, unknown = box_masks(np.array([[0.3, 0.2, 0.6, 0.4], UNKNOWN]), 10)
    assert mask[2:4, 3:6].all() and mask.sum() == 6 and not unknown.any()


@pytest.mark.parametrize(
    ("box", "inside", "even"),
    [([0.7, 0.2, 0.8, 0.3], 0.5, 0.01), ([0.7, 0.2, 0.75, 0.3], 0.25, 0.005), ([0.0, 0.0, 1.0, 1.0], 1.0, 1.0)],
)
def test_share_inside_counts_cells_by_how_much_of_them_the_box_covers(box, inside, even):
    masks = box_masks(np.array([box]), 100)
    row = evidence_figures(peaks_at(2, 7, 1), sure_of([0]), [0], masks, ["a"])["named_right"]["all"]
    assert (row["share_inside"]["value"], row["even"]["value"]) == pytest.approx((inside, even))


def test_every_tumor_with_a_box_counts_and_nothing_else():
    labels = np.array([0, 0, PARTIAL, NO_TUMOR, -1, 1])
    boxes = np.array([[0.7, 0.2, 0.8, 0.3]] * 5 + [UNKNOWN])
    answers = np.array([0, 1, 0, NO_TUMOR, 0, 1])
    figures = evidence_figures(peaks_at(2, 7, 6), sure_of(answers), labels, box_masks(boxes, 100), list("abcdef"))
    counts = {name: row["peak_inside"]["n"] for name, row in figures["all_answers"].items()}
    assert counts == {"all": 3, "glioma": 2, "tumor": 1}
    assert figures["named_right"]["all"]["peak_inside"]["n"] == 1, "a tumor of unknown type has no correct class"
    counts = {name: part["n"] for name, part in figures["wrong_place"].items()}
    assert counts == {"right": 2, "wrong": 1, "wrong_type": 1, "missed": 0}
    nothing = box_masks(np.array([UNKNOWN]), 100)
    assert evidence_figures(peaks_at(0, 0, 1), sure_of([0]), [0], nothing, ["a"]) == {}


def test_map_of_the_likeliest_tumor_is_measured_even_where_none_is_named():
    evidence = peaks_at(0, 0, 2)
    evidence[:, 1] = peaks_at(2, 7, 2)[:, 1]  # only meningioma's map peaks in the box
    probabilities = np.array([[0.1, 0.3, 0.0, 0.6], [0.3, 0.1, 0.0, 0.6]])
    boxes = box_masks(np.array([[0.7, 0.2, 0.8, 0.3]] * 2), 100)
    figures = evidence_figures(evidence, probabilities, np.array([1, 1]), boxes, list("ab"))
    assert figures["all_answers"]["all"]["peak_inside"]["value"] == 1 / 2
    assert figures["wrong_place"]["missed"] == figures["wrong_place"]["wrong"]
    assert figures["wrong_place"]["missed"]["value"] == 1 / 2
    assert figures["named_right"] == {}


def test_peak_lies_between_two_cells_that_are_alike_as_in_the_picture_of_the_page():
    share = np.zeros((4, 4))
    share[1, 1] = 1
    assert peak(share, 9) == (13, 13), "the middle of the cell"
    share[1, 2] = 1
    row, column = peak(share, 9)
    assert row == 13 and 16 <= column <= 19, "the edge between both"
    map_of_page = _level(np.zeros((36, 36)), share, Window(0, 0, 36))  # enlarged
    row, column = ((place + 0.5) * len(map_of_page) / 36 for place in (row, column))
    assert map_of_page[int(row), int(column)] > 0.99 * map_of_page.max()


def test_mask_lies_in_the_frame_where_the_lesion_lies_in_the_image():
    phantom = draw_phantom("meningioma", FIRST_PHANTOM, 128, sequence="t1c")
    marked = np.where(phantom.mask, 255, phantom.image // 4)
    framed, window = frame(marked, 90, 0.06)
    inside = in_frame(phantom.mask, window, 90)
    assert framed[inside].mean() > 200 and framed[~inside].mean() < 60


class Looker:
    """Answers glioma everywhere, its evidence where the frame is brightest."""

    config = {"size": 40, "margin": 0.06}
    version = "looker"

    def outputs(self, frames):
        cells = np.asarray(frames, dtype=float).reshape(-1, 4, 10, 4, 10).mean((2, 4))
        evidence = np.repeat(cells[:, None] / cells.sum((1, 2))[:, None, None, None], 4, axis=1)
        n = len(frames)
        logits = np.tile([5.0, 0, 0, 0], (n, 1))
        return SimpleNamespace(evidence=evidence, logits=logits)

    def calibrate(self, logits):
        return sure_of(logits.argmax(1))


def test_phantoms_that_are_measured_are_none_that_train(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "training.data.phantoms.phantom.draw_phantom", lambda *args, **options: drawn.append(args) or DRAWN
    )
    DRAWN = draw_phantom("notumor", 0, 32)
    write_phantom_dataset(tmp_path, per_class=2, seed=1, size=32)
    assert min(seed for _, seed, _ in drawn) >= FIRST_SEED > FIRST_PHANTOM + PHANTOMS


def test_command_measures_phantoms_against_their_masks_or_ends_with_a_message(tmp_path, capsys, monkeypatch):
    file = tmp_path / "made" / "x.json"
    assert localization.main(["--weights", str(tmp_path), "--out", str(file)]) == 2
    assert capsys.readouterr().err and not file.exists()
    monkeypatch.setattr(localization.TumorClassifier, "from_folder", lambda folder: Looker())
    monkeypatch.setattr(localization, "PHANTOMS", 3)
    assert localization.main(["--weights", str(tmp_path), "--out", str(file)]) == 0
    assert "all_answers all peak_inside" in capsys.readouterr().out
    figures = json.loads(file.read_text())
    row = figures["all_answers"]["all"]
    assert row["peak_inside"]["n"] == 9 and figures["model"] == "looker"
    assert set(figures["named_right"]) == {"all", "glioma"} and figures["wrong_place"]["wrong_type"]["n"] == 6
    assert 0 < row["even"]["value"] < 0.3 and row["share_inside"]["value"] > row["even"]["value"] / 2
