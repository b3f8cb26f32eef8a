"""Which weights answer, what is said of them, and how they are exchanged while others answer."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from model import hub as weights_hub
from model import serving
from model.artifact import CONFIG, FILES
from model.serving import ModelMissing, Origin, ServedModel, promoted_folder
from tests.server import REPOSITORY, change_config, write_random_weights

NAME = "hospital/tumors"
EMBEDDED_ANSWER = "The weights that come with the program answer instead."


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp("random"), temperature=1.0, trained="2026-11-21")


@pytest.fixture
def named_weights(random_weights) -> Callable[[Path, str], Path]:
    """(folder to be made, name) -> the folder with weights of that name."""

    def copy(folder: Path, name: str) -> Path:
        shutil.copytree(random_weights, folder)
        change_config(folder, name=name)
        return folder

    return copy


@pytest.fixture(autouse=True)
def embedded(named_weights, tmp_path, monkeypatch) -> Path:
    """Random weights in place of those that come with the program, and an environment that asks for nothing."""
    for name in ("WEIGHTS", "MODEL_REPO", "MODEL_REVISION"):
        monkeypatch.delenv(name, raising=False)
    folder = named_weights(tmp_path / "embedded", "embedded")
    monkeypatch.setattr(serving, "EMBEDDED", folder)
    return folder


@pytest.fixture
def other(named_weights, tmp_path) -> Path:
    return named_weights(tmp_path / "other", "other")


@pytest.fixture
def published(hub, other, monkeypatch):
    """Weights on the Hub, and the environment that asks for them."""
    repository = hub.add(NAME)
    repository.commit({name: (other / name).read_bytes() for name in (CONFIG, FILES["int8"])})
    monkeypatch.setenv("MODEL_REPO", NAME)
    return repository


def loaded() -> ServedModel:
    served = ServedModel()
    served.load()
    return served


def answering(served: ServedModel) -> str:
    return served.wait().config["name"]


def test_promoted_weights_come_first_then_a_folder_then_a_repository_at_its_commit(
    published, embedded, named_weights, other, monkeypatch, hub
):
    with monkeypatch.context() as nothing_named:
        nothing_named.delenv("MODEL_REPO")
        served = loaded()
        assert served.origin == Origin("embedded", served.wait().version.split()[-1], "2026-11-21", note="")
    served, first = loaded(), published.head.id
    assert answering(served) == "other" and served.origin == Origin(NAME, first, "2026-11-21", note="")
    published.commit({CONFIG: (embedded / CONFIG).read_bytes()})
    monkeypatch.setenv("MODEL_REVISION", first)
    hub.faults.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert loaded().origin == Origin(NAME, first, "2026-11-21", note="") and hub.faults.requests == []
    monkeypatch.setenv("WEIGHTS", str(named_weights(other.parent / "third", "third")))
    served = loaded()
    assert answering(served) == served.origin.name == "third" and not served.origin.note
    named_weights(promoted_folder(), "promoted")
    assert answering(loaded()) == "promoted"
    loop = other.parent / "loop"  # a state folder that cannot be entered may hold promoted weights
    loop.symlink_to(loop)
    monkeypatch.setenv("STATE_FOLDER", str(loop))
    assert answering(loaded()) == "third" and "promoted weights" in loaded().origin.note


@pytest.mark.parametrize(
    ("request_", "fault", "words"),
    [
        ("GET /api/models", {"status": 503}, "out of order (status 503)"),
        ("GET /storage/", {"content": b"damaged"}, "with another checksum"),
    ],
)
def test_what_the_hub_does_not_give_whole_is_not_served(published, hub, request_, fault, words):
    hub.faults.add(request_, **fault)
    served = loaded()
    assert answering(served) == "embedded"
    assert words in served.origin.note and served.origin.note.endswith(EMBEDDED_ANSWER)


@pytest.mark.parametrize(
    ("name", "words"), [(FILES["int8"], NAME), (CONFIG, "these weights have format 99; this program reads format")]
)
def test_weights_of_the_hub_that_do_not_load_do_not_tell_where_they_lie(published, hub, other, name, words):
    change_config(other, format_version=99)
    published.commit({name: b"damaged" if name == FILES["int8"] else (other / CONFIG).read_bytes()})
    served = loaded()
    assert answering(served) == "embedded"
    assert words in served.origin.note and str(hub.home) not in served.origin.note


def test_replaced_weights_answer_from_then_on_and_a_request_under_way_keeps_the_old(other, embedded):
    served = loaded()
    under_way = served.wait()
    served.replace(other)
    assert answering(served) == served.origin.name == "other"
    assert under_way.config["name"] == "embedded"
    (other / FILES["int8"]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="missing or damaged"):
        served.replace(other)
    assert answering(served) == "other"
    (embedded / CONFIG).rename(other / CONFIG)
    with pytest.raises(ModelMissing):
        loaded().wait()


def test_damaged_or_deleted_weights_give_way_to_the_next_that_are_asked_for(
    published, named_weights, tmp_path, monkeypatch, state
):
    state.mkdir()
    promoted_folder().symlink_to(tmp_path / "deleted")
    monkeypatch.setenv("WEIGHTS", str(named_weights(tmp_path / "damaged", "damaged")))
    (tmp_path / "damaged" / FILES["int8"]).write_bytes(b"damaged")
    served = loaded()
    assert answering(served) == "other"
    assert served.origin.note.startswith("The promoted weights cannot be used: there is no such folder.")
    assert "The weights in damaged cannot be used: " in served.origin.note and str(tmp_path) not in served.origin.note
    assert served.origin.note.endswith(f"The weights of {NAME} answer instead.")


def test_a_user_without_a_home_gets_answers_and_keeps_nothing(monkeypatch, caplog):
    def no_such_user(_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("STATE_FOLDER")
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    assert answering(loaded()) == "embedded"
    weights_hub.pin(NAME, "0" * 40)
    assert weights_hub.pinned(NAME) is None and "Set STATE_FOLDER" in caplog.text


def test_what_nobody_foresaw_keeps_its_text_to_itself(published, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(weights_hub, "pinned", fail)
    served = loaded()
    assert answering(served) == "embedded"
    assert "secret" not in served.origin.note and "secret" in caplog.text


def test_without_any_weights_nobody_waits_for_ever(embedded):
    (embedded / CONFIG).unlink()
    served, missing = ServedModel(), []

    def wait() -> None:
        try:
            served.wait()
        except ModelMissing as error:
            missing.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not served.is_loaded
    served.load()
    waiting.join()
    assert served.is_loaded and served.origin.name == ""
    assert "could not be loaded" in str(missing[0])


def test_neither_onnx_runtime_nor_the_hub_s_client_is_imported_before_the_weights_are_loaded():
    script = "import sys, model.serving; print(sorted({'onnxruntime', 'huggingface_hub'} & set(sys.modules)))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "[]"
