"""Known failures in plain words, each derived from the figures: what is well is not said."""

from collections.abc import Iterator

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR
from model.wording import either

from .data import NAMES
from .markup import PERCENT, bullets, in_words, missing, paragraph, percent

GOOD = 0.9  # a share of right answers below which a weakness is named
OFTEN = 0.1  # a share of wrong answers above which a confusion is named
TOO_SURE = 0.05  # a calibration error above which probabilities are said to mislead
NORMAL = CLASSES[NO_TUMOR]
PLURAL = {
    "glioma": "gliomas",
    "meningioma": "meningiomas",
    "pituitary": "pituitary tumors",
    NORMAL: "tumor-free slices",
}


def failures(metrics: dict, config: dict) -> str:
    """The failures as a list."""
    if not metrics.get("test") and not metrics.get("external"):
        return missing("What it gets wrong")
    outside, here = metrics.get("external") or {}, metrics.get("test") or {}
    found = [
        *_confusions(outside),
        *_missed(outside.get("by_label_and_sequence") or {}),
        *_false_alarms(outside.get("by_label_and_sequence") or {}),
        *_other_diseases(outside.get("other_pathology") or {}),
        *_too_sure(outside, config),
        *_weak_collections(here),
        *_volumes(metrics.get("study") or {}),
    ]
    if not found:
        return paragraph("No failure stands out in what was measured. That does not say that there is none.")
    return paragraph("On scans from elsewhere, unless it says otherwise:") + bullets(found)


def _confusions(report: dict) -> Iterator[str]:
    """Tumor types that are mistaken for another class, the worst first."""
    confusion = report.get("confusion")
    if not confusion:
        return
    told = []
    for truth, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        total, right = sum(counts), report["recall"][truth]
        if truth == NORMAL or not total or right["value"] >= GOOD:
            continue
        shares = sorted(((n / total, name) for n, name in zip(counts, confusion["classes"], strict=True)), reverse=True)
        wrong = [
            f"{percent(share)}{PERCENT} get the answer {DISPLAY_NAMES[name]}"
            for share, name in shares
            if name != truth and share >= OFTEN
        ]
        others = f"; {' and '.join(wrong)}" if wrong else ""
        told.append((right["value"], f"Only {in_words(right)} of {PLURAL[truth]} are <b>named right</b>{others}."))
    yield from (sentence for _, sentence in sorted(told))


def _missed(labels: dict) -> Iterator[str]:
    """Sequences in which tumors are overlooked."""
    told = []
    for label, by_sequence in labels.items():
        weak = [
            f"{in_words(cell['seen'])} on {sequence}"
            for sequence, cell in by_sequence.items()
            if label != NORMAL and sequence != "all" and cell["seen"]["value"] < GOOD
        ]
        if weak:
            told.append(f"of {PLURAL.get(label, 'tumors of unknown type')} it sees only {' and '.join(weak)}")
    if told:
        yield f"<b>Missed tumors</b>: {'; '.join(told)}."


def _false_alarms(labels: dict) -> Iterator[str]:
    weak = [
        f"{in_words(cell['seen'])} on {sequence}"
        for sequence, cell in labels.get(NORMAL, {}).items()
        if sequence != "all" and cell["seen"]["value"] > 1 - GOOD
    ]
    if weak:
        yield f"<b>False alarms</b>: it sees a tumor in tumor-free slices, {' and '.join(weak)}."


def _other_diseases(report: dict) -> Iterator[str]:
    if not report:
        return
    types = either([DISPLAY_NAMES[name] for name in CLASSES if name != NORMAL])
    sure = report.get("confidently_wrong")
    worse = f" In {in_words(sure)}, it names one type firmly, and nothing tells you to doubt it." if sure else ""
    yield (
        f"<b>Other diseases</b>: it knows no name but {types}. Of {report['called_tumor']['n']:,} images of other "
        f"diseases, {in_words(report['called_tumor'])} are called a tumor.{worse}"
    )


def _too_sure(report: dict, config: dict) -> Iterator[str]:
    error = report.get("ece") or {}
    if error.get("value") is not None and error["value"] > TOO_SURE:
        yield (
            f"<b>Its probabilities mislead</b>: on average, they are off by {100 * error['value']:.0f} points "
            f"({100 * error['low']:.0f} to {100 * error['high']:.0f})."
        )
    found, promised = (
        (report.get("prediction_set") or {}).get("coverage"),
        config.get("prediction_set", {}).get("coverage"),
    )
    if found and promised and found["value"] < promised - TOO_SURE:
        yield (
            f"<b>The right answer is missing</b> from those called possible more often than it should: they hold it in "
            f"{in_words(found)}, where {percent(promised)}{PERCENT} were aimed at."
        )


def _weak_collections(report: dict) -> Iterator[str]:
    """Collections whose normals raise alarms although their patients are like those of training."""
    for source, part in (report.get("by_source") or {}).items():
        spared = part["specificity_tumor"]
        if spared["value"] is not None and spared["high"] < GOOD:
            yield (
                "<b>Even on patients like those of training</b>, of the tumor-free slices of "
                f"{NAMES.get(source, source)} only {in_words(spared)} are left alone."
            )


def _volumes(report: dict) -> Iterator[str]:
    spared = report.get("specificity")
    if spared and spared["value"] < GOOD:
        yield f"<b>Whole volumes</b>: only {in_words(spared)} of tumor-free volumes are left alone."
