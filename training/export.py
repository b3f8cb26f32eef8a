"""The end of a run: best weights -> calibrated, quantized, measured artefact with its card.

python -m training.export runs/NAME      # once more, after a change to the calibration or the report
"""

import json
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from model.classifier import TumorClassifier
from model.familiarity import Familiarity, never_strange
from model.network import FEATURES, TumorNet
from model.preprocess import SERVING_MARGIN
from model.quantization import CONFIG, FILES, make_config, save_weights

from . import plots
from .augment import CACHE_MARGIN
from .bootstrap import mean_with_interval
from .calibration import fit_temperature
from .card import card_of, count_by_source
from .checkpoint import load_checkpoint
from .conformal import affordable_coverage, fit_prediction_set
from .data import load_frames
from .evaluate import evaluate
from .familiarity import distance_limits, fit_familiarity
from .gate import (
    Gate,
    OtherImages,
    brain_score_limits,
    fit_gate,
    frames_of_others,
    open_gate,
    read_other_images,
    varied,
)
from .operating_point import fit_operating_point
from .recorded import record, sha256
from .settings import FOLDERS, Settings, without_places
from .study import add_study
from .training_set import FRAME_SIZE, read_parts

EVIDENCE_PLOTS = ("confusion.png", "roc.png", "reliability.png")  # no patient is seen in these


def export(run: Path, start: dict | None = None) -> Path:
    """Write `run/weights` from `run/best.pt`; returns that folder. Raises OSError, DataError.

    `start`: config.json of the weights that were fine-tuned on a few images. These know less of what is ordinary than
    the many images before: the limits of refusal get no stricter, and the operating point moves only for a reason.
    """
    facts = json.loads((run / "settings.json").read_text())
    settings = Settings(**facts["settings"])
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    net = TumorNet()
    net.load_state_dict(load_checkpoint(run / "best.pt"))
    net.eval()
    folder = run / "weights"
    folder.mkdir(exist_ok=True)

    dataset, training, validation = read_parts(settings)
    size, cache = settings.size, Path(settings.cache)
    facts_of_config = {"trained": date.today().isoformat(), "data_fingerprint": dataset.fingerprint()}
    config = make_config(run.name, size, SERVING_MARGIN, **facts_of_config)
    classifier = write(folder, net, config, open_gate(FEATURES), never_strange(FEATURES))

    print("learning what a brain MRI looks like, to refuse the rest", flush=True)
    others = read_other_images(Path(settings.not_brain)) if settings.not_brain else OtherImages([], [], [], [])
    fitting = [pixels for pixels, fit in zip(others.slices, others.for_fitting, strict=True) if fit]
    wide = load_frames(training, FRAME_SIZE, CACHE_MARGIN, cache).images
    served = load_frames(training, size, SERVING_MARGIN, cache).images
    brain = classifier.outputs(torch.cat((served, varied(wide, size, settings.seed)))).features
    other = classifier.outputs(frames_of_others(fitting, size, SERVING_MARGIN, settings.seed)).features
    kept_out = load_frames(validation, size, SERVING_MARGIN, cache)
    fitted = fit_gate(brain, other), fit_familiarity(brain, classifier.outputs(kept_out.images).features)
    classifier = write(folder, net, config, *fitted)

    print("calibrating on the validation split", flush=True)
    labels, groups = kept_out.labels.numpy(), [record.group for record in validation.records]
    raw = classifier.outputs(kept_out.images)
    config["refusal"] = brain_score_limits(raw.brain_scores) | distance_limits(raw.distances)
    if start:
        config["refusal"] = no_stricter(config["refusal"], start["refusal"])
    config["temperature"] = fit_temperature(raw.logits, labels)
    probabilities = write(folder, net, config, *fitted).calibrate(raw.logits)
    threshold = start["operating_point"]["threshold"] if start else None
    config["operating_point"] = fit_operating_point(probabilities, labels, groups, threshold)
    config["prediction_set"] = fit_prediction_set(probabilities, labels, groups, affordable_coverage(labels, groups))
    classifier = write(folder, net, config, *fitted)

    print("measuring on the test split", flush=True)
    report = run / "report"
    test_set = dataset.where("test")
    used = [*training.records, *validation.records, *test_set.records]
    test = evaluate(classifier, test_set, report, f"{without_places(settings.data)}, test")
    tested = {name: test["operating_point"][name]["value"] for name in ("sensitivity", "specificity")}
    config["operating_point"]["tested"] = tested  # what the page prints: the split that chose the threshold flatters it
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    as_trained = evaluate(TumorClassifier.from_folder(folder, "fp32"), test_set)
    metrics = {
        "test": test,
        "quantization": {
            "macro_f1_int8": test["macro_f1"]["value"],
            "macro_f1_fp32": as_trained["macro_f1"]["value"],
            **{f"bytes_{name}": (folder / file).stat().st_size for name, file in FILES.items()},
        },
        "weights_sha256": sha256(folder / FILES["int8"]),
        "training": facts
        | {"settings": without_folders(facts["settings"]), "seconds": history[-1]["seconds"], "epochs": len(history)}
        | {"sources": count_by_source(used), "left_out": len(dataset.records) - len(used)},
        "recorded": record(folder),
    }
    if others.slices:
        metrics["not_brain_mri"] = measure_refusal(classifier, others)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print("putting whole volumes together", flush=True)
    add_study(folder, validation, test_set)
    for name in EVIDENCE_PLOTS:
        shutil.copy(report / name, folder / name)
    plots.plot_history(history, folder / "history.png")
    (folder / "README.md").write_text(card_of(folder))
    figures = f"macro-F1 {test['macro_f1']['value']:.3f}, tumor AUC {test['auc_tumor']['value']:.3f}"
    print(f"wrote {folder}: {figures} on the test split")
    return folder


def no_stricter(limits: dict[str, float], than: dict[str, float]) -> dict[str, float]:
    """`limits` of config.json's "refusal", each moved to where `than` is if that lets more slices through."""
    return {name: (min if name.endswith("_below") else max)(limit, than[name]) for name, limit in limits.items()}


def measure_refusal(classifier: TumorClassifier, others: OtherImages) -> dict:
    """Share of the images that took no part in fitting, and are no brain MRI, that the artefact refuses."""
    unseen = [k for k, fit in enumerate(others.for_fitting) if not fit]
    predictions = classifier.predict([others.slices[k] for k in unseen])
    refused = np.array([prediction.status == "refused" for prediction in predictions])
    share = mean_with_interval(refused, [others.groups[k] for k in unseen])
    return {"refused": share, "unreadable": len(others.problems)}


def without_folders(settings: dict) -> dict:
    """Settings for a report, of folders only their names."""
    named = {name: without_places(settings[name]) for name in FOLDERS if name in settings}
    start = Path(settings["init"])
    if start.exists():
        named["init"] = start.name if start.is_file() else start.resolve().parent.name  # runs/NAME/weights
    return settings | named


def write(folder: Path, net: TumorNet, config: dict, gate: Gate, familiarity: Familiarity) -> TumorClassifier:
    """Write both precisions and the config, and load the int8 artefact as a user would."""
    extras = {"gate.weight": gate.weight, "gate.bias": gate.bias}
    extras |= {f"familiarity.{name}": tensor for name, tensor in familiarity._asdict().items()}
    for precision in FILES:
        save_weights(net, extras, folder, precision)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return TumorClassifier.from_folder(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.export runs/NAME")
    export(Path(sys.argv[1]))
