"""Several runs of one recipe: mean and spread, and no mixing of what is not alike."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.seeds import AIMS, collect, main, markdown


def figure(value):
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def write_run(root, seed, macro_f1, recall=0.9, gain=-0.1, images="", **settings):
    """A run folder with just enough in its reports."""
    weights, external = root / f"run{seed}" / "weights", root / f"run{seed}" / "external"
    weights.mkdir(parents=True)
    external.mkdir()
    metrics = {
        "test": {"macro_f1": figure(macro_f1), "ece": figure(0.015), "prediction_set": {"coverage": figure(0.97)}},
        "quantization": {"macro_f1_int8": macro_f1, "macro_f1_fp32": macro_f1 - gain / 100},
        "weights_sha256": f"sha{seed}",
        "training": {"settings": {"seed": seed, "out": f"run{seed}", "epochs": 20} | settings}
        | {"data_fingerprint": images},
    }
    seen = {"glioma": {"T1C+": {"seen": figure(recall), "named": figure(recall - 0.1)}}}
    (weights / "metrics.json").write_text(json.dumps(metrics))
    (external / "metrics.json").write_text(json.dumps({"auc_tumor": figure(0.93), "by_label_and_sequence": seen}))
    return root / f"run{seed}"


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path, seed, value) for seed, value in ((3, 0.93), (4, 0.95), (5, 0.97))]


def test_mean_and_spread_are_those_of_the_runs(runs):
    result = collect(runs)
    rows = {row["key"]: row for row in result["rows"]}
    assert [run["seed"] for run in result["runs"]] == [3, 4, 5] and set(rows) == {aim.key for aim in AIMS}
    row = rows["macro_f1"]
    assert row["values"] == [0.93, 0.95, 0.97] and (row["low"], row["high"]) == (0.93, 0.97)
    assert row["mean"] == pytest.approx(0.95) and row["sd"] == pytest.approx(0.02)
    assert rows["int8"]["mean"] == pytest.approx(-0.1), "in points"
    assert rows["external_t1c_glioma_named"]["mean"] == pytest.approx(0.8)
    assert rows["external_t1_sensitivity_tumor"]["mean"] is None


def test_table_says_what_was_aimed_at_and_whether_it_is_met(runs):
    text = markdown(collect(runs), "run4", shipped="sha4")
    assert "| pool test: macro-F1 | 0.950 | 0.930 to 0.970 | 0.020 | ≥ 0.94 | yes |" in text
    assert "| pool test: prediction set holds the truth | 0.970 | 0.970 to 0.970 | 0.000 | 0.94 to 0.96 | no |" in text
    assert "| pool test: refused | not measured |" in text and "those of seed 4." in text
    assert "those of seed 4, exported anew since." in markdown(collect(runs), "run4", shipped="another")
    assert "none of these" in markdown(collect(runs), "another", shipped="sha4")
    assert "not measured" in markdown({})


@given(st.sampled_from([aim for aim in AIMS if aim.low is not None and aim.high is not None]), st.floats(0.001, 9))
def test_runs_that_miss_a_range_on_both_sides_do_not_meet_it_by_their_mean(aim, beyond):
    middle = (aim.low + aim.high) / 2
    assert aim.met_by([aim.low, aim.high]) and aim.met_by([middle])
    assert not aim.met_by([aim.low - beyond, aim.high + beyond])


def test_what_int8_costs_is_judged_by_its_largest_difference(tmp_path):
    gained = [(-0.41, "no"), (-0.34, "no"), (0.65, "no")], [(-0.19, "yes"), (0.19, "yes"), (-0.1, "yes")]
    for number, runs in enumerate(gained):
        folders = [write_run(tmp_path / str(number), seed, 0.9, gain=gain) for seed, (gain, _) in enumerate(runs)]
        [line] = [line for line in markdown(collect(folders)).split("\n") if "int8 minus fp32" in line]
        assert line.endswith(f"| -0.2 to 0.2 | {runs[0][1]} |")


def test_one_run_has_no_spread(runs):
    [row] = [row for row in collect(runs[:1])["rows"] if row["key"] == "macro_f1"]
    assert row["sd"] is None and row["mean"] == 0.93


def test_runs_that_differ_in_more_than_the_seed_are_not_mixed(runs, tmp_path):
    other = write_run(tmp_path, 6, 0.9, epochs=10)
    with pytest.raises(ValueError, match="another recipe.*epochs"):
        collect([*runs, other])
    with pytest.raises(ValueError, match="another recipe.*the images in data"):
        collect([*runs, write_run(tmp_path, 7, 0.9, images="others")])


def test_the_same_seed_twice_is_no_spread(runs):
    with pytest.raises(ValueError, match="same seed: 3, 3"):
        collect([runs[0], runs[0]])


def test_command_writes_what_the_card_takes_in(runs, tmp_path, capsys):
    out = tmp_path / "made" / "seeds.json"
    assert main([*map(str, runs), "--out", str(out)]) == 0
    assert json.loads(out.read_text()) == collect(runs)
    assert "≥ 0.94" in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_every_aim_has_a_key_of_its_own():
    assert len({aim.key for aim in AIMS}) == len(AIMS)
