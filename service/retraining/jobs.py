"""Jobs of retraining: one at a time, each in a process of its own, all of their state on disk.

Whoever holds the lock on STATE/lock is the process that trains: it inherits the lock when it is started and loses it
when it ends, however it ends. So a server that was restarted knows whether the job that has no outcome is still at work
(then it waits for it), or was stopped with the old server (then it starts it again, and training goes on).
"""

import contextlib
import fcntl
import hashlib
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

from model.quantization import FILES, DamagedWeights
from model.serving import ServedModel, promoted_folder

from .job import Job, now
from .refused import Refused
from .unpacking import unpack

log = logging.getLogger(__name__)

WORKER = f"{__package__}.worker"
REPOSITORY = Path(__file__).parents[2]
NEEDED = ("matplotlib", "scipy", "sklearn", "tensorboard", "tqdm")  # what training imports beyond serving
MAX_STARTS = 3  # of one job: a process that is killed over and over lacks memory, not luck
KEPT = 10  # jobs that have ended; each candidate is 10 MB

DIED = (
    "The process that trains ended before its time: most often memory is short. The job's log on the server may tell."
)
NO_ROOM = "The server's disk gives no room for these images. Free some, and send them again."
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
        return "promoted" if self.is_promoted(job) else outcome["state"]

    def is_promoted(self, job: Job) -> bool:
        return promoted_folder().resolve() == job.candidate.resolve()

    # ---- begin, go on, cancel

    def begin(self, images: Path) -> Job:
        """Start retraining on a ZIP file, which is unpacked first, or on a folder, which is read where it lies.

        Raises: Refused if it cannot be read, another job is at work, or training is not installed; `ModelMissing`.
        """
        if sentence := missing_packages():
            raise Refused(sentence, 503)
        start = self.served.wait().folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._one_by_one, self._locked() as lock:
            self._refuse_a_second()
            name = datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
            making = Job(self.folder / f".{name}")
            try:
                facts = {"begun": now(), "init": str(start), "settings": dict(self.settings)}
                facts["original"] = str(self.original) if self.original else None
                self._put(images, making, facts, self.folder / name)
                making.folder.rename(self.folder / name)
            except OSError as error:
                log.exception("a job of retraining could not be written")
                raise Refused(NO_ROOM, 507) from error
            finally:
                shutil.rmtree(making.folder, ignore_errors=True)
            job = Job(self.folder / name)
            self._start(job, lock)
        self._forget_old()
        return job

    def go_on(self) -> None:
        """After the server has started: wait for the job that is at work, or start it again where it was stopped."""
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
        with self._one_by_one:
            if job.outcome:
                raise Refused("This job has ended already, so there is nothing to cancel.", 409)
            (job.folder / "canceled").touch()
            if self._is_free():
                job.end("canceled", [CANCELED])
                return
            with contextlib.suppress(ProcessLookupError):  # it ends by itself right now
                os.killpg(int((job.folder / "pid").read_text()), signal.SIGKILL)  # nothing of it is to be saved

    # ---- promote

    def promote(self, job: Job) -> None:
        """Answer with the job's candidate from now on, and after a restart. Raises: Refused; then nothing changes."""
        with self._one_by_one:
            if self.state(job) != "candidate":
                raise Refused(f"This job is {self.state(job)}: there is no candidate to promote.", 409)
            comparison = job.outcome["comparison"]
            if not comparison["promotable"]:
                raise Refused(f"This candidate is not promoted. {' '.join(comparison['sentences'])}", 409)
            if self._running():
                raise Refused("A job that starts from what answers now is at work. Wait for it, or cancel it.", 409)
            if sha256(self.served.wait().folder) != comparison["start"]["sha256"]:
                raise Refused(
                    f"This candidate was compared with {comparison['start']['version']}, which does not answer any "
                    "more. Retrain from what answers now.",
                    409,
                )
            try:
                if sha256(job.candidate) != comparison["candidate"]["sha256"]:
                    raise DamagedWeights("its weights are not those that were compared. Retrain.")
                self.served.replace(job.candidate)
            except (OSError, ValueError) as error:
                raise Refused(f"This candidate cannot be used: {error}", 409) from error
            link = self.folder / f".promoted.{os.getpid()}"
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(job.candidate.resolve(), promoted_folder().parent.resolve()))
            os.replace(link, promoted_folder())

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
        ended = [job for job in self.all() if job.outcome and not self.is_promoted(job)]
        for job in ended[KEPT:]:
            shutil.rmtree(job.folder, ignore_errors=True)


def sha256(weights: Path) -> str:
    """Of the int8 file in a weights folder, hexadecimal. Raises: OSError."""
    return hashlib.sha256((weights / FILES["int8"]).read_bytes()).hexdigest()
