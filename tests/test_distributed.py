"""Several processes train what one would, and outlive the loss of one of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.data.phantoms import write_phantom_dataset
from training.draws import StreamedDropout, Streams, shards_of

REPOSITORY = Path(__file__).parents[1]
OPTIONS = (
    "--size=64",
    "--smallest_size=64",
    "--epochs=2",
    "--batch=8",
    "--phantoms=0",
    "--init=scratch",
    "--log_every=1",
)
OPTIONS += ("--unfreeze_at=0.5", "--class_weights=balanced")  # whatever a batch's parts have to agree on


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_phantom_dataset(folder / "phantoms", per_class=8, seed=5, size=96)
    return folder


def run(folder: Path, name: str, processes: int, *more: str, killed: str = "-1 0") -> subprocess.CompletedProcess:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    launcher = launcher if processes > 1 else []
    places = [f"--data={folder / 'phantoms'}", f"--out={folder / name}", f"--cache={folder / 'cache'}"]
    command = [sys.executable, *launcher, "-m", "tests.exact_training", *places, *OPTIONS, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KILLED_IN_BATCH": killed}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900)


def history(folder: Path, name: str) -> list[dict]:
    lines = (folder / name / "history.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def test_two_processes_of_which_one_is_killed_end_where_one_process_does(folder):
    alone = run(folder, "alone", 1, "--shards=2")
    assert alone.returncode == 0, alone.stderr

    killed = run(folder, "shared", 2, "--save_minutes=0", killed="1 5")  # in the second batch of the second epoch
    assert killed.returncode != 0
    sentence = next(line for line in killed.stderr.splitlines() if line.startswith("training.train:"))
    assert "process 0 of 2 lost another one" in sentence and "--resume" in sentence
    assert len(history(folder, "shared")) == 1

    resumed = run(folder, "shared", 1, "--resume")
    assert "resumed at epoch 2, step 2" in resumed.stdout, resumed.stderr
    pairs = list(zip(history(folder, "shared"), history(folder, "alone"), strict=True))
    assert len(pairs) == 2
    for shared, expected in pairs:
        assert shared == pytest.approx(expected, rel=1e-9, nan_ok=True)
    starts = json.loads((folder / "shared" / "settings.json").read_text())["starts"]
    assert [start["processes"] for start in starts] == [2, 1]


def test_random_draws_are_those_of_the_shard_whoever_makes_them():
    def drawn(shards: list[int]) -> list[torch.Tensor]:
        streams = Streams(shards, torch.device("cpu"))
        torch.manual_seed(5)
        streams.begin(5)
        dropout = torch.nn.Dropout2d(0.5) if len(shards) == 1 else StreamedDropout(0.5, streams)
        rows = []
        for shard in shards:
            with streams.of(shard):
                rows.append(torch.rand(3, 7, 1, 1) + 1)
        kept = dropout(torch.cat(rows))
        streams.restore(streams.states())
        return list(dropout(kept).split(3))

    together, apart = drawn([0, 1, 2]), drawn([0]) + drawn([1]) + drawn([2])
    assert all(torch.equal(one, other) for one, other in zip(together, apart, strict=True))
    assert not torch.equal(together[0], together[1])


def test_shards_are_those_of_the_beginning_as_long_as_the_processes_can_share_them():
    assert (
        shards_of(0, None, 4) == 4 and shards_of(0, 4, 2) == 4 and shards_of(0, 2, 4) == 4 and shards_of(6, 4, 3) == 6
    )
    with pytest.raises(ValueError, match="--shards 3"):
        shards_of(3, None, 2)
