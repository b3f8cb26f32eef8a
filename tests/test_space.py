"""The Space: what is pushed is all it needs, and starts as a Space does."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import onnx
import pytest
import yaml
from gradio_client import Client
from huggingface_hub import HfApi, hf_hub_download

from model.artifact import EMBEDDED
from model.classifier import TumorClassifier
from model.scans import read
from page import examples
from tests.server import START_SECONDS, ask
from training import publish
from training.publish import main
from training.publishing import space
from training.publishing.push import PushFailed

ROOT = Path(__file__).parents[1]
SPACE, MODEL = "hospital/page", "hospital/tumor-net"


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


@pytest.fixture(autouse=True)
def without_float_graph(monkeypatch) -> None:
    """The embedded weights are published without the float32 graph, which takes long to make and no Space needs."""
    monkeypatch.setattr(publish, "float_graph", lambda net, size: onnx.ModelProto())


@pytest.fixture
def pushed(hub) -> None:
    """Weights, and a Space that answers with them, on the Hub."""
    assert main([str(EMBEDDED), "--repo", MODEL]) == 0
    assert main(["--space", SPACE, "--repo", MODEL]) == 0


def written(hub, folder: Path) -> Path:
    """The Space's files, read-only, as its container has them."""
    for name, file in hub.repository(SPACE, "space").head.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o444)
    return folder


def preloaded(hub, folder: Path) -> None:
    """Do what building a Space does: fetch what its front matter wants preloaded into the cache under HOME."""
    for wanted in front_matter((folder / "README.md").read_text())["preload_from_hub"]:
        repo, names, revision = wanted.split(" ")
        for name in names.split(","):
            hf_hub_download(repo, name, revision=revision, cache_dir=hub.home / "hub")


def test_a_pushed_space_starts_and_answers_with_the_published_weights(hub, pushed, tmp_path):
    folder = written(hub, tmp_path / "app")
    preloaded(hub, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PORT": str(port), "SPACE_ID": SPACE}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(hub.home)}
    environment |= {
        "ADMIN_TOKEN": "an-administrator-s-token"
    }  # there is nothing to retrain with on a Space, and no harm in it
    environment |= hub.repository(SPACE, "space").variables | {"HF_ENDPOINT": "http://127.0.0.1:9"}  # nobody there
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.2:{port}"  # answers only what listens on every address
        wait_until_ready(url, process, log)
        assert httpx.get(f"{url}/model").json()["origin"]["name"] == MODEL
        assert httpx.post(
            f"{url}/retrain", headers={"Authorization": "Bearer an-administrator-s-token"}
        ).status_code in (404, 405)
        (entry,) = ask(Client(url, verbose=False), examples.FILES[0])
    finally:
        process.terminate()
        process.wait(30)
    (here,) = TumorClassifier.from_pretrained().predict(read(examples.FILES[0]).slices)
    assert entry["probabilities"] == pytest.approx(here.probabilities, abs=1e-3)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "it writes beside its code"


def wait_until_ready(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(f"{url}/readyz", timeout=START_SECONDS).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)


def test_a_space_holds_code_examples_and_weights_and_nothing_else(hub, pushed):
    held = set(hub.repository(SPACE, "space").head.files) - {".gitattributes"}
    assert {
        "app.py",
        "app.css",
        "requirements.txt",
        "README.md",
        "LICENSE",
        "model/weights/onnx/model_quantized.onnx",
    } <= held
    assert {path.relative_to(ROOT).as_posix() for path in examples.FILES} <= held
    assert {name.split("/")[0] for name in held if "/" in name} == {"model", "page", "service", "examples"}
    for name in held:
        assert not name.endswith((".pyc", ".safetensors")) and not (name.endswith(".py") and "make_" in name)


def test_the_front_matter_fits_the_program_and_names_the_pinned_weights(hub, pushed):
    files = hub.repository(SPACE, "space").head.files
    front, head = front_matter(files["README.md"].content.decode()), hub.repository(MODEL).head.id
    assert front["sdk"] == "gradio" and front["python_version"] == "3.11" and front["app_file"] in files
    required = next(line for line in (ROOT / "requirements.txt").read_text().split() if line.startswith("gradio"))
    assert required.startswith(f"gradio>={front['sdk_version'].rsplit('.', 1)[0]},")
    assert front["models"] == [MODEL] and front["preload_from_hub"][0].split(" ")[::2] == [MODEL, head]
    assert hub.repository(SPACE, "space").variables == {"MODEL_REPO": MODEL, "MODEL_REVISION": head}
    assert hub.repository(SPACE, "space").sdk == "gradio"


def test_a_space_pushed_without_weights_of_the_hub_answers_with_its_own(hub, pushed):
    assert main(["--space", SPACE]) == 0
    repository = hub.repository(SPACE, "space")
    front = front_matter(repository.head.files["README.md"].content.decode())
    assert "models" not in front and "preload_from_hub" not in front and repository.variables == {}
    commits = len(repository.commits)
    assert main(["--space", SPACE]) == 0 and len(repository.commits) == commits


def test_what_a_space_no_longer_needs_is_deleted_but_never_another_space(hub, pushed):
    repository = hub.repository(SPACE, "space")
    repository.commit({"model/old.py": b""})
    assert main(["--space", SPACE]) == 0 and "model/old.py" not in repository.head.files
    hub.add("hospital/other", kind="space", sdk="gradio").commit({"app.py": b"theirs"})
    with pytest.raises(PushFailed, match="holds something else"):
        space.refuse_foreign(HfApi(), "hospital/other")
    assert main(["--space", "hospital/other"]) == 1
    assert hub.repository("hospital/other", "space").head.files["app.py"].content == b"theirs"


def test_a_dry_run_creates_no_space(hub):
    assert main([str(EMBEDDED), "--repo", MODEL, "--space", SPACE, "--dry-run"]) == 0
    assert hub.repository(SPACE, "space") is None and hub.repository(MODEL) is None


def test_a_readme_without_front_matter_is_refused():
    with pytest.raises(ValueError, match="no front matter"):
        space.readme("# Title\n\nText\n", "", "")
