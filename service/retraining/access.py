"""Who may retrain: whoever brings the administrator's token."""

import hmac

from fastapi import Request

from service.problems import Problem
from service.rates import RateLimit, client_of

SHORTEST = 16  # characters: a word can be guessed, `openssl rand -hex 16` cannot
GUESSES_PER_SECOND, GUESSES = 0.1, 10  # wrong tokens of one client, steadily and at once
ASK = {"WWW-Authenticate": 'Bearer realm="retraining"'}


class Administrator:
    """Tells the administrator by the token. It is compared in constant time, and never logged.

    Raises: ValueError if the token is too short to be one.
    """

    def __init__(self, token: str):
        if len(token) < SHORTEST:
            raise ValueError(f"ADMIN_TOKEN has fewer than {SHORTEST} characters. Take one of `openssl rand -hex 16`.")
        self._token = token.encode()
        self._guesses = RateLimit(GUESSES_PER_SECOND, GUESSES)

    def is_named_by(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(errors="replace"), self._token)

    def is_guessing(self, client: str) -> float:
        """Count a wrong token of `client`. Returns the seconds until it may try again, 0 if at once."""
        return self._guesses.wait_seconds(client)

    async def check(self, request: Request) -> None:
        """A dependency of routes. Raises: Problem for anybody else."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_named_by(token.strip()):
            return
        if token and (seconds := self.is_guessing(client_of(request.scope))):
            raise Problem(429, "Too many wrong tokens", "Wait, then try again.", retry_after=seconds)
        detail = "Only the administrator may do this. Send the token as Authorization: Bearer TOKEN."
        raise Problem(401, "Token needed", detail, headers=ASK)
