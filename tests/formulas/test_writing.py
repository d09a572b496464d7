"""Formulas as written: the code is run where Weightwalk is not, the text is read back, nothing is rounded unasked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from formulas.written import CORNER, HALVES, failed, random_mlp, run

from weightwalk.errors import UsageError
from weightwalk.formulas.affine import affine_map
from weightwalk.formulas.lines.line import line
from weightwalk.formulas.piecewise import mlp
from weightwalk.formulas.planes.plane import partition
from weightwalk.formulas.points.local import local
from weightwalk.formulas.rationals import line_exact
from weightwalk.formulas.writing.words import affine, list_source, number
from weightwalk.formulas.writing.written import latex, python, text, write

# -- words ------------------------------------------------------------------------------------------------------------


def test_every_number_reads_back_as_itself() -> None:
    rng = np.random.default_rng(0)
    some = np.concatenate(
        [rng.normal(size=500) * 10.0 ** rng.integers(-300, 300, 500), [0.0, -0.0, 5e-324, 1 / 3, 1e22]]
    )
    for x in some.tolist():
        assert float(number(x)) == x and float(number(x, style="python")) == x
        said = number(x, style="latex")
        if "10^" in said:
            said = re.sub(r"(?:(.*) \\cdot )?10\^\{(-?\d+)\}", lambda m: f"{m[1] or 1}e{m[2]}", said)
        assert float(said) == x
    assert number(-np.inf, style="latex") == "-\\infty" and number(np.inf) == "inf"


@pytest.mark.parametrize(
    "slopes, constant, said",
    [
        ([2.0], 3.0, "2 x + 3"),
        ([-1.0], -0.5, "-x - 0.5"),
        ([0.0], 0.0, "0"),
        ([1.0], 0.0, "x"),
        ([F(13, 8)], F(-1, 3), "13/8 x - 1/3"),
        ([1 / 3], 1e-20, "0.3333333333333333 x + 1e-20"),
    ],
)
def test_affine_maps(slopes: list[Any], constant: Any, said: str) -> None:
    assert affine(slopes, constant, ["x"]) == said


def test_fractions_in_latex() -> None:
    assert affine([F(13, 8), F(-2)], F(-1, 3), ["x[0]", "x[1]"], style="latex") == (
        "\\frac{13}{8} x_{0} - 2 x_{1} - \\frac{1}{3}"
    )


def test_long_arrays_are_broken_into_lines() -> None:
    array = np.random.default_rng(0).normal(size=(3, 40))
    lines = list_source(array)
    assert max(map(len, lines)) <= 120 and len(lines) > 9
    assert np.array(eval("\n".join(lines))).tolist() == array.tolist()  # noqa: S307


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(-np.inf, np.inf), (-2.0, 1.5)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_code_of_a_line_gives_the_same_bits(ends: tuple[float, float], outputs: int) -> None:
    net = random_mlp([1, 12, 12, outputs])
    found = line(net, *ends)
    t = np.concatenate([np.linspace(-2, 1.5, 999), np.clip(found.kinks, -2, 1.5)])
    f = run(python(found))["f"]
    y = found(t) if outputs > 1 else found(t)[:, 0]
    assert (
        f(t).tolist() == y.tolist() and f(t.reshape(2, -1)).tolist() == y.reshape(2, len(t) // 2, *y.shape[1:]).tolist()
    )
    assert np.abs(f(t).reshape(len(t), -1) - net(t[:, None])).max() <= 1e-12 * np.abs(y).max()
    plain = run(python(found, numpy=False))["f"]
    assert [plain(x) for x in t.tolist()] == y.tolist()
    assert f(0.25).shape == y[0].shape
    if np.isfinite(ends[0]):
        for function in (f, plain):
            with pytest.raises(ValueError, match=r"the formula holds from -2\.0 to 1\.5"):
                function(-2.5)


def test_code_of_a_line_in_fractions() -> None:
    exact = line_exact(HALVES, F(-1), 4)
    f = run(python(exact))["f"]
    assert f(F(1, 3)) == F(4, 3)
    assert [f(F(k, 7)) for k in range(-7, 28)] == [exact(F(k, 7))[0] for k in range(-7, 28)]
    with pytest.raises(ValueError, match="outside"):
        f(5)


def test_code_needs_nothing_but_numpy(tmp_path: Path) -> None:
    """In an interpreter that cannot import Weightwalk, torch or SciPy; the plain one without NumPy too."""
    for numpy, banned in ((True, "weightwalk torch scipy"), (False, "weightwalk torch scipy numpy")):
        path = tmp_path / "formula.py"
        ban = f"import sys\nfor name in {banned.split()!r}:\n    sys.modules[name] = None\n"
        path.write_text(ban + python(line(HALVES), numpy=numpy) + "print(float(f(2.0)))\n")
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=env, check=True)
        assert float(done.stdout) == HALVES(np.array([[2.0]])).item() == 3.0


def test_text_of_a_line() -> None:
    said = text(line(HALVES, -1, 2), title="half: y").splitlines()
    assert said[0] == "half: y as a function of x, for -1 <= x <= 2: 3 pieces."
    assert said[1] == "x is x[0]." and said[2].startswith(
        "Certified: greatest |formula - net| at 1,000 fresh points is "
    )
    assert said[4:] == [
        "y = -2 x + 2       for -1 <= x <= 0.3333333333333333",
        "y = -0.5 x + 1.5   for 0.3333333333333333 < x <= 0.75",
        "y = 1.5 x          for 0.75 < x <= 2",
    ]
    assert "for x <= 1/3\n" in text(line_exact(HALVES)) and "for x > 3/4\n" in text(line_exact(HALVES))
    assert "In fractions: nothing was rounded." in text(line_exact(HALVES))
    assert "for x >= 0: 3 pieces" in text(line(HALVES, 0)) and "for x <= 0: one piece." in text(line(HALVES, end=0))


def test_the_text_of_a_line_can_be_read_back() -> None:
    """Every piece of a random net: a reader who types in what stands there gets the same bits."""
    found = line(random_mlp([1, 12, 12, 1]))
    said = text(found)
    seen = 0
    for piece, row in zip(found.pieces, said.splitlines()[4:], strict=True):
        match = re.fullmatch(r"y = (\S*) x ([+-]) (\S+)\s+for .*", row)
        assert match, row
        assert float(match[1] or 1) == piece.slope[0] and float(match[2] + match[3]) == piece.intercept[0]
        ends = [float(x) for x in re.findall(r"(?<![\w.])-?\d[\d.e+-]*", row.split("for ")[1])]
        assert ends == [x for x in (piece.start, piece.end) if np.isfinite(x)]
        seen += 1
    assert seen > 10


def test_latex_of_a_line() -> None:
    assert latex(line_exact(HALVES)).splitlines()[3:] == [
        "\\[",
        "  y(x) = \\begin{cases}",
        "    -2 x + 2 & x \\le \\frac{1}{3} \\\\",
        "    -\\frac{1}{2} x + \\frac{3}{2} & \\frac{1}{3} < x \\le \\frac{3}{4} \\\\",
        "    \\frac{3}{2} x & x > \\frac{3}{4}",
        "  \\end{cases}",
        "\\]",
    ]
    assert "\\begin{cases}" not in latex(line(HALVES, 0, 0.25)) and "\\text{for } 0 \\le x" in latex(
        line(HALVES, 0, 0.25)
    )


def test_what_is_left_out_is_counted() -> None:
    found = line(random_mlp([1, 12, 12, 1]))
    rest = len(found.pieces) - 5
    assert f"(and {rest} more pieces, not written here: ask for the Python code" in text(found, limit=5)
    assert f"\\vdots & \\text{{and {rest} more pieces, not written}}" in latex(found, limit=5)
    assert "more" not in text(found, limit=len(found.pieces)).split("fresh points")[1]


def test_digits_round_and_say_so() -> None:
    found = line(random_mlp([1, 5, 1]))
    for said in (text(found, digits=3), latex(found, digits=3), python(found, digits=3)):
        assert "ROUNDED here to 3 digits; the formula itself has more." in said
        body = said.split("itself has more.")[1]
        numbers = re.findall(r"\d+\.\d+", body)
        assert len(numbers) > 10 and all(len(n.replace(".", "").lstrip("0")) <= 3 for n in numbers)
    f = run(python(found, digits=3))["f"]
    assert 0 < abs(f(0.3) - found(0.3)[0]) < 0.02
    assert "ROUNDED" not in text(found)


# -- standing and refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [text, latex, python])
def test_what_is_not_certified_says_so_in_every_form(form: Callable[..., str]) -> None:
    facts = [
        line(HALVES),
        partition(CORNER),
        affine_map(mlp([np.eye(2)], [np.zeros(2)])),
        local(CORNER, np.array([0.5, 0.25])),
    ]
    for found in facts:
        said = form(failed(found))
        why = "NOT EXACT: greatest |formula - net| at 1,000 fresh points is 0.25, held to <= 1e-12 x 3"
        assert why in said and "Certified" not in said and "In fractions" not in said
        assert "Certified" in form(found) and "NOT EXACT" not in form(found)
        if form is python:
            assert "NOT EXACT" in said.split('"""')[1]
            run(said)
    bad = failed(line(HALVES)).certificate
    assert "NOT EXACT" in form(line_exact(HALVES), certificate=bad)


def test_wrong_requests_are_refused() -> None:
    found = line(HALVES)
    with pytest.raises(UsageError, match="digits=0 is not a number of digits from 1 to 17"):
        text(found, digits=0)
    with pytest.raises(UsageError, match="Line as text has no option 'colour'"):
        text(found, colour="red")
    with pytest.raises(UsageError, match="int is no formula: expected a line, a partition or an affine map"):
        latex(3)
    with pytest.raises(UsageError, match="is written as text, latex, python; not as 'html'"):
        write(SimpleNamespace(facts=found, exact=None, name="n", outputs=("y",), certificate=None, flat=None), "html")


def test_a_whole_formula_is_written_with_its_line() -> None:
    flat = SimpleNamespace(names=("t",), origin=np.array([1.0, 2.0]), directions=np.array([[0.5, 0.0]]))
    net = replace(HALVES, inputs=("t",))
    whole = SimpleNamespace(
        facts=line(net),
        exact=line_exact(net),
        name="half",
        outputs=("y",),
        certificate=line(net).certificate,
        flat=flat,
    )
    said = write(whole, "text")
    assert said.startswith(
        "The inputs are A + t (B - A):\nA = (1, 2)\nB - A = (0.5, 0)\nhalf: y as a function of t, for"
    )
    assert "y = -1/2 t + 3/2" in said and write(whole, "latex").startswith("% The inputs are A + t")
    code = run(write(whole, "python"))
    assert code["f"](F(1, 3)) == F(4, 3) and (code["ORIGIN"], code["DIRECTIONS"]) == ([1.0, 2.0], [[0.5, 0.0]])
    whole.exact = None
    assert run(write(whole, "python"))["inputs"](np.array([0.0, 2.0])).tolist() == [[1.0, 2.0], [2.0, 2.0]]
    whole.flat = SimpleNamespace(names=("s", "t"), origin=np.zeros(100), directions=np.eye(2, 100))
    assert run(write(whole, "python"))["inputs"](3.0, 4.0)[:3].tolist() == [3.0, 4.0, 0.0]
    said = write(whole, "text").splitlines()
    assert said[0] == "The inputs are origin + s U + t V:" and said[2].endswith(", 0, 0, and 36 more)")


def test_names_cannot_break_the_code() -> None:
    net = replace(HALVES, inputs=('a"""\\n b',), outputs=('"""',))
    assert run(python(line(net), title='"""; import os'))["f"](2.0) == 3.0
