"""A server that speaks the Hub's protocol to the real huggingface_hub client; what it keeps, it keeps in memory."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from . import reading, writing
from .access import Refused
from .repositories import Repository


class Hub(FastAPI):
    """Attributes: `repositories` by kind and name; `renamed`, old name -> new; `storage`, large files by sha256."""

    def __init__(self):
        super().__init__(openapi_url=None)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.renamed: dict[str, str] = {}
        self.storage: dict[str, bytes] = {}
        self.add_exception_handler(Refused, _answer_refusal)
        self.include_router(reading.routes)
        self.include_router(writing.routes)

    def clear(self) -> None:
        for kept in (self.repositories, self.renamed, self.storage):
            kept.clear()

    def add(self, name: str, kind: str = "model", private: bool = False, sdk: str | None = None) -> Repository:
        """An empty repository, as if it had just been created. `name` is "OWNER/NAME", `kind` "model" or "space"."""
        repository = self.repositories[kind, name] = Repository(kind, name, private, sdk)
        return repository


async def _answer_refusal(request: Request, error: Refused) -> JSONResponse:
    return JSONResponse({"error": error.message}, error.status, error.headers)
