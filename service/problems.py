"""Refusals as problem details (RFC 9457): a status, a title, and a sentence that says what is wrong and what to do."""

import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from model.serving import ModelMissing

MEDIA_TYPE = "application/problem+json"
UNFORESEEN = "Something went wrong. The server's log says what. Try again, and if it stays so, tell whoever runs this."
SENTENCES = {  # for what the framework refuses by itself
    400: "The form cannot be read. Send up to 1,000 files in fields named files, and nothing else in it.",
    404: "There is nothing at this address. /openapi.json lists what there is.",
    405: "This address does not answer to that method. /openapi.json says which it answers to.",
}


class ProblemDetails(BaseModel):
    """The body of a refusal (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
    files: list[dict[str, str]] | None = Field(None, description="Each `file` that cannot be read, and its `reason`.")


class Problem(HTTPException):
    """A refused request: raise it in any route.

    Args: `status` of HTTP; `detail`, a sentence or two: what is wrong and what to do; `title`, the same for every
        refusal of its kind (default: HTTP's own phrase); `retry_after`, seconds until asking again makes sense, sent
        rounded up; `headers` of the response; every other keyword becomes a member of the body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        title: str = "",
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        **members: object,
    ):
        wait = {} if retry_after is None else {"Retry-After": str(whole_seconds(retry_after))}
        super().__init__(status, detail, dict(headers or {}) | wait)
        self.title, self.members = title or HTTPStatus(status).phrase, members

    def response(self) -> JSONResponse:
        """The problem as it is sent."""
        body = {"type": "about:blank", "title": self.title, "status": self.status_code, "detail": self.detail}
        return JSONResponse(body | self.members, self.status_code, self.headers, MEDIA_TYPE)


def whole_seconds(seconds: float) -> int:
    """Seconds to wait, rounded up, at least 1."""
    return max(1, math.ceil(seconds))


def documented(reasons: dict[int, str]) -> dict[int, dict]:
    """OpenAPI's `responses` of a route that refuses with these statuses, for these reasons."""
    schema = {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}
    return {status: {"description": reason, "content": schema} for status, reason in reasons.items()}


def problem_of(error: Exception) -> Problem:
    """What is answered to an exception that a route raised. An unforeseen one keeps its text to itself."""
    match error:
        case Problem():
            return error
        case HTTPException(status_code=status):
            return Problem(status, SENTENCES.get(status, f"{HTTPStatus(status).phrase}."), headers=error.headers)
        case RequestValidationError():
            wrong = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
            detail = f"The request does not fit what /openapi.json describes ({wrong}). Correct it and try again."
            return Problem(422, detail, "Request does not fit")
        case ModelMissing():
            return Problem(503, str(error), "No model")
    return Problem(500, UNFORESEEN, headers={"X-Content-Type-Options": "nosniff"})  # SendHeaders is further in


def install(api: FastAPI) -> None:
    """Have every refusal of `api`, its own and the framework's, answered as a problem."""

    async def refuse(_request: Request, error: Exception) -> JSONResponse:
        return problem_of(error).response()

    for kind in (HTTPException, RequestValidationError, ModelMissing, Exception):
        api.add_exception_handler(kind, refuse)
