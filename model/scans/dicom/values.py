"""Values of tags as they come: missing, empty, of another type, nonsense."""

import math
from collections.abc import Iterable

from pydicom.dataset import Dataset


def value(data: Dataset | None, keyword: str) -> object:
    """The value of a tag; None where it is missing or empty; as text, where its type does not allow what it holds."""
    try:
        found = data.get(keyword) if data is not None else None
    except Exception:  # pydicom converts when asked, and raises whatever the conversion does
        found = _as_text(data, keyword)
    return None if isinstance(found, str | bytes | Iterable) and not len(found) else found


def _as_text(data: Dataset, keyword: str) -> list[str] | None:
    try:
        raw = data.get_item(keyword).value
    except Exception:  # here, too
        return None
    return raw.decode("latin-1").strip(" \0").split("\\") if isinstance(raw, bytes) else None


def texts(data: Dataset | None, keyword: str) -> list[str]:
    """Each of a tag's values in upper case, without blanks around it."""
    found = value(data, keyword)
    if found is None:
        return []
    return [str(part).strip().upper() for part in _several(found)]


def text(data: Dataset | None, keyword: str) -> str:
    """Upper case, several values joined by blanks; "" where there is none."""
    return " ".join(texts(data, keyword))


def numbers(data: Dataset | None, keyword: str, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, or None."""
    made = tuple(map(_number, _several(value(data, keyword))))
    return made if len(made) == count and None not in made else None


def number(data: Dataset | None, keyword: str) -> float | None:
    """The first of a tag's values, if it is finite."""
    return _number(next(iter(_several(value(data, keyword))), None))


def _several(found: object) -> Iterable:
    return found if isinstance(found, Iterable) and not isinstance(found, str | bytes) else [found]


def _number(found: object) -> float | None:
    """A finite number, also of a text with a decimal comma, or None."""
    try:
        made = float(found.replace(",", ".") if isinstance(found, str) else found)
    except (TypeError, ValueError, OverflowError):
        return None
    return made if math.isfinite(made) else None


def item(data: Dataset | None, keyword: str, index: int = 0) -> Dataset | None:
    """One data set of a sequence, if there are so many."""
    found = value(data, keyword)
    if not isinstance(found, Iterable) or isinstance(found, str | bytes) or len(found) <= index:
        return None
    return found[index] if isinstance(found[index], Dataset) else None
