"""Who may retrain: whoever brings the administrator's token."""

from dataclasses import dataclass, field

from fastapi import Request

from service.password import Guesses
from service.problems import Problem
from service.rates import client_of

ASK = {"WWW-Authenticate": 'Bearer realm="retraining"'}


@dataclass
class Administrator:
    """Tells the administrator by the token (`service.password.secret`)."""

    token: bytes = field(repr=False)
    guesses: Guesses

    def is_named_by(self, given: str, client: str) -> bool:
        """Raises: Problem if `client` was wrong too often."""
        return bool(given) and self.guesses.is_right(client, given.encode(errors="replace"), self.token)

    async def check(self, request: Request) -> None:
        """A dependency of routes. Raises: Problem for anybody else."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.is_named_by(given.strip(), client_of(request.scope)):
            detail = "Only the administrator may do this. Send the token as Authorization: Bearer TOKEN."
            raise Problem(401, "Token needed", detail, headers=ASK)
