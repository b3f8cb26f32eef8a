"""Jobs of retraining: one at a time, each in a process of its own, all of their state on disk.

Whoever holds the lock on STATE/lock is the process that trains: it inherits the lock when it is started and loses it
when it ends, however it ends. So a server that was restarted knows whether the job that has no outcome is still at work
(then it waits for it), or was stopped with the old server (then it starts it again, and training goes on).
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from model.serving import ServedModel

from .job import Job, now
from .promotion import is_promoted, promote, started_from, withdraw
from .refused import Refused
from .unpacking import unpack

log = logging.getLogger(__name__)

WORKER = f"{__package__}.worker"
REPOSITORY = Path(__file__).parents[2]
NEEDED = (  # by training alone
    *("matplotlib", "onnxscript", "safetensors", "scipy", "sklearn", "tensorboard", "torch", "tqdm"),
)
MAX_STARTS = 3  # of one job: a process that is killed over and over lacks memory, not luck
KEPT = 10  # jobs that have ended; each candidate is 17 MB

DIED = (
    "The process that trains ended before its time: most often memory is short. The job's log on the server may tell."
)
NO_ROOM = (
    "The server cannot write to its state folder. Make room on that disk, or set STATE_FOLDER to a folder that it may "
    "write to; then ask again."
)
STOPPED = (0, -signal.SIGTERM)  # exit codes of a process that was told to stop, perhaps with the whole machine
CANCELED = "Canceled as asked; nothing of it is kept."
MISSING = (
    "This server can classify but not train: the packages in requirements-training.txt are not installed "
    "(missing: {}). Install them, and start the server again."
)


def missing_packages() -> str:
    """A sentence if this machine lacks what training needs; else empty."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    return MISSING.format(", ".join(missing)) if missing else ""


class Jobs:
    """The jobs in `folder`. Candidates start from what `served` answers with, and replace it when they are promoted.

    Args: `original`, the data that the served weights were first trained on, where it is at hand; `settings` of
    training.settings, and `steps`, that differ from those of training.retrain.
    """

    def __init__(
        self,
        folder: Path,
        served: ServedModel,
        original: Path | None = None,
        settings: Mapping[str, int | float] = MappingProxyType({}),
    ):
        self.folder, self.served, self.original, self.settings = folder, served, original, settings
        self._one_by_one = threading.RLock()  # for what this server does to jobs: the lock on disk is for processes

    def all(self) -> list[Job]:
        """The newest first."""
        found = (Job(path.parent) for path in self.folder.glob("*/job.json") if not path.parent.name.startswith("."))
        return sorted(found, key=lambda job: job.id, reverse=True)

    def get(self, name: str) -> Job:
        """Raises: Refused."""
        job = next((job for job in self.all() if job.id == name), None)
        if job is None:
            raise Refused("There is no such job. GET /retrain lists what there is.", 404)
        return job

    def state(self, job: Job) -> str:
        """How it stands: "running", "stopped" (goes on when the server starts again), "promoted", or how it ended."""
        outcome = job.outcome
        if outcome is None:
            return "canceled" if job.is_canceled else "stopped" if self._is_free() else "running"
        return "promoted" if is_promoted(job) else outcome["state"]

    # ---- begin, go on, cancel

    def begin(self, images: Path) -> Job:
        """Start retraining on a ZIP file, which is unpacked first, or on a folder, which is read where it lies.

        Raises: Refused if it cannot be read, another job is at work, or training is not installed; `ModelMissing`.
        """
        if sentence := missing_packages():
            raise Refused(sentence, 503)
        start = self.served.wait().folder.resolve()
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._one_by_one, self._locked() as lock:
                self._refuse_a_second()
                name = datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
                making, job = Job(self.folder / f".{name}"), Job(self.folder / name)
                try:
                    facts = {"begun": now(), "init": str(start), "settings": dict(self.settings)}
                    facts["original"] = str(self.original) if self.original else None
                    self._put(images, making, facts, job.folder)
                    making.folder.rename(job.folder)
                    self._start(job, lock)
                except OSError:
                    shutil.rmtree(job.folder, ignore_errors=True)
                    raise
                finally:
                    shutil.rmtree(making.folder, ignore_errors=True)
        self._forget_old()
        return job

    def go_on(self) -> None:
        """After the server has started: wait for the job that is at work, or start it again where it was stopped."""
        try:
            if self.folder.is_dir():
                self._go_on()
        except OSError:  # classifying needs none of this
            log.exception("The jobs of retraining in %s cannot go on. Set STATE_FOLDER.", self.folder)

    def _go_on(self) -> None:
        with contextlib.suppress(Refused), self._locked():  # else another server may be making one
            for left_behind in self.folder.glob(".*-*"):
                shutil.rmtree(left_behind, ignore_errors=True)
        for job in self.all():
            if job.outcome:
                job.clean()  # a server may have been stopped right there
                continue
            try:
                with self._one_by_one, self._locked() as lock:
                    if job.is_canceled:
                        job.end("canceled", [CANCELED])
                    elif job.starts >= MAX_STARTS:
                        job.end("failed", [DIED])
                    else:
                        self._start(job, lock)
            except Refused:
                self._watch(job, None)

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, and delete all of it but its outcome. Raises: Refused."""
        with self._one_by_one, self._writing():
            if job.outcome:
                raise Refused("This job has ended already, so there is nothing to cancel.", 409)
            (job.folder / "canceled").touch()
            if self._is_free():
                job.end("canceled", [CANCELED])
                return
            with contextlib.suppress(ProcessLookupError):  # it ends by itself right now
                os.killpg(int((job.folder / "pid").read_text()), signal.SIGKILL)  # nothing of it is to be saved

    # ---- promote, withdraw

    def promoted(self) -> Job | None:
        """The job whose candidate answers."""
        return next(filter(is_promoted, self.all()), None)

    def promote(self, job: Job) -> None:
        """Answer with the job's candidate from now on, and after a restart. Raises: Refused; then nothing changes."""
        with self._at_rest():
            if self.state(job) != "candidate":
                raise Refused(f"This job is {self.state(job)}: there is no candidate to promote.", 409)
            promote(job, self.served)

    def withdraw(self, job: Job) -> None:
        """Answer again with what the promoted job started from. Raises: Refused, `ModelMissing`."""
        with self._at_rest():
            if not is_promoted(job):
                raise Refused("This job's candidate does not answer: there is nothing to withdraw.", 409)
            withdraw(job, self.served, self.all())

    # ---- inside

    def _put(self, images: Path, job: Job, facts: dict, final: Path) -> None:
        job.folder.mkdir()
        if images.is_dir():
            facts["data"] = str(images.resolve())
        else:
            facts["data"] = str(final / "images")
            (job.folder / "images").mkdir()
            unpack(images, job.folder / "images")
        (job.folder / "job.json").write_text(json.dumps(facts, indent=2) + "\n")

    def _start(self, job: Job, lock: int) -> None:
        """Start, or start again, the process of `job`, which inherits `lock`."""
        path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        environment.pop("ADMIN_TOKEN", None)
        with (job.folder / "starts").open("a") as starts:
            starts.write(f"{now()}\n")
        with (job.folder / "log").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", WORKER, str(job.folder)],
                cwd=job.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,  # Ctrl-C in the server's terminal is not for it
            )
        (job.folder / "pid").write_text(str(process.pid))
        self._watch(job, process)

    def _watch(self, job: Job, process: subprocess.Popen | None) -> None:
        """Once the job's process has ended, of this server or of one before it, see to its outcome."""

        def settle() -> None:
            code = process.wait() if process else None
            with self._locked(wait=True):
                if job.outcome:
                    job.clean()
                elif job.is_canceled:
                    job.end("canceled", [CANCELED])
                elif process and code not in STOPPED:
                    job.end("failed", [DIED])

        threading.Thread(target=settle, name=f"watch {job.id}", daemon=True).start()

    def _running(self) -> Job | None:
        return next((job for job in self.all() if job.outcome is None), None)

    def _refuse_a_second(self) -> None:
        if job := self._running():
            raise Refused(f"Job {job.id} was stopped and goes on when the server starts again. Cancel it first.", 409)

    @contextlib.contextmanager
    def _at_rest(self) -> Iterator[None]:
        """For what changes the weights that answer, while no job starts from them. Raises: Refused."""
        with self._one_by_one:
            if self._running():
                raise Refused("A job that starts from what answers now is at work. Wait for it, or cancel it.", 409)
            with self._writing(), self._locked():
                yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises: Refused if the disk cannot be written."""
        try:
            yield
        except OSError as error:
            log.exception("the state folder could not be written")
            raise Refused(NO_ROOM, 507) from error

    @contextlib.contextmanager
    def _locked(self, wait: bool = False) -> Iterator[int]:
        """The lock, as a file descriptor. Raises: Refused if it is held and `wait` is false."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Refused("A job is at work, and there is one at a time. Wait for it, or cancel it.", 409) from None
        try:
            yield lock
        finally:
            os.close(lock)  # a process that has inherited it still holds it

    def _is_free(self) -> bool:
        try:
            with self._one_by_one, self._locked():
                return True
        except Refused:
            return False

    def _forget_old(self) -> None:
        promoted = self.promoted()
        before = promoted and started_from(promoted)  # for the way back
        ended = [job for job in self.all() if job.outcome and job != promoted and job.candidate.resolve() != before]
        for job in ended[KEPT:]:
            shutil.rmtree(job.folder, ignore_errors=True)
