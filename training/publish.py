"""Publish weights, and the page that serves them, on the Hugging Face Hub.

    python -m training.publish runs/NAME --repo ORG/NAME --dry-run    # checks everything, shows what would be pushed
    python -m training.publish runs/NAME --repo ORG/NAME --tag v1
    python -m training.publish --space ORG/PAGE                       # the page, with the weights that it comes with
    python -m training.publish --space ORG/PAGE --repo ORG/NAME       # the page, with published weights at their commit

Before weights are pushed they are loaded from the folder as a user would load them, and their answers are compared with
those that were recorded when they were measured; the float32 graph, which this repository does not hold, is made anew.
Each push is one commit; where nothing is new there is none.
"""

import argparse
import sys
from pathlib import Path

from huggingface_hub import HfApi

from .publishing import artifact, space
from .publishing.failures import ERRORS, PushFailed, why
from .publishing.push import give_up_on_silence, push


def publish_weights(api: HfApi, run: Path, repo: str, **options) -> str | None:
    """Check the weights of a run and push them; returns the commit, as `push` does, which takes the `options`.

    Raises: OSError, ValueError if they are not fit to be published; `PushFailed`.
    """
    folder = artifact.weights_folder(run)
    artifact.remake_float_graph(folder)
    for sentence in artifact.check(folder):
        print(sentence)
    return push(api, artifact.upload_of(folder, repo), **options)


def publish_space(api: HfApi, name: str, model: str, revision: str, **options) -> None:
    """Push the page, to answer with `model` at `revision`, or with the embedded weights. Raises: as the above."""
    space.refuse_foreign(api, name)
    push(api, space.upload_of(name, model, revision), **options)
    if not options["dry_run"]:
        space.point_to(api, name, model, revision)


def latest(api: HfApi, repo: str) -> str:
    """The last commit of published weights. Raises: `PushFailed`."""
    try:
        return api.model_info(repo).sha
    except ERRORS as error:
        raise PushFailed(f"{why(error, repo, api.endpoint)} Nothing was sent.") from error


def main(arguments: list[str] | None = None, api: HfApi | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.publish", description=__doc__.split("\n")[0], allow_abbrev=False
    )
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
    give_up_on_silence()
    api, how = api or HfApi(), {"private": options.private, "dry_run": options.dry_run}
    try:
        for name in filter(None, (options.repo, options.space)):
            artifact.need_repo_id(name)
        revision = ""
        if options.run:
            revision = publish_weights(api, options.run, options.repo, tag=options.tag, **how) or "main"
        elif options.repo:
            revision = latest(api, options.repo)
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
