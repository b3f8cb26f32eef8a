"""A weights folder before it is published: all there, all of one piece, and answering as it was measured."""

import json
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from model.artifact import CONFIG, FILES, TRAINED, read_config

from ..card import PLOTS, card_of
from ..recorded import OtherAnswers, compare, sha256
from .push import Upload

METRICS, CARD = "metrics.json", "README.md"
# What is ours to replace in the repository
PUBLISHED = (*FILES.values(), TRAINED, CONFIG, METRICS, CARD, *PLOTS)


def weights_folder(run: Path) -> Path:
    """`runs/NAME/weights` of a run, or the folder itself if it holds weights already."""
    return run if (run / CONFIG).exists() else run / "weights"


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
    found = [f"{METRICS} belongs to {FILES['int8']} (sha256 {digest[:8]})"]
    for precision, file in FILES.items():
        if (folder / file).exists():
            found.append(_checked_answers(folder, metrics.get("recorded", {}), precision))
        else:
            found.append(f"{file} is not there: it is not published")
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
    return f"{file.name} loads; its answers cannot be checked: none were recorded (python -m training.recorded)"


def upload_of(folder: Path, repo: str) -> Upload:
    """Weights, config, metrics, plots, and a card that tells to load them from `repo`. Raises: OSError, ValueError."""
    names = [name for name in PUBLISHED if name != CARD and (folder / name).exists()]
    files = {name: folder / name for name in names} | {CARD: card_of(folder, repo).encode()}
    message = f"Weights {read_config(folder)['name']}, sha256 {sha256(folder / FILES['int8'])[:8]}"
    return Upload(repo, "model", files, stale=PUBLISHED.__contains__, message=message)


def need_repo_id(name: str) -> str:
    """`name` if it can be a repository's. Raises: ValueError."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name} is no repository's name. Write ORG/NAME: letters, digits, -, _ and dots.") from error
    if name.count("/") != 1:
        raise ValueError(f"{name} names no owner. Write ORG/NAME.")
    return name
