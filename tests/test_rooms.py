"""The rooms of the house, by what their files import: who may import whom, and what requirements.txt must ask for."""

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.server import REPOSITORY

LISTS = {  # who imports -> the list that is installed for it: requirements….txt; the longest path counts
    **{"app": "", "model": "", "page": "", "service": ""},
    **{"model.batch": "-batch", "training": "-training"},
    **{"docs": "-dev", "examples": "-dev", "tests": "-dev"},
}
RUN_ELSEWHERE = "modeling_brain_tumor"  # by transformers, of whoever loads what was published
OTHERWISE_CALLED = {
    "PIL": "pillow",
    "gdcm": "python-gdcm",
    "markdown_it": "markdown-it-py",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
NOT_IMPORTED = {"python-multipart", "onnxscript", "pytest-playwright", "pytest-xdist", "ruff"}  # by us
FORBIDDEN = {  # a room, or a part of it -> what it never imports
    "model": ("torch", "training", "page", "service", "app"),
    "page": ("torch", "training", "service", "app"),
    "service": ("torch", "training", "page", "app"),
    "training": ("page", "service", "app"),
    "training.data": ("training.export", "training.evaluation"),
}
RETRAINING = ("service.retraining.worker", "training")  # in a process that the service starts with what only it needs


@cache
def modules() -> dict[str, Path]:
    """Every file of ours, by the module's full name; of a package, the package's."""
    files = [file for top in LISTS if "." not in top for file in (REPOSITORY / top).rglob("*.py")]
    files = [file for file in (REPOSITORY / "app.py", *files) if file.stem != RUN_ELSEWHERE]
    paths = [file.relative_to(REPOSITORY).with_suffix("") for file in files]
    return {".".join(path.parts).removesuffix(".__init__"): file for path, file in zip(paths, files, strict=True)}


def statements(node: ast.AST):
    """Every import below `node` that may be run: not those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from statements(child)


@cache
def imports(name: str) -> frozenset[str]:
    """Full names of what a module of ours imports: modules of ours, and things of others."""
    file, found = modules()[name], set()
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in statements(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = package[: len(package) + 1 - node.level] if node.level else []
        source = ".".join(filter(None, [*base, node.module]))
        things = {f"{source}.{alias.name}" for alias in node.names}
        found |= things & modules().keys() or ({source} if source in modules() else things)
    return frozenset(found)


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def foreign(name: str) -> set[str]:
    """What a module of ours imports of others."""
    ours = {room.partition(".")[0] for room in LISTS} | sys.stdlib_module_names
    return {other for other in imports(name) if other.partition(".")[0] not in ours}


def distributions(name: str) -> set[str]:
    """What is to be installed for what a module of ours imports."""
    packages = {other.partition(".")[0] for other in foreign(name)}
    return {OTHERWISE_CALLED.get(package, package.replace("_", "-")) for package in packages}


def required(name: str) -> set[str]:
    """What requirements{name}.txt asks for, by itself and through the lists that it includes."""
    text = (REPOSITORY / f"requirements{name}.txt").read_text()
    included = re.findall(r"^-r requirements(.*)\.txt", text, re.MULTILINE)
    return set(re.findall(r"^[a-z][\w.-]*", text, re.MULTILINE)).union(*map(required, included))


def test_the_rooms_are_found():
    assert {name.partition(".")[0] for name in modules()} == {room.partition(".")[0] for room in LISTS}
    assert "model.graph" in imports("model.classifier") and "onnxruntime" in imports("model.graph")


@pytest.mark.parametrize("room", FORBIDDEN)
def test_nothing_points_back(room):
    arrows = {(name, other) for name in modules() if is_in(name, room) for other in imports(name)}
    wrong = {arrow for arrow in arrows if any(is_in(arrow[1], forbidden) for forbidden in FORBIDDEN[room])}
    assert not {arrow for arrow in wrong if not all(map(is_in, arrow, RETRAINING))}


def test_no_modules_import_each_other():
    graph = {name: [other for other in imports(name) if other in modules() and other != name] for name in modules()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize("name", sorted(set(LISTS.values())))
def test_what_is_imported_is_required_where_it_is_imported(name):
    lists = {one: LISTS[max((room for room in LISTS if is_in(one, room)), key=len)] for one in modules()}
    missing = {one: distributions(one) - required(name) for one, its in lists.items() if its == name}
    assert not {one: names for one, names in missing.items() if names}


def test_what_is_required_is_used_and_nothing_private_is_imported():
    assert required("-dev") == set().union(*map(distributions, modules())) | NOT_IMPORTED
    assert not {(name, other) for name in modules() for other in foreign(name) if re.search(r"\._(?!_)", other)}
