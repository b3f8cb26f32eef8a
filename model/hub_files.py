"""An artefact's files in the Hub client's cache: fetched, and checked at each load.

Only config.json, metrics.json and safetensors files are fetched or opened. Each must be what the Hub says it is, and
the weights must have the sha256 that metrics.json names.
"""

import hashlib
import json
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from .hub_failures import WeightsUnavailable
from .quantization import CONFIG, FILES, DamagedWeights, read_config

METRICS = "metrics.json"
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
        self.needed = (CONFIG, FILES[precision or "int8"])
        self.files = [CONFIG, METRICS, *([FILES[precision]] if precision else FILES.values())]

    def cached(self, commit: str) -> Path | None:
        """The cache's folder with the files, without any request; None if one is missing or damaged.

        Raises: `WeightsUnavailable` if they are whole, but of no use to this program.
        """
        try:
            folder = self._snapshot(commit, local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        if not all((folder / name).exists() for name in self.needed) or self._damaged(folder):
            return None
        return self._usable(folder, commit)

    def download(self, revision: str) -> tuple[str, Path]:
        """The commit that `revision` is now, and the cache's folder with the files.

        What is damaged in the cache is fetched again, once. Raises: `WeightsUnavailable`, and whatever the client does.
        """
        # Asked even of a commit: if there is no way to the Hub this fails at once, while a download tries for 23 s.
        commit = HfApi().model_info(self.repository, revision=revision, timeout=ANSWER_SECONDS).sha
        if folder := self.cached(commit):
            return commit, folder
        for _ in range(2):
            folder = self._snapshot(commit)
            damaged = self._damaged(folder)
            if not damaged:
                return commit, self._usable(folder, commit)
            for file in damaged:
                file.resolve().unlink(missing_ok=True)  # the client would link to it again
                file.unlink(missing_ok=True)
        raise WeightsUnavailable(
            f"{damaged[0].name} of {self.repository} arrives with another checksum than it should have. Try again "
            "later, or ask its owner."
        )

    def _snapshot(self, commit: str, **how) -> Path:
        how |= {"allow_patterns": self.files, "etag_timeout": ANSWER_SECONDS}
        return Path(snapshot_download(self.repository, revision=commit, **how))

    def _damaged(self, folder: Path) -> list[Path]:
        """The files that are not what they should be."""
        files = [folder / name for name in self.files if (folder / name).exists()]
        damaged = [file for file in files if is_damaged(file)]
        return damaged or (files if differs_from_metrics(folder) else [])

    def _usable(self, folder: Path, commit: str) -> Path:
        """`folder`. Raises: `WeightsUnavailable`."""
        place = f"{self.repository}@{commit[:8]}"
        for name in self.needed:
            if not (folder / name).exists():
                raise WeightsUnavailable(f"{place} holds no {name}. Name a repository with weights of this program.")
        try:
            read_config(folder)
        except DamagedWeights as error:
            raise WeightsUnavailable(
                f"{place} cannot be used: {str(error).replace(str(folder), self.repository)}"
            ) from error
        return folder
