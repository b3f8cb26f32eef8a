"""Is this a brain MRI at all? A logistic regression on the network's pooled features."""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from model.preprocess import frame
from model.scans import UnreadableScan, read

from ..augmentation.augment import CACHE_MARGIN, Strength, augment
from ..data import duplicates
from ..data.layouts import DataError
from ..data.phantoms import draw_other
from ..data.training_set import FRAME_SIZE
from ..network import FEATURES, STRIDE

DRAWN, DRAWN_SIZE = 300, 160  # drawn images that are no brain MRI: noise, text, shapes, other body parts
REFUSED_SHARE, DOUBTFUL_SHARE = 0.005, 0.02  # of the validation split's brain MRIs that may fall below each limit
HIGHEST_REFUSED, HIGHEST_DOUBTFUL = 0.5, 0.9  # the limits never rise above these scores


class BrainDetector(nn.Module):
    """Features f, float32 (N, D) -> brain scores (N,) in 0..1: sigmoid(f @ weight + bias).

    A new one lets everything through: it scores any features one half.
    """

    def __init__(self, features: int = FEATURES):
        super().__init__()
        self.register_buffer("weight", torch.zeros(features))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features @ self.weight + self.bias).sigmoid()


class OtherImages(NamedTuple):
    """Images that are no brain MRI; lists run in parallel."""

    slices: list[np.ndarray]  # 2-D, as read
    groups: list[str]  # near-duplicates, and neighbors in one scan that look like them, share a group
    for_fitting: list[bool]  # by group; the others are for measuring
    problems: list[str]  # a sentence for each file that could not be read


def read_other_images(folder: Path) -> OtherImages:
    """Every image below `folder`, half of the groups for fitting. Raises DataError if there is none."""
    files, slices, problems = [], [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            slices.append(read(path).slices[0])
            files.append(path.relative_to(folder).as_posix())
        except UnreadableScan as error:
            problems.append(f"{path} is left out. {error}")
    if not files:
        raise DataError(f"{folder} holds no image that can be read. Name a folder of images that are no brain MRI.")
    pairs = duplicates.near_pairs(np.stack([duplicates.thumbnails(pixels) for pixels in slices]))
    groups = [files[first] for first in duplicates.clusters(len(files), [(i, j) for i, j, _ in pairs])]
    # The group's name decides, so that a file stays on its side when others come or go.
    return OtherImages(slices, groups, [zlib.crc32(group.encode()) % 2 == 0 for group in groups], problems)


def framed(slices: list[np.ndarray], size: int, margin: float) -> torch.Tensor:
    """Slices as the network sees them: uint8 (N, size, size)."""
    return torch.from_numpy(np.stack([frame(pixels, size, margin)[0] for pixels in slices]))


def varied(frames: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    """Training frames (cached with the wide margin) as the augmentation shows them: uint8 (N, size, size)."""
    torch.manual_seed(seed)
    boxes = torch.full((len(frames), 4), torch.nan)
    pieces = [
        augment(part, box, size, STRIDE, Strength())[0]
        for part, box in zip(frames.split(256), boxes.split(256), strict=True)
    ]
    return torch.cat(pieces)[:, 0].round().to(torch.uint8)


def frames_of_others(others: list[np.ndarray], size: int, margin: float, seed: int) -> torch.Tensor:
    """What is no brain MRI, as served and as augmented: uint8 (N, size, size).

    `others`: slices that are no brain MRI, possibly none; the drawn ones join them. `size` and `margin` as served.
    """
    drawn = [draw_other(seed=1_000_000 + k, size=DRAWN_SIZE) for k in range(DRAWN)]
    pieces = [framed(drawn, size, margin)]
    if others:
        pieces.append(framed(others, size, margin))
        pieces.append(varied(framed(others, FRAME_SIZE, CACHE_MARGIN), size, seed))
    return torch.cat(pieces)


def fit_brain_detector(brain: np.ndarray, other: np.ndarray) -> BrainDetector:
    """Fit on features of the artifact's own int8 network: of brain MRI, float (N, D), and of anything else (M, D)."""
    features = np.concatenate((brain, other))
    is_brain = np.arange(len(features)) < len(brain)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    fit = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000).fit((features - mean) / spread, is_brain)
    weight = fit.coef_[0] / spread
    detector = BrainDetector(len(weight))
    detector.weight.copy_(torch.from_numpy(weight))
    detector.bias.fill_(fit.intercept_[0] - weight @ mean)
    return detector


def brain_score_limits(brain_scores: np.ndarray) -> dict[str, float]:
    """The limits on the brain score of config.json's "refusal", from the scores of the validation split, float (N,)."""
    refused, doubtful = np.quantile(brain_scores, (REFUSED_SHARE, DOUBTFUL_SHARE))
    return {
        "refused_below": min(float(refused), HIGHEST_REFUSED),
        "doubtful_below": min(float(doubtful), HIGHEST_DOUBTFUL),
    }
