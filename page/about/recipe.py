"""Whether a report of other training runs is of the recipe that the weights were made by."""

# Settings that change no figure, or that say what a report is of; training/card/making.py leaves out the same.
NO_RECIPE = {
    *("data", "out", "not_brain", "set_aside", "cache", "sources", "leave_out", "folds", "fold"),
    *("seed", "patience", "shards", "compile", "threads", "log_every", "save_minutes"),
}
SPELLED = {"size": "images of {} instead of {} pixels", "epochs": "{} instead of {} rounds of training"}


def differences(report: dict, metrics: dict) -> str:
    """A sentence if the networks of `report` were made by another recipe than these weights; else nothing."""
    settings, own = report.get("settings"), metrics.get("training", {}).get("settings")
    if not settings or not own:
        return ""
    told = []
    for name in own:
        if name in NO_RECIPE or settings.get(name) == own[name]:
            continue
        if name not in settings:
            told.append(f"before there was {name}")
        else:
            spelled = SPELLED.get(name, name + " {} instead of {}")
            told.append(spelled.format(*(one[name] or "none" for one in (settings, own))))
    return f"<b>Not quite the recipe of the weights here</b>: {', '.join(told)}." if told else ""
