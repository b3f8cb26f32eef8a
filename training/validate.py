"""The few numbers that steer a run: after each epoch, on the validation split, with the averaged weights."""

import numpy as np
import torch
from sklearn.metrics import f1_score, roc_auc_score

from model import CLASSES, NO_TUMOR
from model.network import TumorNet

from .data import Frames
from .losses import PARTIAL, log_probability


@torch.inference_mode()
def predict_logits(net: TumorNet, frames: Frames, device: torch.device, batch: int = 128) -> torch.Tensor:
    """Logits float32 (N, C) on the CPU for framed images."""
    net.eval()
    pieces = [net(piece[:, None].to(device)).logits.cpu() for piece in frames.images.split(batch)]
    return torch.cat(pieces)


def validate(net: TumorNet, frames: Frames, device: torch.device) -> dict[str, float]:
    """Loss over all labels, macro-F1 and accuracy over the fully labelled, AUC of tumor against none over all."""
    logits = predict_logits(net, frames, device)
    labels = frames.labels
    full = (labels != PARTIAL).numpy()
    predicted, truth = logits.argmax(dim=1).numpy(), labels.numpy()
    p_tumor = 1 - logits.softmax(dim=1)[:, NO_TUMOR].numpy()
    has_tumor = truth != NO_TUMOR
    return {
        "val_loss": -log_probability(logits, labels).mean().item(),
        "val_macro_f1": float(f1_score(truth[full], predicted[full], labels=range(len(CLASSES)), average="macro")),
        "val_accuracy": float(np.mean(truth[full] == predicted[full])),
        "val_auc_tumor": float(roc_auc_score(has_tumor, p_tumor)) if 0 < has_tumor.sum() < len(truth) else float("nan"),
    }


def score(measured: dict[str, float]) -> float:
    """What "best" means: types named right and tumors seen, in equal parts."""
    auc = measured["val_auc_tumor"]
    return measured["val_macro_f1"] if np.isnan(auc) else (measured["val_macro_f1"] + auc) / 2
