"""What the card's template needs computed: rows of its tables, failures, sources, the command, the energy.

Everything public here is a function and a filter of card.md.j2. Reports are parts of metrics.json: see card.py.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from ..settings import FOLDERS, set_by, without_places
from . import studies
from .markdown import NOT_MEASURED, NOTHING, figure, share, sizes
from .seeds import AIMS

HERE, ELSEWHERE = "Here", "Elsewhere"
NAMES = DISPLAY_NAMES
TUMORS = list(CLASSES[:NO_TUMOR])
RECALLS = [
    (f"{name.capitalize()}: correct class (recall)", f"recall.{label}", "share") for label, name in NAMES.items()
]
VOLUME = {name: getattr(studies, name) for name in ("HEAD_MM", "ALIKE_MM", "NOISE")}
NORMAL = CLASSES[NO_TUMOR]
PLURAL = {name: f"{DISPLAY_NAMES[name]}s" for name in CLASSES} | {NORMAL: "tumor-free slices"}
GOOD, OFTEN = 0.9, 0.1  # shares of right answers below which, and of wrong ones above which, a failure is named
TOO_SURE = 0.05  # a calibration error above which probabilities are said to mislead
CLAIMS = {  # of a system's project -> in words
    **{"accuracy": "accuracy, 4 classes", "macro_f1": "macro-F1", "f2_macro": "macro-F2"},
    **{"accuracy_tumor": "accuracy, tumor or none", "f1_tumor": "F1, tumor or none"},
}
# Energy, after Lannelongue et al. 2021, Green Algorithms, doi:10.1002/advs.202100707
CORE_WATTS = 12.0  # of a core at work, where the processor is not known
MEMORY_WATTS = 0.3725  # of each GiB that is there, in use or not
OVERHEAD = 1.67  # what a data center draws for each watt of its computers, on average
GPU_WATTS = {  # the board's limit by NVIDIA's data sheets, SXM where there are two; names as PyTorch gives them
    **{"H200": 700, "H100": 700, "A100": 400, "V100": 300, "L40S": 350, "A10G": 300, "A10": 150, "L4": 72, "T4": 70},
    **{"RTX 4090": 450, "RTX 3090": 350},
}


class Source(NamedTuple):
    """A published collection."""

    title: str  # Markdown
    license: str
    gives: str
    names: dict[str, str]  # in manifests -> as a reader knows that part
    dataset: str = ""  # its id on the Hub, for the card's front matter, if its owner has put it there


KAGGLE = "https://www.kaggle.com/datasets"
SOURCES = (
    Source(
        "[Brain tumor dataset (Cheng)](https://figshare.com/articles/dataset/brain_tumor_dataset/1512427)",
        *("CC BY 4.0", "glioma, meningioma, pituitary tumor; T1C+", {"figshare": "figshare"}),
    ),
    Source(
        f"[Br35H]({KAGGLE}/ahmedhamada0/brain-tumor-detection)",
        *("see its page", "no tumor; tumor of unknown type"),
        {"br35hno": "Br35H, tumor-free", "br35hyes": "Br35H, tumors"},
    ),
    Source(
        f"[Brain MRI images (Navoneel)]({KAGGLE}/navoneel/brain-mri-images-for-brain-tumor-detection)",
        *("see its page", "no tumor; tumor of unknown type", {"navoneel": "Navoneel"}),
    ),
    Source(
        f"[Brain tumor classification (Sartaj)]({KAGGLE}/sartajbhuvaji/brain-tumor-classification-mri)",
        *("see its page", "all classes; web images, noisy labels", {"sartaj": "Sartaj"}),
        "sartajbhuvaji/Brain-Tumor-Classification",
    ),
    Source(
        f"[Brain Tumor MRI Dataset]({KAGGLE}/masoudnickparvar/brain-tumor-mri-dataset)",
        *("CC0", "all classes; the split that most projects quote", {"nickparvar": "Nickparvar"}),
    ),
    Source(
        "[TCGA-LGG](https://www.cancerimagingarchive.net/collection/tcga-lgg/), "
        f"masks by [Buda]({KAGGLE}/mateuszbuda/lgg-mri-segmentation)",
        *("CC BY 3.0; what is derived from the masks CC BY-NC-SA 4.0", "glioma, no tumor; T1, T1C+, FLAIR"),
        {f"tcga_lgg_{hospital}": f"TCGA-LGG, hospital {hospital.upper()}" for hospital in ("du", "ht", "ez")},
    ),
    Source(
        "[OpenNeuro ds002748](https://openneuro.org/datasets/ds002748)",
        *("CC0", "no tumor; T1, skull-stripped", {"ds002748": "OpenNeuro ds002748"}),
    ),
    Source("drawn heads (`training/data/phantoms`)", "MIT", "all classes; no patient", {"phantom": "drawn heads"}),
)


def percent(value: float) -> str:
    """0..1 -> "91.2 %"."""
    return f"{100 * value:.1f} %"


def measured(report: Mapping | None, kind: str) -> str:
    """A figure as the function named `kind` spells it."""
    return {"figure": figure, "share": share, "sizes": sizes}[kind](report)


def counted(part: Mapping) -> str:
    """The same within a sentence: "1,402 images of 621 groups"."""
    return f"{part['n']:,} images of {part['n_groups']:,} groups"


def strong(report: Mapping | None, kind: str = "share") -> str:
    """A figure within a sentence, its value in bold: "**91.2 %** (88.1 to 94.0)"."""
    value, bracket, interval = measured(report, kind).partition(" (")
    return f"**{value}**{bracket}{interval}"


def plain(value: float | None) -> str:
    """A number without an interval: "0.912"; a dash where the set cannot tell."""
    return f"{value:.3f}" if isinstance(value, int | float) else NOTHING


def digits(value: float) -> str:
    """Three of them, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def named(source: str) -> str:
    """A source of manifests as a reader knows it; one that nobody published by its bare name."""
    return {key: name for one in SOURCES for key, name in one.names.items()}.get(source, source)


def at(report: Mapping | None, path: str) -> dict | None:
    """What stands at the end of `path`, names joined by dots; empty if the set cannot tell, None if not measured."""
    first, *rest = path.split(".")
    if not report or first not in report:
        return None
    found = report[first]
    for name in rest:
        found = (found or {}).get(name, {})
    return found or {}


# ---- rows of tables


def source_rows(training: Mapping) -> list[tuple[str, str, str, list[str]]]:
    """Title, license, what it shows and images (groups) of the three splits of each collection that took part."""
    counts = training.get("sources", {})
    known = {name for source in SOURCES for name in source.names}
    own = [Source(name, "not published", "its own images", {name: name}) for name in counts if name not in known]
    return [(*source[:3], _counted(counts, source.names)) for source in [*published(training), *own]]


def published(training: Mapping) -> list[Source]:
    """The published collections that took part."""
    return [source for source in SOURCES if set(source.names) & set(training.get("sources", {}))]


def _counted(counts: dict, names: Mapping) -> list[str]:
    parts = [[counts.get(name, {}).get(split, {}) for name in names] for split in ("train", "val", "test")]
    sums = [[sum(part.get(unit, 0) for part in split) for unit in ("images", "groups")] for split in parts]
    return [f"{images:,} ({groups:,} groups)" for images, groups in sums]


def seed_rows(seeds: Mapping) -> list[tuple[str, ...]]:
    """What, mean, range, deviation, aim and whether it was met, of each figure that several seeds aimed at."""
    spread, rows = {row["key"]: row for row in seeds.get("rows", ())}, []
    for aim in AIMS if spread else ():
        row = spread.get(aim.key, {})
        known = [value for value in row.get("values", ()) if value is not None]
        mean, low, high, deviation = (
            NOTHING if row.get(name) is None else f"{row[name]:.{aim.decimals}f}"
            for name in ("mean", "low", "high", "sd")
        )
        met = NOTHING if str(aim) == NOTHING or not known else "yes" if aim.met_by(known) else "no"
        rows.append((aim.what, mean if known else NOT_MEASURED, f"{low} to {high}", deviation, str(aim), met))
    return rows


def fold_rows(*reports: Mapping) -> list[tuple]:
    """What, then for each report the figure of all folds pooled, and mean and deviation over its folds."""
    found = [dict(_of_folds(report)) if report else {} for report in reports]
    names = dict.fromkeys(what for of_report in found for what in of_report)
    return [(what, *(cell for of_report in found for cell in of_report.get(what, ({}, NOTHING)))) for what in names]


def _of_folds(report: Mapping) -> Iterator[tuple[str, tuple[dict, str]]]:
    pooled, types = report["pooled"], report["types"]

    def over_folds(name: str) -> str:
        defined = [fold[name] for fold in report["by_fold"] if fold[name] is not None]
        return f"{np.mean(defined):.3f} ± {np.std(defined, ddof=min(1, len(defined) - 1)):.3f}" if defined else NOTHING

    if pooled["auc_tumor"]["value"] is not None:  # else there are no images without a tumor, or nothing else
        for name, what in (("macro_f1", "Macro-F1"), ("balanced_accuracy", "Balanced accuracy")):
            yield f"{what}, four classes", (pooled[name], over_folds(name))
        yield "AUC, tumor or none", (pooled["auc_tumor"], over_folds("auc_tumor"))
    if types:
        spread = over_folds("types_balanced_accuracy")
        yield "Balanced accuracy, tumor types alone", (types["balanced_accuracy"], spread)


def left_out_parts(run: Mapping) -> dict[str, dict]:
    """What was left out, together and by source, with its tumors' figures."""
    together = {" + ".join(map(named, run["left_out"])): run["tumors"]} if run["tumors"] else {}
    parts = {f"– {named(name)}": part for name, part in run["by_source"].items()}
    return together | (parts if len(parts) > 1 else {})


def reliability_rows(test: Mapping, external: Mapping) -> list[tuple[float, float, dict | None, dict | None]]:
    """Edges of each bin of the answer's probability, and the share of right answers here and elsewhere."""
    here, there = ({round(b["from"], 6): b for b in part.get("reliability") or ()} for part in (test, external))
    edges = {start: part["to"] for start, part in sorted((here | there).items())}
    return [(start, end, *(bins.get(start, {}).get("right") for bins in (here, there))) for start, end in edges.items()]


def calibration_rows(test: Mapping, external: Mapping) -> list[tuple[str, dict]]:
    """Calibration of each source."""
    parts = {HERE: test.get("calibration_by_source", {}), ELSEWHERE: external.get("calibration_by_source", {})}
    return [
        (place if name == "external" else f"{place}: {named(name)}", part)
        for place, sources in parts.items()
        for name, part in sources.items()
    ]


def prediction_set_rows(test: Mapping, external: Mapping) -> list[tuple[str, str, dict]]:
    """Figures of the prediction set, of all images and by class."""
    reports = {HERE: test.get("prediction_set"), ELSEWHERE: external.get("prediction_set")}
    return [
        (place, label, part)
        for place, report in reports.items()
        if report
        for label, part in ({"all": report} | {NAMES[n]: part for n, part in report["by_class"].items()}).items()
    ]


def status_rows(test: Mapping, external: Mapping, others: Mapping) -> list[tuple[str, dict]]:
    """How many images of each kind are accepted, doubtful and refused."""
    rows = []
    for place, report in ((HERE.lower(), test), (ELSEWHERE.lower(), external)):
        rows.append((f"Brain MRI, {place}", report.get("refusal")))
        rows.append((f"Diseases without a class, {place}", (report.get("other_pathology") or {}).get("status")))
    rows.append(("Photos, documents, other parts of the body", others))
    return [(what, shares) for what, shares in rows if shares]


# ---- what it gets wrong


def failures_of(test: Mapping, external: Mapping, study: Mapping, config: Mapping) -> dict | None:
    """What the figures show to be weak, by kind, without kinds that are well; None if nothing was measured."""
    if not test and not external:
        return None
    labels, ece = external.get("by_label_and_sequence") or {}, external.get("ece") or {}
    weak = {
        label: [(name, cell["seen"]) for name, cell in cells.items() if name != "all" and _is_weak(label, cell["seen"])]
        for label, cells in labels.items()
    }
    found = {
        "confused": _confused(external),
        "missed": [(label, cells) for label, cells in weak.items() if cells and label != NORMAL],
        "alarms": weak.get(NORMAL),
        "others": external.get("other_pathology"),
        "ece": ece if (ece.get("value") or 0) > TOO_SURE else None,
        "coverage": _too_low((external.get("prediction_set") or {}).get("coverage"), config),
        "collections": [
            (source, part["specificity_tumor"])
            for source, part in (test.get("by_source") or {}).items()
            if part["specificity_tumor"]["value"] is not None and part["specificity_tumor"]["high"] < GOOD
        ],
        "volumes": study["specificity"] if study and study["specificity"]["value"] < GOOD else None,
    }
    return {kind: what for kind, what in found.items() if what}


def _is_weak(label: str, detected: dict) -> bool:
    """Of a tumor, whether too few are detected; of normals, whether too many are called a tumor."""
    return detected["value"] > 1 - GOOD if label == NORMAL else detected["value"] < GOOD


def _confused(report: Mapping) -> list[tuple[str, dict, list[tuple[float, str]]]]:
    """Tumor types with low recall, the worst first, and the classes that they are often taken for."""
    found, confusion = [], report.get("confusion") or {"classes": (), "counts": ()}
    for truth, counts in zip(confusion["classes"], confusion["counts"], strict=True):
        recall, total = report["recall"][truth], sum(counts)
        if truth != NORMAL and total and recall["value"] < GOOD:
            shares = ((count / total, name) for count, name in zip(counts, confusion["classes"], strict=True))
            often = sorted(((part, name) for part, name in shares if name != truth and part >= OFTEN), reverse=True)
            found.append((truth, recall, often))
    return sorted(found, key=lambda one: one[1]["value"])


def _too_low(coverage: dict | None, config: Mapping) -> dict | None:
    aim = config.get("prediction_set", {}).get("coverage")
    return coverage if coverage and aim and coverage["value"] < aim - TOO_SURE else None


# ---- earlier systems


def systems(report: Mapping) -> list[dict]:
    """Each system once: its row of each split, its claims, and the same figures as measured."""
    by_name: dict[str, dict] = {}
    for row in report["rows"]:
        by_name.setdefault(row["system"], {})[row["protocol"]] = row
    found = []
    for name, rows in by_name.items():
        some, ms = next(iter(rows.values())), report["latency"].get("ours" if name == "ours_full" else name)
        claims = "; ".join(f"{CLAIMS[key]} {value:g}" for key, value in some["claimed"].items())
        leaks, here = (
            "; ".join(plain(rows[split]["test"][key]["value"]) for key in some["claimed"]) if split in rows else ""
            for split in ("vendor", "pool")
        )
        facts = {"claims": claims or NOTHING, "leaks": leaks or NOTHING, "here": here or NOTHING, "ms": ms}
        found.append({key: some.get(key) for key in ("title", "size", "assumed")} | facts | rows)
    return found


def trained(row: Mapping | None) -> str:
    """How long, as "2.0 min, 3.1 passes, from ImageNet"."""
    facts = (row or {}).get("trained", {})
    parts = [f"{facts['seconds'] / 60:.1f} min"] if facts.get("seconds") is not None else []
    parts += [f"{facts['passes']:g} passes"] if facts.get("passes") is not None else []
    parts += [f"from {facts['start']}"] if facts.get("start") else []
    return ", ".join(parts + ["stopped early"] * bool(facts.get("stopped_early"))) or NOT_MEASURED


def from_random(report: Mapping) -> bool:
    """Whether a network that should have begun with ImageNet's weights did not find them."""
    return any((row["trained"].get("start") or "").startswith("random:") for row in report["rows"])


# ---- how it was made


def recipe(report: Mapping) -> str:
    """What distinguishes runs of a report, in words."""
    settings = report["settings"]
    return f"{settings['epochs']} epochs at {settings['size']} pixels, seed {settings['seed']}"


def start_of(training: Mapping, retrained: Mapping) -> str:
    """Which weights training began with."""
    init = retrained["start"]["version"] if retrained else training["settings"]["init"]
    words = {"scratch": "From random weights", "imagenet": "From torchvision's ImageNet weights of a MobileNetV2"}
    file = f"From the ImageNet weights of a MobileNetV2 (`{init}`)"
    return words.get(init) or (file if init.endswith((".pt", ".pth")) else f"From the weights of {init}")


def own_seed(seeds: Mapping, run: str, sha256: str) -> str:
    """Which of several seeds the weights are of."""
    for one in seeds["runs"]:
        if one["name"] == run:
            later = "" if one["weights_sha256"] == sha256 else ", exported anew since"
            return f"The weights here are those of seed {one['seed']}{later}."
    return "The weights here are none of these."


def command(training: Mapping, retrained: Mapping) -> str:
    """The command that makes it, with every setting, since defaults change; folders only by their names."""
    settings, program, nbsp = training["settings"], "training.train", "\N{NO-BREAK SPACE}"  # keeps a pair on one line
    if retrained:
        program = "training.retrain"
        settings = {name: value for name, value in settings.items() if name not in set_by(program)}
        settings["steps"] = retrained["steps"]
    values = {n: without_places(v) if n in FOLDERS else v for n, v in settings.items() if v != ""}
    words = [f"python -m {program}", *(f"--{name} {value}" for name, value in values.items())]
    lines = textwrap.wrap(" ".join(word.replace(" ", nbsp) for word in words), 110, break_on_hyphens=False)
    return " \\\n    ".join(lines).replace(nbsp, " ")


def energy(training: Mapping) -> str | None:
    """What training drew, estimated with its terms; None if time or machine were not recorded."""
    hardware, settings = training.get("hardware", {}), training.get("settings", {})
    if "seconds" not in training or "cores" not in hardware:
        return None
    gpu, processes = hardware.get("gpu", ""), training.get("starts", [{}])[-1].get("processes", 1)
    board = next((watts for name, watts in GPU_WATTS.items() if name in gpu), None)
    if gpu and board is None:
        return f"not estimated: the power of {gpu} is not listed in {__name__}"
    cores = processes * settings.get("threads", 0) or (processes if gpu else hardware["cores"])  # a GPU busies a core
    terms = [(f"{processes} x {board} W", processes * board)] if gpu else []
    terms.append((f"{cores} {'core' if cores == 1 else 'cores'} x {CORE_WATTS:g} W", cores * CORE_WATTS))
    memory = hardware.get("memory_gib", 0)
    terms.append((f"{memory} GiB x {MEMORY_WATTS} W", memory * MEMORY_WATTS))
    hours = training["seconds"] / 3600
    total = hours * sum(watts for _, watts in terms) * OVERHEAD / 1000
    return (
        f"about {total:.2g} kWh for this run, the search for its recipe not counted: an estimate from {hours:.2f} h x "
        f"({' + '.join(words for words, _ in terms)}) x {OVERHEAD} for the data center, never metered"
    )
