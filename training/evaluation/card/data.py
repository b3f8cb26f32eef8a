"""From which images it was made: sources with their licenses, and how many images and groups each gave."""

from collections import defaultdict
from typing import NamedTuple

from ..markdown import NOT_MEASURED, table


class Source(NamedTuple):
    """A published collection."""

    title: str  # Markdown
    license: str
    gives: str
    names: tuple[str, ...]  # in manifests
    dataset: str  # its id on the Hub, for the card's front matter; "" if its owner has not put it there


KAGGLE = "https://www.kaggle.com/datasets"
SOURCES = (
    Source(
        "[Brain tumor dataset (Cheng)](https://figshare.com/articles/dataset/brain_tumor_dataset/1512427)",
        "CC BY 4.0",
        "glioma, meningioma, pituitary tumor; T1C+",
        ("figshare",),
        "",
    ),
    Source(
        f"[Br35H]({KAGGLE}/ahmedhamada0/brain-tumor-detection)",
        "see its page",
        "no tumor; tumor of unknown type",
        ("br35hno", "br35hyes"),
        "",
    ),
    Source(
        f"[Brain MRI images (Navoneel)]({KAGGLE}/navoneel/brain-mri-images-for-brain-tumor-detection)",
        "see its page",
        "no tumor; tumor of unknown type",
        ("navoneel",),
        "",
    ),
    Source(
        f"[Brain tumor classification (Sartaj)]({KAGGLE}/sartajbhuvaji/brain-tumor-classification-mri)",
        "see its page",
        "all classes; web images, noisy labels",
        ("sartaj",),
        "sartajbhuvaji/Brain-Tumor-Classification",
    ),
    Source(
        f"[Brain Tumor MRI Dataset]({KAGGLE}/masoudnickparvar/brain-tumor-mri-dataset)",
        "CC0",
        "all classes; the split that most projects quote",
        ("nickparvar",),
        "",
    ),
    Source(
        "[TCGA-LGG](https://www.cancerimagingarchive.net/collection/tcga-lgg/), "
        f"masks by [Buda]({KAGGLE}/mateuszbuda/lgg-mri-segmentation)",
        "CC BY 3.0; what is derived from the masks CC BY-NC-SA 4.0",
        "glioma, no tumor; T1, T1C+, FLAIR",
        ("tcga_lgg_du", "tcga_lgg_ht", "tcga_lgg_ez"),
        "",
    ),
    Source(
        "[OpenNeuro ds002748](https://openneuro.org/datasets/ds002748)",
        "CC0",
        "no tumor; T1, skull-stripped",
        ("ds002748",),
        "",
    ),
    Source("drawn heads (`training/phantoms`)", "MIT", "all classes; no patient", ("phantom",), ""),
)
SPLITS = ("train", "val", "test")


def count_by_source(records) -> dict[str, dict[str, dict[str, int]]]:
    """{source: {split: {images, groups}}} of `training.data.frames.Record`s, for metrics.json."""
    groups = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.source][record.split].append(record.group)
    return {
        source: {split: {"images": len(names), "groups": len(set(names))} for split, names in sorted(splits.items())}
        for source, splits in sorted(groups.items())
    }


def sources(training: dict) -> str:
    """The table of the images; a source that nobody published stands there with its bare name."""
    counts = training.get("sources")
    if not counts:
        return f"Images by source: {NOT_MEASURED}."
    rows = [[*source[:3], *_cells(counts, source.names)] for source in _published(counts)]
    known = {name for source in SOURCES for name in source.names}
    own = [name for name in counts if name not in known]
    rows += [[name, "not published", "its own images", *_cells(counts, (name,))] for name in own]
    return table(["source", "license", "gives", "training: images (groups)", "validation", "test"], rows)


def _published(counts: dict) -> list[Source]:
    """The published collections that took part."""
    return [source for source in SOURCES if set(source.names) & set(counts)]


def _cells(counts: dict, names: tuple[str, ...]) -> list[str]:
    """Images (groups) of the three splits."""
    parts = {split: [counts.get(name, {}).get(split, {}) for name in names] for split in SPLITS}
    sums = ((sum(part.get(unit, 0) for part in parts[split]) for unit in ("images", "groups")) for split in SPLITS)
    return [f"{images:,} ({groups:,})" for images, groups in sums]


def only_measured(metrics: dict) -> str:
    """What took part in measuring alone."""
    external = (
        "Only measured, never trained on: "
        f"[Brain Tumor MRI Images 44 Classes]({KAGGLE}/fernando2rad/brain-tumor-mri-images-44c) (from Radiopaedia, "
        "non-commercial), the external column."
    )
    vendor = (
        "Trained and measured for the vendor column alone, by other weights than these: "
        f"[Brain Tumor MRI Dataset]({KAGGLE}/masoudnickparvar/brain-tumor-mri-dataset) (CC0)."
    )
    told = {"external": external, "vendor": vendor}
    return " ".join(sentence for section, sentence in told.items() if metrics.get(section))


def front_matter(training: dict) -> str:
    """The lines of the front matter that say where the weights come from: data sets, and weights tuned further.

    Both are of the Hub. ImageNet's weights of a MobileNetV2 that are there are other ones than torchvision's.
    """
    lines = [f"- {source.dataset}" for source in _published(training.get("sources", {})) if source.dataset]
    if lines:
        lines.insert(0, "datasets:")
    start = training.get("settings", {}).get("init", "")
    if start.count("/") == 1 and not start.endswith((".pt", ".pth")):  # ORG/NAME of the Hub, as --init takes it
        lines.append(f"base_model: {start.split('@')[0]}")
    return "\n".join(lines)
