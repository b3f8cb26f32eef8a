"""Jobs of retraining: one at a time, each in a process of its own, all of their state on disk.

JOB/job.json       begun, init, original: written once, before it starts
JOB/images, run    what was unpacked, and the training run: gone when the job has ended
JOB/starts         a line for each start of the process; `stage`, what it is doing; `log`, what it printed
JOB/canceled       there if that was asked
JOB/outcome.json   state, sentences, comparison, left_out: written once, at the end
JOB/candidate/     the new weights with comparison.json

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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from model.artifact import FILES
from model.files import sha256, write_whole
from model.scans import UnreadableScan, limits
from model.scans.sources import shown_name, source_of, zip_files
from model.serving import ServedModel, promoted_folder
from service.problems import Problem

log = logging.getLogger(__name__)

WORKER = f"{__package__}.worker"
REPOSITORY, INT8 = Path(__file__).parents[2], FILES["int8"]
NEEDED = ("onnxscript", "sklearn", "tensorboard", "torch")  # to train
MAX_STARTS = 3  # of one job: a process that is killed over and over lacks memory, not luck
KEPT = 10  # jobs that have ended; each candidate is 17 MB
STOPPED = (0, -signal.SIGTERM)  # exit codes of a process that was stopped, perhaps with the whole machine
CANCELED = "Canceled as asked; nothing of it is kept."
DIED = "The process that trains ended before its time: most often memory is short. See the job's log on the server."
NO_ROOM = "The server cannot write to its state folder. Make room on that disk, or set STATE_FOLDER; then ask again."
MISSING = (
    "This server can classify but not train: the packages in requirements-training.txt are not installed "
    "(missing: {}). Install them, and start the server again."
)
NO_ZIP = "This is no ZIP. Zip the folder that holds the class folders, or the images and their CSV, and send that."
ZIP_REMEDY = (
    f"Zip the images anew: up to {limits.MAX_BYTES // 2**20} MB, and {limits.MAX_EXPANDED_BYTES // 2**20} MB and "
    f"{limits.MAX_ZIP_ENTRIES:,} files unpacked."
)


@dataclass(frozen=True)
class Job:
    """The job in `folder`. Reading it needs no lock: each file is written whole."""

    folder: Path

    def read(self, name: str) -> str:
        """The content of one of its files, empty if there is none."""
        file = self.folder / name
        return file.read_text() if file.exists() else ""

    @cached_property
    def facts(self) -> dict:
        """What stands in job.json."""
        return json.loads(self.read("job.json"))

    @property
    def outcome(self) -> dict:
        """What stands in outcome.json; empty while the job has not ended."""
        return json.loads(self.read("outcome.json") or "{}")

    @property
    def candidate(self) -> Path:
        """The folder of the new weights."""
        return self.folder / "candidate"

    @property
    def progress(self) -> float | None:
        """Share of the epochs that are trained, 0..1; None before training."""
        settings, trained = self.read("run/settings.json"), len(self.read("run/history.jsonl").splitlines())
        return trained / json.loads(settings)["settings"]["epochs"] if settings else None

    @property
    def is_canceled(self) -> bool:
        """Whether an end was asked for."""
        return (self.folder / "canceled").exists()

    @property
    def is_promoted(self) -> bool:
        """Whether its candidate answers: the link STATE/promoted leads there (model/serving.py)."""
        return promoted_folder().resolve() == self.candidate.resolve()

    def end(self, state: str, sentences: list[str], **more: object) -> None:
        """Write the outcome ("candidate", "failed" or "canceled"), then delete what held images."""
        outcome = {"state": state, "sentences": sentences, "ended": now()} | more
        write_whole(self.folder / "outcome.json", json.dumps(outcome, indent=2) + "\n")
        self.clean()

    def clean(self) -> None:
        """Delete what held images, and the log unless the job has failed. A second time does no harm."""
        for name in ("images", "run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if self.outcome["state"] != "failed":
            (self.folder / "log").unlink(missing_ok=True)


class Jobs:
    """The jobs in `folder`. Candidates start from what `served` answers with, and replace it when they are promoted.

    Args: `original`, the data that the served weights were first trained on, where it is at hand.
    What cannot be done raises `Problem`, and `ModelMissing` if there are no weights to start from.
    """

    def __init__(self, folder: Path, served: ServedModel, original: Path | None = None):
        self.folder, self.served, self.original = folder, served, original
        self._one_by_one = threading.RLock()  # for what this server does to jobs: the lock on disk is for processes

    def all(self) -> list[Job]:
        """The newest first."""
        return [Job(file.parent) for file in sorted(self.folder.glob("*/job.json"), reverse=True)]

    def get(self, name: str) -> Job:
        """The job of this name."""
        for job in self.all():
            if job.folder.name == name:
                return job
        raise Problem(404, "There is no such job. GET /retrain lists what there is.")

    def state(self, job: Job) -> str:
        """How it stands: "running", "stopped" (goes on when the server starts again), "promoted", or how it ended."""
        if outcome := job.outcome:
            return "promoted" if job.is_promoted else outcome["state"]
        return "canceled" if job.is_canceled else "stopped" if self._is_free() else "running"

    def begin(self, zipped: Path) -> Job:
        """Unpack a ZIP file of images, and start retraining on them."""
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise Problem(503, MISSING.format(", ".join(missing)))
        original = str(self.original) if self.original else None
        facts = {"begun": now(), "init": str(self.served.wait().folder.resolve()), "original": original}
        with _writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked() as lock:
                if stopped := self._running():
                    name = stopped.folder.name
                    detail = f"Job {name} was stopped and goes on when the server starts again. Cancel it first."
                    raise Problem(409, detail)
                job = Job(self.folder / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3])
                try:
                    unpack(zipped, job.folder / "images")
                    write_whole(job.folder / "job.json", json.dumps(facts, indent=2) + "\n")  # from now on it is a job
                    self._start(job, lock)
                except BaseException:  # whatever it is, no image may stay
                    shutil.rmtree(job.folder, ignore_errors=True)
                    raise
        self._forget_old()
        return job

    def go_on(self) -> None:
        """After the server has started: wait for the job that is at work, or start it again where it was stopped."""
        try:
            if not self.folder.is_dir():
                return
            with contextlib.suppress(Problem), self._locked():  # else another server may be making one
                for folder in self.folder.glob("*/"):
                    if not (folder / "job.json").exists():
                        shutil.rmtree(folder, ignore_errors=True)
            for job in self.all():
                if job.outcome:
                    job.clean()  # a server may have been stopped right there
                else:
                    self._go_on_with(job)
        except OSError:  # classifying needs none of this
            log.exception("The jobs of retraining in %s cannot go on. Set STATE_FOLDER.", self.folder)

    def _go_on_with(self, job: Job) -> None:
        try:
            with self._locked() as lock:
                if job.is_canceled:
                    job.end("canceled", [CANCELED])
                elif len(job.read("starts").splitlines()) >= MAX_STARTS:
                    job.end("failed", [DIED])
                else:
                    self._start(job, lock)
        except Problem:  # its process is at work
            self._watch(job, None)

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, and delete all of it but its outcome."""
        with self._one_by_one, _writing():
            if job.outcome:
                raise Problem(409, "This job has ended already, so there is nothing to cancel.")
            (job.folder / "canceled").touch()
            if self._is_free():
                job.end("canceled", [CANCELED])
                return
            with contextlib.suppress(ProcessLookupError):  # it ends by itself right now
                os.killpg(int(job.read("pid")), signal.SIGKILL)  # nothing of it is to be saved

    def promote(self, job: Job) -> None:
        """Answer with the job's candidate from now on, and after a restart. If it is refused, nothing changes."""
        with self._at_rest():
            if (state := self.state(job)) != "candidate":
                raise Problem(409, f"This job is {state}: there is no candidate to promote.")
            comparison, weights = job.outcome["comparison"], job.candidate / INT8
            start, candidate = comparison["start"], comparison["candidate"]
            if not comparison["promotable"]:
                raise Problem(409, f"This candidate is not promoted. {' '.join(comparison['sentences'])}")
            if sha256(self.served.wait().folder / INT8) != start["sha256"]:
                detail = f"This candidate was compared with {start['version']}, which does not answer any more. "
                raise Problem(409, f"{detail}Retrain from what answers now.")
            if not weights.exists() or sha256(weights) != candidate["sha256"]:
                raise Problem(409, "This candidate's weights are not those that were compared. Retrain.")
            try:
                self.served.replace(job.candidate, before=lambda: _lead_to(job.candidate))
            except ValueError as error:
                raise Problem(409, f"This candidate cannot be used: {error}") from error

    def withdraw(self, job: Job) -> None:
        """Answer again with what the promoted job started from: another candidate, or what the environment names."""
        with self._at_rest():
            if not job.is_promoted:
                raise Problem(409, "This job's candidate does not answer: there is nothing to withdraw.")
            before = Path(job.facts["init"])
            if any(before == other.candidate.resolve() for other in self.all()):
                _lead_to(before)
            else:
                promoted_folder().unlink()
            self.served.load_again()

    def _start(self, job: Job, lock: int) -> None:
        """Start, or start again, the process of `job`, which inherits `lock`."""
        path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        environment.pop("ADMIN_TOKEN", None)
        with (job.folder / "starts").open("a") as starts, (job.folder / "log").open("a") as output:
            starts.write(f"{now()}\n")
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

        threading.Thread(target=settle, daemon=True).start()

    def _running(self) -> Job | None:
        return next((job for job in self.all() if not job.outcome), None)

    def _is_free(self) -> bool:
        with contextlib.suppress(Problem), self._locked():
            return True
        return False

    @contextlib.contextmanager
    def _at_rest(self) -> Iterator[None]:
        """For what changes the weights that answer, while no job starts from them."""
        with self._one_by_one:
            if self._running():
                raise Problem(409, "A job that starts from what answers now is at work. Wait for it, or cancel it.")
            with _writing(), self._locked():
                yield

    @contextlib.contextmanager
    def _locked(self, wait: bool = False) -> Iterator[int]:
        """The lock, as a file descriptor. Raises: Problem if it is held and `wait` is false."""
        with contextlib.nullcontext() if wait else self._one_by_one:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield lock
            except BlockingIOError:
                detail = "A job is at work, and there is one at a time. Wait for it, or cancel it."
                raise Problem(409, detail) from None
            finally:
                os.close(lock)  # a process that has inherited it still holds it

    def _forget_old(self) -> None:
        promoted = next((job for job in self.all() if job.is_promoted), None)
        before = promoted and Path(promoted.facts["init"])  # for the way back
        ended = [job for job in self.all() if job.outcome and job != promoted and job.candidate.resolve() != before]
        for job in ended[KEPT:]:
            shutil.rmtree(job.folder, ignore_errors=True)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Raises: Problem if the disk cannot be written."""
    try:
        yield
    except OSError as error:
        log.exception("the state folder could not be written")
        raise Problem(507, NO_ROOM) from error


def _lead_to(candidate: Path) -> None:
    """Have STATE/promoted lead to `candidate`, in one step. Raises: OSError."""
    promoted = promoted_folder()
    link = promoted.with_name(f".promoted.{os.getpid()}")
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(candidate.resolve(), promoted.parent.resolve()))
    os.replace(link, promoted)


def unpack(zipped: Path, folder: Path) -> None:
    """Write the files in a ZIP below a new `folder`.

    Raises: Problem if it is no ZIP, is damaged or protected, unpacks to more than the limits allow, or holds a path
    that leads out of the folder, a path twice, or nothing; OSError if the disk gives no room.
    """
    folder.mkdir(parents=True)
    try:
        source = source_of(zipped)
        if source.start(2) != b"PK":
            raise Problem(422, NO_ZIP)
        with contextlib.ExitStack() as opened:
            for path, size, content in zip_files(source, opened):
                shown, file = shown_name(path.name), folder / path
                outside = not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]  # C:
                if outside or any(not part.isprintable() or len(part.encode()) > 255 for part in path.parts):
                    detail = f"The ZIP holds a file whose path cannot be used ({shown}). Zip the folder anew."
                    raise Problem(422, detail)
                try:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with file.open("xb") as written:
                        written.write(content() if size else b"")
                except (FileExistsError, NotADirectoryError):
                    raise Problem(422, f"The ZIP holds {shown} twice. Zip the folder anew.") from None
                except UnreadableScan as error:
                    raise Problem(422, f"{shown} in the ZIP: {error}") from error
    except UnreadableScan as error:
        what = str(error).partition(". ")[0]  # what to do about it would be meant for a scan
        raise Problem(422, f"{what}. {ZIP_REMEDY}") from error
    if not any(folder.iterdir()):
        raise Problem(422, "The ZIP holds no files. Zip the folder that holds the class folders.")


def now() -> str:
    """ISO 8601, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
