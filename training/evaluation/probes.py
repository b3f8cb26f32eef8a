"""Shortcut probes: how much of the label can be told without looking at the brain, and does the network look there?

    python -m training.evaluation.probes --weights model/weights --data ../shared/data/pool --out runs/probes.json
    python -m training.evaluation.probes --weights DIR --data POOL --external ../shared/data/external --out FILE

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

from model import CLASSES, NO_TUMOR, scans
from model.classifier import TumorClassifier

from ..augmentation.stripping import GROWN, blanked, covered, mirrored, outline, silhouette
from ..data.frames import Dataset, Frames, load_frames, read_dataset
from ..losses import PARTIAL
from .bootstrap import mean_with_interval
from .card import section
from .cross_validate import tumor_types
from .metrics import EVEN_CHANCE, measure
from .shortcut_trees import KINDS, Trees, describe


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


def _described(dataset: Dataset, frames: Frames) -> dict[str, dict[str, np.ndarray]]:
    """ "raw" images as they are in their files, and "framed": {kind of figure, or "all": float64 (N, figures)}."""
    raw = [describe(scans.read(record.path).slices[0]) for record in dataset.records]
    framed = [describe(image) for image in frames.images.numpy()]
    tables = {}
    for name, images in (("raw", raw), ("framed", framed)):
        tables[name] = {kind: np.array([image[kind] for image in images], dtype=np.float64) for kind in KINDS}
        tables[name]["all"] = np.concatenate(list(tables[name].values()), axis=1)
    return tables


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.probes", description=__doc__.split("\n")[0], allow_abbrev=False
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
    print(section("probes", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
