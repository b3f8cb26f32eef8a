"""The weights that answer on the page and in the service, exchangeable while it runs.

The first of these that can be loaded answers:

1. weights that the administrator promoted: the folder promoted/ in the state folder (model/files.py);
2. WEIGHTS of the environment, a folder;
3. MODEL_REPO, "ORG/NAME" on the Hub, at MODEL_REVISION (model/hub.py);
4. the weights that come with the program.

If it is not the first one asked for, `Origin.note` says why.
"""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .artifact import EMBEDDED, WeightsUnavailable
from .files import state_folder

if TYPE_CHECKING:
    from .classifier import TumorClassifier

PATIENCE = 10  # seconds for the Hub, 2 MB at 2 Mbit/s: meanwhile visitors wait, and there are other weights

log = logging.getLogger(__name__)


class ModelMissing(Exception):
    """No weights could be loaded; the message is a sentence for the user."""


class Origin(NamedTuple):
    """What answers."""

    name: str  # the repository on the Hub, or what the weights are called
    revision: str | None = None  # the commit of that repository, or the start of the weights' sha256
    date: str | None = None  # when they were trained, as in ISO 8601
    note: str = ""  # a sentence or two when it is not what was asked for


Loaded = tuple["TumorClassifier", Origin]


class ServedModel:
    """The model that answers. Whoever asks before it is loaded waits; a request keeps the one that it began with."""

    def __init__(self) -> None:
        self._loaded: Future[Loaded] = Future()
        self._promoted: Path | None = None  # where `promoted_folder` led when they were loaded

    @property
    def is_loaded(self) -> bool:
        """Whether `wait` returns, or raises, at once."""
        return self._loaded.done()

    @property
    def origin(self) -> Origin:
        """What answers now; without a name while nothing does."""
        loaded = self._loaded
        return loaded.result()[1] if loaded.done() and not loaded.exception() else Origin("")

    def load(self) -> None:
        """Load what the environment names, else the next best; once. Raises nothing."""
        self._promoted = _promoted_target()
        try:
            self._loaded.set_result(_first_that_loads())
        except ModelMissing as error:
            self._loaded.set_exception(error)

    def wait(self) -> "TumorClassifier":
        """The model that answers now. Raises: `ModelMissing`."""
        return self._loaded.result()[0]

    def replace(self, folder: Path, before: Callable[[], object] = lambda: None) -> None:
        """Answer with the weights in `folder` from now on; `before` is called once they are loaded.

        Raises: `WeightsUnavailable`, and what `before` does; then nothing is replaced.
        """
        loaded = _from_folder(folder)
        before()
        self._replace_by(loaded)

    def load_again(self) -> None:
        """Answer from now on with what a server that starts now would. Raises: `ModelMissing`; nothing is replaced."""
        self._replace_by(_first_that_loads())

    def follow(self) -> None:
        """Load again if another server with the same state folder has promoted weights, or withdrawn them."""
        if self.is_loaded and self._promoted != _promoted_target():
            self.load_again()

    def _replace_by(self, loaded: Loaded) -> None:
        self._promoted = _promoted_target()
        replaced: Future[Loaded] = Future()
        replaced.set_result(loaded)
        self._loaded = replaced


def promoted_folder() -> Path:
    """Where weights lie that the administrator promoted: `ServedModel.load` takes them before all others."""
    return state_folder() / "promoted"


def _promoted_target() -> Path | None:
    """What `promoted_folder` is a link to; None if it is none."""
    try:
        return promoted_folder().readlink()
    except OSError:
        return None


def _first_that_loads() -> Loaded:
    """Raises: `ModelMissing`."""
    notes = []
    for name, load in _sources():
        try:
            classifier, origin = load()
        except Exception as error:  # the next may work all the same, and the thread that loads would die unnoticed
            reason = error if isinstance(error, ValueError) else "the server's log says why."  # others are unforeseen
            notes.append(f"{name} cannot be used: {reason}")
            log.warning(notes[-1], exc_info=not isinstance(error, ValueError))
        else:
            notes += [f"{name} answer instead."] * bool(notes) + [origin.note] * bool(origin.note)
            return classifier, origin._replace(note=" ".join(notes))
    raise ModelMissing("The model could not be loaded. The server's log says why.")


def _sources() -> Iterator[tuple[str, Callable[[], Loaded]]]:
    """What may answer, by name, the one that is asked for first."""
    if _may_be_promoted():
        yield "The promoted weights", partial(_from_folder, promoted_folder())
    if folder := os.environ.get("WEIGHTS"):
        yield f"The weights in {Path(folder).name}", partial(_from_folder, Path(folder))
    if repository := os.environ.get("MODEL_REPO"):
        revision = os.environ.get("MODEL_REVISION")
        yield f"The weights of {repository}", partial(_from_hub, repository, revision)
    yield "The weights that come with the program", partial(_from_folder, EMBEDDED)


def _may_be_promoted() -> bool:
    """Whether there is a folder with promoted weights, or nobody can tell: then loading it says so."""
    try:
        promoted_folder().lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def _from_folder(folder: Path) -> Loaded:
    if not folder.is_dir():
        raise WeightsUnavailable("there is no such folder. Check its name.")
    classifier = _read(folder, folder.name)
    digest = classifier.version.split()[-1]
    return classifier, Origin(classifier.config["name"], digest, classifier.config.get("trained"))


def _from_hub(repository: str, revision: str | None) -> Loaded:
    from .hub import fetch  # only now: this import takes as long as opening the port

    weights = fetch(repository, revision, "int8", PATIENCE)
    classifier = _read(weights.folder, weights.repository)
    return classifier, Origin(weights.repository, weights.commit, classifier.config.get("trained"), weights.note)


def _read(folder: Path, called: str) -> "TumorClassifier":
    """The weights in `folder`. Raises: `WeightsUnavailable`; where they lie is nothing for visitors, `called` is."""
    from .classifier import TumorClassifier  # as above: ONNX Runtime

    try:
        return TumorClassifier.from_pretrained(folder)
    except ValueError as error:
        raise WeightsUnavailable(str(error).replace(str(folder), called)) from error
