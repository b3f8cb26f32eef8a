"""Where it looks, and what it tells from what is no brain."""

from model import DISPLAY_NAMES

from .markup import PERCENT, in_words, missing, paragraph, percent, share, table

SHOWN = {  # of the network -> in plain words
    "whole": "The whole image",
    "blanked": "The head, its inside painted over",
    "silhouette": "A silhouette of the head",
    "outline": "An outline of the head",
}
KINDS = {"size": "width and height", "border": "the borders", "brightness": "the brightness", "all": "all of these"}


def shortcuts(metrics: dict, config: dict) -> str:
    """Whether the evidence lies in the tumor, and what shortcuts are worth."""
    return _pointing(metrics) + "<h4>Shortcuts</h4>" + _probes(metrics)


def _pointing(metrics: dict) -> str:
    evidence = (metrics.get("test") or {}).get("evidence")
    if not evidence:
        return missing("Where the evidence lies")
    told = evidence["named_right"]
    rows = [
        [
            "All" if name == "all" else DISPLAY_NAMES.get(name, name).capitalize(),
            f"{part['peak_inside']['n']:,}",
            share(part["peak_inside"]),
            share(part["peak_near"]),
        ]
        for name, part in told.items()
    ]
    wrong = evidence.get("wrong_place", {})
    aside = (
        f" Wrong answers come from the wrong place in {in_words(wrong['wrong'])}, right ones in "
        f"{in_words(wrong['right'])}."
        if all((wrong.get(kind) or {}).get("value") is not None for kind in ("wrong", "right"))
        else ""
    )
    head = ["Tumors named right", "Images", "Peak of the evidence in the tumor's box", "In it or just beside it"]
    return (
        paragraph("Measured on test slices in which somebody has drawn a box around the tumor.")
        + table(head, rows, "Where the evidence lies")
        + paragraph(f"The map shows where the answer comes from, not where the tumor ends.{aside}")
    )


def _probes(metrics: dict) -> str:
    report = (metrics.get("probes") or {}).get("test")
    if not report:
        return missing("What shortcuts are worth")
    chance = report["chance"]
    rows = []
    for name, row in report["network"].items():
        types = row["types"] or {}
        rows.append([SHOWN.get(name, name), share(types.get("balanced_accuracy")), share(row["auc_tumor"])])
    rows.append(["Guessing", _plain(chance["types_balanced_accuracy"]), _plain(chance["auc_tumor"])])
    trees = report["tree"]["raw"]
    known = "; ".join(f"{told} {in_words(trees[kind]['auc_tumor'])}" for kind, told in KINDS.items() if kind in trees)
    covered = (report.get("covered") or {}).get("one_side") or {}
    hidden = ""
    if "mirrored" in covered and "whole" in covered:
        hidden = paragraph(
            "When a tumor on one side is covered with tissue of the other side, "
            f"{in_words(covered['mirrored']['seen'])} still count as seen, instead of "
            f"{in_words(covered['whole']['seen'])}: swelling and displaced tissue stay visible, and the network may "
            "lean on more than the tumor."
        )
    return (
        paragraph(
            "In these collections, framing and brightness give away where an image comes from, and with it the answer. "
            "What a simple rule gets from them alone, as the chance to tell a tumor from a normal (AUC, half is "
            f"guessing): {known}. The network must not learn this. What it tells without a brain:"
        )
        + table(
            ["It is shown", "Tumor types told apart", "Tumor told from none (AUC)"], rows, "What shortcuts are worth"
        )
        + hidden
    )


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{percent(value)}{PERCENT}"
