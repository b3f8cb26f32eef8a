"""The figures of an epoch."""

import math

import pytest
import torch
from sklearn.metrics import f1_score, recall_score

from model import CLASSES
from training.losses import PARTIAL
from training.validate import measure, score


def test_figures_of_the_fully_labeled_and_of_all():
    torch.manual_seed(0)
    logits, labels = torch.randn(60, len(CLASSES)), torch.randint(0, PARTIAL + 1, (60,))
    measured, full = measure(logits, labels), labels != PARTIAL
    truth, predicted = labels[full], logits[full].argmax(1)
    recalls = recall_score(truth, predicted, average=None)
    assert [measured[f"val_recall_{name}"] for name in CLASSES] == pytest.approx(recalls.tolist())
    assert measured["val_macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert measured["val_accuracy"] == pytest.approx((truth == predicted).double().mean().item())
    assert score(measured) == pytest.approx((measured["val_macro_f1"] + measured["val_auc_tumor"]) / 2)


def test_calibration_error_is_the_gap_between_confidence_and_hits():
    sure = torch.tensor([[math.log(0.8), *[math.log(0.2 / 3)] * 3]]).expand(10, 4)
    labels = torch.tensor([0] * 5 + [1] * 5)  # right half of the time
    assert measure(sure, labels)["val_ece"] == pytest.approx(0.3, abs=1e-6)


def test_what_the_validation_split_cannot_tell_is_no_number():
    measured = measure(torch.randn(4, len(CLASSES)), torch.zeros(4, dtype=torch.long))
    assert math.isnan(measured["val_auc_tumor"]) and math.isnan(measured["val_recall_notumor"])
    assert not math.isnan(measured["val_recall_glioma"]) and score(measured) == measured["val_macro_f1"]
