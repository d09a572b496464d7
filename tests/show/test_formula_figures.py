"""Pictures of formulas: the same bytes each time, what is drawn is the facts, and what is left out is said."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from show import relu_nets
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.formula import Formula, formula
from weightwalk.formulas.piecewise import mlp

pytest.importorskip("matplotlib")

from weightwalk.show.formula_figures import formula_figure, loss_figure
from weightwalk.show.formula_figures_loss import parabolas
from weightwalk.show.formula_figures_plane import clipped, kink_lines, polygons
from weightwalk.show.formula_html import formula_html

net = partial(relu_nets.net, scale=2.0)


@pytest.fixture(scope="module")
def line() -> Formula:
    return formula(net(1, 6, 5, 1))


@pytest.fixture(scope="module")
def plane() -> Formula:
    return formula(net(2, 8, 6, 3))


def words(path: Path) -> str:
    """The text of a picture, one line."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", path.read_text(), re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", t)).strip() for t in found)


def drawn(found: Any, tmp_path: Path, **options: Any) -> str:
    formula_figure(found, tmp_path / "a.svg", **options)
    return words(tmp_path / "a.svg")


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf"])
def test_a_picture_is_the_same_each_time(line: Formula, plane: Formula, tmp_path: Path, ending: str) -> None:
    for found, colour in ((line, "value"), (plane, "slope")):
        formula_figure(found, tmp_path / f"a{ending}", colour=colour)
        formula_figure(found, tmp_path / f"b{ending}", colour=colour)
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


# Lines


def test_a_line_names_its_kinks_and_says_what_lies_outside(line: Formula, tmp_path: Path) -> None:
    text = drawn(line, tmp_path)
    facts = line.facts
    bends = int(np.count_nonzero(facts.bends))
    assert f"{bends} kinks, {bends + 1} pieces, on the whole real line" in text
    inside = re.search(r"Straight between the (\d+) kinks? drawn", text)
    assert inside is not None
    outside = re.search(r"(\d+) kinks? outside", text)
    assert int(inside[1]) + (int(outside[1]) if outside else 0) == bends
    named = re.search(r"(\d+) of them (?:is|are) named by unit", text)
    assert named is not None
    units = {name for k in np.flatnonzero(facts.bends) for name in facts.units[k]}
    assert sum(text.count(unit) for unit in units) >= int(named[1])
    assert "the line beyond" in text


def test_data_and_target_are_in_the_legend(line: Formula, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 11)
    text = drawn(line, tmp_path, data=(x, x**2), target=np.square, target_name="x²", data_name="training data")
    assert "x²" in text
    assert "training data" in text


def test_one_affine_map_of_one_number_is_a_line(tmp_path: Path) -> None:
    assert "one affine map, for every input" in drawn(formula(nn.Linear(1, 1)), tmp_path)


def test_a_line_through_five_dimensions_says_so(tmp_path: Path) -> None:
    found = formula(net(5, 6, 2), line=([0.0] * 5, [1.0] * 5))
    text = drawn(found, tmp_path)
    assert "in 5 dimensions: one direction of 5; nothing is said of the others." in text


def test_there_is_no_picture_of_a_point(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no picture of the formula around one input in 3 dimensions"):
        formula_figure(formula(net(3, 4, 1), at=[1.0, 2.0, 3.0]), tmp_path / "a.svg")


# Planes


@pytest.mark.parametrize("colour", ["value", "slope", "decision", "least"])
def test_a_plane_says_what_it_shows_and_leaves_out(plane: Formula, tmp_path: Path, colour: str) -> None:
    facts = plane.facts
    text = drawn(plane, tmp_path, colour=colour)
    assert f"{facts.activation_regions} activation regions, {facts.affine_regions} maximal affine regions" in text
    assert "[-1, 1] x [-1, 1]" in text
    lines = kink_lines(facts, facts.box)
    units = len(np.unique(lines.unit))
    assert f"{len(lines.ends)} kink segments of {units} units, exact" in text
    if colour in ("value", "slope"):
        assert "2 other outputs not drawn" in text
        assert "3[0, 0]" in text or plane.outputs[0] in text
    else:
        assert f"which output is {'greatest' if colour == 'decision' else 'least'}" in text


def test_an_unknown_colour_is_refused(plane: Formula, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="coloured by value, slope, decision, least; received 'hue'"):
        formula_figure(plane, tmp_path / "a.svg", colour="hue")


def test_the_polygons_are_the_regions(plane: Formula) -> None:
    facts = plane.facts
    made = polygons(facts, facts.box)
    assert len(made) == facts.activation_regions
    for r in (0, len(made) // 2, len(made) - 1):
        assert (made[r] == facts.polygon(r)).all()


def test_each_kink_line_is_drawn_once_and_lies_on_the_kink_of_its_unit(plane: Formula) -> None:
    facts = plane.facts
    lines = kink_lines(facts, facts.box)
    inner = (facts.edge >= 0).sum()
    assert 2 * len(lines.ends) == inner, "each edge inside the box has a region on either side"
    sizes = [layer.size for layer in facts.net.layers]
    pre = np.concatenate(facts.net.run(lines.ends.reshape(-1, 2), keep=True)[1], axis=1)
    at = pre.reshape(len(lines.ends), 2, sum(sizes))[np.arange(len(lines.ends)), :, lines.unit]
    assert np.abs(at).max() < 1e-12
    assert (lines.layer == (lines.unit >= sizes[0])).all()


def test_a_kink_without_effect_is_dashed_and_counted(tmp_path: Path) -> None:
    silent = net(2, 4, 1)
    with torch.no_grad():
        silent[2].weight[0, 1] = 0.0  # type: ignore[index]
    found = formula(silent, box=(-5, 5))
    lines = kink_lines(found.facts, found.facts.box)
    assert set(lines.unit[lines.silent].tolist()) == {1}
    assert f"dashed: {lines.silent.sum()} that change nothing" in drawn(found, tmp_path)


def test_a_plane_without_kinks_can_be_drawn(tmp_path: Path) -> None:
    found = formula(net(2, 3, 1), box=((100.0, 100.1), (100.0, 100.1)))
    assert "1 activation region, 1 maximal affine region" in drawn(found, tmp_path, colour="slope")


def test_the_whole_plane_is_drawn_around_its_vertices(tmp_path: Path) -> None:
    found = formula(net(2, 6, 2), box="all")
    for colour in ("value", "slope", "decision"):
        text = drawn(found, tmp_path, colour=colour)
        assert "on the whole plane" in text
        assert "Not drawn: the plane beyond [" in text


def test_unbounded_polygons_cover_the_picture() -> None:
    from matplotlib.path import Path as Outline

    found = formula(net(2, 5, 1), box="all").facts
    points = np.random.default_rng(0).uniform(-3, 3, (2000, 2))
    inside = [Outline(np.vstack([p, p[:1]])).contains_points(points) for p in polygons(found, ((-3, 3),) * 2)]
    assert (np.sum(inside, axis=0) == 1).all(), "each point lies in one region"


def test_data_points_are_counted(plane: Formula, tmp_path: Path) -> None:
    data = np.array([[0.0, 0.5], [0.2, -0.5], [3.0, 0.0]])
    text = drawn(plane, tmp_path, data=(data, np.zeros(3)))
    assert "Orange: 2 data points." in text
    assert "Not drawn: 1 point of the data outside." in text


def test_points_may_have_names(plane: Formula, tmp_path: Path) -> None:
    text = drawn(plane, tmp_path, data=(np.array([[0.0, 0.5], [0.2, -0.5], [9.0, 0.0]]), ("cat", "a\n$b$", "far")))
    assert "cat" in text
    assert r"a\n$b$" in text
    assert "far" not in text


def test_a_slice_of_five_dimensions_says_what_is_held(tmp_path: Path) -> None:
    found = formula(net(5, 6, 1), at=[0.0, 0.5, 0.0, 0.0, 3.0], plane=(0, 2))
    text = drawn(found, tmp_path)
    assert "A slice: the plane of in[0, 0] and in[0, 2], in 5 dimensions; the other 3 inputs are held at" in text
    assert "in[0, 4] = 3" in text


@pytest.mark.slow
@pytest.mark.parametrize("colour", ["value", "slope"])
def test_thousands_of_regions_make_no_absurd_file(tmp_path: Path, colour: str) -> None:
    found = formula(net(2, 120, 120, 1))
    assert found.facts.activation_regions > 8000
    text = drawn(found, tmp_path, colour=colour)
    assert (tmp_path / "a.svg").stat().st_size < 6_000_000
    assert "drawn as pixels because of their number" in text


def test_segments_are_cut_at_the_sides() -> None:
    ends = np.array(
        [[[-2.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.5, 0.5]], [[-2.0, 5.0], [2.0, 5.0]], [[0.0, 0.0], [4.0, 2.0]]]
    )
    made = clipped(ends, np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    assert made[0].tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert made[1].tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert (made[2][0] == made[2][1]).all()
    assert made[3].tolist() == [[0.0, 0.0], [1.0, 0.5]]


def test_a_formula_that_failed_says_so_in_its_picture(line: Formula, tmp_path: Path) -> None:
    bad = replace(line, certificate=Certificate((Check("agreement", 0.5, "<= 1e-12", False),), 0))
    assert "NOT EXACT: a check of its certificate failed" in drawn(bad, tmp_path)
    assert "NOT EXACT" not in drawn(line, tmp_path)


# Losses


def test_the_loss_is_drawn_as_parabolas(tmp_path: Path) -> None:
    from weightwalk.formulas.losses.moving import entry
    from weightwalk.formulas.losses.slices import loss_along

    rng = np.random.default_rng(0)
    small = mlp([rng.normal(size=(4, 1)), rng.normal(size=(1, 4))], [rng.normal(size=4), rng.normal(size=1)])
    x = np.linspace(-2, 2, 9)[:, None]
    loss = loss_along(small, entry(small, 0, 1, 0), (x, np.abs(x)), (-2.0, 2.0))
    path, _ = parabolas(loss, -2.0, 2.0)
    start, control, end = (path.vertices[i : len(path.vertices) - 2 + i : 2] for i in range(3))
    for s in (0.25, 0.5, 0.9):
        point = (1 - s) ** 2 * start + 2 * s * (1 - s) * control + s**2 * end
        assert point[:, 1] == pytest.approx(loss(point[:, 0]), rel=1e-9, abs=1e-12)
    loss_figure(loss, tmp_path / "a.svg")
    text = words(tmp_path / "a.svg")
    assert f"loss along {loss.name}: {len(loss.steps)} kinks, {loss.pieces} quadratic pieces, from -2 to 2" in text
    assert "as it is: " in text
    assert "all others stay: one direction of many" in text


def test_the_loss_over_two_weights_is_drawn_and_told(tmp_path: Path) -> None:
    from weightwalk.formulas.losses.moving import entry
    from weightwalk.formulas.losses.planes import loss_plane
    from weightwalk.show.formulas import loss_lines

    rng = np.random.default_rng(0)
    small = mlp([rng.normal(size=(4, 2)), rng.normal(size=(1, 4))], [rng.normal(size=4), rng.normal(size=1)])
    x = rng.uniform(-1, 1, (6, 2))
    weights = (entry(small, 0, 1, 0), entry(small, 0, 1, 1))
    loss = loss_plane(small, weights, (x, x[:, :1]), ((-2, 2), (-2, 2)))
    loss_figure(loss, tmp_path / "a.svg")
    text = words(tmp_path / "a.svg")
    total = sum(len(kink_lines(p, p.box).ends) for p in loss.partitions)
    assert f"6 samples, {loss.counts.sum()} quadratic pieces in all" in text
    assert f"White: {total} kink segments of the samples, exact." in text
    assert "two directions of many" in text
    page = "\n".join(t.plain for t in loss_lines(loss, 100))
    *_, values = loss.grid(33)
    assert f"{values.min():.9g}" in page
    assert f"{float(loss(np.array(loss.at))):.9g}" in page
    assert "exact: |formula - net| <= " in page
    assert max(map(len, page.splitlines())) <= 100


# Notebooks


def test_a_notebook_shows_picture_tables_and_every_check(line: Formula, plane: Formula) -> None:
    for found in (line, plane):
        page = formula_html(found)
        assert page == found._repr_html_()
        assert "src='data:image/png;base64," in page
        assert "└" not in page, "the picture stands for the graph in dots"
        text = html.unescape(re.sub(r"<[^>]*>", "", page))
        for check in found.certificate.checks:
            assert check.name.split(" at ")[0] in " ".join(text.split())


def test_names_are_text_in_a_notebook(line: Formula) -> None:
    page = formula_html(replace(line, name="<script>alert(1)</script>'"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_without_matplotlib_a_notebook_has_the_graph_in_dots(line: Formula, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise UsageError("A figure needs matplotlib")

    monkeypatch.setattr("weightwalk.show.formula_figures.formula_figure", missing)
    page = formula_html(line)
    assert "<img" not in page
    assert "└" in page


def test_a_picture_can_be_written_to_an_open_file(line: Formula) -> None:
    held = io.BytesIO()
    formula_figure(line, held)
    assert held.getvalue().startswith(b"\x89PNG")
