"""A weights folder before it is published: all there, all of one piece, and answering as it was measured."""

import hashlib
import json
from pathlib import Path

import onnx
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from model.artifact import CONFIG, FILES, TRAINED, read_config, read_graph

from ..evaluation.card import PLOTS, WIDGET, card_of
from ..evaluation.recorded import EXAMPLES, OtherAnswers, compare, sha256
from ..export.graph import float_graph
from ..network import TumorNet, trained_in
from .push import Upload

METRICS, CARD = "metrics.json", "README.md"
# For programs of others: what answers in a file of its own, and what transformers looks for
PROGRAMS, PREPROCESSOR = ("inference.py", "modeling_brain_tumor.py"), "preprocessor_config.json"
# What is ours to replace in the repository
PUBLISHED = (*FILES.values(), TRAINED, CONFIG, METRICS, CARD, *PLOTS, *PROGRAMS, PREPROCESSOR, *WIDGET)


def weights_folder(run: Path) -> Path:
    """`runs/NAME/weights` of a run, or the folder itself if it holds weights already."""
    return run if (run / CONFIG).exists() else run / "weights"


def remake_float_graph(folder: Path) -> None:
    """Write the float32 graph that `folder` lacks, if this PyTorch exports the very file that was measured.

    It is the trained network with what judges its features, which the int8 graph holds in float32, too. Raises:
    `DamagedWeights`.
    """
    config, file = read_config(folder), folder / FILES["fp32"]
    if file.exists():
        return
    net = TumorNet()
    net.load_state_dict(trained_in(folder))
    model = float_graph(net.eval(), config["size"])
    int8 = onnx.load_from_string(read_graph(folder, "int8", config))
    judges = {tensor.name: tensor for tensor in int8.graph.initializer if not tensor.name.startswith("net.")}
    for tensor in model.graph.initializer:
        if tensor.name in judges:
            tensor.CopyFrom(judges[tensor.name])
    content = model.SerializeToString(deterministic=True)
    if hashlib.sha256(content).hexdigest() == config["sha256"][FILES["fp32"]]:
        file.write_bytes(content)


def check(folder: Path) -> list[str]:
    """What was found in order, and what could not be checked, in a sentence each.

    Raises: OSError, `DamagedWeights`, `OtherAnswers`; ValueError if metrics.json does not belong to the weights.
    """
    config = read_config(folder)
    try:
        metrics = json.loads((folder / METRICS).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder / METRICS} is missing or damaged. Take a folder as training.export wrote it."
        ) from error
    digest, measured = sha256(folder / FILES["int8"]), metrics.get("weights_sha256", "none")
    if digest != measured:
        raise ValueError(
            f"{folder / METRICS} is of the weights {measured[:8]}, but {FILES['int8']} there is {digest[:8]}. "
            "Take a folder as training.export wrote it, or run training.export again."
        )
    threshold = config["operating_point"]["threshold"]
    if metrics.get("test", {}).get("threshold", threshold) != threshold:
        raise ValueError(f"{folder / CONFIG} has another operating point than {METRICS} was measured at. Export again.")
    trained_in(folder)  # is there, and what config.json names
    found = [f"{METRICS} belongs to {FILES['int8']} (sha256 {digest[:8]})"]
    for precision, file in FILES.items():
        if (folder / file).exists():
            found.append(_checked_answers(folder, metrics.get("recorded", {}), precision))
        else:
            found.append(f"{file} is not there, and this PyTorch does not export it alike: it is not published")
    return found


def _checked_answers(folder: Path, recorded: dict, precision: str) -> str:
    """Whether the weights answer as recorded. Raises: `OtherAnswers`."""
    file = folder / FILES[precision]
    expected = recorded.get(precision, {}).get("sha256")
    if expected and expected != sha256(file):
        raise OtherAnswers(f"{file} is not the file that was measured. Take the folder as training.export wrote it.")
    compared = compare(folder, recorded, precision)
    if compared:
        return f"{file.name} answers {compared} drawn examples as it did when it was measured"
    return (
        f"{file.name} loads; its answers cannot be checked: none were recorded (python -m training.evaluation.recorded)"
    )


def upload_of(folder: Path, repo: str) -> Upload:
    """Weights, config, metrics, plots, what answers with them without this project, drawn examples, and a card that
    tells to load them from `repo`. Raises: OSError, ValueError.
    """
    names = [*FILES.values(), TRAINED, CONFIG, METRICS, *PLOTS]
    files = {name: folder / name for name in names if (folder / name).exists()}
    files |= {name: Path(__file__).with_name(name) for name in PROGRAMS}
    files |= {name: EXAMPLES / Path(name).name for name in WIDGET}
    files |= {PREPROCESSOR: preprocessor_config(folder).encode(), CARD: card_of(folder, repo).encode()}
    message = f"Weights {read_config(folder)['name']}, sha256 {sha256(folder / FILES['int8'])[:8]}"
    return Upload(repo, "model", files, stale=PUBLISHED.__contains__, message=message)


def preprocessor_config(folder: Path) -> str:
    """How transformers is to frame pictures, as JSON: attributes of PROGRAMS' processor."""
    config, auto_map = read_config(folder), json.loads((folder / CONFIG).read_text())["auto_map"]
    facts = {"image_processor_type": auto_map["AutoImageProcessor"].split(".")[1], "auto_map": auto_map}
    return json.dumps(facts | {key: config[key] for key in ("size", "margin")}, indent=2) + "\n"


def need_repo_id(name: str) -> str:
    """`name` if it can be a repository's. Raises: ValueError."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name} is no repository's name. Write ORG/NAME: letters, digits, -, _ and dots.") from error
    if name.count("/") != 1:
        raise ValueError(f"{name} names no owner. Write ORG/NAME.")
    return name
