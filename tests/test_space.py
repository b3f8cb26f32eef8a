"""The Space: what is pushed is all it needs, and starts as a Space does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from gradio_client import Client
from huggingface_hub import HfApi, hf_hub_download

from model.artifact import EMBEDDED
from model.classifier import TumorClassifier
from model.scans import read
from page import examples
from tests.server import REPOSITORY, START_SECONDS, ask, free_port
from training.publish import main
from training.publishing import space
from training.publishing.push import PushFailed

SPACE, MODEL = "hospital/page", "hospital/tumor-net"
TOKEN = "an-administrator-s-token"


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


@pytest.fixture
def pushed(hub) -> None:
    """Weights, and a Space that answers with them, on the Hub."""
    assert main([str(EMBEDDED), "--repo", MODEL, "--space", SPACE]) == 0


def written(hub, folder: Path) -> Path:
    """The Space's files, read-only, as its container has them; with what building it fetches into the cache."""
    for name, file in hub.repository(SPACE, "space").head.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(0o444)
    for wanted in front_matter((folder / "README.md").read_text())["preload_from_hub"]:
        repo, names, revision = wanted.split(" ")
        for name in names.split(","):
            hf_hub_download(repo, name, revision=revision, cache_dir=hub.home / "hub")
    return folder


def test_a_pushed_space_starts_and_answers_with_the_published_weights(hub, pushed, tmp_path):
    folder, log, port = written(hub, tmp_path / "app"), tmp_path / "log", free_port()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PORT": str(port), "SPACE_ID": SPACE}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(hub.home)}
    environment |= {"ADMIN_TOKEN": TOKEN}  # there is nothing to retrain with on a Space, and no harm in it
    environment |= hub.repository(SPACE, "space").variables | {"HF_ENDPOINT": "http://127.0.0.1:9"}  # nobody there
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.2:{port}"  # answers only what listens on every address
        wait_until_ready(url, process, log)
        assert httpx.get(f"{url}/model").json()["origin"]["name"] == MODEL
        retrain = httpx.post(f"{url}/retrain", headers={"Authorization": f"Bearer {TOKEN}"})
        assert retrain.status_code in (404, 405)
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


def test_a_space_holds_what_it_needs_and_a_front_matter_that_fits_and_names_the_pinned_weights(hub, pushed):
    repository, head = hub.repository(SPACE, "space"), hub.repository(MODEL).head.id
    held = set(repository.head.files) - {".gitattributes"}
    assert {"app.py", "app.css", "requirements.txt", "README.md", "LICENSE"} <= held
    assert {"model/weights/onnx/model_quantized.onnx", "service/api.py"} <= held
    assert {path.relative_to(REPOSITORY).as_posix() for path in examples.FILES} <= held
    assert {name.split("/")[0] for name in held if "/" in name} == {"model", "page", "service", "examples"}
    for name in held:
        assert not name.endswith((".pyc", ".safetensors")) and not (name.endswith(".py") and "make_" in name)

    front = front_matter(repository.head.files["README.md"].content.decode())
    assert front["sdk"] == "gradio" and front["python_version"] == "3.11" and front["app_file"] in held
    required = next(line for line in (REPOSITORY / "requirements.txt").read_text().split() if line.startswith("gradio"))
    assert required.startswith(f"gradio>={front['sdk_version'].rsplit('.', 1)[0]},")
    assert front["models"] == [MODEL] and front["preload_from_hub"][0].split(" ")[::2] == [MODEL, head]
    assert repository.variables == {"MODEL_REPO": MODEL, "MODEL_REVISION": head} and repository.sdk == "gradio"


def test_a_space_pushed_without_weights_of_the_hub_answers_with_its_own_and_loses_what_it_does_not_need(hub, pushed):
    repository = hub.repository(SPACE, "space")
    repository.commit({"model/old.py": b""})
    assert main(["--space", SPACE]) == 0 and "model/old.py" not in repository.head.files
    front = front_matter(repository.head.files["README.md"].content.decode())
    assert "models" not in front and "preload_from_hub" not in front and repository.variables == {}
    commits = len(repository.commits)
    assert main(["--space", SPACE]) == 0 and len(repository.commits) == commits
    assert main(["--space", SPACE, "--repo", MODEL]) == 0  # published weights, at their commit
    assert repository.variables["MODEL_REVISION"] == hub.repository(MODEL).head.id


def test_another_space_is_never_overwritten(hub):
    hub.add("hospital/other", kind="space", sdk="gradio").commit({"app.py": b"theirs"})
    with pytest.raises(PushFailed, match="holds something else"):
        space.refuse_foreign(HfApi(), "hospital/other")
    assert main(["--space", "hospital/other"]) == 1
    assert hub.repository("hospital/other", "space").head.files["app.py"].content == b"theirs"


def test_a_dry_run_creates_nothing_and_a_readme_without_front_matter_is_refused(hub):
    assert main([str(EMBEDDED), "--repo", MODEL, "--space", SPACE, "--dry-run"]) == 0
    assert hub.repository(SPACE, "space") is None and hub.repository(MODEL) is None
    with pytest.raises(ValueError, match="no front matter"):
        space.readme("# Title\n\nText\n", "", "")
