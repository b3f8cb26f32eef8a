"""Weights from the Hub: the real client against a local Hub that goes wrong on demand."""

import json
import re
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download

from model.artifact import CONFIG, EMBEDDED, FILES, OURS, TRAINED, WeightsUnavailable, make_config
from model.classifier import TumorClassifier
from model.hub import fetch, find_weights, pinned, why

NAME = "hospital/tumors"
WEIGHTS, FP32, METRICS = FILES["int8"], FILES["fp32"], "metrics.json"
BRIEFLY = 0.3  # seconds that a Hub is waited for which shall not answer


def artifact(content: bytes = b"weights", **facts) -> dict[str, bytes]:
    """The files of an artifact, but for its network: nothing here runs it."""
    config = json.dumps({OURS: make_config("tiny", 64, 0.06) | facts}).encode()
    return {CONFIG: config, METRICS: b"{}", WEIGHTS: content, TRAINED: b"trained"}


@pytest.fixture(autouse=True)
def nothing_on_its_way(hub):
    """What was given up arrives before the next test begins, while this one's Hub is still the client's."""
    yield
    hub.faults.clear()
    for thread in threading.enumerate():
        if thread.name == "hub":
            thread.join()


@pytest.fixture
def repository(hub):
    """A repository with one artifact, the tag v1 at it, and what nobody should fetch."""
    repository = hub.add(NAME)
    rest = {"README.md": b"# Card", "pickle.bin": b"\x80", "roc.png": b"\x89PNG", "inference.py": b"import os"}
    repository.tags["v1"] = repository.commit(artifact() | rest).id
    return repository


def content(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def refusal(source: str = NAME, *arguments, **named) -> str:
    with pytest.raises(WeightsUnavailable) as error:
        fetch(source, *arguments, **named)
    return str(error.value)


def asked(hub) -> list[str]:
    """The requests that came since the last time."""
    seen = [request for request in hub.faults.requests if "agent-harnesses" not in request]
    hub.faults.requests.clear()
    return seen


@pytest.mark.parametrize("source", ["nowhere", "/no/such/folder", "a/b/c", "./x/y"])
def test_what_is_no_folder_and_no_repository_is_not_asked_for(hub, source):
    assert "is no folder, and no repository on the Hub" in refusal(source)
    assert asked(hub) == []


def test_only_json_weights_and_the_card_come_and_the_token_stays_with_the_hub(hub, repository):
    folder = find_weights(NAME)
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert files == {CONFIG, METRICS, WEIGHTS, TRAINED, "README.md", "roc.png"}
    requests = asked(hub)
    fetched = [request for request in requests if request.startswith("GET") and "resolve" in request]
    assert not any(re.search(r"bin|\.py", request) for request in fetched)
    assert any(request.startswith("GET /storage/") for request in requests)  # which refuses whoever sends it a token


def test_a_commit_and_a_tag_name_what_they_named_and_a_commit_is_asked_for_once(hub, repository):
    commit = repository.head.id
    repository.commit(artifact(b"newer"))
    assert fetch(f"{NAME}@v1").commit == repository.tags["v1"] == commit
    assert content(fetch(NAME, commit).folder) == content(fetch(f"{NAME}@{commit}").folder) == b"weights"
    asked(hub)
    fetch(NAME, commit)
    assert asked(hub) == []
    for unknown in ("v9", "f" * 40):
        assert "no branch, tag or commit is called that" in refusal(NAME, unknown)


def test_a_private_repository_needs_a_token_that_may_read_and_no_sentence_shows_one(hub, repository, monkeypatch):
    assert "There is no hospital/nothing@main on the Hub" in refusal("hospital/nothing")
    repository.private = True
    monkeypatch.delenv("HF_TOKEN")
    assert "or it is private" in refusal()
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    assert "does not accept the token" in refusal() and "hf_nobody" not in refusal()
    monkeypatch.setenv("HF_TOKEN", hub.read_token)
    assert content(find_weights(NAME)) == b"weights"


def test_a_newer_format_is_refused_with_a_sentence_and_fetched_once(hub):
    hub.add(NAME).commit(artifact(format_version=99))
    assert "these weights have format 99" in refusal()
    fetched = [request for request in asked(hub) if request.startswith("GET /storage/")]
    assert len(fetched) == len({WEIGHTS, TRAINED}) == len(set(fetched))


@pytest.mark.parametrize(
    ("request_", "fault", "words"),
    [
        ("HEAD .*onnx", {"status": 503}, "within"),
        ("GET /api/models", {"status": 502}, "overloaded or out of order (status 502)"),
        ("GET /api/models", {"seconds": 2 * BRIEFLY}, f"{NAME}@main within"),
        ("GET /storage/", {"keep_bytes": 0}, "within"),
        ("GET /storage/", {"content": b"W"}, f"{WEIGHTS} of {NAME} arrives with another checksum"),
        ("HEAD .*onnx", {"etag": "0" * 64}, f"{WEIGHTS} of {NAME} arrives with another checksum"),
    ],
)
def test_what_goes_wrong_at_the_hub_is_told_and_nothing_of_it_is_used_later(hub, repository, request_, fault, words):
    hub.faults.add(request_, **fault)
    before = set(threading.enumerate())
    assert words in refusal(patience=BRIEFLY if "within" in words else 60)
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)  # they hold up no program that ends
    hub.faults.clear()
    assert content(find_weights(NAME)) == b"weights"


def test_what_is_damaged_in_the_cache_is_not_used_when_the_hub_cannot_be_reached(hub, repository, monkeypatch):
    (find_weights(NAME) / WEIGHTS).resolve().write_bytes(b"damaged")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    resolved = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", resolved)
    assert "cannot be reached" in refusal()


def test_offline_what_is_in_the_cache_is_used_whoever_filled_it_and_the_hub_is_not_asked(hub, repository, monkeypatch):
    fetch(NAME, "v1")
    snapshot_download(NAME, revision="main")  # another program
    asked(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = fetch(NAME, "v1")
    assert content(again.folder) == content(find_weights(NAME)) == b"weights"
    assert "HF_HUB_OFFLINE is set" in again.note and "last known commit" in again.note
    assert "copy the cache of a machine that has it" in refusal("hospital/nothing")
    assert asked(hub) == []


def test_where_nothing_can_be_written_or_what_was_is_damaged_the_weights_come_all_the_same(
    hub, repository, state, caplog
):
    state.write_text("a file, where a folder is wanted")
    assert content(find_weights(NAME)) == b"weights"
    assert "Set STATE_FOLDER" in caplog.text
    state.unlink()
    state.mkdir()
    (state / "pins.json").write_text("[")
    fetch(NAME)
    assert pinned(NAME) == repository.head.id


def test_one_precision_comes_alone_if_one_is_asked_for(hub, repository):
    repository.commit({FP32: b"wide"})
    alone = fetch(NAME, "main", "int8").folder
    assert not (alone / FP32).exists() and not (alone / TRAINED).exists()
    assert (fetch(NAME, "main", "fp32").folder / FP32).read_bytes() == b"wide"
    assert (find_weights(f"{NAME}@main") / FP32).exists()


def test_without_a_revision_the_first_commit_is_kept_and_a_branch_is_followed(hub, repository, state, caplog):
    first = fetch(NAME)
    newer = repository.commit(artifact(b"newer")).id
    asked(hub)
    assert fetch(NAME) == first
    assert asked(hub) == []
    assert json.loads((state / "pins.json").read_text())[NAME] == first.commit
    assert content(fetch(NAME, "main").folder) == b"newer"  # asked for
    assert f"{NAME}@main can be moved; it is commit {newer} now" in caplog.text
    assert fetch(NAME) == first  # no longer asked for
    (state / "pins.json").unlink()
    assert content(fetch(NAME).folder) == b"newer"


@pytest.mark.parametrize("config", [artifact()[CONFIG], b'{"model_type": "vit"}', b"[", b"[]"])
def test_what_was_not_published_by_this_program_is_refused(hub, config):
    hub.add(NAME).commit({CONFIG: config, TRAINED: b"theirs"})
    assert f"holds no {WEIGHTS}. Name a repository with weights of this program" in refusal()


def test_a_download_that_breaks_off_is_taken_up_again(hub, repository):
    hub.faults.add("GET /storage/", keep_bytes=3, times=1)
    assert content(find_weights(NAME)) == b"weights"


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, METRICS])
def test_what_is_damaged_in_the_cache_is_fetched_again(hub, repository, name):
    folder = find_weights(NAME)
    before = (folder / name).read_bytes()
    (folder / name).resolve().write_bytes(before[:-1] + b"?")
    assert (find_weights(NAME) / name).read_bytes() == before


def test_a_branch_whose_newest_commit_is_of_no_use_stays_at_the_last_one(hub, repository):
    fetch(NAME, "main")
    repository.commit(artifact(b"newer", format_version=99))
    last = fetch(NAME, "main")
    assert content(last.folder) == b"weights"
    assert "format 99" in last.note and "The last known commit of hospital/tumors@main" in last.note


@pytest.mark.parametrize("named_by", ["branch", "commit"])
def test_where_there_can_be_no_cache_a_sentence_says_what_to_do(hub, repository, named_by):
    hub.home.write_text("a file, where a folder is wanted")
    assert "set HF_HOME to a folder" in refusal(NAME, "main" if named_by == "branch" else repository.head.id)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(28, "No space left on device"), "Make room"),
        (PermissionError(13, "Permission denied"), "HF_HOME"),
        (TimeoutError(), "Check the network"),
        (KeyError("sha"), "Check HF_ENDPOINT"),
    ],
)
def test_each_failure_has_a_remedy(error, remedy):
    assert remedy in why(error, NAME)


def test_without_a_source_the_embedded_weights_are_loaded_and_a_folder_has_no_revision(weights):
    assert TumorClassifier.from_pretrained().folder == EMBEDDED == find_weights(EMBEDDED)
    with pytest.raises(WeightsUnavailable, match="has no revision v1"):
        TumorClassifier.from_pretrained(revision="v1")
