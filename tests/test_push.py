"""Files to the Hub with the real client: in one commit, or not at all, with a sentence that says what to do."""

import re
import socket

import pytest
from huggingface_hub import HfApi

from training.publishing import push as push_module
from training.publishing.push import PushFailed, Upload, give_up_on_silence, push

REPO = "hospital/tumor-net"
FILES = {"README.md": b"---\nlicense: mit\n---\n# Card\n", "model.safetensors": b"weights" * 999}
WRITES = re.compile("POST|PUT|DELETE")
FULL = "Private repository storage limit reached, please upgrade your plan"


def upload(repo=REPO, **files: bytes) -> Upload:
    return Upload(repo, "model", FILES | files, stale=lambda path: path == "old.png", message="New weights")


def held(hub) -> dict[str, bytes]:
    """What the repository holds, but for the Hub's own file."""
    files = hub.repository(REPO).head.files
    return {name: file.content for name, file in files.items() if name != ".gitattributes"}


def test_a_push_is_one_commit_and_there_is_none_where_nothing_is_new(hub, capsys):
    commit = push(HfApi(), upload())
    repository = hub.repository(REPO)
    assert held(hub) == FILES and repository.head.id == commit and len(repository.commits) == 2
    assert push(HfApi(), upload()) == commit and len(repository.commits) == 2
    assert "nothing to push" in capsys.readouterr().out
    push(HfApi(), upload(**{"README.md": b"# Another\n"}))
    assert held(hub)["README.md"] == b"# Another\n" and len(repository.commits) == 3


def test_what_is_ours_and_out_of_date_goes_in_the_same_commit_and_what_is_of_others_stays(hub):
    hub.add(REPO).commit({"NOTES.md": b"theirs", "old.png": b"ours"})
    push(HfApi(), upload())
    assert held(hub) == FILES | {"NOTES.md": b"theirs"} and len(hub.repository(REPO).commits) == 3


def test_a_dry_run_tells_what_differs_and_sends_nothing(hub, capsys):
    assert push(HfApi(), upload(), tag="v1", dry_run=True) is None and hub.repository(REPO) is None
    assert "is new to this token: a public model repository" in (printed := capsys.readouterr().out)
    assert "+ model.safetensors  7.0 kB" in printed
    hub.add(REPO).commit({"old.png": b"", "README.md": FILES["README.md"]})
    push(HfApi(), upload(), dry_run=True)
    assert capsys.readouterr().out.splitlines() == ["+ model.safetensors  7.0 kB", "- old.png"]
    assert not any(map(WRITES.match, hub.faults.requests))


def test_a_tag_names_the_commit_and_never_moves(hub):
    for _ in range(2):
        commit = push(HfApi(), upload(), tag="v1")
        assert hub.repository(REPO).tags == {"v1": commit}
    with pytest.raises(PushFailed, match="Choose another --tag. Nothing was sent."):
        push(HfApi(), upload(new=b""), tag="v1")
    assert held(hub) == FILES
    assert push(HfApi(), upload(new=b""), tag="v2") == hub.repository(REPO).tags["v2"] != commit


def test_a_tag_that_fails_says_that_the_files_are_there(hub):
    hub.faults.add("/tag/", status=503)
    with pytest.raises(PushFailed, match="is pushed as [0-9a-f]{40} but has no tag v1.* Run this again"):
        push(HfApi(), upload(), tag="v1")
    hub.faults.clear()
    assert push(HfApi(), upload(), tag="v1") == hub.repository(REPO).tags["v1"]


def test_a_new_repository_is_private_where_asked_and_a_public_one_is_not_taken_for_it(hub):
    push(HfApi(), upload(), private=True)
    assert hub.repository(REPO).private
    hub.add("hospital/open")
    with pytest.raises(PushFailed, match="exists and is public"):
        push(HfApi(), upload("hospital/open"), private=True)
    assert len(hub.repository("hospital/open").commits) == 1


FAULTS = [
    ("PUT /storage", {"status": 403, "message": FULL}, "has no space left"),
    ("PUT /storage", {"status": 413}, "has no space left"),
    ("objects/batch", {"status": 403, "message": "Forbidden"}, "The token may not write"),
    ("/commit/", {"status": 503}, r"out of order \(status 503\)"),
    ("/commit/", {"status": 412}, "Somebody else has changed"),
    ("/commit/", {"status": 429}, "Wait some minutes"),
    ("/commit/", {"status": 507, "message": FULL}, "has no space left"),
    ("/preupload/", {"status": 404, "message": "gone"}, "does not find hospital/tumor-net"),
    ("validate-yaml", {"status": 400, "message": "odd card"}, "The Hub refuses"),
]


@pytest.mark.parametrize(("request_", "how", "words"), FAULTS)
@pytest.mark.parametrize("there", [True, False])
def test_a_push_that_fails_leaves_the_hub_as_it_was_and_says_what_to_do(hub, request_, how, words, there):
    if there:
        hub.add(REPO).commit({"README.md": b"before"})
    hub.faults.add(request_, **how)
    with pytest.raises(PushFailed, match=words) as failed:
        push(HfApi(), upload())
    assert not re.search("Error|Exception|http", str(failed.value).replace("https://huggingface.co/settings", ""))
    if there:
        assert "is as it was" in str(failed.value) and held(hub) == {"README.md": b"before"}
    else:
        assert "is deleted again" in str(failed.value) and hub.repository(REPO) is None
    hub.faults.clear()
    push(HfApi(), upload())
    assert held(hub) == FILES


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub):
    repository = hub.add(REPO)
    hub.faults.add("/commit/", keep_bytes=0)
    with pytest.raises(PushFailed, match="cannot be reached.* is no longer what it was before"):
        push(HfApi(), upload())
    hub.faults.clear()
    push(HfApi(), upload())
    assert held(hub) == FILES and len(repository.commits) == 2


def test_a_hub_that_says_nothing_is_not_waited_for_for_ever(hub, monkeypatch):
    hub.faults.add("GET /api/whoami", seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr(push_module, "SILENCE_SECONDS", 0.2)
        give_up_on_silence()
    try:
        with pytest.raises(PushFailed, match="cannot be reached.* Nothing was sent"):
            push(HfApi(), upload())
    finally:
        give_up_on_silence()


def test_a_failure_after_which_the_hub_is_silent_claims_nothing(hub):
    hub.add(REPO)
    hub.faults.add("/commit/", status=503)
    hub.faults.add(f"GET /api/models/{REPO}$", spared=1, status=503)
    with pytest.raises(PushFailed, match="out of order .* could not be asked whether it did"):
        push(HfApi(), upload())


def test_a_push_that_is_stopped_leaves_nothing_behind(hub, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(HfApi, "create_commit", interrupted)
    with pytest.raises(PushFailed, match="Stopped. .* is deleted again"):
        push(HfApi(), upload())
    assert hub.repository(REPO) is None


def test_without_a_token_that_may_write_nothing_is_sent(hub, monkeypatch):
    for token, words in (("", "Run hf auth login"), ("hf_wrong", "does not accept"), (hub.read_token, "only read")):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(PushFailed, match=f"{words}.* Nothing was sent"):
            push(HfApi(), upload())
    assert not any(map(WRITES.match, hub.faults.requests))


def test_another_owners_repository_is_refused_before_it_is_made(hub):
    with pytest.raises(PushFailed, match="The token may not write to university/net.* Nothing was sent"):
        push(HfApi(), upload("university/net"))


def test_no_network_and_offline_mode_are_told_apart(hub, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # held, so that nobody else takes it, and not listening
        with pytest.raises(PushFailed, match="cannot be reached. Check the network.* Nothing was sent"):
            push(HfApi(f"http://127.0.0.1:{closed.getsockname()[1]}"), upload())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PushFailed, match="HF_HUB_OFFLINE is set.* Nothing was sent"):
        push(HfApi(), upload())
