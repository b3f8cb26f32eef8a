"""How well it does: the main table, and the external images by MRI sequence."""

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from ..markdown import NOT_MEASURED, NOTHING, figure, sizes, table

SECTIONS = {  # of metrics.json -> the head of its column
    "test": "pool test: patients not in training",
    "external": "external: another source",
    "vendor": "vendor split: leaks",
}
FIGURES = {  # path into a report -> what it is, what to note
    "macro_f1": ("macro-F1", "over the classes that the set holds"),
    "accuracy": ("accuracy", "depends on the mix of classes"),
    "balanced_accuracy": ("balanced accuracy", "mean of the recalls"),
    "f2_macro": ("macro-F2", "recall counts double"),
    "roc_auc": ("ROC-AUC, one against the rest", "macro average, threshold-free"),
    **{f"recall.{name}": (f"recall, {DISPLAY_NAMES[name]}", "images named right, of this class") for name in CLASSES},
    "auc_tumor": ("tumor against none: AUC", "threshold-free; unknown types included"),
    "sensitivity_tumor": ("tumor against none: sensitivity", "tumors seen at the operating point; the rest are missed"),
    "specificity_tumor": ("tumor against none: specificity", "normals left alone there; the rest are false alarms"),
    "f2_tumor": ("tumor against none: F2", "depends on the share of tumors"),
    "ece": ("calibration error (ECE)", "15 bins; temperature fitted on the pool's validation split"),
    "brier": ("Brier score", "0 is perfect, 2 is the worst"),
    "prediction_set.coverage": ("prediction set holds the truth", "promised for patients like the pool's, not outside"),
    "prediction_set.mean_size": ("classes in the prediction set", "1 is an answer, 4 says nothing"),
    "refusal.refused": ("refused, though brain MRI", "measured like all others all the same"),
    "refusal.doubtful": ("called doubtful", "measured like all others all the same"),
    "evidence.named_right.all.peak_inside": ("evidence peaks in the tumor's box", "tumors with a box, named right"),
}
ALL = tuple(FIGURES)
SHORT = (  # for README
    *("macro_f1", *(f"recall.{name}" for name in CLASSES)),
    *("auc_tumor", "sensitivity_tumor", "specificity_tumor", "ece"),
    *("prediction_set.coverage", "prediction_set.mean_size", "refusal.refused", "evidence.named_right.all.peak_inside"),
)


def main_table(metrics: dict, keys: tuple[str, ...]) -> str:
    """A row for each of `keys` of FIGURES, a column for each section, and what to note."""
    reports = [metrics.get(section) for section in SECTIONS]
    rows = [["images (groups)", *(sizes(r) if r else NOT_MEASURED for r in reports), "intervals are over groups"]]
    for key in keys:
        title, caveat = FIGURES[key]
        rows.append([title, *(_cell(report, key) for report in reports), caveat])
    mind = [
        f'"{NOTHING}": the set holds no such images. '
        "External: none of its images trained, chose or calibrated the weights; but its figures were read while the "
        "recipe was being worked out (training/EXPERIMENTS.md), so it is no untouched test. It has no pituitary tumors."
    ]
    if metrics.get("vendor"):
        mind.append(
            "Vendor: the split that most projects quote, given to be comparable. All of its test tumors from figshare "
            "share a patient with its training part, so it flatters; and it is of weights trained for that on the "
            "vendor's training part alone, without tumor boxes (BENCHMARKS.md)."
        )
    return table(["", *SECTIONS.values(), "note"], rows) + "\n\n" + " ".join(mind)


def _cell(report: dict | None, key: str) -> str:
    """The figure at the end of the path `key`."""
    if not report or key.split(".")[0] not in report:
        return NOT_MEASURED
    found = report
    for name in key.split("."):
        found = found.get(name, {})
    return figure(found) if found else NOTHING


def by_sequence(metrics: dict) -> str:
    """Tumors of each MRI sequence, from the external source."""
    report = metrics.get("external")
    if not report:
        return f"Another source, by MRI sequence: {NOT_MEASURED}."
    rows = []
    for sequence, area in report["tumor_auc_by_sequence"].items():
        seen = report["by_sequence"].get(sequence, {})
        figures = (seen.get(key) for key in ("sensitivity_tumor", "specificity_tumor", "accuracy"))
        rows.append([sequence, figure(area), *map(figure, figures)])
    head = [
        "external, by sequence",
        "AUC, its tumors against all normals",
        "tumors seen at the operating point",
        "normals left alone there",
        "named right, normals too",
    ]
    return (
        table(head, rows) + "\n\nNormals of that source are T1 and T2 only: the contrast agent itself sets T1C+ tumors "
        "apart from them, so part of that AUC may be the sequence, not the tumor."
    )


def by_label_and_sequence(metrics: dict) -> str:
    """The external source's tumors and normals at the operating point."""
    labels = metrics.get("external", {}).get("by_label_and_sequence")
    if not labels:
        return f"Another source, by label and MRI sequence at the operating point: {NOT_MEASURED}."
    rows = []
    for label, row in labels.items():
        for sequence, cell in row.items():
            name = f"{DISPLAY_NAMES.get(label, label)}, {'all sequences' if sequence == 'all' else sequence}"
            normal = label == CLASSES[NO_TUMOR]
            named = figure(cell["named"]) if "named" in cell and not normal else NOTHING
            spared = figure(cell["named"]) if normal else NOTHING
            rows.append([name, sizes(cell["seen"]), figure(cell["seen"]), named, spared])
    head = ["external, at the operating point", "images (groups)", "called tumor", "named right", "left alone"]
    threshold = metrics["external"]["threshold"]
    return (
        table(head, rows) + f"\n\nCalled tumor: P(tumor) is at least {threshold:.2f}. Named right: called tumor, and "
        "the likeliest of the three types is its own."
    )
