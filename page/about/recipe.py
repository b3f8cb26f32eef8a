"""Whether a report of other training runs is of the recipe that the weights were made by."""

SPELLED = {
    "size": "images of {} instead of {} pixels",
    "epochs": "{} instead of {} rounds of training",
    "map_stride": "an evidence map with a cell each {} instead of {} pixels",
}


def differences(report: dict) -> str:
    """A sentence if the networks of `report` were made by another recipe than these weights; else nothing.

    Which settings make the recipe is known to training alone: `report["differs"]`, as training.evaluation.card writes it.
    """
    told = []
    for setting in report.get("differs", []):
        name = setting["name"]
        if "value" in setting:
            spelled = SPELLED.get(name, name + " {} instead of {}")
            told.append(spelled.format(*(setting[key] or "none" for key in ("value", "own"))))
        else:
            told.append(f"before there was {name}")
    return f"<b>Not quite the recipe of the weights here</b>: {', '.join(told)}." if told else ""
