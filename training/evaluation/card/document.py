"""The whole card, and the short version of its numbers for the README."""

import json
import re
from pathlib import Path
from string import Template

from model import CLASSES, DISPLAY_NAMES
from model.artifact import read_config

from .. import markdown
from . import certainty, comparison, costs, cross_validation, data, making, results, retrained, shortcuts, study
from .model_index import model_index, widget

TEMPLATE = Path(__file__).with_name("card.md")
SHIPPED = "model/weights"  # the weights that come with the code
PLOTS = {  # of the weights folder, where they exist
    "history.png": "Loss and validation score against epochs",
    "confusion.png": "Confusion matrix of the pool's test split",
    "roc.png": "ROC curves of the pool's test split",
    "reliability.png": "Reliability on the pool's test split",
}
RENDERED_BY = {  # section of metrics.json -> the module whose `markdown` tells it, and what it is about
    "leave_source_out": (cross_validation, "Whole sources left out of training"),
    "folds": (cross_validation, "Cross-validation over the whole pool"),
    "figshare": (cross_validation, "Cross-validation over the figshare images alone"),
    "probes": (shortcuts, "What shortcuts are worth"),
    "comparison": (comparison, "The systems that this one grew from"),
}


def card_of(folder: Path, repo: str = "") -> str:
    """The card of the weights in `folder`; `repo`, "ORG/NAME" on the Hub, is where they are to be loaded from.

    Raises: OSError, ValueError if one of its two JSON files cannot be read.
    """
    metrics = json.loads((folder / "metrics.json").read_text())
    return model_card(
        read_config(folder), metrics, [plot for plot in PLOTS if (folder / plot).exists()], repo or SHIPPED
    )


def model_card(config: dict, metrics: dict, plots: list[str], origin: str = SHIPPED) -> str:
    """The card of a weights folder as the Hub wants it: training/evaluation/card/card.md with its places filled in.

    `config`: of the weights; `metrics`: as described in `training.evaluation.card`; `plots`: names of the plots in the folder;
    `origin`: what `TumorClassifier.from_pretrained` is to load them from.
    """
    training, tuned = metrics.get("training", {}), metrics.get("retrained", {})
    text = Template(TEMPLATE.read_text()).substitute(
        origin=origin,
        repo="ORG/NAME" if origin == SHIPPED else origin,
        provenance=data.front_matter(training),
        widget=widget(metrics),
        model_index=model_index(config["name"], metrics),
        **{key: config[key] for key in ("name", "size")},
        classes=", ".join(DISPLAY_NAMES[name] for name in CLASSES[:-1]) + f" and {DISPLAY_NAMES[CLASSES[-1]]}",
        retrained=retrained.markdown(tuned),
        results=results.main_table(metrics, results.ALL),
        seeds=_seeds(metrics),
        by_sequence=results.by_sequence(metrics),
        by_label_and_sequence=results.by_label_and_sequence(metrics),
        prediction_sets=certainty.prediction_sets(metrics, config),
        calibration=certainty.calibration(metrics, config),
        operating_point=certainty.operating_point(config),
        statuses=certainty.statuses(metrics),
        other_pathology=certainty.other_pathology(metrics),
        study_rule=study.rule(config),
        study_figures=study.figures(metrics),
        evidence=_evidence(metrics.get("test", {}).get("evidence"), "test tumors", "box", ""),
        phantoms_evidence=_evidence(metrics.get("phantoms")),
        plots="\n\n".join(f"![{PLOTS[plot]}]({plot})" for plot in PLOTS if plot in plots),
        **{section: _rendered(metrics, section) for section in RENDERED_BY},
        quantization=costs.quantization(metrics),
        speed=costs.speed(metrics),
        sources=data.sources(training),
        only_measured=data.only_measured(metrics),
        phantoms=making.phantoms(training),
        left_out=making.left_out(training),
        set_aside=making.set_aside(training),
        recipe=making.recipe(retrained.begun_from(training, tuned) if tuned else training),
        training=making.facts(training),
        command=_command(training, tuned),
    )
    text = retrained.in_own_words(text) if tuned else text
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text)  # an empty place leaves its blank lines


def readme_numbers(metrics: dict) -> str:
    """What the project's README says of quality, size and speed: Markdown."""
    parts = [
        results.main_table(metrics, results.SHORT),
        results.by_sequence(metrics),
        _rendered(metrics, "leave_source_out"),
        _seeds(metrics),
        comparison.summary(metrics["comparison"]) if metrics.get("comparison") else _rendered(metrics, "comparison"),
        costs.quantization(metrics),
        costs.speed(metrics),
    ]
    return "\n\n".join(parts)


def _command(training: dict, tuned: dict) -> str:
    if tuned:
        return making.command(retrained.asked(training, tuned), "training.retrain")
    return making.command(training)


def _rendered(metrics: dict, section: str) -> str:
    """A section of metrics.json as Markdown."""
    module, about = RENDERED_BY[section]
    if not metrics.get(section):
        return f"{about}: {markdown.NOT_MEASURED}."
    report = making.with_differences(metrics)[section]
    return "\n\n".join(filter(None, (module.markdown(report), making.differences(report.get("differs", [])))))


def _seeds(metrics: dict) -> str:
    from ..seeds import markdown as told

    run = metrics.get("training", {}).get("settings", {}).get("out", "")
    return told(metrics.get("seeds", {}), run, metrics.get("weights_sha256", ""))


def _evidence(report: dict | None, *words: str) -> str:
    from ..localization import markdown as told

    return told(report or {}, *words)
