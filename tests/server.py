"""Fixtures that run the real page in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from gradio_client import Client, handle_file

from model.artifact import CONFIG, EMBEDDED, make_config, read_config, write_config
from model.classifier import TumorClassifier
from model.preprocess import SERVING_MARGIN
from training.export.export import write
from training.export.gate import FLOAT_PARTS, in_float
from training.export.graph import float_graph, with_parameters
from training.export.int8 import dynamic_int8
from training.export.refusal import BrainDetector
from training.network import TumorNet

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 300


@pytest.fixture(scope="session")
def weights() -> Path:
    """The weights that the page answers with: WEIGHTS of the environment, as for app.py, or the embedded ones."""
    folder = Path(os.environ.get("WEIGHTS", EMBEDDED))
    if not (folder / CONFIG).exists():
        pytest.skip(f"there are no weights in {folder} yet")
    return folder


@pytest.fixture(scope="session")
def classifier(weights) -> TumorClassifier:
    return TumorClassifier.from_folder(weights)


@pytest.fixture(scope="session")
def app_server(weights, tmp_path_factory) -> Iterator[str]:
    """Address of the running page."""
    with running_app(tmp_path_factory.mktemp("app") / "log", weights) as url:
        yield url


@pytest.fixture(scope="session")
def client(app_server) -> Client:
    """A program that asks the running page."""
    return Client(app_server, verbose=False)


def ask(client: Client, *paths: Path) -> list[dict]:
    """What the page's endpoint answers to files sent at once."""
    return client.predict([handle_file(str(path)) for path in paths], api_name="/predict")


@contextmanager
def running_app(log: Path, weights: Path, *program: str) -> Iterator[str]:
    """Start app.py, or the `program`, on a free port and wait until it answers; what it prints goes to `log`."""
    port = free_port()
    process = start_app(log, weights, port, *program)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_app(log: Path, weights: Path, port: int, *program: str) -> subprocess.Popen:
    """Start app.py, or what else Python is to run, and wait until its port is open."""
    environment = os.environ | {"PORT": str(port), "WEIGHTS": str(weights), "HF_HUB_OFFLINE": "1"}
    environment["STATE_FOLDER"] = str(log.parent / "state")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *(program or ["app.py"])],
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(port, process, log)
    except BaseException:
        process.kill()
        raise
    return process


def wait_for_port(port: int, process: subprocess.Popen, log: Path) -> None:
    """Wait until `process` listens on `port`; if it ends before, or never does, the log says why."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.3).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


def write_random_weights(folder: Path, temperature: float, size: int = 160, **facts) -> Path:
    """An artifact of an untrained network that takes anything for a familiar brain MRI; hot ones are undecided.

    `facts` of its config replace those that stand here.
    """
    certainty = {
        "temperature": temperature,
        "operating_point": {"threshold": 0.4, "sensitivity": 0.97, "specificity": 0.91},
        "prediction_set": {"coverage": 0.95, "keep_from": 0.3},
        "refusal": {"refused_below": 0.2, "doubtful_below": 0.6, "doubtful_from": 1.5, "refused_from": 2.0},
    }
    net, graph = random_network(size)
    write(folder, net, {"int8": graph}, make_config("random", size, SERVING_MARGIN, **certainty | facts))
    return folder


@cache
def random_network(size: int) -> tuple[TumorNet, onnx.ModelProto]:
    """An untrained network, and its int8 graph for frames of `size` pixels."""
    torch.manual_seed(0)
    net = TumorNet().train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # what it has seen counts in full, so that activations do not fade
    with torch.no_grad():
        net(torch.randint(0, 256, (8, 1, 64, 64)))
    graph = float_graph(net.eval(), size)
    detector = BrainDetector()
    detector.bias.fill_(9.0)
    with_parameters(graph, "brain_detector", detector)
    return net, dynamic_int8(graph, in_float(FLOAT_PARTS[0]))


def change_config(folder: Path, **facts) -> None:
    """Put other `facts` into the config of the weights in `folder`."""
    write_config(folder, read_config(folder) | facts)
