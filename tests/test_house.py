"""The house stands as docs/architecture.md draws it: arrows point down, files stay short, nothing is unpickled."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "weightwalk"

# Floors from the ground up. A room imports from lower floors, and from itself; never from its own floor's neighbours,
# never upwards.
FLOORS = (
    {"errors"},
    {"walks"},
    {"recorder"},
    {"readings"},
    {"formulas", "ledger"},
    {"language"},
    {"learning"},
    {"nets"},
    {"lab"},
    {"show"},
    {"web"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

# Doors upstairs: methods by which a person asks a walk for a reading (`walk.verify()`), imported when called. Besides
# these, a fact may ask the show room how it looks, in the methods that print it. Each entry: (file, room it may reach).
DOORS = {
    ("walks/model.py", "readings"),  # Step.zoom
    ("learning/tasks.py", "nets"),  # task_of("hello6"): a task by its name
    ("walks/walk.py", "readings"),  # Walk.verify, Walk.account, Walk.narrate, Walk.compare
}
PRINTING = {"__str__", "_repr_html_", "__rich__", "__rich_console__"}

# Below the recorder's floor, torch is for these alone; the base install must do without them.
TORCH_READINGS = ("readings/account/", "readings/zoom.py", "readings/referees/torch_referee.py")

FILES = sorted(SOURCE.rglob("*.py"))
CODE = sorted(p for room in ("src", "tests", "benchmarks", "tools") for p in (ROOT / room).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each imported module, and the function that imports it when called; None for imports of the file itself."""
    package = path.relative_to(SOURCE.parent).with_suffix("").parts

    def visit(node: ast.AST, function: str | None) -> Iterator[tuple[str, str | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, function) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package[: -child.level]) if child.level else ""
                module = ".".join(part for part in (base, child.module or "") if part)
                yield from ((f"{module}.{alias.name}", function) for alias in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue  # for type checkers only: nothing is imported
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from visit(child, function or child.name)
            else:
                yield from visit(child, function)

    yield from visit(ast.parse(path.read_text()), None)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_arrows_point_down(path: Path) -> None:
    here, file = room_of(path), path.relative_to(SOURCE).as_posix()
    if here == "__init__":  # the public face: it may name every room, but opens none until asked
        assert not [t for t, function in imports(path) if function is None and t.startswith("weightwalk.")]
        return
    assert here in HEIGHT, f"{here} is a new room: give it a floor in this file and in docs/architecture.md"
    for target, function in imports(path):
        there = target.split(".")[1] if target.startswith("weightwalk.") else ""
        if there == here or there not in HEIGHT:
            continue
        door = function is not None and ((file, there) in DOORS or (there == "show" and function in PRINTING))
        assert door or HEIGHT[there] < HEIGHT[here], f"{name(path)} imports {target}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_rooms_that_need_torch_import_it(path: Path) -> None:
    file = path.relative_to(SOURCE).as_posix()
    if room_of(path) in {"recorder", "nets", "learning", "language", "formulas", "lab"} or file.startswith(
        TORCH_READINGS
    ):
        return
    assert not [t for t, f in imports(path) if f is None and t.partition(".")[0] in {"torch", "transformers"}]


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) == "show"], ids=name)
def test_show_computes_nothing(path: Path) -> None:
    """No tensor library in the room that prints: a number shown there was computed elsewhere."""
    assert not [t for t, _ in imports(path) if t.partition(".")[0] == "torch"]


@pytest.mark.parametrize("path", CODE, ids=name)
def test_no_file_is_two_rooms(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 450


@pytest.mark.parametrize("path", CODE, ids=name)
def test_nothing_is_unpickled(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
            assert not {n.partition(".")[0] for n in names} & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "np.load", "numpy.load"}:
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if ast.unparse(node.func) == "torch.load":
                assert keywords.get("weights_only") == "True", ast.unparse(node)
            else:
                assert keywords.get("allow_pickle", "False") == "False", ast.unparse(node)
