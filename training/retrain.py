"""Fine-tune published weights on a hospital's own few images, and say plainly whether they got worse.

    python -m training.retrain --data OWN_IMAGES --out runs/ours                       # from the embedded weights
    python -m training.retrain --init ORG/NAME --data OWN_IMAGES --out runs/ours --original ../shared/data/pool
    python -m training.retrain ... --resume                                            # go on after a stop

First the head alone is trained, then what `--frozen` leaves free; thresholds, calibration and refusal are fitted anew
on held-out images. Own images are split by group, and those that look the same share one. With the original data some
of its images join: a network that sees only a few new images forgets what it knew of the others.

The regression check: old and new weights answer the same images as served: own ones of groups that took no part, images
that are no brain MRI and, with `--original`, its test split. Each metric's difference gets an interval over groups,
from the same resamples for both. A rule that waits for it to lie wholly below zero would let almost every harm pass on
few images, so the burden of proof is turned around:

- A metric *fell* if it is lower by more than `TOLERANCE`, and in at least `HARM_BELIEVED` of the resamples it is lower.
- It *held* if it did not fall, and rests on at least `MIN_COMPARED` groups. Else the set has too few groups.

New weights may replace the old ones only if no metric fell on any set and each held on one at least: what nobody
measured may have been forgotten.

The run folder gets what training.train writes, `data/` (links to the images), own_images.txt (what was left out, and
why) and comparison.json. Exit code 0 if nothing got worse, 1 if something did, 2 if there was nothing to train on.
"""

import argparse
import csv
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model import CLASSES, NO_TUMOR
from model.artifact import EMBEDDED, FILES, read_config, write_config
from model.classifier import TumorClassifier
from model.files import sha256, write_whole
from model.hub import find_weights
from model.wording import many

from .data import duplicates
from .data.frames import Dataset, Frames, decoded, load_frames, read_dataset, split_by_group, without_copies
from .data.layouts import DataError, Record
from .data.phantoms import draw_other
from .evaluation.card import card_of
from .evaluation.evaluate import statuses
from .evaluation.metrics import figure, ratio, resample_weights, statistics
from .export.export import export
from .export.refusal import DRAWN_SIZE, read_other_images
from .losses import PARTIAL
from .settings import Settings, add_options
from .train import fit

STEPS = 240  # of a run: about four minutes of one core; more of a few images is learned by heart
WARMUP = 0.1  # of the run
DEFAULTS = {  # where they differ from training from scratch
    "init": str(EMBEDDED),
    "batch": 32,  # few images make few batches of 64
    "learning_rate": 3e-4,  # a third of training's: a start that is worth keeping
    "unfreeze_at": 0.3,
    "phantoms": 0,  # the start has seen them
}
KINDS = ("tumor", "no tumor")
SHARES = {"train": 0.5, "val": 0.2, "test": 0.3}  # of the images: a comparison needs more than training's usual 0.15
MIN_GROUPS = 10  # with a tumor, and as many without: 5 train, 2 calibrate, 3 compare
REHEARSED = {"train": 600, "val": 200}  # at most, of the original images: without them pituitary tumors were forgotten
OWN = "own images"  # the source of a record
OTHERS, OTHERS_SEED = 100, 3_000_000  # drawn images that are no brain MRI and on which no refusal was fitted
COMPARISON, LEFT_OUT, CARD = "comparison.json", "own_images.txt", "README.md"
NO_ORIGINAL = "The original test images are not at hand: what it has forgotten of them is not known."
TOLERANCE = 0.02  # of any metric: twice what the specificity spreads from seed to seed (BENCHMARKS.md)
HARM_BELIEVED = 0.7  # share of the resamples; for a gain one would ask for 0.975
MIN_COMPARED = 5  # groups that a metric rests on: among three, one that is lost by chance is believed already
TITLES = {  # of the compared metrics, all between 0 and 1 but the Brier score (0 to 2)
    "auc_tumor": "AUC, tumor against none",
    "sensitivity_tumor": "tumors detected at the operating point",
    "specificity_tumor": "true negatives at the operating point",
    "recall_glioma": "gliomas in the correct class",
    "recall_meningioma": "meningiomas in the correct class",
    "recall_pituitary": "pituitary tumors in the correct class",
    "brier": "Brier score, lower is better",
    "answered": "brain MRI that is not refused",
    "others_refused": "other images that are refused",
}


def retrain(
    settings: Settings,
    original: Path | None = None,
    steps: int | None = None,
    resume: bool = False,
    on_stage: Callable[[str], object] = print,
) -> dict:
    """Fine-tune as `settings` say, on the images in `settings.data`; returns what comparison.json holds.

    Args: `original`, the data that the start was trained on; `steps` of the optimizer (default: STEPS); `on_stage` is
        called with each stage as it begins.
    Raises: DataError, OSError, ValueError with a sentence, most of them before anything is trained.
    """
    out, cache, steps = Path(settings.out), Path(settings.cache), steps or STEPS
    data = out / "data"
    if data.exists() and not resume:
        raise DataError(f"{out} already holds a run. Add --resume to go on with it, or choose another --out.")
    on_stage("checking the images")
    start = TumorClassifier.from_folder(find_weights(settings.init))
    original_data = read_dataset(original).trainable() if original else None
    root = start.config.get("original_fingerprint", start.config.get("data_fingerprint", ""))
    if original_data and original_data.fingerprint() != root:
        raise DataError(f"{original} is not the data that {start.version} was trained on. Name that, or none.")
    if not (data / "manifest.csv").exists():
        shutil.rmtree(data, ignore_errors=True)  # begun, but not finished
        prepare(read_own_images(Path(settings.data), settings.seed), original_data, data, settings.seed)
    own = read_dataset(data)
    on_stage("training")
    run = fit(fine_tuning(settings, data, start.config["size"], len(own.where("train").records), steps), resume)
    on_stage("calibrating and measuring")
    weights = export(run, start.config)
    write_config(weights, read_config(weights) | {"original_fingerprint": root})  # of the whole line of weights
    on_stage("comparing with the start")
    candidate = TumorClassifier.from_folder(weights)
    sides = {"own held-out images": brain_mri(own.where("test"), start, cache)}
    if original_data:
        sides["original test images"] = brain_mri(original_data.where("test"), start, cache)
    sides["images that are no brain MRI"] = other_images(settings.not_brain)
    sets = {name: compare(start, candidate, side) for name, side in sides.items()}
    parts = {split: own.where(split).records for split in SHARES}
    result = {
        "date": date.today().isoformat(),
        "start": _described(start),
        "candidate": _described(candidate),
        "images": {split: len(records) for split, records in parts.items()},
        "groups": {split: len({record.group for record in records}) for split, records in parts.items()},
        "original": bool(original_data),
        "steps": steps,
        "rule": {"tolerance": TOLERANCE, "believed_from": HARM_BELIEVED, "groups": MIN_COMPARED},
        "sets": sets,
        **judge(sets),
    }
    if not original_data:
        result["sentences"].append(NO_ORIGINAL)
    metrics = json.loads((weights / "metrics.json").read_text()) | {"retrained": result}
    (weights / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (weights / CARD).write_text(card_of(weights))
    write_whole(out / COMPARISON, json.dumps(result, indent=2, allow_nan=False) + "\n")
    return result


def fine_tuning(settings: Settings, data: Path, size: int, images: int, steps: int) -> Settings:
    """`settings` for `steps` batches of `images` that train, all of them at full size."""
    epochs = max(1, round(steps / math.ceil(images / settings.batch)))
    whole_run = {"epochs": epochs, "patience": epochs, "warmup_epochs": WARMUP * epochs}
    return replace(settings, data=str(data), size=size, smallest_size=size, **whole_run)


def _described(classifier: TumorClassifier) -> dict[str, str]:
    digest = sha256(classifier.folder / FILES["int8"])
    return {"name": classifier.config["name"], "version": classifier.version, "sha256": digest}


# ---- own images: read, split by group, laid out


def read_own_images(root: Path, seed: int = 0) -> Dataset:
    """The labeled images below `root` that can be read, with groups, and split by these whatever split they came with.

    Raises: DataError, a sentence, if they are too few, of one kind only, or cannot be used at all.
    """
    dataset = read_dataset(root, seed).trainable()
    records = _with_copies_in_one_group(dataset)
    _check_groups(records)
    splits = split_by_group([r.label for r in records], [r.group for r in records], SHARES, seed)
    records = [replace(record, split=split) for record, split in zip(records, splits, strict=True)]
    for split in SHARES:
        for kind in KINDS:
            if not any(record.split == split and _kind(record) == kind for record in records):
                raise DataError(f"No image with {kind} is left for the split {split!r}. Add images of other people.")
    return Dataset(root, records, dataset.problems)


def _with_copies_in_one_group(dataset: Dataset) -> list[Record]:
    """What can be read of `dataset`, its groups joined where their images look the same."""
    thumbnails, unreadable = decoded(dataset.records, duplicates.thumbnails)
    dataset.problems += [problem for problem in unreadable if problem not in dataset.problems]
    records = [dataset.records[i] for i in thumbnails]
    pairs = duplicates.near_pairs(np.stack(list(thumbnails.values())))
    first_of: dict[str, int] = {}
    links = [(i, j) for i, j, correlation in pairs if correlation > duplicates.SAME]
    links += [(first_of.setdefault(record.group, i), i) for i, record in enumerate(records)]
    first = duplicates.clusters(len(records), links)
    return [replace(record, group=records[k].group, source=OWN) for record, k in zip(records, first, strict=True)]


def _check_groups(records: list[Record]) -> None:
    """Raises DataError if the images are of one kind only, or of too few groups of either."""
    groups = {kind: [record.group for record in records if _kind(record) == kind] for kind in KINDS}
    for kind, other in (KINDS, KINDS[::-1]):
        if not groups[kind]:
            raise DataError(
                f"All {len(records)} images are labeled {other}: a network that sees one kind only forgets the other. "
                f"Add images with {kind}."
            )
    for kind, of_kind in groups.items():
        if (count := len(set(of_kind))) < MIN_GROUPS:
            raise DataError(
                f"The {len(of_kind)} images with {kind} are of {many(count, 'group')} (a person, or images that look "
                f"the same); {MIN_GROUPS} are needed, so that some can be held out. Add images of other people."
            )


def _kind(record: Record) -> str:
    return KINDS[record.label == "notumor"]


def prepare(own: Dataset, original: Dataset | None, folder: Path, seed: int) -> None:
    """Lay own and rehearsed images out in `folder`, and beside it what was left out, and why."""
    records = own.records
    if original:
        training = [record for record in own.records if record.split != "test"] + rehearsal(original, seed)
        without = without_copies(Dataset(own.root, training, own.problems), original.where("test").records)
        records = without.records + own.where("test").records
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / LEFT_OUT).write_text("".join(f"{problem}\n" for problem in own.problems))
    lay_out(records, folder)


def rehearsal(original: Dataset, seed: int = 0) -> list[Record]:
    """Training and validation images of `original`, whole groups of every label, as many as `REHEARSED` says."""
    chosen = []
    for split, count in REHEARSED.items():
        records = original.where(split).trainable().records
        share = min(1.0, count / len(records))
        labels, groups = [record.label for record in records], [record.group for record in records]
        parts = split_by_group(labels, groups, {"in": share, "out": 1 - share}, seed)
        chosen += [record for record, part in zip(records, parts, strict=True) if part == "in"]
    return chosen


def lay_out(records: list[Record], folder: Path) -> None:
    """Write `folder` as a data set of these images: links to them, manifest.csv and boxes.csv.

    Names and groups become numbers: what a user's files are called may say who is in them.
    """
    (folder / "images").mkdir(parents=True)
    numbers: dict[tuple[bool, str], int] = {}  # own images apart; those of the original sources may share people
    rows = [("path", "label", "source", "group", "split", "sequence")]
    boxes = [("path", "x_center", "y_center", "width", "height")]
    for k, record in enumerate(records):
        name, number = f"images/{k:05}", numbers.setdefault((record.source == OWN, record.group), len(numbers))
        os.symlink(record.path.resolve(), folder / name)
        rows.append((name, record.label, record.source, number, record.split, record.sequence))
        if record.box:
            boxes.append((name, *record.box))
    for file, table in (("boxes.csv", boxes), ("manifest.csv", rows)):
        with (folder / file).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows(table)


# ---- regression check

Values = dict[str, np.ndarray]  # metric -> (R,): of all images, then of each resample; NaN where undefined


class Side(NamedTuple):
    """What is compared on one set of images. `values` of weights, given how often each image counts, (R, N)."""

    groups: list[str]  # of each image
    rests_on: dict[str, int]  # groups that a metric is made of
    values: Callable[[TumorClassifier, np.ndarray], Values]


def brain_mri(dataset: Dataset, start: TumorClassifier, cache: Path) -> Side:
    """All compared metrics but "others_refused", on labeled images; what is decoded is kept in `cache`."""

    def framed(classifier: TumorClassifier) -> Frames:
        return load_frames(dataset, classifier.config["size"], classifier.config["margin"], cache)

    labels = framed(start).labels.numpy()  # first: images that cannot be read leave the data set
    groups = np.array([record.group for record in dataset.records], dtype=object)
    recalls = {f"recall_{name}": k for k, name in enumerate(CLASSES) if k != NO_TUMOR}

    def values(classifier: TumorClassifier, weights: np.ndarray) -> Values:
        frames = framed(classifier)
        raw = classifier.outputs(frames.images)
        probabilities = classifier.calibrate(raw.logits)
        found = statistics(probabilities, labels, classifier.threshold, weights)
        answered = np.array(statuses(classifier, frames, raw, probabilities)) != "refused"
        overall = {name: found[name] for name in ("auc_tumor", "sensitivity_tumor", "specificity_tumor", "brier")}
        by_class = {name: found["recall"][:, k] for name, k in recalls.items()}
        return overall | by_class | {"answered": ratio(weights @ answered, weights.sum(1))}

    def count(part: np.ndarray) -> int:
        return len(set(groups[part]))

    tumors, free = count(labels != NO_TUMOR), count(labels == NO_TUMOR)
    rests_on = {"auc_tumor": min(tumors, free), "sensitivity_tumor": tumors, "specificity_tumor": free}
    rests_on |= {name: count(labels == k) for name, k in recalls.items()}
    rests_on |= {"brier": count(labels != PARTIAL), "answered": len(set(groups))}
    return Side(groups.tolist(), rests_on, values)


def other_images(folder: str) -> Side:
    """How many images that are no brain MRI are refused: drawn ones, and those of `folder` that fit no refusal."""
    slices = [draw_other(OTHERS_SEED + k, DRAWN_SIZE) for k in range(OTHERS)]
    groups = [f"drawn {k}" for k in range(OTHERS)]
    if folder:
        others = read_other_images(Path(folder))
        kept = [k for k, is_fitted in enumerate(others.for_fitting) if not is_fitted]
        slices, groups = slices + [others.slices[k] for k in kept], groups + [others.groups[k] for k in kept]

    def values(classifier: TumorClassifier, weights: np.ndarray) -> Values:
        refused = np.array([prediction.status == "refused" for prediction in classifier.predict(slices)])
        return {"others_refused": ratio(weights @ refused, weights.sum(1))}

    return Side(groups, {"others_refused": len(set(groups))}, values)


def compare(start: TumorClassifier, candidate: TumorClassifier, side: Side) -> dict[str, dict]:
    """{metric: {title, start, candidate, difference: {value, low, high}, lower_in, groups, verdict}}, JSON-ready.

    A difference is candidate minus start; `lower_in` is the share of resamples in which the candidate is worse;
    `verdict` is "fell", "held" or "too few groups". A metric that the images do not define is left out.
    """
    weights = np.vstack((np.ones(len(side.groups)), resample_weights(side.groups)))
    before, after = side.values(start, weights), side.values(candidate, weights)
    rows = {}
    for name, groups in side.rests_on.items():
        difference = after[name] - before[name]
        if not np.isfinite(difference[0]):
            continue
        gains = -difference if name == "brier" else difference
        lower_in = float((gains[1:][np.isfinite(gains[1:])] < 0).mean())
        rows[name] = {
            "title": TITLES[name],
            "start": float(before[name][0]),
            "candidate": float(after[name][0]),
            "difference": figure(difference[0], difference[1:]),
            "lower_in": lower_in,
            "groups": groups,
            "verdict": verdict(gains[0], lower_in, groups),
        }
    return rows


def verdict(gain: float, lower_in: float, groups: int) -> str:
    """ "fell", "held" or "too few groups", by the rule above; a loss is believed of however few groups."""
    if gain < -TOLERANCE and lower_in >= HARM_BELIEVED:
        return "fell"
    return "held" if groups >= MIN_COMPARED else "too few groups"


def judge(sets: dict[str, dict[str, dict]]) -> dict:
    """{set of images: what `compare` gave} -> {fell, not_told, promotable, sentences}; the last for the user.

    `fell` lists [set, metric], `not_told` the metrics that held on no set.
    """
    rows = [(where, name, row) for where, metrics in sets.items() for name, row in metrics.items()]
    fell = [[where, name] for where, name, row in rows if row["verdict"] == "fell"]
    known = {name for _, name, row in rows if row["verdict"] in ("fell", "held")}
    not_told = [name for name in TITLES if name not in known]
    sentences = [f"It got worse: {_loss(where, sets[where][name])}" for where, name in fell]
    if not fell:
        sentences.append("It did not get worse by what could be measured: no compared metric fell.")
    if not_told:
        sentences.append(
            f"Whether these held cannot be known, since no set has {MIN_COMPARED} groups for them: "
            f"{'; '.join(TITLES[name] for name in not_told)}. Add images, or name the original data."
        )
    return {"fell": fell, "not_told": not_told, "promotable": not fell and not not_told, "sentences": sentences}


def _loss(where: str, row: dict) -> str:
    value, low, high = (row["difference"][name] for name in ("value", "low", "high"))
    change = f"{value:+.3f}, {low:+.3f} to {high:+.3f}, {row['groups']} groups"
    return f"on the {where}, {row['title']}: {row['start']:.3f} before, {row['candidate']:.3f} now ({change})."


# ---- command line


def parse(arguments: list[str]) -> tuple[Settings, Path | None, int, bool]:
    """Command line -> the arguments of `retrain`. Unknown options end the program; raises ValueError."""
    parser = argparse.ArgumentParser("python -m training.retrain", allow_abbrev=False)
    add_options(parser)
    parser.set_defaults(**DEFAULTS)
    parser.add_argument("--original", type=Path, help="the data that the start was trained on, to measure on its test")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the optimizer, a batch each")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    options = vars(parser.parse_args(arguments))
    rest = [options.pop(name) for name in ("original", "steps", "resume")]
    return Settings(**options), *rest


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        result = retrain(*parse(sys.argv[1:] if arguments is None else arguments))
    except (DataError, OSError, FloatingPointError, ValueError) as error:
        print(f"training.retrain: {error}", file=sys.stderr)
        return 2
    print("\n".join(result["sentences"]))
    return 1 if result["fell"] else 0


if __name__ == "__main__":
    sys.exit(main())
