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

# Methods of the Walk that lead upstairs (`walk.verify()` is how a person asks for a reading): imported inside the
# method, when called. Each entry: (file, room it may reach).
UPSTAIRS = {
    ("walks/model.py", "recorder"),  # Step.zoom
    ("walks/walk.py", "recorder"),  # Walk.zoom
    ("walks/walk.py", "readings"),  # Walk.verify, Walk.account, Walk.narrate
    ("walks/walk.py", "show"),  # Walk._repr_html_
    ("walks/walk.py", "formulas"),  # Walk.formula
}

FILES = sorted(SOURCE.rglob("*.py"))
CODE = sorted(p for room in ("src", "tests", "benchmarks", "tools") for p in (ROOT / room).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Each imported module of the package, and whether it is imported when the file is (not inside a function)."""
    tree = ast.parse(path.read_text())
    lazy = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for node in ast.walk(outer)
    }
    package = path.relative_to(SOURCE.parent).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            targets = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            yield target, id(node) not in lazy


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_arrows_point_down(path: Path) -> None:
    here = room_of(path)
    if here == "__init__":  # the public face: it may name every room, but only when asked
        assert not [t for t, eager in imports(path) if eager and t.startswith("weightwalk.") and "errors" not in t]
        return
    assert here in HEIGHT, f"{here} is a new room: give it a floor in this file and in docs/architecture.md"
    for target, eager in imports(path):
        if not target.startswith("weightwalk."):
            continue
        there = target.split(".")[1]
        if there == here or there not in HEIGHT:
            continue
        allowed_lazily = not eager and (path.relative_to(SOURCE).as_posix(), there) in UPSTAIRS
        assert HEIGHT[there] < HEIGHT[here] or allowed_lazily, f"{name(path)} imports {target}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_rooms_that_need_torch_import_it(path: Path) -> None:
    if room_of(path) in {"recorder", "nets", "learning", "language", "formulas", "lab"}:
        return
    assert not [t for t, eager in imports(path) if eager and t.partition(".")[0] in {"torch", "transformers"}]


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
