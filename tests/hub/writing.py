"""The Hub's routes that write: create, delete, preupload, LFS, commit, tags, and a Space's variables."""

import base64
import hashlib
import json

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from .access import OWNER, Refused, find_commit, find_repository, must_write
from .repositories import File, is_large

routes = APIRouter()


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
    repository = find_repository(request, asked["type"], f"{asked['organization']}/{asked['name']}")
    del request.app.repositories[repository.kind, repository.name]
    return {}


@routes.post("/api/{kind}s/{owner}/{name}/preupload/{revision}")
async def choose_modes(request: Request, kind: str, owner: str, name: str, revision: str) -> dict:
    """Which files go to LFS, and what is there already."""
    must_write(request)
    present = find_commit(find_repository(request, kind, f"{owner}/{name}"), revision).files
    modes = {True: "lfs", False: "regular"}
    return {
        "files": [
            {
                **{"path": file["path"], "uploadMode": modes[is_large(file["path"], file["size"])]},
                **{"shouldIgnore": False},
                **{"oid": present[file["path"]].etag if file["path"] in present else None},
            }
            for file in (await request.json())["files"]
        ]
    }


@routes.post("/{owner}/{name}.git/info/lfs/objects/batch")
@routes.post("/{kind}s/{owner}/{name}.git/info/lfs/objects/batch")
async def offer_storage(request: Request, owner: str, name: str, kind: str = "model"):
    """Where to put the large files that are not stored yet."""
    must_write(request)
    find_repository(request, kind, f"{owner}/{name}")
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
    repository = find_repository(request, kind, f"{owner}/{name}")
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
            case "deletedFolder":
                without.append(f"{value['path'].rstrip('/')}/")
    if header.get("parentCommit", repository.head.id) != repository.head.id:
        raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
    made = repository.commit(files, header["summary"], tuple(without))
    url = f"{request.base_url}{repository.name}/commit/{made.id}"
    return {"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None}


@routes.post("/api/{kind}s/{owner}/{name}/tag/{revision}")
async def tag(request: Request, kind: str, owner: str, name: str, revision: str) -> dict:
    must_write(request)
    repository = find_repository(request, kind, f"{owner}/{name}")
    wanted = (await request.json())["tag"]
    if wanted in repository.tags:
        raise Refused(409, "", "Reference already exists")
    repository.tags[wanted] = find_commit(repository, revision).id
    return {}


@routes.delete("/api/{kind}s/{owner}/{name}/tag/{tag}")
def delete_tag(request: Request, kind: str, owner: str, name: str, tag: str) -> dict:
    must_write(request)
    if find_repository(request, kind, f"{owner}/{name}").tags.pop(tag, None) is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {tag}")
    return {}


@routes.api_route("/api/spaces/{owner}/{name}/variables", methods=["GET", "POST", "DELETE"])
async def variables(request: Request, owner: str, name: str) -> dict:
    must_write(request)
    held = find_repository(request, "space", f"{owner}/{name}").variables
    if request.method == "POST":
        asked = await request.json()
        held[asked["key"]] = asked["value"]
    elif request.method == "DELETE":
        del held[(await request.json())["key"]]
    return {key: {"value": value, "description": ""} for key, value in held.items()}
