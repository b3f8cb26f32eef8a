"""What the model must refuse: images that are no brain MRI, and slices unlike all that it was trained on.

Both judge the network's pooled features, and both travel in the ONNX graph. The limits come from the validation split.
"""

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from model.preprocess import frame
from model.scans import UnreadableScan, read

from ..augmentation.augment import CACHE_MARGIN, Strength, augment
from ..data import duplicates
from ..data.layouts import DataError
from ..data.phantoms import draw_other
from ..data.training_set import FRAME_SIZE
from ..network import FEATURES, STRIDE

DRAWN, DRAWN_SIZE = 300, 160  # drawn images that are no brain MRI: noise, text, shapes, other body parts
DIRECTIONS = 16  # 30 kB for features 416 wide
# Shares of the validation split's brain MRIs beyond each limit, and the scores above which no limit rises.
LOW_SCORES = {"refused_below": (0.005, 0.5), "doubtful_below": (0.02, 0.9)}
FAR = {"doubtful_from": 0.02, "refused_from": 0.002}


class BrainDetector(nn.Module):
    """Features f, float32 (N, D) -> brain scores (N,) in 0..1: sigmoid(f @ weight + bias).

    A new one lets everything through: it scores any features one half.
    """

    def __init__(self, features: int = FEATURES):
        super().__init__()
        self.register_buffer("weight", torch.zeros(features))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return (features @ self.weight + self.bias).sigmoid()


class FeatureDistance(nn.Module):
    """Features, float32 (N, D) -> out-of-distribution distances (N,) >= 0; 1 is what the median validation image has.

    The Mahalanobis distance (Lee et al. 2018, arXiv:1807.03888) under probabilistic principal components: a covariance
    of K main directions and one variance for all others (Tipping and Bishop 1999). To a new one nothing is far:
    distance 0.
    """

    def __init__(self, features: int = FEATURES):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))  # standard deviation: no feature counts for being large
        self.register_buffer("directions", torch.zeros(features, DIRECTIONS))  # orthonormal, in standardized features
        self.register_buffer("variances", torch.full((DIRECTIONS,), torch.inf))  # along each
        self.register_buffer("variance", torch.tensor(torch.inf))  # along any other

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        z = (features - self.mean) / self.spread
        along = z @ self.directions
        along, whole = along * along, (z * z).sum(1)  # no powers: another operator, for nothing
        return ((along / self.variances).sum(1) + (whole - along.sum(1)).clamp_min(0) / self.variance).sqrt()


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


def augmented(frames: Tensor, size: int, seed: int) -> Tensor:
    """Training frames (cached with the wide margin) as the augmentation shows them: uint8 (N, size, size).

    With them, another scanner's contrast is ordinary, and only other content is far.
    """
    torch.manual_seed(seed)
    parts = [
        augment(part, torch.full((len(part), 4), torch.nan), size, STRIDE, Strength())[0] for part in frames.split(256)
    ]
    return torch.cat(parts)[:, 0].round().to(torch.uint8)


def frames_of_others(others: list[np.ndarray], size: int, margin: float, seed: int) -> Tensor:
    """What is no brain MRI, as served and then as augmented: uint8 (N, size, size).

    `others`: slices that are no brain MRI, possibly none; the drawn ones join them. `size` and `margin` as served.
    """
    drawn = [draw_other(seed=1_000_000 + k, size=DRAWN_SIZE) for k in range(DRAWN)]
    served = torch.from_numpy(np.stack([frame(pixels, size, margin)[0] for pixels in (*drawn, *others)]))
    if not others:
        return served
    wide = torch.from_numpy(np.stack([frame(pixels, FRAME_SIZE, CACHE_MARGIN)[0] for pixels in others]))
    return torch.cat((served, augmented(wide, size, seed)))


def fit_brain_detector(brain: np.ndarray, other: np.ndarray) -> BrainDetector:
    """Logistic regression on the int8 network's features of brain MRI, float (N, D), and of anything else (M, D)."""
    features = np.concatenate((brain, other))
    is_brain = np.arange(len(features)) < len(brain)
    mean, spread = features.mean(0), features.std(0) + 1e-6
    fit = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000).fit((features - mean) / spread, is_brain)
    weight = fit.coef_[0] / spread
    detector = BrainDetector(len(weight))
    detector.weight.copy_(torch.from_numpy(weight))
    detector.bias.fill_(fit.intercept_[0] - weight @ mean)
    return detector


def fit_distance(training: np.ndarray, validation: np.ndarray) -> FeatureDistance:
    """Fit on `training` features, float (N, D); `validation` (M, D) sets the unit: their median distance becomes 1.

    With fewer images or features than `DIRECTIONS` asks for, the directions that are left over are zeros.
    """
    training = np.asarray(training, dtype=np.float64)
    fitted = FeatureDistance(training.shape[1])
    mean, spread = training.mean(0), training.std(0) + 1e-6
    _, lengths, axes = np.linalg.svd((training - mean) / spread, full_matrices=False)
    variances = lengths**2 / len(training)
    kept = min(DIRECTIONS, len(variances) - 1)
    fitted.mean.copy_(torch.from_numpy(mean))
    fitted.spread.copy_(torch.from_numpy(spread))
    fitted.directions[:, :kept] = torch.from_numpy(axes[:kept].T)
    fitted.variances[:kept] = torch.from_numpy(np.maximum(variances[:kept], 1e-6))
    fitted.variance.fill_(max(variances[kept:].sum() / (training.shape[1] - kept), 1e-6))
    ordinary = fitted(torch.as_tensor(validation, dtype=torch.float32)).median().clamp_min(1e-6)
    fitted.variances *= ordinary**2
    fitted.variance *= ordinary**2
    return fitted


def refusal_limits(
    brain_scores: np.ndarray, distances: np.ndarray, start: dict[str, float] | None = None
) -> dict[str, float]:
    """config.json's "refusal": limits on the brain score and on the distance, from those of the validation split, (N,).

    `start`: the limits of weights that were fine-tuned on a few images, which know less of what is ordinary: no limit
    gets stricter than there.
    """
    limits = {name: min(float(np.quantile(brain_scores, share)), cap) for name, (share, cap) in LOW_SCORES.items()} | {
        name: float(np.quantile(distances, 1 - share)) for name, share in FAR.items()
    }
    if start is None:
        return limits
    return {name: (max if name in FAR else min)(limit, start[name]) for name, limit in limits.items()}
