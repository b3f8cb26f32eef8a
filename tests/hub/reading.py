"""The Hub's routes that read: repository info, tree, paths-info, refs, commits, and files by `resolve`.

A large file is redirected to another host ("localhost" for "127.0.0.1"), as on the Hub: no token may follow there.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from .access import OWNER, Refused, find_commit, find_repository, role_of
from .repositories import Commit, File

POINTER_BYTES = 134  # size of an LFS pointer, which the client does not look at

routes = APIRouter()


@routes.get("/api/whoami-v2")
def who_am_i(request: Request) -> dict:
    role = role_of(request)
    if not role:
        raise Refused(401, "", "Invalid username or password.")
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    return {"type": "user", "name": OWNER, "fullname": OWNER, "isPro": False, "orgs": [], "auth": token}


@routes.get("/api/{kind}s/{owner}/{name}")
@routes.get("/api/{kind}s/{owner}/{name}/revision/{revision:path}")
def describe(request: Request, kind: str, owner: str, name: str, revision: str = "main", blobs: bool = False) -> dict:
    repository = find_repository(request, kind, f"{owner}/{name}")
    commit = find_commit(repository, revision)
    siblings = [{"rfilename": path} | (_sibling(file) if blobs else {}) for path, file in commit.files.items()]
    described = {
        **{"_id": "0", "id": repository.name, "modelId": repository.name, "author": owner, "sha": commit.id},
        **{"private": repository.private, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0},
        **{"lastModified": _iso(commit), "createdAt": _iso(commit), "siblings": siblings},
    }
    return described | ({"sdk": repository.sdk} if repository.sdk else {})


def _sibling(file: File) -> dict:
    size = len(file.content)
    large = {"lfs": {"sha256": file.sha256, "size": size, "pointerSize": POINTER_BYTES}} if file.large else {}
    return {"size": size, "blobId": file.blob_id} | large


def _entry(path: str, file: File) -> dict:
    size = len(file.content)
    large = {"lfs": {"oid": file.sha256, "size": size, "pointerSize": POINTER_BYTES}} if file.large else {}
    return {"type": "file", "path": path, "oid": file.blob_id, "size": size} | large


def _iso(commit: Commit) -> str:
    return commit.date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@routes.get("/api/{kind}s/{owner}/{name}/tree/{revision}")
@routes.get("/api/{kind}s/{owner}/{name}/tree/{revision}/{path:path}")
def tree(request: Request, kind: str, owner: str, name: str, revision: str, path: str = "") -> list[dict]:
    commit = find_commit(find_repository(request, kind, f"{owner}/{name}"), revision)
    return [_entry(one, file) for one, file in commit.files.items() if one.startswith(path)]


@routes.post("/api/{kind}s/{owner}/{name}/paths-info/{revision}")
async def paths_info(request: Request, kind: str, owner: str, name: str, revision: str) -> list[dict]:
    commit = find_commit(find_repository(request, kind, f"{owner}/{name}"), revision)
    asked = (await request.form()).getlist("paths")
    return [_entry(path, commit.files[path]) for path in asked if path in commit.files]


@routes.get("/api/{kind}s/{owner}/{name}/refs")
def refs(request: Request, kind: str, owner: str, name: str) -> dict:
    repository = find_repository(request, kind, f"{owner}/{name}")

    def listed(names: Mapping[str, str], folder: str) -> list[dict]:
        return [{"name": one, "ref": f"refs/{folder}/{one}", "targetCommit": commit} for one, commit in names.items()]

    return {"branches": listed(repository.branches, "heads"), "tags": listed(repository.tags, "tags"), "converts": []}


@routes.get("/api/{kind}s/{owner}/{name}/commits/{revision}")
def commits(request: Request, kind: str, owner: str, name: str, revision: str) -> list[dict]:
    repository = find_repository(request, kind, f"{owner}/{name}")
    return [
        {"id": one.id, "title": one.title, "message": "", "authors": [{"user": OWNER}], "date": _iso(one)}
        for one in repository.history(find_commit(repository, revision))
    ]


@routes.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
@routes.api_route("/{kind}s/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve(request: Request, owner: str, name: str, revision: str, path: str, kind: str = "model") -> Response:
    commit = find_commit(find_repository(request, kind, f"{owner}/{name}"), revision)
    headers = {"X-Repo-Commit": commit.id}
    file = commit.files.get(path)
    if file is None:
        raise Refused(404, "EntryNotFound", "Entry not found", headers)
    if file.large:
        linked = {"X-Linked-Size": str(len(file.content)), "X-Linked-Etag": f'"{file.etag}"'}
        request.app.storage[file.sha256] = file.content
        return RedirectResponse(f"http://localhost:{request.url.port}/storage/{file.sha256}", 302, headers | linked)
    return Response(file.content, headers=headers | {"ETag": f'"{file.etag}"'}, media_type="text/plain")


@routes.get("/storage/{sha256}")
def stored(request: Request, sha256: str) -> Response:
    """A large file; another host than the Hub, so no token may come along."""
    if "authorization" in request.headers:
        raise Refused(400, "", "A token was sent to the storage")
    content, wanted = request.app.storage[sha256], request.headers.get("range")
    if wanted is None:
        return Response(content, headers={"ETag": f'"{sha256}"'}, media_type="application/octet-stream")
    start = int(wanted.removeprefix("bytes=").split("-")[0])
    part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}", "ETag": f'"{sha256}"'}
    return Response(content[start:], 206, part, "application/octet-stream")
