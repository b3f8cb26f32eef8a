"""An artifact's files in the Hub client's cache: fetched, and checked at each load.

Only JSON, ONNX and safetensors files are fetched or opened, and the card with its plots. Each must be what the Hub says
it is, and the weights must have the sha256 that metrics.json names.
"""

import hashlib
import json
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from .artifact import CONFIG, FILES, TRAINED, DamagedWeights, OtherFormat, read_config
from .hub_failures import WeightsUnavailable

METRICS = "metrics.json"
CARD = ("README.md", "reliability.png", "reliability_external.png", "confusion.png", "roc.png", "history.png")
ANSWER_SECONDS = 4  # for a question of a few bytes: a way to the Hub that swallows them shows by its silence


def differs_from_metrics(folder: Path) -> bool:
    """Whether metrics.json names another sha256 than weights beside it have; not if it is missing."""
    try:
        metrics = json.loads((folder / METRICS).read_text())
        recorded = {precision: told["sha256"] for precision, told in metrics.get("recorded", {}).items()}
        named = recorded | ({"int8": metrics["weights_sha256"]} if "weights_sha256" in metrics else {})
        files = {folder / FILES[precision]: digest for precision, digest in named.items()}
        return any(file.exists() and sha256(file) != digest for file, digest in files.items())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return True


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def is_damaged(file: Path) -> bool:
    """Whether a file of the client's cache is not what its link there says; not if the system has no links.

    A link leads to the ETag: the sha256 of a large file, git's id of a small one (huggingface_hub.hf_hub_url).
    """
    if not file.is_symlink():
        return False
    etag, content = file.readlink().name, file.read_bytes()
    ids = {64: hashlib.sha256(content), 40: hashlib.sha1(b"blob %d\0" % len(content) + content)}
    return len(etag) in ids and etag != ids[len(etag)].hexdigest()


class Wanted:
    """What is wanted of a repository "ORG/NAME", at whatever commit: one `precision`, or, if empty, all it offers."""

    def __init__(self, repository: str, precision: str):
        self.repository = repository
        self.needed = (CONFIG, FILES[precision or "int8"], *([] if precision else [TRAINED]))
        weights = [FILES[precision]] if precision else [*FILES.values(), TRAINED]
        self.files = [CONFIG, METRICS, *weights, *CARD]

    def cached(self, commit: str) -> Path | None:
        """The cache's folder with the files, without any request; None if one is missing or damaged.

        Raises: `WeightsUnavailable` if they are of no use to this program.
        """
        try:
            folder = Path(snapshot_download(self.repository, revision=commit, local_files_only=True))
            if self._damaged(folder):
                return None
        except OSError:  # of the client, if there is none of that commit; of the system, if it may not be read
            return None
        return self._usable(folder, commit)

    def download(self, revision: str) -> tuple[str, Path]:
        """The commit that `revision` is now, and the cache's folder with the files.

        What is damaged in the cache is fetched again, once. Raises: `WeightsUnavailable`, and whatever the client does.
        """
        # Asked even of a commit: if there is no way to the Hub this fails at once, while a download tries for 23 s.
        info = HfApi().model_info(self.repository, revision=revision, timeout=ANSWER_SECONDS)
        commit, offered = info.sha, {file.rfilename for file in info.siblings}
        if folder := self.cached(commit):
            return commit, folder
        files = [name for name in self.files if name in offered]
        self._need(set(files), commit)
        for _ in range(2):
            for name in files:  # one by one: the threads of snapshot_download would hold up a program that ends
                got = self._fetch(name, commit)
                folder = folder or got.parent  # of config.json, the first: others may lie deeper
            damaged = self._damaged(folder)
            if not damaged:
                return commit, self._usable(folder, commit)
            for file in damaged:
                file.resolve().unlink(missing_ok=True)  # the client would link to it again
                file.unlink(missing_ok=True)
        raise WeightsUnavailable(
            f"{damaged[0].relative_to(folder)} of {self.repository} arrives with another checksum than it should have. "
            "Try again later, or ask its owner."
        )

    def _fetch(self, name: str, commit: str) -> Path:
        """A file of the repository in the cache."""
        return Path(hf_hub_download(self.repository, name, revision=commit, etag_timeout=ANSWER_SECONDS))

    def _damaged(self, folder: Path) -> list[Path]:
        """The files that are not what they should be."""
        files = [folder / name for name in self.files if (folder / name).exists()]
        damaged = [file for file in files if is_damaged(file)]
        return damaged or (files if differs_from_metrics(folder) else [])

    def _need(self, offered: set[str], commit: str) -> None:
        """Raises: `WeightsUnavailable` if a file is missing without which there are no weights."""
        for name in self.needed:
            if name not in offered:
                if CONFIG in offered:  # which may be of another version
                    self._usable(self._fetch(CONFIG, commit).parent, commit)
                raise WeightsUnavailable(
                    f"{self._place(commit)} holds no {name}. Name a repository with weights of this program."
                )

    def _usable(self, folder: Path, commit: str) -> Path | None:
        """`folder`, or None if a file is missing without which there are no weights.

        Raises: `WeightsUnavailable` of those of another version, too: their files have other names.
        """
        whole = all((folder / name).exists() for name in self.needed)
        try:
            read_config(folder)
        except DamagedWeights as error:
            if whole or isinstance(error, OtherFormat):
                told = str(error).replace(str(folder), self.repository)
                raise WeightsUnavailable(f"{self._place(commit)} cannot be used: {told}") from error
        return folder if whole else None

    def _place(self, commit: str) -> str:
        return f"{self.repository}@{commit[:8]}"
