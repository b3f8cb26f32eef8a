"""Weights -> predictions: calibrated probabilities, where the evidence lies, and whether to trust input and answer."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

import numpy as np
import torch

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR
from .familiarity import Familiarity
from .marks import DRAWN_ON, has_lines
from .preprocess import Window, frame
from .quantization import FILES, DamagedWeights, load_weights
from .wording import either

EMBEDDED = Path(__file__).parent / "weights"  # the artefact that comes with this repository
UNDECIDED_BELOW = 0.5  # below it the classes other than the first are together more probable than the first

BLANK = "The image is blank: every pixel has the same brightness. Choose a slice that shows the brain."
NO_BRAIN = "This does not look like a brain MRI. Upload one slice of a brain MRI, without frames or text."
TOO_STRANGE = (
    "This is too unlike the brain MRI that the model has learned from for an answer to mean anything. "
    "Upload a plain slice that shows the whole head: T1 with or without contrast agent, T2 or FLAIR."
)
STRANGE = (
    "This differs from the brain MRI that the model has learned from: read the result with care, and compare it with "
    "other slices of the scan."
)


@dataclass(frozen=True)
class Prediction:
    """What the model says of one slice."""

    status: str  # "accepted", "doubtful" (read with care) or "refused" (the class means nothing)
    about_slice: str  # why the slice is refused, or what speaks against it as an input; else empty
    about_answer: str  # what keeps the answer open; else empty
    label: str  # the most probable class, one of CLASSES
    probabilities: dict[str, float]  # calibrated, in the order of CLASSES, sum 1
    prediction_set: tuple[str, ...]  # the classes that cannot be excluded, of CLASSES, the most probable first
    threshold: float  # the operating point: the probability of a tumor from which one counts as seen, 0..1
    brain_score: float  # 0..1: how sure the model is that this is a brain MRI
    distance: float  # >= 0: how far the slice lies from the training images; 1 is ordinary
    evidence: np.ndarray  # float32 (classes, h, w), >= 0, each class sums to 1: where its score comes from
    window: Window  # where the evidence map lies on the slice, in its pixels

    @property
    def reason(self) -> str:
        """A sentence or more for the user; empty when accepted."""
        return " ".join(filter(None, (self.about_slice, self.about_answer)))

    @property
    def tumor_probability(self) -> float:
        """P(tumor) of whatever type, 0..1."""
        return 1 - self.probabilities[CLASSES[NO_TUMOR]]

    @property
    def sees_tumor(self) -> bool:
        """Whether P(tumor) reaches the operating point; `label` may still be "notumor", and the other way around."""
        return self.tumor_probability >= self.threshold

    @property
    def likeliest_tumor(self) -> str:
        """The most probable of the tumor types."""
        return max((name for name in CLASSES if name != CLASSES[NO_TUMOR]), key=self.probabilities.get)

    def doubted(self, doubts: Sequence[str]) -> "Prediction":
        """The same, but no longer accepted if there are `doubts` about the slice, sentences; a refusal stays one."""
        if not doubts or self.status == "refused":
            return self
        return replace(self, status="doubtful", about_slice=" ".join(filter(None, (*doubts, self.about_slice))))

    def as_dict(self) -> dict:
        """JSON-ready, without the evidence map and its window."""
        return {
            "status": self.status,
            "reason": self.reason,
            "label": self.label,
            "prediction_set": list(self.prediction_set),
            "probabilities": self.probabilities,
            "tumor_probability": self.tumor_probability,
            "threshold": self.threshold,
            "sees_tumor": self.sees_tumor,
            "brain_score": self.brain_score,
            "distance": self.distance,
        }


class RawOutputs(NamedTuple):
    """Uncalibrated network outputs for N framed slices."""

    logits: np.ndarray  # float32 (N, classes)
    brain_scores: np.ndarray  # float32 (N,) in 0..1
    distances: np.ndarray  # float32 (N,) >= 0, as in `Prediction`
    evidence: np.ndarray  # float32 (N, classes, h, w), as in `Prediction`
    features: np.ndarray  # float32 (N, D)


class TumorClassifier:
    """A loaded artefact. Calls from several threads at once are safe: nothing changes after loading.

    It keeps as many threads of its own as PyTorch had in the one that loaded it, to spread slices over the cores, and
    one more for slices that come one by one: these need not wait for a volume, and several at once would be slower,
    since Python lets one thread at a time go from one operator to the next.
    Attributes: `config` (the artefact's config.json), `folder`, `version` (name and start of the weights' sha256).
    """

    def __init__(self, folder: Path, precision: str = "int8"):
        self.folder = folder
        self.net, extras, self.config = load_weights(self.folder, precision)
        digest = hashlib.sha256((self.folder / FILES[precision]).read_bytes()).hexdigest()
        self.version = f"{self.config['name']} {precision} {digest[:8]}"
        try:
            self.gate_weight, self.gate_bias = extras["gate.weight"], extras["gate.bias"]
            self.familiarity = Familiarity(*(extras[f"familiarity.{name}"] for name in Familiarity._fields))
        except KeyError as error:
            raise DamagedWeights(f"the weights in {folder} lack {error}. Copy the folder again.") from error
        self.threads = single_core_threads(torch.get_num_threads())
        self.single = single_core_threads(1)  # for slices that come one by one

    @classmethod
    def from_folder(cls, folder: str | Path, precision: str = "int8") -> "TumorClassifier":
        """Load the artefact in `folder`; `precision` "int8" or "fp32" names the file. Raises `DamagedWeights`."""
        return cls(Path(folder), precision)

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, revision: str | None = None, precision: str = "int8"
    ) -> "TumorClassifier":
        """Load the artefact that `source` names: a folder, "ORG/NAME" on the Hub, or None for the embedded one.

        Args: `revision` of the repository, a commit, tag or branch; without one the commit that this machine met first
            is kept (model/hub.py); `precision`, "int8" or "fp32".
        Raises: `WeightsUnavailable`, `DamagedWeights`.
        """
        if source is None and not revision:
            return cls(EMBEDDED, precision)
        from .hub import fetch  # here: who takes what is there has no need of the Hub's client

        return cls(fetch(source or EMBEDDED, revision, precision).folder, precision)

    def outputs(self, frames: np.ndarray | torch.Tensor) -> RawOutputs:
        """Run the network on uint8 (N, S, S) slices framed by `preprocess.frame` with this artefact's size and margin.

        One slice at a time, each in a thread with one core: dynamic quantization has one scale for each call, and an
        answer must not depend on what else was asked, nor on how many cores there are.
        """
        return _joined(self.threads.map(self._outputs_of_one, torch.as_tensor(frames).split(1)))

    def _look_at(self, pixels: np.ndarray) -> tuple[np.ndarray, Window, bool, tuple[torch.Tensor, ...]]:
        """A slice -> its frame uint8 (S, S), where that lies, whether lines are drawn on it, and `_outputs_of_one`; all
        of it in one thread.
        """
        square, window = frame(pixels, size=self.config["size"], margin=self.config["margin"])
        return square, window, has_lines(pixels), self._outputs_of_one(torch.tensor(square)[None])

    @torch.inference_mode()
    def _outputs_of_one(self, one: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """uint8 (1, S, S) -> what `RawOutputs` holds of it, as tensors."""
        out = self.net(one[:, None])
        brain = torch.sigmoid(out.features @ self.gate_weight + self.gate_bias)
        shares = out.evidence / out.logits[:, :, None, None].where(out.logits[:, :, None, None] != 0, 1)
        even = torch.full_like(shares, 1 / shares[0, 0].numel())  # a logit of exactly 0 has no direction
        shares = torch.where(out.logits[:, :, None, None] != 0, shares, even)
        return out.logits, brain, self.familiarity.distance(out.features), shares, out.features

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Logits (N, classes) -> calibrated probabilities float64 (N, classes): softmax(logits / temperature).

        Source: Guo et al. 2017, arXiv:1706.04599.
        """
        scaled = np.asarray(logits, dtype=np.float64) / self.config["temperature"]
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    @property
    def threshold(self) -> float:
        """The operating point: the probability of a tumor from which one counts as seen."""
        return self.config["operating_point"]["threshold"]

    def prediction_sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, classes) -> bool (N, classes): the classes that cannot be excluded.

        Those at or above a threshold that makes the set hold the true class for a stated share of the slices (split
        conformal prediction, training/conformal.py), and always the most probable one: no set is empty.
        """
        probabilities = np.asarray(probabilities)
        kept = probabilities >= self.config["prediction_set"]["keep_from"]
        kept[np.arange(len(kept)), probabilities.argmax(1)] = True
        return kept

    def predict(self, slices: Sequence[np.ndarray]) -> list[Prediction]:
        """Predictions for 2-D grey slices of any size and real dtype, in their order. Raises ValueError otherwise."""
        if not len(slices):
            return []
        threads = self.threads if len(slices) > 1 else self.single
        squares, windows, drawn_on, pieces = zip(*threads.map(self._look_at, slices), strict=True)
        frames, raw = np.stack(squares), _joined(pieces)
        probabilities = self.calibrate(raw.logits)
        judged, sets = self.judge(frames, raw, probabilities), self.prediction_sets(probabilities)
        return [
            Prediction(
                status=status,
                about_slice=about_slice,
                about_answer=about_answer,
                label=CLASSES[int(probabilities[i].argmax())],
                probabilities=dict(zip(CLASSES, probabilities[i].tolist(), strict=True)),
                prediction_set=by_probability(probabilities[i], sets[i]),
                threshold=self.threshold,
                brain_score=float(raw.brain_scores[i]),
                distance=float(raw.distances[i]),
                evidence=raw.evidence[i],
                window=windows[i],
            ).doubted([DRAWN_ON] if drawn_on[i] else [])
            for i, (status, about_slice, about_answer) in enumerate(judged)
        ]

    def judge(self, frames: np.ndarray, raw: RawOutputs, probabilities: np.ndarray) -> list[tuple[str, str, str]]:
        """`status`, `about_slice` and `about_answer` of each slice, as in `Prediction`.

        Args: `frames` uint8 (N, S, S) as the network saw them, `raw` what it made of them, `probabilities` (N, classes)
        calibrated.
        A slice is refused for what it shows, never for what is answered: blank, then no brain MRI, then too far from
        training.
        """
        limits, sets = self.config["refusal"], self.prediction_sets(probabilities)
        judged = []
        for i, square in enumerate(frames):
            score, distance = raw.brain_scores[i], raw.distances[i]
            if not square.any():
                judged.append(("refused", BLANK, ""))
            elif score < limits["refused_below"]:
                judged.append(("refused", NO_BRAIN, ""))
            elif distance >= limits["refused_from"]:
                judged.append(("refused", TOO_STRANGE, ""))
            else:
                strange = score < limits["doubtful_below"] or distance >= limits["doubtful_from"]
                about_slice = STRANGE if strange else ""
                about_answer = " ".join(doubts_about_answer(probabilities[i], sets[i], self.threshold))
                judged.append(("doubtful" if about_slice or about_answer else "accepted", about_slice, about_answer))
        return judged


def _joined(pieces: Iterable[tuple[torch.Tensor, ...]]) -> RawOutputs:
    """What the network says of each slice, in one."""
    return RawOutputs(*(torch.cat(parts).numpy() for parts in zip(*pieces, strict=True)))


def single_core_threads(count: int) -> ThreadPoolExecutor:
    """`count` threads, in each of which PyTorch takes one core.

    To spread each operator over the cores, as PyTorch does otherwise, is to wait for the slowest core at each of them:
    a machine that is busy with something else then takes several times as long.
    """

    own = torch.get_num_threads()

    def take_one_core():
        torch.get_num_threads()  # first: a thread gets PyTorch's common number when it is first asked for
        torch.set_num_threads(1)

    threads = ThreadPoolExecutor(count, initializer=take_one_core)
    all_there = Barrier(count)
    list(threads.map(lambda _: all_there.wait(), range(count)))  # each has started, and set its own number
    torch.set_num_threads(own)  # theirs became the common number: give later threads this one's again
    return threads


def by_probability(probabilities: np.ndarray, kept: np.ndarray) -> tuple[str, ...]:
    """The names of the classes that are kept, the most probable first."""
    return tuple(CLASSES[k] for k in np.argsort(-probabilities, kind="stable") if kept[k])


def doubts_about_answer(probabilities: np.ndarray, kept: np.ndarray, threshold: float) -> list[str]:
    """What keeps one slice's answer open, in a sentence; empty if nothing does. The weightiest doubt is named alone."""
    names = [DISPLAY_NAMES[name] for name in by_probability(probabilities, kept)]
    if len(names) > 1:
        return [f"{either(names).capitalize()}: the model cannot tell which."]
    if probabilities.max() < UNDECIDED_BELOW:
        return ["No class reaches 50 %: the model cannot tell which one it is."]
    tumor_seen = 1 - probabilities[NO_TUMOR] >= threshold
    if tumor_seen and probabilities.argmax() == NO_TUMOR:
        return ["The most probable class is no tumor, but a tumor is probable enough to count as seen."]
    if not tumor_seen and probabilities.argmax() != NO_TUMOR:
        return ["The most probable class is a tumor, but it is not probable enough to count as seen."]
    return []
