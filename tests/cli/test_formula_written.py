"""What `weightwalk formula` finds, as Python, LaTeX, JSON and pictures; and what becomes of a formula that fails."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.formula_nets import balanced, executed, good, net, run, tiny_nets  # noqa: F401

from weightwalk.formulas.certificate import Certificate, Check


@pytest.mark.parametrize(
    ("name", "n", "more"), [("one", 1, []), ("one", 1, ["--exact"]), ("two", 2, []), ("five", 5, ["--at", "0,0,0,0,0"])]
)
def test_python_computes_what_the_net_does(name: str, n: int, more: list[str], tmp_path: Path) -> None:
    made = executed(good(f"tiny_nets:{name}", *more, "--python"), tmp_path)
    rng = np.random.default_rng(0)
    for x in rng.uniform(-1, 1, (20, n)) * (1 if name != "five" else 1e-3):
        y = np.asarray(made["f"](x[0] if n == 1 else x), np.float64).reshape(-1)
        wanted = net(name)(torch.from_numpy(x)[None]).detach().numpy()[0]
        np.testing.assert_allclose(y, wanted, atol=1e-12)


@pytest.mark.parametrize("words", [["linear"], ["tiny_nets:one"], ["tiny_nets:one", "--exact"], ["tiny_nets:two"],
                                   ["tiny_nets:five", "0,0,0,0,0"]], ids=" ".join)  # fmt: skip
def test_latex_is_balanced(words: list[str]) -> None:
    assert balanced(good(*words, "--latex"))


def test_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for kind in ("py", "tex", "json"):
        result = run("tiny_nets:one", "--save", f"{tmp_path}/f.{kind}", "--figure", f"{tmp_path}/f-{kind}.svg")
        assert result.exit_code == 0
        assert f"wrote {tmp_path}/f.{kind}" in result.stderr and f"drew {tmp_path}/f-{kind}.svg" in result.stderr
    assert (tmp_path / "f.py").read_text() == good("tiny_nets:one", "--python")
    assert (tmp_path / "f.tex").read_text() == good("tiny_nets:one", "--latex")
    assert json.loads((tmp_path / "f.json").read_text()) == json.loads(good("tiny_nets:one", "--json"))
    assert len(list(tmp_path.iterdir())) == 6, "nothing else is left behind"


@pytest.mark.parametrize("words", [["--color", "slope"], ["--decide", "min"], ["--color", "decision"]], ids=" ".join)
def test_a_plane_in_every_colour(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    good("tiny_nets:two", *words, "--figure", f"{tmp_path}/p.svg")
    assert (tmp_path / "p.svg").stat().st_size > 1000


def test_points_beside_the_plane_are_not_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "d.npy", np.array([[0.1, 0.2, 0, 0, 0], [0.1, 0.2, 0, 0, 1.0]]))
    words = ("tiny_nets:five", "--plane", "0,1", "--data", f"{tmp_path}/d.npy", "--figure", f"{tmp_path}/p.svg")
    assert "1 of 2 points lie outside the plane and are not drawn" in run(*words).stderr


def test_the_same_command_prints_the_same() -> None:
    assert len({good("tiny_nets:two", "--certificate", "--seed", "3") for _ in range(2)}) == 1


# A formula that fails its certificate ---------------------------------------------------------------------------------


def test_a_formula_that_fails_is_not_called_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from weightwalk.formulas import affine

    check = Check("greatest |formula - net| at some points", 0.5, "<= 1e-12 x 3", False)
    monkeypatch.setattr(affine, "Certificate", lambda checks, seed: Certificate((check,), seed))
    result = run("linear", "--seed", "0")
    assert result.exit_code == 1
    assert "FAILED: greatest |formula - net| at some points: 0.5, and it must be <= 1e-12 x 3" in result.stderr
    assert "the formula is not exact" in result.stderr
    assert "NOT EXACT" in result.stdout and "exact: |formula" not in result.stdout
    result = run("linear", "--seed", "0", "--python", "--save", f"{tmp_path}/f.py")
    assert result.exit_code == 1 and not result.stdout
    assert "nothing is written" in result.stderr and not list(tmp_path.iterdir())
    assert json.loads(run("linear", "--seed", "0", "--json").stdout)["certified"] is False


def test_a_net_that_is_another_than_its_formula_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The net run by the judge is moved by a millionth: the certificate sees it."""
    from weightwalk.formulas import formula

    judge = formula.oracle_of
    monkeypatch.setattr(formula, "oracle_of", lambda *a: lambda x: judge(*a)(x) * (1 + 1e-6))
    result = run("tiny_nets:one")
    assert result.exit_code == 1
    assert "FAILED: greatest |formula - net| at 1,000 fresh points" in result.stderr


def test_numbers_of_ordinary_size() -> None:
    assert math.isclose(json.loads(good("linear", "--seed", "0", "--json"))["A"][0][0], 2.0, abs_tol=1e-3)
