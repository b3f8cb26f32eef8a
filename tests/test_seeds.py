"""Several runs of one recipe: mean and spread, and no mixing of what is not alike."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.seeds import AIMS, collect, lines, main


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def write_run(root, seed, macro_f1, gain=-0.1, images="", **settings):
    """A run folder with just enough in its reports."""
    weights, external = root / f"run{seed}" / "weights", root / f"run{seed}" / "external"
    weights.mkdir(parents=True)
    external.mkdir()
    settings = {"seed": seed, "out": f"run{seed}", "epochs": 20} | settings
    metrics = {
        "test": {"macro_f1": figure(macro_f1), "prediction_set": {"coverage": figure(0.97)}},
        "quantization": {"macro_f1_int8": macro_f1, "macro_f1_fp32": macro_f1 - gain / 100},
        "weights_sha256": f"sha{seed}",
        "training": {"settings": settings, "data_fingerprint": images},
    }
    detected = {"glioma": {"T1C+": {"seen": figure(0.9), "named": figure(0.8)}}}
    (weights / "metrics.json").write_text(json.dumps(metrics))
    (external / "metrics.json").write_text(json.dumps({"auc_tumor": figure(0.93), "by_label_and_sequence": detected}))
    return root / f"run{seed}"


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path, seed, value) for seed, value in ((3, 0.93), (4, 0.95), (5, 0.97))]


def test_mean_and_spread_are_those_of_the_runs(runs):
    result = collect(runs)
    rows = {row["key"]: row for row in result["rows"]}
    assert [run["seed"] for run in result["runs"]] == [3, 4, 5]
    assert set(rows) == {aim.key for aim in AIMS} and len(rows) == len(AIMS), "every aim has a key of its own"
    row = rows["macro_f1"]
    assert row["values"] == [0.93, 0.95, 0.97] and (row["low"], row["high"]) == (0.93, 0.97)
    assert row["mean"] == pytest.approx(0.95) and row["sd"] == pytest.approx(0.02)
    assert rows["int8"]["mean"] == pytest.approx(-0.1), "in points"
    assert rows["external_t1c_glioma_named"]["mean"] == pytest.approx(0.8)
    assert rows["external_t1_sensitivity_tumor"]["mean"] is None
    alone = {row["key"]: row for row in collect(runs[:1])["rows"]}
    assert alone["macro_f1"]["sd"] is None and alone["macro_f1"]["mean"] == 0.93


def test_lines_hold_what_was_aimed_at_and_whether_it_is_met(runs):
    text = [" ".join(line.split()) for line in lines(collect(runs))]
    assert "pool test: macro-F1 0.950 (0.930 to 0.970) aim ≥ 0.94: met" in text
    assert "pool test: prediction set holds the true class 0.970 (0.970 to 0.970) aim 0.94 to 0.96: not met" in text
    assert not any("pool test: refused" in line for line in text), "it was not measured"


@given(st.sampled_from([aim for aim in AIMS if np.isfinite((aim.low, aim.high)).all()]), st.floats(0.001, 9))
def test_runs_that_miss_a_range_on_both_sides_do_not_meet_it_by_their_mean(aim, beyond):
    middle = (aim.low + aim.high) / 2
    assert aim.met_by([aim.low, aim.high]) and aim.met_by([middle])
    assert not aim.met_by([aim.low - beyond, aim.high + beyond])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 6, "epochs": 10}, "another recipe.*epochs"),
        ({"seed": 6, "images": "others"}, "another recipe.*the images in data"),
        ({"seed": 3}, "same seed: 3, 4, 5, 3"),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_or_in_less_are_not_mixed(runs, tmp_path, other, message):
    with pytest.raises(ValueError, match=message):
        collect([*runs, write_run(tmp_path / "other", macro_f1=0.9, **other)])


def test_command_writes_what_the_card_takes_in(runs, tmp_path, capsys):
    out = tmp_path / "made" / "seeds.json"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == collect(runs)
    assert "≥ 0.94" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "nowhere" in capsys.readouterr().err
