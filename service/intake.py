"""Routes that take files: room for what has come of a body, which must be in the one form that is understood."""

from collections.abc import Callable

from fastapi import Request, Response
from fastapi.routing import APIRoute

from .bodies import Body
from .problems import Problem

FORM = "multipart/form-data"


class Intake(APIRoute):
    """A route whose request is refused if the body is no form, or once there is no room for what has come of it."""

    def get_route_handler(self) -> Callable:
        answer = super().get_route_handler()

        async def admit(request: Request) -> Response:
            body = Body(request.receive, request.headers.get("content-length", ""))
            try:
                kind = request.headers.get("content-type", "nothing")
                if kind.partition(";")[0].strip().lower() != FORM:
                    detail = f"The body is {kind[:60]}. Send the files as {FORM}, in fields named files."
                    raise Problem(415, "Not a form with files", detail)
                with request.app.state.seats.taking() as body.arrived:
                    return await answer(Request(request.scope, body))
            except Problem:
                await body.discard()
                raise

        return admit
