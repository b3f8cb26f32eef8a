"""Shortcut probes: how much of the label can be told without looking at the brain, and does the network look there?

    python -m training.probes --weights model/weights --data ../shared/data/pool --out runs/probes.json
    python -m training.probes --weights DIR --data POOL --external ../shared/data/external --out FILE

Public data tie the class to the source, and the source shows in the image's proportions, borders and brightness. Three
questions, each answered with its interval over groups and with what chance would give:

- What is the shortcut worth? A decision tree, at most four deep, learns the label from such figures alone: of the raw
  image, and of the frame that `model.preprocess.frame` makes of it, which is all that the network sees.
- Does the network take it? It is asked about test images without a brain: the inside of the head covered with its mean
  brightness, the rim left as it is; the filled silhouette of the head; its outline. Types must then be told apart no
  better than by chance, and tumors from no tumor too.
- Does it look at the tumor? Where the tumor's box is known, the tumor is covered by a smooth continuation of its
  surroundings, or by tissue of the other half: P(tumor) should fall. Covering the same place of the other half shows
  what the cover itself does.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from sklearn.tree import DecisionTreeClassifier

from model import CLASSES, NO_TUMOR, scans
from model.classifier import TumorClassifier
from model.preprocess import FOREGROUND

from .bootstrap import mean_with_interval
from .cross_validate import tumor_types
from .data import Dataset, Frames, load_frames, read_dataset
from .losses import PARTIAL
from .markdown import NOTHING, sizes, table
from .markdown import figure as shown
from .metrics import EVEN_CHANCE, measure

KINDS = ("size", "border", "brightness")  # of figures that a tree may know, alone or all together
DEPTH = 4  # of the tree
SMALLEST_LEAF = 10  # training images
BORDER = 0.04  # of an image's shorter side: the strip along its edges that the border figures describe
DIM = 0.08  # of full brightness: darker places are outside the head
LETTER = 0.01  # of the frame: smaller bright parts are letters, a ruler, noise
GAP = 0.1  # of the frame's side: half the width of gaps in a thin scalp that are closed
RIM = 0.16  # of the head's depth at its innermost point, from the edge inwards: skin, fat and bone of most heads
OUTLINE = 2  # pixels
INK = 160  # brightness of outline and silhouette, as bright as tissue
GROWN = 1.2  # a tumor's box is covered with this much of its size, since boxes are drawn tight
ROWS = {  # of the network's table
    "whole": "whole image",
    "blanked": "inside of the head blanked",
    "silhouette": "silhouette of the head",
    "outline": "outline of the head",
}


def probe(classifier: TumorClassifier, dataset: Dataset, external: Dataset | None = None) -> dict:
    """All probes on the test split of `dataset`, and on all of `external`, images of another source, if given.

    The trees are fitted on the training split of `dataset`.

    Returns: {model, test, external (None if not given)}, the latter two each {n, n_groups,
    chance: {accuracy, balanced_accuracy, types_balanced_accuracy, auc_tumor} of always giving the same answer, the most
    frequent class in accuracy; plain numbers, None where nothing can be told,
    tree: {"raw" and "framed": {each of `KINDS` and "all": {accuracy, balanced_accuracy, auc_tumor}}},
    network: {each of `ROWS`: {n, n_groups, auc_tumor, tumors_seen, normals_seen, types: `cross_validate.tumor_types`}},
    covered: as `covered_tumors`, None where no box is known}; figures are {value, low, high}, seen is P(tumor) >= 0.5.
    Raises: DataError if a split is missing or nothing can be read.
    """
    size, margin = classifier.config["size"], classifier.config["margin"]
    training = dataset.trainable().where("train")
    frames = load_frames(training, size, margin)
    trees = {name: Trees(described, frames.labels.numpy()) for name, described in _described(training, frames).items()}
    report = {"model": classifier.version, "test": None, "external": None}
    for name, part in (("test", dataset.trainable().where("test")), ("external", external and external.trainable())):
        if part:
            frames = load_frames(part, size, margin)
            groups = np.array([record.group for record in part.records], dtype=object)
            labels = frames.labels.numpy()
            described = _described(part, frames)
            report[name] = {
                **{"n": len(labels), "n_groups": len(set(groups))},
                "chance": chance(labels),
                "tree": {kind: trees[kind].measured(described[kind], labels, groups) for kind in trees},
                "network": network_without_brain(classifier, frames, groups),
                "covered": covered_tumors(classifier, frames, groups),
            }
    return report


def chance(labels: np.ndarray) -> dict[str, float | None]:
    """What one answer for all images gives, as in `probe`; `labels` (N,) index into CLASSES, 4 for unknown types."""
    counts = np.bincount(labels[labels != PARTIAL], minlength=len(CLASSES))
    classes, types = (int((part > 0).sum()) for part in (counts, counts[:NO_TUMOR]))
    return {
        "accuracy": float(counts.max() / counts.sum()) if classes else None,
        "balanced_accuracy": 1 / classes if classes else None,
        "types_balanced_accuracy": 1 / types if types else None,
        "auc_tumor": 0.5,
    }


# ---- what borders and brightness give away


def describe(pixels: np.ndarray) -> dict[str, list[float]]:
    """A slice (height, width) of any real dtype -> figures of each of `KINDS` that tell nothing of the anatomy.

    Size: height, width, their ratio. Border: mean of each of four strips along the edges, share of dark pixels in all
    of them, and of empty rows or columns at each side. Brightness: mean, deviation, percentiles, share of dark pixels.
    """
    pixels = np.nan_to_num(np.asarray(pixels, dtype=np.float32))
    height, width = pixels.shape
    low, *middle, high = np.percentile(pixels, (1, 25, 50, 75, 99))
    dark = pixels <= FOREGROUND * high
    strip = max(1, round(BORDER * min(height, width)))
    strips = [(slice(strip), slice(None)), (slice(-strip, None), slice(None))]
    strips += [(slice(None), slice(strip)), (slice(None), slice(-strip, None))]
    rows, columns = (~dark).any(axis=1), (~dark).any(axis=0)
    empty = [line.argmax() / len(line) if line.any() else 1.0 for line in (rows, rows[::-1], columns, columns[::-1])]
    return {
        "size": [height, width, width / height],
        "border": [*(pixels[at].mean() for at in strips), np.mean([dark[at].mean() for at in strips]), *empty],
        "brightness": [pixels.mean(), pixels.std(), low, *middle, high, dark.mean()],
    }


def _described(dataset: Dataset, frames: Frames) -> dict[str, dict[str, np.ndarray]]:
    """ "raw" images as they are in their files, and "framed": {kind of figure, or "all": float64 (N, figures)}."""
    raw = [describe(scans.read(record.path).slices[0]) for record in dataset.records]
    framed = [describe(image) for image in frames.images.numpy()]
    tables = {}
    for name, images in (("raw", raw), ("framed", framed)):
        tables[name] = {kind: np.array([image[kind] for image in images], dtype=np.float64) for kind in KINDS}
        tables[name]["all"] = np.concatenate(list(tables[name].values()), axis=1)
    return tables


class Trees:
    """Two small trees for each kind of figure: one names the class, one tells tumor from none.

    Args: `described` {kind: (N, figures)}, `labels` (N,) index into CLASSES, 4 for a tumor of unknown type.
    """

    def __init__(self, described: dict[str, np.ndarray], labels: np.ndarray):
        typed = labels != PARTIAL
        self.trees = {
            kind: (_tree().fit(table[typed], labels[typed]), _tree().fit(table, labels == NO_TUMOR))
            for kind, table in described.items()
        }

    def measured(self, described: dict[str, np.ndarray], labels: np.ndarray, groups: np.ndarray) -> dict:
        """{kind: {accuracy, balanced_accuracy, auc_tumor}} on other images."""
        return {kind: self._figures(kind, described[kind], labels, groups) for kind in self.trees}

    def _figures(self, kind: str, table: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict:
        of_class, of_tumor = self.trees[kind]
        named = np.zeros((len(table), len(CLASSES)))
        named[:, of_class.classes_] = of_class.predict_proba(table)
        seen = np.zeros_like(named)
        seen[:, NO_TUMOR] = of_tumor.predict_proba(table)[:, list(of_tumor.classes_).index(True)]
        seen[:, 0] = 1 - seen[:, NO_TUMOR]  # which type is nothing that this tree speaks about
        figures = measure(named, labels, groups, threshold=EVEN_CHANCE)
        auc = measure(seen, labels, groups, threshold=EVEN_CHANCE)["auc_tumor"]
        return {name: figures[name] for name in ("accuracy", "balanced_accuracy")} | {"auc_tumor": auc}


def _tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced", random_state=0
    )


# ---- heads without a brain


def head_mask(frame: np.ndarray) -> np.ndarray:
    """Where the head is in a framed slice, uint8 (S, S) -> bool (S, S), without holes; all False if it is blank.

    All that is bright, except for long thin lines (the frames of screenshots) and small parts (letters), its gaps
    closed and filled between its outermost points in each row and column, so that a dark brain, or a head cut off at
    the neck, is inside too.
    """
    size = len(frame)
    bright = ndimage.gaussian_filter(frame.astype(np.float32), size / 100) > 255 * DIM
    long = [ndimage.binary_opening(bright, np.ones(shape)) for shape in ((1, size // 2), (size // 2, 1))]
    thick = ndimage.binary_opening(bright, np.ones((size // 16, size // 16)))
    parts, count = ndimage.label(bright & ~((long[0] | long[1]) & ~thick))
    large = np.bincount(parts.ravel(), minlength=count + 1) >= LETTER * size**2
    large[0] = False  # the background
    reach = round(GAP * size)
    near = ndimage.distance_transform_edt(~np.pad(large[parts], reach)) <= reach
    closed = (ndimage.distance_transform_edt(np.pad(near, 1))[1:-1, 1:-1] > reach)[reach:-reach, reach:-reach]
    filled = _between_ends(closed) & _between_ends(closed.T).T
    parts, count = ndimage.label(ndimage.binary_opening(filled, iterations=max(1, size // 50)))
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else parts > 0


def _between_ends(mask: np.ndarray) -> np.ndarray:
    """Each row filled from its first to its last True."""
    return np.logical_or.accumulate(mask, axis=1) & np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]


def blanked(frame: np.ndarray) -> np.ndarray:
    """A framed slice, uint8 (S, S), whose head keeps its rim, and has the inside's mean brightness everywhere else."""
    depth = _depth(frame)
    inside = depth > RIM * depth.max()
    if not inside.any():
        return frame.copy()
    share = ndimage.gaussian_filter(inside.astype(np.float32), 1.0) * inside  # a soft edge that shows nothing new
    return (frame * (1 - share) + frame[inside].mean() * share).round().astype(np.uint8)


def silhouette(frame: np.ndarray) -> np.ndarray:
    """The head of a framed slice as a shape of one brightness on black: uint8 (S, S)."""
    return np.where(head_mask(frame), np.uint8(INK), np.uint8(0))


def outline(frame: np.ndarray) -> np.ndarray:
    """The edge of the head of a framed slice as a line on black: uint8 (S, S)."""
    depth = _depth(frame)
    return np.where((depth > 0) & (depth <= OUTLINE), np.uint8(INK), np.uint8(0))


def _depth(frame: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the edge of the head, 0 outside, in pixels; the frame's edge is one, too."""
    return ndimage.distance_transform_edt(np.pad(head_mask(frame), 1))[1:-1, 1:-1]


def network_without_brain(classifier: TumorClassifier, frames: Frames, groups: np.ndarray) -> dict:
    """{each of `ROWS`: {n, n_groups, auc_tumor, tumors_seen, normals_seen, types}}, as `probe` describes it."""
    changes = {"whole": np.copy, "blanked": blanked, "silhouette": silhouette, "outline": outline}
    labels = frames.labels.numpy()
    tumor = labels != NO_TUMOR
    report = {}
    for name, change in changes.items():
        probabilities = _probabilities(classifier, [change(image) for image in frames.images.numpy()])
        seen = 1 - probabilities[:, NO_TUMOR] >= EVEN_CHANCE
        report[name] = {
            **{"n": len(labels), "n_groups": len(set(groups))},
            "auc_tumor": measure(probabilities, labels, groups, threshold=EVEN_CHANCE)["auc_tumor"],
            "tumors_seen": mean_with_interval(seen[tumor], groups[tumor]),
            "normals_seen": mean_with_interval(seen[~tumor], groups[~tumor]),
            "types": tumor_types(probabilities, labels, groups),
        }
    return report


# ---- heads without their tumor


def covered(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """A framed slice, uint8 (S, S), with a smooth continuation of what surrounds the box in the box.

    `box`: left, top, right, bottom as fractions of the frame; what is covered is `GROWN` times as wide and high.
    """
    left, top, right, bottom = _grown(box, len(frame))
    image = frame.astype(np.float32)
    here, there = slice(top, bottom), slice(left, right)
    sides = (image[here, left - 1], image[here, right], image[top - 1, there], image[bottom, there])
    west, east, north, south = (ndimage.gaussian_filter1d(side, 2, mode="nearest") for side in sides)
    x, y = (np.arange(1, n + 1) / (n + 1) for n in (right - left, bottom - top))
    across = west[:, None] * (1 - x) + east[:, None] * x
    down = north * (1 - y)[:, None] + south * y[:, None]
    trust_across, trust_down = 1 / np.minimum(x, 1 - x), 1 / np.minimum(y, 1 - y)[:, None]
    image[here, there] = (across * trust_across + down * trust_down) / (trust_across + trust_down)
    return image.round().astype(np.uint8)


def mirrored(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """As `covered`, with what lies at the same place of the frame's other half, its edges blended."""
    left, top, right, bottom = _grown(box, len(frame))
    share = np.zeros(frame.shape, dtype=np.float32)
    share[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = 1
    share = ndimage.gaussian_filter(share, 1.0)
    return (frame * (1 - share) + frame[:, ::-1] * share).round().astype(np.uint8)


def _grown(box: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the box times `GROWN`, at least one pixel away from the frame's edges."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * GROWN
    left, top = np.floor((middle - half) * size).astype(int).clip(1, size - 3)
    right, bottom = np.maximum(np.ceil((middle + half) * size).astype(int).clip(2, size - 1), (left + 1, top + 1))
    return left, top, right, bottom


def covered_tumors(classifier: TumorClassifier, frames: Frames, groups: np.ndarray) -> dict | None:
    """What becomes of P(tumor) when the tumor is covered; None where no box is known.

    "one_side" are the tumors whose box leaves the frame's middle line free: these are also covered with tissue of the
    other half ("mirrored"), and, to see what a cover does by itself, the other half's same place is covered smoothly
    ("other_side"), which leaves the tumor to be seen.

    Returns: {"all": {"whole", "covered"}, "one_side": {"whole", "covered", "mirrored", "other_side"} or None}, each of
    these {"mean": of P(tumor), "seen": share of P(tumor) >= 0.5}, each {n, n_groups, value, low, high}.
    """
    boxes = frames.boxes.numpy()
    known = np.isfinite(boxes).all(1) & (frames.labels.numpy() != NO_TUMOR)
    if not known.any():
        return None
    images, boxes, groups = frames.images.numpy()[known], boxes[known], groups[known]
    reach = (boxes[:, 2] - boxes[:, 0]) / 2 * GROWN
    one_side = np.abs((boxes[:, 0] + boxes[:, 2]) / 2 - 0.5) > reach
    opposite = np.stack((1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]), axis=1)

    def asked(change: Callable, places: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """P(tumor) of the chosen images, changed at their places."""
        changed = [change(image, box) for image, box in zip(images[chosen], places[chosen], strict=True)]
        return 1 - _probabilities(classifier, changed)[:, NO_TUMOR]

    def told(p_tumor: np.ndarray, chosen: np.ndarray) -> dict:
        values = {"mean": p_tumor, "seen": p_tumor >= EVEN_CHANCE}
        return {name: mean_with_interval(value, groups[chosen]) for name, value in values.items()}

    every = np.ones(len(images), dtype=bool)
    whole, hidden = asked(lambda image, _: image, boxes, every), asked(covered, boxes, every)
    report = {"all": {"whole": told(whole, every), "covered": told(hidden, every)}, "one_side": None}
    if one_side.any():
        report["one_side"] = {
            "whole": told(whole[one_side], one_side),
            "covered": told(hidden[one_side], one_side),
            "mirrored": told(asked(mirrored, boxes, one_side), one_side),
            "other_side": told(asked(covered, opposite, one_side), one_side),
        }
    return report


def _probabilities(classifier: TumorClassifier, images: list[np.ndarray]) -> np.ndarray:
    return classifier.calibrate(classifier.outputs(torch.from_numpy(np.stack(images))).logits)


# ---- as text


def markdown(result: dict) -> str:
    """The report as Markdown: for each set of images a table of the trees, one of the network, and what is covered."""
    names = {"test": "Pool test split", "external": "External images"}
    return "\n\n".join(f"**{names[name]}**\n\n{_part_markdown(result[name])}" for name in names if result.get(name))


def _part_markdown(part: dict) -> str:
    head = ["a tree that knows only", "balanced accuracy", "accuracy", "AUC, tumor against none"]
    kinds = {"size": "width, height, aspect", "border": "borders", "brightness": "brightness", "all": "all of these"}
    looks = {"raw": "of the image as it is", "framed": "of the frame that the network sees"}
    rows = [
        [
            f"{kinds[kind]} {looks[look]}",
            *(shown(figures[name]) for name in ("balanced_accuracy", "accuracy", "auc_tumor")),
        ]
        for look, by_kind in part["tree"].items()
        for kind, figures in by_kind.items()
    ]
    chances = {name: NOTHING if value is None else f"{value:.3f}" for name, value in part["chance"].items()}
    rows.append(["one answer for all", *(chances[name] for name in ("balanced_accuracy", "accuracy", "auc_tumor"))])
    trees = (
        f"What the label's shortcut is worth, {sizes(part)} images (groups): a decision tree of depth {DEPTH}, fitted "
        f"on the pool's training split.\n\n{table(head, rows)}"
    )
    head = ["the network is shown", "types told apart: balanced accuracy", "given to the right type"]
    head += ["AUC, tumor against none", "tumors called tumor", "normals called tumor"]
    rows = []
    for name, row in part["network"].items():
        types = row["types"] or {}
        told = (types.get("balanced_accuracy"), types.get("probability"))
        rows.append([ROWS[name], *map(shown, (*told, row["auc_tumor"], row["tumors_seen"], row["normals_seen"]))])
    by_type = chances["types_balanced_accuracy"]
    rows.append(["one answer for all", by_type, by_type, chances["auc_tumor"], "", ""])
    network = (
        "What the network tells without a brain: types among tumors of known type, by the most probable type and by "
        f"the probability that the right one gets, called tumor at P(tumor) of 0.5.\n\n{table(head, rows)}"
    )
    return f"{trees}\n\n{network}" + (f"\n\n{_covered_markdown(part['covered'])}" if part["covered"] else "")


def _covered_markdown(report: dict) -> str:
    titles = {
        "whole": "nothing",
        "covered": "the tumor, by a smooth continuation of its surroundings",
        "mirrored": "the tumor, by tissue of the other half",
        "other_side": "the same place of the other half, smoothly",
    }
    kinds = {"all": "all", "one_side": "on one side"}
    rows = [
        [kinds[kind], titles[name], sizes(row["mean"]), shown(row["mean"]), shown(row["seen"])]
        for kind, part in report.items()
        if part
        for name, row in part.items()
    ]
    head = ["tumors with a known box", "covered is", "images (groups)", "mean P(tumor)", "called tumor"]
    return (
        f"What the network tells when the tumor is covered.\n\n{table(head, rows)}\n\nA cover leaves swelling and "
        "displaced tissue to be seen, and a smooth one may itself look like a mass. Where lesions are moved between "
        "heads in training, the network has been taught that tissue of the other half heals."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.probes", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder with model.safetensors and config.json")
    parser.add_argument("--data", type=Path, required=True, help="data set with a training and a test split")
    parser.add_argument("--external", type=Path, help="images of another source, all of them measured")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, JSON")
    options = parser.parse_args(arguments)
    try:
        classifier = TumorClassifier.from_folder(options.weights)
        external = read_dataset(options.external) if options.external else None
        result = probe(classifier, read_dataset(options.data), external)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
