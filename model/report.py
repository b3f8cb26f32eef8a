"""What is said about a file: one entry for each slice, the same on the command line, in CSV and through the API."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import CLASSES, DISPLAY_NAMES, NO_TUMOR, scans

if TYPE_CHECKING:
    from .classifier import Prediction, TumorClassifier


def entries(classifier: "TumorClassifier", source: str | Path | bytes, name: str) -> list[dict]:
    """Read one file and classify every slice in it.

    Args: as `scans.read`; `name` is what the entries call the file.
    Returns: JSON-ready dictionaries, in the order of the slices, each with `file`, `slice` (from 1), `status`
        (accepted, doubtful, refused or unreadable), `reason`, `label`, `probabilities` {class: p},
        `tumor_probability`, `brain_score`, `seconds` and `model`. A file that cannot be read gives one entry; its
        label, probabilities... are None.
    """
    start = time.perf_counter()
    try:
        slices = scans.read(source, name).slices
    except scans.UnreadableScan as error:
        nothing = dict.fromkeys(("label", "probabilities", "tumor_probability", "brain_score"))
        found = [{"status": "unreadable", "reason": str(error), **nothing}]
    else:
        found = [prediction.as_dict() for prediction in classifier.predict(slices)]
    seconds = round((time.perf_counter() - start) / len(found), 4)
    return [
        {"file": name, "slice": number, **entry, "seconds": seconds, "model": classifier.version}
        for number, entry in enumerate(found, 1)
    ]


def sentence(prediction: "Prediction") -> str:
    """The answer in plain words; for a refused slice its reason, since its probabilities mean nothing."""
    if prediction.status == "refused":
        return prediction.reason
    no_tumor = prediction.label == CLASSES[NO_TUMOR]
    if no_tumor and prediction.sees_tumor:  # more probable than each of the three tumors, not than all together
        return f"A tumor is more likely than not ({percent(prediction.tumor_probability)}), but which one is open."
    finding = "no tumor" if no_tumor else f"a {DISPLAY_NAMES[prediction.label]}"
    probability = percent(prediction.probabilities[prediction.label])
    if prediction.status == "doubtful":
        return f"The model leans towards {finding} ({probability})."
    return f"The model sees {'no evidence of a tumor' if no_tumor else f'evidence of {finding}'} ({probability})."


def percent(probability: float) -> str:
    """A probability for reading; never a certainty that no model has."""
    if probability > 0.99:
        return "over 99 %"
    if probability < 0.01:
        return "under 1 %"
    return f"{100 * probability:.0f} %"
