"""The name that a file is shown by: it can break neither a line nor a table nor the direction of what is read."""

import unicodedata
from pathlib import PurePath

from . import limits

UNNAMED = "unnamed file"


def shown_name(name: str) -> str:
    """The last part of a path, without control and formatting characters, shortened in the middle to `MAX_NAME`."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    unseen = ("C", "Z")  # categories of Unicode: control and formatting characters, and whatever separates
    shown = "".join(letter for letter in last if letter == " " or not unicodedata.category(letter).startswith(unseen))
    if len(shown) > limits.MAX_NAME:
        half = (limits.MAX_NAME - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    return shown.strip() or UNNAMED


def of_several(names: list[str]) -> str:
    """What a series is called that came in several files: its first file's name, and how many more there are."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def is_left_behind(path: PurePath) -> bool:
    """Whether a system wrote the file for itself: a hidden one (.DS_Store, ._scan.png), or one in __MACOSX."""
    return path.name.startswith(".") or "__MACOSX" in path.parts
