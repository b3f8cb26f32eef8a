"""Which commit a repository on the Hub was met at, remembered on this machine."""

import json
import logging
from pathlib import Path

from .state import state_folder, write_whole

log = logging.getLogger(__name__)


def pins_file() -> Path:
    """JSON: "ORG/NAME" or "ORG/NAME@REVISION" -> commit. Delete a line to have that name looked up again."""
    return state_folder() / "pins.json"


def find(name: str) -> str | None:
    """The commit remembered for `name`; None if there is none, or the file cannot be read."""
    return _read().get(name)


def remember(name: str, commit: str) -> None:
    """Keep `commit` for `name`. Where nothing can be written the log says so, and the next start asks the Hub again."""
    pins = _read()
    if pins.get(name) == commit:
        return
    try:
        write_whole(pins_file(), json.dumps(pins | {name: commit}, indent=2) + "\n")
    except OSError as error:
        log.warning("%s cannot be written (%s): %s is not remembered. Set STATE_FOLDER.", pins_file(), error, name)


def _read() -> dict[str, str]:
    try:
        pins = json.loads(pins_file().read_text())
    except (OSError, ValueError):
        return {}
    return pins if isinstance(pins, dict) else {}
