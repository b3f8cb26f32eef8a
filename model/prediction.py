"""What the model says of one slice, and the sentences about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR
from .preprocess import Window
from .wording import either, percent

UNDECIDED_BELOW = 0.5  # below it the classes other than the first are together more probable than the first

BLANK = "The image is blank: every pixel has the same brightness. Choose a slice that shows the brain."
NO_BRAIN = "This does not look like a brain MRI. Upload one slice of a brain MRI, without frames or text."
OUT_OF_DISTRIBUTION = (
    "This is too unlike the brain MRI that the model has learned from for an answer to mean anything. "
    "Upload a plain slice that shows the whole head: T1 with or without contrast agent, T2 or FLAIR."
)
UNUSUAL = (
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

    @property
    def sentence(self) -> str:
        """The answer in plain words; of a refused slice its reason. Never denies a tumor at the operating point."""
        if self.status == "refused":
            return self.reason
        tumor, no_tumor = percent(self.tumor_probability), self.label == CLASSES[NO_TUMOR]
        if no_tumor and self.sees_tumor:  # more probable than each of the three tumors, not than all together
            if self.tumor_probability > 0.5:
                return f"A tumor is more likely than not ({tumor}), but which one is open."
            return f"A tumor cannot be ruled out ({tumor}), although its absence is more likely."
        finding = DISPLAY_NAMES[self.label] if no_tumor else f"a {DISPLAY_NAMES[self.label]}"
        probability = percent(self.probabilities[self.label])
        if self.status == "doubtful" or (not no_tumor and not self.sees_tumor):
            return f"The model leans towards {finding} ({probability})."
        return f"The model sees {'no evidence of a tumor' if no_tumor else f'evidence of {finding}'} ({probability})."

    def doubted(self, doubts: Sequence[str]) -> "Prediction":
        """The same, but no longer accepted if there are `doubts` about the slice, sentences; a refusal stays one."""
        if not doubts or self.status == "refused":
            return self
        return replace(self, status="doubtful", about_slice=" ".join(filter(None, (*doubts, self.about_slice))))

    def as_dict(self) -> dict:
        """JSON-ready, without the evidence map and its window."""
        names = ("status", "reason", "label", "prediction_set", "probabilities", "tumor_probability", "threshold")
        entry = {name: getattr(self, name) for name in (*names, "sees_tumor", "brain_score", "distance")}
        return entry | {"prediction_set": list(self.prediction_set)}


def by_probability(probabilities: np.ndarray, kept: np.ndarray) -> tuple[str, ...]:
    """The names of the classes that are kept, the most probable first."""
    return tuple(CLASSES[k] for k in np.argsort(-probabilities, kind="stable") if kept[k])


def doubts_about_answer(probabilities: np.ndarray, kept: np.ndarray, threshold: float) -> list[str]:
    """The weightiest reason that keeps an answer open, in a sentence; empty if there is none."""
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
