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
UNCALIBRATED_STUDY = {  # the odds of a volume are then the mean of its slices' odds
    **{"sharpness": 1.0, "slope": 1.0, "intercept": 0.0},
    **{"threshold": 0.5, "sensitivity": None, "specificity": None},
}


class DamagedWeights(ValueError):
    """The weights folder cannot be used; the message is for the user."""


class OtherFormat(DamagedWeights):
    """It is of another version of this program."""


class WeightsUnavailable(ValueError):
    """The weights asked for cannot be had; the message is for the user."""


def make_config(name: str, size: int, margin: float, **facts) -> dict:
    """What config.json says of an artifact that is not calibrated and refuses nothing yet; `facts` add or override.

    `size` of the network's input in pixels, `margin` around the head as in `preprocess.frame`. "operating_point" is on
    P(tumor), "prediction_set" on a class's probability, "refusal" on the brain score (`_below`) and the distance from
    the training images (`_from`), "study" on whole volumes (model/study.py); training/export fits them all on
    validation. "sha256" is of each file with weights, by its name.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": list(CLASSES),
        "size": size,
        "margin": margin,
        "temperature": 1.0,
        "operating_point": {"threshold": 0.5, "sensitivity": None, "specificity": None},
        "prediction_set": {"coverage": None, "keep_from": 1.0},  # the most probable class alone
        "refusal": {"refused_below": 0.0, "doubtful_below": 0.0, "doubtful_from": NEVER, "refused_from": NEVER},
        "study": UNCALIBRATED_STUDY,
        "sha256": {},
    } | facts


def write_config(folder: Path, config: dict) -> None:
    """Write config.json; `config` as `make_config` gives it."""
    names = dict(enumerate(DISPLAY_NAMES[name] for name in CLASSES))
    of_transformers = {
        "model_type": OURS,
        "architectures": ["BrainTumorClassifier"],
        "auto_map": {
            "AutoConfig": "modeling_brain_tumor.BrainTumorConfig",
            "AutoImageProcessor": "modeling_brain_tumor.BrainTumorProcessor",
            "AutoModelForImageClassification": "modeling_brain_tumor.BrainTumorClassifier",
        },
        "id2label": names,
        "label2id": {name: k for k, name in names.items()},
        "image_size": config["size"],
        "num_channels": 1,
    }
    (folder / CONFIG).write_text(json.dumps(of_transformers | {OURS: config}, indent=2) + "\n")


def read_config(folder: Path) -> dict:
    """The artifact's config, as `make_config` gives it. Raises `DamagedWeights` if it is missing, broken, or not for
    this program.
    """
    damaged = f"{folder / CONFIG} is missing or damaged. Copy the weights folder again."
    try:
        content = json.loads((folder / CONFIG).read_text())
        config = content.get(OURS, content)  # up to format 3 there was nothing else
        version, classes = int(config["format_version"]), tuple(config["classes"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedWeights(damaged) from error
    if version != FORMAT_VERSION:
        remedy = "Update it." if version > FORMAT_VERSION else "Take newer weights."
        raise OtherFormat(f"these weights have format {version}; this program reads format {FORMAT_VERSION}. {remedy}")
    if classes != CLASSES:
        raise DamagedWeights(f"these weights answer {config['classes']}; this program knows {', '.join(CLASSES)} only.")
    if not _holds_all_of(make_config("", 0, 0.0), config):
        raise DamagedWeights(damaged)
    return config


def _holds_all_of(template: object, config: object) -> bool:
    """Whether every key of `template` is in `config`, on every level."""
    if not isinstance(template, dict):
        return True
    return isinstance(config, dict) and all(
        name in config and _holds_all_of(value, config[name]) for name, value in template.items()
    )


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
