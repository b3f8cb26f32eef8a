"""What is imported is required by the list that goes with whoever imports it, and is used; and nothing is private."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import REPOSITORY

LISTS = {  # who imports -> the list that is installed for it: requirements….txt; the longest path counts
    **{"app.py": "", "model": "", "page": "", "service": ""},
    **{"model/batch.py": "-batch", "training": "-training"},
    **{"docs": "-dev", "examples": "-dev", "tests": "-dev"},
}
RUN_ELSEWHERE = "training/publishing/modeling_brain_tumor.py"  # by transformers, of whoever loads what was published
OURS = {path.partition("/")[0].removesuffix(".py") for path in LISTS}
OTHERWISE_CALLED = {"PIL": "pillow", "gdcm": "python-gdcm", "sklearn": "scikit-learn", "yaml": "pyyaml"}
NOT_IMPORTED = {  # by us, but by what we ask to do something, or from the command line
    *("python-multipart", "onnxscript", "pytest-playwright", "pytest-xdist", "ruff"),
}


def required(name: str) -> set[str]:
    """What requirements{name}.txt asks for, by itself and through the lists that it includes."""
    text = (REPOSITORY / f"requirements{name}.txt").read_text()
    included = re.findall(r"^-r requirements(.*)\.txt", text, re.MULTILINE)
    return set(re.findall(r"^[a-z][\w.-]*", text, re.MULTILINE)).union(*map(required, included))


def sources() -> Iterator[tuple[Path, str]]:
    """Each file of ours, and the name of its list."""
    for top in sorted(path for path in LISTS if "/" not in path):
        place = REPOSITORY / top
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            path = file.relative_to(REPOSITORY)
            if str(path) != RUN_ELSEWHERE:
                yield file, next(LISTS[str(one)] for one in (path, *path.parents) if str(one) in LISTS)


def imported(file: Path) -> set[str]:
    """The full name of each thing of others that the file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] not in OURS | sys.stdlib_module_names}


def distributions(file: Path) -> set[str]:
    """What is to be installed for what the file imports."""
    packages = {name.partition(".")[0] for name in imported(file)}
    return {OTHERWISE_CALLED.get(package, package.replace("_", "-")) for package in packages}


@pytest.mark.parametrize("name", sorted(set(LISTS.values())))
def test_what_is_imported_is_required_where_it_is_imported(name):
    missing = {str(file): distributions(file) - required(name) for file, its in sources() if its == name}
    assert not {file: names for file, names in missing.items() if names}


def test_what_is_required_is_used():
    used = set().union(*(distributions(file) for file, _ in sources()))
    assert required("-dev") == used | NOT_IMPORTED


def test_nothing_private_is_imported():
    assert not {name for file, _ in sources() for name in imported(file) if re.search(r"\._(?!_)", name)}
