"""Small trees that learn the label from what is no anatomy: size, borders, brightness."""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from model import CLASSES, NO_TUMOR
from model.preprocess import FOREGROUND

from ..losses import PARTIAL
from .metrics import EVEN_CHANCE, measure

KINDS = ("size", "border", "brightness")  # of figures that a tree may know, alone or all together
DEPTH = 4  # of the tree
SMALLEST_LEAF = 10  # training images
BORDER = 0.04  # of an image's shorter side: the strip along its edges that the border figures describe


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
