"""Weights to the Hub, after a look at whether they are what was measured. How files are pushed: test_push.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from model.artifact import CONFIG, FILES, TRAINED, read_config
from model.classifier import TumorClassifier
from model.scans import read
from tests.server import change_config
from training import train
from training.data.phantoms import write_phantom_dataset
from training.evaluation import recorded, studies
from training.evaluation.card import PLOTS, WIDGET
from training.export import refusal
from training.network import TumorNet, initialize, trained_in
from training.publish import PREPROCESSOR, PROGRAMS, main
from training.settings import Settings

REPOSITORY = Path(__file__).parents[1]
REPO = "hospital/tumor-net"
INT8, FP32 = FILES["int8"], FILES["fp32"]
WRITTEN = {CONFIG, "metrics.json", INT8, FP32, TRAINED, *PLOTS} - {"reliability_external.png"}  # by training.export
PUSHED = {".gitattributes", "README.md", *WRITTEN, *PROGRAMS, PREPROCESSOR, *WIDGET}
ASK_IN_A_FRESH_PROCESS = """
import json, sys
from model.classifier import TumorClassifier
from model.scans import read
classifier = TumorClassifier.from_pretrained(sys.argv[1], revision=sys.argv[2])
print(json.dumps([answer.as_dict() for answer in classifier.predict(read(sys.argv[3]).slices)]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The weights folder of a short run on drawn heads."""
    root = tmp_path_factory.mktemp("trained")
    data = write_phantom_dataset(root / "data", per_class=8, seed=3, size=64)
    tiny = {"size": 64, "smallest_size": 64, "epochs": 1, "batch": 16, "phantoms": 0, "init": "scratch", "frozen": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refusal, "DRAWN", 24)
        patch.setattr(refusal, "DRAWN_SIZE", 64)
        patch.setattr(studies, "RESAMPLES", 2)
        return train.train(Settings(data=str(data), out=str(root / "run"), cache=str(root / "cache"), **tiny))


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A run folder of its own, to spoil."""
    shutil.copytree(trained, tmp_path / "run" / "weights")
    return tmp_path / "run"


@pytest.fixture
def publish(run, capsys):
    """(options) -> exit code, and what was printed, of publishing the run to `REPO`."""

    def call(*options: str, repo: str = REPO) -> tuple[int, str]:
        code = main([str(run), "--repo", repo, *options])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def test_a_push_is_one_commit_that_answers_the_same_in_a_fresh_process_and_can_be_trained_further(
    hub, run, publish, state
):
    code, printed = publish()
    repository, weights = hub.repository(REPO), run / "weights"
    assert code == 0 and len(repository.commits) == 2 and set(repository.head.files) == PUSHED
    for name in WRITTEN:
        assert repository.head.files[name].content == (weights / name).read_bytes()
    assert printed.count("drawn examples as it did when it was measured") == 2
    assert f"+ {INT8}" in printed and not repository.private

    example = recorded.EXAMPLES / "glioma_axial_t1c.png"
    command = [sys.executable, "-c", ASK_IN_A_FRESH_PROCESS, REPO, repository.head.id, str(example)]
    environment = {"PATH": "", "OMP_NUM_THREADS": "1", "STATE_FOLDER": str(state)} | hub.environment
    answered = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert answered.returncode == 0, answered.stderr
    (here,) = TumorClassifier.from_folder(weights).predict(read(example).slices)
    assert json.loads(answered.stdout) == [json.loads(json.dumps(here.as_dict()))]

    net = TumorNet()
    initialize(net, REPO)
    for name, tensor in trained_in(weights).items():
        torch.testing.assert_close(net.state_dict()[name], tensor)

    card = ModelCard.load(REPO)
    assert f'TumorClassifier.from_pretrained("{REPO}")' in card.text
    assert card.data.license == "mit" and card.data.eval_results


def test_what_changed_is_pushed_and_what_is_gone_is_deleted(hub, run, publish):
    publish("--tag", "v1")
    for name in ("roc.png", FP32):
        (run / "weights" / name).unlink()
    code, printed = publish("--tag", "v2")
    assert code == 0 and f"{FP32} is not there" in printed
    repository = hub.repository(REPO)
    assert len(repository.commits) == 3 and set(repository.head.files) == PUSHED - {"roc.png", FP32}
    assert list(repository.tags) == ["v1", "v2"]


def change(file: Path, **entries) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def change_threshold(folder: Path) -> None:
    change_config(folder, operating_point=read_config(folder)["operating_point"] | {"threshold": 0.123})


SPOILT = {  # words of the refusal -> how to spoil a weights folder
    f"is of the weights 00000000, but {INT8} there is": lambda f: change(f / "metrics.json", weights_sha256="0" * 64),
    "run training.export again": lambda folder: shutil.copy(folder / FP32, folder / INT8),
    f"{FP32} is not the file that was measured": lambda folder: shutil.copy(folder / INT8, folder / FP32),
    "is not what its config.json names": lambda f: (f / TRAINED).write_bytes((f / TRAINED).read_bytes()[:-1] + b"?"),
    f"{TRAINED} is missing or damaged": lambda folder: (folder / TRAINED).unlink(),
    "otherwise than when it was measured": lambda folder: change_config(folder, temperature=1e-3),
    "another operating point": change_threshold,
    "Update it": lambda folder: change_config(folder, format_version=99),
    "metrics.json is missing or damaged": lambda folder: (folder / "metrics.json").unlink(),
}


@pytest.mark.parametrize("words", SPOILT)
def test_weights_that_are_not_what_was_measured_are_refused_before_the_hub_is_asked(hub, run, publish, words):
    SPOILT[words](run / "weights")
    code, printed = publish()
    assert code == 1 and words in printed and hub.faults.requests == []


def test_weights_of_which_no_answer_was_recorded_are_pushed_and_that_is_said(hub, run, publish, monkeypatch, tmp_path):
    metrics = run / "weights" / "metrics.json"
    before = json.loads(metrics.read_text())
    assert recorded.record(run / "weights") == before["recorded"]
    change(metrics, recorded={})
    code, printed = publish("--dry-run")
    assert code == 0 and printed.count("its answers cannot be checked") == 2
    change(metrics, **before)
    example = shutil.copy(next(recorded.EXAMPLES.glob("*.png")), tmp_path)
    Image.new("L", (99, 99)).save(example)  # drawn anew since
    monkeypatch.setattr(recorded, "EXAMPLES", tmp_path)
    assert publish("--dry-run")[1].count("its answers cannot be checked") == 2


def test_names_and_options_that_do_not_say_what_goes_where_are_refused(hub, publish):
    for name in ("tumor-net", "a/b/c", "hospital/-net", "hospital/a b"):
        code, printed = publish(repo=name)
        assert code == 1 and "ORG/NAME" in printed and hub.faults.requests == []
    for options in ([], ["a"], ["--repo", REPO], ["--space", REPO, "--tag", "v1"], ["a", "--space", REPO]):
        with pytest.raises(SystemExit):
            main(options)
