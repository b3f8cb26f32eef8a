"""Why the Hub gave no weights, in words, and how long it is waited for."""

import errno
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from httpx2 import TransportError
from huggingface_hub.errors import (
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

TOKENS = "https://huggingface.co/settings/tokens"
NO_PLACE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}

log = logging.getLogger(__name__)
T = TypeVar("T")


class WeightsUnavailable(ValueError):
    """The weights asked for cannot be had; the message is for the user."""


def within(seconds: float, call: Callable[[], T], place: str) -> T:
    """What `call` returns, which asks the Hub about `place` ("ORG/NAME@REVISION").

    Raises: `WeightsUnavailable` if it fails, or takes longer than `seconds`; it then goes on in a thread of its own.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except Exception as error:  # whatever the client makes of what it was sent
            result.set_exception(error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    try:
        return result.result(seconds)
    except WeightsUnavailable:
        raise
    except Exception as error:
        if not result.done():
            raise WeightsUnavailable(f"The Hub has not sent {place} within {seconds:.0f} s. Try again later.") from None
        log.info("%s: %r", place, error)
        raise WeightsUnavailable(why(error, place)) from error


def why(error: Exception, place: str) -> str:
    """What is wrong with asking the Hub about `place`, and what to do."""
    chain = list(_chain(error))
    status = next((link.response.status_code for link in chain if getattr(link, "response", None) is not None), 0)

    def is_a(*kinds: type) -> bool:
        return any(isinstance(link, kinds) for link in chain)

    if is_a(OfflineModeIsEnabled):
        return (
            f"HF_HUB_OFFLINE is set, and {place} is not on this machine. Unset it once, or copy the cache of a machine "
            "that has it."
        )
    if is_a(GatedRepoError):
        return f"The owner of {place} must let you in. Ask on its page on the Hub, then set HF_TOKEN to your token."
    if is_a(RevisionNotFoundError):
        return f"There is no {place} on the Hub: no branch, tag or commit is called that. Check the revision."
    if is_a(RepositoryNotFoundError) or status == 403:
        return (
            f"There is no {place} on the Hub, or it is private. Check the name; set HF_TOKEN to a token that may read "
            f"it ({TOKENS})."
        )
    if status == 401:
        return f"The Hub does not accept the token in HF_TOKEN. Make a new one ({TOKENS}), or unset it."
    if status == 429:
        return f"The Hub has had too many requests from here to send {place}. Wait some minutes."
    if status >= 500:
        return f"The Hub is out of order (status {status}) and does not send {place}. Try again later."
    if any(getattr(link, "errno", None) in NO_PLACE for link in chain):
        return f"{place} cannot be stored in the Hub client's cache. Make room, or set HF_HOME to a folder with some."
    if is_a(TransportError, ConnectionError, TimeoutError):
        return f"The Hub cannot be reached to ask for {place}. Check the network."
    return f"What the Hub sent of {place} is not whole, or no answer of a Hub. Check HF_ENDPOINT, and try again."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
