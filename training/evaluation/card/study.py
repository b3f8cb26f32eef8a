"""How the slices of a volume become a verdict, and how well that does."""

from ..markdown import NOT_MEASURED, figure, table
from ..studies import ALIKE_MM, HEAD_MM, LENGTHS_MM, NOISE, SLICES

ROWS = {  # figure of metrics.json's "study" -> what it is
    "sensitivity": "studies with a tumor: seen",
    **{f"sensitivity_{mm}": f"– tumor {mm} mm long" for mm in LENGTHS_MM},
    **{f"sensitivity_of_{n}": f"– {n} slices" for n in SLICES},
    "specificity": "studies without one: left alone",
    **{f"specificity_of_{n}": f"– {n} slices" for n in SLICES},
    "auc": "tumor against none: AUC",
    "named_right": "tumor of known type: seen, and its type named right",
    "ece": "calibration error of P(tumor)",
    "any_slice_sensitivity": "if one slice at the slices' operating point were enough: seen",
    "any_slice_specificity": "– left alone",
}


def rule(config: dict) -> str:
    """The rule in words, with its numbers."""
    study = config.get("study", {})
    if study.get("sensitivity") is None:
        return f"From slices to a verdict of a volume: {NOT_MEASURED}."
    return (
        "A volume's slices are answered one by one; refused ones take no part. The others' log-odds of a tumor, x, are "
        f"pooled into one score s = log(mean(exp({study['sharpness']:g} x))) / {study['sharpness']:g}, as the network "
        "pools the positions of a slice, and P(tumor) of the volume is "
        f"1 / (1 + exp(-({study['slope']:.3f} s {study['intercept']:+.3f}))). A tumor is seen from "
        f"{study['threshold']:.3f} on, where F2 is highest (validation: sensitivity {study['sensitivity']:.3f}, "
        f"specificity {study['specificity']:.3f}, {study['tumor_groups']} groups with a tumor and "
        f"{study['no_tumor_groups']} without). Its type is the mean of what the slices say, each with its share of the "
        "score."
    )


def figures(metrics: dict) -> str:
    """The figures on volumes put together from the test split, and what they are worth."""
    report = metrics.get("study")
    if not report:
        return f"Verdicts on volumes: {NOT_MEASURED}."
    rows = [[what, figure(report[key])] for key, what in ROWS.items()]
    return (
        table(["synthetic volumes, pool test", "all lengths and numbers of slices alike"], rows)
        + f"\n\n**No labeled volume was at hand: these are put together from slices** of {report['tumor_groups']} "
        f"groups with a tumor and {report['no_tumor_groups']} without, half of the volumes with a tumor. A head of "
        f"{HEAD_MM} mm is filled with tumor-free groups side by side, each image standing for {ALIKE_MM} mm of "
        f"look-alikes (with noise of {NOISE} in log-odds); images of one tumor group replace neighbors among them. "
        "Intervals are over groups, drawn anew for each resample. What these volumes miss: neck, skull base and top of "
        "the head, which real volumes hold and few training images show; that all slices of a real one are of one "
        "person, so that false alarms come together; slices at the edge of a tumor, which hardly show it. Tumors and "
        "tumor-free slices are of different sources. Read the figures as a check of the rule, not as what a hospital "
        "would see."
    )
