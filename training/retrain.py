"""Fine-tune published weights on a hospital's own few images, and say plainly whether they got worse.

    python -m training.retrain --data OWN_IMAGES --out runs/ours                       # from the embedded weights
    python -m training.retrain --init ORG/NAME --data OWN_IMAGES --out runs/ours --original ../shared/data/pool
    python -m training.retrain ... --resume                                            # go on after a stop

First the head alone is trained, then what `--frozen` leaves free; thresholds, calibration and refusal are fitted anew
on held-out images. Then the new weights and the ones they started from answer the same images: own ones of groups that
took no part, images that are no brain MRI and, if `--original` names the data that the start was trained on, its test
split. With the original data some of its training images join, against forgetting. The rule by which a metric counts
as fallen is in training/guards.py, what is asked of the images in training/own_images.py.

The run folder gets what training.train writes, `data/` (links to the images), own_images.txt (what was left out, and
why) and comparison.json. Exit code 0 if nothing got worse, 1 if something did, 2 if there was nothing to train on.
"""

import argparse
import dataclasses
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from model.artifact import EMBEDDED, FILES, read_config, write_config
from model.classifier import TumorClassifier
from model.hub import find_weights

from . import guards
from .data.frames import DataError, Dataset, read_dataset, without_copies
from .data.phantoms import draw_other
from .evaluation.card import card_of
from .evaluation.recorded import sha256
from .export.refusal import DRAWN_SIZE, read_other_images
from .export.export import export
from .own_images import lay_out, read_own_images, rehearsal
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
UNSEEN_OTHERS, UNSEEN_SEED = 100, 3_000_000  # drawn images that are no brain MRI and on which no refusal was fitted
COMPARISON, CARD = "comparison.json", "README.md"
NO_ORIGINAL = "The original test images are not at hand: what it has forgotten of them is not known."


def retrain(
    settings: Settings,
    original: Path | None = None,
    steps: int = STEPS,
    resume: bool = False,
    tell: Callable[[str], object] = print,
) -> dict:
    """Fine-tune as `settings` say, on the images in `settings.data`; returns what comparison.json holds.

    Args: `original`, the data that the start was trained on; `steps` of the optimizer; `tell` is called with each stage
    as it begins. Of `settings`, those that `settings.set_by` names are not asked: the start, `steps` or this
    program decides.
    Raises: DataError, OSError, ValueError with a sentence, most of them before anything is trained.
    """
    out = Path(settings.out)
    data = out / "data"
    if data.exists() and not resume:
        raise DataError(f"{out} already holds a run. Add --resume to go on with it, or choose another --out.")
    tell("checking the images")
    start = TumorClassifier.from_folder(find_weights(settings.init))
    of_start = read_dataset(original).trainable() if original else None
    if of_start and of_start.fingerprint() != root_fingerprint(start.config):
        raise DataError(
            f"{original} is not the data that {start.version} was trained on, so its test images may have been "
            "training images. Name the original data, or none."
        )
    if not (data / "manifest.csv").exists():
        shutil.rmtree(data, ignore_errors=True)  # begun, but not finished
        prepare(read_own_images(Path(settings.data), settings.seed), of_start, data, settings.seed)
    own = read_dataset(data)
    tell("training")
    run = fit(fine_tuning(settings, data, start.config["size"], len(own.where("train").records), steps), resume)
    tell("calibrating and measuring")
    weights = export(run, start.config)
    remember_root(weights, start.config)
    tell("comparing with the start")
    candidate, cache = TumorClassifier.from_folder(weights), Path(settings.cache)
    sides = {"own held-out images": guards.brain_mri(own.where("test"), start, cache)}
    if of_start:
        sides["original test images"] = guards.brain_mri(of_start.where("test"), start, cache)
    sides["images that are no brain MRI"] = guards.other_images(*unseen_others(settings.not_brain))
    sets = {name: guards.compare(start, candidate, side) for name, side in sides.items()}
    result = {
        "date": date.today().isoformat(),
        "start": described(start),
        "candidate": described(candidate),
        "images": {split: len(own.where(split).records) for split in ("train", "val", "test")},
        "groups": {split: len({r.group for r in own.where(split).records}) for split in ("train", "val", "test")},
        "original": bool(of_start),
        "steps": steps,
        "rule": {"tolerance": guards.TOLERANCE, "believed_from": guards.HARM_BELIEVED, "groups": guards.MIN_GROUPS},
        "sets": sets,
        **guards.judge(sets),
    }
    if not of_start:
        result["sentences"].append(NO_ORIGINAL)
    tell_in_card(weights, result)
    unfinished = out / f"{COMPARISON}.part"
    unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    os.replace(unfinished, out / COMPARISON)
    return result


def prepare(own: Dataset, original: Dataset | None, folder: Path, seed: int) -> None:
    """Lay own and rehearsed images out in `folder`, and beside it what was left out, and why."""
    records = own.records
    if original:
        training = [record for record in own.records if record.split != "test"] + rehearsal(original, seed)
        without = without_copies(Dataset(own.root, training, own.problems), original.where("test").records)
        records = without.records + own.where("test").records
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "own_images.txt").write_text("".join(f"{problem}\n" for problem in own.problems))
    lay_out(records, folder)


def fine_tuning(settings: Settings, data: Path, size: int, images: int, steps: int) -> Settings:
    """`settings` for `steps` batches of `images` that train, all of them at full size."""
    epochs = max(1, round(steps / math.ceil(images / settings.batch)))
    whole_run = {"epochs": epochs, "patience": epochs, "warmup_epochs": WARMUP * epochs}
    return dataclasses.replace(settings, data=str(data), size=size, smallest_size=size, **whole_run)


def root_fingerprint(config: dict) -> str:
    """Of the data at the beginning of all retraining."""
    return config.get("original_fingerprint", config.get("data_fingerprint", ""))


def remember_root(weights: Path, start: dict) -> None:
    """Note in the new config.json which data the whole line of weights began with: only its test split is untouched."""
    write_config(weights, read_config(weights) | {"original_fingerprint": root_fingerprint(start)})


def tell_in_card(weights: Path, comparison: dict) -> None:
    """Put the comparison into metrics.json and the card of the new weights."""
    metrics = json.loads((weights / "metrics.json").read_text()) | {"retrained": comparison}
    (weights / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (weights / CARD).write_text(card_of(weights))


def unseen_others(folder: str) -> tuple[list, list[str]]:
    """Images that are no brain MRI, with groups: drawn ones, and those of `folder` that no refusal is fitted to."""
    slices = [draw_other(UNSEEN_SEED + k, DRAWN_SIZE) for k in range(UNSEEN_OTHERS)]
    groups = [f"drawn {k}" for k in range(UNSEEN_OTHERS)]
    if folder:
        others = read_other_images(Path(folder))
        for pixels, group, fitted in zip(others.slices, others.groups, others.for_fitting, strict=True):
            if not fitted:
                slices.append(pixels)
                groups.append(group)
    return slices, groups


def described(classifier: TumorClassifier) -> dict[str, str]:
    weights = classifier.folder / FILES["int8"]
    return {"name": classifier.config["name"], "version": classifier.version, "sha256": sha256(weights)}


def parse(arguments: list[str]) -> tuple[Settings, Path | None, int, bool]:
    """Command line -> the arguments of `retrain`. Unknown options end the program; raises ValueError."""
    parser = argparse.ArgumentParser(
        prog="python -m training.retrain", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    add_options(parser)
    parser.set_defaults(**DEFAULTS)
    parser.add_argument("--original", type=Path, help="the data that the start was trained on, to measure on its test")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the optimizer, a batch each")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    options = vars(parser.parse_args(arguments))
    rest = [options.pop(name) for name in ("original", "steps", "resume")]
    return Settings(**options), *rest


def main(arguments: list[str] | None = None) -> int:
    try:
        result = retrain(*parse(sys.argv[1:] if arguments is None else arguments))
    except (DataError, OSError, FloatingPointError, ValueError) as error:
        print(f"training.retrain: {error}", file=sys.stderr)
        return 2
    print("\n".join(result["sentences"]))
    return 1 if result["fell"] else 0


if __name__ == "__main__":
    sys.exit(main())
