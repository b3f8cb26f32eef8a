import os
from collections.abc import Callable
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # each has a core: operators that wait for two take several times as long
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from tests.browser import browser_type_launch_args, visit  # noqa: F401
from tests.hub.fixtures import hub, hub_server  # noqa: F401
from tests.in_process import api, served  # noqa: F401
from tests.server import app_server, classifier, client, weights  # noqa: F401  fixtures for every test

hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("same")  # the same examples in every run


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch) -> Path:
    """STATE_FOLDER of this process: not there yet. No test sees what another one, or the user, has made it remember."""
    monkeypatch.setenv("STATE_FOLDER", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans beside the repository; tests that need it are skipped where it is missing."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real scans in {folder}")
    return folder


@pytest.fixture(scope="session")
def draw_head() -> Callable[[int], np.ndarray]:
    """seed -> uint8 (200, 180): a bright ellipse with structures of its own on black, another one for each seed."""

    def draw(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.linspace(-1, 1, 200)[:, None], np.linspace(-1, 1, 180)
        radius = np.hypot(x / rng.uniform(0.65, 0.85), y / rng.uniform(0.75, 0.9))
        head = np.full(radius.shape, 110.0)
        for _ in range(80):
            center_x, center_y = rng.uniform(-0.7, 0.7, 2)
            spread = rng.uniform(0.03, 0.1)
            along, across = (np.exp(-(distance**2) / (2 * spread**2)) for distance in (x - center_x, y - center_y))
            head += rng.uniform(-90, 90) * along * across
        return np.where(radius < 1, head.clip(20, 255), 0).astype(np.uint8)

    return draw
