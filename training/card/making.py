"""From what it was made: sources, settings, machine, code."""

from collections import defaultdict

from ..markdown import NOT_MEASURED

SOURCES = {  # places in card.md, less "_counts" -> names in the manifest
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


def sources(training: dict) -> dict[str, str]:
    """The cells of each row of the table of sources: images (groups) of the three splits."""
    return {f"{place}_counts": _counts(training, names) for place, names in SOURCES.items()}


def _counts(training: dict, names: tuple[str, ...]) -> str:
    """Three cells of the table of sources: images (groups) of each split."""
    counts = training.get("sources", {})
    cells = []
    for split in ("train", "val", "test"):
        parts = [counts.get(name, {}).get(split, {}) for name in names]
        images, groups = (sum(part.get(unit, 0) for part in parts) for unit in ("images", "groups"))
        cells.append(f"{images:,} ({groups:,})" if counts else NOT_MEASURED)
    return " | ".join(cells)


def phantoms(training: dict) -> str:
    """Whether drawn heads took part."""
    drawn = training.get("settings", {}).get("phantoms")
    if not drawn:
        return ""
    return (
        f"{drawn:,} drawn heads (`training/phantoms`) took part in training as domain randomization; the same code "
        "draws the examples of the page, so that an example's answer says nothing about quality."
    )


def left_out(training: dict) -> str:
    """How many images training and validation went without, and why."""
    count = training.get("left_out")
    if not count:
        return ""
    reason = "a held-out image of another group looks the same"
    if training.get("settings", {}).get("set_aside"):
        reason += ", or what they show contradicts their label (the test images were not sifted like this)"
    return f"Training and validation went without {count:,} images: {reason}."


def set_aside(training: dict) -> str:
    """What was taken out of training and validation by hand, as a point of the list on how it was measured."""
    if not training.get("settings", {}).get("set_aside"):
        return ""
    return (
        "- Images that show a lesion although they are labeled tumor-free were taken out of training and validation "
        f"(`training/{training['settings']['set_aside']}`). They were found among the answers of earlier runs that "
        "looked wrong, so what validation says flatters. The test split was neither looked at nor sifted."
    )


def recipe(training: dict) -> str:
    """How it was trained, in words that follow from the settings."""
    settings = training.get("settings")
    if not settings:
        return f"Recipe: {NOT_MEASURED}."
    starts = {"scratch": "From random weights", "imagenet": "From torchvision's MobileNetV2 weights for ImageNet"}
    file = f"From the ImageNet weights of a MobileNetV2 (`{settings['init']}`)"
    start = file if settings["init"].endswith((".pt", ".pth")) else f"From the weights of {settings['init']}"
    start = starts.get(settings["init"], start)
    kept = (
        f", of which the first {settings['frozen']} blocks, the stem among them, stay as they are"
        if settings.get("frozen") and settings["init"] != "scratch"
        else ""
    )
    sentences = [f"{start}{kept}."]
    if settings.get("position_weight"):
        sentences.append(
            'Where the tumor\'s box is known, positions inside it learn its class and positions outside it "no tumor".'
        )
    sentences.append(
        "Images that are only known to show a tumor train P(tumor). Framing, intensity curve, bias field, sharpness "
        "and noise are drawn anew for each image."
    )
    begin = settings.get("transplants_from", 1)
    if begin < 1:
        when = f"After {begin:.0%} of the run, lesions" if begin else "Lesions"
        sentences.append(f"{when} are covered with healthy tissue or moved into tumor-free heads of other sources.")
    mild = settings.get("mild_from", 1)
    if mild < 1:
        sentences.append(f"After {mild:.0%} of the run the augmentation is milder, and fewer lesions are covered.")
    if settings.get("blanked"):
        sentences.append(f"{settings['blanked']:.0%} of the heads train with their inside painted over, as no tumor.")
    return " ".join(sentences)


def facts(training: dict) -> str:
    """Machine, time, code, data and settings, as a list."""
    if not training:
        return f"Settings: {NOT_MEASURED}."
    hardware, versions = training.get("hardware", {}), training.get("versions", {})
    told = {
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
    return "\n".join(f"- {name}: {fact or 'not recorded'}" for name, fact in told.items())


def _commits(starts: list[dict]) -> str:
    """The commits that a run was started and resumed with; "+" is what git's manual would call a dirty tree."""
    return "; ".join(f"commit `{start['git_commit'] or 'none'}` from epoch {start['epoch']}" for start in starts)
