"""Weights -> predictions: calibrated probabilities, where the evidence lies, and whether to trust the input at all."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from . import CLASSES, NO_TUMOR
from .preprocess import Window, frame
from .quantization import FILES, DamagedWeights, load_weights

EMBEDDED = Path(__file__).parent / "weights"  # the artefact that comes with this repository
TUMOR_SEEN_FROM = 0.5  # of P(tumor) = 1 - P(no tumor): what is measured as seen is what the page calls seen
UNDECIDED_BELOW = 0.5  # below it the classes other than the first are together more probable than the first


@dataclass(frozen=True)
class Prediction:
    """What the model says of one slice."""

    status: str  # "accepted", "doubtful" (read with care) or "refused" (no brain MRI: the class means nothing)
    reason: str  # a sentence for the user; empty when accepted
    label: str  # the most probable class, one of CLASSES
    probabilities: dict[str, float]  # calibrated, in the order of CLASSES, sum 1
    brain_score: float  # 0..1: how sure the model is that this is a brain MRI
    evidence: np.ndarray  # float32 (classes, h, w), >= 0, each class sums to 1: where its score comes from
    window: Window  # where the evidence map lies on the slice, in its pixels

    @property
    def tumor_probability(self) -> float:
        """P(tumor) of whatever type, 0..1."""
        return 1 - self.probabilities[CLASSES[NO_TUMOR]]

    @property
    def sees_tumor(self) -> bool:
        """Whether a tumor is more likely than none; `label` may still be "notumor" where no type is."""
        return self.tumor_probability >= TUMOR_SEEN_FROM

    @property
    def likeliest_tumor(self) -> str:
        """The most probable of the tumor types."""
        return max((name for name in CLASSES if name != CLASSES[NO_TUMOR]), key=self.probabilities.get)

    def as_dict(self) -> dict:
        """JSON-ready, without the evidence map and its window."""
        return {
            "status": self.status,
            "reason": self.reason,
            "label": self.label,
            "probabilities": self.probabilities,
            "tumor_probability": self.tumor_probability,
            "brain_score": self.brain_score,
        }


class RawOutputs(NamedTuple):
    """Uncalibrated network outputs for N framed slices."""

    logits: np.ndarray  # float32 (N, classes)
    brain_scores: np.ndarray  # float32 (N,) in 0..1
    evidence: np.ndarray  # float32 (N, classes, h, w), as in `Prediction`
    features: np.ndarray  # float32 (N, D)


class TumorClassifier:
    """A loaded artefact. Calls from several threads at once are safe: nothing changes after loading.

    Attributes: `config` (the artefact's config.json), `folder`, `version` (name and start of the weights' sha256).
    """

    def __init__(self, folder: Path, precision: str = "int8"):
        self.folder = folder
        self.net, extras, self.config = load_weights(self.folder, precision)
        digest = hashlib.sha256((self.folder / FILES[precision]).read_bytes()).hexdigest()
        self.version = f"{self.config['name']} {precision} {digest[:8]}"
        try:
            self.gate_weight, self.gate_bias = extras["gate.weight"], extras["gate.bias"]
        except KeyError as error:
            raise DamagedWeights(f"the weights in {folder} lack the gate. Copy the folder again.") from error

    @classmethod
    def from_folder(cls, folder: str | Path, precision: str = "int8") -> "TumorClassifier":
        """Load the artefact in `folder`; `precision` "int8" or "fp32" names the file. Raises `DamagedWeights`."""
        return cls(Path(folder), precision)

    @classmethod
    def default(cls) -> "TumorClassifier":
        """The weights embedded in this repository. Raises `DamagedWeights`."""
        return cls(EMBEDDED)

    @torch.inference_mode()
    def outputs(self, frames: np.ndarray | torch.Tensor) -> RawOutputs:
        """Run the network on uint8 (N, S, S) slices framed by `preprocess.frame` with this artefact's size and margin.

        One slice at a time: dynamic quantization has one scale for each call, and an answer must not depend on what
        else was asked. On two cores it costs nothing.
        """
        pieces = []
        for one in torch.as_tensor(frames).split(1):
            out = self.net(one[:, None])
            brain = torch.sigmoid(out.features @ self.gate_weight + self.gate_bias)
            shares = out.evidence / out.logits[:, :, None, None].where(out.logits[:, :, None, None] != 0, 1)
            even = torch.full_like(shares, 1 / shares[0, 0].numel())  # a logit of exactly 0 has no direction
            shares = torch.where(out.logits[:, :, None, None] != 0, shares, even)
            pieces.append((out.logits, brain, shares, out.features))
        return RawOutputs(*(torch.cat(parts).numpy() for parts in zip(*pieces, strict=True)))

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, classes) -> calibrated probabilities float64 (N, classes): softmax(logits / temperature).

        Source: Guo et al. 2017, arXiv:1706.04599.
        """
        scaled = np.asarray(logits, dtype=np.float64) / self.config["temperature"]
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, slices: Sequence[np.ndarray]) -> list[Prediction]:
        """Predictions for 2-D grey slices of any size and real dtype, in their order. Raises ValueError otherwise."""
        if not len(slices):
            return []
        size, margin = self.config["size"], self.config["margin"]
        framed = [frame(pixels, size, margin) for pixels in slices]
        frames = np.stack([square for square, _ in framed])
        raw = self.outputs(frames)
        probabilities = self.calibrate(raw.logits)
        predictions = []
        for i, (square, window) in enumerate(framed):
            label = CLASSES[int(probabilities[i].argmax())]
            status, reason = self.judge(square, float(raw.brain_scores[i]), float(probabilities[i].max()))
            by_class = dict(zip(CLASSES, probabilities[i].tolist(), strict=True))
            score = float(raw.brain_scores[i])
            predictions.append(Prediction(status, reason, label, by_class, score, raw.evidence[i], window))
        return predictions

    def judge(self, square: np.ndarray, brain_score: float, top_probability: float) -> tuple[str, str]:
        """Status and reason for one framed slice (uint8), its brain score and its highest probability."""
        limits = self.config["refusal"]
        if not square.any():
            return (
                "refused",
                "The image is blank: every pixel has the same brightness. Choose a slice that shows the brain.",
            )
        if brain_score < limits["refused_below"]:
            return (
                "refused",
                "This does not look like a brain MRI. Upload one slice of a brain MRI, without frames or text.",
            )
        if brain_score < limits["doubtful_below"]:
            return (
                "doubtful",
                "This differs from the brain MRI that the model has learned from: read the result with care.",
            )
        if top_probability < UNDECIDED_BELOW:
            return "doubtful", "No class reaches 50 %: the model cannot tell which one it is."
        return "accepted", ""
