"""Figures as Markdown, the same in the card and the README."""

NOT_MEASURED = "not measured"
NOTHING = "–"  # the set cannot tell


def figure(measured: dict | None) -> str:
    """A figure {value, low, high} as "0.912 (0.881 to 0.940)"; a dash where the set cannot tell."""
    return _with_interval(measured, "{:.3f}".format, "")


def share(measured: dict | None) -> str:
    """A share {value, low, high}, 0..1, as "91.2 % (88.1 to 94.0)"; a dash where the set cannot tell."""
    return _with_interval(measured, lambda value: f"{100 * value:.1f}", " %")


def sizes(part: dict | None) -> str:
    """What a figure rests on, as "1,402 (621 groups)", from `n` and `n_groups`."""
    return f"{part['n']:,} ({part['n_groups']:,} groups)" if part else NOT_MEASURED


def _with_interval(measured, spelled, unit: str) -> str:
    if measured is None or not isinstance(measured, dict):
        return NOT_MEASURED
    if measured.get("value") is None:
        return NOTHING
    return f"{spelled(measured['value'])}{unit} ({spelled(measured['low'])} to {spelled(measured['high'])})"
