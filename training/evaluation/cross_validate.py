"""Train and measure several times over, so that every image, or every image of a left-out source, is answered unseen.

    python -m training.evaluation.cross_validate --data POOL --out runs/folds --report runs/folds.json --folds 5
    python -m training.evaluation.cross_validate --data POOL,LGG,STRIPPED --typed T1C+ --not_brain OTHERS \\
        --out runs/hospitals --report runs/hospitals.json --leave_out tcga_lgg_du --leave_out br35hyes,navoneel

All other options are those of training.train, and go to every run. Each run answers its held-out images with the
trained float32 network, not calibrated; the answers are kept in its folder as predictions.npz, so that the same command
goes on where it was stopped. The threshold for a left-out source is chosen without its images. What refuses images is
fitted to each run as the export fits it.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from model import CLASSES, NO_TUMOR
from model.preprocess import SERVING_MARGIN

from ..augmentation.augment import CACHE_MARGIN
from ..checkpoint import load_checkpoint
from ..data import training_set
from ..data.frames import DataError, Dataset, load_frames
from ..distributed import best_device
from ..export.export import without_folders
from ..export.refusal import (
    augmented,
    fit_brain_detector,
    fit_distance,
    frames_of_others,
    read_other_images,
    refusal_limits,
)
from ..network import STRIDE, TumorNet
from ..settings import FREE_ON_RESUMING, Settings, add_options, listed
from ..train import fit
from .metrics import (
    all_and_resamples,
    figure,
    figure_lines,
    mean_with_interval,
    measure,
    ratio,
    sizes,
    tumor_auc,
    tumor_types,
    write_report,
)

PREDICTIONS = "predictions.npz"
SPECIFICITY = 0.95  # of the held-out images without a tumor, at least
CLASS_FIGURES = ("n", "n_groups", "balanced_accuracy", "macro_f1", "recall", "auc_tumor")


class Predictions(NamedTuple):
    """Held-out images and what was answered; row i of each is one image."""

    probabilities: np.ndarray  # float64 (N, 4), softmax, rows sum to 1
    labels: np.ndarray  # int64 (N,), index into LABELS; 4 is a tumor of unknown type
    groups: np.ndarray  # str (N,)
    sources: np.ndarray  # str (N,)
    sequences: np.ndarray  # str (N,), "" where not known
    refused: np.ndarray  # bool (N,), as no brain MRI or too far from training

    def part(self, chosen: np.ndarray) -> "Predictions":
        """The rows where `chosen` (N,) is true."""
        return Predictions(*(column[chosen] for column in self))


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all parts, one after the other."""
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


# ---- runs


def predictions_of(settings: Settings) -> Predictions:
    """Answers of the run that `settings` describe on its test split; trained first unless that has been done.

    Raises: DataError if the run folder holds answers of other settings or images; what `training.train.fit` raises.
    """
    file = Path(settings.out) / PREDICTIONS
    free = FREE_ON_RESUMING - {"not_brain"}  # which decides what is refused
    asked = {name: value for name, value in dataclasses.asdict(settings).items() if name not in free}
    images = training_set.read_split(settings).fingerprint()
    if file.exists():
        with np.load(file, allow_pickle=False) as stored:
            began = json.loads(str(stored["settings"]))
            changed = [f"--{name} {began.get(name)}" for name in asked if began.get(name) != asked[name]]
            if str(stored["images"]) != images:
                changed.append("other images in --data")
            if changed:
                raise DataError(f"{file} was made with {', '.join(changed)}. Use these, or choose another --out.")
            return Predictions(*(stored[name] for name in Predictions._fields))
    predictions = _trained_and_asked(settings)
    unfinished = file.with_suffix(".tmp.npz")
    np.savez(unfinished, settings=np.array(json.dumps(asked)), images=np.array(images), **predictions._asdict())
    unfinished.replace(file)
    return predictions


def _trained_and_asked(settings: Settings) -> Predictions:
    run = fit(settings, resume=(Path(settings.out) / "checkpoint.pt").exists())
    net = TumorNet()
    net.load_state_dict(load_checkpoint(run / "best.pt"))
    net.to(best_device()).eval()
    everything, training, validation = training_set.read_parts(settings)
    test = everything.where("test")
    frames = load_frames(test, settings.size, SERVING_MARGIN, Path(settings.cache))
    logits, features = _outputs(net, frames.images)
    fields = ("group", "source", "sequence")
    columns = (np.array([getattr(record, name) for record in test.records], dtype=str) for name in fields)
    refused = _refused(net, settings, training, validation, features)
    return Predictions(logits.double().softmax(dim=1).numpy(), frames.labels.numpy(), *columns, refused)


def _refused(
    net: TumorNet, settings: Settings, training: Dataset, validation: Dataset, features: torch.Tensor
) -> np.ndarray:
    """bool (N,): which images, by their `features` (N, D), are refused by what the export would fit to this run."""
    size, cache, fitting = settings.size, Path(settings.cache), []
    if settings.not_brain:
        others = read_other_images(Path(settings.not_brain))
        fitting = [pixels for pixels, fits in zip(others.slices, others.for_fitting, strict=True) if fits]
    served, kept_out = (load_frames(part, size, SERVING_MARGIN, cache).images for part in (training, validation))
    wide = load_frames(training, training_set.FRAME_SIZE, CACHE_MARGIN, cache).images
    brain = torch.cat((served, augmented(wide, size, settings.seed)))
    other = frames_of_others(fitting, size, SERVING_MARGIN, settings.seed)
    of_brain, of_other, of_kept_out = (_outputs(net, images)[1] for images in (brain, other, kept_out))
    detector = fit_brain_detector(of_brain.numpy(), of_other.numpy())
    distance = fit_distance(of_brain.numpy(), of_kept_out.numpy())
    limits = refusal_limits(detector(of_kept_out).numpy(), distance(of_kept_out).numpy())
    far = distance(features) >= limits["refused_from"]
    return ((detector(features) < limits["refused_below"]) | far).numpy()


@torch.inference_mode()
def _outputs(net: TumorNet, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, 4) and features (N, D), float32 on the CPU, of framed images uint8 (N, S, S)."""
    device = next(net.parameters()).device
    answers = (net(piece[:, None].to(device)) for piece in images.split(128))
    logits, features = zip(*((answer.logits.cpu(), answer.features.cpu()) for answer in answers), strict=True)
    return torch.cat(logits), torch.cat(features)


# ---- figures


def limit_for(scores: np.ndarray, weights: np.ndarray, specificity: float) -> np.ndarray:
    """The lowest score (R,) that has at least `specificity` of the weight of the tumor-free at it or below.

    Args: P(tumor) of the tumor-free images, `scores` (M,); `weights` (R, M), a row for each resample; its limit is NaN
    where all are 0. A tumor is detected where the score is *above* the limit.
    """
    order = np.argsort(scores, kind="stable")
    below = ratio(np.cumsum(weights[:, order], axis=1), weights.sum(1, keepdims=True))
    limits = scores[order][(below >= specificity - 1e-12).argmax(1)]
    return np.where(weights.sum(1) > 0, limits, np.nan)


def detected_at(tumors: Predictions, normals: Predictions) -> dict:
    """Share of `tumors` that are detected at `SPECIFICITY` on `normals`, and the AUC between the two.

    The limit is taken from these normals alone, and anew in each resample of groups: the interval holds its doubt.
    Returns: {n, n_groups, sensitivity, auc_tumor}, n and n_groups of the tumors, the others {value, low, high}.
    """
    both = joined((tumors, normals))
    scores, is_tumor = 1 - both.probabilities[:, NO_TUMOR], np.arange(len(both.labels)) < len(tumors.labels)
    weights = all_and_resamples(both.groups)
    limits = limit_for(scores[~is_tumor], weights[:, ~is_tumor], SPECIFICITY)
    detected = scores[is_tumor] > limits[:, None]
    total = np.where(np.isnan(limits), 0, weights[:, is_tumor].sum(1))
    rates = ratio((weights[:, is_tumor] * detected).sum(1), total)
    sensitivity = figure(rates[0], rates[1:])
    return sizes(tumors.groups) | {"sensitivity": sensitivity, "auc_tumor": auc_between(tumors, normals)}


def auc_between(tumors: Predictions, normals: Predictions) -> dict[str, float | None]:
    """AUC of P(tumor), {value, low, high}; None in all three where one of both is empty."""
    return tumor_auc(*joined((tumors, normals))[:3])


def folds_report(folds: Sequence[Predictions]) -> dict:
    """Figures of the pooled answers of all folds, each image answered by the one network that had not seen its group.

    Returns: {kind: "folds", folds, by_fold: [{balanced_accuracy, macro_f1, auc_tumor, types_balanced_accuracy}] (plain
    numbers, None where undefined), types: as `tumor_types`, pooled: as `metrics.measure`}.
    """

    def plain(fold: Predictions) -> dict:
        report, types = measure(*fold[:3], resamples=1), tumor_types(*fold[:3])
        values = {name: report[name]["value"] for name in ("balanced_accuracy", "macro_f1", "auc_tumor")}
        return values | {"types_balanced_accuracy": types and types["balanced_accuracy"]["value"]}

    pooled = joined(folds)
    return {
        "kind": "folds",
        "folds": len(folds),
        "by_fold": [plain(fold) for fold in folds],
        "types": tumor_types(*pooled[:3]),
        "pooled": measure(*pooled[:3], sources=pooled.sources),
    }


def left_out_report(answers: Predictions, left_out: Sequence[str]) -> dict:
    """Figures of one run without the sources `left_out`, on their images.

    Its normals are the images without a tumor of the *other* sources' test split; the threshold is the P(tumor) above
    which 5 % of them lie at most.

    Returns: {left_out, normals: {n, n_groups}, threshold, tumors: as `detected_at`, by_source: {source: as
    `detected_at`}, own_normals: {n, n_groups, specificity, auc_tumor} of the left-out sources' own tumor-free images,
    classes: figures of these sources where they hold several, types: as `tumor_types`, auc: {value, low, high} of their
    tumors and tumor-free images (of a kind that is not among them those of the other sources), by_sequence: {sequence:
    {auc}} and refused: {n, n_groups, value, low, high} of their images alone}; what has no images is None.
    Raises: DataError if there are no normals, or no tumors or images that are left out.
    """
    held_out, tumor = np.isin(answers.sources, left_out), answers.labels != NO_TUMOR
    images, normals = answers.part(held_out), answers.part(~held_out & ~tumor)
    if not len(normals.labels) or not len(images.labels) or not tumor.any():
        raise DataError(
            f"Without {', '.join(left_out)} there must be normals in the test split, and images of these, and tumors."
        )
    tumors, own = answers.part(held_out & tumor), answers.part(held_out & ~tumor)
    all_tumors, typed = tumors if len(tumors.labels) else answers.part(tumor), images.part(images.labels < len(CLASSES))
    [threshold] = limit_for(1 - normals.probabilities[:, NO_TUMOR], np.ones((1, len(normals.labels))), SPECIFICITY)
    own_normals = classes = None
    if len(own.labels):
        specificity = mean_with_interval(1 - own.probabilities[:, NO_TUMOR] <= threshold, own.groups)
        own_normals = sizes(own.groups) | {"specificity": specificity, "auc_tumor": auc_between(all_tumors, own)}
    if len(set(typed.labels)) > 1:
        figures = measure(*typed[:3])
        classes = {name: figures[name] for name in CLASS_FIGURES}

    def of_sequence(sequence: str) -> dict:
        return {"auc": auc_between(*(part.part(part.sequences == sequence) for part in (tumors, own)))}

    parts = {source: tumors.part(tumors.sources == source) for source in left_out if source in tumors.sources}
    return {
        "left_out": list(left_out),
        "normals": sizes(normals.groups),
        "threshold": float(threshold),
        "tumors": detected_at(tumors, normals) if len(tumors.labels) else None,
        "by_source": {source: detected_at(part, normals) for source, part in parts.items()},
        "own_normals": own_normals,
        "classes": classes,
        "types": tumor_types(*images[:3]),
        "auc": auc_between(all_tumors, own if len(own.labels) else normals),
        "by_sequence": {sequence: of_sequence(sequence) for sequence in sorted(set(images.sequences) - {""})},
        "refused": mean_with_interval(images.refused, images.groups),
    }


# ---- the command


def cross_validate(settings: Settings, leave_out: Sequence[str] = ()) -> dict:
    """Run all folds of `settings`, or one run for each of `leave_out` (sources with commas between).

    Returns: `folds_report`, or {kind: "leave_source_out", runs: [`left_out_report`], score: mean of their `auc`, by
    which recipes are chosen}; with `settings` (of folders only the names). Raises: DataError, and what training raises.
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
    return report | {"settings": without_folders(dataclasses.asdict(settings)) | {"map_stride": STRIDE}}


def summary(result: dict) -> dict:
    """What is printed of a report of `cross_validate`, by what was left out, or pooled."""
    if result["kind"] == "folds":
        return {name: result["pooled"][name] for name in CLASS_FIGURES} | {"types": result["types"] or {}}
    return {" + ".join(run["left_out"]): run for run in result["runs"]} | {"mean AUC": result["score"]}


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where something named cannot be used."""
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
    lines = lambda result: figure_lines(summary(result))  # noqa: E731
    return write_report(lambda: cross_validate(Settings(**options), leave_out), report, lines)


if __name__ == "__main__":
    sys.exit(main())
