"""The report against images whose right answers are known: the stand-in for the network counts bars."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from model import CLASSES
from model.classifier import RawOutputs
from training.data.frames import read_dataset
from training.data.layouts import OTHER
from training.evaluation import evaluate
from training.evaluation.evaluate import main, select


class BarCounter:
    """Answers the class whose number of bright bars it counts in a frame, with logits 4 and 0 before calibration."""

    version = "bar counter"
    config = {"size": 64, "margin": 0.0}
    threshold = 0.3

    def outputs(self, frames):
        frames = frames.numpy()
        bright = frames[:, 32].astype(int) > 128
        bars = (np.diff(bright, axis=1, prepend=False) & bright).sum(1)
        logits = 4.0 * np.eye(4)[bars - 2]
        evidence = np.zeros((len(frames), 4, 4, 4))
        evidence[:, :, 1, 2] = 1  # the cell from (0.5, 0.25) to (0.75, 0.5)
        scores, nothing = np.where(bars == 5, 0.1, 0.9), np.zeros(len(frames))
        return RawOutputs(logits=logits, brain_score=scores, evidence=evidence, features=logits, distance=nothing)

    def calibrate(self, logits):
        exponentials = np.exp(logits / 2)
        return exponentials / exponentials.sum(1, keepdims=True)

    def judge(self, frames, raw, probabilities):
        return [("refused" if score < 0.2 else "accepted", "") for score in raw.brain_score]

    def prediction_sets(self, probabilities):
        return (probabilities > 0.5) | (np.arange(4) == 1)  # the answer, and always meningioma


def draw(path, answer, seed):
    """An image on which `BarCounter` answers the class `answer`; a little noise makes every image another one."""
    bars = CLASSES.index(answer) + 2
    columns = np.arange(90) * (2 * bars - 1) // 90 % 2 == 0
    noise = np.random.default_rng(seed).integers(0, 20, (90, 90))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((columns * 200 + noise).astype(np.uint8)).save(path)


def write_dataset(root, with_split=True):
    """Eight images of each class, two a group (one without splits); the first glioma is drawn as no tumor."""
    rows = []
    for name in (*CLASSES, "tumor", OTHER):
        for k in range(8):
            answer = {"tumor": "meningioma", OTHER: "glioma"}.get(name, name)
            if name == "glioma" and k == 0:
                answer = "notumor"
            path = f"images/{name}-{k}.png"
            draw(root / path, answer, seed=len(rows))
            sequence = "" if name == "notumor" else ("T1C+", "T2")[k % 2]
            row = {
                "path": path,
                "label": name,
                "group": f"{name}-{k // 2 if with_split else k}",
                "source": "drawn",
                "sequence": sequence,
            }
            rows.append(row | ({"split": ("test", "train")[k // 4]} if with_split else {}))
    with open(root / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with open(root / "boxes.csv", "w") as file:
        file.write("path,x_center,y_center,width,height\nimages/meningioma-0.png,0.6,0.4,0.1,0.1\n")
        file.write("images/meningioma-1.png,0.1,0.9,0.1,0.1\nimages/glioma-0.png,0.6,0.4,0.1,0.1\n")
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("bars"))


@pytest.fixture(scope="module")
def report(dataset):
    """Of all images, without plots."""
    return evaluate.evaluate(BarCounter(), select(dataset, "all")[0])


@pytest.fixture
def counter(monkeypatch, tmp_path):
    """A weights folder that gives the bar counter, and the options that name it."""
    monkeypatch.setattr(evaluate.TumorClassifier, "from_folder", lambda folder, precision: BarCounter())
    return ["--weights", "weights", "--out", str(tmp_path / "report")]


def test_json_is_one_object_with_every_promised_figure_and_the_folder_holds_it_with_small_plots(
    dataset, counter, capsys, tmp_path
):
    assert main([*counter, "--data", str(dataset), "--split", "test", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "report" / "metrics.json").read_text()) == report
    assert set(report["ece"]) == {"value", "low", "high"}
    assert set(report["recall"]) == set(CLASSES)
    assert (report["n"], report["n_groups"]) == (20, 10)
    assert set(report["by_source"]) == {"drawn"} and {"T1C+", "T2"} < set(report["by_sequence"])
    assert report["accuracy"]["value"] == 15 / 16  # the glioma drawn as no tumor; unknown types left out
    assert report["recall"]["glioma"]["value"] == 3 / 4
    assert report["sensitivity_tumor"]["value"] == 15 / 16  # of 12 tumors with a type and 4 without
    for name in ("confusion", "roc", "reliability", "predictions"):
        file = tmp_path / "report" / f"{name}.png"
        assert min(Image.open(file).size) > 300 and file.stat().st_size < 100_000


@pytest.fixture
def unplotted(monkeypatch):
    """Plots are not drawn: one test of them is enough."""
    for name in ("confusion", "roc", "reliability", "predictions"):
        monkeypatch.setattr(evaluate.plots, f"plot_{name}", lambda *_: None)


@pytest.mark.usefixtures("unplotted")
def test_data_without_splits_is_measured_whole_unless_the_weights_trained_on_it(tmp_path, counter, capsys):
    root = write_dataset(tmp_path / "loose", with_split=False)
    assert main([*counter, "--data", str(root), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["n"] == 40 and "comes without splits" in captured.err
    chosen, note = select(root, "test", read_dataset(root).trainable().fingerprint())
    assert not note and {record.split for record in chosen.records} == {"test"} and len(chosen.records) < 40


@pytest.mark.usefixtures("unplotted")
def test_folders_of_tumor_or_not_are_measured_for_just_that_and_printed(tmp_path, counter, capsys):
    for k in range(6):
        draw(tmp_path / "scans" / "yes" / f"{k}.png", "pituitary", seed=k)
        draw(tmp_path / "scans" / "no" / f"{k}.png", "notumor", seed=10 + k)
    assert main([*counter, "--data", str(tmp_path / "scans")]) == 0
    report = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert (report["n"], report["auc_tumor"]["value"]) == (12, 1)
    assert report["recall"]["pituitary"]["value"] is None and report["recall"]["notumor"]["value"] == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "12 images of 2 groups" in text and "recall notumor 1.000 (" in text and "pituitary" not in text


def test_publishers_spelling_of_a_split_is_understood(dataset):
    testing, test = (select(dataset, split)[0].records for split in ("Testing", "test"))
    assert testing == test and {record.split for record in test} == {"test"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--data", "{dataset}", "--split", "validation"], "has no split 'val'; it has test, train"),
        (["--data", "{dataset}", "--split", "holdout"], "names no split"),
    ],
)
def test_what_does_not_exist_ends_with_a_message_and_code_2(options, message, dataset, counter, capsys):
    assert main([*counter, *(option.format(dataset=dataset) for option in options)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err and captured.out == ""


def test_the_operating_point_of_the_weights_decides_what_is_detected(dataset):
    counter = BarCounter()
    counter.threshold = 0.2  # of no tumor, it is sure by 0.71: P(tumor) is 0.29
    report = evaluate.evaluate(counter, select(dataset, "all")[0])
    point = report["operating_point"]
    assert report["threshold"] == point["threshold"] == 0.2
    assert (point["sensitivity"]["value"], point["specificity"]["value"]) == (1, 0)
    assert report["by_label_and_sequence"]["glioma"]["all"]["seen"]["value"] == 1


# ---- what only images and evidence maps tell: the report of all images


def test_diseases_without_a_class_are_reported_apart(report):
    other = report["other_pathology"]
    assert other["called_tumor"]["value"] == 1 and other["called_tumor"]["n"] == 8
    assert other["confidently_wrong"]["value"] == 0 and other["status"]["accepted"]["value"] == 1  # 0.71 is not sure
    assert sum(map(sum, report["confusion"]["counts"])) == 32  # none of them, none of unknown type


def test_calibration_sequences_sets_refusals_and_evidence_are_in_the_report(report):
    confidence = np.exp(2) / (np.exp(2) + 3)
    assert report["ece"]["value"] == pytest.approx(abs(31 / 32 - confidence)), "calibrated"
    assert report["calibration_by_source"]["drawn"]["ece"] == pytest.approx(report["ece"])
    shares = {status: figure["value"] for status, figure in report["refusal"].items()}
    assert shares == {"refused": 9 / 40, "doubtful": 0, "accepted": 31 / 40}  # eight normals, one glioma
    areas = {name: (area["n"], area["value"]) for name, area in report["tumor_auc_by_sequence"].items()}
    assert areas == {"T1C+": (24, pytest.approx(31 / 32)), "T2": (24, 1)}  # one of 16 ties with all normals
    assert report["by_label_and_sequence"]["glioma"]["T1C+"]["named"]["value"] == 3 / 4
    sets = report["prediction_set"]
    assert sets["coverage"]["value"] == 31 / 32 and sets["mean_size"]["value"] == 7 / 4
    peaks = report["evidence"]["named_right"]["all"]["peak_inside"]
    assert (peaks["n"], peaks["value"]) == (2, 1 / 2), "two boxes with the correct class"
    assert report["evidence"]["wrong_place"]["missed"]["value"] == 0  # the first glioma's box is around the peak
