"""Did new weights get worse than those that they started from? Guarded metrics of both, on the same images.

Both answer the same images as they would be served: int8, calibrated, at their own operating points. Their difference
gets an interval over groups, from the same resamples for both. With few images such intervals are wide, and a rule that
waits for one to lie wholly below zero would let almost every harm pass. So the burden of proof is turned around:

- A metric *fell* if it is lower by more than `TOLERANCE`, and in at least `HARM_BELIEVED` of the resamples it is lower:
  for one patient who is answered worse (0.65 of the resamples, if there are ten) that is not yet so, for two it is.
- It *held* if it did not fall, and rests on at least `MIN_GROUPS` groups.
- Else nothing can be told from this set: it rests on too few groups.

Weights got worse if any metric fell on any set. They may replace the old ones only if none did and each held on one set
at least: what nobody measured may have been forgotten.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model import CLASSES, NO_TUMOR
from model.classifier import TumorClassifier

from .data.frames import Dataset, Frames, load_frames
from .evaluation.metrics import figure, ratio, resample_weights
from .evaluation.evaluate import statuses
from .evaluation.metrics import statistics
from .losses import PARTIAL

TOLERANCE = 0.02  # of any metric: twice what the specificity spreads from seed to seed (BENCHMARKS.md)
HARM_BELIEVED = 0.7  # share of the resamples; for a gain one would ask for 0.975
MIN_GROUPS = 5  # that a metric rests on: among three, one that is lost by chance is believed already

TITLES = {  # of the guarded metrics, all between 0 and 1 but the Brier score (0 to 2)
    "auc_tumor": "AUC, tumor against none",
    "sensitivity_tumor": "tumors seen at the operating point",
    "specificity_tumor": "tumor-free images left alone there",
    "recall_glioma": "gliomas named right",
    "recall_meningioma": "meningiomas named right",
    "recall_pituitary": "pituitary tumors named right",
    "brier": "Brier score, lower is better",
    "answered": "brain MRI that is not refused",
    "others_refused": "other images that are refused",
}
LOWER_IS_BETTER = ("brier",)

Values = dict[str, np.ndarray]  # metric -> (R,): of all images, then of each resample; NaN where undefined


class Side(NamedTuple):
    """What is compared on one set of images. `values` of weights, given how often each image counts, (R, N)."""

    groups: list[str]  # of each image
    rests_on: dict[str, int]  # groups that a metric is made of
    values: Callable[[TumorClassifier, np.ndarray], Values]


def brain_mri(dataset: Dataset, start: TumorClassifier, cache: Path) -> Side:
    """All guarded metrics but "others_refused", on labeled images; what is decoded is kept in `cache`."""

    def framed(classifier: TumorClassifier) -> Frames:
        return load_frames(dataset, classifier.config["size"], classifier.config["margin"], cache)

    labels = framed(start).labels.numpy()  # first: images that cannot be read leave the data set
    groups = np.array([record.group for record in dataset.records], dtype=object)

    def values(classifier: TumorClassifier, weights: np.ndarray) -> Values:
        frames = framed(classifier)
        raw = classifier.outputs(frames.images)
        probabilities = classifier.calibrate(raw.logits)
        found = statistics(probabilities, labels, classifier.threshold, weights)
        recalls = {f"recall_{name}": found["recall"][:, k] for k, name in enumerate(CLASSES) if k != NO_TUMOR}
        answered = np.array(statuses(classifier, frames, raw, probabilities)) != "refused"
        overall = {name: found[name] for name in ("auc_tumor", "sensitivity_tumor", "specificity_tumor", "brier")}
        return overall | recalls | {"answered": ratio(weights @ answered, weights.sum(1))}

    def count(part: np.ndarray) -> int:
        return len(set(groups[part]))

    tumors, free = count(labels != NO_TUMOR), count(labels == NO_TUMOR)
    rests_on = {"auc_tumor": min(tumors, free), "sensitivity_tumor": tumors, "specificity_tumor": free}
    rests_on |= {f"recall_{name}": count(labels == k) for k, name in enumerate(CLASSES) if k != NO_TUMOR}
    rests_on |= {"brier": count(labels != PARTIAL), "answered": len(set(groups))}
    return Side(groups.tolist(), rests_on, values)


def other_images(slices: list[np.ndarray], groups: list[str]) -> Side:
    """How many images that are no brain MRI are refused."""

    def values(classifier: TumorClassifier, weights: np.ndarray) -> Values:
        refused = np.array([prediction.status == "refused" for prediction in classifier.predict(slices)])
        return {"others_refused": ratio(weights @ refused, weights.sum(1))}

    return Side(groups, {"others_refused": len(set(groups))}, values)


def compare(start: TumorClassifier, candidate: TumorClassifier, side: Side) -> dict[str, dict]:
    """{metric: {title, start, candidate, difference: {value, low, high}, lower_in, groups, verdict}}, JSON-ready.

    A difference is candidate minus start; `lower_in` is the share of resamples in which the candidate is worse;
    `verdict` is "fell", "held" or "too few groups". A metric that the images do not define is left out.
    """
    weights = np.vstack((np.ones(len(side.groups)), resample_weights(side.groups)))
    before, after = side.values(start, weights), side.values(candidate, weights)
    rows = {}
    for name, groups in side.rests_on.items():
        difference = after[name] - before[name]
        if not np.isfinite(difference[0]):
            continue
        gains = -difference if name in LOWER_IS_BETTER else difference
        spread = gains[1:][np.isfinite(gains[1:])]
        lower_in = float((spread < 0).mean())
        rows[name] = {
            "title": TITLES[name],
            "start": float(before[name][0]),
            "candidate": float(after[name][0]),
            "difference": figure(difference[0], difference[1:]),
            "lower_in": lower_in,
            "groups": groups,
            "verdict": verdict(gains[0], lower_in, groups),
        }
    return rows


def verdict(gain: float, lower_in: float, groups: int) -> str:
    """ "fell", "held" or "too few groups", by the rule above; a loss is believed of however few groups."""
    if gain < -TOLERANCE and lower_in >= HARM_BELIEVED:
        return "fell"
    return "held" if groups >= MIN_GROUPS else "too few groups"


def judge(sets: dict[str, dict[str, dict]]) -> dict:
    """{set of images: what `compare` gave} -> {fell, not_told, promotable, sentences}; the last for the user.

    `fell` lists [set, metric], `not_told` the metrics that held on no set.
    """
    fell = [[where, name] for where, rows in sets.items() for name, row in rows.items() if row["verdict"] == "fell"]
    held = {name for rows in sets.values() for name, row in rows.items() if row["verdict"] == "held"}
    not_told = [name for name in TITLES if name not in held and name not in {name for _, name in fell}]
    sentences = [f"It got worse: {_loss(where, name, sets[where][name])}" for where, name in fell]
    if not fell:
        sentences.append("It did not get worse by what could be measured: no guarded metric fell.")
    if not_told:
        sentences.append(
            f"Whether these held cannot be told, since no set has {MIN_GROUPS} groups for them: "
            f"{'; '.join(TITLES[name] for name in not_told)}. Add images, or name the original data."
        )
    return {"fell": fell, "not_told": not_told, "promotable": not fell and not not_told, "sentences": sentences}


def _loss(where: str, name: str, row: dict) -> str:
    change = row["difference"]
    return (
        f"on the {where}, {TITLES[name]}: {row['start']:.3f} before, {row['candidate']:.3f} now "
        f"({change['value']:+.3f}, {change['low']:+.3f} to {change['high']:+.3f}, {row['groups']} groups)."
    )
