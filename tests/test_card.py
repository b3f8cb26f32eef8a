"""The card and the README say what metrics.json says, all of it, and nothing else."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import ModelCard

from model import CLASSES
from model.artifact import make_config, write_config
from training.evaluation import seeds
from training.evaluation.bootstrap import mean_with_interval
from training.evaluation.card import (
    WIDGET,
    comparison,
    count_by_source,
    cross_validation,
    making,
    model_card,
    readme_numbers,
    shortcuts,
    study,
)
from training.evaluation.card.__main__ import BEGIN, END, add_section, filled, main
from training.evaluation.card.energy import energy
from training.evaluation.certainty import calibration_by_source, on_other_diseases, set_figures, status_shares
from training.evaluation.localization import box_masks, evidence_figures
from training.evaluation.markdown import NOT_MEASURED
from training.evaluation.metrics import by_label_and_sequence, measure, tumor_auc_by_sequence

ROOT = Path(__file__).parents[1]
STUDY = {"sharpness": 0.7, "slope": 1.6543, "intercept": -0.9259, "threshold": 0.1711}
STUDY |= {"sensitivity": 0.9675, "specificity": 0.7444, "tumor_groups": 91, "no_tumor_groups": 50}
CONFIG = {
    "name": "tumor-net",
    "size": 160,
    "temperature": 1.37,
    "operating_point": {"threshold": 0.3123, "sensitivity": 0.981, "specificity": 0.932},
    "prediction_set": {"coverage": 0.95, "keep_from": 0.22},
    "study": STUDY,
}
OF_OTHERS = {  # sections whose text is that of another module
    "leave_source_out": cross_validation,
    "folds": cross_validation,
    "figshare": cross_validation,
    "probes": shortcuts,
    "comparison": comparison,
}
README = f"# Title\n\nBefore.\n{BEGIN}\nold numbers\n{END}\nAfter.\n"


def report(seed, classes=4):
    """A report of random answers, as training.evaluation.evaluate writes it."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([k for k in range(4) if classes == 4 or k != 2], 120)
    probabilities = 0.7 * rng.dirichlet(np.ones(4), 120) + 0.3 * np.eye(4)[labels]
    groups, sequences = [f"g{k // 3}" for k in range(120)], ["T1", "T1C+"] * 60
    images = probabilities, labels, groups
    sets, statuses = probabilities > 0.2, rng.choice(["accepted", "doubtful", "refused"], 120)
    masks = box_masks(np.tile([0.2, 0.2, 0.5, 0.5], (120, 1)), 40)
    return {
        **measure(*images, sequences=sequences, threshold=0.3123, resamples=50),
        "tumor_auc_by_sequence": tumor_auc_by_sequence(*images, sequences, resamples=50),
        "by_label_and_sequence": by_label_and_sequence(*images, sequences, 0.3123, resamples=50),
        "prediction_set": set_figures(sets, labels, groups),
        "calibration_by_source": calibration_by_source(np.log(probabilities), *images, ["a", "b"] * 60),
        "evidence": evidence_figures(rng.random((120, 4, 10, 10)), probabilities, labels, masks, groups),
        "refusal": status_shares(statuses, groups),
        "other_pathology": on_other_diseases(probabilities, sets, statuses, groups, 0.3123),
    }


@pytest.fixture(scope="module")
def metrics():
    """A metrics.json with every section."""
    alone = {"ms": [7.77, 5.55], "start_s": 0.444, "peak_mb": 99.9, "file_mb": 2.22}
    volume = {"what": "volume of 155 slices", "against": "its slices one by one", "unit": "s"}
    sha, spread = "e1ece6eb", {"mean": 0.9444, "low": 0.9333, "high": 0.9555, "sd": 0.0111}
    figshare = {"train": {"images": 2164, "groups": 160}, "val": {"images": 444, "groups": 34}}
    return {
        "test": report(0),
        "external": report(1, classes=3),
        "vendor": report(2),
        "weights_sha256": sha,
        "phantoms": report(3)["evidence"],
        "seeds": {
            "runs": [{"name": f"run{k}", "seed": k, "weights_sha256": sha * (k == 1)} for k in range(3)],
            "rows": [{"key": aim.key, "values": [0.9] * 3} | spread for aim in seeds.AIMS],
        },
        **{section: {"figure": section} for section in OF_OTHERS},
        "study": {"tumor_groups": 9, "no_tumor_groups": 8} | {name: spread_of(k) for k, name in enumerate(study.ROWS)},
        "not_brain_mri": {"refused": mean_with_interval(np.ones(320), [str(k) for k in range(320)], resamples=50)},
        "quantization": {"macro_f1_int8": 0.9312, "macro_f1_fp32": 0.9333, "bytes_int8": 2.8e6, "bytes_fp32": 11.2e6},
        "speed": {
            "model": f"net int8 {sha}",
            "networks": [{"what": "int8", "ratio": [1, 1]} | alone, {"what": "fp32", "ratio": [0.666, 0.5]} | alone],
            "pairs": [volume | {"ratio": 0.555, "ours": 0.3333, "theirs": 0.6006}],
            "threads": [1, 2],
            "rounds": 200,
            "load": 3.2,
            "hardware": {"processor": "Some CPU", "cores": 2},
            "versions": {"onnxruntime": "1.32"},
        },
        "training": {
            "settings": {
                "data": "../somewhere/pool",
                "out": "run1",
                "epochs": 20,
                "phantoms": 1200,
                "init": "imagenet",
                "frozen": 4,
                "position_weight": 0.5,
                "transplants_from": 0.0,
            },
            "versions": {"torch": "2.15"},
            "hardware": {"processor": "Some CPU"},
            "seconds": 3600,
            "git_commit": "0123abc",
            "data_fingerprint": "f" * 64,
            "sources": {"figshare": figshare, "br35hno": {"train": {"images": 600, "groups": 500}}},
        },
    }


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """Instead of the text of other modules, one that names the section it is of."""
    for module in (cross_validation, shortcuts, comparison):
        monkeypatch.setattr(module, "markdown", lambda result: f"[as measured: {result['figure']}]")
    monkeypatch.setattr(comparison, "summary", lambda result: f"[in short: {result['figure']}]")


def spread_of(k):
    """Another figure for each k."""
    return {"value": 0.5 + k / 100, "low": 0.4 + k / 100, "high": 0.6 + k / 100}


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
    "missing",
    [
        *("test", "external", "vendor", "quantization", "speed", "training", "not_brain_mri", "phantoms", "seeds"),
        "study",
        *OF_OTHERS,
    ],
)
def test_missing_section_is_said_to_be_not_measured(metrics, missing):
    rest = {name: section for name, section in metrics.items() if name != missing}
    full, text = model_card(CONFIG, metrics, []), model_card(CONFIG, rest, [])
    assert NOT_MEASURED not in full and NOT_MEASURED in text and "None" not in text


def test_what_an_older_report_does_not_hold_was_not_measured(metrics):
    older = {name: part for name, part in metrics["vendor"].items() if name != "prediction_set"}
    text = readme_numbers(metrics | {"vendor": older})
    [line] = [line for line in text.splitlines() if line.startswith("| classes in the prediction set")]
    assert line.split("|")[4].strip() == NOT_MEASURED


def test_card_of_nothing_invents_nothing():
    text = model_card({"name": "tumor-net", "size": 160}, {}, []) + readme_numbers({})
    assert not numbers_in(text) and not re.search(r"\$|\bNone\b|\bnan\b", text)


def test_card_shows_every_section_and_readme_the_short_version(metrics):
    text, short = model_card(CONFIG, metrics, []), readme_numbers(metrics)
    for section in OF_OTHERS:
        assert text.count(f"[as measured: {section}]") == 1
    assert re.findall(r"as measured: (\w+)", short) == ["leave_source_out"] and "[in short: comparison]" in short
    for table in ("the same but for the seed", "external, by sequence", "pool test: patients not in training"):
        assert table in text and table in short
    for table in (
        "external, at the operating point",
        "| prediction set | images",
        "temperature of its own",
        "what is shown",
    ):
        assert table in text and table not in short
    assert "evidence map, test tumors" in text and "evidence map, drawn tumors" in text
    assert "those of seed 1" in text


def test_how_it_was_trained_follows_from_the_settings(metrics):
    text = model_card(CONFIG, metrics, [])
    assert "ImageNet, of which the first 4 blocks" in text and "Lesions are covered" in text
    settings = metrics["training"]["settings"] | {
        "init": "scratch",
        "frozen": 4,
        "transplants_from": 0.68,
        "blanked": 0.04,
        "volumes": "healthy",
        "volume_share": 0.08,
    }
    text = model_card(CONFIG, metrics | {"training": metrics["training"] | {"settings": settings}}, [])
    assert (
        "4% of the heads train with their inside painted over" in text
        and "8% of the heads are tumor-free slices of healthy volumes" in text
        and "From random weights. " in text
        and "ImageNet" not in text
        and "After 68% of the run, lesions" in text
    )


def test_what_was_chosen_on_validation_is_told_with_the_card(metrics):
    text = " ".join(model_card(CONFIG, metrics, []).split())
    assert "at least 0.312, where F2 is highest on the validation split" in text
    assert "promises to hold the true class for 95% of the images" in text and "In use is 1.37 for all" in text


def test_rule_for_volumes_and_its_figures_are_told_with_what_they_are_not_worth(metrics):
    text = model_card(CONFIG, metrics, [])
    assert set(figures_in(metrics["study"])) <= numbers_in(text)
    flat = " ".join(text.split())
    assert "mean(exp(0.7 x))) / 0.7" in flat and "(1.654 s -0.926)" in flat and "seen from 0.171 on" in flat
    assert "No labeled volume was at hand" in flat and "few training images show" in flat


def test_volumes_that_were_not_calibrated_or_measured_have_no_rule_and_no_figures(metrics):
    uncalibrated = STUDY | {"sensitivity": None, "specificity": None}
    rest = {name: section for name, section in metrics.items() if name != "study"}
    without = {name: part for name, part in CONFIG.items() if name != "study"}
    for config in (without, CONFIG | {"study": uncalibrated}):
        text = model_card(config, rest, [])
        assert f"verdict of a volume: {NOT_MEASURED}" in text and f"Verdicts on volumes: {NOT_MEASURED}" in text


def test_times_are_told_after_their_ratios_and_with_the_load_of_the_machine(metrics):
    text = readme_numbers(metrics)
    assert "| fp32 | 0.666 | 0.5 | 7.77 | 5.55 | 0.444 | 99.9 | 2.22 |" in text and "our int8 / it, 2 threads" in text
    assert "| volume of 155 slices | 0.555 | 0.333 s | 0.601 s | its slices one by one |" in text
    assert "load before 3.2" in text
    rest = {name: part for name, part in metrics["speed"].items() if name != "pairs"}
    assert "| fp32 | 0.666" in (text := readme_numbers(metrics | {"speed": rest})) and "one by one" not in text


def test_times_of_earlier_weights_are_told_as_such(metrics):
    assert "timed with earlier weights" not in readme_numbers(metrics)
    earlier = metrics["speed"] | {"model": "net int8 ffffffff"}
    assert "timed with earlier weights" in readme_numbers(metrics | {"speed": earlier})


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


def test_only_sources_that_took_part_are_named_and_nobodys_own_are_not_called_published(metrics):
    own = {"ward 7": {"train": {"images": 30, "groups": 12}}, "figshare": {"val": {"images": 4, "groups": 2}}}
    text = model_card(CONFIG, metrics | {"training": metrics["training"] | {"sources": own}}, [])
    assert "| ward 7 | not published | its own images | 30 (12) | 0 (0) | 0 (0) |" in text
    assert ModelCard(text).data.datasets is None and "Cheng" in text and "Navoneel" not in text
    on_hub = metrics["training"] | {"sources": {"ward 7": {}, "sartaj": {}}}
    text = model_card(CONFIG, metrics | {"training": on_hub}, [])
    assert ModelCard(text).data.datasets == ["sartajbhuvaji/Brain-Tumor-Classification"]
    rest = {name: part for name, part in metrics.items() if name not in ("external", "vendor")}
    assert "Only measured" not in model_card(CONFIG, rest, [])


@pytest.mark.parametrize(
    ("init", "base"),
    [("hospital/net", "hospital/net"), ("hospital/net@v1", "hospital/net"), ("runs/start.pt", None), ("tuned", None)],
)
def test_weights_tuned_from_published_ones_name_them(metrics, init, base):
    settings = metrics["training"]["settings"] | {"init": init}
    text = model_card(CONFIG, metrics | {"training": metrics["training"] | {"settings": settings}}, [])
    assert ModelCard(text).data.base_model == base


def test_card_tells_to_load_the_weights_from_where_they_are_published(metrics):
    text = model_card(CONFIG, metrics, [])
    assert 'from_pretrained("model/weights")' in text and "hf download ORG/NAME " in text
    text = model_card(CONFIG, metrics, [], "hospital/net")
    assert 'from_pretrained("hospital/net")' in text and "hf download hospital/net " in text
    assert 'pipeline("image-classification", "hospital/net", trust_remote_code=True)' in text and "ORG/NAME" not in text


def test_examples_on_the_hub_show_what_was_answered_when_it_was_measured(metrics):
    name, *_ = (Path(path).name for path in WIDGET)
    probabilities = dict(zip(CLASSES, (0.91, 0.04, 0.03, 0.02), strict=True))
    told = metrics | {"recorded": {"int8": {"answers": {name: {"probabilities": probabilities}}}}}
    (shown,) = ModelCard(model_card(CONFIG, told, [])).data.to_dict()["widget"]
    assert Path(shown["src"]).name == name and (ROOT / shown["src"]).exists()
    assert shown["output"][2] == {"label": "pituitary tumor", "score": 0.03}
    assert "widget" not in ModelCard(model_card(CONFIG, metrics, [])).data.to_dict()


def test_command_that_trains_it_gives_every_setting(metrics):
    text = model_card(CONFIG, metrics, [])
    command = text.split("```sh\n")[-1].split("```")[0].replace("\\\n", " ").split()
    assert command[:3] == ["python", "-m", "training.train"]
    assert dict(zip(command[3::2], command[4::2], strict=True)) == {
        **{
            "--data": "pool",
            "--out": "run1",
            "--epochs": "20",
            "--phantoms": "1200",
            "--init": "imagenet",
            "--frozen": "4",
        },
        **{"--position_weight": "0.5", "--transplants_from": "0.0", "--out": "run1"},
    }


def test_card_of_retrained_weights_tells_of_the_start_and_of_own_images_not_of_the_pool(metrics):
    change = {"value": -0.3, "low": -0.667, "high": 0.0}
    row = {"title": "tumors seen", "start": 0.9, "candidate": 0.6, "difference": change, "groups": 5, "verdict": "fell"}
    start = {"name": "net", "version": "net int8 12345678"}
    told = {"start": start, "sets": {"own held-out images": {"sensitivity": row}}, "sentences": ["It got worse."]}
    text = model_card(CONFIG, metrics | {"retrained": told | {"steps": 240}}, ["roc.png"])
    assert "It got worse." in text and "| 0.900 | 0.600 | -0.300 (-0.667 to +0.000) | 5 | fell |" in text
    assert "From the weights of net int8 12345678" in text and "ROC curves of the own test images" in text
    assert "pool test" not in text and "pool is split" not in text and "the pool's test" not in text
    command = text.split("```sh\n")[-1].split("```")[0]
    assert command.startswith("python -m training.retrain") and "--steps 240" in command and "--epochs" not in command
    assert ModelCard(text).data.eval_results[0].dataset_name == "own images: patients not in training"


def test_energy_is_an_estimate_from_hours_and_watts():
    hardware = {"processor": "Some CPU", "cores": 4, "memory_gib": 10}
    run = {"seconds": 7200, "hardware": hardware, "settings": {"threads": 1}}
    assert energy(run).startswith("about 0.053 kWh")  # 2 h x (12 W + 10 x 0.3725 W) x 1.67
    assert "4 cores x 12 W" in energy(run | {"settings": {"threads": 0}})
    gpus = run | {"hardware": hardware | {"gpu": "NVIDIA H100 80GB HBM3"}, "starts": [{"processes": 2}]}
    assert "2 x 700 W + 2 cores x 12 W" in energy(gpus) and "an estimate" in energy(gpus)
    unknown = run | {"hardware": hardware | {"gpu": "Another GPU"}}
    assert energy(unknown).startswith("not estimated: the power of Another GPU")
    assert energy({"hardware": hardware}) is None


def test_numbers_go_between_the_marks_and_nowhere_else():
    assert filled(README, "new") == README.replace("old numbers", "new")
    for broken in ("no marks", f"{END}\n{BEGIN}", README + README):
        with pytest.raises(ValueError, match="metrics:begin"):
            filled(broken, "new")


@pytest.fixture
def project(tmp_path, metrics):
    """A weights folder and a README with marks, and the options that name them."""
    write_config(tmp_path, make_config("", 0, 0.0) | CONFIG)
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
    monkeypatch.undo()  # here the other modules speak for themselves
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0, "run python -m training.evaluation.card"


def test_a_report_is_put_into_its_section_of_the_metrics(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"n": 1}}))
    (tmp_path / "report.json").write_text(json.dumps({"n": 2}))
    add_section(tmp_path / "metrics.json", "external", tmp_path / "report.json")
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"test": {"n": 1}, "external": {"n": 2}}
    (tmp_path / "metrics.json").write_text(json.dumps({"weights_sha256": "0123456789abcdef"}))
    for model in ("net int8 01234567", "net int8 89abcdef"):
        (tmp_path / "report.json").write_text(json.dumps({"model": model}))
        add_section(tmp_path / "metrics.json", "vendor", tmp_path / "report.json")
        if model.endswith("01234567"):
            add_section(tmp_path / "metrics.json", "external", tmp_path / "report.json")
    with pytest.raises(ValueError, match="net int8 89abcdef, not of the weights 01234567"):
        add_section(tmp_path / "metrics.json", "external", tmp_path / "report.json")
    with pytest.raises(ValueError, match="external, vendor, speed"):
        add_section(tmp_path / "metrics.json", "test", tmp_path / "report.json")


def told_of(settings, own):
    """What the card says of folds with these settings beside weights with those."""
    reports = making.with_differences({"folds": {"settings": settings}, "training": {"settings": own}})
    return making.differences(reports["folds"]["differs"])


def test_figures_of_another_recipe_are_told_as_such(metrics):
    own = {"epochs": 14, "seed": 2, "volumes": "healthy", "blanked": 0.04}
    told = told_of({"epochs": 4, "seed": 0, "volumes": ""}, own)
    assert "epochs 4 instead of 14" in told and "before there was blanked" in told and "seed" not in told
    assert "volumes none instead of healthy" in told
    assert told_of(own | {"seed": 5}, own) == ""
    metrics["training"]["settings"] |= {"epochs": 14, "size": 160}
    metrics["test"]["evidence"] |= {"cells": 20}
    metrics["folds"]["settings"] = metrics["training"]["settings"] | {"epochs": 4}
    assert "with epochs 4 instead of 14, map_stride 16 instead of 8." in model_card(CONFIG, metrics, [])
    metrics["folds"]["settings"] |= {"map_stride": 8}
    assert "with epochs 4 instead of 14." in model_card(CONFIG, metrics, [])
