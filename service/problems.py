"""Refusals as RFC 9457 has them: a status, a title, and a sentence that says what is wrong and what to do."""

import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
UNFORESEEN = "Something went wrong. The server's log says what. Try again, and if it stays so, tell whoever runs this."
SENTENCES = {  # of what the framework refuses by itself
    400: "The form cannot be read. Send up to 1,000 files in fields named files, and nothing else in it.",
    404: "There is nothing at this address. /openapi.json lists what there is.",
    405: "This address does not answer to that method. /openapi.json says which it answers to.",
}


class ProblemDetails(BaseModel):
    """What stands in the body of a refusal (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do.")
    files: list[dict[str, str]] | None = Field(None, description="Each `file` that cannot be read, and its `reason`.")


class Problem(HTTPException):
    """A request that is refused: raise it in any route.

    Args: `status`, of HTTP; `title`, the same for every refusal of its kind; `detail`, a sentence or two: what is
        wrong and what to do; `retry_after`, seconds until asking again makes sense, sent rounded up; `headers` of the
        response; whatever else is named becomes a member of the body.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        **members: object,
    ):
        headers = dict(headers or {})
        if retry_after is not None:
            headers["Retry-After"] = str(whole_seconds(retry_after))
        super().__init__(status, detail, headers)
        self.title, self.members = title, members

    def response(self) -> JSONResponse:
        body = {"type": "about:blank", "title": self.title, "status": self.status_code, "detail": self.detail}
        return JSONResponse(body | self.members, self.status_code, self.headers, MEDIA_TYPE)


def whole_seconds(seconds: float) -> int:
    """Seconds to wait as they are told: rounded up, at least 1."""
    return max(1, math.ceil(seconds))


def documented(**reasons: str) -> dict[int, dict]:
    """OpenAPI's `responses` of a route: `documented(_413="The files are too large.")`."""
    schema = {MEDIA_TYPE: {"schema": ProblemDetails.model_json_schema()}}
    return {int(status.strip("_")): {"description": why, "content": schema} for status, why in reasons.items()}


def install(api: FastAPI) -> None:
    """Have every refusal of `api`, its own and the framework's, answered as a problem."""

    @api.exception_handler(Problem)
    async def refuse(_request: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @api.exception_handler(HTTPException)
    async def refuse_in_general(_request: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        detail = SENTENCES.get(error.status_code, f"{title}.")
        return Problem(error.status_code, title, detail, headers=error.headers).response()

    @api.exception_handler(RequestValidationError)
    async def refuse_what_does_not_fit(_request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        detail = f"The request does not fit what /openapi.json describes ({wrong}). Mend that and send it again."
        return Problem(422, "Request does not fit", detail).response()

    @api.exception_handler(Exception)
    async def admit_failure(_request: Request, _error: Exception) -> JSONResponse:
        headers = {"X-Content-Type-Options": "nosniff"}  # what sends the others is further in
        return Problem(500, HTTPStatus(500).phrase, UNFORESEEN, headers=headers).response()
