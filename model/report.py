"""What is said about scans: one entry for each, the same on the command line, in CSV and through the API."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR
from .cases import Case, classify
from .prediction import Prediction
from .scans import isolated
from .study import Study
from .wording import either, percent

if TYPE_CHECKING:
    from .classifier import TumorClassifier

VERDICT = ("label", "probabilities", "tumor_probability", "sees_tumor")  # None of a file that could not be read


def entries(classifier: "TumorClassifier", files: Sequence[str | Path]) -> list[dict]:
    """Read an upload and classify every slice in it: `entry` of each scan, in the order of `scans.read_all`."""
    found = isolated.read_all(files)
    return [entry(case, classifier.version) for _, case in classify(classifier, found) if case]


def each_entry(classifier: "TumorClassifier", files: Sequence[str | Path]) -> Iterator[dict]:
    """As `entries`, of any number of files that an upload would not hold: one scan at a time is read and classified."""
    found = (scan for _, scan in isolated.read_each(files, most_bytes=math.inf))
    for _, case in classify(classifier, found):
        if case:
            yield entry(case, classifier.version)


def entry(case: Case, version: str) -> dict:
    """A JSON-ready dictionary of one case.

    Returns: `file`; `status` (accepted, doubtful, refused, unreadable, or failed if the model broke down), `reason` and
        `sentence`; `label`, `probabilities` {class: p}, `tumor_probability` and `sees_tumor` of the study or the only
        slice, None where there is no answer; `study`, of several slices: `suspicious` (slice numbers, the most
        suspicious first), `judged` and `refused` (counts); `slices`, each with its `slice` (number, from 1) and
        `Prediction.as_dict`; `kind`, `plane`, `sequence`, `spacing` (mm), `notes` and `omitted` (slices left out, each
        with `count`, `reason` and `other_picture`) of the `Scan`; `seconds` that the model took, `answered` (UTC), and
        `model`. Slices are numbered as the scan orders them.
    """
    verdict, study, scan = case.verdict, case.study, case.scan
    answer = dict.fromkeys(VERDICT)
    if verdict:
        answer = {
            "label": max(verdict.probabilities, key=verdict.probabilities.get),
            "probabilities": verdict.probabilities,
            "tumor_probability": verdict.tumor_probability,
            "sees_tumor": verdict.sees_tumor,
        }
    return {
        "file": case.name,
        "status": case.status,
        "reason": case.reason,
        "sentence": said_of(verdict) if verdict else case.reason,
        **answer,
        "study": study
        and {
            "suspicious": [index + 1 for index in study.suspicious],
            "judged": study.n_judged,
            "refused": study.n_refused,
        },
        "slices": [{"slice": number, **made.as_dict()} for number, made in enumerate(case.predictions, 1)],
        "kind": scan.kind if scan else "",
        "plane": scan.plane if scan else "",
        "sequence": scan.sequence if scan else "",
        "spacing": list(scan.spacing) if scan and scan.spacing else None,
        "notes": list(scan.notes) if scan else [],
        "omitted": [omission._asdict() for omission in scan.omitted] if scan else [],
        "seconds": round(case.seconds, 4),
        "answered": case.answered.isoformat(timespec="seconds"),
        "model": version,
    }


def said_of(verdict: Study | Prediction) -> str:
    """The answer in plain words, of a study or of a slice."""
    return getattr(verdict, "sentence", None) or sentence(verdict)


def sentence(prediction: Prediction) -> str:
    """The answer in plain words; for a refused slice its reason, since its probabilities mean nothing.

    That there is no evidence of a tumor is said only where P(tumor) stays below the operating point.
    """
    if prediction.status == "refused":
        return prediction.reason
    tumor, no_tumor = percent(prediction.tumor_probability), prediction.label == CLASSES[NO_TUMOR]
    if no_tumor and prediction.sees_tumor:  # more probable than each of the three tumors, not than all together
        if prediction.tumor_probability > 0.5:
            return f"A tumor is more likely than not ({tumor}), but which one is open."
        return f"A tumor cannot be ruled out ({tumor}), although its absence is more likely."
    finding = DISPLAY_NAMES[prediction.label] if no_tumor else f"a {DISPLAY_NAMES[prediction.label]}"
    probability = percent(prediction.probabilities[prediction.label])
    if prediction.status == "doubtful" or (not no_tumor and not prediction.sees_tumor):
        return f"The model leans towards {finding} ({probability})."
    return f"The model sees {'no evidence of a tumor' if no_tumor else f'evidence of {finding}'} ({probability})."


def certainty(prediction: Prediction, config: dict) -> list[tuple[str, str, str]]:
    """How sure the answer is, to be shown beside it: (what, answer, what that answer is worth) each.

    `config` of the artifact: sensitivity and specificity are those of its test split, or, before that was measured, of
    the validation split that the threshold was chosen by; "" where it has none.
    """
    point, promise = config["operating_point"], config["prediction_set"]["coverage"]
    shares, whose = (point["tested"], "test") if "tested" in point else (point, "validation")
    tumor, enough = percent(prediction.tumor_probability), percent(prediction.threshold)
    seen = f"Seen: {tumor}, where {enough} is enough"
    if not prediction.sees_tumor:
        seen = f"Not seen: {tumor}, where {enough} would be needed"
    measured = {name: shares[name] for name in ("sensitivity", "specificity") if shares[name] is not None}
    worth = ", ".join(f"{name} {percent(share)}" for name, share in measured.items())
    possible = either([DISPLAY_NAMES[name] for name in prediction.prediction_set]).capitalize()
    kept = (
        f"such a list holds the right answer for {percent(promise)} of slices like those of training" if promise else ""
    )
    return [
        ("Tumor", seen, f"{worth}, on {whose} patients" if worth else ""),
        ("Possible", possible, kept),
    ]
