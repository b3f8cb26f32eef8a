"""What is said about a file: one entry for each slice, the same on the command line, in CSV and through the API."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR, scans
from .wording import either, percent

if TYPE_CHECKING:
    from .classifier import Prediction, TumorClassifier

ANSWERED = (  # what an entry holds that only a slice that was read can have, besides status and reason
    *("label", "prediction_set", "probabilities", "tumor_probability", "threshold", "sees_tumor"),
    *("brain_score", "distance"),
)


def entries(classifier: "TumorClassifier", source: str | Path | bytes, name: str) -> list[dict]:
    """Read one file and classify every slice in it.

    Args: as `scans.read`; `name` is what the entries call the file.
    Returns: JSON-ready dictionaries, in the order of the slices, each with `file`, `slice` (from 1), `status`
        (accepted, doubtful, refused or unreadable), `reason`, `label`, `prediction_set` [class], `probabilities`
        {class: p}, `tumor_probability`, `threshold` (the operating point), `sees_tumor`, `brain_score`, `distance`,
        `seconds` and `model`. A file that cannot be read gives one entry; its label, probabilities... are None.
    """
    start = time.perf_counter()
    try:
        slices = scans.read(source, name).slices
    except scans.UnreadableScan as error:
        nothing = dict.fromkeys(ANSWERED)
        found = [{"status": "unreadable", "reason": str(error), **nothing}]
    else:
        found = [prediction.as_dict() for prediction in classifier.predict(slices)]
    seconds = round((time.perf_counter() - start) / len(found), 4)
    return [
        {"file": name, "slice": number, **entry, "seconds": seconds, "model": classifier.version}
        for number, entry in enumerate(found, 1)
    ]


def sentence(prediction: "Prediction") -> str:
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


def certainty(prediction: "Prediction", config: dict) -> list[tuple[str, str, str]]:
    """How sure the answer is, to be shown beside it: (what, answer, what that answer is worth) each.

    `config` of the artefact: sensitivity and specificity are those of its test split, or, before that was measured, of
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
