"""The end of a run: best weights -> calibrated, quantized, measured artefact with its card.

python -m training.export runs/NAME      # once more, after a change to the calibration or the report
"""

import dataclasses
import hashlib
import json
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from model import CLASSES
from model.classifier import TumorClassifier
from model.network import TumorNet
from model.preprocess import SERVING_MARGIN
from model.quantization import CONFIG, FILES, FORMAT_VERSION, save_weights

from . import plots
from .augment import CACHE_MARGIN
from .calibration import fit_temperature
from .card import card_of, count_by_source
from .checkpoint import load_checkpoint
from .data import load_frames
from .evaluate import evaluate
from .gate import Gate, fit_gate, limits, not_brain_frames
from .metrics import share_with_interval
from .settings import Settings
from .training_set import FRAME_SIZE, read_parts

EVIDENCE_PLOTS = ("confusion.png", "roc.png", "reliability.png")  # no patient is seen in these


def export(run: Path) -> Path:
    """Write `run/weights` from `run/best.pt`; returns that folder. Raises OSError, DataError."""
    facts = json.loads((run / "settings.json").read_text())
    settings = Settings(**facts["settings"])
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    net = TumorNet(settings.width)
    net.load_state_dict(load_checkpoint(run / "best.pt"))
    net.eval()
    folder = run / "weights"
    folder.mkdir(exist_ok=True)

    dataset, training, validation = read_parts(settings)
    size, cache = settings.size, Path(settings.cache)
    config = {
        "format_version": FORMAT_VERSION,
        "name": run.name,
        "trained": date.today().isoformat(),
        "precision": "int8",
        "classes": CLASSES,
        "width": settings.width,
        "size": size,
        "margin": SERVING_MARGIN,
        "temperature": 1.0,
        "refusal": {"refused_below": 0.0, "doubtful_below": 0.0},
        "data_fingerprint": facts["data_fingerprint"],
    }
    no_gate = Gate(torch.zeros(12 * settings.width), torch.zeros(()))
    classifier = write(folder, net, config, no_gate)

    print("fitting the gate that refuses what is no brain MRI", flush=True)
    not_brain = Path(settings.not_brain) if settings.not_brain else None
    wide = load_frames(training, FRAME_SIZE, CACHE_MARGIN, cache).images
    framed = load_frames(training, size, SERVING_MARGIN, cache).images
    gate = fit_gate(classifier, wide, framed, not_brain, settings.seed)
    classifier = write(folder, net, config, gate)

    validation_frames = load_frames(validation, size, SERVING_MARGIN, cache)
    raw = classifier.outputs(validation_frames.images)
    config["temperature"] = fit_temperature(raw.logits, validation_frames.labels.numpy())
    config["refusal"] = limits(raw.brain_scores)
    classifier = write(folder, net, config, gate)

    print("measuring on the test split", flush=True)
    report = run / "report"
    test = evaluate(classifier, dataset.where("test"), report, f"{Path(settings.data).name}, test")
    as_trained = evaluate(TumorClassifier.from_folder(folder, "fp32"), dataset.where("test"))
    metrics = {
        "test": test,
        "quantization": {
            "macro_f1_int8": test["macro_f1"]["value"],
            "macro_f1_fp32": as_trained["macro_f1"]["value"],
            **{f"bytes_{name}": (folder / file).stat().st_size for name, file in FILES.items()},
        },
        "weights_sha256": hashlib.sha256((folder / FILES["int8"]).read_bytes()).hexdigest(),
        "training": facts
        | {"settings": without_folders(settings)}
        | {"seconds": history[-1]["seconds"], "epochs": len(history), "sources": count_by_source(dataset)},
    }
    if not_brain:
        unseen = not_brain_frames(not_brain, size, SERVING_MARGIN, for_fitting=False)
        scores = classifier.outputs(unseen).brain_scores
        refused = scores < config["refusal"]["refused_below"]
        metrics["not_brain_mri"] = {"refused": share_with_interval(refused, np.arange(len(refused)).astype(str))}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    for name in EVIDENCE_PLOTS:
        shutil.copy(report / name, folder / name)
    plots.plot_history(history, folder / "history.png")
    (folder / "README.md").write_text(card_of(folder))
    figures = f"macro-F1 {test['macro_f1']['value']:.3f}, tumor AUC {test['auc_tumor']['value']:.3f}"
    print(f"wrote {folder}: {figures} on the test split")
    return folder


def without_folders(settings: Settings) -> dict:
    """The settings for a report: of folders only their names, since where they lie is nobody's business."""
    folders = {name: Path(getattr(settings, name)).name for name in ("data", "out", "not_brain", "cache")}
    return dataclasses.asdict(settings) | folders


def write(folder: Path, net: TumorNet, config: dict, gate: Gate) -> TumorClassifier:
    """Write both precisions and the config, and load the int8 artefact as a user would."""
    extras = {"gate.weight": gate.weight, "gate.bias": gate.bias}
    for precision in FILES:
        save_weights(net, extras, folder, precision)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    return TumorClassifier.from_folder(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.export runs/NAME")
    export(Path(sys.argv[1]))
