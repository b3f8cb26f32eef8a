"""The comparison of training speeds: both ways run, and the ratios are of the same rounds."""

import json

from training import benchmark_training
from training.phantoms import write_phantom_dataset


def test_both_ways_train_and_are_compared(tmp_path, capsys):
    data = write_phantom_dataset(tmp_path / "heads", per_class=4, seed=5, size=96)
    options = ["--size=64", "--batch=4", "--frozen=15", "--workers=0", "--rounds=1", "--steps=1"]
    assert benchmark_training.main(["--data", str(data), "--json", str(tmp_path / "speed.json"), *options]) == 0
    report = json.loads((tmp_path / "speed.json").read_text())
    names = [row["what"] for row in report["rows"]]
    assert [name for name in names if name.startswith("ordinary")] == [
        "ordinary, all layers trained",
        "ordinary, the first 15 parts frozen",
    ]
    speed = {row["what"]: row["images_per_second"] for row in report["rows"]}
    for row in report["rows"]:
        ordinary = f"ordinary, {row['what'].split(', ')[1]}"
        assert row["times_ordinary"] == speed[row["what"]] / speed[ordinary]
    assert "times the ordinary way" in capsys.readouterr().out
