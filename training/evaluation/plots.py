"""Measurements -> PNG files in one quiet style: large type, colors that all can tell apart, under 100 kB a plot."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter
from PIL import Image
from sklearn.metrics import auc, roc_curve

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from ..checkpoint import score as score_of
from .metrics import ECE_BINS, PARTIAL, confidence_gap

INK, FAINT, PALE = "#1f2933", "#6b7785", "#9cc3dd"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#6b7785")  # of CLASSES; blue, vermilion, green after Okabe and Ito (2008)
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), "-")  # so that the classes can be told apart without color, too
MAIN, SECOND, THIRD = COLORS[:3]
DOTS_PER_INCH = 120
PERCENT = PercentFormatter(1, decimals=0)
COLUMNS = 6  # of the sheet of answers
STYLE = {"font.size": 13, "axes.titlesize": 14, "axes.titleweight": "bold", "axes.titlelocation": "left"}
STYLE |= {"axes.edgecolor": FAINT, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"axes.axisbelow": True, "axes.grid": True, "grid.color": "#e4e7eb", "grid.linewidth": 0.9}
STYLE |= {"legend.frameon": False, "legend.fontsize": 12, "lines.linewidth": 2.4, "axes.labelcolor": INK}
STYLE |= {
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@contextmanager
def _figure(file: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure in our style, written to `file` at the end; needs no display and no global state."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        yield figure
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=DOTS_PER_INCH)
    colors = Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE)  # median cut mixes rare ones up
    colors.save(file, "PNG", optimize=True)  # a palette: a third of the bytes


def _title(axes, title: str, subtitle: str = "") -> None:
    """A heading, and below it in faint type what was measured."""
    lines = textwrap.wrap(subtitle, 62)
    axes.set_title(title, pad=12 + 15 * len(lines))
    place = {"xycoords": "axes fraction", "xytext": (0, 7), "textcoords": "offset points", "va": "bottom"}
    axes.annotate("\n".join(lines), (0, 1), color=FAINT, fontsize=11, **place)


def plot_history(epochs: Sequence[dict], file: Path) -> None:
    """Loss, and accuracy with macro-F1, against epochs; the epoch whose weights were kept is marked.

    `epochs`: one dictionary for each, with `epoch`, `train_loss`, `val_loss`, `val_accuracy`, `val_macro_f1`.
    """
    number, best = [line["epoch"] for line in epochs], max(epochs, key=score_of)
    dashed, solid = {"linestyle": (0, (4, 1.5))}, {"color": MAIN}
    with _figure(file, 9.5, 4.2) as figure:
        loss, score = figure.subplots(1, 2)
        for axes, key, label, line in (
            (loss, "train_loss", "training", dashed | {"color": SECOND}),
            (loss, "val_loss", "validation", solid),
            (score, "val_accuracy", "accuracy", dashed | {"color": THIRD}),
            (score, "val_macro_f1", "macro-F1", solid),
        ):
            axes.plot(number, [epoch[key] for epoch in epochs], label=label, **line)
        score.plot(best["epoch"], best["val_macro_f1"], "o", color=MAIN, markersize=9, markeredgecolor="white")
        kept = f"macro-F1 {best['val_macro_f1']:.3f} after epoch {best['epoch']}, which was kept"
        _title(loss, "Loss")
        _title(score, "Validation score", kept)
        loss.set_ylim(bottom=0)
        score.set_ylim(top=1)
        score.yaxis.set_major_formatter(PERCENT)
        for axes, corner in ((loss, "best"), (score, "lower right")):
            axes.legend(loc=corner)
            axes.set(xlabel="epoch", xlim=(0, max(number) + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def plot_confusion(counts: np.ndarray, file: Path, subtitle: str = "") -> None:
    """True class against answer: image counts, and the share of each true class as shade and percent; (4, 4)."""
    counts = np.asarray(counts)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = ["no tumor" if name == CLASSES[NO_TUMOR] else name for name in CLASSES]
    with _figure(file, 6.2, 5.6) as figure:
        axes = figure.subplots()
        _title(axes, "True class and answer", subtitle)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
        for row, column in np.ndindex(counts.shape):
            color = "white" if shares[row, column] > 0.55 else INK if counts[row, column] else "#a9b3be"
            style = {"ha": "center", "va": "center", "color": color}
            axes.text(column, row - 0.09, f"{counts[row, column]:,}", fontsize=17, **style)
            if counts[row].any():
                axes.text(column, row + 0.22, f"{shares[row, column]:.1%}", fontsize=12, **style)
        axes.set(xlabel="most probable class", ylabel="true class")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(len(names)), names)
            axis.set_ticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axes.grid(False)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(length=0, which="both")
        axes.spines[:].set_visible(False)


def plot_roc(probabilities: np.ndarray, labels: np.ndarray, file: Path, report: dict, subtitle: str = "") -> None:
    """ROC curves: a tumor of any kind against none (with its operating point), and each class against the rest.

    `probabilities` (N, 4), `labels` (N,) as for `metrics.measure`, whose dictionary is `report`. Curves without both
    kinds of images are left out.
    """
    full, tumor = labels != PARTIAL, labels != NO_TUMOR
    curves = []  # scores, truth, and how to draw it
    for k, name in enumerate(CLASSES[:NO_TUMOR]):
        line = {"color": COLORS[k], "linewidth": 1.8, "linestyle": DASHES[k]}
        curves.append((probabilities[full, k], labels[full] == k, f"{DISPLAY_NAMES[name]} against the rest", line))
    line = {"color": INK, "linewidth": 2.8}
    curves.append((-probabilities[:, NO_TUMOR], tumor, "any tumor against none", line))
    with _figure(file, 6.2, 6.0) as figure:
        axes = figure.subplots()
        corner = axes.inset_axes((0.34, 0.44, 0.62, 0.46), xlim=(-0.004, 0.2), ylim=(0.8, 1.004))
        corner.set_visible((report["auc_tumor"]["value"] or 0) > 0.95)  # else the curves need the room
        _title(axes, "How well tumors are recognized", subtitle)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        for scores, truth, name, line in curves:
            if 0 < truth.sum() < len(truth):
                false_alarms, found, _ = roc_curve(truth, scores)
                axes.plot(false_alarms, found, label=f"{name}  {auc(false_alarms, found):.3f}", **line)
                corner.plot(false_alarms, found, **line)
        if 0 < tumor.sum() < len(tumor):
            at = 1 - report["specificity_tumor"]["value"], report["sensitivity_tumor"]["value"]
            ring = {"color": "white", "markeredgecolor": INK, "markeredgewidth": 2.4, "markersize": 10, "zorder": 5}
            axes.plot(*at, "o", label=f"here: P(tumor) ≥ {report['threshold']:.2f}", clip_on=False, **ring)
            corner.plot(*at, "o", **ring)
        axes.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
        axes.set(xlabel="false positive rate (1 - specificity)", ylabel="true positive rate (sensitivity)")
        for axis, step in ((axes.xaxis, 0.25), (axes.yaxis, 0.25), (corner.xaxis, 0.05), (corner.yaxis, 0.05)):
            axis.set_major_locator(MultipleLocator(step))
            axis.set_major_formatter(PERCENT)
        corner.tick_params(labelsize=10)
        corner.set_title("the corner, enlarged", fontsize=11, fontweight="normal", color=FAINT, pad=4)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", title="area under the curve", alignment="left", fontsize=11)


def plot_reliability(
    probabilities: np.ndarray, labels: np.ndarray, file: Path, report: dict, subtitle: str = ""
) -> None:
    """How often the answer is right against how sure it was, in the bins of the calibration error, and their counts."""
    full = labels != PARTIAL
    probabilities, truth = probabilities[full], labels[full]
    gap, bin_of = confidence_gap(probabilities, truth)
    counts = np.bincount(bin_of, minlength=ECE_BINS)
    filled = counts > 0
    confidence, gap = (
        np.bincount(bin_of, values, ECE_BINS)[filled] / counts[filled] for values in (probabilities.max(1), gap)
    )
    right = confidence + gap
    error = np.sqrt((right * (1 - right)).clip(0) / counts[filled])  # one standard deviation, images independent
    with _figure(file, 6.2, 6.4) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
        _title(upper, "Is 80% sure right 80% of the time?", subtitle)
        upper.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":", label="perfectly calibrated")
        line = {"color": MAIN, "ecolor": PALE, "fmt": "o-", "markersize": 7, "label": "this model"}
        upper.errorbar(confidence, right, error, **line)
        upper.set(xlim=(0.2, 1.01), ylim=(0, 1.03), ylabel="right")
        upper.yaxis.set_major_formatter(PERCENT)
        ece = report["ece"]
        title = f"calibration error {ece['value']:.3f}\n({ece['low']:.3f} to {ece['high']:.3f})"
        upper.legend(loc="lower right", title=title, alignment="left")
        lower.bar(np.arange(ECE_BINS) / ECE_BINS, counts, 1 / ECE_BINS, align="edge", color=PALE, edgecolor="white")
        lower.set(xlabel="probability of the most probable class", ylabel="images")
        lower.xaxis.set_major_formatter(PERCENT)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))


def plot_predictions(frames: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, file: Path) -> None:
    """A sheet of answers: right ones, the surest wrong ones, the least sure. It shows patients: never commit it.

    `frames` uint8 (N, S, S); `probabilities` (N, 4); `labels` (N,) index into CLASSES, or 4: right if a tumor is named.
    """
    answers, confidence = probabilities.argmax(1), probabilities.max(1)
    right = np.where(labels == PARTIAL, answers != NO_TUMOR, answers == labels)
    surest = np.argsort(-confidence, kind="stable")
    wrong = surest[~right[surest]]
    of_label = [surest[right[surest] & (labels[surest] == label)] for label in range(PARTIAL + 1)]
    in_turns = [part[turn : turn + 1] for turn in range(COLUMNS) for part in of_label]
    rows = [
        ("right", np.concatenate(in_turns)[:COLUMNS]),
        ("wrong, the surest", wrong[:COLUMNS]),
        ("wrong, the next", wrong[COLUMNS : 2 * COLUMNS]),
        ("least sure", surest[::-1][:COLUMNS]),
    ]
    rows = [(heading, chosen) for heading, chosen in rows if len(chosen)]
    names = [*(DISPLAY_NAMES[name] for name in CLASSES), "tumor"]
    with _figure(file, 10.5, 2.35 * len(rows)) as figure:
        grid = figure.subplots(len(rows), COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for line, (heading, chosen) in zip(grid, rows, strict=True):
            line[0].text(-0.08, 0.5, heading, transform=line[0].transAxes, rotation=90, ha="right", va="center")
            for axes, k in zip(line, chosen, strict=False):
                axes.imshow(frames[k][::2, ::2], cmap="gray", vmin=0, vmax=255)
                title = f"{names[answers[k]]} {confidence[k]:.0%}" + ("" if right[k] else f"\nis {names[labels[k]]}")
                style = {"fontsize": 11, "fontweight": "normal", "pad": 4, "loc": "center"}
                axes.set_title(title, color=INK if right[k] else SECOND, **style)
