"""Where the evidence map looks, measured against boxes drawn by people and against the masks of drawn heads.

    python -m training.evaluation.localization --weights model/weights --out runs/phantoms.json

The command measures heads that were drawn for this alone, though by the code that draws training images, too.
Measured is the map that the page shows, the likeliest tumor type's. Its peak is the brightest point of the map as the
page draws it, smoothly enlarged; the share inside counts each cell by how much of it the lesion covers.
Source: the pointing game, Zhang et al. 2016, arXiv:1608.00507, which allows a tolerance as well.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter

from model import CLASSES, NO_TUMOR
from model.classifier import TumorClassifier
from model.preprocess import Window, frame

from ..data.phantoms import FIRST_SEED, draw_phantom
from ..losses import PARTIAL
from .metrics import mean_with_interval, write_report

LABELS = {**{name: k for k, name in enumerate(CLASSES[:NO_TUMOR])}, "tumor": PARTIAL}  # that can have a lesion
PHANTOMS = 100  # drawn heads of each tumor type
FIRST_PHANTOM = FIRST_SEED // 2  # training sets draw seeds from FIRST_SEED on, the examples are of a few small ones


def box_masks(boxes: np.ndarray, size: int) -> np.ndarray:
    """Boxes (N, 4): left, top, right, bottom, fractions of the frame, NaN where unknown -> bool (N, size, size)."""
    centers = (np.arange(size) + 0.5) / size
    left, top, right, bottom = np.asarray(boxes, dtype=np.float64).T[:, :, None]
    columns, rows = (left <= centers) & (centers < right), (top <= centers) & (centers < bottom)
    return rows[:, :, None] & columns[:, None, :]


def evidence_figures(
    evidence: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, masks: np.ndarray, groups: Sequence[str]
) -> dict:
    """How well the evidence finds the lesion, over tumors whose lesion is known.

    Args: `evidence` (N, 4, h, w), shares over the frame; `probabilities` (N, 4); `labels` (N,) index into CLASSES, or 4
    for a tumor of unknown type; `masks` bool (N, H, W) of the lesions on the frame, empty where unknown, H and W
    multiples of h and w; `groups` N strings.
    Returns: {"cells": h, "all_answers" and "named_right" (the correct class): {"all" and each label: {peak_inside,
    peak_near (inside, or at most a cell's width away), share_inside, even (that share of an even map)}}, "wrong_place":
    {"right", "wrong", of which "wrong_type" and "missed": share of peaks that are not even near}}. All figures are {n,
    n_groups, value, low, high}. A tumor of unknown type is answered right, but not by its class, if a tumor is the most
    probable. Empty without any lesion.
    """
    labels, groups = np.asarray(labels), np.asarray(groups, dtype=object)
    counted = masks.any((1, 2)) & np.isin(labels, list(LABELS.values()))
    if not counted.any():
        return {}
    evidence, probabilities, masks = (part[counted] for part in (evidence, probabilities, masks))
    labels, groups = labels[counted], groups[counted]
    maps = evidence[np.arange(len(labels)), probabilities[:, :NO_TUMOR].argmax(1)]
    n, height, width = maps.shape
    fine = masks.shape[1] // height
    covered = masks.reshape(n, height, fine, width, fine).mean((2, 4))
    peaks = (np.arange(n), *np.transpose([peak(one, fine) for one in maps]))
    near = maximum_filter(masks, (1, 2 * fine + 1, 2 * fine + 1), mode="constant")
    measured = {
        "peak_inside": masks[peaks],
        "peak_near": near[peaks],
        "share_inside": (maps * covered).sum((1, 2)) / maps.sum((1, 2)),
        "even": covered.mean((1, 2)),
    }
    answers = probabilities.argmax(1)
    missed, named = answers == NO_TUMOR, answers == labels
    right = named | ((labels == PARTIAL) & ~missed)

    def by_label(part: np.ndarray) -> dict:
        parts = {"all": part} | {name: part & (labels == k) for name, k in LABELS.items()}
        return {
            name: {key: mean_with_interval(values[chosen], groups[chosen]) for key, values in measured.items()}
            for name, chosen in parts.items()
            if chosen.any()
        }

    answered = {"right": right, "wrong": ~right, "wrong_type": ~right & ~missed, "missed": missed}
    elsewhere = ~measured["peak_near"]
    return {
        "cells": height,
        "all_answers": by_label(np.ones(len(labels), dtype=bool)),
        "named_right": by_label(named),
        "wrong_place": {name: mean_with_interval(elsewhere[part], groups[part]) for name, part in answered.items()},
    }


def peak(share: np.ndarray, fine: int) -> tuple[int, int]:
    """Row and column of the brightest point of a map (h, w), enlarged `fine` times as `model.overlay` draws it."""
    height, width = share.shape
    size = width * fine, height * fine
    smooth = Image.fromarray(np.asarray(share, dtype=np.float32)).resize(size, Image.Resampling.BICUBIC)
    return divmod(int(np.asarray(smooth).argmax()), width * fine)


def on_phantoms(classifier: TumorClassifier, per_type: int) -> dict:
    """`evidence_figures` against the masks of drawn heads, `per_type` of each tumor type, none of them trained on."""
    size, margin = classifier.config["size"], classifier.config["margin"]
    drawn = [draw_phantom(name, FIRST_PHANTOM + k) for name in CLASSES[:NO_TUMOR] for k in range(per_type)]
    framed = [frame(phantom.image, size, margin) for phantom in drawn]
    raw = classifier.outputs(np.stack([square for square, _ in framed]))
    masks = np.stack([in_frame(one.mask, window, size) for one, (_, window) in zip(drawn, framed, strict=True)])
    labels = np.array([CLASSES.index(phantom.label) for phantom in drawn])
    patients = [f"{phantom.label} {k}" for k, phantom in enumerate(drawn)]
    found = evidence_figures(raw.evidence, classifier.calibrate(raw.logits), labels, masks, patients)
    return {"model": classifier.version} | found


def in_frame(mask: np.ndarray, window: Window, size: int) -> np.ndarray:
    """A slice's mask, bool (height, width), on the square that the network saw of it: bool (size, size)."""
    left, top, side = map(int, window)
    square = Image.fromarray(mask).crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.NEAREST))


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where the weights cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.localization", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, help="weights folder")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    return write_report(lambda: on_phantoms(TumorClassifier.from_folder(options.weights), PHANTOMS), options.out)


if __name__ == "__main__":
    sys.exit(main())
