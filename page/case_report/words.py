"""What a report says: sentences and short facts, none of which can tell whose scan it is."""

from typing import NamedTuple

from model import CLASSES, DISPLAY_NAMES, report
from model.cases import Case
from model.classifier import TumorClassifier
from model.prediction import Prediction
from model.serving import Origin
from model.wording import many, percent

from .. import texts
from ..cards import study_facts
from ..panels import measured, status_of_input

NOTICE = "Research demo, not a medical device"
DISCLAIMER = (
    "Nobody should be treated, or left untreated, because of what this page says. Sensitivity and specificity were "
    "measured on patients like those of training; on scans from elsewhere they can be far lower. The model knows "
    "glioma, meningioma, pituitary tumor, and none of them: another disease gets one of these names all the same."
)
ANONYMOUS = "Nothing of the file's name or tags is on this page; the picture is as it was uploaded."
STATUSES = {"accepted": "Accepted", "doubtful": "Doubtful: read with care", "refused": "Refused: no answer"}
LONGEST_SENTENCE, LONGEST_REASON = 300, 500  # characters: more than the model says, and the pictures keep their room
NAMED = 3  # suspicious slices: the plot above shows where others lie


class Fact(NamedTuple):
    what: str
    answer: str
    worth: str  # what the answer is worth, in small print; "" for nothing


def verdict(case: Case) -> tuple[str, str]:
    """The answer in a sentence, and why to doubt it; of a refused case the reason alone."""
    sentence = report.said_of(case.verdict)
    return _clipped(sentence, LONGEST_SENTENCE), "" if case.reason == sentence else _clipped(
        case.reason, LONGEST_REASON
    )


def of_input(case: Case, classifier: TumorClassifier) -> list[Fact]:
    """Whether the input was taken for a brain MRI like those of training, and what it was judged by."""
    if case.study:
        found = [Fact(*fact) for fact in study_facts(case, classifier.config) if fact[0] == "Slices"]
        return [*found, *_suspicious(case)]
    prediction = case.predictions[0]
    status = status_of_input(prediction)
    worth = "" if status == "refused" else prediction.about_slice or texts.LIKE_TRAINING
    judged = (Fact(*fact) for fact in measured(prediction, classifier.config["refusal"]))
    return [Fact("Status", status.capitalize(), worth), *judged]


def _suspicious(case: Case) -> list[Fact]:
    """Which slices to look at, the most suspicious first."""
    named = [
        f"slice\N{NO-BREAK SPACE}{index + 1} ({percent(case.predictions[index].tumor_probability)})"
        for index in case.study.suspicious[:NAMED]
    ]
    return [Fact("Look at", ", ".join(named), "the most suspicious first, with P(tumor) of the slice")] if named else []


def of_answer(case: Case, classifier: TumorClassifier) -> list[Fact]:
    """Whether a tumor is seen at the operating point, and of a slice which classes cannot be excluded."""
    if case.study:
        return [Fact(*fact) for fact in study_facts(case, classifier.config) if fact[0] == "Tumor"]
    tumor, (what, possible, worth) = report.certainty(case.verdict, classifier.config)
    is_open = len(case.verdict.prediction_set) > 1
    return [Fact(*tumor), Fact(what, f"{possible}: the model cannot tell" if is_open else f"{possible} alone", worth)]


def probabilities(case: Case) -> dict[str, float]:
    """Of the study or of the only slice, in the order of CLASSES."""
    return {name: case.verdict.probabilities[name] for name in CLASSES}


def slice_said(case: Case, index: int) -> str:
    """Which slice is shown and, in a volume, what the model says of it alone."""
    if not case.study:
        return "Slice"
    prediction = case.predictions[index]
    number = f"Slice {index + 1} of {len(case.predictions)}"
    if prediction.status == "refused":
        return f"{number}: refused"
    return f"{number}: {DISPLAY_NAMES[prediction.label]} {percent(prediction.probabilities[prediction.label])}"


def evidence_said(prediction: Prediction) -> str:
    """The title of the evidence map, or why there is none."""
    if prediction.status == "refused":
        return texts.NO_MAP
    if not prediction.sees_tumor:
        return texts.NO_TUMOR_SEEN
    return f"Evidence of {DISPLAY_NAMES[prediction.likeliest_tumor]}"


def way_said(case: Case) -> str:
    """The heading of the way through a volume."""
    return f"Probability of a tumor along the {many(len(case.predictions), 'slice')}"


def answered(case: Case) -> str:
    """When, as "21 November 2026, 15:40 UTC"."""
    return f"{case.answered.day} {case.answered:%B %Y, %H:%M} UTC"


def weights(classifier: TumorClassifier, origin: Origin | None) -> str:
    """Version, revision and date of the weights that answered."""
    name, trained = classifier.config["name"], classifier.config.get("trained")
    parts = [f"Weights {classifier.version}"]
    if origin and origin.name != name:  # a repository on the Hub; a folder's revision stands in the version
        parts.append(f"{origin.name} at {origin.revision}" if origin.revision else origin.name)
    return _clipped(" · ".join([*parts, f"trained {trained}"] if trained else parts), LONGEST_SENTENCE)


def _clipped(words: str, most: int) -> str:
    return words if len(words) <= most else f"{words[:most].rstrip()} …"
