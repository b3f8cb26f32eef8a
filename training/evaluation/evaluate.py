"""Weights and a folder of labeled images -> every figure with its interval, and plots.

    python -m training.evaluation.evaluate --weights model/weights --data ../shared/data/pool --out runs/report
    python -m training.evaluation.evaluate --weights model/weights --data ../shared/data/external --out DIR --json

Any data set that training reads can be measured. The report folder gets metrics.json and plots; predictions.png is a
sheet of answers that shows patients, so never commit it. Images that the model would refuse are measured like all
others; their share is in the report.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from model.classifier import RawOutputs, TumorClassifier

from ..data.frames import DataError, Dataset, Frames, load_frames, read_dataset
from ..data.layouts import OTHER, read_records, split_named
from . import plots
from .certainty import calibration_by_source, on_other_diseases, reliability, set_figures, status_shares
from .localization import box_masks, evidence_figures
from .metrics import by_label_and_sequence, figure_lines, measure, tumor_auc_by_sequence

NOT_PRINTED = ("by_source", "by_sequence", "by_label_and_sequence", "calibration_by_source", "operating_point")


def evaluate(classifier: TumorClassifier, dataset: Dataset, out: Path | None = None, name: str = "") -> dict:
    """Measure `classifier` on all of `dataset`; with `out`, write metrics.json and plots there, headed `name`.

    Images of diseases that no class stands for (`OTHER`) are reported apart, under "other_pathology".
    Returns: the dictionary of `metrics.measure`, and what only images and evidence maps tell; JSON-ready.
    Raises: DataError if there is nothing to measure.
    """
    known = dataset.trainable()
    frames, raw, probabilities = answers(classifier, known)
    labels, threshold = frames.labels.numpy(), classifier.threshold
    fields = ("group", "source", "sequence")
    groups, sources, sequences = ([getattr(record, field) for record in known.records] for field in fields)
    images = probabilities, labels, groups
    masks = box_masks(frames.boxes.numpy(), classifier.config["size"])
    figures = measure(*images, sources, sequences, threshold)
    at_threshold = {key: figures[f"{key}_tumor"] for key in ("sensitivity", "specificity")}
    others = Dataset(dataset.root, [record for record in dataset.records if record.label == OTHER], dataset.problems)
    report = {
        "data": name,
        "model": classifier.version,
        **figures,
        "operating_point": {"threshold": threshold} | at_threshold,
        "tumor_auc_by_sequence": tumor_auc_by_sequence(*images, sequences),
        "by_label_and_sequence": by_label_and_sequence(*images, sequences, threshold),
        "prediction_set": set_figures(classifier.prediction_sets(probabilities), labels, groups),
        "reliability": reliability(*images),
        "calibration_by_source": calibration_by_source(raw.logits, *images, sources),
        "evidence": evidence_figures(raw.evidence, probabilities, labels, masks, groups),
        "refusal": status_shares(statuses(classifier, frames, raw, probabilities), groups),
        "other_pathology": _other_pathology(classifier, others) if others.records else {},
        "fingerprint": known.fingerprint(),
        "problems": len(dataset.problems),
    }
    if out:
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        subtitle = f"{name}: {report['n']:,} images of {report['n_groups']:,} groups".removeprefix(": ")
        plots.plot_confusion(report["confusion"]["counts"], out / "confusion.png", subtitle)
        plots.plot_roc(probabilities, labels, out / "roc.png", report, subtitle)
        if report["ece"]["value"] is not None:
            plots.plot_reliability(probabilities, labels, out / "reliability.png", report, subtitle)
        plots.plot_predictions(frames.images.numpy(), probabilities, labels, out / "predictions.png")
    return report


def answers(classifier: TumorClassifier, dataset: Dataset) -> tuple[Frames, RawOutputs, np.ndarray]:
    """Frames, outputs, and calibrated probabilities (N, 4) of the images that can be read."""
    frames = load_frames(dataset, classifier.config["size"], classifier.config["margin"])
    raw = classifier.outputs(frames.images)
    return frames, raw, classifier.calibrate(raw.logits)


def _other_pathology(classifier: TumorClassifier, others: Dataset) -> dict:
    """What is answered for diseases that the model has no class for."""
    frames, raw, probabilities = answers(classifier, others)
    sets, judged = classifier.prediction_sets(probabilities), statuses(classifier, frames, raw, probabilities)
    groups = [record.group for record in others.records]
    return on_other_diseases(probabilities, sets, judged, groups, classifier.threshold)


def statuses(classifier: TumorClassifier, frames: Frames, raw: RawOutputs, probabilities: np.ndarray) -> list[str]:
    """The status that the page would show for each framed image: accepted, doubtful or refused."""
    return [status for status, *_ in classifier.judge(frames.images.numpy(), raw, probabilities)]


def select(root: Path, split: str, trained_on: str = "") -> tuple[Dataset, str]:
    """The images to measure, and a note if they are not simply the split that was asked for.

    `split`: "test" and its other spellings, "train", "val", or "all". A data set that comes without splits is measured
    whole, unless its fingerprint is `trained_on`: then the test split that training set aside is the honest choice.
    Raises: DataError if there is no such data set or split.
    """
    dataset = read_dataset(root)
    if split == "all":
        return dataset, ""
    wanted = split_named(split)
    given, name = {record.split for record in read_records(root)[0]} - {""}, root.resolve().name
    if dataset.trainable().fingerprint() == trained_on or wanted in given:
        return dataset.where(wanted), ""
    if given:
        known = ", ".join(sorted(given))
        raise DataError(f"{name} has no split {wanted!r}; it has {known}. Use --split all for all of it.")
    return dataset, f"{name} comes without splits, so all of it is measured."


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 2 with a message where something named cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.evaluate", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, help="weights folder")
    parser.add_argument("--data", type=Path, required=True, help="folder with a manifest.csv, or class folders")
    parser.add_argument("--split", default="test", help="test (also: Testing), val, train or all")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json and plots")
    parser.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="how the weights are run")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    options = parser.parse_args(arguments)
    try:
        classifier = TumorClassifier.from_folder(options.weights, options.precision)
        dataset, note = select(options.data, options.split, classifier.config.get("data_fingerprint", ""))
        split = "all" if note else options.split
        report = evaluate(classifier, dataset, options.out, f"{options.data.resolve().name}, {split}")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for message in filter(None, [note, *dataset.problems]):
        print(message, file=sys.stderr)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        shown = {name: part for name, part in report.items() if name not in NOT_PRINTED}
        print(f"{report['data']}: {report['n']} images of {report['n_groups']} groups", *figure_lines(shown), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
