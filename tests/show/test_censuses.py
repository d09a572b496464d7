"""A census as text and as a picture: widths, words, and what is said of what is left out."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from weightwalk.learning.censuses.census import census
from weightwalk.learning.censuses.wilson import wilson
from weightwalk.show.census_figures import census_figure
from weightwalk.show.censuses import bar, brief, contrast_words, interval, percent
from weightwalk.show.terminal import plain


@pytest.fixture(scope="module")
def grid() -> Any:
    vary = {"width": [2, 4, 8], "optimizer+lr": [("sgd", 0.1), ("adam", 0.01)], "epochs": [5, 40]}
    return census("hello6", seeds=10, vary=vary)


@pytest.fixture(scope="module")
def one() -> Any:
    return census("hello6", seeds=10, vary={"epochs": [40]}, locate={"first_loss": 2.0})


@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_fit(grid: Any, one: Any, width: int) -> None:
    for found in (grid, one):
        lines = plain(found, width).splitlines()
        assert max(map(len, lines)) <= width
        assert all(line == line.rstrip() for line in lines)


def test_a_table_of_many_cells_has_a_row_each(grid: Any) -> None:
    page = plain(grid)
    rows = [x for x in page.splitlines() if re.match(r"\s+[248]\s+(sgd|adam)\s+", x)]
    assert len(rows) == 3 * len(grid.cells), "shares, measures, dead units"
    assert "not shown: 8 more comparisons" in page
    assert len(grid.contrasts) == 20


def test_numbers_are_written_as_they_are() -> None:
    share = wilson(312, 1000)
    assert (percent(share), interval(share), brief(share)) == ("31.2 %", "28.4 to 34.1 %", "31.2 [28.4, 34.1]")
    none = wilson(0, 0)
    assert percent(none) == interval(none) == brief(none) == "-"
    assert bar(1.0) == "█" * 20 and bar(0.0) == "" and bar(1e-9) == "▏" and bar(0.5, 10) == "█████"


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.1, 0.3, "more often"), (-0.3, -0.1, "less often"), (-0.1, 0.1, "no ")]
)
def test_a_contrast_says_whether_it_helps(grid: Any, low: float, high: float, said: str) -> None:
    contrast = grid.contrasts[0]
    gap = type(contrast.gap)((low + high) / 2, low, high)
    made = type(contrast)(**{**vars(contrast), "gap": gap, "gained": 0, "lost": 0, "apart": 1e-7, "typical": 1e-8})
    text = contrast_words(made, 10)
    assert said in text and "differ by 1e-08 (median) to 1e-07 (at most)" in text


@pytest.mark.parametrize("ending", [".svg", *(pytest.param(e, marks=pytest.mark.slow) for e in (".png", ".pdf"))])
def test_pictures_are_written_the_same_twice(grid: Any, one: Any, ending: str, tmp_path: Path) -> None:
    for name, found in (("grid", grid), ("one", one)):
        first, second = tmp_path / f"{name}1{ending}", tmp_path / f"{name}2{ending}"
        census_figure(found, first)
        census_figure(found, second)
        assert first.read_bytes() == second.read_bytes() and first.stat().st_size > 3000


def test_the_picture_says_what_it_shows_and_hides(grid: Any, one: Any, tmp_path: Path) -> None:
    for found in (grid, one):
        file = tmp_path / "a.svg"
        census_figure(found, file)
        text = " ".join(re.findall(r">([^<>]+)</text>", file.read_text(encoding="utf-8")))
        for words in (
            "10 seeds (0 to 9)",
            "95 % Wilson",
            "Not shown:",
            "solved: right == all",
            "share of the seeds, %",
        ):
            assert words in text.replace("&gt;", ">"), words
    census_figure(one, io.BytesIO())


def test_cells_with_different_measures_are_shown_side_by_side() -> None:
    """A net of ReLUs has kinks; one of identities has none to count."""
    found = census("linear", seeds=4, vary={"depth": [1], "activation": ["relu", "identity"], "epochs": [3]})
    page = plain(found)
    assert re.search(r"identity .* -$", page, re.M) and "kinks: least, median, greatest" in page


def test_seeds_without_a_value_are_not_hidden() -> None:
    found = census("hello", seeds=20, vary={"width": [2, 4], "epochs": [100]}, measures=["epochs_to[0.9]"])
    known = [c.spreads["epochs_to[0.9]"].known for c in found.cells]
    assert 0 < known[0] < 20
    assert re.search(rf" of {known[0]}\b", plain(found)) and "over the N seeds that have a value" in plain(found)
