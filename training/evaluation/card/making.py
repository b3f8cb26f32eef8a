"""How it was made: recipe, settings, machine, code, energy."""

import textwrap

from ...settings import FOLDERS, NO_RECIPE, without_places
from ..markdown import NOT_MEASURED
from .energy import energy

WIDTH = 110  # characters of a line of the command
FIRST_STRIDE = 16  # pixels for each cell of the evidence map, in reports that are older than the finer one
NBSP = "\N{NO-BREAK SPACE}"  # keeps an option and its value on one line


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
    if settings.get("unfreeze_at"):
        sentences.append(f"For the first {settings['unfreeze_at']:.0%} of the run the head alone learns.")
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
    if settings.get("volumes"):
        sentences.append(
            f"{settings['volume_share']:.0%} of the heads are tumor-free slices of healthy volumes, in every plane and "
            "tilted at random: neck, skull base and vertex, which the other sources lack."
        )
    if settings.get("blanked"):
        sentences.append(f"{settings['blanked']:.0%} of the heads train with their inside painted over, as no tumor.")
    return " ".join(sentences)


def facts(training: dict) -> str:
    """Machine, time, energy, code and data, as a list."""
    if not training:
        return f"Settings: {NOT_MEASURED}."
    hardware, versions = training.get("hardware", {}), training.get("versions", {})
    told = {
        "on": hardware.get("gpu") or hardware.get("processor"),
        "minutes": f"{training['seconds'] / 60:.0f}" if "seconds" in training else None,
        "energy": energy(training),
        "code": _commits(training.get("starts", [])),
        "data": training.get("data_fingerprint") and f"fingerprint `{training['data_fingerprint'][:16]}`",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return "\n".join(f"- {name}: {fact or 'not recorded'}" for name, fact in told.items())


def command(training: dict, program: str = "training.train") -> str:
    """The command that makes it, with every setting, since defaults change; folders only by their names."""
    settings = training.get("settings")
    if not settings:
        return f"Command: {NOT_MEASURED}."
    values = {
        name: without_places(value) if name in FOLDERS else value for name, value in settings.items() if value != ""
    }
    words = [f"python -m {program}", *(f"--{name} {value}" for name, value in values.items())]
    lines = textwrap.wrap(" ".join(word.replace(" ", NBSP) for word in words), WIDTH, break_on_hyphens=False)
    return "```sh\n" + " \\\n    ".join(lines).replace(NBSP, " ") + "\n```"


def with_differences(metrics: dict) -> dict:
    """`metrics`, its reports of other training runs saying in "differs" where their recipe is not that of the weights.

    "differs" is a list of {name, own, and value: the setting in those runs}; `value` is missing where they are older
    than the setting. How fine the evidence map was counts as a setting, `map_stride`; where a report does not say it,
    it was the first one.
    """
    own = metrics.get("training", {}).get("settings", {})
    cells = metrics.get("test", {}).get("evidence", {}).get("cells")
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


def differences(differs: list[dict]) -> str:
    """A sentence about settings of other runs that are not those of the weights; empty if all are the same."""
    changed = [f"{s['name']} {s['value'] or 'none'} instead of {s['own'] or 'none'}" for s in differs if "value" in s]
    newer = [setting["name"] for setting in differs if "value" not in setting]
    parts = [f"with {', '.join(changed)}"] * bool(changed)
    parts += [f"before there was {', '.join(newer)}"] * bool(newer)
    return f"Not quite the recipe of the weights here: {'; '.join(parts)}." if parts else ""


def _commits(starts: list[dict]) -> str:
    """The commits that a run was started and resumed with; "+" is what git's manual would call a dirty tree."""
    return "; ".join(f"commit `{start['git_commit'] or 'none'}` from epoch {start['epoch']}" for start in starts)
