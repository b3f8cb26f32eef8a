"""Where weights come from: a folder, or the Hugging Face Hub at a pinned commit.

A repository is "ORG/NAME" or "ORG/NAME@REVISION". What answers must not change by itself, so of its revisions

- a commit (40 hex digits) is taken as it is; once it is in the cache, no request is made for it;
- none means the commit that main stood for when this machine first met the repository. It is remembered
  (model/pins.py), and used whenever no revision is given: later ones have to be asked for;
- a branch or a tag can be moved on the Hub. Whoever names one follows it: the Hub is asked at each load, the log says
  which commit it was, and where the Hub cannot be asked, the commit that it stood for last is used.

Files are fetched into the client's usual cache: HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean
elsewhere.
"""

import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RevisionResolutionError
from huggingface_hub.utils import validate_repo_id

from . import pins
from .hub_failures import WeightsUnavailable, within
from .hub_files import METRICS, Wanted, differs_from_metrics

COMMIT = re.compile(r"[0-9a-f]{40}")
PATIENCE = 120  # seconds: 10 MB at 1 Mbit/s; the client alone would go on for as long as something trickles in

log = logging.getLogger(__name__)


class Weights(NamedTuple):
    """A folder with weights, and where it came from."""

    folder: Path
    repository: str = ""  # "ORG/NAME"; empty if the folder itself was named
    commit: str = ""  # of that repository, 40 hex digits
    note: str = ""  # a sentence if these are not the weights that were asked for


def find_weights(source: str | Path, revision: str | None = None) -> Path:
    """Folder with the weights that `source` names, in every form that it offers: see `fetch`."""
    return fetch(source, revision).folder


def fetch(source: str | Path, revision: str | None = None, precision: str = "", patience: float = PATIENCE) -> Weights:
    """The weights that `source` names, downloaded unless they are in the cache, and checked.

    Args: `source`, a folder, "ORG/NAME" or "ORG/NAME@REVISION"; `revision`, in place of one in the name; `precision`,
        "int8" or "fp32", if one is enough; `patience`, seconds after which the Hub is given up (what is still on its
        way arrives in the background, for the next time).
    Raises: `WeightsUnavailable`.
    """
    folder = Path(os.path.expanduser(source))
    if os.path.isdir(folder):  # unlike those of Path, both answer whatever `source` is
        if revision:
            raise WeightsUnavailable(f"{source} is a folder and has no revision {revision}. Leave the revision out.")
        if differs_from_metrics(folder):
            raise WeightsUnavailable(f"{folder / METRICS} is not of the weights beside it. Copy the folder again.")
        return Weights(folder)
    repository, _, behind = str(source).partition("@")
    revision = revision or behind
    if not is_repository(repository):
        raise WeightsUnavailable(f"{source} is no folder, and no repository on the Hub (ORG/NAME). Check the name.")
    wanted = Wanted(repository, precision)
    commit = pins.find(repository) if not revision else revision if COMMIT.fullmatch(revision) else None
    if commit:
        folder = wanted.cached(commit)
        if not folder:
            _, folder = within(patience, partial(wanted.download, commit), f"{repository}@{commit[:8]}")
        return Weights(folder, repository, commit)
    return _look_up(wanted, revision, patience)


def is_repository(name: str) -> bool:
    """Whether `name` can be a repository's on the Hub, with its owner's."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _look_up(wanted: Wanted, revision: str, patience: float) -> Weights:
    """The weights at what `revision` (a branch or tag; empty: main) is now; if they cannot be had, at what it was last.

    Raises: `WeightsUnavailable`.
    """
    repository, name = wanted.repository, revision or "main"
    place = f"{repository}@{name}"
    try:
        commit, folder = within(patience, partial(wanted.download, name), place)
    except WeightsUnavailable as error:
        last = pins.find(place) or _known_to_client(repository, name)
        cached = last and wanted.cached(last)
        if not cached:
            raise
        return Weights(cached, repository, last, f"{error} What {place} was before is used instead.")
    pins.remember(place, commit)
    if revision:
        log.warning("%s can be moved; it is commit %s now. Ask for that commit to keep it.", place, commit)
    else:
        pins.remember(repository, commit)
        log.warning("%s is commit %s from now on, as %s says.", repository, commit, pins.pins_file())
    return Weights(folder, repository, commit)


def _known_to_client(repository: str, name: str) -> str | None:
    """The commit that `name` was when another program downloaded it, or someone copied a cache to this machine."""
    try:
        return HfApi().resolve_revision(repository, revision=name, local_files_only=True).resolved
    except RevisionResolutionError:
        return None
