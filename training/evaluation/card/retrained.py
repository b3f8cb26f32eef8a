"""What is otherwise in the card of weights that were tuned on a user's own images (training.retrain)."""

from ...settings import set_by
from ..markdown import table

OWN = {  # words of the card that are of the pool -> of the user's own images
    "pool test: patients not in training": "own images: patients not in training",
    "pool test": "own test images",
    "the pool's test split": "the own test images",
    "the pool's validation split": "the validation images",
    "patients like the pool's": "patients like those of the validation images",
    "The pool is split 70/15/15 by group: no patient is in two parts.": (
        "The own images are split by group, unless they came with a split that does so: no patient is in two parts. "
        "Images of the original data, where it was at hand, train and calibrate, but are not in the test images."
    ),
    "Class and source are tied in the public data:": "Class and source are tied in what it started from, public data:",
}


def markdown(retrained: dict) -> str:
    """The comparison with the start, from the section "retrained" of metrics.json; empty if there is none."""
    if not retrained:
        return ""
    start, rows = retrained["start"]["version"], []
    for where, metrics in retrained["sets"].items():
        for row in metrics.values():
            gain, low, high = (f"{row['difference'][key]:+.3f}" for key in ("value", "low", "high"))
            before, after = f"{row['start']:.3f}", f"{row['candidate']:.3f}"
            change = f"{gain} ({low} to {high})"
            rows.append([where, row["title"], before, after, change, f"{row['groups']:,}", row["verdict"]])
    head = ["images", "guarded metric", start, "these weights", "change", "groups", "verdict"]
    told = (
        f"**Tuned from {start} on a user's own images.** Its card tells what those weights were made of; below is what "
        "changed, measured on the same images for both. The other tables are of these weights, on held-out own images."
    )
    return "\n\n".join([told, " ".join(retrained["sentences"]), table(head, rows)])


def in_own_words(card: str) -> str:
    """The card with its words for the pool replaced by those for a user's own images."""
    for pool, own in OWN.items():
        card = card.replace(pool, own)
    return card


def asked(training: dict, retrained: dict) -> dict:
    """The section "training" with the settings that training.retrain was asked for, not those that it decided."""
    decided = set_by("training.retrain")
    settings = {name: value for name, value in training["settings"].items() if name not in decided}
    return training | {"settings": settings | {"steps": retrained["steps"]}}


def begun_from(training: dict, retrained: dict) -> dict:
    """The section "training" with the start by its name, which is more than that of its folder."""
    return training | {"settings": training["settings"] | {"init": retrained["start"]["version"]}}
