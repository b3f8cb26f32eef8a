"""The card and the README say what metrics.json says, all of it, and nothing else."""

import copy
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard

from model import CLASSES
from model.artifact import EMBEDDED, make_config, read_config, write_config
from training.evaluation import card, card_rows
from training.evaluation.card import BEGIN, END, main, model_card, readme_numbers, section

ROOT = Path(__file__).parents[1]
CONFIG = read_config(EMBEDDED)
METRICS = json.loads((EMBEDDED / "metrics.json").read_text())
README = f"# Title\n\nBefore.\n{BEGIN}\nold numbers\n{END}\nAfter.\n"
TYPED = {"95"}  # the intervals, and the specificity that a threshold keeps
NOT_MEASURED = "ot measured"


@pytest.fixture
def metrics():
    """The shipped metrics.json, which has every section, to be changed."""
    return copy.deepcopy(METRICS)


def with_training(metrics, **settings):
    training = metrics["training"]
    return metrics | {"training": training | {"settings": training["settings"] | settings}}


def flat(text):
    return " ".join(text.split())


def rendered(metrics, config=CONFIG):
    return flat(model_card(config, metrics, list(card.PLOTS)))


def figures_in(node):
    """Every figure with an interval as the card may spell it."""
    if isinstance(node, dict) and {"value", "low"} <= set(node):
        if node["value"] is not None:
            value, low, high = (node[key] for key in ("value", "low", "high"))
            yield f"{value:.3f} ({low:.3f} to {high:.3f})"
            yield f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from figures_in(child)


def numbers_in(text):
    return set(re.findall(r"[\d.]+(?: %)? \([\d.]+ to [\d.]+\)", text.replace("**", "")))


def test_every_figure_of_the_card_stands_in_the_metrics(metrics):
    known = set(figures_in(metrics))
    for text, least in ((rendered(metrics), 90), (readme_numbers(metrics), 12)):
        assert len(numbers_in(text)) >= least and numbers_in(text) <= known


def test_the_card_gives_each_class_and_each_headline_here_and_elsewhere_and_of_the_vendor(metrics):
    shown = numbers_in(rendered(metrics))
    keys = ("macro_f1", "accuracy", "sensitivity_tumor", "specificity_tumor", "auc_tumor", "ece")
    for name, aimed in (("test", keys), ("external", keys), ("vendor", keys[:4])):
        report = metrics[name]
        wanted = [report[key] for key in aimed] + [report["recall"][label] for label in CLASSES if name != "vendor"]
        assert all(shown & set(figures_in(figure)) for figure in wanted if figure["value"] is not None)


def test_no_share_is_typed(metrics):
    """Every figure is set to the same value: no other share may be left but those that are counted or configured."""

    def same(content):
        if isinstance(content, list):
            return [same(one) for one in content]
        if not isinstance(content, dict):
            return content
        content = {name: same(one) for name, one in content.items()}
        return content | ({"value": 0.4242, "low": 0.4242, "high": 0.4242} if "high" in content else {})

    metrics, config = same(metrics), copy.deepcopy(CONFIG)
    for name in ("test", "external"):
        metrics[name]["confusion"]["counts"] = [[4242, 5758, 0, 0]] * 4
        metrics[name]["reliability"] = [one | {"from": 0.4242, "to": 0.4242} for one in metrics[name]["reliability"]]
    metrics["external"]["threshold"] = config["operating_point"]["threshold"] = 0.4242
    for part in ("operating_point", "study"):
        config[part] |= dict.fromkeys(("sensitivity", "specificity"), 0.4242)
    config["prediction_set"]["coverage"] = 0.4242
    recipe = {f"{100 * value:.0f}" for value in metrics["training"]["settings"].values() if isinstance(value, float)}
    text = model_card(config, metrics, []).split("\n---\n", 1)[1]
    assert set(re.findall(r"([\d.]+) %", text)) <= TYPED | recipe | {"42.4", "57.6", "0.0"}


def test_caveats_stand_beside_the_numbers(metrics):
    text = rendered(metrics)
    for caveat in ("it is no untouched test", "so it flatters", "of other weights", "not a medical device"):
        assert caveat in text
    for caveat in ("contrast agent itself sets T1C+ tumors apart", "Ratios travel", "No labeled volume was at hand"):
        assert caveat in text
    assert "no untouched test" in readme_numbers(metrics)
    metrics["vendor"]["model"] = metrics["test"]["model"]
    assert "its figures are of these weights" in rendered(metrics)
    [line] = [
        line for line in model_card(CONFIG, metrics, []).splitlines() if line.startswith("| Pituitary tumor: corr")
    ]
    assert line.split("|")[3].strip() == "–", "a class that a set lacks has a dash, no number"


def test_each_missing_section_is_said_to_be_not_measured(metrics):
    assert NOT_MEASURED not in rendered(metrics)
    for missing in set(METRICS) - {"weights_sha256", "recorded"}:
        text = rendered({name: report for name, report in metrics.items() if name != missing})
        assert NOT_MEASURED in text and card_rows.REPORTS[missing] in text
        assert not re.search(r"\bNone\b|\bnan\b|Undefined|\{\{", text)


def test_a_card_of_nothing_invents_nothing():
    text = rendered({}, {"name": "tumor-net", "size": 160}) + readme_numbers({})
    empty = re.search(r"^#+ .*\n+(##|\Z)", model_card({"name": "net", "size": 160}, {}, []), re.M)
    assert not empty, "a section with nothing in it"
    assert not numbers_in(text) and not re.search(r"\$|\bNone\b|\bnan\b|Undefined", text)
    older = {name: part for name, part in METRICS["external"].items() if name != "prediction_set"}
    assert "(90.4 to 97.4) | not measured |" in readme_numbers(METRICS | {"external": older})


def test_a_failure_is_named_only_where_the_figures_show_it(metrics):
    outside, bad, good = metrics["external"], {"value": 0.31, "low": 0.27, "high": 0.44}, {"value": 0.97}
    outside["confusion"]["counts"] = [[31, 50, 0, 19], [2, 97, 0, 1], [0, 0, 0, 0], [1, 0, 0, 99]]
    outside["recall"]["glioma"] |= bad
    outside["recall"]["meningioma"] |= good
    labels = outside["by_label_and_sequence"]
    for label, sequence, figure in (("glioma", "T1", bad), ("glioma", "T2", good), ("notumor", "T2", bad)):
        labels[label][sequence]["seen"] |= figure
    labels["notumor"]["T1"]["seen"]["value"] = 0.03
    outside["prediction_set"]["coverage"] = outside["ece"] = bad
    named = rendered(metrics).split("## What it gets wrong")[1].split("## ")[0].replace("**", "")
    for text in (
        "Only 31.0 % (27.0 to 44.0) of gliomas get the correct class; 50.0 % are called meningioma and 19.0 % are",
        "sensitivity is only 31.0 % (27.0 to 44.0) on T1 for gliomas",
        "tumor-free slices are called a tumor in 31.0 % (27.0 to 44.0) on T2.",
        "they are off by 31.0 % (27.0 to 44.0)",
        "it holds it in 31.0 % (27.0 to 44.0), where 95.0 % was aimed at",
    ):
        assert text in named
    assert "of meningiomas get" not in named
    labels["glioma"]["T1"]["seen"] |= good
    named = model_card(CONFIG, metrics | {"external": outside | {"ece": bad | {"value": 0.03}}}, [])
    named = named.split("## What it gets wrong")[1].split("## ")[0]
    assert "for gliomas" not in named and "mislead" not in named


def test_what_was_chosen_on_validation_and_the_rule_for_volumes_are_those_of_the_config(metrics):
    config = copy.deepcopy(CONFIG)
    config["operating_point"]["threshold"], config["prediction_set"]["coverage"] = 0.3712, 0.85
    config["study"] |= {"sharpness": 0.6, "slope": 1.6543, "intercept": -0.9259, "threshold": 0.1711}
    text = rendered(metrics, config)
    assert "P(no tumor) is 37.1 % or more" in text and "for 85.0 % of all images" in text
    assert "mean(exp(0.6 x))) / 0.6" in text and "(1.654 s -0.926)" in text and "detected from 0.171 on" in text
    config["study"] |= {"sensitivity": None}
    assert "P(tumor) of the volume" not in rendered(metrics, config)


def test_times_follow_their_ratios_and_say_of_which_weights_and_machine_they_are(metrics):
    one = {"what": "fp32", "ratio": [0.666, 0.5], "ms": [7.77, 5.55]}
    one |= {"start_s": 0.444, "peak_mb": 99.9, "file_mb": 2.22}
    metrics["speed"] |= {"networks": [one], "load": 3.2}
    text = section("speed", metrics["speed"])
    assert "| fp32 | 0.666 | 7.77 | 0.444 | 99.9 | 2.22 |" in text and "load before 3.2" in text
    assert "earlier weights" not in rendered(metrics)
    metrics["speed"]["model"] = "net int8 ffffffff"
    assert "Timed with earlier weights" in rendered(metrics)


def test_the_hub_reads_the_front_matter_results_and_examples(metrics):
    data = ModelCard(model_card(CONFIG, metrics, []), ignore_metadata_errors=False).data
    assert (data.license, data.pipeline_tag, data.model_name) == ("mit", "image-classification", CONFIG["name"])
    results = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results}
    assert results["test", "f1"] == round(metrics["test"]["macro_f1"]["value"], 4)
    assert results["external", "roc_auc"] == round(metrics["external"]["auc_tumor"]["value"], 4)
    assert {dataset for dataset, _ in results} == {"test", "external"}  # the vendor's are of other weights
    shown = data.to_dict()["widget"]
    answers = metrics["recorded"]["int8"]["answers"]
    assert [one["src"] for one in shown] == list(card.WIDGET) and all((ROOT / path).exists() for path in card.WIDGET)
    for one in shown:
        told = answers[Path(one["src"]).name]["probabilities"].values()
        assert [part["score"] for part in one["output"]] == [round(value, 3) for value in told]


def test_folders_of_the_training_machine_are_left_out_and_only_plots_that_exist_are_shown(metrics):
    text = model_card(CONFIG, with_training(metrics, data="../somewhere/pool"), ["roc.png", "predictions.png"])
    assert "somewhere" not in text and "--data pool" in text
    assert re.findall(r"\]\((\w+\.png)\)", text) == ["roc.png"]


def test_sources_are_counted_and_nobodys_own_are_not_called_published(metrics):
    records = [SimpleNamespace(source="a", split="train", group=group) for group in "xxy"]
    assert card.count_by_source(records) == {"a": {"train": {"images": 3, "groups": 2}}}
    own = {"ward 7": {"train": {"images": 30, "groups": 12}}, "figshare": {"val": {"images": 4, "groups": 2}}}
    metrics["training"]["sources"] = own
    text = model_card(CONFIG, metrics, [])
    assert "| ward 7 | 30 (12 groups) | 0 (0 groups) | 0 (0 groups) | its own images | not published |" in text
    assert ModelCard(text).data.datasets is None and "Cheng" in text and "(Navoneel)" not in text
    metrics["training"]["sources"] = {"sartaj": {}}
    assert ModelCard(model_card(CONFIG, metrics, [])).data.datasets == ["sartajbhuvaji/Brain-Tumor-Classification"]


def test_the_card_names_where_the_weights_come_from_and_loads_them_from_where_they_are(metrics):
    for init, base in (("hospital/net@v1", "hospital/net"), ("runs/start.pt", None), ("tuned", None)):
        assert ModelCard(model_card(CONFIG, with_training(metrics, init=init), [])).data.base_model == base
    text = model_card(CONFIG, metrics, [])
    assert 'from_pretrained("model/weights")' in text and "hf download ORG/NAME " in text
    text = model_card(CONFIG, metrics, [], "hospital/net")
    assert 'from_pretrained("hospital/net")' in text and "hf download hospital/net " in text and "ORG/NAME" not in text


def command_of(text):
    return text.split("## How it was made")[1].split("```sh\n")[1].split("```")[0].replace("\\\n", " ").split()


def test_recipe_and_command_follow_from_the_settings(metrics):
    command = command_of(model_card(CONFIG, metrics, []))
    settings = {f"--{name}": str(value) for name, value in metrics["training"]["settings"].items() if value != ""}
    assert command[:3] == ["python", "-m", "training.train"]
    assert dict(zip(command[3::2], command[4::2], strict=True)) == settings
    text = rendered(with_training(metrics, init="scratch", transplants_from=0.68, blanked=0, volumes=""))
    assert "From random weights. " in text and "After 68 % of the run, lesions" in text
    assert "painted over, as no tumor" not in text and "healthy volumes" not in text


def test_retrained_weights_are_compared_with_their_start_on_own_images(metrics):
    change = {"value": -0.3, "low": -0.667, "high": 0.0}
    row = {"title": "tumors", "start": 0.9, "candidate": 0.6, "difference": change, "groups": 5, "verdict": "fell"}
    report = {"start": {"name": "net", "version": "net int8 12345678"}, "sets": {"own images": {"sensitivity": row}}}
    report |= {"sentences": ["It got worse."], "steps": 240}
    text = model_card(CONFIG, metrics | {"retrained": report}, [])
    assert "It got worse." in text and "| 0.900 | 0.600 | -0.300 (-0.667 to +0.000) | 5 | fell |" in text
    assert "From the weights of net int8 12345678" in text and "Here (own images, patients not in training)" in text
    command = command_of(text)
    assert "training.retrain" in command and "--steps" in command and "--epochs" not in command
    assert "own images" in ModelCard(text).data.eval_results[0].dataset_name


def test_another_recipe_is_named_beside_its_figures(metrics):
    own = metrics["training"]["settings"] | {"map_stride": 8}
    report = metrics["leave_source_out"] | {"settings": own | {"epochs": 4, "seed": 99, "volumes": ""}}
    del report["settings"]["blanked"]
    told = card.with_differences(metrics | {"leave_source_out": report})["leave_source_out"]
    assert told["differs"] == [
        {"name": "epochs", "own": 20, "value": 4},
        {"name": "volumes", "own": "healthy5", "value": ""},
        {"name": "blanked", "own": 0.04},
    ]
    text = rendered(metrics | {"leave_source_out": told})
    assert "settings other than those of these weights: epochs, volumes, blanked)" in text
    same = card.with_differences(metrics | {"leave_source_out": report | {"settings": own}})["leave_source_out"]
    assert "(20 epochs at 160 pixels)" in rendered(metrics | {"leave_source_out": same})


def test_check_fails_until_the_numbers_are_rendered_and_after_they_change(tmp_path, metrics, capsys):
    write_config(tmp_path, make_config("net", 160, 0.0))
    file, project = tmp_path / "metrics.json", tmp_path / "PROJECT.md"
    file.write_text(json.dumps(metrics))
    project.write_text(README)
    options = ["--weights", str(tmp_path), "--readme", str(project)]
    assert main([*options, "--check"]) == 1 and "PROJECT.md disagrees with metrics.json" in capsys.readouterr().err
    assert project.read_text() == README, "a check changes nothing"
    assert main(options) == 0 and main([*options, "--check"]) == 0
    metrics["test"]["macro_f1"]["value"] -= 0.01
    file.write_text(json.dumps(metrics))
    assert main([*options, "--check"]) == 1
    assert card.filled(README, "new") == README.replace("old numbers", "new"), "nothing else changes"
    for broken in ("no marks", f"{END}\n{BEGIN}", README + README):
        project.write_text(broken)
        assert main(options) == 2 and "needs the lines" in capsys.readouterr().err
    file.unlink()
    assert main(options) == 2 and "metrics.json" in capsys.readouterr().err


def test_shipped_card_and_readme_agree_with_the_shipped_metrics(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0, "run python -m training.evaluation.card"


def test_a_report_is_put_into_its_section_of_the_metrics(tmp_path):
    file, report = tmp_path / "weights" / "metrics.json", tmp_path / "report.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"weights_sha256": "0123456789abcdef"}))
    report.write_text(json.dumps({"model": "net int8 01234567"}))
    report.with_name("reliability.png").write_bytes(b"drawn")
    card.add_section(file, "external", report)
    assert json.loads(file.read_text())["external"] == {"model": "net int8 01234567"}
    assert file.with_name("reliability_external.png").read_bytes() == b"drawn"
    report.write_text(json.dumps({"model": "net int8 89abcdef"}))
    card.add_section(file, "vendor", report)
    with pytest.raises(ValueError, match="net int8 89abcdef, not of the weights 01234567"):
        card.add_section(file, "external", report)
    with pytest.raises(ValueError, match="external, vendor, speed"):
        card.add_section(file, "test", report)


def test_a_baseline_that_began_from_random_weights_is_not_shown_as_transfer_learning():
    measured = json.loads((EMBEDDED / "metrics.json").read_text())
    rows = measured["comparison"]["rows"]
    row = next(row for row in rows if row["system"] == "efficientnet_b0" and row["protocol"] == "pool")
    for start, warned in (("random: no network", True), ("ImageNet", False)):
        row["trained"]["start"] = start
        text = model_card(read_config(EMBEDDED), measured, [])
        assert (f"{row['title']}, began from random weights" in text) == warned
