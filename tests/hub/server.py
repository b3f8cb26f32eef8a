"""A server that speaks the Hub's protocol to the real huggingface_hub client, as far as this program uses it."""

import base64
import hashlib
import json

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from .repositories import Commit, File, Repository, is_large

OWNER = "hospital"  # whom both tokens belong to
WRITE_TOKEN, READ_TOKEN = "hf_may_write", "hf_may_read"
ROLES = {WRITE_TOKEN: "write", READ_TOKEN: "read"}
EPOCH = "2026-01-01T00:00:00.000Z"
routes = APIRouter()


class Hub(FastAPI):
    """Attributes: `repositories` by kind ("model" or "space") and name; `storage`, large files by sha256."""

    def __init__(self):
        super().__init__(openapi_url=None)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.storage: dict[str, bytes] = {}
        self.add_exception_handler(Refused, lambda _, error: error.response)
        self.include_router(routes)

    def clear(self) -> None:
        self.repositories.clear()
        self.storage.clear()

    def add(self, name: str, kind: str = "model", private: bool = False, sdk: str | None = None) -> Repository:
        """An empty repository, as if it had just been created. `name` is "OWNER/NAME", `kind` "model" or "space"."""
        repository = self.repositories[kind, name] = Repository(kind, name, private, sdk)
        return repository


# who may do what; whoever may not see a repository is told that there is none


class Refused(Exception):
    """An error as the Hub answers it: `code` goes into X-Error-Code, which the client tells errors by."""

    def __init__(self, status: int, code: str, message: str):
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.response = JSONResponse({"error": message}, status, headers)


def role_of(request: Request) -> str:
    """What the caller may do: "write", "read", or "" for anyone. A token that nobody has is an error, as on the Hub."""
    header = request.headers.get("authorization", "")
    role = ROLES.get(header.removeprefix("Bearer ")) if header else ""
    if role is None:
        raise Refused(401, "", "Invalid credentials in Authorization header")
    return role


def must_write(request: Request) -> None:
    role = role_of(request)
    if role != "write":
        raise Refused(403 if role else 401, "", "You must use a write token to upload to a repository.")


def find_repository(request: Request, kind: str, owner: str, name: str) -> Repository:
    role, repository = role_of(request), request.app.repositories.get((kind, f"{owner}/{name}"))
    if repository is None or (repository.private and not role):
        raise Refused(404 if role else 401, "RepoNotFound", "Repository not found")
    return repository


def find_commit(repository: Repository, revision: str) -> Commit:
    commit = repository.find(revision)
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return commit


# what reads


@routes.get("/api/whoami-v2")
def who_am_i(request: Request) -> dict:
    role = role_of(request)
    if not role:
        raise Refused(401, "", "Invalid username or password.")
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    return {"type": "user", "name": OWNER, "fullname": OWNER, "isPro": False, "orgs": [], "auth": token}


def _facts(file: File) -> dict:
    size = len(file.content)
    large = {"sha256": file.sha256, "oid": file.sha256, "size": size, "pointerSize": 134}
    return {"size": size, "blobId": file.blob_id, "oid": file.blob_id} | ({"lfs": large} if file.large else {})


@routes.get("/api/{kind}s/{owner}/{name}")
@routes.get("/api/{kind}s/{owner}/{name}/revision/{revision:path}")
def describe(request: Request, kind: str, owner: str, name: str, revision: str = "main") -> dict:
    repository = find_repository(request, kind, owner, name)
    commit = find_commit(repository, revision)
    return {
        **{"_id": "0", "id": repository.name, "modelId": repository.name, "author": owner, "sha": commit.id},
        **{"private": repository.private, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0},
        **{"lastModified": EPOCH, "createdAt": EPOCH, "sdk": repository.sdk},
        "siblings": [{"rfilename": path} | _facts(file) for path, file in commit.files.items()],
    }


@routes.get("/api/{kind}s/{owner}/{name}/tree/{revision}")
def tree(request: Request, kind: str, owner: str, name: str, revision: str) -> list[dict]:
    commit = find_commit(find_repository(request, kind, owner, name), revision)
    return [{"type": "file", "path": path} | _facts(file) for path, file in commit.files.items()]


@routes.get("/api/{kind}s/{owner}/{name}/refs")
def refs(request: Request, kind: str, owner: str, name: str) -> dict:
    tags = find_repository(request, kind, owner, name).tags.items()
    listed = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": commit} for tag, commit in tags]
    return {"branches": [], "tags": listed, "converts": []}


@routes.api_route("/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
@routes.api_route("/{kind}s/{owner}/{name}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
def resolve(request: Request, owner: str, name: str, revision: str, path: str, kind: str = "model") -> Response:
    """A file; a large one is on another host ("localhost" for "127.0.0.1"): no token may follow there."""
    commit = find_commit(find_repository(request, kind, owner, name), revision)
    headers, file = {"X-Repo-Commit": commit.id}, commit.files.get(path)
    if file is None:
        raise Refused(404, "EntryNotFound", "Entry not found")
    if file.large:
        linked = {"X-Linked-Size": str(len(file.content)), "X-Linked-Etag": f'"{file.etag}"'}
        request.app.storage[file.sha256] = file.content
        return RedirectResponse(f"http://localhost:{request.url.port}/storage/{file.sha256}", 302, headers | linked)
    return Response(file.content, headers=headers | {"ETag": f'"{file.etag}"'}, media_type="text/plain")


@routes.get("/storage/{sha256}")
def stored(request: Request, sha256: str) -> Response:
    """A large file, or the rest of it."""
    if "authorization" in request.headers:
        raise Refused(400, "", "A token was sent to the storage")
    content, wanted, headers = request.app.storage[sha256], request.headers.get("range"), {"ETag": f'"{sha256}"'}
    if wanted is None:
        return Response(content, headers=headers)
    start = int(wanted.removeprefix("bytes=").split("-")[0])
    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return Response(content[start:], 206, headers)


# what writes


@routes.post("/api/validate-yaml")
def validate_card(request: Request) -> dict:
    return {"errors": [], "warnings": []}


@routes.post("/api/repos/create")
async def create(request: Request):
    must_write(request)
    asked = await request.json()
    kind, owner = asked.get("type", "model"), asked.get("organization") or OWNER
    name = f"{owner}/{asked['name']}"
    if owner != OWNER:
        raise Refused(403, "", f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    url = f"{request.base_url}{'' if kind == 'model' else f'{kind}s/'}{name}"
    if (kind, name) in request.app.repositories:
        return JSONResponse({"error": f"You already created this {kind} repo", "url": url, "id": name}, 409)
    request.app.add(name, kind, asked.get("visibility") == "private", asked.get("sdk"))
    return {"url": url, "name": name, "id": name}


@routes.delete("/api/repos/delete")
async def delete(request: Request) -> dict:
    must_write(request)
    asked = await request.json()
    repository = find_repository(request, asked["type"], asked["organization"], asked["name"])
    del request.app.repositories[repository.kind, repository.name]
    return {}


@routes.post("/api/{kind}s/{owner}/{name}/preupload/{revision}")
async def choose_modes(request: Request, kind: str, owner: str, name: str, revision: str) -> dict:
    """Which files go to LFS, and what is there already."""
    must_write(request)
    present, files = find_commit(find_repository(request, kind, owner, name), revision).files, []
    for file in (await request.json())["files"]:
        mode = "lfs" if is_large(file["path"], file["size"]) else "regular"
        oid = present[file["path"]].etag if file["path"] in present else None
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": files}


@routes.post("/{owner}/{name}.git/info/lfs/objects/batch")
@routes.post("/{kind}s/{owner}/{name}.git/info/lfs/objects/batch")
async def offer_storage(request: Request, owner: str, name: str, kind: str = "model"):
    """Where to put the large files that are not stored yet."""
    must_write(request)
    find_repository(request, kind, owner, name)
    objects = []
    for wanted in (await request.json())["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in request.app.storage:
            place = f"{request.base_url}storage/{wanted['oid']}"
            answer["actions"] = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
        objects.append(answer)
    return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")


@routes.put("/storage/{sha256}")
async def store(request: Request, sha256: str) -> dict:
    content = await request.body()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Refused(400, "", "The content does not have the sha256 that it was announced with")
    request.app.storage[sha256] = content
    return {}


@routes.post("/storage/{sha256}/verify")
async def verify(request: Request, sha256: str) -> dict:
    if len(request.app.storage.get(sha256, b"")) != (await request.json())["size"]:
        raise Refused(404, "", "The object is not stored, or not whole")
    return {}


@routes.post("/api/{kind}s/{owner}/{name}/commit/{revision}")
async def commit(request: Request, kind: str, owner: str, name: str, revision: str) -> dict:
    """All of it or nothing: a commit on main with everything that the lines of the body say."""
    must_write(request)
    repository = find_repository(request, kind, owner, name)
    header, files, without = {}, {}, []
    for line in (await request.body()).splitlines():
        entry = json.loads(line)
        value = entry["value"]
        match entry["key"]:
            case "header":
                header = value
            case "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), large=False)
            case "lfsFile":
                if value["oid"] not in request.app.storage:
                    raise Refused(400, "", f"LFS object {value['oid']} was not uploaded")
                files[value["path"]] = File(request.app.storage[value["oid"]], large=True)
            case "deletedFile":
                without.append(value["path"])
    if header.get("parentCommit", repository.head.id) != repository.head.id:
        raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
    made = repository.commit(files, header["summary"], tuple(without))
    url = f"{request.base_url}{repository.name}/commit/{made.id}"
    return {"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None}


@routes.post("/api/{kind}s/{owner}/{name}/tag/{revision}")
async def tag(request: Request, kind: str, owner: str, name: str, revision: str) -> dict:
    must_write(request)
    repository = find_repository(request, kind, owner, name)
    wanted = (await request.json())["tag"]
    if wanted in repository.tags:
        raise Refused(409, "", "Reference already exists")
    repository.tags[wanted] = find_commit(repository, revision).id
    return {}


@routes.api_route("/api/spaces/{owner}/{name}/variables", methods=["GET", "POST", "DELETE"])
async def variables(request: Request, owner: str, name: str) -> dict:
    must_write(request)
    held = find_repository(request, "space", owner, name).variables
    if request.method == "POST":
        asked = await request.json()
        held[asked["key"]] = asked["value"]
    elif request.method == "DELETE":
        del held[(await request.json())["key"]]
    return {key: {"value": value, "description": ""} for key, value in held.items()}
