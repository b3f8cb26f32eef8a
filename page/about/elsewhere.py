"""On scans that have nothing in common with those of training: by MRI sequence, and sources that were left out."""

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from .data import NAMES
from .markup import PERCENT, images, in_words, missing, paragraph, percent, share, sizes, table
from .recipe import differences

NORMAL = CLASSES[NO_TUMOR]


def elsewhere(metrics: dict, config: dict) -> str:
    """Both, each with what it rests on."""
    return _by_sequence(metrics.get("external", {})) + "<h4>Collections left out of training</h4>" + _left_out(metrics)


def _by_sequence(report: dict) -> str:
    labels = report.get("by_label_and_sequence")
    if not labels:
        return missing("Another source, by MRI sequence")
    tumors, normals = [], []
    for label, by_sequence in labels.items():
        for sequence, cell in by_sequence.items():
            name = f"{DISPLAY_NAMES.get(label, label).capitalize()}, {'all' if sequence == 'all' else sequence}"
            row = [name, sizes(cell["seen"])]
            if label == NORMAL:
                normals.append([*row, share(cell["named"])])
            else:
                tumors.append([*row, share(cell["seen"]), share(cell.get("named"))])
    return (
        paragraph(
            "No image of this source took part in training or in any choice of limits. But its figures were read while "
            "the recipe was worked out, so that it is no untouched test."
        )
        + table(
            ["Tumors", "Images", "Seen", "And named right"],
            tumors,
            "Tumors of another source, by MRI sequence",
            "figures",
        )
        + table(
            ["Tumor-free", "Images", "Left alone"],
            normals,
            "Tumor-free slices of another source, by MRI sequence",
            "figures",
        )
        + paragraph(
            "T1C+: T1 with contrast agent. The normals of this source were given none, so part of what sets T1C+ "
            "tumors apart from them may be the contrast agent, not the tumor.",
            "small",
        )
    )


def _left_out(metrics: dict) -> str:
    report = metrics.get("leave_source_out") or {}
    if not report.get("runs"):
        return missing("Collections left out of training")
    rows, notes = [], []
    for run in report["runs"]:
        name = " + ".join(NAMES.get(source, source) for source in run["left_out"])
        tumors = run["tumors"]
        spared = f"{percent(run['specificity'])}{PERCENT}"
        if tumors:
            rows.append([name, sizes(tumors), share(tumors["sensitivity"]), spared, share(tumors["auc_tumor"])])
        own = run.get("own_normals")
        if own:
            notes.append(
                f"{name}: of its own tumor-free slices ({images(own)}) {in_words(own['specificity'])} are left alone."
            )
    head = ["Left out", "Tumors", "Tumors seen", "Normals left alone", "AUC"]
    return (
        paragraph(
            "The network was trained again without a whole collection, with no image of its patients, and then asked "
            "about it. Normals are the tumor-free test slices of the other collections; the limit from which a tumor "
            "counts as seen leaves nearly all of them alone."
        )
        + table(head, rows, "Collections left out of training")
        + "".join(paragraph(note, "small") for note in notes)
        + paragraph(
            "AUC: how often a tumor gets a higher probability than a normal, if one of each is drawn. Half is chance. "
            + differences(report),
            "small",
        )
    )
