"""What `training.evaluation.compare` measures of each system: right answers, the same for all, and the time of one image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from model import NO_TUMOR
from model.classifier import TumorClassifier

from ..benchmark import take_turns
from ..data.frames import LABELS, Dataset
from ..data.training_set import Splits
from ..losses import PARTIAL
from .baselines import BASELINES, Baseline
from .bootstrap import figure, mean_with_interval, ratio, resample_weights
from .fit_baseline import as_served
from .metrics import EVEN_CHANCE, measure, tumor_auc_by_sequence

OURS = "ours"
BINARY = ("auc_tumor", "sensitivity_tumor", "specificity_tumor", "f2_tumor")  # figures of every system
FOUR = ("accuracy", "macro_f1", "f2_macro")  # of those that know four classes


def measured(
    answers: Callable[[Dataset], np.ndarray], protocol: Splits, external: Dataset | None, binary: bool
) -> dict:
    """Figures of the test part and, where it is given, of the external set, which is for reporting only."""
    report = {"test": figures(answers(protocol.test), protocol.test, binary)}
    if external:
        report["external"] = figures(answers(external), external, binary)
    return report


def figures(probabilities: np.ndarray, dataset: Dataset, binary: bool) -> dict:
    """{n, n_groups, figure: {value, low, high}} with intervals over groups; tumors are seen from 0.5 on.

    A binary system gets the figures of tumor against none alone: to it, every tumor is one of unknown type.
    """
    labels = np.array([label_of(record.label, binary) for record in dataset.records])
    groups = [record.group for record in dataset.records]
    report = measure(probabilities, labels, groups, threshold=EVEN_CHANCE)
    tumor, seen = labels != NO_TUMOR, 1 - probabilities[:, NO_TUMOR] >= EVEN_CHANCE
    kept = {name: report[name] for name in ("n", "n_groups", *BINARY, *(() if binary else FOUR))}
    kept["accuracy_tumor"] = mean_with_interval(tumor == seen, groups)
    kept["f1_tumor"] = f1_with_interval(tumor, seen, groups)
    sequences = [record.sequence for record in dataset.records]
    kept["auc_by_sequence"] = tumor_auc_by_sequence(probabilities, labels, groups, sequences)
    return kept


def label_of(label: str, binary: bool) -> int:
    known = LABELS.index(label)
    return known if known == NO_TUMOR or not binary else PARTIAL


def f1_with_interval(tumor: np.ndarray, seen: np.ndarray, groups: list[str]) -> dict:
    """F1 of seeing tumors, {value, low, high}."""

    def f1(weights: np.ndarray) -> np.ndarray:
        return ratio(2 * weights @ (tumor & seen), weights @ tumor + weights @ seen)

    return figure(f1(np.ones((1, len(tumor))))[0], f1(resample_weights(groups)))


def latency(systems: list[str], weights: Path | None = None) -> dict[str, float]:
    """Median milliseconds of one image, by system, all in turns in every round; what they have learned does not matter.

    Baselines run as their projects serve them (eager, float32 or int8 linears), ours in int8: the network alone.
    """

    def call(baseline: Baseline) -> Callable[[], object]:
        net = as_served(baseline, baseline.layers())
        image = torch.rand(1, baseline.channels, baseline.size, baseline.size)
        return lambda: net(image)

    calls = {name: call(BASELINES[name]) for name in systems}
    if weights:
        ours = TumorClassifier.from_folder(weights)
        square = np.zeros((1, *[ours.config["size"]] * 2), np.uint8)
        calls[OURS] = lambda: ours.outputs(square)
    with torch.inference_mode():
        return {name: round(float(np.median(values)), 2) for name, values in take_turns(calls).items()}
