"""config.json and metrics.json -> the model card, and six rows of the project's README: rendered, never typed.

    python -m training.evaluation.card           # writes model/weights/README.md, and README.md between its marks
    python -m training.evaluation.card --add external=runs/external/metrics.json   # puts a report into metrics.json
    python -m training.evaluation.card --check   # changes nothing; exit code 1 if either disagrees with metrics.json

The prose is in card.md.j2; here stands what it needs computed. metrics.json holds sections, of which any may be missing
(the card then says "not measured"):

    test, external, vendor   reports of training.evaluation.evaluate: the pool's test split, another source, vendor's
    study                    figures of training.evaluation.studies: verdicts on volumes made of the test split
    quantization             macro_f1_int8, macro_f1_fp32 of the same test split; bytes_int8, bytes_fp32 of the files
    not_brain_mri            refused: share of images of other things, none of them used in fitting
    training                 settings, versions, hardware, seconds, starts, data_fingerprint, left_out;
                             sources: {source: {split: {images, groups}}}, as `count_by_source` gives it
    speed                    report of training.benchmark
    phantoms                 report of training.evaluation.localization: where the evidence lies on drawn heads
    seeds                    report of training.evaluation.seeds: the same recipe with several seeds
    leave_source_out, folds, figshare      reports of training.evaluation.cross_validate
    probes                   report of training.evaluation.probes: what shortcuts are worth
    recorded                 answers to the drawn examples (training.evaluation.recorded), for a check before publishing
    comparison               report of training.evaluation.compare: earlier systems
    retrained                comparison.json of training.retrain: these weights beside those that they started from
"""

import argparse
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from model import DISPLAY_NAMES
from model.artifact import read_config

from ..settings import NO_RECIPE
from . import card_rows

SHIPPED = "model/weights"  # the weights that come with the code
BEGIN, END = "<!-- metrics:begin -->", "<!-- metrics:end -->"
ADDED = (  # sections that come from other commands than training itself
    *("external", "vendor", "speed", "phantoms", "seeds", "leave_source_out", "folds", "figshare", "probes"),
    "comparison",
)
OWN = ("test", "study", "quantization", "not_brain_mri", "training", "recorded", "retrained")  # the others
OF_THESE_WEIGHTS = ("external", "phantoms", "probes")  # of these, reports that name the weights they are of
PLOTS = {  # of the weights folder, where they exist -> alt text
    "reliability.png": "Reliability on the test split: how often answers are right, against how probable they were",
    "reliability_external.png": "The same for the source elsewhere",
    "confusion.png": "Confusion matrix of the test split",
    "roc.png": "ROC curves of the test split, each class against the rest and tumor against none",
    "history.png": "Loss and validation score of the training run, against epochs",
}
WIDGET = {  # pictures in the repository that its page on the Hub shows, with the answers
    "examples/glioma_axial_t1c.png": "A drawn glioma, T1 with contrast agent",
    "examples/no_tumor_axial_t2.png": "A drawn head without a tumor, T2",
}
INDEXED = {  # figures for the Hub's table of results: name there, and ours
    "macro_f1": ("f1", "macro-F1"),
    "accuracy": ("accuracy", "accuracy"),
    "auc_tumor": ("roc_auc", "tumor or none: AUC"),
    "ece": ("ece", "calibration error (ECE)"),
}
FIRST_STRIDE = 16  # pixels for each cell of the evidence map, in reports that are older than the finer one


def card_of(folder: Path, repo: str = "") -> str:
    """The card of the weights in `folder`; `repo`, "ORG/NAME" on the Hub, is where they are to be loaded from.

    Raises: OSError, ValueError if one of its two JSON files cannot be read.
    """
    metrics = json.loads((folder / "metrics.json").read_text())
    plots = [plot for plot in PLOTS if (folder / plot).exists()]
    return model_card(read_config(folder), metrics, plots, repo or SHIPPED)


def model_card(config: dict, metrics: dict, plots: Sequence[str], origin: str = SHIPPED) -> str:
    """The card of a weights folder as the Hub wants it: front matter, then card.md.j2 rendered.

    `config`: of the weights; `metrics`: as described above; `plots`: names of those of `PLOTS` in the folder; `origin`:
    what `TumorClassifier.from_pretrained` is to load them from.
    """
    repo = "ORG/NAME" if origin == SHIPPED else origin
    shown = {name: f"![{alt}]({name})" for name, alt in PLOTS.items() if name in plots}
    text = _template().render(
        _sections(with_differences(metrics)),
        config=config,
        origin=origin,
        repo=repo,
        plot=lambda name: shown.get(name, ""),
    )
    return f"---\n{front_matter(config, metrics)}\n---\n\n{_tidy(text)}"


def readme_numbers(metrics: dict) -> str:
    """Six rows of figures with their caveats, for the project's README: Markdown."""
    return _tidy(str(_template().make_module(_sections(metrics)).readme())).strip()


def section(name: str, *reports: object) -> str:
    """One section of metrics.json as Markdown, as the card shows it: the macro of_NAME of card.md.j2."""
    return _tidy(str(getattr(_template().module, f"of_{name}")(*reports))).strip()


def front_matter(config: dict, metrics: dict) -> str:
    """The card's YAML: license, origin, results and examples. The vendor's results are of other weights: not here."""
    training = metrics.get("training", {})
    names = {"test": f"pool test: {_here(metrics)}", "external": "external: another source"}
    results = [
        EvalResult(
            task_type="image-classification",
            **{"dataset_type": part, "dataset_name": name, "dataset_split": "test", "metric_type": kind},
            metric_name=f"{words} (95 % interval {report['low']:.3f} to {report['high']:.3f})",
            metric_value=round(report["value"], 4),
        )
        for part, name in names.items()
        for key, (kind, words) in INDEXED.items()
        if (report := metrics.get(part, {}).get(key)) and report["value"] is not None
    ]
    answers = metrics.get("recorded", {}).get("int8", {}).get("answers", {})
    widget = [
        {"src": path, "example_title": title, "output": _scores(answers[Path(path).name]["probabilities"])}
        for path, title in WIDGET.items()
        if Path(path).name in answers
    ]
    start = training.get("settings", {}).get("init", "")
    of_hub = start.count("/") == 1 and not start.endswith((".pt", ".pth"))  # ORG/NAME, as --init takes it
    return ModelCardData(
        license="mit",
        library_name="onnx",
        pipeline_tag="image-classification",
        tags=["medical-imaging", "mri", "brain-tumor", "int8", "calibrated"],
        datasets=[source.dataset for source in card_rows.published(training) if source.dataset] or None,
        base_model=start.split("@")[0] if of_hub else None,
        widget=widget or None,
        model_name=config["name"],
        eval_results=results or None,
    ).to_yaml()


def _scores(probabilities: dict) -> list[dict]:
    return [{"label": DISPLAY_NAMES[name], "score": round(value, 3)} for name, value in probabilities.items()]


def _here(metrics: dict) -> str:
    return "own images, patients not in training" if metrics.get("retrained") else "patients not in training"


@cache  # it takes longer to compile than to render
def _template() -> jinja2.Template:
    """card.md.j2, every public name of card_rows.py its global, the functions among them its filters."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    space = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(loader=loader, undefined=jinja2.ChainableUndefined, autoescape=False, **space)
    names = {name: value for name, value in vars(card_rows).items() if not name.startswith("_")}
    environment.globals |= names
    environment.filters |= {name: value for name, value in names.items() if callable(value)} | {"zip": zip}
    return environment.get_template("card.md.j2")


def _sections(metrics: dict) -> dict:
    """`metrics`, sections that are missing empty."""
    return dict.fromkeys((*ADDED, *OWN), {}) | metrics


def _tidy(text: str) -> str:
    """Each paragraph and each point on one line, no blanks at their ends, at most one empty line in a row; but code."""
    parts = text.strip().split("```")
    for k, prose in enumerate(parts[::2]):
        joined = re.sub(r"(?<=[^\s|>])[ ]*\n[ ]*(?=[^\s|#<>!-])", " ", prose)
        parts[2 * k] = re.sub(r"\n{3,}", "\n\n", re.sub(r"^ +| +$", "", re.sub(r"  +", " ", joined), flags=re.M))
    return "```".join(parts) + "\n"


# ---- what goes into metrics.json


def count_by_source(records: Iterable) -> dict[str, dict[str, dict[str, int]]]:
    """{source: {split: {images, groups}}} of `training.data.frames.Record`s."""
    groups = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.source][record.split].append(record.group)
    return {
        source: {split: {"images": len(names), "groups": len(set(names))} for split, names in sorted(splits.items())}
        for source, splits in sorted(groups.items())
    }


def with_differences(metrics: dict) -> dict:
    """`metrics`, its reports of other training runs saying in "differs" where their recipe is not that of the weights.

    "differs" is a list of {name, own, and value: the setting in those runs}; `value` is missing where they are older
    than the setting. How fine the evidence map was counts as a setting, `map_stride`; where a report does not say it,
    it was the first one.
    """
    own = metrics.get("training", {}).get("settings", {})
    cells = (metrics.get("test", {}).get("evidence") or {}).get("cells")
    own = own | ({"map_stride": own["size"] // cells} if cells and "size" in own else {})
    reports = {
        section: report | {"differs": _differing({"map_stride": FIRST_STRIDE} | report["settings"], own)}
        for section, report in metrics.items()
        if section != "training" and isinstance(report, dict) and "settings" in report
    }
    return metrics | reports


def _differing(settings: dict, own: dict) -> list[dict]:
    return [
        {"name": name, "own": value} | ({"value": settings[name]} if name in settings else {})
        for name, value in own.items()
        if name not in NO_RECIPE and not (name in settings and settings[name] == value)
    ]


def add_section(metrics_file: Path, section: str, report: Path) -> None:
    """Put another command's report into metrics.json, and its plot beside it. Raises: OSError, ValueError."""
    if section not in ADDED:
        raise ValueError(f"metrics.json has no section {section!r} to add. Choose one of {', '.join(ADDED)}.")
    metrics, added = json.loads(metrics_file.read_text()), json.loads(report.read_text())
    own = metrics.get("weights_sha256", "")[:8]
    if section in OF_THESE_WEIGHTS and own and not added.get("model", own).endswith(own):
        raise ValueError(f"{report} is of {added['model']}, not of the weights {own}. Measure these, then add it.")
    plot = report.with_name("reliability.png")
    if section == "external" and plot.exists():
        shutil.copyfile(plot, metrics_file.with_name(f"reliability_{section}.png"))
    metrics_file.write_text(json.dumps(metrics | {section: added}, indent=2) + "\n")


# ---- the command line


def filled(readme: str, numbers: str) -> str:
    """README with `numbers` between its marks. Raises: ValueError if the marks are not there, once each, in order."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"The README needs the lines {BEGIN} and {END}, once each, where the numbers belong.")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Render, or with --check compare; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.card", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, default=Path(SHIPPED), help="folder of the weights and metrics.json")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file with the marks for the numbers")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    added = f"first put a report into metrics.json as one of its sections: {', '.join(ADDED)}"
    parser.add_argument("--add", action="append", default=[], metavar="SECTION=FILE", help=added)
    options = parser.parse_args(arguments)
    try:
        for section, _, file in (addition.partition("=") for addition in options.add):
            add_section(options.weights / "metrics.json", section, Path(file))
        metrics = with_differences(json.loads((options.weights / "metrics.json").read_text()))
        wanted = {
            options.weights / "metrics.json": json.dumps(metrics, indent=2) + "\n",
            options.weights / "README.md": card_of(options.weights),
            options.readme: filled(options.readme.read_text(), readme_numbers(metrics)),
        }
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if options.check:
            print(f"{file} disagrees with metrics.json. Run: python -m training.evaluation.card", file=sys.stderr)
        else:
            file.write_text(wanted[file])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
