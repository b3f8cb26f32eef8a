"""The page as a Space: exactly the files that it needs, and a README whose front matter says how to run it."""

from pathlib import Path

from huggingface_hub import HfApi

from model.artifact import CONFIG, FILES
from model.hub import CARD

from .push import KEPT, PushFailed, Upload, asking

ROOT = Path(__file__).parents[2]
NEEDED = ("app.py", "app.css", "requirements.txt", "LICENSE", "model/", "page/", "service/", "examples/")
LEFT_OUT = ("__pycache__", "retraining", "make_examples.py")  # needs training/, or makes files only
WEIGHTS = Path("model/weights")
OF_WEIGHTS = (CONFIG, FILES["int8"], "metrics.json", *CARD)  # what of the embedded weights is served
MARKER = "model/classifier.py"  # a Space that has it is one of ours


def upload_of(space: str, model: str = "", revision: str = "") -> Upload:
    """The files of this repository that the Space is made of; it answers with `model` at the commit `revision`.

    Raises: OSError, ValueError if README.md has no front matter.
    """
    found = [path for name in NEEDED for path in ((ROOT / name).rglob("*") if "/" in name else [ROOT / name])]
    paths = [path.relative_to(ROOT) for path in sorted(found) if path.is_file()]
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
    body = "\n".join(line for line in body.split("\n## ")[0].splitlines() if not line.startswith("![")).rstrip()
    if model:
        front += f"models:\n- {model}\npreload_from_hub:\n- {model} {','.join(OF_WEIGHTS)} {revision}\n"
        body += f"\n\nThe card of its weights: [{model}](https://huggingface.co/{model})."
    return f"---\n{front}---\n{body}\n"


def refuse_foreign(api: HfApi, space: str) -> None:
    """Raises: `PushFailed` if there is such a Space and it is none of ours, since pushing deletes what it holds."""
    with asking(api, space):
        if not api.repo_exists(space, repo_type="space"):
            return
        held = set(api.list_repo_files(space, repo_type="space")) - {KEPT, "README.md"}
    if held and MARKER not in held:
        raise PushFailed(f"{space} holds something else, which would be deleted. Name another --space, or empty it.")


def point_to(api: HfApi, space: str, model: str, revision: str) -> None:
    """Set the Space's variables so that it answers with `model` at `revision`; "" for the weights it has itself.

    Raises: `PushFailed`.
    """
    with asking(api, space, f"{space} is pushed, but its variables could not be set. {{}}"):
        there = {key: variable.value for key, variable in api.get_space_variables(space).items()}
        for key, value in {"MODEL_REPO": model, "MODEL_REVISION": revision}.items():
            if model and there.get(key) != value:
                api.add_space_variable(space, key, value)
                print(f"{space} has the variable {key}={value}")
            elif not model and key in there:
                api.delete_space_variable(space, key)
                print(f"{space} no longer has the variable {key}")
