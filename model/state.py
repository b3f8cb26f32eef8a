"""What must survive a restart of this program: where it is kept, and how it is written."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

DEFAULT = "~/.local/state/brain-tumor-demo"
NOWHERE = Path(os.devnull) / "state"  # holds nothing and takes nothing: of a user without a home


def state_folder() -> Path:
    """The folder that STATE_FOLDER of the environment names, else `DEFAULT`. It need not exist yet."""
    try:
        return Path(os.environ.get("STATE_FOLDER") or DEFAULT).expanduser()
    except RuntimeError:
        return NOWHERE


def write_whole(file: Path, content: str) -> None:
    """Write a file so that nobody ever reads half of it, and a crash leaves the old or the new one. Raises: OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
            os.replace(new.name, file)
        except BaseException:
            os.unlink(new.name)
            raise
