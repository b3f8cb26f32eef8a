"""From which images it was made: collections, with images and groups of each part."""

from .markup import NOTHING, missing, paragraph, table

NAMES = {  # of a collection in manifests -> as its publisher is known
    "figshare": "figshare (Cheng)",
    "br35hno": "Br35H, tumor-free",
    "br35hyes": "Br35H, tumors",
    "navoneel": "Navoneel",
    "sartaj": "Sartaj",
    "nickparvar": "Nickparvar",
    "tcga_lgg_du": "TCGA-LGG, hospital DU",
    "tcga_lgg_ht": "TCGA-LGG, hospital HT",
    "tcga_lgg_ez": "TCGA-LGG, hospital EZ",
    "ds002748": "OpenNeuro ds002748",
    "phantom": "drawn heads",
}
PARTS = {"train": "Training", "val": "Validation", "test": "Test"}


def data(metrics: dict, config: dict) -> str:
    """The table, and what was left out of it and why."""
    training = metrics.get("training") or {}
    counts = training.get("sources")
    if not counts:
        return missing("Images by collection")
    rows = [[NAMES.get(name, name), *_cells(splits)] for name, splits in counts.items()]
    totals = {part: sum(splits.get(part, {}).get("images", 0) for splits in counts.values()) for part in PARTS}
    rows.append(["<b>All</b>", *(f"<b>{total:,}</b>" for total in totals.values())])  # a group may be in several
    settings, notes = training.get("settings", {}), []
    if training.get("left_out"):
        notes.append(
            f"Training and validation went without {training['left_out']:,} images, because a held-out image looks the "
            "same or because what they show contradicts their label."
        )
    if settings.get("phantoms"):
        notes.append(
            f"{settings['phantoms']:,} heads drawn by a program took part in training. The same program drew the "
            "examples on this page: an example's answer says nothing about how good the model is."
        )
    return (
        paragraph(
            "Collections of single slices. All slices of a patient are in one part: training teaches the "
            "network, validation sets its limits, test is only measured. Images, and groups in small print; a group "
            "may lie in several collections."
        )
        + table(["Collection", *PARTS.values()], rows, "Images by collection and part")
        + "".join(map(paragraph, notes))
    )


def _cells(splits: dict) -> list[str]:
    """Images and groups of each part."""
    counted = [splits.get(part) for part in PARTS]
    return [f"{part['images']:,} <small>{part['groups']:,}</small>" if part else NOTHING for part in counted]
