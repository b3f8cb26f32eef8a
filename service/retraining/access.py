"""Who may retrain: whoever brings the administrator's token."""

from dataclasses import dataclass, field

from fastapi import Request

from service.guard import Guesses
from service.limits import client_of
from service.problems import Problem

ASK = {"WWW-Authenticate": 'Bearer realm="retraining"'}


@dataclass
class Administrator:
    """Tells the administrator by the token (`service.password.secret`)."""

    token: bytes = field(repr=False)
    guesses: Guesses

    async def check(self, request: Request) -> None:
        """A dependency of routes. Raises: Problem for anybody else, and for a client that was wrong too often."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given.strip().encode(errors="replace") if scheme.lower() == "bearer" else b""
        if not given or not self.guesses.is_right(client_of(request.scope), given, self.token):
            detail = "Only the administrator may do this. Send the token as Authorization: Bearer TOKEN."
            raise Problem(401, "Token needed", detail, headers=ASK)
