"""The figures that matter most: here and elsewhere, and beside what other projects quote."""

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from .markup import missing, paragraph, score, share, sizes, table

HERE, ELSEWHERE = "Patients like those of training", "Another source"
HEADS = ["Measured", f"Here <small>{HERE.lower()}</small>", f"Elsewhere <small>{ELSEWHERE.lower()}</small>"]
TUMORS = [name for index, name in enumerate(CLASSES) if index != NO_TUMOR]
SEEN = {  # path into a report -> what it is
    "sensitivity_tumor": "Tumors seen <small>sensitivity</small>",
    "specificity_tumor": "Tumor-free slices left alone <small>specificity</small>",
}
NAMED = {f"recall.{name}": f"{DISPLAY_NAMES[name].capitalize()} named right" for name in TUMORS}
ROWS = SEEN | NAMED | {"prediction_set.coverage": "The right answer is among those called possible"}
COMPARED = {"accuracy": "Named right, of all four answers"} | SEEN | NAMED


def headline(metrics: dict, config: dict) -> str:
    """A row for each figure of `ROWS`, a column for each set of images."""
    here, elsewhere = metrics.get("test"), metrics.get("external")
    if not here and not elsewhere:
        return missing("How well it does")
    rows = [["Images", *(sizes(report) if report else "" for report in (here, elsewhere))]]
    rows += [[what, *(share(find(report, path)) for report in (here, elsewhere))] for path, what in ROWS.items()]
    return (
        table(HEADS, rows, "How well the model does, here and elsewhere", "figures")
        + paragraph(
            "<b>The right column is the one to look at</b>: your scans come from elsewhere, too. Patients of the left "
            "one were not in training, but their scans come from the same collections."
        )
        + paragraph(
            "Small print: 95&nbsp;% interval, how far the figure may move with other patients. A group is a patient "
            "or, where patients are not known, a cluster of images that look alike. Named right: it is the most "
            "probable answer.",
            "small",
        )
    )


def beside_vendor(metrics: dict, config: dict) -> str:
    """The honest split and the vendor's, side by side, and why they differ."""
    here, vendor = metrics.get("test"), metrics.get("vendor")
    if not here or not vendor:
        return ""
    rows = [["Images", sizes(here), sizes(vendor)]]
    rows += [[what, *(share(find(report, path)) for report in (here, vendor))] for path, what in COMPARED.items()]
    rows.append(
        ["Macro-F1 <small>score from 0 to 1</small>", *(score(report.get("macro_f1")) for report in (here, vendor))]
    )
    about = "Honest and vendor numbers, side by side", "figures"
    other = ""
    if not is_of_these(vendor, metrics):
        other = (
            " The right column is not of the weights that answer here, but of others that were trained for it, on the "
            "training part of that split."
        )
    return (
        paragraph(
            "They test on the split that a public collection comes with. There, slices of one patient lie in training "
            "and in test, so that the test asks for what was learned by heart: it leaks. Here, all slices of a patient "
            "lie in one part."
        )
        + table(
            ["Measured", "Honest split <small>by patient</small>", "Vendor split <small>leaks</small>"], rows, *about
        )
        + paragraph(
            "Macro-F1 joins, for each class, how many are found and how many of those named are right; each class "
            f"weighs the same.{other}",
            "small",
        )
    )


def find(report: dict | None, path: str) -> dict | None:
    """The figure at the end of `path`, names joined by dots."""
    for name in path.split("."):
        report = report.get(name) if report else None
    return report


def is_of_these(report: dict, metrics: dict) -> bool:
    """Whether a report is of the weights whose metrics these are; where nothing says otherwise, it is."""
    own = metrics.get("weights_sha256", "")[:8]
    return not own or not report.get("model") or report["model"].endswith(own)
