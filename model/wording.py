"""Numbers and lists as a reader meets them, wherever the model speaks."""

from collections.abc import Sequence


def percent(probability: float) -> str:
    """A probability for reading; never a certainty that no model has."""
    if probability > 0.99:
        return "over 99 %"
    if probability < 0.01:
        return "under 1 %"
    return f"{100 * probability:.0f} %"


def either(names: Sequence[str]) -> str:
    """ "glioma", "glioma or meningioma", "glioma, meningioma or no tumor"."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def many(count: int, what: str) -> str:
    """ "1 slice", "155 slices"; `what` in the singular, of a word that takes an s."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """ "4 ms", "0.37 s", "12 s"."""
    if seconds < 0.1:
        return f"{max(1, round(1000 * seconds))} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
