"""Publish weights, and the page that serves them, on the Hugging Face Hub.

    python -m training.publish runs/NAME --repo ORG/NAME --dry-run    # checks everything, shows what would be pushed
    python -m training.publish runs/NAME --repo ORG/NAME --tag v1
    python -m training.publish --space ORG/PAGE                       # the page, with the weights that it comes with
    python -m training.publish --space ORG/PAGE --repo ORG/NAME       # the page, with published weights at their commit

Before weights are pushed they are loaded from the folder as a user would load them, and their answers are compared with
those that were recorded when they were measured. Each push is one commit; where nothing is new there is none.
"""

import argparse
import json
import sys
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from model.artifact import CONFIG, FILES, TRAINED, read_config

from .evaluation.card import PLOTS, WIDGET, card_of
from .evaluation.recorded import EXAMPLES, compare, sha256
from .network import trained_in
from .publishing import space
from .publishing.push import PushFailed, Upload, asking, give_up_on_silence, push

METRICS, CARD, INT8 = "metrics.json", "README.md", FILES["int8"]
# For programs of others: what answers in a file of its own, and what transformers looks for
PROGRAMS, PREPROCESSOR = ("inference.py", "modeling_brain_tumor.py"), "preprocessor_config.json"
# What is ours to replace in the repository
PUBLISHED = (*FILES.values(), TRAINED, CONFIG, METRICS, CARD, *PLOTS, *PROGRAMS, PREPROCESSOR, *WIDGET)
WHOLE = "Take a folder as training.export wrote it"


def check(folder: Path) -> list[str]:
    """What was found in order, and what could not be checked, in a sentence each.

    Raises: OSError, `DamagedWeights`; ValueError if the weights are not what metrics.json was measured of.
    """
    config = read_config(folder)
    try:
        metrics = json.loads((folder / METRICS).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / METRICS} is missing or damaged. {WHOLE}.") from error
    digest, measured = sha256(folder / INT8), metrics.get("weights_sha256", "none")
    if digest != measured:
        raise ValueError(
            f"{folder / METRICS} is of the weights {measured[:8]}, but {INT8} there is {digest[:8]}. {WHOLE}, or run "
            "training.export again."
        )
    threshold = config["operating_point"]["threshold"]
    if metrics.get("test", {}).get("threshold", threshold) != threshold:
        raise ValueError(f"{folder / CONFIG} has another operating point than {METRICS} was measured at. Export again.")
    trained_in(folder)  # is there, and what config.json names
    recorded = metrics.get("recorded", {})
    answers = [_checked_answers(folder, recorded, precision) for precision in FILES]
    return [f"{METRICS} belongs to {INT8} (sha256 {digest[:8]})", *answers]


def _checked_answers(folder: Path, recorded: dict, precision: str) -> str:
    """Whether the weights answer as recorded. Raises: ValueError."""
    name, file = FILES[precision], folder / FILES[precision]
    if not file.exists():
        return f"{name} is not there, and is not published"
    if recorded.get(precision, {}).get("sha256") not in (None, sha256(file)):
        raise ValueError(f"{file} is not the file that was measured. {WHOLE}.")
    if compared := compare(folder, recorded, precision):
        return f"{file.name} answers {compared} drawn examples as it did when it was measured"
    return f"{file.name} loads; its answers cannot be checked: none were recorded of the examples of today"


def upload_of(folder: Path, repo: str) -> Upload:
    """Weights, config, metrics, plots, what answers with them without this project, drawn examples, and a card that
    tells to load them from `repo`. Raises: OSError, ValueError.
    """
    config, auto_map = read_config(folder), json.loads((folder / CONFIG).read_text())["auto_map"]
    processor = {"image_processor_type": auto_map["AutoImageProcessor"].split(".")[1], "auto_map": auto_map}
    processor |= {key: config[key] for key in ("size", "margin")}
    names = [*FILES.values(), TRAINED, CONFIG, METRICS, *PLOTS]
    files = {name: folder / name for name in names if (folder / name).exists()}
    files |= {name: Path(space.__file__).with_name(name) for name in PROGRAMS}
    files |= {name: EXAMPLES / Path(name).name for name in WIDGET}
    files |= {PREPROCESSOR: f"{json.dumps(processor, indent=2)}\n".encode(), CARD: card_of(folder, repo).encode()}
    message = f"Weights {config['name']}, sha256 {sha256(folder / INT8)[:8]}"
    return Upload(repo, "model", files, stale=PUBLISHED.__contains__, message=message)


def publish_weights(api: HfApi, run: Path, repo: str, **options) -> str | None:
    """Check the weights of a run and push them; returns the commit, as `push` does, which takes the `options`.

    Raises: OSError, ValueError if they are not fit to be published; `PushFailed`.
    """
    folder = run if (run / CONFIG).exists() else run / "weights"
    for sentence in check(folder):
        print(sentence)
    return push(api, upload_of(folder, repo), **options)


def publish_space(api: HfApi, name: str, model: str, revision: str, **options) -> None:
    """Push the page, to answer with `model` at `revision`, or with the embedded weights. Raises: as the above."""
    space.refuse_foreign(api, name)
    push(api, space.upload_of(name, model, revision), **options)
    if not options["dry_run"]:
        space.point_to(api, name, model, revision)


def _need_repo_id(name: str) -> None:
    """Raises: ValueError if no repository can have this name."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise ValueError("That is no repository's name. Write ORG/NAME: letters, digits, -, _ and dots.")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m training.publish", allow_abbrev=False)
    parser.add_argument("run", nargs="?", type=Path, help="a run folder, or a weights folder; none for a Space alone")
    parser.add_argument("--repo", default="", metavar="ORG/NAME", help="where the weights go, or come from")
    parser.add_argument("--space", default="", metavar="ORG/NAME", help="where the page goes; what else is there goes")
    parser.add_argument("--private", action="store_true", help="make what is created visible to its owner alone")
    parser.add_argument("--tag", default="", help="name of this state of the weights, such as v1")
    parser.add_argument("--dry-run", action="store_true", help="check all, show what differs, and send nothing")
    options = parser.parse_args(arguments)
    if bool(options.run) > bool(options.repo) or not (options.repo or options.space):
        parser.error("say where to: --repo ORG/NAME for the weights of a run, --space ORG/NAME for the page")
    if not options.run and (options.tag or not options.space):
        parser.error("name the run folder whose weights are to be published")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parse(arguments)
    give_up_on_silence()
    api, how = HfApi(), {"private": options.private, "dry_run": options.dry_run}
    try:
        for name in filter(None, (options.repo, options.space)):
            _need_repo_id(name)
        revision = ""
        if options.run:
            revision = publish_weights(api, options.run, options.repo, tag=options.tag, **how) or "main"
        elif options.repo:
            with asking(api, options.repo):
                revision = api.model_info(options.repo).sha
        if options.space:
            publish_space(api, options.space, options.repo, revision, **how)
    except (OSError, ValueError, PushFailed) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # between two pushes, or before: one that is under way tells what it has left
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
