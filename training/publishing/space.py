"""The page as a Space: exactly the files that it needs, and a README whose front matter says how to run it."""

from pathlib import Path

from huggingface_hub import HfApi

from model.artifact import CONFIG, FILES
from model.hub_files import CARD

from .failures import ERRORS, PushFailed, why
from .push import KEPT, Upload

ROOT = Path(__file__).parents[2]
FILES_OF_ROOT = ("app.py", "app.css", "requirements.txt", "LICENSE")
FOLDERS = ("model", "page", "service", "examples")
LEFT_OUT = ("__pycache__", "retraining", "make_examples.py")  # needs training/, or makes files only
WEIGHTS = Path("model/weights")
OF_WEIGHTS = (CONFIG, FILES["int8"], "metrics.json", *CARD)  # what of the embedded weights is served
MARKER = "model/classifier.py"  # a Space that has it is one of ours


def upload_of(space: str, model: str = "", revision: str = "") -> Upload:
    """The files of this repository that the Space is made of; it answers with `model` at the commit `revision`.

    Raises: OSError, ValueError if README.md has no front matter.
    """
    paths = [Path(name) for name in FILES_OF_ROOT] + [
        path.relative_to(ROOT) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()
    ]
    files: dict[str, bytes | Path] = {path.as_posix(): ROOT / path for path in paths if _is_needed(path)}
    files["README.md"] = readme((ROOT / "README.md").read_text(), model, revision).encode()
    return Upload(space, "space", files, stale=lambda path: True, message="The page of brain tumors on MRI")


def _is_needed(path: Path) -> bool:
    if path.is_relative_to(WEIGHTS):
        return path.relative_to(WEIGHTS).as_posix() in OF_WEIGHTS
    return not set(path.parts) & set(LEFT_OUT) and not any(part.startswith(".") for part in path.parts)


def readme(text: str, model: str, revision: str) -> str:
    """README.md up to its first chapter, less its pictures, and what is to be preloaded when the Space is built.

    Raises: ValueError.
    """
    if not text.startswith("---\n") or text.count("---\n") < 2:
        raise ValueError("README.md has no front matter, without which a Space does not start.")
    _, front, body = text.split("---\n", 2)
    said = "\n".join(line for line in body.split("\n## ")[0].splitlines() if not line.startswith("![")).rstrip()
    if model:
        front += f"models:\n- {model}\npreload_from_hub:\n- {model} {','.join(OF_WEIGHTS)} {revision}\n"
        said += f"\n\nThe card of its weights: [{model}](https://huggingface.co/{model})."
    return f"---\n{front}---\n{said}\n"


def refuse_foreign(api: HfApi, space: str) -> None:
    """Raises: `PushFailed` if there is such a Space and it is none of ours, since pushing deletes what it holds."""
    try:
        if not api.repo_exists(space, repo_type="space"):
            return
        held = set(api.list_repo_files(space, repo_type="space")) - {KEPT, "README.md"}
    except ERRORS as error:
        raise PushFailed(f"{why(error, space, api.endpoint)} Nothing was sent.") from error
    if held and MARKER not in held:
        raise PushFailed(f"{space} holds something else, which would be deleted. Name another --space, or empty it.")


def point_to(api: HfApi, space: str, model: str, revision: str) -> None:
    """Set the Space's variables so that it answers with `model` at `revision`; "" for the weights it has itself.

    Raises: `PushFailed`.
    """
    wanted = {"MODEL_REPO": model, "MODEL_REVISION": revision} if model else {}
    try:
        there = {key: variable.value for key, variable in api.get_space_variables(space).items()}
        for key in ("MODEL_REPO", "MODEL_REVISION"):
            if key in wanted and wanted[key] != there.get(key):
                api.add_space_variable(space, key, wanted[key])
                print(f"{space} has the variable {key}={wanted[key]}")
            elif key in there and key not in wanted:
                api.delete_space_variable(space, key)
                print(f"{space} no longer has the variable {key}")
    except ERRORS as error:
        reason = why(error, space, api.endpoint)
        raise PushFailed(f"{space} is pushed, but its variables could not be set. {reason}") from error
