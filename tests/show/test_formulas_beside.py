"""What stands beside a formula on the terminal: surrogates, sensitivities, integrals, losses, square roots."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.fits.legendre import legendre_surrogate
from weightwalk.formulas.fits.rank import sensitivity
from weightwalk.formulas.fits.surrogates import surrogate
from weightwalk.formulas.integrals.summary import summary
from weightwalk.formulas.lines.line import Line, line
from weightwalk.formulas.losses.moving import entry
from weightwalk.formulas.losses.slices import LossLine, loss_along
from weightwalk.formulas.newton import roots
from weightwalk.formulas.piecewise import PiecewiseNet, mlp
from weightwalk.formulas.planes.partition import Partition
from weightwalk.formulas.planes.plane import partition
from weightwalk.show.formula_layout import told
from weightwalk.show.formulas import loss_lines, sensitivity_lines, summary_lines, surrogate_lines
from weightwalk.show.formulas_fitted import power
from weightwalk.show.terminal import lines
from weightwalk.show.tours import root_lines

NUMBER = r"[+-]?\d+\.?\d*(?:e[+-]?\d+)?"


def net(n: int, outputs: int = 1) -> PiecewiseNet:
    rng = np.random.default_rng(0)
    return mlp([rng.normal(size=(6, n)), rng.normal(size=(outputs, 6))], [rng.normal(size=6), rng.normal(size=outputs)])


def text(made: Any) -> str:
    return "\n".join(t.plain for t in made)


def flat(made: Any) -> str:
    return " ".join(text(made).split())


@pytest.fixture(scope="module")
def a_line() -> Line:
    return line(net(1), -2.0, 2.0)


@pytest.fixture(scope="module")
def a_plane() -> Partition:
    return partition(net(2))


# Surrogates


def test_a_polynomial_in_one_number_is_an_equation_with_its_scores() -> None:
    x = np.linspace(0, 10, 101)[:, None]
    found = surrogate(lambda x: np.sqrt(np.abs(x[:, 0])), ((0, 10),), 3, points=x, data=(x, np.sqrt(x)))
    page = flat(surrogate_lines(found, 120))
    terms = re.search(rf"y\[0\] = ({NUMBER}) \+ ({NUMBER}) x - ({NUMBER}) x\^2 \+ ({NUMBER}) x\^3", page)
    assert terms is not None
    assert [float(t) for t in terms.groups()] == pytest.approx(np.abs(found.coefficients[:, 0]), rel=1e-8)
    for score in found.scores:
        if score.points:
            assert f"the {score.against}, {score.where}" in page
            assert f"{score.worst[0]:.3g}" in page
    assert "no points there" in page
    assert "an approximation, not what the net computes" in page
    assert "exact:" not in page


def test_long_polynomials_are_cut_and_counted(a_plane: Partition) -> None:
    found = surrogate(a_plane.net, a_plane.box, 5)  # type: ignore[arg-type]
    page = text(surrogate_lines(found, 100, top=4))
    rows = [float(m[1]) for m in re.finditer(rf"^  (?:x\S.*?|constant) +({NUMBER})$", page, re.M)]
    assert len(rows) == 4
    assert rows == pytest.approx(sorted(found.coefficients[:, 0], key=abs, reverse=True)[:4], rel=1e-8)
    assert f"not shown: {found.terms - 4} terms more" in page


def test_a_poor_fit_is_warned_of_inside_and_outside() -> None:
    found = surrogate(lambda x: np.sin(9 * x[:, 0]), ((-2, 2),), 2)
    page = flat(surrogate_lines(found))
    assert re.search(r"WARNING: R² \S+ against the net inside the box: this polynomial does not describe it", page)
    assert re.search(r"WARNING: R² \S+ against the net outside the box: do not use it beyond", page)
    good = surrogate(lambda x: x[:, 0] ** 2, ((-2, 2),), 2)
    assert "WARNING" not in text(surrogate_lines(good))


def test_a_proven_bound_stands_beside_the_worst_error(a_line: Line) -> None:
    found = legendre_surrogate(a_line, 3)
    score = found.score()
    assert score.bound is not None
    assert f"{score.worst[0]:.3g}, proven <= {score.bound[0]:.3g}" in flat(surrogate_lines(found, 120))


def test_an_r2_is_never_rounded_up_to_one() -> None:
    found = surrogate(lambda x: x[:, 0] ** 2 + 1e-6 * np.sin(40 * x[:, 0]), ((-2, 2),), 2)
    assert re.search(r"the net, inside +1 - \S+", text(surrogate_lines(found)))


def test_powers() -> None:
    assert power([0, 0], ["x", "y"]) == ""
    assert power([1, 3], ["x", "y"]) == "x y^3"


# Sensitivities


def test_every_ranking_stands_beside_its_baselines() -> None:
    found = sensitivity(
        lambda x: 3 * x[:, 0] - x[:, 2], ((0, 1),) * 3, names=("a", "b", "c"), samples=64, repeats=40,
        data=(np.random.default_rng(0).random((50, 3)), np.zeros((50, 1))),
    )  # fmt: skip
    page = text(sensitivity_lines(found, 110))
    for ranking in found.rankings:
        part = page.split(f"  {ranking.measure}: ")[1].split("\n\n")[0]
        names = re.findall(r"^  (a|b|c) +-?[\d.]+ ", part, re.M)
        assert names == [found.inputs[i] for i in ranking.order]
        assert part.count("not above chance") == ranking.above.count(False)
        for base in ranking.baselines:
            assert re.search(rf"^  {base.name} ", part, re.M)
    total = page.split("  total: ")[1]
    assert re.search(r"^  a +[\d.]+ +± ", total, re.M)
    assert "equal with probability 0.167" in flat(sensitivity_lines(found))


def test_cut_inputs_are_counted() -> None:
    found = sensitivity(lambda x: x.sum(1), ((0, 1),) * 20, samples=0)
    assert text(sensitivity_lines(found, 100, top=5)).count("not shown: 15 inputs more") == len(found.rankings)


# Integrals


@pytest.mark.parametrize("which", ["a_line", "a_plane"])
def test_a_summary_gives_the_numbers_of_the_facts(which: str, request: pytest.FixtureRequest) -> None:
    found = summary(request.getfixturevalue(which))
    page = flat(summary_lines(found, 120))
    for word, value in (
        ("least", found.least), ("greatest", found.greatest), ("mean", found.mean), ("variance", found.variance),
        ("Lipschitz constant", found.lipschitz),
    ):  # fmt: skip
        assert f"{word} {told(value[0], 9)} " in page
    for i in range(len(found.inputs)):
        assert told(found.slope_square[0, i], 6) in page
        assert told(found.total_bounds[0, i], 4) in page
    assert f"integrals of {found.pieces} " in page
    assert "exact: " in page


# Losses


@pytest.fixture(scope="module")
def loss() -> LossLine:
    small = net(1)
    x = np.linspace(-2, 2, 9)[:, None]
    return loss_along(small, entry(small, 0, 2, 0), (x, np.abs(x)), (-3.0, 3.0))


def test_a_loss_says_where_it_is_least_and_how_steep(loss: LossLine) -> None:
    page = flat(loss_lines(loss, 120))
    assert f"loss along {loss.name}: {len(loss.steps)} kinks, {loss.pieces} quadratic pieces, from -3 to 3" in page
    assert f"as it is {told(loss.at)} {told(loss.loss)}" in page
    assert f"least {told(loss.minimum.at)} {told(loss.minimum.loss)}" in page
    assert f"derivative of the loss at the weight as it is: {told(loss.derivative[0], 9)}" in page
    assert "mean squared error over 9 samples" in page
    kinked = replace(loss, derivative=(-0.5, 0.25))
    assert "-0.5 from the left, 0.25 from the right" in flat(loss_lines(kinked, 120))


def test_the_pieces_of_a_loss_are_its_quadratics(loss: LossLine) -> None:
    page = text(loss_lines(loss, 200, top=None))
    rows = re.findall(rf"^  +({NUMBER}) +({NUMBER}) +({NUMBER}) +({NUMBER}) +({NUMBER}) +({NUMBER})", page, re.M)
    assert len(rows) == loss.pieces
    for row in rows:
        low, high, a, b, c, centre = map(float, row)
        for w in np.linspace(low, high, 4)[1:-1]:
            d = w - centre
            assert a * d * d + b * d + c == pytest.approx(float(loss(w)), rel=1e-9, abs=1e-12)
    assert "not shown: " in text(loss_lines(loss, 200, top=2))
    assert f"and {loss.pieces - 2} above" in text(loss_lines(loss, 200, top=2)) or "pieces below" in text(
        loss_lines(loss, 200, top=2)
    )


# Whatever it is


@pytest.fixture(scope="module")
def everything(a_line: Line, a_plane: Partition, loss: LossLine) -> list[Any]:
    return [
        surrogate(a_plane.net, a_plane.box, 3),  # type: ignore[arg-type]
        legendre_surrogate(a_line, 2),
        sensitivity(a_plane.net, a_plane.box, samples=64, repeats=40),  # type: ignore[arg-type]
        summary(a_plane),
        loss,
    ]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_line_keeps_to_the_width(everything: list[Any], width: int) -> None:
    for found in everything:
        made = list(lines(found, width, top=12))
        assert max(len(t.plain) for t in made) <= width, type(found).__name__


def test_what_failed_is_said_first_and_not_called_exact(everything: list[Any]) -> None:
    bad = Certificate((Check("agreement", 0.5, "<= 1e-12", False),), 0)
    for found in everything:
        page = text(lines(replace(found, certificate=bad), 100))
        assert page.startswith("NOT EXACT: 1 check of 1 failed"), type(found).__name__
        assert "exact:" not in page


# The tour


def test_square_roots_are_told_with_their_errors() -> None:
    bent = line(mlp([np.array([[1.0], [1.0]]), np.array([[0.5, -0.25]])], [np.array([0.0, -1.0]), np.array([0.2])]))
    found = roots(bent, (2.0, 100.0))
    page = text(root_lines(found, 100))
    assert re.search(r"^  100 +never seen +10\.000000 +25\.45\d+ +\+1\.5e\+01 ", page, re.M)
    assert re.search(r"^  2 +1\.414214 +0\.950000 +-4\.6e-01 .* 5 steps$", page, re.M)
    two = f"{17 / 12 - np.sqrt(2):+.1e}"
    assert re.search(rf"-4\.6e-01 +{re.escape(two)} ", page), "two steps from 1 lead to 17 / 12"
    assert f"never off by more than {abs(found.worst):.3g}, at x = {found.worst_at:.4g}" in flat(root_lines(found, 100))
