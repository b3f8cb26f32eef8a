"""What the Hub keeps: repositories with their commits, branches and tags. In memory, no HTTP."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

LARGE_BYTES = 10 << 20  # files from this size on go to LFS, whatever their name
LARGE_SUFFIXES = (".onnx", ".safetensors", ".png", ".gz", ".zip")  # of those that the Hub's .gitattributes lists, ours


def is_large(path: str, size: int) -> bool:
    """Whether the Hub keeps the file in LFS rather than in git."""
    return size >= LARGE_BYTES or path.endswith(LARGE_SUFFIXES)


@dataclass(frozen=True)
class File:
    content: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        """git's id of the file; of a large file, the id of the pointer that git holds in its place."""
        held = self.content
        if self.large:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(held)}\n"
            held = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(held) + held).hexdigest()

    @property
    def etag(self) -> str:
        """What the client names the file by in its cache, and tells unchanged files by when it uploads."""
        return self.sha256 if self.large else self.blob_id


@dataclass(frozen=True)
class Commit:
    id: str  # 40 hex digits, of what is in it and what came before
    title: str
    files: dict[str, File]


class Repository:
    """A model or a Space. `kind` is "model" or "space", `name` "OWNER/NAME", `sdk` what a Space runs on."""

    def __init__(self, kind: str, name: str, private: bool = False, sdk: str | None = None):
        self.kind, self.name, self.private, self.sdk = kind, name, private, sdk
        self.commits: dict[str, Commit] = {}
        self.main = ""  # id of the newest commit
        self.tags: dict[str, str] = {}
        self.variables: dict[str, str] = {}  # of a Space's environment
        self.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, "initial commit")

    @property
    def head(self) -> Commit:
        return self.commits[self.main]

    def find(self, revision: str) -> Commit | None:
        """The commit that "main", a tag or a full commit id stands for."""
        return self.head if revision == "main" else self.commits.get(self.tags.get(revision, revision))

    def commit(self, files: Mapping[str, bytes | File], title: str = "change", without: tuple[str, ...] = ()) -> Commit:
        """Put `files` on top of main's and take the paths `without` away."""
        before = self.head.files if self.commits else {}
        kept = {path: file for path, file in before.items() if path not in without}
        for path, file in files.items():
            kept[path] = file if isinstance(file, File) else File(file, is_large(path, len(file)))
        facts = [self.kind, self.name, self.main, title, sorted((path, file.blob_id) for path, file in kept.items())]
        commit = Commit(hashlib.sha1(json.dumps(facts).encode()).hexdigest(), title, kept)
        self.commits[commit.id] = commit
        self.main = commit.id
        return commit
