"""The few numbers that steer a run: after each epoch, on the validation split, with the averaged weights."""

import numpy as np
import torch
from sklearn.metrics import f1_score, recall_score, roc_auc_score
from torch import Tensor

from model import CLASSES, NO_TUMOR

from .data.frames import Frames
from .evaluation.metrics import calibration_error
from .losses import PARTIAL, log_probability
from .network import TumorNet
from .processes import Processes


@torch.inference_mode()
def predict_logits(net: TumorNet, frames: Frames, device: torch.device, batch: int = 128) -> Tensor:
    """Logits float32 (N, C) on the CPU for framed images."""
    net.eval()
    pieces = [net(piece[:, None].to(device)).logits for piece in frames.images.split(batch)]
    return torch.cat(pieces).cpu()


def validate(net: TumorNet, frames: Frames, processes: Processes) -> dict[str, float]:
    """`measure` of all frames, each of them judged by one process; the same figures, digit for digit, in all."""
    own = Frames(*map(processes.part, frames))
    logits = processes.gather_uneven(predict_logits(net, own, processes.device))
    return processes.from_first(lambda: measure(logits, frames.labels))


def measure(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """What history.jsonl says of an epoch; NaN where a figure is undefined.

    Loss over all labels, and AUC of tumor against none; over the fully labeled macro-F1, accuracy, each class's recall,
    and the calibration error of the plain softmax (the artifact is calibrated later). `logits` (N, C), `labels` (N,).
    """
    full = (labels != PARTIAL).numpy()
    probabilities, truth = logits.softmax(dim=1).numpy(), labels.numpy()
    predicted = logits.argmax(dim=1).numpy()
    has_tumor = truth != NO_TUMOR
    every = list(range(len(CLASSES)))
    recalls = recall_score(truth[full], predicted[full], labels=every, average=None, zero_division=np.nan)
    weights = np.ones((1, full.sum()))
    return {
        "val_loss": -log_probability(logits, labels).mean().item(),
        "val_macro_f1": float(f1_score(truth[full], predicted[full], labels=every, average="macro")),
        "val_accuracy": float(np.mean(truth[full] == predicted[full])),
        "val_auc_tumor": float(roc_auc_score(has_tumor, 1 - probabilities[:, NO_TUMOR]))
        if 0 < has_tumor.sum() < len(truth)
        else float("nan"),
        "val_ece": float(calibration_error(probabilities[full], truth[full], weights)[0]),
        **{f"val_recall_{name}": float(recall) for name, recall in zip(CLASSES, recalls, strict=True)},
    }


def score(measured: dict[str, float]) -> float:
    """What "best" means: types named right and tumors seen, in equal parts."""
    auc = measured["val_auc_tumor"]
    return measured["val_macro_f1"] if np.isnan(auc) else (measured["val_macro_f1"] + auc) / 2
