"""Logits of the validation split -> the temperature that makes their probabilities honest."""

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from model import CLASSES

from ..losses import log_probability

RANGE = 0.05, 20.0  # a fit that ends at either bound tells of a broken network, not of its calibration


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean -log P(label) of softmax(logits / temperature); -log P(tumor) where only "a tumor" is known.

    `logits` (N, 4); `labels` (N,) index into CLASSES, or 4 for a tumor of unknown type.
    """
    scaled = torch.from_numpy(np.asarray(logits, dtype=np.float64) / temperature)
    return -log_probability(scaled, torch.from_numpy(np.asarray(labels, dtype=np.int64))).mean().item()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least negative log-likelihood (Guo et al., 2017), found on its logarithm between 0.05 and 20.

    `logits` and `labels` as in `negative_log_likelihood`. It never changes which class is the most probable.
    Raises: ValueError for no images, or logits that are not finite.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.shape != (len(labels), len(CLASSES)) or not len(labels):
        raise ValueError(f"a temperature needs ({len(labels)}, {len(CLASSES)}) logits, not {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("a temperature cannot be fitted to logits that are not finite")
    fit = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, np.exp(log_t)), bounds=np.log(RANGE), method="bounded"
    )
    return float(np.exp(fit.x))
