"""Train and measure several times over, so that every image, or every image of a left-out source, is answered unseen.

    python -m training.evaluation.cross_validate --data ../shared/data/pool --out runs/folds --folds 5 --report runs/folds.json
    python -m training.evaluation.cross_validate --data ../shared/data/pool --out runs/figshare --folds 5 --sources figshare \\
        --phantoms 0 --report runs/figshare.json
    python -m training.evaluation.cross_validate --data ../shared/data/pool --out runs/left-out --report runs/left_out.json \\
        --leave_out br35hyes,navoneel --leave_out sartaj
    python -m training.evaluation.cross_validate --data POOL,LGG,STRIPPED --typed T1C+ --out runs/hospitals \\
        --report runs/hospitals.json --leave_out tcga_lgg_du --leave_out tcga_lgg_ht --leave_out br35hyes,navoneel \\
        --leave_out sartaj --leave_out br35hno --leave_out ds002748

All other options are those of training.train, and go to every run. Each run answers its held-out images with the
trained float32 network; the answers are kept in its folder as predictions.npz, so that the same command goes on where
it was stopped and trains nothing twice. Probabilities are the softmax of the logits as they are: no temperature is
fitted, and "seen" is at 0.5 unless a threshold is named.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model import CLASSES, NO_TUMOR

from ..data.frames import DataError, load_frames
from ..settings import FREE_ON_RESUMING, Settings, add_options, listed
from .bootstrap import figure, ratio, resample_weights
from .card import section
from .metrics import measure

PREDICTIONS = "predictions.npz"
SPECIFICITY = 0.95  # of the held-out images without a tumor that may at least be left alone
CLASS_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "recall", "auc_tumor")


class Predictions(NamedTuple):
    """Held-out images and what was said of them; row i of each is one image."""

    probabilities: np.ndarray  # float64 (N, 4), softmax, rows sum to 1
    labels: np.ndarray  # int64 (N,), index into LABELS; 4 is a tumor of unknown type
    ids: np.ndarray  # str (N,)
    groups: np.ndarray  # str (N,)
    sources: np.ndarray  # str (N,)
    sequences: np.ndarray  # str (N,), "" where not known

    def part(self, chosen: np.ndarray) -> "Predictions":
        """The rows where `chosen` (N,) is true."""
        return Predictions(*(column[chosen] for column in self))


def predictions_of(settings: Settings) -> Predictions:
    """Answers of the run that `settings` describe on its test split, trained first unless that has been done.

    Raises: DataError if the run folder holds answers of other settings or images; what `training.train.fit` raises.
    """
    from ..data.training_set import read_split

    file = Path(settings.out) / PREDICTIONS
    asked = {name: value for name, value in dataclasses.asdict(settings).items() if name not in FREE_ON_RESUMING}
    images = read_split(settings).fingerprint()
    if file.exists():
        with np.load(file, allow_pickle=False) as stored:
            if missing := {"images", *Predictions._fields} - set(stored.files):
                raise DataError(f"{file} is older than {', '.join(sorted(missing))}. Remove it: the run answers again.")
            began = json.loads(str(stored["settings"]))
            changed = [f"--{name} {began.get(name)}" for name in asked if began.get(name) != asked[name]]
            if str(stored["images"]) != images:
                changed.append("other images in --data")
            if changed:
                raise DataError(f"{file} was made with {', '.join(changed)}. Use these, or choose another --out.")
            return Predictions(*(stored[name] for name in Predictions._fields))
    predictions = _trained_and_asked(settings)
    unfinished = file.with_suffix(".tmp")
    with unfinished.open("wb") as stream:
        np.savez(stream, settings=np.array(json.dumps(asked)), images=np.array(images), **predictions._asdict())
    unfinished.replace(file)
    return predictions


def _trained_and_asked(settings: Settings) -> Predictions:
    from model.preprocess import SERVING_MARGIN

    from ..checkpoint import load_checkpoint
    from ..data.training_set import read_split
    from ..hardware import best_device
    from ..network import TumorNet
    from ..train import fit
    from ..validate import predict_logits

    run = fit(settings, resume=(Path(settings.out) / "checkpoint.pt").exists())
    device = best_device()
    net = TumorNet()
    net.load_state_dict(load_checkpoint(run / "best.pt"))
    test = read_split(settings).where("test")
    frames = load_frames(test, settings.size, SERVING_MARGIN, Path(settings.cache))
    logits = predict_logits(net.to(device), frames, device)
    columns = ([getattr(record, name) for record in test.records] for name in ("id", "group", "source", "sequence"))
    return Predictions(
        logits.double().softmax(dim=1).numpy(),
        frames.labels.numpy(),
        *(np.array(column, dtype=str) for column in columns),
    )


def tumor_types(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict | None:
    """How well the types are told apart where a tumor of known type is sure to be there: chance is a third.

    The answer is the most probable of the tumor types, however probable "no tumor" is. Images without a tumor and
    tumors of unknown type take no part.

    Args: as for `metrics.measure`. Returns: {n, n_groups, accuracy, balanced_accuracy, macro_f1, probability, recall}
    with {value, low, high} each, in `recall` one for each type; None if there is no such image. `probability` is what
    the right type is given among the types, on average, each type counting the same: a third for whatever constant
    answer, while the most probable type may be right more often by differences of a hair.
    """
    typed = labels < NO_TUMOR
    if not typed.any():
        return None
    among_types = probabilities[typed].copy()
    among_types[:, NO_TUMOR] = 0
    among_types /= np.maximum(among_types.sum(1, keepdims=True), 1e-300)
    report = measure(among_types, labels[typed], np.asarray(groups, dtype=object)[typed], threshold=0.5)
    names = ("n", "n_groups", "accuracy", "balanced_accuracy", "macro_f1")
    recall = {name: of_class for name, of_class in report["recall"].items() if name != CLASSES[NO_TUMOR]}
    probability = given_to_truth(among_types, labels[typed], np.asarray(groups, dtype=object)[typed])
    return {name: report[name] for name in names} | {"probability": probability, "recall": recall}


def given_to_truth(probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str]) -> dict[str, float | None]:
    """Probability of the right class, mean over the images of a class, then over the classes there are."""
    given = probabilities[np.arange(len(labels)), labels]
    is_class = np.array([labels == label for label in np.unique(labels)], dtype=float).T
    weights = np.vstack((np.ones(len(labels)), resample_weights(groups)))
    means = ratio((weights * given) @ is_class, weights @ is_class).mean(axis=1)
    return figure(means[0], means[1:])


def limit_for(scores: np.ndarray, weights: np.ndarray, specificity: float) -> np.ndarray:
    """The lowest score (R,) that leaves at least `specificity` of the weight of the tumor-free at it or below.

    Args: P(tumor) of the tumor-free images, `scores` (M,); `weights` (R, M), a row for each resample. Where a row has
    no weight the limit is NaN. An image counts as tumor seen when its score is *above* the limit.
    """
    order = np.argsort(scores, kind="stable")
    below = ratio(np.cumsum(weights[:, order], axis=1), weights.sum(1, keepdims=True))
    limits = scores[order][(below >= specificity - 1e-12).argmax(1)]
    return np.where(weights.sum(1) > 0, limits, np.nan)


def seen_at(specificity: float, tumors: Predictions, normals: Predictions) -> dict:
    """Share of `tumors` that are seen where `specificity` of `normals` are left alone, and the AUC between the two.

    The limit is taken from the same normals, and anew in each resample of groups, so that the interval holds its doubt.
    Returns: {n, n_groups, sensitivity, auc_tumor}, n and n_groups of the tumors, the others {value, low, high}.
    """
    groups = np.concatenate((tumors.groups, normals.groups))
    scores = 1 - np.concatenate((tumors.probabilities, normals.probabilities))[:, NO_TUMOR]
    is_tumor = np.arange(len(scores)) < len(tumors.labels)

    def sensitivity(weights: np.ndarray) -> np.ndarray:
        limits = limit_for(scores[~is_tumor], weights[:, ~is_tumor], specificity)
        seen = scores[is_tumor] > limits[:, None]
        total = np.where(np.isnan(limits), 0, weights[:, is_tumor].sum(1))
        return ratio((weights[:, is_tumor] * seen).sum(1), total)

    spread = sensitivity(resample_weights(groups))
    return {
        **{"n": len(tumors.labels), "n_groups": len(set(tumors.groups))},
        "sensitivity": figure(sensitivity(np.ones((1, len(scores))))[0], spread),
        "auc_tumor": auc_between(tumors, normals),
    }


def auc_between(tumors: Predictions, normals: Predictions) -> dict[str, float | None]:
    """AUC of P(tumor), {value, low, high}; None in all three where one of both is empty."""
    both = Predictions(*(np.concatenate(pair) for pair in zip(tumors, normals, strict=True)))
    return measure(both.probabilities, both.labels, both.groups, threshold=0.5)["auc_tumor"]


def folds_report(folds: Sequence[Predictions]) -> dict:
    """Figures of the pooled answers of all folds, each image answered by the one network that had not seen its group.

    Returns: {kind: "folds", folds, by_fold: [{n, n_groups, balanced_accuracy, macro_f1, auc_tumor,
    types_balanced_accuracy}] (plain numbers, None where undefined), types: as `tumor_types`, pooled: as
    `metrics.measure`}.
    """

    def plain(fold: Predictions) -> dict:
        report = measure(fold.probabilities, fold.labels, fold.groups, threshold=0.5, resamples=1)
        names = ("balanced_accuracy", "macro_f1", "auc_tumor")
        types = tumor_types(fold.probabilities, fold.labels, fold.groups)
        return (
            {"n": report["n"], "n_groups": report["n_groups"]}
            | {name: report[name]["value"] for name in names}
            | {"types_balanced_accuracy": types["balanced_accuracy"]["value"] if types else None}
        )

    pooled = Predictions(*(np.concatenate(column) for column in zip(*folds, strict=True)))
    arguments = pooled.probabilities, pooled.labels, pooled.groups
    return {
        "kind": "folds",
        "folds": len(folds),
        "by_fold": [plain(fold) for fold in folds],
        "types": tumor_types(*arguments),
        "pooled": measure(*arguments, sources=pooled.sources.tolist(), threshold=0.5),
    }


def left_out_report(answers: Predictions, left_out: Sequence[str]) -> dict:
    """Figures of one run without the sources `left_out`, on their images.

    Its yardstick are the normals: the images without a tumor of the *other* sources' test split. The threshold is the
    P(tumor) above which 5 % of them lie at most.

    Returns: {left_out, normals: {n, n_groups, by_source: {source: images}}, threshold, specificity, tumors: as
    `seen_at`, by_source: {source: as `seen_at`}, own_normals: {n, n_groups, specificity, auc_tumor} of the left-out
    sources' own tumor-free images, classes: {n, n_groups, accuracy, balanced_accuracy, macro_f1, recall, auc_tumor}
    where the left-out sources hold several classes, types: as `tumor_types`, auc: {value, low, high} of the left-out
    tumors and tumor-free images (of a kind that is not among them those of the other sources' test split), by_sequence:
    {sequence: {n, auc}} of the left-out images alone}; what has no images is None.
    Raises: DataError if there are no normals, or no tumors or images that are left out.
    """
    held_out, tumor = np.isin(answers.sources, left_out), answers.labels != NO_TUMOR
    normals, tumors = answers.part(~held_out & ~tumor), answers.part(held_out & tumor)
    if not len(normals.labels) or not held_out.any() or not tumor.any():
        raise DataError(
            f"Without {', '.join(left_out)} there must be normals in the test split, and images of these, and tumors."
        )
    p_normal = 1 - normals.probabilities[:, NO_TUMOR]
    [threshold] = limit_for(p_normal, np.ones((1, len(p_normal))), SPECIFICITY)
    own = answers.part(held_out & ~tumor)
    of_type = answers.part(held_out & (answers.labels < len(CLASSES)))
    all_tumors = tumors if len(tumors.labels) else answers.part(tumor)
    sequences = sorted(set(answers.sequences[held_out]) - {""})
    report = {
        "left_out": list(left_out),
        "normals": {
            **{"n": len(normals.labels), "n_groups": len(set(normals.groups))},
            "by_source": {source: int((normals.sources == source).sum()) for source in sorted(set(normals.sources))},
        },
        "threshold": float(threshold),
        "specificity": float((p_normal <= threshold).mean()),
        "tumors": seen_at(SPECIFICITY, tumors, normals) if len(tumors.labels) else None,
        "by_source": {
            source: seen_at(SPECIFICITY, tumors.part(tumors.sources == source), normals)
            for source in left_out
            if (tumors.sources == source).any()
        },
        "own_normals": None,
        "classes": None,
        "types": tumor_types(of_type.probabilities, of_type.labels, of_type.groups),
        "auc": auc_between(all_tumors, own if len(own.labels) else normals),
        "by_sequence": {
            sequence: {
                "n": int((answers.sequences[held_out] == sequence).sum()),
                "auc": auc_between(*(part.part(part.sequences == sequence) for part in (tumors, own))),
            }
            for sequence in sequences
        },
    }
    if len(own.labels):
        spared = 1 - own.probabilities[:, NO_TUMOR] <= threshold
        weights = resample_weights(own.groups)
        report["own_normals"] = {
            **{"n": len(own.labels), "n_groups": len(set(own.groups))},
            "specificity": figure(spared.mean(), ratio(weights @ spared, weights.sum(1))),
            "auc_tumor": auc_between(all_tumors, own),
        }
    if len(set(of_type.labels)) > 1:
        figures = measure(of_type.probabilities, of_type.labels, of_type.groups, threshold=0.5)
        report["classes"] = {name: figures[name] for name in ("n", "n_groups", *CLASS_FIGURES)}
    return report


def cross_validate(settings: Settings, leave_out: Sequence[str] = ()) -> dict:
    """Run all folds of `settings`, or one run for each of `leave_out` (sources with commas between).

    Returns: `folds_report`, or {kind: "leave_source_out", runs: [`left_out_report`], score: mean of their `auc`, by
    which recipes are chosen}; with `sources` and `settings` (of folders only the names). Raises: DataError, and what
    training raises.
    """
    out = Path(settings.out)
    if leave_out:
        runs = []
        for sources in leave_out:
            folder = out / f"without-{'-'.join(listed(sources))}"
            answers = predictions_of(dataclasses.replace(settings, leave_out=sources, out=str(folder)))
            runs.append(left_out_report(answers, listed(sources)))
        score = float(np.mean([run["auc"]["value"] for run in runs]))
        report = {"kind": "leave_source_out", "runs": runs, "score": score}
    else:
        folds = range(settings.folds)
        runs = [dataclasses.replace(settings, fold=fold, out=str(out / f"fold-{fold}")) for fold in folds]
        report = folds_report([predictions_of(run) for run in runs])
    from ..export.export import without_folders
    from ..network import STRIDE

    facts = without_folders(dataclasses.asdict(settings)) | {"map_stride": STRIDE}
    return report | {"sources": listed(settings.sources), "settings": facts}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.cross_validate", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--report", type=Path, required=True, help="file for the figures, JSON")
    parser.add_argument("--leave_out", action="append", default=[], help="sources to leave out, once for each run")
    add_options(parser)
    options = vars(parser.parse_args(arguments))
    report, leave_out = options.pop("report"), options.pop("leave_out")
    if bool(leave_out) == bool(options["folds"]):
        parser.error("say either --folds, or --leave_out once or more")
    try:
        result = cross_validate(Settings(**options), leave_out)
    except (OSError, FloatingPointError, ValueError) as error:
        print(f"training.evaluation.cross_validate: {error}", file=sys.stderr)
        return 2
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(result, indent=2) + "\n")
    print(section(result["kind"], result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
