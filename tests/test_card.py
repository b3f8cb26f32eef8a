"""The card and the README say what metrics.json says, all of it, and nothing else."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from model import CLASSES
from training import card
from training.card import BEGIN, END, NOT_MEASURED, count_by_source, filled, main, model_card, readme_numbers
from training.metrics import measure, share_with_interval, tumor_auc_by_sequence

ROOT = Path(card.__file__).parents[1]
CONFIG = {"name": "tumor-net-32", "width": 32, "size": 160}
README = f"# Title\n\nBefore.\n{BEGIN}\nold numbers\n{END}\nAfter.\n"


def report(seed, classes=4):
    """A report of random answers, as training.evaluate writes it."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([k for k in range(4) if classes == 4 or k != 2], 120)
    probabilities = 0.7 * rng.dirichlet(np.ones(4), 120) + 0.3 * np.eye(4)[labels]
    groups, sequences = [f"g{k // 3}" for k in range(120)], ["T1", "T1C+"] * 60
    share = share_with_interval(rng.random(120) < 0.9, groups)
    return {
        **measure(probabilities, labels, groups, sequences=sequences, resamples=50),
        "tumor_auc_by_sequence": tumor_auc_by_sequence(probabilities, labels, groups, sequences, resamples=50),
        "pointing": {"all": share},
        "refusal": {"refused": share, "doubtful": share},
        "other_pathology": dict.fromkeys(("called_tumor", "sure_of_a_type", "sure_of_no_tumor"), share),
    }


@pytest.fixture(scope="module")
def metrics():
    """A metrics.json with every section."""
    rows = [
        {"key": key, "what": key, "median_ms": 7.77 + k, "p95_ms": 9.99, "to_int8": 1.5}
        for k, key in enumerate(("int8", "fp32"))
    ]
    figshare = {"train": {"images": 2164, "groups": 160}, "val": {"images": 444, "groups": 34}}
    return {
        "test": report(0),
        "external": report(1, classes=3),
        "vendor": report(2),
        "not_brain_mri": {"refused": share_with_interval(np.ones(320), [str(k) for k in range(320)], resamples=50)},
        "quantization": {"macro_f1_int8": 0.9312, "macro_f1_fp32": 0.9333, "bytes_int8": 2.8e6, "bytes_fp32": 11.2e6},
        "speed": {
            "rows": rows,
            "threads": 2,
            "runs": 200,
            "hardware": {"processor": "Some CPU", "cores": 2},
            "versions": {"torch": "2.15"},
        },
        "training": {
            "settings": {"data": "../somewhere/pool", "epochs": 60, "phantoms": 1200, "init": "scratch"},
            "versions": {"torch": "2.15"},
            "hardware": {"processor": "Some CPU"},
            "seconds": 3600,
            "git_commit": "0123abc",
            "data_fingerprint": "f" * 64,
            "sources": {"figshare": figshare, "br35hno": {"train": {"images": 600, "groups": 500}}},
        },
    }


def numbers_in(text):
    """Every figure with an interval, as (value, low, high)."""
    return {tuple(map(float, m)) for m in re.findall(r"(\d\.\d{3}) \((\d\.\d{3}) to (\d\.\d{3})\)", text)}


def figures_in(node):
    if isinstance(node, dict) and "low" in node:
        if node["value"] is not None:
            yield tuple(round(node[key], 3) for key in ("value", "low", "high"))
    elif isinstance(node, dict):
        for child in node.values():
            yield from figures_in(child)


def test_every_figure_of_the_card_stands_in_the_metrics(metrics):
    known = set(figures_in(metrics))
    for text in (model_card(CONFIG, metrics, []), readme_numbers(metrics)):
        assert len(numbers_in(text)) > 30 and numbers_in(text) <= known


def test_card_gives_each_class_and_each_headline_of_each_set(metrics):
    text = model_card(CONFIG, metrics, [])
    for section in ("test", "external", "vendor"):
        part = metrics[section]
        wanted = [part[key] for key in ("macro_f1", "accuracy", "auc_tumor", "ece")] + [
            part["recall"][c] for c in CLASSES
        ]
        assert set(figures_in(dict(enumerate(wanted)))) <= numbers_in(text)


def test_caveats_stand_beside_the_numbers(metrics):
    for text in (model_card(CONFIG, metrics, []), readme_numbers(metrics)):
        assert "vendor split: leaks" in text and "flatters" in text
        assert "the contrast agent itself sets T1C+ tumors apart" in " ".join(text.split())
        assert "Ratios travel" in text
    assert "not a medical device" in model_card(CONFIG, metrics, [])


def test_class_that_a_set_lacks_gets_a_dash_not_a_number(metrics):
    [line] = [line for line in readme_numbers(metrics).splitlines() if line.startswith("| recall, pituitary")]
    assert line.split("|")[3].strip() == "–"


@pytest.mark.parametrize(
    "missing", ["test", "external", "vendor", "quantization", "speed", "training", "not_brain_mri"]
)
def test_missing_section_is_said_to_be_not_measured(metrics, missing):
    rest = {name: section for name, section in metrics.items() if name != missing}
    full, text = model_card(CONFIG, metrics, []), model_card(CONFIG, rest, [])
    assert NOT_MEASURED not in full and NOT_MEASURED in text and "None" not in text


def test_card_of_nothing_invents_nothing():
    text = model_card(CONFIG, {}, []) + readme_numbers({})
    assert not numbers_in(text) and not re.search(r"\$|\bNone\b|\bnan\b", text)


def test_hub_reads_the_front_matter_and_the_results(metrics):
    data = ModelCard(model_card(CONFIG, metrics, []), ignore_metadata_errors=False).data
    assert (data.license, data.pipeline_tag, data.model_name) == ("mit", "image-classification", CONFIG["name"])
    results = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results}
    assert results["test", "f1"] == round(metrics["test"]["macro_f1"]["value"], 4)
    assert results["external", "roc_auc"] == round(metrics["external"]["auc_tumor"]["value"], 4)
    assert {dataset for dataset, _ in results} == {"test", "external"}  # the vendor's are of other weights


def test_folders_of_the_training_machine_are_not_told(metrics):
    assert "somewhere" not in model_card(CONFIG, metrics, [])


def test_only_plots_that_exist_are_shown(metrics):
    text = model_card(CONFIG, metrics, ["roc.png", "predictions.png"])
    assert re.findall(r"\]\((\w+\.png)\)", text) == ["roc.png"]


def test_sources_are_counted_by_image_and_group(metrics):
    records = [SimpleNamespace(source="a", split="train", group=group) for group in "xxy"]
    assert count_by_source(records) == {"a": {"train": {"images": 3, "groups": 2}}}
    assert "| 2,164 (160) | 444 (34) | 0 (0) |" in model_card(CONFIG, metrics, [])


def test_numbers_go_between_the_marks_and_nowhere_else():
    assert filled(README, "new") == README.replace("old numbers", "new")
    for broken in ("no marks", f"{END}\n{BEGIN}", README + README):
        with pytest.raises(ValueError, match="metrics:begin"):
            filled(broken, "new")


@pytest.fixture
def project(tmp_path, metrics):
    """A weights folder and a README with marks, and the options that name them."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "PROJECT.md").write_text(README)
    return ["--weights", str(tmp_path), "--readme", str(tmp_path / "PROJECT.md")]


def test_check_fails_until_the_numbers_are_rendered_and_after_they_change(project, tmp_path, capsys):
    assert main([*project, "--check"]) == 1
    assert "PROJECT.md disagrees with metrics.json" in capsys.readouterr().err
    assert (tmp_path / "PROJECT.md").read_text() == README, "a check changes nothing"
    assert main(project) == 0 and main([*project, "--check"]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["test"]["macro_f1"]["value"] -= 0.01
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert main([*project, "--check"]) == 1


def test_what_is_missing_ends_with_a_sentence_and_code_2(project, tmp_path, capsys):
    (tmp_path / "PROJECT.md").write_text("no marks")
    assert main(project) == 2 and "needs the lines" in capsys.readouterr().err
    (tmp_path / "metrics.json").unlink()
    assert main(project) == 2 and "metrics.json" in capsys.readouterr().err


def test_shipped_card_and_readme_agree_with_the_shipped_metrics(monkeypatch):
    if not (ROOT / "model/weights/metrics.json").exists():
        pytest.skip("no weights are shipped yet")
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0, "run python -m training.card"


def test_a_report_is_put_into_its_section_of_the_metrics(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"n": 1}}))
    (tmp_path / "report.json").write_text(json.dumps({"n": 2}))
    card.add_section(tmp_path / "metrics.json", "external", tmp_path / "report.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"test": {"n": 1}, "external": {"n": 2}}
    with pytest.raises(ValueError, match="external, vendor, speed"):
        card.add_section(tmp_path / "metrics.json", "test", tmp_path / "report.json")
