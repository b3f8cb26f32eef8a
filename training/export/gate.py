"""May this int8 graph be served in place of the float32 one? If not, more of it stays in float32, until it may.

Judged on the validation split, never on a test set. What one image is worth is no loss: with few images one answer that
flips would decide.
"""

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from model import CLASSES, NO_TUMOR
from model.classifier import RawOutputs

from ..losses import PARTIAL

# Parts of the network's body that stay float32, from the input on, the fewest first: the stem and two blocks see few
# channels of wide range. With all 18 in float32 nothing is left to differ.
FLOAT_PARTS = (3, 4, 5, 8, 12, 18)
HEADS = "net.score_"  # too few rows to be faster in int8
LOGIT_ERROR = 0.05  # of the logits' spread, root mean square
AUC_LOSS, MACRO_F1_LOSS = 0.002, 0.003
SAME_STATUS = 0.995  # share of the images that are refused by both or by neither


def in_float(parts: int) -> list[str]:
    """The beginnings of the names of the parameters that stay float32 with `parts` of the body."""
    return [HEADS, *(f"net.features.{k}." for k in range(parts))]


def fidelity(int8: RawOutputs, fp32: RawOutputs, labels: np.ndarray, refused: tuple[np.ndarray, np.ndarray]) -> dict:
    """What int8 changes, JSON-ready; figures that the images do not define are left out.

    Args: the outputs for the same N images; `labels` (N,) as in `losses`; `refused` in int8 and in float32, bool (M,).
    """
    error = float(np.sqrt(np.mean((int8.logits - fp32.logits) ** 2)) / max(fp32.logits.std(), 1e-12))
    losses = {}
    known, tumor = labels != PARTIAL, labels != NO_TUMOR
    if known.any():
        found = [
            f1_score(labels[known], raw.logits[known].argmax(1), labels=range(len(CLASSES)), average="macro")
            for raw in (fp32, int8)
        ]
        losses["macro_f1_loss"] = float(found[0] - found[1])
    if 0 < tumor.sum() < len(tumor):
        tumor_odds = [np.logaddexp.reduce(x[:, :NO_TUMOR], axis=1) - x[:, NO_TUMOR] for x in (fp32.logits, int8.logits)]
        auc = [roc_auc_score(tumor, odds) for odds in tumor_odds]
        losses["auc_loss"] = float(auc[0] - auc[1])
    return {"n": len(labels), "logit_error": error, "same_refusals": float(np.mean(refused[0] == refused[1])), **losses}


def holds(found: dict) -> bool:
    """Whether `fidelity` lets the int8 graph be served."""
    return (
        found["logit_error"] <= LOGIT_ERROR
        and found["same_refusals"] >= SAME_STATUS
        and found.get("auc_loss", 0) <= max(AUC_LOSS, 1 / found["n"])
        and found.get("macro_f1_loss", 0) <= max(MACRO_F1_LOSS, 1 / found["n"])
    )
