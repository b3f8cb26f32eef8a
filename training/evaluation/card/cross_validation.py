"""Cross-validation, as `training.evaluation.cross_validate` reports it: folds, and whole sources left out."""

import numpy as np

from model import CLASSES, DISPLAY_NAMES

from ..markdown import figure, sizes, table

PUBLISHED = {"DenseNet121": 0.946, "ResNet50": 0.939, "EfficientNet-B0": 0.925}  # balanced accuracy


def markdown(result: dict) -> str:
    """A report of this command as Markdown: a paragraph, tables, and what to note."""
    of_kind = {"folds": _folds_markdown, "leave_source_out": _left_out_markdown}
    return of_kind[result["kind"]](result)


def _recipe(result: dict) -> str:
    settings = result["settings"]
    return f"{settings['epochs']} epochs at {settings['size']} pixels, seed {settings['seed']}"


def _mean(values: list[float | None]) -> str:
    """Mean and standard deviation over the folds, or a dash."""
    defined = [value for value in values if value is not None]
    return f"{np.mean(defined):.3f} ± {np.std(defined, ddof=min(1, len(defined) - 1)):.3f}" if defined else "–"


def _folds_markdown(result: dict) -> str:
    pooled, types, folds = result["pooled"], result["types"], result["by_fold"]
    data = f"images of {', '.join(result['sources'])}" if result["sources"] else "images"
    rows = []
    if pooled["auc_tumor"]["value"] is not None:  # else there are no images without a tumor, or nothing else
        for name, title in (("macro_f1", "macro-F1, four classes"), ("balanced_accuracy", "balanced accuracy")):
            rows.append([title, figure(pooled[name]), _mean([fold[name] for fold in folds])])
        rows += [[f"found among all: {DISPLAY_NAMES[name]}", figure(pooled["recall"][name]), ""] for name in CLASSES]
        rows.append(
            ["AUC, tumor against none", figure(pooled["auc_tumor"]), _mean([fold["auc_tumor"] for fold in folds])]
        )
    if types:
        by_fold = _mean([fold["types_balanced_accuracy"] for fold in folds])
        rows.append(["balanced accuracy among tumor types", figure(types["balanced_accuracy"]), by_fold])
        rows += [
            [f"{DISPLAY_NAMES[name]} told from the other types", figure(types["recall"][name]), ""]
            for name in types["recall"]
        ]
    head = ["figure", "all folds pooled (95 % interval)", "mean ± deviation over folds"]
    text = (
        f"{result['folds']} folds by group, {sizes(pooled)} {data} (groups), each answered by a float32 network that "
        f"had not seen its group or a look-alike: {_recipe(result)}. Not calibrated.\n\n{table(head, rows)}"
    )
    if result["sources"] == ["figshare"]:
        others = ", ".join(f"{name} {value:.3f}" for name, value in PUBLISHED.items())
        text += (
            f"\n\nPublished balanced accuracies on these images, five folds by patient, ImageNet start: {others}. "
            "Their folds are not ours."
        )
    return text


def _left_out_markdown(result: dict) -> str:
    head = [
        "left out",
        "tumors (groups)",
        "seen at 95 % specificity",
        "AUC against normals",
        "normals (groups)",
        "threshold",
    ]
    rows, notes = [], []
    for run in result["runs"]:
        together = {" + ".join(run["left_out"]): run["tumors"]} if run["tumors"] else {}
        parts = together if len(run["by_source"]) < 2 else together | {f"– {k}": v for k, v in run["by_source"].items()}
        for name, part in parts.items():
            figures = [figure(part["sensitivity"]), figure(part["auc_tumor"])]
            rows.append([name, sizes(part), *figures, sizes(run["normals"]), f"{run['threshold']:.3f}"])
        name = " + ".join(run["left_out"])
        if run["classes"]:
            classes = run["classes"]
            recall = ", ".join(
                f"{DISPLAY_NAMES[k]} {figure(v)}" for k, v in classes["recall"].items() if v["value"] is not None
            )
            notes.append(
                f"- {name}, {sizes(classes)} images (groups) of known class: macro-F1 {figure(classes['macro_f1'])}, "
                f"balanced accuracy {figure(classes['balanced_accuracy'])}; named right: {recall}."
            )
        if run["own_normals"]:
            own, whose = run["own_normals"], "its" if run["tumors"] else "other"
            notes.append(
                f"- {name}, own images without a tumor, {sizes(own)}: {figure(own['specificity'])} left alone at that "
                f"threshold; AUC of {whose} tumors against them {figure(own['auc_tumor'])}."
            )
        if run.get("auc"):
            known = {k: v["auc"] for k, v in run["by_sequence"].items() if v["auc"]["value"] is not None}
            parts = ", ".join(f"{sequence} {figure(auc)}" for sequence, auc in known.items())
            by_sequence = f"; by sequence, of its own images: {parts}" if parts else ""
            notes.append(f"- {name}: AUC of tumors against tumor-free images {figure(run['auc'])}{by_sequence}.")
        if "br35hyes" in run["left_out"] and "br35hno" not in run["left_out"]:
            notes.append(
                "- br35hno, the tumor-free half of the same collection as br35hyes, stays in training: it teaches that "
                "this collection's look means no tumor, which makes its other half harder."
            )
    return (
        "Sources left out of training and validation whole, with every image of the same person and every look-alike: "
        f"{_recipe(result)}, float32, not calibrated. Normals are the tumor-free test images of the other sources; the "
        f"threshold on P(tumor) leaves at least 95 % of these same normals alone.\n\n{table(head, rows)}"
        + ("\n\n" + "\n".join(notes) if notes else "")
        + (f"\n\nMean AUC over what was left out: {result['score']:.3f}." if "score" in result else "")
    )
