"""Who may do what on the Hub, and how it says no. Whoever may not see a repository is told that there is none."""

from collections.abc import Mapping

from fastapi import Request

from .repositories import Commit, Repository

OWNER = "hospital"  # whom both tokens belong to
WRITE_TOKEN, READ_TOKEN = "hf_may_write", "hf_may_read"
ROLES = {WRITE_TOKEN: "write", READ_TOKEN: "read"}


class Refused(Exception):
    """An error as the Hub answers it: `code` goes into X-Error-Code, which the client tells errors by."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}) | dict(headers or {})


def role_of(request: Request) -> str:
    """What the caller may do: "write", "read", or "" for anyone. A token that nobody has is an error, as on the Hub."""
    header = request.headers.get("authorization", "")
    if not header:
        return ""
    role = ROLES.get(header.removeprefix("Bearer "))
    if role is None:
        raise Refused(401, "", "Invalid credentials in Authorization header")
    return role


def find_repository(request: Request, kind: str, name: str) -> Repository:
    role = role_of(request)
    if new := request.app.renamed.get(name):
        raise Refused(307, "", "Temporary Redirect", {"Location": request.url.path.replace(name, new, 1)})
    repository = request.app.repositories.get((kind, name))
    if repository is None or (repository.private and not role):
        raise Refused(404 if role else 401, "RepoNotFound", "Repository not found")
    return repository


def find_commit(repository: Repository, revision: str) -> Commit:
    commit = repository.find(revision)
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit


def must_write(request: Request) -> None:
    role = role_of(request)
    if not role:
        raise Refused(401, "", "Invalid username or password.")
    if role != "write":
        raise Refused(403, "", "Forbidden: you must use a write token to upload to a repository.")
