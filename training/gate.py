"""The gate before the answer: is this a brain MRI at all? A logistic regression on the network's pooled features."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from model.classifier import TumorClassifier
from model.preprocess import frame
from model.scans import UnreadableScan, read

from .augment import CACHE_MARGIN, Strength, augment
from .phantoms import draw_other

DRAWN, DRAWN_SIZE = 300, 160  # drawn images that are no brain MRI: noise, text, shapes, other body parts
REFUSED_SHARE, DOUBTFUL_SHARE = 0.005, 0.02  # of the validation split's brain MRIs that may fall below each limit
HIGHEST_REFUSED, HIGHEST_DOUBTFUL = 0.5, 0.9  # the limits never rise above these scores


class Gate(NamedTuple):
    weight: torch.Tensor  # float32 (D,)
    bias: torch.Tensor  # float32 ()


def fit_half(path: Path) -> bool:
    """Whether a negative image is for fitting; the others are for measuring. Told by its name, so it never changes."""
    return zlib.crc32(path.name.encode()) % 2 == 0


def not_brain_frames(folder: Path, size: int, margin: float, for_fitting: bool) -> np.ndarray:
    """uint8 (N, size, size) frames of one half of the images under `folder`; unreadable files are left out."""
    frames = [np.zeros((0, size, size), dtype=np.uint8)]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if fit_half(path) == for_fitting:
            try:
                frames.append(frame(read(path).slices[0], size, margin)[0][None])
            except UnreadableScan:
                continue
    return np.concatenate(frames)


def varied(frames: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    """Training frames (cached with the wide margin) as the augmentation shows them: uint8 (N, size, size)."""
    torch.manual_seed(seed)
    boxes = torch.full((len(frames), 4), torch.nan)
    pieces = [
        augment(part, box, size, 16, Strength())[0]
        for part, box in zip(frames.split(256), boxes.split(256), strict=True)
    ]
    return torch.cat(pieces)[:, 0].round().to(torch.uint8)


def fit_gate(
    classifier: TumorClassifier, wide_frames: torch.Tensor, frames: torch.Tensor, not_brain: Path | None, seed: int
) -> Gate:
    """Fit on features of the artefact's own int8 network.

    Args: `wide_frames` training images framed with `CACHE_MARGIN`; `frames` the same framed as served; `not_brain` a
    folder of images that are no brain MRI, half of which are used, besides drawn ones.
    """
    size, margin = classifier.config["size"], classifier.config["margin"]
    drawn = [draw_other(seed=1_000_000 + k, size=DRAWN_SIZE) for k in range(DRAWN)]
    negatives = [torch.from_numpy(np.stack([frame(image, size, margin)[0] for image in drawn]))]
    if not_brain:
        found = not_brain_frames(not_brain, size, margin, for_fitting=True)
        wide = not_brain_frames(not_brain, wide_frames.shape[-1], CACHE_MARGIN, for_fitting=True)
        negatives += [torch.from_numpy(found), varied(torch.from_numpy(wide), size, seed)]
    brain = torch.cat((frames, varied(wide_frames, size, seed)))
    other = torch.cat(negatives)
    features = np.concatenate([classifier.outputs(part).features for part in (brain, other)])
    is_brain = np.arange(len(features)) < len(brain)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    fit = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000).fit((features - mean) / spread, is_brain)
    weight = fit.coef_[0] / spread
    return Gate(
        torch.tensor(weight, dtype=torch.float32), torch.tensor(fit.intercept_[0] - weight @ mean, dtype=torch.float32)
    )


def limits(brain_scores: np.ndarray) -> dict[str, float]:
    """The refusal limits of config.json from the brain scores of the validation split, float (N,)."""
    refused, doubtful = np.quantile(brain_scores, (REFUSED_SHARE, DOUBTFUL_SHARE))
    return {
        "refused_below": min(float(refused), HIGHEST_REFUSED),
        "doubtful_below": min(float(doubtful), HIGHEST_DOUBTFUL),
    }
