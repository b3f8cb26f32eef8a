"""What the card's template needs computed: figures as Markdown, rows of tables, failures, sources, the command.

Everything public here is a function and a filter of card.md.j2. Reports are parts of metrics.json: see card.py.
"""

import functools
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from model import CLASSES, DISPLAY_NAMES, NO_TUMOR

from ..settings import FOLDERS, set_by, without_places
from .seeds import AIMS

NOT_MEASURED, NOTHING = "not measured", "–"  # the second where the set cannot tell
NAMES = DISPLAY_NAMES
TUMORS = list(CLASSES[:NO_TUMOR])
RECALLS = [
    (f"{name.capitalize()}: correct class (recall)", f"recall.{label}", "share") for label, name in NAMES.items()
]
NORMAL = CLASSES[NO_TUMOR]
SETS = [  # rows about the prediction set: title, and path in its report
    ("Holds the true class", "coverage"),
    ("Has one class alone", "singletons"),
    ("Is correct where it has one alone", "right_if_single"),
]
REPORTS = {  # section of metrics.json, or path in one -> what the card says is not measured where it is missing
    **{"test": "the test split here", "external": "another source", "vendor": "the vendor split, which leaks"},
    **{"external.other_pathology": "other diseases", "study": "verdicts on volumes", "quantization": "what int8 costs"},
    **{"not_brain_mri": "refusal of other images", "test.evidence": "the evidence map", "training": "recipe and data"},
    **{"phantoms": "the map on drawn heads", "probes": "shortcuts", "seeds": "several seeds", "speed": "speed"},
    **{"leave_source_out": "collections left out of training", "folds": "cross-validation of the whole pool"},
    **{"figshare": "cross-validation of figshare alone", "comparison": "earlier systems"},
}
PLURAL = {name: f"{DISPLAY_NAMES[name]}s" for name in CLASSES} | {NORMAL: "tumor-free slices"}
GOOD, OFTEN = 0.9, 0.1  # shares of right answers below which, and of wrong ones above which, a failure is named
TOO_SURE = 0.05  # a calibration error above which probabilities are said to mislead
CLAIMS = {  # of a system's project -> in words
    **{"accuracy": "accuracy, 4 classes", "macro_f1": "macro-F1", "f2_macro": "macro-F2"},
    **{"accuracy_tumor": "accuracy, tumor or none", "f1_tumor": "F1, tumor or none"},
}


class Source(NamedTuple):
    """A published collection."""

    title: str  # Markdown
    license: str
    gives: str
    names: dict[str, str]  # in manifests -> as a reader knows that part
    dataset: str = ""  # its id on the Hub, for the card's front matter, if its owner has put it there


KAGGLE = "https://www.kaggle.com/datasets"
SOURCES = tuple(Source(*row) for row in (
    ("[Brain tumor dataset (Cheng)](https://figshare.com/articles/dataset/brain_tumor_dataset/1512427)", "CC BY 4.0",
        "glioma, meningioma, pituitary tumor; T1C+", {"figshare": "figshare"}),
    (f"[Br35H]({KAGGLE}/ahmedhamada0/brain-tumor-detection)", "see its page", "no tumor; tumor of unknown type",
        {"br35hno": "Br35H, tumor-free", "br35hyes": "Br35H, tumors"}),
    (f"[Brain MRI images (Navoneel)]({KAGGLE}/navoneel/brain-mri-images-for-brain-tumor-detection)", "see its page",
        "no tumor; tumor of unknown type", {"navoneel": "Navoneel"}),
    (f"[Brain tumor classification (Sartaj)]({KAGGLE}/sartajbhuvaji/brain-tumor-classification-mri)", "see its page",
        "all classes; web images, noisy labels", {"sartaj": "Sartaj"}, "sartajbhuvaji/Brain-Tumor-Classification"),
    (f"[Brain Tumor MRI Dataset]({KAGGLE}/masoudnickparvar/brain-tumor-mri-dataset)", "CC0",
        "all classes; the split that most projects quote", {"nickparvar": "Nickparvar"}),
    ("[TCGA-LGG](https://www.cancerimagingarchive.net/collection/tcga-lgg/), "
        f"masks by [Buda]({KAGGLE}/mateuszbuda/lgg-mri-segmentation)", "CC BY 3.0, masks CC BY-NC-SA 4.0",
        "glioma, no tumor; T1, T1C+, FLAIR",
        {f"tcga_lgg_{hospital}": f"TCGA-LGG, hospital {hospital.upper()}" for hospital in ("du", "ht", "ez")}),
))  # fmt: skip


def _with_interval(measured: dict | None, scale: float, spelling: str, unit: str = "") -> str:
    if not measured:
        return NOT_MEASURED if measured is None else NOTHING
    if measured.get("value") is None:
        return NOTHING
    value, low, high = (f"{scale * measured[name]:{spelling}}" for name in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def figure(measured: dict | None) -> str:
    """A figure {value, low, high} as "0.912 (0.881 to 0.940)"; a dash where the set cannot tell."""
    return _with_interval(measured, 1, ".3f")


def share(measured: dict | None) -> str:
    """A share {value, low, high}, 0..1, as "91.2 % (88.1 to 94.0)"; a dash where the set cannot tell."""
    return _with_interval(measured, 100, ".1f", " %")


def sizes(part: dict | None) -> str:
    """What a figure rests on, as "1,402 (621 groups)", from `n` and `n_groups`."""
    return f"{part['n']:,} ({part['n_groups']:,} groups)" if part else NOT_MEASURED


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


def seed_rows(seeds: Mapping) -> dict[str, list[str]]:
    """Figures that several seeds aimed at, "missed" and "met": mean, range and aim of each in words."""
    spread, rows = {row["key"]: row for row in seeds["rows"]}, {"Missed": [], "Met": []}
    for aim in AIMS:
        known = [value for value in spread.get(aim.key, {}).get("values", ()) if value is not None]
        if known and str(aim) != NOTHING:
            mean, low, high = (f"{spread[aim.key][name]:.{aim.decimals}f}" for name in ("mean", "low", "high"))
            rows["Met" if aim.met_by(known) else "Missed"].append(f"{aim.what} {mean}, {low} to {high} (aim {aim})")
    return rows


def status_rows(test: Mapping, external: Mapping, others: Mapping) -> list[tuple[str, dict]]:
    """How many images of each kind are accepted, doubtful and refused."""
    rows = {
        "Brain MRI, here": test.get("refusal"),
        "Brain MRI, elsewhere": external.get("refusal"),
        "Diseases without a class, elsewhere": (external.get("other_pathology") or {}).get("status"),
        "Photos, documents, other parts of the body": others,
    }
    return [(what, shares) for what, shares in rows.items() if shares]


def unmeasured(metrics: Mapping) -> list[str]:
    """What nothing in metrics.json is about, in words."""
    found = {
        path: functools.reduce(lambda part, name: (part or {}).get(name), path.split("."), metrics) for path in REPORTS
    }
    return [REPORTS[path] for path, part in found.items() if not part]


# ---- what it gets wrong


def failures_of(test: Mapping, external: Mapping, study: Mapping, config: Mapping) -> dict | None:
    """What the figures show to be weak, by kind, without kinds that are well; None if nothing was measured."""
    if not test and not external:
        return None
    weak = {label: [] for label in external.get("by_label_and_sequence") or {}}
    for label, cells in (external.get("by_label_and_sequence") or {}).items():
        for sequence, part in ((name, cell["seen"]) for name, cell in cells.items() if name != "all"):
            if part["value"] > 1 - GOOD if label == NORMAL else part["value"] < GOOD:
                weak[label].append((sequence, part))
    ece, coverage = external.get("ece"), (external.get("prediction_set") or {}).get("coverage")
    aim = config.get("prediction_set", {}).get("coverage")
    found = {
        "confused": _confused(external),
        "missed": [(label, cells) for label, cells in weak.items() if cells and label != NORMAL],
        "alarms": weak.get(NORMAL),
        "others": external.get("other_pathology"),
        "ece": ece if ece and (ece["value"] or 0) > TOO_SURE else None,
        "coverage": coverage if coverage and aim and coverage["value"] < aim - TOO_SURE else None,
        "volumes": study["specificity"] if study and study["specificity"]["value"] < GOOD else None,
    }
    return {kind: what for kind, what in found.items() if what}


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


def systems(report: Mapping) -> list[dict]:
    """Each earlier system once: its row of each split, what its project claims, and the same figures as measured."""
    by_name: dict[str, dict] = {}
    for row in report["rows"]:
        by_name.setdefault(row["system"], {})[row["protocol"]] = row
    found = []
    for rows in by_name.values():
        some = next(iter(rows.values()))
        claims = "; ".join(f"{CLAIMS[key]} {value:g}" for key, value in some["claimed"].items())
        here, leaks = (
            "; ".join(plain(rows[split]["test"][key]["value"]) for key in some["claimed"]) if split in rows else ""
            for split in ("pool", "vendor")
        )
        measured_here = f"{here or NOT_MEASURED} ({leaks})" if leaks else here
        found.append({"title": some["title"], "claims": claims or NOTHING, "here": measured_here or NOTHING} | rows)
    return found


# ---- how it was made


def start_of(training: Mapping, retrained: Mapping) -> str:
    """Which weights training began with."""
    init = retrained["start"]["version"] if retrained else training["settings"]["init"]
    words = {"scratch": "From random weights", "imagenet": "From torchvision's ImageNet weights of a MobileNetV2"}
    file = f"From the ImageNet weights of a MobileNetV2 (`{init}`)"
    return words.get(init) or (file if init.endswith((".pt", ".pth")) else f"From the weights of {init}")


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
