"""Where uploads lie: in a folder of this server alone, where nothing grows old and which goes with the server.

Gradio deletes in time the uploads that it knows of. It does not know of those that broke off, and leaves all of them
behind when the server is told to stop, or dies.
"""

import atexit
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

PREFIX = "brain-tumor-uploads-"


def open_folder() -> Path:
    """Make the folder, which no other user can enter. Gradio wants it in GRADIO_TEMP_DIR before it is imported."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sweep(folder: Path, oldest: float, keep: Set[Path] = frozenset()) -> None:
    """Delete the files in `folder` that are from before `oldest` (as time.time() counts) and not in `keep`.

    So are the folders of servers that have not swept them since then: they died.
    """
    os.utime(folder)
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Gradio was faster
            if file not in keep and file.is_file() and file.stat().st_mtime < oldest:
                file.unlink()
    for left_behind in folder.parent.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another server was faster
            if left_behind != folder and left_behind.stat().st_mtime < oldest:
                shutil.rmtree(left_behind, ignore_errors=True)


def sweep_forever(folder: Path, seconds: float, every: float) -> None:
    """Have no upload outlive `seconds`, looking at them each `every` seconds; and none the server, if it is stopped.

    What lies there when this is called is no upload: Gradio made it of the page's own files.
    """
    keep = set(folder.rglob("*"))

    def keep_sweeping() -> None:
        while True:
            sweep(folder, time.time() - seconds + every, keep)
            time.sleep(every)

    threading.Thread(target=keep_sweeping, name="sweep uploads", daemon=True).start()

    def stop(number: int, _frame: object) -> None:  # at once: leaving by sys.exit would wait for whoever reads or loads
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, stop)
