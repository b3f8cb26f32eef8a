"""The end of a run: best weights -> calibrated, quantized, measured artifact with its card."""

import hashlib
import json
import shutil
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
from ..data.frames import Frames, load_frames
from ..data.training_set import FRAME_SIZE, read_parts
from ..evaluation import plots
from ..evaluation.metrics import mean_with_interval
from ..evaluation.card import card_of, count_by_source
from ..evaluation.evaluate import evaluate
from ..evaluation.recorded import record, sha256
from ..network import TumorNet
from ..settings import FOLDERS, Settings, without_places
from . import gate
from .brain_detector import (
    OtherImages,
    brain_score_limits,
    fit_brain_detector,
    frames_of_others,
    read_other_images,
    varied,
)
from .calibration import fit_temperature
from .conformal import affordable_coverage, fit_prediction_set
from .distance import distance_limits, fit_distance
from .graph import float_graph, with_parameters
from .int8 import dynamic_int8
from .operating_point import fit_operating_point
from .study import add_study

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
    config = make_config(
        run.name, size, SERVING_MARGIN, trained=date.today().isoformat(), data_fingerprint=dataset.fingerprint()
    )
    print("learning what a brain MRI looks like, to refuse the rest", flush=True)
    others = read_other_images(Path(settings.not_brain)) if settings.not_brain else OtherImages([], [], [], [])
    fitting = [pixels for pixels, fit in zip(others.slices, others.for_fitting, strict=True) if fit]
    wide = load_frames(training, FRAME_SIZE, CACHE_MARGIN, cache).images
    served = load_frames(training, size, SERVING_MARGIN, cache).images
    brain = torch.cat((served, varied(wide, size, settings.seed)))
    other = frames_of_others(fitting, size, SERVING_MARGIN, settings.seed)
    kept_out = load_frames(validation, size, SERVING_MARGIN, cache)
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
        classifier = write(folder, net, graphs, config)
        raw = classifier.outputs(kept_out.images)
        config["refusal"] = brain_score_limits(raw.brain_score) | distance_limits(raw.distance)
        if start:
            config["refusal"] = no_stricter(config["refusal"], start["refusal"])
        as_served = other[: len(other) - len(fitting)]  # without those that are augmented
        fidelity = compare(folder, config, kept_out, as_served)
        if gate.holds(fidelity):
            break
        print(f"int8 from part {parts} of the body on differs too much: {fidelity}", flush=True)
    else:
        raise ValueError(f"{run} cannot be exported: its graphs differ even in float32. Look at the losses of the run.")

    print("calibrating on the validation split", flush=True)
    labels, groups = kept_out.labels.numpy(), [record.group for record in validation.records]
    config["temperature"] = fit_temperature(raw.logits, labels)
    probabilities = write(folder, net, graphs, config).calibrate(raw.logits)
    threshold = start["operating_point"]["threshold"] if start else None
    config["operating_point"] = fit_operating_point(probabilities, labels, groups, threshold)
    config["prediction_set"] = fit_prediction_set(probabilities, labels, groups, affordable_coverage(labels, groups))
    classifier = write(folder, net, graphs, config)

    print("measuring on the test split", flush=True)
    report = run / "report"
    test_set = dataset.where("test")
    used = [*training.records, *validation.records, *test_set.records]
    test = evaluate(classifier, test_set, report, f"{without_places(settings.data)}, test")
    tested = {name: test["operating_point"][name]["value"] for name in ("sensitivity", "specificity")}
    config["operating_point"]["tested"] = tested  # what the page prints: the split that chose the threshold flatters it
    write_config(folder, config)
    as_trained = evaluate(TumorClassifier.from_folder(folder, "fp32"), test_set)
    metrics = {
        "test": test,
        "quantization": {
            "macro_f1_int8": test["macro_f1"]["value"],
            "macro_f1_fp32": as_trained["macro_f1"]["value"],
            **{f"bytes_{name}": (folder / file).stat().st_size for name, file in FILES.items()},
            "parts_in_float": parts,
            "fidelity": fidelity,
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
    """Share of the images that took no part in fitting, and are no brain MRI, that the artifact refuses."""
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


def compare(folder: Path, config: dict, brain: Frames, other: torch.Tensor) -> dict:
    """`gate.fidelity` of the graphs in `folder` on framed brain MRI, with refusals at the limits of `config`, of
    `other` frames, too.
    """
    classifiers = [TumorClassifier.from_folder(folder, precision) for precision in ("int8", "fp32")]
    int8, fp32 = (classifier.outputs(brain.images) for classifier in classifiers)
    limits = config["refusal"]

    def refused(raw: RawOutputs) -> np.ndarray:
        return (raw.brain_score < limits["refused_below"]) | (raw.distance >= limits["refused_from"])

    with_others = [
        np.concatenate((refused(raw), refused(classifier.outputs(other))))
        for classifier, raw in zip(classifiers, (int8, fp32), strict=True)
    ]
    return gate.fidelity(int8, fp32, brain.labels.numpy(), tuple(with_others))


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
