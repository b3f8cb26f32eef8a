"""Files -> one commit on the Hub, or none, and a sentence about why not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import NamedTuple

from httpx2 import Client, HTTPError, Timeout, TransportError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, set_client_factory
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

# All that the client raises: its own derive from OSError or ValueError, an upload's are wrapped into RuntimeError.
ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
KEPT = ".gitattributes"  # the Hub's own file in every repository
SILENCE_SECONDS = 30  # without a byte; the client by itself waits for ever, and asks again up to five times
CONNECT_SECONDS = 10
TOKENS = "https://huggingface.co/settings/tokens"
FULL = "The Hub has no space left for {repo}{quoted}. Delete there what is not needed, or ask for more."
CHANGED = "Somebody else has changed {repo} meanwhile. Run this again."
REASONS = {  # by the status that the Hub answers with
    401: f"The Hub does not accept the token. Make a new one that may write ({TOKENS}) and run hf auth login.",
    402: "The Hub wants to be paid for {repo}{quoted}. Choose another owner, or another plan.",
    403: f"The token may not write to {{repo}}. Take one that may ({TOKENS}), or name a repository of your own.",
    404: "The Hub does not find {repo}, or does not show it to this token. Check the name and the token.",
    409: CHANGED,
    412: CHANGED,
    413: FULL,
    429: "The Hub has had too many requests from here. Wait some minutes, then run this again.",
    507: FULL,
}


class PushFailed(Exception):
    """Nothing was pushed, or not all; the message is for the user."""


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


def give_up_on_silence() -> None:
    """Let the Hub client's connections wait for a byte no longer than SILENCE_SECONDS."""
    hooks, timeout = get_session().event_hooks, Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    set_client_factory(lambda: Client(event_hooks=hooks, follow_redirects=True, timeout=timeout))


def why(error: BaseException | None, repo: str, endpoint: str) -> str:
    """What went wrong with `repo` on the Hub at `endpoint`, and what to do, in a sentence or two."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    kinds = tuple(type(link) for link in chain)
    status = next((link.response.status_code for link in chain if getattr(link, "response", None) is not None), 0)
    message = next((link.server_message for link in chain if getattr(link, "server_message", None)), "")
    if KeyboardInterrupt in kinds:
        return "Stopped."
    if LocalTokenNotFoundError in kinds:
        return f"There is no token for the Hub. Run hf auth login, or set HF_TOKEN to one that may write: {TOKENS}."
    if OfflineModeIsEnabled in kinds:
        return "HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it."
    if status in (0, 403) and "storage limit" in f"{message} {chain[0]}".lower():
        status = 507
    if status in REASONS:
        return REASONS[status].format(repo=repo, quoted=f' ("{message}")' if message else "")
    if status >= 500:
        return f"The Hub is out of order (status {status}). Run this again later."
    if any(issubclass(kind, TransportError | ConnectionError) for kind in kinds):
        return f"The Hub at {endpoint} cannot be reached. Check the network, then run this again."
    return f'The Hub refuses {repo}: "{message or (str(chain[0]).strip().splitlines() or ["no reason given"])[-1]}".'


@contextmanager
def asking(api: HfApi, repo: str, happened: str = "{} Nothing was sent.") -> Iterator[None]:
    """Turn what the client raises about `repo` into `PushFailed`: what `happened`, with the reason in it."""
    try:
        yield
    except ERRORS as error:
        raise PushFailed(happened.format(why(error, repo, api.endpoint))) from error


def push(api: HfApi, upload: Upload, *, private: bool = False, tag: str = "", dry_run: bool = False) -> str | None:
    """Bring the repository up to `upload` in one commit, if anything differs, and tag it; print what is done.

    A repository that is missing is created, `private` or public. Returns the commit that holds `upload`, None in a dry
    run if there is none yet. Raises: `PushFailed`; the repository is then as it was, and one that this created is gone.
    """
    with asking(api, upload.repo):
        if not dry_run and api.whoami().get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PushFailed("The token may only read. Take one that may write. Nothing was sent.")
        found = _compare(api, upload)
        tags = api.list_repo_refs(upload.repo, repo_type=upload.kind).tags if tag and found.head else ()
    tagged = next((reference.target_commit for reference in tags if reference.name == tag), None)
    differs = bool(found.added or found.deleted)
    if private and found.head and not found.private:
        remedy = "Make it private in its settings, or leave --private out."
        raise PushFailed(f"{upload.repo} exists and is public. {remedy} Nothing was sent.")
    if tagged and (differs or tagged != found.head):
        raise PushFailed(f"{upload.repo} has a tag {tag} of another state. Choose another --tag. Nothing was sent.")
    for line in _listing(upload, found, private):
        print(line)
    if dry_run:
        return found.head
    commit = _commit(api, upload, found, private) if differs else found.head
    if tag and not tagged:
        with asking(api, upload.repo, f"{upload.repo} is pushed as {commit} but has no tag {tag}. {{}}"):
            api.create_tag(upload.repo, tag=tag, revision=commit, repo_type=upload.kind)
        print(f"tagged {tag}")
    return commit


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


def _listing(upload: Upload, found: Changes, private: bool) -> Iterator[str]:
    if found.head is None:
        yield f"{upload.repo} is new to this token: a {'private' if private else 'public'} {upload.kind} repository"
    for path in found.added:
        content = upload.files[path]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        yield f"+ {path}  {size / 1e3:,.1f} kB"
    yield from (f"- {path}" for path in found.deleted)
    if not found.added and not found.deleted:
        yield f"{upload.repo} holds all of this already, in commit {found.head}: nothing to push"


def _commit(api: HfApi, upload: Upload, found: Changes, private: bool) -> str:
    """One commit with all changes, on top of what was found and on nothing else; returns its id."""
    repo, kind, created = upload.repo, upload.kind, False
    try:
        if found.head is None:
            api.create_repo(repo, repo_type=kind, private=private, space_sdk="gradio" if kind == "space" else None)
            created = True
            found = _compare(api, upload)  # with what the Hub itself has put into it
        added = [CommitOperationAdd(path, upload.files[path]) for path in found.added]
        changes = [*added, *map(CommitOperationDelete, found.deleted)]
        made = api.create_commit(repo, changes, commit_message=upload.message, repo_type=kind, parent_commit=found.head)
    except (*ERRORS, KeyboardInterrupt) as error:
        reason, left = why(error, repo, api.endpoint), _put_back(api, upload, found.head, created)
        raise PushFailed(f"{reason} {left}") from error
    print(f"pushed in one commit: {made.commit_url}")
    return made.oid


def _put_back(api: HfApi, upload: Upload, head: str | None, created: bool) -> str:
    """What a failed push has left, in a sentence, after a repository that it created is deleted again."""
    repo, kind = upload.repo, upload.kind
    if head is None and not created:
        return "Nothing was sent."
    try:
        if head is not None and api.repo_info(repo, repo_type=kind).sha != head:
            return f"{repo} is no longer what it was before: look at its last commit."
        if not created:
            return f"{repo} is as it was."
        api.delete_repo(repo, repo_type=kind)
        return f"The repository that was made for it is deleted again: there is no {repo}, as before."
    except ERRORS:
        made = f" The repository {repo} was made for it and may be there, empty." if created else ""
        return f"A commit arrives whole or not at all; {repo} could not be asked whether it did.{made}"
