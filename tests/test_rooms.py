"""The rooms of the house: who may import whom, by what stands in the files, wherever in them it stands."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.server import REPOSITORY

TOPS = ("app.py", "model", "page", "service", "training")
RUN_ELSEWHERE = "modeling_brain_tumor"  # by transformers, of whoever loads what was published
FORBIDDEN = {  # a room, or a part of it -> what it never imports
    "model": ("torch", "training", "page", "service", "app"),
    "page": ("torch", "training", "service", "app"),
    "service": ("torch", "training", "page", "app"),
    "training": ("page", "service", "app"),
    "training.data": ("training.export", "training.evaluation"),
}
ALLOWED = {  # for the process that retrains, which the service starts with what only it needs
    ("service.retraining.worker", "training"),
}


def name_of(file: Path) -> str:
    """The module's full name; of a package, the package's."""
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    """Every file of ours, by the module's full name."""
    places = [REPOSITORY / top for top in TOPS]
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*.py"))]
    return {name_of(file): file for file in files if file.stem != RUN_ELSEWHERE}


def is_for_types(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING`, under which nothing is imported when the program runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node: ast.AST):
    """Every import below `node` that may be run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not is_for_types(child):
            yield from statements(child)


@cache
def imports(name: str) -> frozenset[str]:
    """Full names of the modules that a module of ours imports, those of others as they are written."""
    file, found = modules()[name], set()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in statements(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        source = ".".join([*base, *([node.module] if node.module else [])])
        inner = {f"{source}.{alias.name}" for alias in node.names} & modules().keys()
        found |= inner or {source}
    return frozenset(found)


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def test_the_rooms_are_found():
    assert {name.partition(".")[0] for name in modules()} == {top.removesuffix(".py") for top in TOPS}
    assert "model.graph" in imports("model.classifier") and "onnxruntime" in imports("model.graph")


@pytest.mark.parametrize("room", FORBIDDEN)
def test_nothing_points_back(room):
    arrows = {(name, other) for name in modules() if is_in(name, room) for other in imports(name)}
    wrong = {
        (name, other)
        for name, other in arrows
        if any(is_in(other, forbidden) for forbidden in FORBIDDEN[room])
        and not any(is_in(name, one) and is_in(other, another) for one, another in ALLOWED)
    }
    assert not wrong


def test_no_modules_import_each_other():
    graph = {name: [other for other in imports(name) if other in modules() and other != name] for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
