"""Reading in processes of their own: what kills one costs a row, and nobody else notices."""

import os
import queue
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from model import scans
from model.scans import isolated, worker
from model.scans.reading import Looking
from tests.faulty_worker import PLANTED
from tests.server import REPOSITORY

FAULTS = {
    "crash": isolated.DEADLY,
    "abort": isolated.DEADLY,
    "faulty": isolated.DEADLY,
    "hang": isolated.TOO_SLOW,
    "busy": isolated.TOO_SLOW,
    "hungry": isolated.TOO_HUNGRY,
}


@pytest.fixture
def own_readers(monkeypatch):
    """New processes for this test alone; `own_readers()` lists those that wait for work."""
    readers = queue.LifoQueue()
    for _ in range(isolated.PROCESSES):
        readers.put(None)
    monkeypatch.setattr(isolated, "_free", readers)
    yield lambda: [reader for reader in readers.queue if reader]
    for reader in readers.queue:
        if reader:
            reader.close()


@pytest.fixture
def faulty_readers(own_readers, monkeypatch):
    monkeypatch.setattr(isolated, "WORKER", "tests.faulty_worker")
    return own_readers


@pytest.fixture
def slices(tmp_path, draw_head):
    """Three files, each of another depth, and the pixels in them."""
    pixels = [draw_head(0), draw_head(1).astype(np.uint16) * 16, draw_head(2).astype(np.float32) / 7]
    files = [tmp_path / f"slice {number}.tif" for number in range(len(pixels))]
    for file, values in zip(files, pixels, strict=True):
        Image.fromarray(values).save(file)
    return files, pixels


def fault(folder, how):
    (folder / how).write_text(how)
    return folder / how


def is_gone(pid):
    """Whether no such process is left, not even as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_what_is_read_elsewhere_is_what_is_read_here(slices, tmp_path):
    files, pixels = slices
    (tmp_path / "notes.txt").write_text("not a picture")
    files = [*files, tmp_path / "notes.txt", tmp_path / "missing.png"]
    names = ["a", "b", "c", "d", "e"]
    entries, expected = isolated.read_all(files, names), scans.read_all(files, names)
    for entry, same, values in zip(entries[:3], expected[:3], pixels, strict=True):
        np.testing.assert_array_equal(entry.slices[0], values)
        assert entry.slices[0].dtype == values.dtype
        assert (entry.name, entry.kind, entry.spacing) == (same.name, same.kind, same.spacing)
    assert entries[3:] == expected[3:]
    assert [entry.name for entry in isolated.read_all(files[:2])] == [file.name for file in files[:2]]


def test_a_path_of_a_type_that_the_process_does_not_know_is_a_path(slices):
    class GradioString(str):
        def __reduce__(self):
            raise AssertionError("sent as it is, and its library would be loaded there")

    (scan,) = isolated.read_all([GradioString(slices[0][0])])
    np.testing.assert_array_equal(scan.slices[0], slices[1][0])


def test_a_file_that_kills_its_reader_costs_one_row(faulty_readers, slices, tmp_path, monkeypatch):
    """However it does so, and however many others did before it."""
    monkeypatch.setattr(isolated, "SECONDS", 4)  # after which one that hangs is stopped
    faults = [how for how in FAULTS if how != "hungry" or sys.platform == "linux"]  # addresses are limited there only
    first, second, _ = slices[0]
    files, names = [first, *(fault(tmp_path, how) for how in faults), second], ["first", *faults, "second"]
    one, *refused, other = isolated.read_all(files, names)
    assert refused == [scans.Unreadable(how, FAULTS[how]) for how in faults]
    np.testing.assert_array_equal(one.slices[0], slices[1][0])
    np.testing.assert_array_equal(other.slices[0], slices[1][1])
    assert isolated.read_all([first])[0].name == first.name


def test_files_that_kill_one_reader_after_the_other_end_a_request(faulty_readers, slices, tmp_path, monkeypatch):
    monkeypatch.setattr(isolated, "CRASH_SECONDS", 1000)
    monkeypatch.setattr(isolated, "DEATH_SECONDS", 2000)
    bad, good = fault(tmp_path, "abort"), slices[0][0]
    entries = isolated.read_all([bad] * 3 + [good])
    assert [entry.reason for entry in entries] == [isolated.DEADLY] * 2 + [isolated.TOO_MANY] * 2


def test_what_was_read_before_a_process_died_is_kept(own_readers, slices, tmp_path, monkeypatch):
    """The second of three files stops the process after the first one's entry was sent, every time."""
    monkeypatch.setattr(isolated, "DEATH_SECONDS", isolated.CRASH_SECONDS)
    files = slices[0]
    read = isolated.Reader.read_each

    def die_after_one(self, *arguments, **others):
        yield next(read(self, *arguments, **others))
        death = isolated.ReaderDied(isolated.DEADLY)
        death.at = Looking((1, 0), True)
        raise death

    monkeypatch.setattr(isolated.Reader, "read_each", die_after_one)
    first, *others = isolated.read_all(files)
    np.testing.assert_array_equal(first.slices[0], slices[1][0])
    assert [entry.reason for entry in others] == [isolated.DEADLY, isolated.TOO_MANY]


def test_the_dead_are_buried(faulty_readers, slices, tmp_path):
    isolated.read_all(slices[0][:1])
    (reader,) = faulty_readers()
    assert not is_gone(reader.pid)
    isolated.read_all([fault(tmp_path, "abort")])
    assert is_gone(reader.pid)


def test_a_reader_that_died_asleep_is_replaced(own_readers, slices):
    isolated.read_all(slices[0][:1])
    (reader,) = own_readers()
    os.kill(reader.pid, signal.SIGTERM)
    reader._process.wait()
    assert isolated.read_all(slices[0][:1])[0].name == slices[0][0].name


def test_a_reader_serves_many_requests_and_is_replaced_in_time(own_readers, slices, monkeypatch):
    monkeypatch.setattr(isolated, "MAX_REQUESTS", 3)
    used = []
    for _ in range(4):
        isolated.read_all(slices[0][:1])
        used += [reader.pid for reader in own_readers()]
    assert used[0] == used[1] == used[2] != used[3]
    assert is_gone(used[0])


def test_requests_at_once_get_their_own_files(faulty_readers, slices, tmp_path):
    files, pixels = slices
    bad = fault(tmp_path, "abort")

    def ask(number):
        wanted = number % len(files)
        entries = isolated.read_all([bad, files[wanted]] if number % 9 == 0 else [files[wanted]])
        np.testing.assert_array_equal(entries[-1].slices[0], pixels[wanted])
        return len(entries)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(ask, range(18))) == 18 + 2
    assert len(faulty_readers()) <= isolated.PROCESSES


def test_each_file_is_announced_before_it_is_read(slices):
    begun = []
    isolated.read_all(slices[0], begin=begun.append)
    assert sorted(set(begun)) == [0, 1, 2]


def test_a_caller_that_gives_up_does_not_leave_its_answer_to_the_next(own_readers, slices):
    def give_up(number):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        isolated.read_all(slices[0][:1], begin=give_up)
    assert isolated.read_all(slices[0][1:2])[0].name == slices[0][1].name


def test_what_decoders_print_and_exceptions_quote_stays_out_of_the_log(faulty_readers, tmp_path, capfd):
    isolated.read_all([fault(tmp_path, "loud"), fault(tmp_path, "faulty")])
    log = "".join(capfd.readouterr())
    assert "KeyError" in log and "read_each_or_fail" in log  # which error and where, for whoever has to mend it
    assert PLANTED not in log and str(tmp_path) not in log


def test_a_process_that_cannot_start_is_an_error_of_the_server(own_readers, slices, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="process that reads"):
        patch.setattr(isolated, "WORKER", "model.no_such_module")
        isolated.read_all(slices[0][:1])
    assert isolated.read_all(slices[0][:1])[0].name == slices[0][0].name


def test_the_process_imports_neither_torch_nor_gradio():
    program = f"import sys, {worker.__name__}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    imported = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "numpy" in imported.stdout.split()
    assert not {"torch", "gradio", "matplotlib", "scipy", "sklearn"} & set(imported.stdout.split())


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_no_process_outlives_the_program(slices, end):
    program = f"""
import os, signal
from model.scans import isolated
isolated.read_all([{str(slices[0][0])!r}])
print(sum(reader is not None for reader in isolated._free.queue), flush=True)
{end}
"""
    # The process inherits stderr: the pipe ends, and with it the waiting, when the process has ended, too.
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.stdout == "1\n" and not done.stderr
