"""How sure it is, and how far to trust that: prediction sets, calibration, refusals, diseases that it does not know."""

from model import DISPLAY_NAMES

from ..markdown import NOT_MEASURED, NOTHING, figure, sizes, table

MEASURED = {"test": "pool test", "external": "external"}  # sections of metrics.json with these weights' answers


def operating_point(config: dict) -> str:
    """From where on a tumor counts as seen, and how that was chosen."""
    point = config.get("operating_point")
    if not point:
        return f"The operating point: {NOT_MEASURED}."
    text = f"Tumor against none: a tumor is seen when P(tumor) = 1 - P(no tumor) is at least {point['threshold']:.3f}"
    if point.get("sensitivity") is None:
        return text + "."
    return (
        f"{text}, where F2 is highest on the validation split, tumor and no tumor weighing alike: sensitivity "
        f"{point['sensitivity']:.3f}, specificity {point['specificity']:.3f} there. It was chosen on these very "
        "images, so that the test split is what counts."
    )


def prediction_sets(metrics: dict, config: dict) -> str:
    """How often the set holds the true class, and how large it is, by class."""
    rows = []
    for section, name in MEASURED.items():
        report = metrics.get(section, {}).get("prediction_set")
        if report:
            parts = {"all": report} | {DISPLAY_NAMES[label]: part for label, part in report["by_class"].items()}
            for label, part in parts.items():
                figures = (part[key] for key in ("coverage", "mean_size", "singletons", "right_if_single"))
                rows.append([f"{name}: {label}", sizes(part), *map(figure, figures)])
    if not rows:
        return f"Prediction sets: {NOT_MEASURED}."
    head = [
        "prediction set",
        "images (groups)",
        "holds the true class",
        "classes in it",
        "one class alone",
        "right where one class is alone",
    ]
    promised = config.get("prediction_set", {}).get("coverage")
    promise = f"It promises to hold the true class for {promised:.0%} of the images. " if promised else ""
    return (
        table(head, rows) + f"\n\n{promise}The promise is about all images together, not about each class, and about "
        "patients like those of the validation split; outside, nothing is promised, and the figure is what was found."
    )


def calibration(metrics: dict, config: dict) -> str:
    """Calibration error of each source, and the temperature it would have wanted."""
    rows = []
    for section, name in MEASURED.items():
        for source, part in metrics.get(section, {}).get("calibration_by_source", {}).items():
            wanted = NOTHING if part["temperature"] is None else f"{part['temperature']:.2f}"
            title = name if source == section else f"{name}: {source}"
            rows.append([title, sizes(part), figure(part["ece"]), figure(part["ece_tumor"]), wanted])
    if not rows:
        return f"Calibration by source: {NOT_MEASURED}."
    head = [
        "calibration",
        "images (groups)",
        "calibration error (ECE), four classes",
        "tumor against none",
        "temperature of its own",
    ]
    used = f" In use is {config['temperature']:.2f} for all." if "temperature" in config else ""
    return (
        table(head, rows)
        + f"\n\nA source that wants a higher temperature than the one in use is answered too surely.{used}"
        " Over four classes, tumors of unknown type take no part, so that few of a source's images may be left."
        " A source of few images has a large calibration error by chance alone; one that holds a single class says "
        f'little about another mix of classes. "{NOTHING}": no type is known, or nothing was answered wrong.'
    )


def statuses(metrics: dict) -> str:
    """How many images of each kind are accepted, doubted and refused."""
    rows = []
    for section, name in MEASURED.items():
        kinds = {name: metrics.get(section, {}).get("refusal")}
        kinds[f"{name}, diseases without a class"] = metrics.get(section, {}).get("other_pathology", {}).get("status")
        for kind, shares in kinds.items():
            if shares:
                figures = [figure(shares.get(status)) for status in ("accepted", "doubtful", "refused")]
                rows.append([kind, sizes(shares["refused"]), *figures])
    others = metrics.get("not_brain_mri", {}).get("refused")
    if others:
        rows.append(["photographs, documents, other body parts", sizes(others), NOTHING, NOTHING, figure(others)])
    if not rows:
        return f"Refusals: {NOT_MEASURED}."
    head = ["what is shown", "images (groups)", "accepted", "doubtful", "refused"]
    missing = "" if others else f" Refused among photographs, documents and other body parts: {NOT_MEASURED}."
    return (
        table(head, rows) + "\n\nDoubtful: the slice is somewhat unlike the training images, or the answer is open. "
        f"Images that the page would refuse are measured in all other tables like the rest.{missing}"
    )


def other_pathology(metrics: dict) -> str:
    """What it says of diseases that no class stands for."""
    report = metrics.get("external", {}).get("other_pathology")
    if not report:
        return f"Other diseases, which it has no class for: {NOT_MEASURED}."
    seen = report["called_tumor"]
    return (
        f"Other diseases, which it has no class for (external, {seen['n']:,} images of {seen['n_groups']:,} groups): "
        f"it sees a tumor in {figure(seen)}, is more than 90 % sure of one of its three types in "
        f"{figure(report['sure_of_a_type'])}, and more than 90 % sure of no tumor in "
        f"{figure(report['sure_of_no_tumor'])}. Confidently wrong, that is accepted, with one tumor type left in the "
        f"prediction set and more than 90 % sure of it: {figure(report.get('confidently_wrong'))}. Most of these "
        "diseases are tumors of other kinds: to see a tumor is then right, and its name is wrong."
    )
