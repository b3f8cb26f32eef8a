"""Why a push failed, and what to do about it, in words."""

from collections.abc import Iterator

from httpx2 import HTTPError, TransportError
from huggingface_hub.errors import LocalTokenNotFoundError, OfflineModeIsEnabled

# All that the client raises: its own derive from OSError or ValueError, an upload's are wrapped into RuntimeError.
ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
TOKENS = "https://huggingface.co/settings/tokens"


class PushFailed(Exception):
    """Nothing was pushed, or not all; the message is for the user."""


def why(error: BaseException, repo: str, endpoint: str) -> str:
    """What went wrong with `repo` on the Hub at `endpoint`, and what to do, in a sentence or two."""
    chain = list(_chain(error))
    response = next((link.response for link in chain if getattr(link, "response", None) is not None), None)
    status = response.status_code if response is not None else 0
    said = next((link.server_message for link in chain if getattr(link, "server_message", None)), "")
    quoted = f' ("{said}")' if said else ""
    kinds = [type(link) for link in chain]

    if KeyboardInterrupt in kinds:
        return "Stopped."
    if LocalTokenNotFoundError in kinds:
        return f"There is no token for the Hub. Run hf auth login, or set HF_TOKEN to one that may write: {TOKENS}."
    if OfflineModeIsEnabled in kinds:
        return "HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it."
    if status in (413, 507) or (status in (0, 403) and "storage limit" in f"{said} {error}".lower()):
        return f"The Hub has no space left for {repo}{quoted}. Delete there what is not needed, or ask for more."
    if status == 401:
        return f"The Hub does not accept the token. Make a new one that may write ({TOKENS}) and run hf auth login."
    if status == 402:
        return f"The Hub wants to be paid for {repo}{quoted}. Choose another owner, or another plan."
    if status == 403:
        return f"The token may not write to {repo}. Take one that may ({TOKENS}), or name a repository of your own."
    if status == 404:
        return f"The Hub does not find {repo}, or does not show it to this token. Check the name and the token."
    if status in (409, 412):
        return f"Somebody else has changed {repo} meanwhile. Run this again."
    if status == 429:
        return "The Hub has had too many requests from here. Wait some minutes, then run this again."
    if status >= 500:
        return f"The Hub is out of order (status {status}). Run this again later."
    if any(issubclass(kind, TransportError | ConnectionError) for kind in kinds):
        return f"The Hub at {endpoint} cannot be reached. Check the network, then run this again."
    return f'The Hub refuses {repo}: "{said or (str(error).strip().splitlines() or ["no reason given"])[-1]}".'


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
