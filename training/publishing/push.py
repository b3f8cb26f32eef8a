"""Files -> one commit on the Hub, or none."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import NamedTuple

from httpx2 import Client, Timeout
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, set_client_factory
from huggingface_hub.errors import RepositoryNotFoundError

from .failures import ERRORS, PushFailed, why

KEPT = ".gitattributes"  # the Hub's own file in every repository
SILENCE_SECONDS = 30  # without a byte; the client by itself waits for ever, and asks again up to five times
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Upload:
    """What a repository of the Hub is to hold."""

    repo: str  # "ORG/NAME"
    kind: str  # "model" or "space"
    files: dict[str, bytes | Path]  # path in the repository -> content, or the file with it
    stale: Callable[[str], bool]  # whether a file of the repository that is not among `files` is deleted
    message: str  # of the commit


class Changes(NamedTuple):
    """What sets a repository apart from an `Upload`."""

    head: str | None  # the commit that it was compared with; None if there is no such repository
    private: bool
    added: list[str]  # new or different files
    deleted: list[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.deleted)


def give_up_on_silence() -> None:
    """Have the Hub client's connections be as they are, but that they wait for a byte no longer than a while."""
    hooks, timeout = get_session().event_hooks, Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    set_client_factory(lambda: Client(event_hooks=hooks, follow_redirects=True, timeout=timeout))


def push(api: HfApi, upload: Upload, *, private: bool = False, tag: str = "", dry_run: bool = False) -> str | None:
    """Bring the repository up to `upload` in one commit, if anything differs, and tag it; say on the way what is done.

    A repository that is missing is created, `private` or public. Returns the commit that holds `upload`, None in a dry
    run if there is none yet. Raises: `PushFailed`; the repository is then as it was, and one that this created is gone.
    """
    try:
        if not dry_run:
            _need_write_token(api)
        found = _compare(api, upload)
        _refuse_other_visibility(upload, found, private)
        tagged = _commit_of(api, upload, tag) if tag and found.head else None
    except ERRORS as error:
        raise PushFailed(f"{why(error, upload.repo, api.endpoint)} Nothing was sent.") from error
    if tagged and (found or tagged != found.head):
        raise PushFailed(f"{upload.repo} has a tag {tag} of another state. Choose another --tag. Nothing was sent.")
    _tell(upload, found, private)
    if dry_run:
        return found.head
    commit = _commit(api, upload, found, private) if found else found.head
    if tag and not tagged:
        try:
            api.create_tag(upload.repo, tag=tag, revision=commit, repo_type=upload.kind)
        except ERRORS as error:
            reason = why(error, upload.repo, api.endpoint)
            raise PushFailed(f"{upload.repo} is pushed as {commit} but has no tag {tag}. {reason}") from error
        print(f"tagged {tag}")
    return commit


def _need_write_token(api: HfApi) -> None:
    """Ask the Hub who we are, before anything is made. Raises: `PushFailed`, and what the client raises."""
    token = api.whoami().get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise PushFailed("The token may only read. Take one that may write. Nothing was sent.")


def _compare(api: HfApi, upload: Upload) -> Changes:
    try:
        info = api.repo_info(upload.repo, repo_type=upload.kind, files_metadata=True)
    except RepositoryNotFoundError:
        return Changes(None, False, sorted(upload.files), [])
    there = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in info.siblings}
    added = [path for path, content in upload.files.items() if there.get(path) not in _names(content)]
    others = [path for path in there if path not in upload.files and path != KEPT]
    return Changes(info.sha, bool(info.private), sorted(added), sorted(filter(upload.stale, others)))


def _names(content: bytes | Path) -> tuple[str, str]:
    """How the Hub names this content: in LFS by its sha256, else as git does."""
    data = content.read_bytes() if isinstance(content, Path) else content
    return sha256(data).hexdigest(), sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _refuse_other_visibility(upload: Upload, found: Changes, private: bool) -> None:
    if private and found.head and not found.private:
        raise PushFailed(
            f"{upload.repo} exists and is public. Make it private in its settings, or leave --private out. "
            "Nothing was sent."
        )


def _commit_of(api: HfApi, upload: Upload, tag: str) -> str | None:
    """The commit that bears the tag already."""
    tags = api.list_repo_refs(upload.repo, repo_type=upload.kind).tags
    return next((reference.target_commit for reference in tags if reference.name == tag), None)


def _tell(upload: Upload, found: Changes, private: bool) -> None:
    if found.head is None:
        print(f"{upload.repo} is new to this token: a {'private' if private else 'public'} {upload.kind} repository")
    for path in found.added:
        content = upload.files[path]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        print(f"+ {path}  {size / 1e3:,.1f} kB")
    for path in found.deleted:
        print(f"- {path}")
    if not found:
        print(f"{upload.repo} holds all of this already, in commit {found.head}: nothing to push")


def _commit(api: HfApi, upload: Upload, found: Changes, private: bool) -> str:
    """One commit with all changes, on top of what was found and on nothing else; returns its id."""
    created, head = False, found.head
    try:
        if head is None:
            sdk = "gradio" if upload.kind == "space" else None
            api.create_repo(upload.repo, repo_type=upload.kind, private=private, space_sdk=sdk)
            created = True
            found = _compare(api, upload)  # with what the Hub itself has put into it
            head = found.head
        done = api.create_commit(
            upload.repo,
            [
                *(CommitOperationAdd(path, upload.files[path]) for path in found.added),
                *(CommitOperationDelete(path) for path in found.deleted),
            ],
            commit_message=upload.message,
            repo_type=upload.kind,
            parent_commit=head,
        )
    except (*ERRORS, KeyboardInterrupt) as error:
        reason, left = why(error, upload.repo, api.endpoint), _put_back(api, upload, head, created)
        raise PushFailed(f"{reason} {left}") from error
    print(f"pushed in one commit: {done.commit_url}")
    return done.oid


def _put_back(api: HfApi, upload: Upload, head: str | None, created: bool) -> str:
    """What a failed push has left, in a sentence, after a repository that it created is deleted again."""
    if head is None and not created:
        return "Nothing was sent."
    try:
        if head is not None and api.repo_info(upload.repo, repo_type=upload.kind).sha != head:
            return f"{upload.repo} is no longer what it was before: look at its last commit."
        if not created:
            return f"{upload.repo} is as it was."
        api.delete_repo(upload.repo, repo_type=upload.kind)
        return f"The repository that was made for it is deleted again: there is no {upload.repo}, as before."
    except ERRORS:
        made = f" The repository {upload.repo} was made for it and may be there, empty." if created else ""
        return f"A commit arrives whole or not at all; {upload.repo} could not be asked whether it did.{made}"
