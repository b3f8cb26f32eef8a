"""Where weights come from: a folder, or the Hugging Face Hub at a pinned commit.

A repository is "ORG/NAME" or "ORG/NAME@REVISION". What answers must not change by itself, so of its revisions

- a commit (40 hex digits) is taken as it is; once it is in the cache, no request is made for it;
- none means the commit that main stood for when this machine first met the repository. It is remembered
  (`pins_file`), and used whenever no revision is given;
- a branch or a tag is followed: the Hub is asked at each load, and where it cannot be asked, the commit that the name
  stood for last is used.

Only JSON, ONNX, safetensors and the card are fetched, and at each load every file must be what the Hub says it is.
HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE hold as usual.
"""

import errno
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from httpx2 import TransportError
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import validate_repo_id

from .artifact import CONFIG, FILES, TRAINED, DamagedWeights, WeightsUnavailable, read_config
from .files import state_folder, write_whole

COMMIT = re.compile(r"[0-9a-f]{40}")
CARD = ("README.md", "reliability.png", "reliability_external.png", "confusion.png", "roc.png", "history.png")
PATIENCE = 120  # seconds: 10 MB at 1 Mbit/s; the client alone would go on for as long as something trickles in
ANSWER_SECONDS = 4  # for a question of a few bytes
FAILURES = {  # by what is raised, its errno and the Hub's status; the first that applies
    (OfflineModeIsEnabled,): "HF_HUB_OFFLINE is set, and {place} is not on this machine. Unset it once, or copy the "
    "cache of a machine that has it.",
    (GatedRepoError,): "The owner of {place} must grant you access. Ask on its page on the Hub, then set HF_TOKEN.",
    (RevisionNotFoundError,): "There is no {place} on the Hub: no branch, tag or commit is called that. Check it.",
    (RepositoryNotFoundError, 403): "There is no {place} on the Hub, or it is private. Check the name; set HF_TOKEN to "
    "a token that may read it (https://huggingface.co/settings/tokens).",
    (401,): "The Hub does not accept the token in HF_TOKEN. Make a new one, or unset it.",
    (429, *range(500, 600)): "The Hub is overloaded or out of order (status {status}) and does not send {place}. Try "
    "again later.",
    ("ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"): "{place} cannot be stored in the Hub "
    "client's cache. Make room, or set HF_HOME to a folder with some.",
    (TransportError, ConnectionError, TimeoutError): "The Hub cannot be reached to ask for {place}. Check the network.",
}
UNKNOWN_FAILURE = "What the Hub sent of {place} is incomplete or not a Hub's answer. Check HF_ENDPOINT, and try again."

log = logging.getLogger(__name__)
T = TypeVar("T")


class Weights(NamedTuple):
    """A folder with weights, and where it came from."""

    folder: Path
    repository: str = ""  # "ORG/NAME"; empty if the folder itself was named
    commit: str = ""  # of that repository, 40 hex digits
    note: str = ""  # a sentence if these are not the weights that were asked for


def find_weights(source: str | Path) -> Path:
    """Folder with the weights that `source` names, in every precision that it offers: see `fetch`."""
    return fetch(source).folder


def fetch(source: str | Path, revision: str | None = None, precision: str = "", patience: float = PATIENCE) -> Weights:
    """The weights that `source` names, downloaded unless they are in the cache, and checked.

    Args: `source`, a folder, "ORG/NAME" or "ORG/NAME@REVISION"; `revision`, in place of one in the name; `precision`,
        "int8" or "fp32", if one is enough; `patience`, seconds after which the Hub is given up.
    Raises: `WeightsUnavailable`.
    """
    folder = Path(os.path.expanduser(source))
    if os.path.isdir(folder):  # unlike Path's own methods, both accept any `source`
        if revision:
            raise WeightsUnavailable(f"{source} is a folder and has no revision {revision}. Leave the revision out.")
        return Weights(folder)
    repository, _, behind = str(source).partition("@")
    revision = revision or behind
    try:
        validate_repo_id(repository if "/" in repository else "")  # old names on the Hub have no owner
    except HFValidationError:
        raise WeightsUnavailable(
            f"{source} is no folder, and no repository on the Hub (ORG/NAME). Check the name."
        ) from None
    wanted = _Wanted(repository, precision)
    commit = pinned(repository) if not revision else revision if COMMIT.fullmatch(revision) else None
    if not commit:
        return _look_up(wanted, revision, patience)
    if folder := wanted.cached(commit):
        return Weights(wanted.readable(folder, commit), repository, commit)
    _, folder = _within(patience, partial(wanted.download, commit), f"{repository}@{commit[:8]}")
    return Weights(folder, repository, commit)


def _look_up(wanted: "_Wanted", revision: str, patience: float) -> Weights:
    """The weights at what `revision` (a branch or tag; empty: main) is now; if they cannot be had, at what it was last.

    Raises: `WeightsUnavailable`.
    """
    repository, name = wanted.repository, revision or "main"
    place = f"{repository}@{name}"
    try:
        commit, folder = _within(patience, partial(wanted.download, name), place)
    except WeightsUnavailable as error:
        last = pinned(place) or _known_to_client(repository, name)
        cached = last and wanted.cached(last)
        if not cached:
            raise
        return Weights(cached, repository, last, f"{error} The last known commit of {place} is used instead.")
    pin(place, commit)
    if revision:
        log.warning("%s can be moved; it is commit %s now. Ask for that commit to keep it.", place, commit)
    else:
        pin(repository, commit)
        log.warning("%s is commit %s from now on, as %s says.", repository, commit, pins_file())
    return Weights(folder, repository, commit)


def _known_to_client(repository: str, name: str) -> str | None:
    """The commit that `name` was when another program downloaded it, or someone copied a cache to this machine."""
    try:
        return HfApi().resolve_revision(repository, revision=name, local_files_only=True).resolved
    except RevisionResolutionError:
        return None


class _Wanted:
    """What is wanted of a repository "ORG/NAME", at whatever commit: one `precision`, or, if empty, all it offers."""

    def __init__(self, repository: str, precision: str):
        self.repository = repository
        self.needed = (CONFIG, FILES[precision or "int8"], *([] if precision else [TRAINED]))
        weights = [FILES[precision]] if precision else [*FILES.values(), TRAINED]
        self.files = [CONFIG, "metrics.json", *weights, *CARD]

    def cached(self, commit: str) -> Path | None:
        """The cache's folder with the files, without any request; None if one is missing or damaged."""
        try:
            folder = Path(snapshot_download(self.repository, revision=commit, local_files_only=True))
            whole = all((folder / name).exists() for name in self.needed)
            return folder if whole and not self._damaged(folder) else None
        except OSError:  # of the client, if there is none of that commit; of the system, if it may not be read
            return None

    def download(self, revision: str) -> tuple[str, Path]:
        """The commit that `revision` is now, and the cache's folder with the files.

        What is damaged in the cache is fetched again, once. Raises: `WeightsUnavailable`, and whatever the client does.
        """
        # Asked even of a commit: without a network this fails at once, while a download tries for 23 s.
        info = HfApi().model_info(self.repository, revision=revision, timeout=ANSWER_SECONDS)
        commit, offered = info.sha, {file.rfilename for file in info.siblings}
        if folder := self.cached(commit):
            return commit, self.readable(folder, commit)
        if missing := [name for name in self.needed if name not in offered]:
            raise WeightsUnavailable(
                f"{self.repository}@{commit[:8]} holds no {missing[0]}. Name a repository with weights of this program."
            )
        for _ in range(2):
            # one by one: the threads of snapshot_download would hold up a program that ends
            for name in self.files:
                if name in offered:
                    hf_hub_download(self.repository, name, revision=commit, etag_timeout=ANSWER_SECONDS)
            folder = Path(snapshot_download(self.repository, revision=commit, local_files_only=True))
            damaged = self._damaged(folder)
            if not damaged:
                return commit, self.readable(folder, commit)
            for file in damaged:
                file.resolve().unlink(missing_ok=True)  # the client would link to it again
                file.unlink(missing_ok=True)
        raise WeightsUnavailable(
            f"{damaged[0].relative_to(folder)} of {self.repository} arrives with another checksum than it should have. "
            "Try again later, or ask its owner."
        )

    def _damaged(self, folder: Path) -> list[Path]:
        """The files that are not what they should be."""
        return [folder / name for name in self.files if _is_damaged(folder / name)]

    def readable(self, folder: Path, commit: str) -> Path:
        """`folder`. Raises: `WeightsUnavailable` if this program cannot read what is in it."""
        try:
            read_config(folder)
        except DamagedWeights as error:
            text = str(error).replace(str(folder), self.repository)
            raise WeightsUnavailable(f"{self.repository}@{commit[:8]} cannot be used: {text}") from error
        return folder


def _is_damaged(file: Path) -> bool:
    """Whether a file of the client's cache is not what its link there, the Hub's ETag, says.

    That is the sha256 of a large file, git's id of a small one. Without links `artifact.read_graph` finds damage.
    """
    if not (file.is_symlink() and file.exists()):
        return False
    etag, content = file.readlink().name, file.read_bytes()
    ids = {64: hashlib.sha256(content), 40: hashlib.sha1(b"blob %d\0" % len(content) + content)}
    return len(etag) in ids and etag != ids[len(etag)].hexdigest()


def pins_file() -> Path:
    """JSON: "ORG/NAME" or "ORG/NAME@REVISION" -> commit. Delete a line to have that name looked up again."""
    return state_folder() / "pins.json"


def pinned(name: str) -> str | None:
    """The commit remembered for `name`; None if there is none, or the file cannot be read."""
    return _pins().get(name)


def pin(name: str, commit: str) -> None:
    """Keep `commit` for `name`. Where nothing can be written the log says so, and the next start asks the Hub again."""
    pins = _pins()
    if pins.get(name) == commit:
        return
    try:
        write_whole(pins_file(), json.dumps(pins | {name: commit}, indent=2) + "\n")
    except OSError as error:
        log.warning("%s cannot be written (%s): %s is not remembered. Set STATE_FOLDER.", pins_file(), error, name)


def _pins() -> dict[str, str]:
    try:
        pins = json.loads(pins_file().read_text())
    except (OSError, ValueError):
        return {}
    return pins if isinstance(pins, dict) else {}


def _within(seconds: float, call: Callable[[], T], place: str) -> T:
    """What `call` returns, which asks the Hub about `place` ("ORG/NAME@REVISION").

    Raises: `WeightsUnavailable` if it fails, or takes longer than `seconds`; it then goes on in its daemon thread.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        return result.result(seconds)
    except WeightsUnavailable:
        raise
    except Exception as error:
        if not result.done():
            raise WeightsUnavailable(f"The Hub has not sent {place} within {seconds:.0f} s. Try again later.") from None
        log.info("%s: %r", place, error)
        raise WeightsUnavailable(why(error, place)) from error


def why(error: BaseException | None, place: str) -> str:
    """What is wrong with asking the Hub about `place`, and what to do."""
    facts, status = set(), None
    while error is not None:  # and what it was raised from
        status = status or getattr(getattr(error, "response", None), "status_code", None)
        facts |= {*type(error).__mro__, errno.errorcode.get(getattr(error, "errno", None))}
        error = error.__cause__ or error.__context__
    facts.add(status)
    text = next((text for signs, text in FAILURES.items() if facts.intersection(signs)), UNKNOWN_FAILURE)
    return text.format(place=place, status=status)
