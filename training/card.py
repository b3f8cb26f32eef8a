"""config.json and metrics.json -> the model card, and the numbers in the project's README: rendered, never typed.

    python -m training.card             # writes model/weights/README.md and what stands between the marks in README.md
    python -m training.card --add external=runs/external/metrics.json     # puts a report into metrics.json first
    python -m training.card --check     # changes nothing; exit code 1 if either disagrees with metrics.json

metrics.json holds sections, of which any may be missing (the card then says "not measured"):

    test, external, vendor   reports of training.evaluate: the pool's test split, another source, the vendor's split
    quantization             macro_f1_int8, macro_f1_fp32 of the same test split; bytes_int8, bytes_fp32 of the files
    not_brain_mri            refused: share of images of other things, none of them used in fitting
    speed                    report of training.benchmark
    training                 settings, versions, hardware, seconds, starts, data_fingerprint, left_out;
                             sources: {source: {split: {images, groups}}}, as `count_by_source` gives it
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from string import Template

from model import CLASSES, DISPLAY_NAMES

TEMPLATE = Path(__file__).with_name("card.md")
NOT_MEASURED = "not measured"
BEGIN, END = "<!-- metrics:begin -->", "<!-- metrics:end -->"
PLOTS = {  # of the weights folder, where they exist
    "history.png": "Loss and validation score against epochs",
    "confusion.png": "Confusion matrix of the pool's test split",
    "roc.png": "ROC curves of the pool's test split",
    "reliability.png": "Reliability on the pool's test split",
}
SECTIONS = {  # of metrics.json -> the head of its column
    "test": "pool test: patients not in training",
    "external": "external: another source",
    "vendor": "vendor split: leaks",
}
ADDED = ("external", "vendor", "speed")  # sections that come from other commands than training itself
FIGURES = (  # key, what it is, what to bear in mind
    ("macro_f1", "macro-F1", "over the classes that the set holds"),
    ("accuracy", "accuracy", "depends on the mix of classes"),
    ("balanced_accuracy", "balanced accuracy", "mean of the recalls"),
    ("f2_macro", "macro-F2", "recall counts double"),
    ("roc_auc", "ROC-AUC, one against the rest", "macro average, threshold-free"),
    ("recall", "", "images named right, of this class"),
    ("auc_tumor", "tumor against none: AUC", "threshold-free; unknown types included"),
    ("sensitivity_tumor", "tumor against none: sensitivity", "tumors seen; the rest are missed"),
    ("specificity_tumor", "tumor against none: specificity", "normals left alone; the rest are false alarms"),
    ("f2_tumor", "tumor against none: F2", "depends on the share of tumors"),
    ("ece", "calibration error (ECE)", "15 bins; temperature fitted on the pool's validation split"),
    ("brier", "Brier score", "0 is perfect, 2 is the worst"),
)
SHORT = ("macro_f1", "recall", "auc_tumor", "sensitivity_tumor", "specificity_tumor", "ece")  # of FIGURES, for README
SOURCES = {  # places in training/card.md -> names in the manifest
    "figshare": ("figshare",),
    "br35h": ("br35hno", "br35hyes"),
    "navoneel": ("navoneel",),
    "sartaj": ("sartaj",),
}


def count_by_source(records) -> dict[str, dict[str, dict[str, int]]]:
    """{source: {split: {images, groups}}} of `training.data.Record`s, for metrics.json."""
    groups = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.source][record.split].append(record.group)
    return {
        source: {split: {"images": len(names), "groups": len(set(names))} for split, names in sorted(splits.items())}
        for source, splits in sorted(groups.items())
    }


def readme_numbers(metrics: dict) -> str:
    """What the project's README says of quality, size and speed: Markdown."""
    return "\n\n".join((_results(metrics, SHORT), _outside(metrics), _quantization(metrics), _speed(metrics)))


def model_card(config: dict, metrics: dict, plots: list[str]) -> str:
    """The card of a weights folder as the Hub wants it: training/card.md with its places filled in.

    `config`: of the weights; `metrics`: as described on top; `plots`: names of the plots in the folder.
    """
    training = metrics.get("training", {})
    text = Template(TEMPLATE.read_text()).substitute(
        model_index=_model_index(config["name"], metrics),
        **{key: config[key] for key in ("name", "width", "size")},
        classes=", ".join(DISPLAY_NAMES[name] for name in CLASSES[:-1]) + f" and {DISPLAY_NAMES[CLASSES[-1]]}",
        results=_results(metrics, tuple(key for key, _, _ in FIGURES)),
        outside=_outside(metrics),
        other_pathology=_other_pathology(metrics),
        pointing=_pointing(metrics),
        plots="\n\n".join(f"![{PLOTS[plot]}]({plot})" for plot in PLOTS if plot in plots),
        quantization=_quantization(metrics),
        speed=_speed(metrics),
        **{place: _counts(training, names) for place, names in SOURCES.items()},
        phantoms=_phantoms(training),
        left_out=_left_out(training),
        threshold=metrics.get("test", {}).get("threshold", 0.5),
        refusals=_refusals(metrics),
        training=_training(training),
    )
    return "\n".join(line.rstrip() for line in text.split("\n"))


def filled(readme: str, numbers: str) -> str:
    """README with `numbers` between its marks. Raises: ValueError if the marks are not there, once each, in order."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"The README needs the lines {BEGIN} and {END}, once each, where the numbers belong.")
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    return f"{before}{BEGIN}\n{numbers}\n{END}{after}"


def card_of(folder: Path) -> str:
    """The card of the weights in `folder`. Raises: OSError, ValueError if one of its two JSON files cannot be read."""
    config, metrics = (json.loads((folder / name).read_text()) for name in ("config.json", "metrics.json"))
    return model_card(config, metrics, [plot for plot in PLOTS if (folder / plot).exists()])


def add_section(metrics_file: Path, section: str, report: Path) -> None:
    """Put a report of `training.evaluate` or `training.benchmark` into metrics.json. Raises: OSError, ValueError."""
    if section not in ADDED:
        raise ValueError(f"metrics.json has no section {section!r} to add. Choose one of {', '.join(ADDED)}.")
    metrics = json.loads(metrics_file.read_text()) | {section: json.loads(report.read_text())}
    metrics_file.write_text(json.dumps(metrics, indent=2) + "\n")


# ---- parts of the card


def _figure(figure: dict | None) -> str:
    """ "0.912 (0.881 to 0.940)"; a dash where the set cannot tell."""
    if not figure:
        return NOT_MEASURED
    if figure["value"] is None:
        return "–"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _results(metrics: dict, keys: tuple[str, ...]) -> str:
    """The main table: a row for each figure, a column for each section, and what to bear in mind."""
    reports = [metrics.get(section) for section in SECTIONS]
    sizes = [f"{r['n']:,} ({r['n_groups']:,})" if r else NOT_MEASURED for r in reports]
    rows = [["images (groups)", *sizes, "intervals are over groups"]]
    for key, title, caveat in FIGURES:
        if key == "recall":
            for name in CLASSES if key in keys else ():
                figures = [_figure(r and r["recall"][name]) for r in reports]
                rows.append([f"recall, {DISPLAY_NAMES[name]}", *figures, caveat])
        elif key in keys:
            rows.append([title, *(_figure(r and r[key]) for r in reports), caveat])
    mind = [
        '"–": the set holds no such images. '
        "External: none of its images trained, chose or calibrated the weights; but its figures were read while the "
        "recipe was being worked out (training/EXPERIMENTS.md), so it is no untouched test. It has no pituitary tumors."
    ]
    if metrics.get("vendor"):
        mind.append(
            "Vendor: the split that most projects quote, given to be comparable. All of its test tumors from figshare "
            "share a patient with its training part, so it flatters; and it is of weights trained for that on the "
            "vendor's training part alone, without tumor boxes, in a shorter run (BENCHMARKS.md)."
        )
    return _table(["", *SECTIONS.values(), "bear in mind"], rows) + "\n\n" + " ".join(mind)


def _outside(metrics: dict) -> str:
    """Tumors of each MRI sequence, from the external source."""
    report = metrics.get("external")
    if not report:
        return f"Another source, by MRI sequence: {NOT_MEASURED}."
    rows = []
    for sequence, area in report["tumor_auc_by_sequence"].items():
        seen = report["by_sequence"].get(sequence, {})
        figures = (seen.get(key) for key in ("sensitivity_tumor", "specificity_tumor", "accuracy"))
        rows.append([sequence, _figure(area), *map(_figure, figures)])
    head = [
        "external, by sequence",
        "AUC, its tumors against all normals",
        "tumors seen",
        "normals left alone",
        "named right, normals too",
    ]
    return (
        _table(head, rows)
        + "\n\nNormals of that source are T1 and T2 only: the contrast agent itself sets T1C+ tumors "
        "apart from them, so part of that AUC may be the sequence, not the tumor."
    )


def _other_pathology(metrics: dict) -> str:
    report = metrics.get("external", {}).get("other_pathology")
    if not report:
        return f"Other diseases, which it has no class for: {NOT_MEASURED}."
    seen = report["called_tumor"]
    return (
        f"Other diseases, which it has no class for (external, {seen['n']:,} images of {seen['n_groups']:,} groups): "
        f"it sees a tumor in {_figure(seen)}, is more than 90 % sure of one of its three types in "
        f"{_figure(report['sure_of_a_type'])}, and more than 90 % sure of no tumor in "
        f"{_figure(report['sure_of_no_tumor'])}."
    )


def _pointing(metrics: dict) -> str:
    figure = metrics.get("test", {}).get("pointing", {}).get("all")
    if not figure:
        return f"Whether the evidence map peaks in the tumor: {NOT_MEASURED}."
    return (
        f"The evidence map peaks in the tumor's box, or one cell beside it, in {_figure(figure)} of the "
        f"{figure['n']:,} test tumors that have a box and were named right."
    )


def _refusals(metrics: dict) -> str:
    """How many brain MRIs are refused, and how many other things are."""
    shares = {section: metrics.get(section, {}).get("refusal", {}).get("refused") for section in ("test", "external")}
    wrongly = [f"{_figure(share)} of the {section} images" for section, share in shares.items() if share]
    rightly = metrics.get("not_brain_mri", {}).get("refused")
    return (
        f"Refused though brain MRI: {', '.join(wrongly) or NOT_MEASURED}. Refused among photographs, documents and "
        f"scans of other body parts: {_figure(rightly)}" + (f" of {rightly['n']:,}." if rightly else ".")
    )


def _quantization(metrics: dict) -> str:
    costs = metrics.get("quantization")
    if not costs:
        return f"What int8 costs, and saves: {NOT_MEASURED}."
    difference = 100 * (costs["macro_f1_int8"] - costs["macro_f1_fp32"])
    return (
        f"In int8 the macro-F1 is {costs['macro_f1_int8']:.4f}, in fp32 {costs['macro_f1_fp32']:.4f} "
        f"({difference:+.2f} points, pool test). The file takes {costs['bytes_int8'] / 1e6:.1f} MB, "
        f"{costs['bytes_int8'] / costs['bytes_fp32']:.2f} of the fp32 one."
    )


def _speed(metrics: dict) -> str:
    speed = metrics.get("speed")
    if not speed:
        return f"Speed: {NOT_MEASURED}."
    rows = [
        [row["what"], f"{row['median_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['to_int8']:.2f}"]
        for row in speed["rows"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in speed["versions"].items())
    return (
        _table([f"one image, {speed['threads']} threads", "median, ms", "95th percentile, ms", "times our int8"], rows)
        + f"\n\nMedians of {speed['runs']} rounds that took turns in one run, on {speed['hardware']['processor']} "
        f"({speed['hardware']['cores']} cores; {versions}). Ratios travel to other machines, milliseconds do not."
    )


def _counts(training: dict, names: tuple[str, ...]) -> str:
    """Three cells of the table of sources: images (groups) of each split."""
    counts = training.get("sources", {})
    cells = []
    for split in ("train", "val", "test"):
        parts = [counts.get(name, {}).get(split, {}) for name in names]
        images, groups = (sum(part.get(unit, 0) for part in parts) for unit in ("images", "groups"))
        cells.append(f"{images:,} ({groups:,})" if counts else NOT_MEASURED)
    return " | ".join(cells)


def _phantoms(training: dict) -> str:
    """Whether drawn heads took part."""
    drawn = training.get("settings", {}).get("phantoms")
    if not drawn:
        return ""
    return (
        f"{drawn:,} drawn heads (`training/phantoms`) took part in training as domain randomization; the same code "
        "draws the examples of the page, so that an example's answer says nothing about quality."
    )


def _left_out(training: dict) -> str:
    """How many images training and validation went without."""
    count = training.get("left_out")
    return (
        f"{count:,} of its images were left out, because a held-out image of another group looks the same."
        if count
        else ""
    )


def _training(training: dict) -> str:
    if not training:
        return f"Settings: {NOT_MEASURED}."
    hardware, versions = training.get("hardware", {}), training.get("versions", {})
    facts = {
        "on": hardware.get("gpu") or hardware.get("processor"),
        "minutes": f"{training['seconds'] / 60:.0f}" if "seconds" in training else None,
        "code": _commits(training.get("starts", [])),
        "data": training.get("data_fingerprint") and f"fingerprint `{training['data_fingerprint'][:16]}`",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "settings": ", ".join(
            f"{name} {value}"
            for name, value in training.get("settings", {}).items()
            if name == "init" or not isinstance(value, str)  # the rest are folders of that machine
        ),
    }
    return "\n".join(f"- {name}: {fact or 'not recorded'}" for name, fact in facts.items())


def _commits(starts: list[dict]) -> str:
    """The commits that a run was started and resumed with; "+" is what git's manual would call a dirty tree."""
    return "; ".join(f"commit `{start['git_commit'] or 'none'}` from epoch {start['epoch']}" for start in starts)


def _model_index(name: str, metrics: dict) -> str:
    """The results as YAML for the Hub, without the vendor's: those are of other weights."""
    lines = []
    for section in ("test", "external"):
        report = metrics.get(section)
        if not report:
            continue
        lines += [
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {json.dumps(SECTIONS[section])}",
            f"      type: {section}",
            "      split: test",
            "    metrics:",
        ]
        for key, kind in (("macro_f1", "f1"), ("accuracy", "accuracy"), ("auc_tumor", "roc_auc"), ("ece", "ece")):
            figure, words = report[key], next(words for name, words, _ in FIGURES if name == key)
            if figure["value"] is not None:
                interval = f"{words} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"
                lines += [f"    - type: {kind}", f"      name: {json.dumps(interval)}"]
                lines += [f"      value: {figure['value']:.4f}"]
    return "\n".join(["model-index:", f"- name: {json.dumps(name)}", "  results:", *lines]) if lines else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.card", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "--weights", type=Path, default=Path("model/weights"), help="folder of the weights and metrics.json"
    )
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="file with the marks for the numbers")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file disagrees with metrics.json"
    )
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="SECTION=FILE",
        help=f"first put a report into metrics.json as one of its sections: {', '.join(ADDED)}",
    )
    options = parser.parse_args(arguments)
    try:
        for section, _, file in (addition.partition("=") for addition in options.add):
            add_section(options.weights / "metrics.json", section, Path(file))
        metrics = json.loads((options.weights / "metrics.json").read_text())
        wanted = {
            options.weights / "README.md": card_of(options.weights),
            options.readme: filled(options.readme.read_text(), readme_numbers(metrics)),
        }
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if options.check:
            print(f"{file} disagrees with metrics.json. Run: python -m training.card", file=sys.stderr)
        else:
            file.write_text(wanted[file])
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
