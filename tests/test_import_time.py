"""Importing the package is cheap: the heavy libraries come only when they are first needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

TORCH = ("torch", "transformers", "tokenizers", "matplotlib", "sympy", "scipy")


def imported_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_weightwalk_imports_nothing_heavy() -> None:
    assert not imported_by("import weightwalk") & {*TORCH, "rich", "click", "safetensors"}


@pytest.mark.parametrize("module", ["weightwalk.walks.model", "weightwalk.errors"])
def test_the_ground_floor_knows_no_torch(module: str) -> None:
    assert not imported_by(f"import {module}") & {*TORCH, "rich", "click"}


def test_the_help_page_needs_no_torch() -> None:
    code = "from click.testing import CliRunner\nfrom weightwalk.cli import main\n"
    code += "result = CliRunner().invoke(main, ['--help'])\nassert result.exit_code == 0, result.output"
    assert not imported_by(code) & {*TORCH}
