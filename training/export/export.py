"""The end of a run: best weights -> calibrated, quantized, measured artifact with its card.

python -m training.export.export runs/NAME    # once more, after a change to the calibration or the report
"""

import hashlib
import json
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save

from model.artifact import FILES, TRAINED, make_config, write_config
from model.classifier import RawOutputs, TumorClassifier
from model.preprocess import SERVING_MARGIN

from ..augmentation.augment import CACHE_MARGIN
from ..checkpoint import load_checkpoint
from ..data.frames import Dataset, Frames, load_frames
from ..data.training_set import FRAME_SIZE, read_parts
from ..evaluation import plots
from ..evaluation.card import card_of, count_by_source
from ..evaluation.certainty import fit_temperature
from ..evaluation.evaluate import evaluate
from ..evaluation.metrics import mean_with_interval
from ..evaluation.recorded import record, sha256
from ..evaluation.studies import judged_slices, measure_study
from ..network import TumorNet
from ..settings import FOLDERS, Settings, without_places
from . import gate
from .calibration import fit_operating_point, fit_prediction_set, fit_study
from .graph import float_graph, with_parameters
from .int8 import dynamic_int8
from .refusal import (
    OtherImages,
    augmented,
    fit_brain_detector,
    fit_distance,
    frames_of_others,
    read_other_images,
    refusal_limits,
)

EVIDENCE_PLOTS = ("confusion.png", "roc.png", "reliability.png")  # no patient is seen in these


def export(run: Path, start: dict | None = None) -> Path:
    """Write `run/weights` from `run/best.pt`; returns that folder. Raises OSError, DataError, ValueError.

    `start`: config.json of the weights that were fine-tuned on a few images: the limits of refusal get no stricter, and
    the operating point moves only for a reason.
    """
    facts = json.loads((run / "settings.json").read_text())
    settings = Settings.recorded(facts["settings"])
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    net = TumorNet()
    net.load_state_dict(load_checkpoint(run / "best.pt"))
    net.eval()
    folder = run / "weights"
    folder.mkdir(exist_ok=True)

    dataset, training, validation = read_parts(settings)
    about = {"trained": date.today().isoformat(), "data_fingerprint": dataset.fingerprint()}
    config = make_config(run.name, settings.size, SERVING_MARGIN, **about)
    print("learning what a brain MRI looks like, to refuse the rest", flush=True)
    others = read_other_images(Path(settings.not_brain)) if settings.not_brain else OtherImages([], [], [], [])
    kept_out = load_frames(validation, settings.size, SERVING_MARGIN, Path(settings.cache))
    limits = start["refusal"] if start else None
    graphs, raw, quantization = quantize(folder, net, config, settings, training, kept_out, others, limits)

    print("calibrating on the validation split", flush=True)
    labels, groups = kept_out.labels.numpy(), [record.group for record in validation.records]
    config["temperature"] = fit_temperature(raw.logits, labels)
    probabilities = write(folder, net, graphs, config).calibrate(raw.logits)
    threshold = start["operating_point"]["threshold"] if start else None
    config["operating_point"] = fit_operating_point(probabilities, labels, groups, threshold)
    config["prediction_set"] = fit_prediction_set(probabilities, labels, groups)
    classifier = write(folder, net, graphs, config)
    config["study"] = fit_study(judged_slices(classifier, validation))

    print("measuring on the test split", flush=True)
    test_set, report = dataset.where("test"), run / "report"
    used = [*training.records, *validation.records, *test_set.records]
    test = evaluate(classifier, test_set, report, f"{without_places(settings.data)}, test")
    study = measure_study(judged_slices(classifier, test_set), config)
    for part, figures in (("operating_point", test["operating_point"]), ("study", study)):
        if figures:  # what the page prints: the split that chose the threshold flatters it
            tested = {name: figures[name]["value"] for name in ("sensitivity", "specificity")}
            config[part] = config[part] | {"tested": tested}
    write_config(folder, config)
    as_trained = evaluate(TumorClassifier.from_folder(folder, "fp32"), test_set)
    metrics = {
        "test": test,
        "quantization": {
            "macro_f1_int8": test["macro_f1"]["value"],
            "macro_f1_fp32": as_trained["macro_f1"]["value"],
            **{f"bytes_{name}": (folder / file).stat().st_size for name, file in FILES.items()},
            **quantization,
        },
        "weights_sha256": sha256(folder / FILES["int8"]),
        "training": facts
        | {"settings": without_folders(facts["settings"]), "seconds": history[-1]["seconds"], "epochs": len(history)}
        | {"sources": count_by_source(used), "left_out": len(dataset.records) - len(used)},
        "recorded": record(folder),
        "study": study,
    }
    if others.slices:
        metrics["not_brain_mri"] = measure_refusal(classifier, others)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    for name in EVIDENCE_PLOTS:
        shutil.copy(report / name, folder / name)
    plots.plot_history(history, folder / "history.png")
    (folder / "README.md").write_text(card_of(folder))
    figures = f"macro-F1 {test['macro_f1']['value']:.3f}, tumor AUC {test['auc_tumor']['value']:.3f}"
    print(f"wrote {folder}: {figures} on the test split")
    return folder


def quantize(
    folder: Path,
    net: TumorNet,
    config: dict,
    settings: Settings,
    training: Dataset,
    kept_out: Frames,
    others: OtherImages,
    start: dict[str, float] | None,
) -> tuple[dict[str, onnx.ModelProto], RawOutputs, dict]:
    """Graphs with a brain detector and a distance that are fitted to the int8 one's own features; the limits of refusal
    go into `config`. Parts of the body stay float32 until the int8 graph passes the gate on the validation split.

    Returns: the graph of each precision, the int8 one's outputs for the validation split, and what metrics.json says of
    the quantization. Raises: ValueError where not even float32 passes.
    """
    size, cache = settings.size, Path(settings.cache)
    fitting = [pixels for pixels, fit in zip(others.slices, others.for_fitting, strict=True) if fit]
    served = load_frames(training, size, SERVING_MARGIN, cache).images
    wide = load_frames(training, FRAME_SIZE, CACHE_MARGIN, cache).images
    brain = torch.cat((served, augmented(wide, size, settings.seed)))
    other = frames_of_others(fitting, size, SERVING_MARGIN, settings.seed)
    graph = float_graph(net, size)
    for parts in gate.FLOAT_PARTS:
        graphs = {"fp32": graph, "int8": dynamic_int8(graph, gate.in_float(parts))}
        classifier = write(folder, net, graphs, config)
        features = classifier.outputs(brain).features
        detector = fit_brain_detector(features, classifier.outputs(other).features)
        distance = fit_distance(features, classifier.outputs(kept_out.images).features)
        for model in graphs.values():
            with_parameters(model, "brain_detector", detector)
            with_parameters(model, "distance", distance)
        raw = write(folder, net, graphs, config).outputs(kept_out.images)
        config["refusal"] = refusal_limits(raw.brain_score, raw.distance, start)
        as_served = other[: len(other) - len(fitting)]  # without those that are augmented
        fidelity = compare(folder, config["refusal"], kept_out, as_served)
        if gate.holds(fidelity):
            return graphs, raw, {"parts_in_float": parts, "fidelity": fidelity}
        print(f"int8 from part {parts} of the body on differs too much: {fidelity}", flush=True)
    raise ValueError("these weights cannot be exported: their graphs differ even in float32. Look at the run's losses.")


def compare(folder: Path, limits: dict[str, float], brain: Frames, other: torch.Tensor) -> dict:
    """`gate.fidelity` of the graphs in `folder`: on brain MRI, and its refusals at `limits` on `other` frames, too."""
    raw, refused = [], []
    for precision in ("int8", "fp32"):
        classifier = TumorClassifier.from_folder(folder, precision)
        answers = [classifier.outputs(frames) for frames in (brain.images, other)]
        low, far = (np.concatenate([getattr(a, name) for a in answers]) for name in ("brain_score", "distance"))
        raw.append(answers[0])
        refused.append((low < limits["refused_below"]) | (far >= limits["refused_from"]))
    return gate.fidelity(*raw, brain.labels.numpy(), tuple(refused))


def measure_refusal(classifier: TumorClassifier, others: OtherImages) -> dict:
    """Share of the images that took no part in fitting, and are no brain MRI, that the artifact refuses."""
    held_out = [k for k, fit in enumerate(others.for_fitting) if not fit]
    predictions = classifier.predict([others.slices[k] for k in held_out])
    refused = np.array([prediction.status == "refused" for prediction in predictions])
    share = mean_with_interval(refused, [others.groups[k] for k in held_out])
    return {"refused": share, "unreadable": len(others.problems)}


def without_folders(settings: dict) -> dict:
    """Settings for a report, of folders only their names."""
    named = {name: without_places(settings[name]) for name in FOLDERS if name in settings}
    start = Path(settings["init"])
    if start.exists():
        named["init"] = start.name if start.is_file() else start.resolve().parent.name  # runs/NAME/weights
    return settings | named


def write(folder: Path, net: TumorNet, graphs: dict[str, onnx.ModelProto], config: dict) -> TumorClassifier:
    """Write the trained network, the graph of each precision and the config, and load the int8 one as a user would.

    What `config` says of the files' sha256 is brought up to date.
    """
    contents = {FILES[name]: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}
    contents[TRAINED] = save({name: tensor.contiguous() for name, tensor in net.state_dict().items()})
    for file, content in contents.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    config["sha256"] = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    write_config(folder, config)
    return TumorClassifier.from_folder(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name one run folder: python -m training.export.export runs/NAME")
    export(Path(sys.argv[1]))
