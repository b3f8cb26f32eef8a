"""The panels of an answer as HTML: is this a brain MRI, and the classification, of a slice or of a volume's study.

The third panel, where the evidence lies, is page/pictures.py.
"""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model import DISPLAY_NAMES, report
from model.prediction import BLANK, Prediction
from model.wording import many, percent

from . import cards, texts

if TYPE_CHECKING:
    from model.report import Case

Fact = tuple[str, str, str]  # what, answer, what that answer is worth

SKELETON = (  # as `_both` builds it: the browser then changes what is there, and moves nothing
    f'<div class="panels skeleton"><section class="panel brain"><h3>{texts.BRAIN}</h3><i></i><i></i><i></i></section>'
    f'<section class="panel classification"><h3>{texts.CLASSIFICATION}</h3><i></i><i></i><i></i><i></i></section></div>'
)


def of_slice(prediction: Prediction, config: dict, notes: Sequence[str] = (), below: str = "") -> str:
    """The two panels of one slice; `config` of the artifact, `notes` on its file, `below` the classification."""
    status = status_of_input(prediction)
    says = cards.remedy(prediction.about_slice) if status == "refused" else prediction.about_slice
    facts = measured(prediction, config["refusal"]) + [("Note", note, "") for note in notes]
    judged = _status(status, says or texts.LIKE_TRAINING) + _facts(facts)
    if status == "refused":
        return _both(judged, f"<p>{texts.NO_CLASSIFICATION}</p>" + below)
    doubt = _doubt("" if len(prediction.prediction_set) > 1 else prediction.about_answer)
    return _both(judged, doubt + bars(prediction.probabilities) + _facts(certainty(prediction, config)) + below)


def of_study(case: "Case", config: dict, below: str = "") -> str:
    """The two panels of a volume as a whole."""
    study = case.study
    doubts = [made.about_slice for made in case.predictions if status_of_input(made) == "doubtful"]
    strange = len(doubts)
    status = "refused" if not study.n_judged else "doubtful" if strange > study.n_judged / 2 else "accepted"
    says = {"refused": cards.remedy(study.reason), "accepted": texts.SLICES_LIKE_TRAINING}.get(status) or doubts[0]
    facts = cards.study_facts(case, config)
    tumor = [fact for fact in facts if fact[0] == "Tumor"]
    others = [fact for fact in facts if fact[0] != "Tumor"]
    if strange:
        others.append(("Unlike", f"{strange} of {many(study.n_judged, 'slice')}", "differ from those of training"))
    judged = _status(status, says) + _facts(others)
    if status == "refused":
        return _both(judged, f"<p>{texts.NO_CLASSIFICATION}</p>" + below)
    return _both(judged, _doubt(study.reason) + bars(study.probabilities) + _facts(tumor) + below)


def status_of_input(prediction: Prediction) -> str:
    """Of the slice as an input, whatever the answer: accepted, doubtful or refused."""
    if prediction.status == "refused":
        return "refused"
    return "doubtful" if prediction.about_slice else "accepted"


def certainty(prediction: Prediction, config: dict) -> list[Fact]:
    """Whether a tumor is seen at the operating point, and which classes cannot be excluded; not of what was refused."""
    tumor, (what, possible, worth) = report.certainty(prediction, config)
    is_open = len(prediction.prediction_set) > 1
    return [tumor, (what, f"{possible}: the model cannot tell" if is_open else f"{possible} alone", worth)]


def bars(probabilities: dict[str, float]) -> str:
    """The four probabilities as bars, always in the same order, so that nothing jumps from slice to slice."""
    rows = "".join(
        f'<div class="{label}"><span>{DISPLAY_NAMES[label]}</span><i style="--share: {share:.4f}"></i>'
        f"<b>{percent(share)}</b></div>"
        for label, share in probabilities.items()
    )
    return f'<div class="bars" role="group" aria-label="Calibrated probabilities">{rows}</div>'


def measured(prediction: Prediction, limits: dict) -> list[Fact]:
    """What the slice was judged by; `limits`: "refusal" of config.json. A blank one is refused before that."""
    if prediction.about_slice == BLANK:
        return []
    below, doubtful = percent(limits["refused_below"]), percent(limits["doubtful_below"])
    return [
        ("Brain MRI", percent(prediction.brain_score), f"doubtful below {doubtful}, refused below {below}"),
        (
            "Distance",
            f"{prediction.distance:.1f} from training",
            f"1 is ordinary; doubtful from {limits['doubtful_from']:.1f}, refused from {limits['refused_from']:.1f}",
        ),
    ]


def _both(judged: str, classified: str) -> str:
    return (
        f'<div class="panels"><section class="panel brain"><h3>{texts.BRAIN}</h3>{judged}</section>'
        f'<section class="panel classification"><h3>{texts.CLASSIFICATION}</h3>{classified}</section></div>'
    )


def _status(status: str, says: str) -> str:
    return f'<p class="status {status}"><b>{status.capitalize()}.</b> {html.escape(says)}</p>'


def _doubt(sentence: str) -> str:
    return _status("doubtful", sentence) if sentence else ""


def _facts(facts: Sequence[Fact]) -> str:
    rows = "".join(
        f"<dt>{html.escape(what)}</dt><dd>{html.escape(answer)} <small>{html.escape(worth)}</small></dd>"
        for what, answer, worth in facts
    )
    return f"<dl>{rows}</dl>" if rows else ""
