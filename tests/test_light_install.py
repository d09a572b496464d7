"""The base install has no torch, and it is enough to load a walk, verify it, narrate it and show it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A finder that makes the extras look uninstalled; run first in a fresh interpreter.
WITHOUT_EXTRAS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "tokenizers", "matplotlib", "scipy", "sympy"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

READING = """
import sys
import weightwalk as ww

walk = ww.load(sys.argv[1])
report = walk.verify(referee="numpy")
assert report.ok, str(report)
assert report.proven == len(walk.steps) > 0, str(report)
assert str(walk.narrate())
assert walk["logits"].numpy().shape == (2, 3)
assert "torch" not in sys.modules
print(report)
"""


def run(python: str | Path, *arguments: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run an interpreter outside the repository, so that nothing is found there by accident."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [str(python), *(str(a) for a in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(ROOT.anchor), env=environment)


def run_without_extras(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `code` with this interpreter and this package, as if only the base install were there."""
    return run(sys.executable, "-c", WITHOUT_EXTRAS + code, *arguments, path=ROOT / "src")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The walk of a small net: matrix products, a norm, an activation, softmax and a loss's backward pass."""
    torch = pytest.importorskip("torch")
    import weightwalk as ww

    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Linear(8, 3)
    walk = ww.walk(torch.nn.Sequential(*layers), torch.randn(2, 4))
    return walk.save(tmp_path_factory.mktemp("light") / "net.walk")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as a wheel, built with what is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = run(sys.executable, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_a_walk_is_verified_where_no_extra_is_installed(saved: Path) -> None:
    done = run_without_extras(READING, saved)
    assert done.returncode == 0, done.stdout + done.stderr


def test_recording_without_torch_says_what_to_install() -> None:
    done = run_without_extras("import weightwalk as ww\nww.walk(print)")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("weightwalk.errors.UsageError: weightwalk.walk needs torch")
    assert "pip install 'weightwalk[torch]'" in last


def test_formulas_without_scipy_say_what_to_install() -> None:
    for absent, extra in (("{'scipy'}", "formulas"), ("{'torch', 'scipy'}", "torch")):
        finder = re.sub(r"\{.*\}", absent, WITHOUT_EXTRAS)
        code = finder + "import weightwalk as ww\nww.formula(print)"
        last = run(sys.executable, "-c", code, path=ROOT / "src").stderr.splitlines()[-1]
        assert last.startswith("weightwalk.errors.UsageError: weightwalk.formula needs ")
        assert f"pip install 'weightwalk[{extra}]'" in last


def test_the_command_verifies_without_torch(saved: Path) -> None:
    code = "\nfrom weightwalk.cli import main\nsys.exit(main())"
    done = run_without_extras(code, "verify", saved, "--referee", "numpy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_asks_for_no_torch(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    wanted = [line.removeprefix("Requires-Dist: ") for line in text.splitlines() if line.startswith("Requires-Dist")]
    base = sorted(line.partition(">")[0] for line in wanted if "extra ==" not in line)
    assert base == ["click", "ml-dtypes", "numpy", "rich", "safetensors"]
    assert "weightwalk/py.typed" in names
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert all(n.startswith(("weightwalk/", "weightwalk-")) for n in names)


@pytest.mark.slow
def test_the_base_wheel_alone_verifies_a_walk(wheel: Path, saved: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    done = run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "requirements" / "constraints.txt", wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = run(python, "-m", "pip", "list", "--format=freeze").stdout
    assert "torch==" not in installed
    (tmp_path / "reading.py").write_text(READING)
    done = run(python, tmp_path / "reading.py", saved)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(tmp_path / "venv" / "bin" / "weightwalk", "verify", saved)
    assert done.returncode == 0, done.stdout + done.stderr
