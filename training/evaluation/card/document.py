"""The whole card, and the short version of its numbers for the README."""

import json
import re
from pathlib import Path
from string import Template

from model import CLASSES, DISPLAY_NAMES
from model.artifact import read_config

from .. import markdown
from ..markdown import NOT_MEASURED, NOTHING, figure, sizes, table
from ..seeds import AIMS
from . import certainty, comparison, costs, cross_validation, data, making, results, retrained, shortcuts, study
from .model_index import model_index, widget

OF_DRAWN = (
    "These heads were drawn for this alone, but by the code that draws training images as well: they are no strangers."
)
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
    run = metrics.get("training", {}).get("settings", {}).get("out", "")
    return _seeds_markdown(metrics.get("seeds", {}), run, metrics.get("weights_sha256", ""))


def _evidence(report: dict | None, *words: str) -> str:
    return _evidence_markdown(report or {}, *words)


def _seeds_markdown(result: dict, run_name: str = "", shipped: str = "") -> str:
    """Mean and spread as a table, beside what was aimed at.

    `run_name` and `shipped`: the run that the weights of a card are of, and their sha256.
    """
    if not result:
        return f"Several seeds of the same recipe: {NOT_MEASURED}."
    spread = {row["key"]: row for row in result["rows"]}
    rows = []
    for aim in AIMS:
        row = spread.get(aim.key, {})
        if row.get("mean") is None:
            rows.append([aim.what, NOT_MEASURED, NOTHING, NOTHING, str(aim), NOTHING])
            continue
        mean, low, high, sd = (
            NOTHING if row[name] is None else f"{row[name]:.{aim.decimals}f}" for name in ("mean", "low", "high", "sd")
        )
        known = [value for value in row["values"] if value is not None]
        met = NOTHING if str(aim) == NOTHING else "yes" if aim.met_by(known) else "no"
        rows.append([aim.what, mean, f"{low} to {high}", sd, str(aim), met])
    seeds = ", ".join(str(run["seed"]) for run in result["runs"])
    own = [
        f"those of seed {run['seed']}{'' if run['weights_sha256'] == shipped else ', exported anew since'}"
        for run in result["runs"]
        if run["name"] == run_name
    ]
    head = [
        f"{len(result['runs'])} runs, the same but for the seed",
        "mean",
        "lowest to highest",
        "standard deviation",
        "aim",
        "met",
    ]
    return (
        table(head, rows)
        + f"\n\nSeeds {seeds}; the weights here are {own[0] if own else 'none of these'}. This is the spread of "
        "training alone, on the same patients: the intervals over patients are wider. The aims were set before this "
        "recipe was sought; they are met by the mean, those with two sides by every run. Named right: a tumor is seen "
        "at the operating point, and its likeliest type is right."
    )


def _evidence_markdown(
    result: dict, images: str = "drawn tumors", lesion: str = "drawn tumor", caveat: str = OF_DRAWN
) -> str:
    """The figures as a table and a paragraph; `images` names what was measured, `lesion` what the peak should meet."""
    if not result:
        return f"Whether the evidence map finds the tumor ({images}): {NOT_MEASURED}."
    rows = []
    for kind, words in (("named_right", "named right"), ("all_answers", "whatever was answered")):
        for name, row in result[kind].items():
            what = {"all": "all", "tumor": "type unknown"}.get(name) or DISPLAY_NAMES[name]
            figures = (figure(row[key]) for key in ("peak_inside", "peak_near", "share_inside"))
            rows.append([f"{words}: {what}", sizes(row["peak_inside"]), *figures, f"{row['even']['value']:.3f}"])
    head = [
        f"evidence map, {images}",
        "images (groups)",
        f"peak inside the {lesion}",
        "inside, or at most one cell beside it",
        "share of the evidence inside",
        "the same, were the map even",
    ]
    elsewhere = result["wrong_place"]
    return (
        table(head, rows)
        + f"\n\nThe map has {result['cells']} x {result['cells']} cells, and many tumors are no wider than one or two. "
        f"The peak lies elsewhere, not even one cell beside the {lesion}, in {figure(elsewhere['right'])} of the right "
        f"answers and in {figure(elsewhere['wrong'])} of the wrong ones: {figure(elsewhere['wrong_type'])} where "
        f"another tumor was named, {figure(elsewhere['missed'])} where no tumor was named.{caveat and ' ' + caveat}"
    )
