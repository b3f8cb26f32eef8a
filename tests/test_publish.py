"""Weights to the Hub, after a look at whether they are what was measured. How files are pushed: test_push.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
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
from training.evaluation import recorded
from training.evaluation.card import PLOTS, WIDGET
from training.export import brain_detector, study
from training.initialize import initialize, trained_in
from training.network import TumorNet
from training.publish import main
from training.publishing import artifact
from training.settings import Settings

REPOSITORY = Path(__file__).parents[1]
REPO = "hospital/tumor-net"
WRITTEN = {CONFIG, "metrics.json", *FILES.values(), TRAINED, *PLOTS} - {
    "reliability_external.png"
}  # by training.export
PUSHED = {".gitattributes", "README.md", *WRITTEN, *artifact.PROGRAMS, artifact.PREPROCESSOR, *WIDGET}
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
    data = write_phantom_dataset(root / "data", per_class=8, seed=3, size=96)
    tiny = {"size": 64, "smallest_size": 64, "epochs": 1, "batch": 16, "phantoms": 0, "init": "scratch", "frozen": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brain_detector, "DRAWN", 24)
        patch.setattr(brain_detector, "DRAWN_SIZE", 64)
        patch.setattr(study, "RESAMPLES", 2)
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


def change(file: Path, **entries) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def test_what_is_trained_and_published_answers_the_same_in_a_fresh_process(hub, run, publish, state):
    assert publish()[0] == 0
    head, example = hub.repository(REPO).head.id, recorded.EXAMPLES / "glioma_axial_t1c.png"
    command = [sys.executable, "-c", ASK_IN_A_FRESH_PROCESS, REPO, head, str(example)]
    environment = {"PATH": "", "OMP_NUM_THREADS": "1", "STATE_FOLDER": str(state)} | hub.environment
    answered = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert answered.returncode == 0, answered.stderr
    (here,) = TumorClassifier.from_folder(run / "weights").predict(read(example).slices)
    assert json.loads(answered.stdout) == [json.loads(json.dumps(here.as_dict()))]


def test_a_push_is_one_commit_with_all_that_belongs_to_the_weights(hub, run, publish):
    code, printed = publish()
    repository = hub.repository(REPO)
    assert code == 0 and len(repository.commits) == 2 and set(repository.head.files) == PUSHED
    for name in WRITTEN:
        assert repository.head.files[name].content == (run / "weights" / name).read_bytes()
    assert (
        "+ onnx/model_quantized.onnx" in printed and printed.count("drawn examples as it did when it was measured") == 2
    )
    assert not repository.private


def test_a_float32_graph_that_is_missing_is_made_anew_if_it_is_the_one_that_was_measured(hub, run, publish):
    file = run / "weights" / FILES["fp32"]
    before = file.read_bytes()
    file.unlink()
    code, printed = publish("--dry-run")
    assert code == 0 and file.read_bytes() == before
    assert f"{file.name} answers" in printed and f"+ {FILES['fp32']}" in printed


def test_a_float32_graph_of_which_another_one_is_made_is_not_published(hub, run, publish, monkeypatch):
    (run / "weights" / FILES["fp32"]).unlink()
    monkeypatch.setattr(artifact, "float_graph", lambda net, size: onnx.ModelProto(producer_name="another PyTorch"))
    code, printed = publish("--dry-run")
    assert code == 0 and f"{FILES['fp32']} is not there" in printed and f"+ {FILES['fp32']}" not in printed


def test_training_can_start_from_what_was_published(hub, run, publish):
    publish()
    net, here = TumorNet(), trained_in(run / "weights")
    initialize(net, REPO)
    for name, tensor in here.items():
        torch.testing.assert_close(net.state_dict()[name], tensor)


def test_the_card_on_the_hub_tells_to_load_from_there(hub, publish):
    publish()
    card = ModelCard.load(REPO)
    assert f'TumorClassifier.from_pretrained("{REPO}")' in card.text
    assert card.data.license == "mit" and card.data.eval_results


def test_what_changed_is_pushed_and_what_is_gone_is_deleted(hub, run, publish):
    publish("--tag", "v1")
    (run / "weights" / "roc.png").unlink()
    assert publish("--tag", "v2")[0] == 0
    repository = hub.repository(REPO)
    assert len(repository.commits) == 3 and set(repository.head.files) == PUSHED - {"roc.png"}
    assert list(repository.tags) == ["v1", "v2"]


def spoil_metrics(folder: Path) -> None:
    change(folder / "metrics.json", weights_sha256="0" * 64)


def spoil_weights(folder: Path) -> None:
    shutil.copy(folder / FILES["fp32"], folder / FILES["int8"])


def spoil_fp32(folder: Path) -> None:
    shutil.copy(folder / FILES["int8"], folder / FILES["fp32"])


def spoil_trained(folder: Path) -> None:
    (folder / TRAINED).write_bytes((folder / TRAINED).read_bytes()[:-1] + b"?")


def lose_trained(folder: Path) -> None:
    (folder / TRAINED).unlink()


def spoil_temperature(folder: Path) -> None:
    change_config(folder, temperature=1e-3)


def spoil_threshold(folder: Path) -> None:
    change_config(folder, operating_point=read_config(folder)["operating_point"] | {"threshold": 0.123})


def spoil_format(folder: Path) -> None:
    change_config(folder, format_version=99)


def lose_metrics(folder: Path) -> None:
    (folder / "metrics.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_metrics, "is of the weights 00000000, but onnx/model_quantized.onnx there is"),
        (spoil_weights, "run training.export again"),
        (spoil_fp32, "onnx/model.onnx is not the file that was measured"),
        (spoil_trained, "is not what its config.json names"),
        (lose_trained, "model.safetensors is missing or damaged"),
        (spoil_temperature, "otherwise than when it was measured"),
        (spoil_threshold, "another operating point"),
        (spoil_format, "Update it"),
        (lose_metrics, "metrics.json is missing or damaged"),
    ],
)
def test_weights_that_are_not_what_was_measured_are_refused_before_the_hub_is_asked(hub, run, publish, spoil, words):
    spoil(run / "weights")
    code, printed = publish()
    assert code == 1 and words in printed and hub.faults.requests == []


def test_weights_of_which_no_answer_was_recorded_are_pushed_and_that_is_said(hub, run, publish, monkeypatch, tmp_path):
    metrics = run / "weights" / "metrics.json"
    before = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({name: part for name, part in before.items() if name != "recorded"}))
    code, printed = publish("--dry-run")
    assert code == 0 and printed.count("its answers cannot be checked") == 2
    assert recorded.main([str(run / "weights")]) == 0 and json.loads(metrics.read_text()) == before
    example = shutil.copy(next(recorded.EXAMPLES.glob("*.png")), tmp_path)
    Image.new("L", (99, 99)).save(example)  # drawn anew since
    monkeypatch.setattr(recorded, "EXAMPLES", tmp_path)
    assert publish("--dry-run")[1].count("its answers cannot be checked") == 2


def test_answers_are_only_recorded_for_weights_that_the_figures_are_of(run, capsys):
    spoil_metrics(run / "weights")
    before = (run / "weights" / "metrics.json").read_bytes()
    assert recorded.main([str(run / "weights")]) == 2 and "not of the weights beside it" in capsys.readouterr().err
    assert (run / "weights" / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("name", ["tumor-net", "a/b/c", "hospital/-net", "hospital/a b"])
def test_a_name_that_no_repository_can_have_is_refused(hub, publish, name):
    code, printed = publish(repo=name)
    assert code == 1 and "ORG/NAME" in printed and hub.faults.requests == []


@pytest.mark.parametrize(
    "options", [[], ["runs/a"], ["--repo", REPO], ["--space", REPO, "--tag", "v1"], ["runs/a", "--space", REPO]]
)
def test_options_that_do_not_say_what_goes_where_are_refused(options):
    with pytest.raises(SystemExit):
        main(options)
