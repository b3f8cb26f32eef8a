"""A weights folder: the exported graphs, and the config.json that says how to read and calibrate what they answer.

It is laid out as a repository on the Hub, for the programs of others, too: config.json has the keys that transformers
looks for, and what is ours under `OURS`; ONNX files lie where transformers.js expects them.
"""

import hashlib
import json
from pathlib import Path

from . import CLASSES, DISPLAY_NAMES

EMBEDDED = Path(__file__).parent / "weights"  # the one that comes with this repository
FORMAT_VERSION = 4
FILES = {"int8": "onnx/model_quantized.onnx", "fp32": "onnx/model.onnx"}  # to answer with
TRAINED = "model.safetensors"  # float32, to fine-tune from
CONFIG = "config.json"
OURS = "brain_mri_tumor"  # key of config.json, and the model's type
NEVER = 1e9  # a distance from the training images that no slice has
UNCALIBRATED_POINT = {"threshold": 0.5, "sensitivity": None, "specificity": None}
UNCALIBRATED_STUDY = {"sharpness": 1.0, "slope": 1.0, "intercept": 0.0} | UNCALIBRATED_POINT  # the mean odds of slices


class DamagedWeights(ValueError):
    """The weights folder cannot be used; the message is for the user."""


class WeightsUnavailable(ValueError):
    """The weights asked for cannot be had; the message is for the user."""


def make_config(name: str, size: int, margin: float, **facts) -> dict:
    """What config.json says of an artifact that is not calibrated and refuses nothing yet; `facts` add or override.

    `size` of the network's input in pixels, `margin` around the head as in `preprocess.frame`. "operating_point" is on
    P(tumor), "prediction_set" on a class's probability, "refusal" on the brain score (`_below`) and the distance from
    the training images (`_from`), "study" on whole volumes (model/study.py). "sha256" is by file name.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": list(CLASSES),
        "size": size,
        "margin": margin,
        "temperature": 1.0,
        "operating_point": UNCALIBRATED_POINT,
        "prediction_set": {"coverage": None, "keep_from": 1.0},  # the most probable class alone
        "refusal": {"refused_below": 0.0, "doubtful_below": 0.0, "doubtful_from": NEVER, "refused_from": NEVER},
        "study": UNCALIBRATED_STUDY,
        "sha256": {},
    } | facts


def write_config(folder: Path, config: dict) -> None:
    """Write config.json; `config` as `make_config` gives it."""
    names = dict(enumerate(DISPLAY_NAMES[name] for name in CLASSES))
    auto = {"Config": "Config", "ImageProcessor": "Processor", "ModelForImageClassification": "Classifier"}
    of_transformers = {
        "model_type": OURS,
        "architectures": ["BrainTumorClassifier"],
        "auto_map": {f"Auto{name}": f"modeling_brain_tumor.BrainTumor{of_ours}" for name, of_ours in auto.items()},
        "id2label": names,
        "label2id": {name: k for k, name in names.items()},
        "image_size": config["size"],
        "num_channels": 1,
    }
    (folder / CONFIG).write_text(json.dumps(of_transformers | {OURS: config}, indent=2) + "\n")


def read_config(folder: Path) -> dict:
    """The artifact's config, as `make_config` gives it. Raises `DamagedWeights`."""
    damaged = f"{folder / CONFIG} is missing or damaged. Copy the weights folder again."
    try:
        config = json.loads((folder / CONFIG).read_text())[OURS]
        version, classes = int(config["format_version"]), tuple(config["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedWeights(damaged) from error
    if version != FORMAT_VERSION:
        remedy = "Update it." if version > FORMAT_VERSION else "Take newer weights."
        raise DamagedWeights(
            f"these weights have format {version}; this program reads format {FORMAT_VERSION}. {remedy}"
        )
    if classes != CLASSES:
        raise DamagedWeights(f"these weights answer {config['classes']}; this program knows {', '.join(CLASSES)} only.")
    for name, value in make_config("", 0, 0.0).items():
        found = config.get(name)
        if name not in config or (
            isinstance(value, dict) and not (isinstance(found, dict) and value.keys() <= found.keys())
        ):
            raise DamagedWeights(damaged)
    return config


def read_graph(folder: Path, precision: str, config: dict) -> bytes:
    """An ONNX file, which is what `config` says it is. Raises `DamagedWeights`."""
    file = folder / FILES[precision]
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DamagedWeights(f"{file} is missing or damaged. Copy the weights folder again.") from error
    if hashlib.sha256(content).hexdigest() != config["sha256"].get(FILES[precision]):
        raise DamagedWeights(f"{file} is missing or damaged: it is not what {CONFIG} names. Copy the folder again.")
    return content
