"""How sure the answers are, and how far to trust that; what is refused."""

from model import DISPLAY_NAMES

from .data import NAMES
from .headline import ELSEWHERE, HERE
from .markup import PERCENT, folded, images, in_words, missing, paragraph, percent, share, sizes, table
from .reliability import reliability

REPORTS = {"test": HERE, "external": ELSEWHERE}  # sections of metrics.json with these weights' answers
POINTS = " points"  # of per cent


def certainty(metrics: dict, config: dict) -> str:
    """Calibration, the operating point and the prediction set."""
    parts = {
        "Is 80&nbsp;% sure right 80&nbsp;% of the time?": _calibration(metrics),
        "From where on a tumor counts as seen": _operating_point(metrics, config),
        "The answers called possible": _prediction_sets(metrics, config),
    }
    return "".join(f"<h4>{title}</h4>{content}" for title, content in parts.items())


def _calibration(metrics: dict) -> str:
    plots = [
        (title, metrics[name]["reliability"]) for name, title in REPORTS.items() if _has(metrics, name, "reliability")
    ]
    drawn = f'<div class="two">{"".join(reliability(bins, title) for title, bins in plots)}</div>' if plots else ""
    errors = [
        f"{title.lower()}, off by {_points(metrics[name]['ece'])}"
        for name, title in REPORTS.items()
        if _has(metrics, name, "ece")
    ]
    told = (
        paragraph(f"Calibration error, the mean gap between what is said and what is right: {'; '.join(errors)}.")
        if errors
        else ""
    )
    surest = "".join(paragraph(f"{title}: {_surest(bins[-1])}") for title, bins in plots)
    return (drawn or missing("Share of right answers by probability")) + surest + told + _by_source(metrics)


def _surest(last: dict) -> str:
    """What the answers are worth of which it is surest."""
    return (
        f"answers that it gives more than {percent(last['from'])}{PERCENT} are right in {in_words(last['right'])}, "
        f"{images(last['right'])}."
    )


def _points(figure: dict) -> str:
    value, low, high = (f"{100 * figure[key]:.1f}" for key in ("value", "low", "high"))
    return f"<b>{value}{POINTS}</b> ({low} to {high})"


def _has(metrics: dict, name: str, what: str) -> bool:
    found = (metrics.get(name) or {}).get(what)
    return bool(found) and (not isinstance(found, dict) or found.get("value", 0) is not None)


def _by_source(metrics: dict) -> str:
    """The calibration error of each collection, folded away."""
    rows = []
    for name, title in REPORTS.items():
        for source, part in (metrics.get(name) or {}).get("calibration_by_source", {}).items():
            told = title if source == name else NAMES.get(source, source)
            rows.append([told, sizes(part), share(part["ece"]), share(part["ece_tumor"])])
    if not rows:
        return ""
    head = ["Collection", "Images", "Four answers", "Tumor or none"]
    return folded(
        "Calibration error of each collection",
        table(head, rows, "Calibration error of each collection")
        + paragraph("A dash: no tumor type is known. Few images have a large error by chance alone.", "small"),
    )


def _operating_point(metrics: dict, config: dict) -> str:
    point = config.get("operating_point")
    if not point:
        return missing("The operating point")
    text = (
        f"The probabilities of the three tumors are added up. From <b>{percent(point['threshold'])}{PERCENT}</b> on, a "
        "tumor counts as seen. The limit is low on purpose: a missed tumor costs more than a false alarm."
    )
    measured = [
        f"{title}: {in_words(metrics[name]['sensitivity_tumor'])} of tumors seen, "
        f"{in_words(metrics[name]['specificity_tumor'])} of tumor-free slices left alone."
        for name, title in REPORTS.items()
        if _has(metrics, name, "sensitivity_tumor") and _has(metrics, name, "specificity_tumor")
    ]
    return paragraph(text) + "".join(map(paragraph, measured))


def _prediction_sets(metrics: dict, config: dict) -> str:
    def row(what: str, part: dict) -> list[str]:
        return [what, sizes(part), *(share(part[key]) for key in ("coverage", "singletons", "right_if_single"))]

    reports = {title: (metrics.get(name) or {}).get("prediction_set") for name, title in REPORTS.items()}
    rows = [row(title, report) for title, report in reports.items() if report]
    by_class = [
        row(f"{DISPLAY_NAMES.get(label, label).capitalize()} <small>{title.lower()}</small>", part)
        for title, report in reports.items()
        for label, part in (report or {}).get("by_class", {}).items()
    ]
    if not rows:
        return missing("The answers called possible")
    promised = config.get("prediction_set", {}).get("coverage")
    promise = (
        f"The list is made to hold the right answer for {percent(promised)}{PERCENT} of the slices of patients like "
        "those of training. Elsewhere nothing is promised; the table says what was found."
        if promised
        else "The list promises nothing: too few patients were at hand."
    )
    head = ["Where", "Images", "Holds the right answer", "Names one answer alone", "Right where it does"]
    listed = table(head, by_class, "The answers called possible, by what the slice shows")
    return (
        paragraph(promise)
        + table(head, rows, "The answers called possible")
        + folded("By what the slice shows", listed)
    )


def refusal(metrics: dict, config: dict) -> str:
    """Shares of accepted, doubtful and refused images of each kind."""
    rows = []
    for name, title in REPORTS.items():
        report = metrics.get(name) or {}
        kinds = {f"Brain MRI: {title[0].lower()}{title[1:]}": report.get("refusal")}
        kinds[f"Other diseases: {title[0].lower()}{title[1:]}"] = (report.get("other_pathology") or {}).get("status")
        for kind, shares in kinds.items():
            if shares:
                figures = (share(shares[status]) for status in ("accepted", "doubtful", "refused"))
                rows.append([kind, sizes(shares["refused"]), *figures])
    others = (metrics.get("not_brain_mri") or {}).get("refused")
    if others:
        rows.append(["No brain MRI: photos, documents, other parts of the body", sizes(others), "", "", share(others)])
    if not rows:
        return missing("What it refuses")
    return paragraph(
        "What does not look like a brain MRI, or lies too far from all that it has learned from, gets no answer. "
        "Doubtful: the slice is unusual, or more than one answer is possible."
    ) + table(["What is shown", "Images", "Accepted", "Doubtful", "Refused"], rows, "Accepted, doubtful and refused")
