"""Values of tags as they come: missing, empty, of another type, nonsense."""

import math
from collections.abc import Iterable

from pydicom.dataset import Dataset


def value(data: Dataset | None, keyword: str) -> object:
    """The value of a tag; None where it is missing, empty, or holds what its type does not allow."""
    try:
        found = data.get(keyword) if data is not None else None
    except Exception:  # pydicom converts when asked, and raises whatever the conversion does
        return None
    return None if isinstance(found, str | bytes | Iterable) and not len(found) else found


def text(data: Dataset | None, keyword: str) -> str:
    """Upper case, several values joined by blanks; "" where there is none."""
    found = value(data, keyword)
    if found is None:
        return ""
    parts = found if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    return " ".join(map(str, parts)).upper()


def numbers(data: Dataset | None, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    found = value(data, keyword)
    found = found if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]
    try:
        made = tuple(float(each) for each in found)
    except (TypeError, ValueError, OverflowError):
        return None
    return made if len(made) == count and all(map(math.isfinite, made)) else None


def number(data: Dataset | None, keyword: str) -> float | None:
    """The first of a tag's values, if it is finite."""
    found = value(data, keyword)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        found = next(iter(found))
    try:
        made = float(found)
    except (TypeError, ValueError, OverflowError):
        return None
    return made if math.isfinite(made) else None


def item(data: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    """One data set of a sequence, if there are so many."""
    found = value(data, keyword)
    if not isinstance(found, Iterable) or isinstance(found, str | bytes) or len(found) <= index:
        return None
    return found[index] if isinstance(found[index], Dataset) else None
