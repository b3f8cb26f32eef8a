"""The slices of one volume -> a verdict of the study.

A volume of 155 slices gives 155 chances of a false alarm, so a study has an operating point of its own, on

    score = log(mean over slices of exp(r * log-odds of a tumor)) / r

With r = 1 it is the logarithm of the mean odds: the evidence for a lesion that shows in one slice, when every slice is
as likely to be that one (Bayes' rule; a scan statistic). r < 1 gives less weight to a single slice than to a lesion
that spans neighbors. A logistic function turns the score into a probability; training/export/calibration.py fits it, r
and the threshold, which travel in config.json under "study". Refused slices take no part.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR
from .prediction import Prediction, doubts_about_answer
from .wording import many, percent

FEWEST = 5  # judged slices; with fewer the study is doubtful: thick slices of 7 mm show a head about 20 times
LEAST_SHARE = 1 / 3  # of slices judged, or it is doubtful: the brain fills more of most volumes, whatever the plane
MOST_SHARE = 0.5  # of judged slices: few tumors span half a head, a scan unlike the training images easily does
SHOWN = 5  # suspicious slices named, at most
APART = 0.06  # of the judged slices lie between two of them: 1 cm of a head
FLOOR = 1e-12  # of a probability, so that its logarithm is finite

UNCALIBRATED = "These weights were not calibrated for whole volumes: judge the slices one by one."
MOSTLY_DOUBTFUL = "The answers for most of its slices are doubtful."
TOO_LARGE = (
    "A tumor is suspected in more than half of the slices: unless these were chosen for it, the scan itself may be the "
    "reason."
)


@dataclass(frozen=True)
class Study:
    """What the model says of a volume."""

    status: str  # "accepted", "doubtful" (read with care) or "refused" (no slice could be judged)
    reason: str  # a sentence or more for the user; empty when accepted
    sentence: str  # the verdict in plain words; of a refused study its reason
    tumor_probability: float  # P(a tumor shows somewhere in the volume), 0..1, calibrated as the config says
    sees_tumor: bool  # whether it reaches the study's operating point; never in a refused one
    probabilities: dict[str, float]  # of the study, in the order of CLASSES, sum 1
    suspicious: tuple[int, ...]  # indices of slices, most suspicious first, each the peak of its surroundings
    n_judged: int
    n_refused: int


def judge_study(predictions: Sequence[Prediction], config: dict, doubts: Sequence[str] = ()) -> Study:
    """The verdict on a volume whose slices, in their order in space, are `predictions`; `config` of the artifact.

    Args: `doubts`, sentences about the scan itself, such as slices that are not among `predictions`.
    """
    parameters = config["study"]
    probabilities = np.array([[made.probabilities[name] for name in CLASSES] for made in predictions])
    judged = np.array([made.status != "refused" for made in predictions])
    n_judged, n_refused = int(judged.sum()), int((~judged).sum())
    of_study = study_probabilities(probabilities[judged] if n_judged else probabilities, parameters)
    tumor = float(1 - of_study[NO_TUMOR])
    seen = bool(n_judged and tumor >= parameters["threshold"])
    suspicious = peaks(np.where(judged, 1 - probabilities[:, NO_TUMOR], -1.0)) if n_judged else ()
    if n_judged:
        judged_ones = [made for made in predictions if made.status != "refused"]
        doubts = [*doubts, *_doubts(judged_ones, len(predictions), parameters)]
        doubts += doubts_about_answer(of_study, of_study == of_study.max(), parameters["threshold"])
        status, reason = ("doubtful", " ".join(doubts)) if doubts else ("accepted", "")
        sentence = _sentence(status, of_study, seen, suspicious[0] + 1, n_judged)
    else:
        ((common, _),) = Counter(made.reason for made in predictions).most_common(1)
        status = "refused"
        reason = sentence = f"None of the {n_refused} slices could be judged. Most often: {common}"
    by_class = dict(zip(CLASSES, of_study.tolist(), strict=True))
    return Study(status, reason, sentence, tumor, seen, by_class, suspicious, n_judged, n_refused)


def pooled_odds(probabilities: np.ndarray, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities (..., slices, classes) -> the score of each study (...,), and what share of it each
    slice has (..., slices), sum 1. `sharpness` is r above.
    """
    tumor, none = 1 - probabilities[..., NO_TUMOR], probabilities[..., NO_TUMOR]
    sharpened = sharpness * (np.log(np.maximum(tumor, FLOOR)) - np.log(np.maximum(none, FLOOR)))
    highest = sharpened.max(-1, keepdims=True)
    powers = np.exp(sharpened - highest)
    return (np.log(powers.mean(-1)) + highest[..., 0]) / sharpness, powers / powers.sum(-1, keepdims=True)


def study_probabilities(probabilities: np.ndarray, parameters: dict) -> np.ndarray:
    """Calibrated probabilities (..., slices, classes) of judged slices -> those of the studies, (..., classes).

    `parameters`: config.json's "study". The type follows the slices that make the score, in proportion to their shares.
    """
    scores, shares = pooled_odds(probabilities, parameters["sharpness"])
    tumor = 1 / (1 + np.exp(-(parameters["slope"] * scores + parameters["intercept"])))
    types = probabilities[..., :NO_TUMOR] + FLOOR
    of_tumor = (shares[..., None] * types / types.sum(-1, keepdims=True)).sum(-2)
    return np.concatenate((of_tumor * tumor[..., None], 1 - tumor[..., None]), axis=-1)


def peaks(suspicion: np.ndarray) -> tuple[int, ...]:
    """Indices of at most `SHOWN` local maxima of `suspicion` (slices,), highest first, none near a higher one.

    Slices with a negative suspicion are never named, and do not count.
    """
    reach = max(1, round(APART * (suspicion >= 0).sum()))
    found = []
    for k in np.argsort(-suspicion, kind="stable"):
        around = suspicion[max(0, k - 1) : k + 2]
        if suspicion[k] >= 0 and suspicion[k] == around.max() and all(abs(k - other) > reach for other in found):
            found.append(int(k))
    return tuple(found[:SHOWN])


def _doubts(judged: Sequence[Prediction], n_slices: int, parameters: dict) -> list[str]:
    """What in the slices makes the study doubtful, a sentence each."""
    doubts = []
    if parameters["sensitivity"] is None:
        doubts.append(UNCALIBRATED)
    if n_slices < FEWEST:
        doubts.append(f"A volume of {many(n_slices, 'slice')} is too small for a verdict to be relied on.")
    elif len(judged) < max(FEWEST, LEAST_SHARE * n_slices):
        doubts.append(f"Only {len(judged)} of {n_slices} slices could be judged.")
    if np.mean([made.sees_tumor for made in judged]) > MOST_SHARE:
        doubts.append(TOO_LARGE)
    elif np.mean([made.status == "doubtful" for made in judged]) > MOST_SHARE:
        doubts.append(MOSTLY_DOUBTFUL)
    return doubts


def _sentence(status: str, probabilities: np.ndarray, seen: bool, number: int, n_judged: int) -> str:
    """The verdict in plain words; `number` of the most suspicious slice, from 1."""
    tumor, likeliest = 1 - probabilities[NO_TUMOR], DISPLAY_NAMES[CLASSES[int(probabilities[:NO_TUMOR].argmax())]]
    look = f"Look at slice {number} first."
    if tumor > 0.5:
        says = "sees evidence of" if status == "accepted" else "leans towards"
        return f"The model {says} a tumor ({percent(tumor)}), most likely a {likeliest}. {look}"
    if seen:
        return f"A tumor cannot be ruled out ({percent(tumor)}), although its absence is more likely. {look}"
    says = "sees no evidence of a tumor" if status == "accepted" else "leans towards no tumor"
    return f"The model {says} ({percent(1 - tumor)}) in the {n_judged} slices that it could judge."
