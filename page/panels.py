"""What an answer rests on: is this a brain MRI, what is it classified as, and how far each of the two can be trusted.

The page shows it as panels (panels.html), the report draws it (case_report.py). Where the evidence lies: pictures.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from model import report
from model.prediction import BLANK, Prediction
from model.report import Case
from model.study import Study
from model.wording import many, percent

from . import macros, texts

Fact = tuple[str, str, str]  # what, answer, what that answer is worth

html = macros("panels")


@dataclass(frozen=True)
class Panels:
    """The two panels of a slice, or of a volume as a whole."""

    status: str  # of the input, whatever the answer: accepted, doubtful or refused
    status_text: str
    input_facts: list[Fact]
    probabilities: dict[str, float] = field(default_factory=dict)  # by class, calibrated; empty if refused
    doubt: str = ""  # about the answer
    facts: list[Fact] = field(default_factory=list)  # how sure the answer is


def of_case(case: Case, config: dict, notes: Sequence[str] = ()) -> Panels:
    """The panels of a case that was answered; `config` of the artifact, `notes` on its file."""
    return of_study(case, config, notes) if case.study else of_slice(case.predictions[0], config, notes)


def of_slice(prediction: Prediction, config: dict, notes: Sequence[str] = ()) -> Panels:
    """The panels of one slice."""
    facts = _measured(prediction, config["refusal"]) + [("Note", note, "") for note in notes]
    if prediction.status == "refused":
        return Panels("refused", remedy(prediction.about_slice), facts)
    tumor, (what, possible, worth) = report.certainty(prediction, config)
    is_open = len(prediction.prediction_set) > 1
    possible += ": the model cannot tell" if is_open else " alone"
    return Panels(
        "doubtful" if prediction.about_slice else "accepted",
        prediction.about_slice or texts.LIKE_TRAINING,
        facts,
        prediction.probabilities,
        doubt="" if is_open else prediction.about_answer,
        facts=[tumor, (what, possible, worth)],
    )


def of_study(case: Case, config: dict, notes: Sequence[str] = ()) -> Panels:
    """The panels of a volume as a whole: the slices that the verdict rests on, and the tumor's probability."""
    study, scan = case.study, case.scan
    kind = " ".join(filter(None, (scan.plane, scan.sequence, scan.kind)))
    slices = f"{study.n_judged} of {many(len(scan.slices), 'slice')} judged"
    refused = f"{study.n_refused} refused: empty, or unlike the brain MRI of training" if study.n_refused else ""
    facts = [("Slices", f"{slices} ({kind})" if kind else slices, refused)]
    facts_of_file = [("Note", note, "") for note in notes]
    if study.status == "refused":
        return Panels("refused", remedy(study.reason), facts + facts_of_file)
    doubts = [made.about_slice for made in case.predictions if made.about_slice and made.status != "refused"]
    status, text = ("accepted", texts.SLICES_LIKE_TRAINING)
    if len(doubts) > study.n_judged / 2:
        status, text = "doubtful", doubts[0]
    if doubts:
        facts.append(("Unlike", f"{len(doubts)} of {many(study.n_judged, 'slice')}", "differ from those of training"))
    tumor = _tumor_in_study(study, config["study"])
    return Panels(status, text, facts + facts_of_file, study.probabilities, study.reason, [tumor])


def answered(case: Case) -> str:
    """When, as "Answered 21 November 2026, 15:40 UTC"."""
    return f"Answered {case.answered.day} {case.answered:%B %Y, %H:%M} UTC"


def finding(reason: str) -> str:
    """The first sentence of a refusal, which says what is wrong."""
    return reason.partition(". ")[0].removesuffix(".") + "."


def remedy(reason: str) -> str:
    """What comes after the first sentence of a refusal: what to do."""
    return reason.partition(". ")[2]


def _measured(prediction: Prediction, limits: dict) -> list[Fact]:
    """What the slice was judged by; `limits`: "refusal" of config.json. A blank one is refused before that."""
    if prediction.about_slice == BLANK:
        return []
    below, doubtful = percent(limits["refused_below"]), percent(limits["doubtful_below"])
    distances = f"doubtful from {limits['doubtful_from']:.1f}, refused from {limits['refused_from']:.1f}"
    return [
        ("Brain MRI", percent(prediction.brain_score), f"doubtful below {doubtful}, refused below {below}"),
        ("Distance", f"{prediction.distance:.1f} from training", f"1 is ordinary; {distances}"),
    ]


def _tumor_in_study(study: Study, point: dict) -> Fact:
    """Whether a tumor is detected, and how often that is right; `point`, the operating point of studies."""
    tumor, enough = percent(study.tumor_probability), percent(point["threshold"])
    answer = f"Detected: {tumor} for the study as a whole, where {enough} is enough"
    if not study.sees_tumor:
        answer = f"Not detected: {tumor} for the study as a whole, where {enough} would be needed"
    shares, whose = (point["tested"], "test") if "tested" in point else (point, "validation")
    measured = [name for name in ("sensitivity", "specificity") if shares[name] is not None]
    worth = ", ".join(f"{name} {percent(shares[name])}" for name in measured)
    return "Tumor", answer, f"{worth}, on studies put together from slices of {whose} patients" if worth else ""
