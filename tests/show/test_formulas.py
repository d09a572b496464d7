"""Formulas on the terminal: the numbers of the facts, all rows or a count of the rest, and no claim that failed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from show.relu_nets import net
from torch import nn

from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.formula import Formula, formula
from weightwalk.show.formula_layout import affine_terms, certificate_lines, equation_lines, fitted, told
from weightwalk.show.formulas import formula_lines
from weightwalk.show.formulas_line import braille
from weightwalk.show.formulas_plane import VIRIDIS, grid, ramp, view
from weightwalk.show.terminal import lines

NUMBER = r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf)"


@pytest.fixture(scope="module")
def line() -> Formula:
    return formula(net(1, 6, 5, 1, scale=2.0))


@pytest.fixture(scope="module")
def plane() -> Formula:
    return formula(net(2, 8, 6, 1, scale=2.0))


@pytest.fixture(scope="module")
def point() -> Formula:
    return formula(net(3, 8, 8, 2), at=[0.5, -1.0, 2.0])


def page(found: Formula, width: int = 100, **options: Any) -> str:
    return "\n".join(t.plain for t in formula_lines(found, width, **options))


def failing(found: Formula) -> Formula:
    bad = Check("greatest |formula - net| at 9 fresh points", 0.25, "<= 1e-12 x 3, the greatest |net| there", False)
    return replace(found, certificate=Certificate((bad, *found.certificate.checks), 0))


# Affine


def test_one_weight_and_one_bias_are_printed_whole() -> None:
    module = nn.Linear(1, 1)
    with torch.no_grad():
        module.weight.fill_(2.0)
        module.bias.fill_(0.1)
    text = page(formula(module))
    assert "one affine map, for every input" in text
    assert f"y = 2 x + {module.bias.item()!r}" in text, "float32 of 0.1, every digit"


def test_a_stack_of_linear_layers_is_one_map_with_its_greatest_coefficients_first() -> None:
    module = nn.Sequential(nn.Linear(12, 7), nn.Linear(7, 9)).double()
    found = formula(module)
    text = page(found, top=5)
    A = (module[1].weight @ module[0].weight).detach().numpy()  # type: ignore[union-attr]
    shown = [float(m[1]) for m in re.finditer(rf"^  \S+\[0, \d\] +in\[0, \d+\] +({NUMBER})", text, re.M)]
    assert shown == pytest.approx(sorted(A.ravel(), key=abs, reverse=True)[:5], rel=1e-12)
    assert "not shown: 103 more coefficients" in text
    assert "not shown: 4 more constants" in text


def test_equations_break_between_terms_only() -> None:
    terms = [f"+ {i}.123456789 in[0, {i}]" for i in range(9)]
    made = [t.plain for t in equation_lines("out[0, 0]", terms, 50)]
    assert len(made) > 3
    assert max(map(len, made)) <= 50
    for term in terms:
        assert sum(term in text for text in made) == 1


def test_signs_and_units_of_an_affine_map() -> None:
    assert affine_terms([1.0, -1.0, 0.0, 2.5], ["a", "b", "c", "d"], -3.0) == ["a", "- b", "+ 2.5 d", "- 3"]
    assert affine_terms([-1.0], ["x"], 0.0) == ["-x"]
    assert affine_terms([0.0], ["x"], 0.0) == ["0"]
    assert affine_terms([0.5, 2.0], ["", "x"], 0.0) == ["0.5", "+ 2 x"], "a constant may stand first"


# Lines


def test_every_piece_of_a_line_is_printed_with_the_numbers_of_the_facts(line: Formula) -> None:
    text = page(line, 140, top=None)
    rows = re.findall(rf"^  +({NUMBER}) +({NUMBER}) +({NUMBER}) +({NUMBER})(?: +(\S.*))?$", text, re.M)
    facts = line.facts
    assert [float(r[0]) for r in rows] == [p.start for p in facts.pieces]
    assert [float(r[1]) for r in rows] == [p.end for p in facts.pieces]
    assert [float(r[2]) for r in rows] == [p.slope[0] for p in facts.pieces]
    assert [float(r[3]) for r in rows] == [p.intercept[0] for p in facts.pieces]
    bends = [facts.units[k] for k in np.flatnonzero(facts.bends)]
    assert [r[4].strip() for r in rows[:-1]] == [", ".join(units) for units in bends]
    assert f"{len(facts.pieces) - 1} kinks, {len(facts.pieces)} pieces, on the whole real line" in text
    assert "rounded" not in text


def test_cut_rows_are_counted(line: Formula) -> None:
    text = page(line, top=3)
    rest = len(line.facts.pieces) - 3
    assert f"not shown: {rest} pieces more, from {told(line.facts.pieces[3].start, 6)} to inf" in text


def test_a_narrow_page_says_that_its_numbers_are_rounded(line: Formula) -> None:
    text = page(line, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "rounded to 9 digits so as to fit" in text
    assert f"{line.facts.kinks[line.facts.bends][0]:.9g}" in text


def test_switches_without_effect_are_named() -> None:
    module = net(1, 3, 1)
    with torch.no_grad():
        module[2].weight[0, 1] = 0.0  # type: ignore[union-attr]
    found = formula(module)
    text = page(found)
    silent = int(np.flatnonzero(~found.facts.bends)[0])
    assert "1 place where units switch without effect on y: " in text
    ends = re.findall(rf"^  +{NUMBER} +{NUMBER} +{NUMBER} +{NUMBER} +(\S.*)$", text, re.M)
    assert ends == [found.facts.units[k][0] for k in np.flatnonzero(found.facts.bends)]
    assert f"{found.facts.units[silent][0]} at x = {told(found.facts.kinks[silent], 6)}" in text


def test_fractions_stand_beside_the_numbers() -> None:
    module = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for p, v in zip(module.parameters(), (3.0, -1.0, 0.5, 0.25), strict=True):
            p.fill_(v)
    text = page(formula(module, exact=True))
    assert "the same in fractions, nothing rounded" in text
    assert re.search(r"^  1/3 +3/2 +-1/4$", text, re.M)
    assert str(Fraction(1, 4)) in text


def test_a_line_through_many_inputs_says_where_it_runs() -> None:
    found = formula(net(5, 6, 2), line=([0.0] * 5, [1.0, 2.0, 0.0, 0.0, 0.0]))
    text = page(found)
    assert "for 0 <= t <= 1" in text
    assert "along x = A + t (B - A), A = (0, 0, 0, 0, 0), B = (1, 2, 0, 0, 0), in 5 dimensions" in text
    assert text.count("from t =") == 2, "a table for each of two outputs"


def test_the_graph_is_the_formula(line: Formula) -> None:
    text = page(line)
    assert "by the formula, at 128 places" in text
    marks = next(t for t in text.splitlines() if "└" in t)
    assert marks.count("┴") <= int(np.count_nonzero(line.facts.bends))
    assert marks.count("┴") > 0
    assert "└" not in page(line, picture="none")


def test_braille_dots_lie_where_the_values_are() -> None:
    assert braille(np.array([0.0, 1.0, 2.0, 3.0]), 2, 1) == ["⡠⠊"]
    assert braille(np.zeros(4), 2, 1) == ["⠒⠒"], "a constant lies in the middle"
    steep = braille(np.array([0.0, 7.0]), 1, 2)
    assert steep == ["⢸", "⡸"], "joined from one value to the next"


# Planes


def test_a_plane_gives_both_counts_and_the_largest_regions(plane: Formula) -> None:
    facts = plane.facts
    text = page(plane, 120, top=4)
    assert f"{facts.activation_regions:,} activation regions: polygons on which" in text
    assert f"{facts.affine_regions:,} maximal affine regions: neighbours with the same map" in text
    rows = re.findall(rf"^  ({NUMBER}) % +(\d+) +({NUMBER}) +({NUMBER}) +({NUMBER})$", text, re.M)
    assert len(rows) == 4
    shares = [float(r[0]) for r in rows]
    assert shares == pytest.approx(np.sort(facts.affine_areas)[::-1][:4] / 4 * 100, rel=5e-3)
    for row in rows:
        slope = np.array([float(row[2]), float(row[3])])
        match = np.flatnonzero((facts.slopes[:, 0] == slope).all(1) & (facts.offsets[:, 0] == float(row[4])))
        assert len(match) >= 1
    assert f"not shown: {facts.affine_regions - 4} smaller regions" in text


def test_what_the_tolerance_decided_is_said_unless_fractions_settled_it() -> None:
    torch.manual_seed(0)
    star = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    with torch.no_grad():  # six lines through one point, but for the rounding of their constants
        star[0].bias[:] = -star[0].weight @ torch.tensor([0.1, 0.3], dtype=torch.float64)
    found = formula(star)
    assert found.facts.snapped == 1 and found.facts.activation_regions == 12
    assert "1 vertex held to be on further kinks, by the tolerance of 1e-12" in " ".join(page(found).split())
    assert "further kinks" not in page(formula(star, exact=True))


def test_the_areas_of_the_maximal_regions_fill_the_box(plane: Formula) -> None:
    assert plane.facts.affine_areas.sum() == pytest.approx(4.0, rel=1e-12)
    assert len(plane.facts.affine_areas) == plane.facts.affine_regions


def test_a_picture_in_shades_is_a_sample_of_the_net(plane: Formula) -> None:
    text = page(plane, picture="shades")
    rows = [t[6:] for t in text.splitlines() if re.fullmatch(r" +(-?1)? ?[ ░▒▓█]{64}", t)]
    assert "a sample at 64 x 32 points, in five shades" in text
    points = grid(view(plane.facts), 64, 32)
    assert points[0].tolist() == [-1 + 1 / 64, 1 - 1 / 32], "the first cell is at the top left"
    assert points[-1].tolist() == [1 - 1 / 64, -1 + 1 / 32]
    values = plane.facts.net(grid(view(plane.facts), 64, 32))[:, 0]
    level = np.minimum((values - values.min()) / np.ptp(values) * 5, 4).astype(int).reshape(32, 64)
    assert ["".join(" ░▒▓█"[v] for v in row) for row in level.tolist()] == [r[-64:] for r in rows]


def test_a_picture_in_colours_ends_at_the_ends_of_the_ramp(plane: Formula) -> None:
    made = formula_lines(plane, 100, picture="colours")
    styles = {str(s.style) for t in made for s in t.spans if "▀" in t.plain}
    assert any(VIRIDIS[0] in s for s in styles)
    assert any(VIRIDIS[-1] in s for s in styles)
    assert ramp(-3.0) == VIRIDIS[0]


def test_a_plane_in_more_dimensions_says_what_is_held() -> None:
    found = formula(net(5, 6, 1), at=[0.0, 0.25, 0.0, 0.0, -2.0], plane=(1, 3))
    text = " ".join(page(found).split())
    assert "the plane of in[0, 1] and in[0, 3], in 5 dimensions; the other 3 inputs are held at" in text
    assert "in[0, 4] = -2" in text


def test_the_whole_plane_is_not_measured_in_parts_of_a_box() -> None:
    text = page(formula(net(2, 4, 1), box="all"))
    assert "on the whole plane" in text
    assert "unbounded" in text
    assert "%" not in text


# Points


def test_a_point_gives_the_map_and_how_far_it_holds(point: Formula) -> None:
    facts = point.facts
    text = page(point, 130)
    for o, name in enumerate(point.outputs):
        assert " ".join(affine_terms(facts.A[o], point.inputs, facts.b[o])) in text
        assert f"= {told(facts.y[o])} here" in text
        assert name in text
    assert f"nearest kink: {facts.nearest.unit}, at distance {told(facts.nearest.distance, 9)}" in " ".join(
        text.split()
    )
    for along in facts.along:
        assert re.search(rf"^ +{re.escape(along.name)} +{re.escape(told(along.distance, 9))} ", text, re.M)
    assert f"a polytope of {len(facts.slack)} half-spaces in 3 dimensions" in text


def test_contributions_of_many_inputs_add_up_with_the_rest() -> None:
    module = net(20, 10, 2)
    found = formula(module, at=np.linspace(-1, 1, 20))
    text = page(found, 120, top=5)
    assert "the other 15 inputs" in text
    for o in range(2):
        table = text.split(f"{found.outputs[o]} = ")[1].split("  1[0")[0]
        rows = re.findall(rf"^  (?:in\[0, \d+\]|the other 15 inputs|constant b) +({NUMBER})", table, re.M)[:7]
        assert len(rows) == 7
        assert math.fsum(map(float, rows)) == pytest.approx(found.facts.y[o], rel=1e-12)


def test_a_point_on_a_kink_is_a_warning() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    with torch.no_grad():
        module[0].bias.zero_()  # type: ignore[union-attr]
    text = page(formula(module, at=[0.0, 0.0, 0.0]))
    assert "x lies on 3 kinks" in text
    assert "several formulas meet here" in text


def test_facets_and_the_greatest_ball_are_told_when_asked_for() -> None:
    found = formula(net(3, 8, 1), at=[0.5, -1.0, 2.0], box=(-5, 5), minimal=True)
    text = " ".join(page(found).split())
    known = int(np.count_nonzero(found.facts.facets))
    assert f"{known} facet" in text
    first = found.facts.side(int(np.flatnonzero(found.facts.facets)[0]))
    assert f"the minimal description: {first}" in text
    assert f"; redundant: {len(found.facts.facets) - known} more" in text
    assert f"greatest ball inside: of radius {found.facts.chebyshev.radius:.6g}" in text


# Certificates


def test_a_passed_certificate_is_one_sentence_and_every_check_on_request(line: Formula) -> None:
    text = page(line)
    checks = line.certificate.checks
    judged = [c for c in checks if c.limit]
    assert f"exact: |formula - net| <= {checks[0].found:.3g} at 1,000 fresh points" in text
    assert f"{len(judged)} checks passed" in " ".join(text.split())
    assert "shortest piece" not in text
    every = " ".join(page(line, certificate=True).split())
    for check in checks:
        assert check.name in every
        assert check.limit in every


@pytest.mark.parametrize("kind", ["line", "plane", "point"])
def test_a_failed_certificate_is_said_first_and_nothing_is_called_exact(
    kind: str, request: pytest.FixtureRequest
) -> None:
    text = page(failing(request.getfixturevalue(kind)))
    assert text.startswith("NOT EXACT: 1 check of ")
    assert "greatest |formula - net| at 9 fresh points: found 0.25, limit <= 1e-12 x 3" in text
    assert "approximate formula of " in text
    assert "exact:" not in text
    assert re.search(r"1 of \d+ checks failed", text)
    first = formula_lines(failing(request.getfixturevalue(kind)))[0]
    assert "red" in str(first.style)


def test_nothing_checked_is_nothing_claimed(line: Formula) -> None:
    text = page(replace(line, certificate=Certificate((Check("told only", 3),), 0)))
    assert "nothing was checked, so that nothing is claimed" in text
    assert "approximate formula" in text
    assert "exact:" not in text


def test_checks_keep_to_the_width(plane: Formula) -> None:
    for width in (60, 80, 120):
        made = certificate_lines(plane.certificate, width, every=True)
        assert max(len(t.plain) for t in made) <= width


# Widths


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("kind", ["line", "plane", "point"])
def test_every_line_keeps_to_the_width(kind: str, width: int, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(kind)
    assert max(len(t.plain) for t in formula_lines(found, width, certificate=True, picture="shades")) <= width


def test_a_table_that_fits_is_not_rounded() -> None:
    wide = [t.plain for t in fitted(("a",), lambda d: [(Decimal(repr(1 / 3)) if d >= 17 else Decimal("0.3"),)], 40)]
    assert repr(1 / 3) in wide[1]
    assert len(wide) == 2


def test_a_formula_is_shown_by_its_kind_and_as_its_own_text(line: Formula) -> None:
    assert [t.plain for t in lines(line, 100, top=12)] == str(line).splitlines()


def test_what_a_name_holds_cannot_break_the_page(point: Formula, line: Formula) -> None:
    for found in (point, line):
        odd = replace(found.facts.net, outputs=tuple("y\n\x1b[31m" for _ in found.outputs))
        text = page(replace(found, facts=replace(found.facts, net=odd)))
        assert "\x1b" not in text
        assert "y\\n\\x1b[31m" in text
