"""Shortcut probes: how much of the label shows without looking at the brain, and does the network look there?

    python -m training.evaluation.probes --weights model/weights --data ../shared/data/pool --out runs/probes.json
    python -m training.evaluation.probes --weights DIR --data POOL --external ../shared/data/external --out FILE

Public data tie the class to the source, and the source shows in the image's proportions, borders and brightness:

- What is the shortcut worth? A decision tree, at most four deep, learns tumor or none from such figures alone: of the
  raw image, and of the frame that `model.preprocess.frame` makes of it, which is all that the network sees.
- Does the network take it? It is asked about test images without a brain: the inside of the head covered with its mean
  brightness; the filled silhouette of the head; its outline. Its answers should then be no better than chance.
- Does it look at the tumor? Where the tumor's box is known, the tumor is covered by a smooth continuation of its
  surroundings, or by tissue of the other half: P(tumor) should fall. Covering the same place of the other half shows
  what the cover itself does.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier

from model import CLASSES, NO_TUMOR, scans
from model.classifier import TumorClassifier
from model.preprocess import FOREGROUND

from ..augmentation.stripping import GROWN, blanked, covered, mirrored, outline, silhouette
from ..data.frames import Dataset, Frames, load_frames, read_dataset
from .metrics import EVEN_CHANCE, mean_with_interval, sizes, tumor_auc, tumor_types, write_report

KINDS = ("size", "border", "brightness")  # of figures that a tree may know, alone or all together
DEPTH = 4  # of the trees
SMALLEST_LEAF = 10  # training images
BORDER = 0.04  # of an image's shorter side: the strip along its edges that the border figures describe
CHANGES = {"whole": np.copy, "blanked": blanked, "silhouette": silhouette, "outline": outline}  # what is shown


def probe(classifier: TumorClassifier, dataset: Dataset, external: Dataset | None = None) -> dict:
    """All probes on the test split of `dataset`, and on all of `external`, images of another source, if given.

    The trees are fitted on the training split of `dataset`.

    Returns: {model, test, external (None if not given)}, the latter two each {n, n_groups,
    chance: {types_balanced_accuracy, auc_tumor} of always giving the same answer, None where undefined,
    tree: {"raw" and "framed": {each of `KINDS` and "all": {auc_tumor}}},
    network: {each of `CHANGES`: {n, n_groups, auc_tumor, tumors_seen, types: as `tumor_types`}},
    covered: as `covered_tumors`, None where no box is known}; figures are {value, low, high}, seen is P(tumor) >= 0.5.
    Raises: DataError if a split is missing or nothing can be read.
    """
    size, margin = classifier.config["size"], classifier.config["margin"]
    training, test = (dataset.trainable().where(split) for split in ("train", "test"))
    frames = load_frames(training, size, margin)
    trees = fit_trees(_described(training, frames), frames.labels.numpy() == NO_TUMOR)
    report = {"model": classifier.version, "test": None, "external": None}
    for name, part in (("test", test), ("external", external and external.trainable())):
        if part:
            frames = load_frames(part, size, margin)
            groups = np.array([record.group for record in part.records], dtype=object)
            labels, described = frames.labels.numpy(), _described(part, frames)
            report[name] = sizes(groups) | {
                "chance": chance(labels),
                "tree": tree_figures(trees, described, labels, groups),
                "network": network_without_brain(classifier, frames, groups),
                "covered": covered_tumors(classifier, frames, groups),
            }
    return report


def chance(labels: np.ndarray) -> dict[str, float | None]:
    """What one answer for all images gives, as in `probe`; `labels` (N,) index into CLASSES, 4 for unknown types."""
    types = len(np.unique(labels[labels < NO_TUMOR]))
    return {"types_balanced_accuracy": 1 / types if types else None, "auc_tumor": 0.5}


# ---- trees


def describe(pixels: np.ndarray) -> dict[str, list[float]]:
    """A slice (height, width) of any real dtype -> figures of each of `KINDS` that hold nothing of the anatomy.

    Size: height, width, their ratio. Border: mean of each of four strips along the edges, share of dark pixels in all
    of them, and of empty rows or columns at each side. Brightness: mean, deviation, percentiles, share of dark pixels.
    """
    pixels = np.nan_to_num(np.asarray(pixels, dtype=np.float32))
    height, width = pixels.shape
    percentiles = np.percentile(pixels, (1, 25, 50, 75, 99))
    dark = pixels <= FOREGROUND * percentiles[-1]
    strip = max(1, round(BORDER * min(height, width)))
    strips = [(slice(strip), slice(None)), (slice(-strip, None), slice(None))]
    strips += [(slice(None), slice(strip)), (slice(None), slice(-strip, None))]
    rows, columns = (~dark).any(axis=1), (~dark).any(axis=0)
    empty = [line.argmax() / len(line) if line.any() else 1.0 for line in (rows, rows[::-1], columns, columns[::-1])]
    return {
        "size": [height, width, width / height],
        "border": [*(pixels[at].mean() for at in strips), np.mean([dark[at].mean() for at in strips]), *empty],
        "brightness": [pixels.mean(), pixels.std(), *percentiles, dark.mean()],
    }


def _described(dataset: Dataset, frames: Frames) -> dict[str, dict[str, np.ndarray]]:
    """ "raw" images as they are in their files, and "framed": {kind of figure, or "all": float64 (N, figures)}."""
    images = {"raw": (scans.read(record.path).slices[0] for record in dataset.records), "framed": frames.images.numpy()}
    tables = {}
    for name, pixels in images.items():
        described = [describe(image) for image in pixels]
        tables[name] = {kind: np.array([image[kind] for image in described], dtype=np.float64) for kind in KINDS}
        tables[name]["all"] = np.concatenate(list(tables[name].values()), axis=1)
    return tables


def fit_trees(described: dict[str, dict[str, np.ndarray]], normal: np.ndarray) -> dict[str, dict]:
    """A small tree for tumor against none of each table (N, figures) in `_described`; `normal` bool (N,)."""
    rules = {"max_depth": DEPTH, "min_samples_leaf": SMALLEST_LEAF, "class_weight": "balanced", "random_state": 0}
    return {
        image: {kind: DecisionTreeClassifier(**rules).fit(table, normal) for kind, table in tables.items()}
        for image, tables in described.items()
    }


def tree_figures(trees: dict, described: dict, labels: np.ndarray, groups: np.ndarray) -> dict:
    """{"raw" and "framed": {kind: {auc_tumor}}} of `fit_trees` on other images, `_described` alike."""

    def auc(tree: DecisionTreeClassifier, table: np.ndarray) -> dict:
        answers = np.zeros((len(labels), len(CLASSES)))
        answers[:, NO_TUMOR] = tree.predict_proba(table)[:, list(tree.classes_).index(True)]
        return tumor_auc(answers, labels, groups)

    return {
        image: {kind: {"auc_tumor": auc(tree, described[image][kind])} for kind, tree in of_image.items()}
        for image, of_image in trees.items()
    }


# ---- the network


def network_without_brain(classifier: TumorClassifier, frames: Frames, groups: np.ndarray) -> dict:
    """{each of `CHANGES`: {n, n_groups, auc_tumor, tumors_seen, types}}, as `probe` describes it."""
    labels, report = frames.labels.numpy(), {}
    tumor = labels != NO_TUMOR
    for name, change in CHANGES.items():
        probabilities = _probabilities(classifier, [change(image) for image in frames.images.numpy()])
        detected = 1 - probabilities[:, NO_TUMOR] >= EVEN_CHANCE
        report[name] = sizes(groups) | {
            "auc_tumor": tumor_auc(probabilities, labels, groups),
            "tumors_seen": mean_with_interval(detected[tumor], groups[tumor]),
            "types": tumor_types(probabilities, labels, groups),
        }
    return report


def covered_tumors(classifier: TumorClassifier, frames: Frames, groups: np.ndarray) -> dict | None:
    """What becomes of P(tumor) when the tumor is covered; None where no box is known.

    "one_side" are the tumors whose box leaves the frame's middle line free: these are also covered with tissue of the
    other half ("mirrored"), and, to see what a cover does by itself, the same place of the other half ("other_side").

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

    def figures(change: Callable, places: np.ndarray, chosen: np.ndarray) -> dict:
        """Of the chosen images, changed at their places."""
        changed = [change(image, box) for image, box in zip(images[chosen], places[chosen], strict=True)]
        p_tumor = 1 - _probabilities(classifier, changed)[:, NO_TUMOR]
        values = {"mean": p_tumor, "seen": p_tumor >= EVEN_CHANCE}
        return {name: mean_with_interval(value, groups[chosen]) for name, value in values.items()}

    both = {"whole": (lambda image, _: image, boxes), "covered": (covered, boxes)}
    more = both | {"mirrored": (mirrored, boxes), "other_side": (covered, opposite)}
    every = np.ones(len(images), dtype=bool)
    return {
        "all": {name: figures(*changed, every) for name, changed in both.items()},
        "one_side": {name: figures(*changed, one_side) for name, changed in more.items()} if one_side.any() else None,
    }


def _probabilities(classifier: TumorClassifier, images: list[np.ndarray]) -> np.ndarray:
    return classifier.calibrate(classifier.outputs(torch.from_numpy(np.stack(images))).logits)


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where something named cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.probes", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, help="weights folder")
    parser.add_argument("--data", type=Path, required=True, help="data set with a training and a test split")
    parser.add_argument("--external", type=Path, help="images of another source, all of them measured")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, JSON")
    options = parser.parse_args(arguments)

    def work() -> dict:
        classifier = TumorClassifier.from_folder(options.weights)
        external = read_dataset(options.external) if options.external else None
        return probe(classifier, read_dataset(options.data), external)

    return write_report(work, options.out)


if __name__ == "__main__":
    sys.exit(main())
