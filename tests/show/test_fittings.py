"""How fitting and generalising look: every kind of facts as lines that fit, and as pictures that say what they hide."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from weightwalk.learning.fitting.beyond import fit_beyond
from weightwalk.learning.fitting.capacity import fit_capacity
from weightwalk.learning.fitting.data import fit_data
from weightwalk.learning.fitting.epochs import fit_epochs
from weightwalk.learning.fitting.labels import fit_labels
from weightwalk.learning.fitting.points import fit_points
from weightwalk.learning.fitting.regions import fit_regions
from weightwalk.show.fitting_figures import fitting_figure
from weightwalk.show.terminal import plain

MAKERS = {
    "points": lambda s: fit_points(widths=(2,), seeds=range(s), epochs=4),
    "labels": lambda s: fit_labels(widths=(2, 4), rows=10, seeds=range(s), epochs=3),
    "capacity": lambda s: fit_capacity(widths=(0, 2), seeds=range(s), epochs=3, functions=s > 1),
    "data": lambda s: fit_data(sizes=(2, 4, 8), widths=(2, 3), seeds=range(s), updates=2),
    "beyond": lambda s: fit_beyond(seeds=range(s), rates=(0.01, 100.0), steps=9, numbers=(2.0, 100.0), epochs=5),
    "epochs": lambda s: fit_epochs(seeds=range(s), epochs=2, width=4, context=3),
    "regions": lambda s: fit_regions(widths=(1, 2), seeds=range(s), epochs=3),
}


@pytest.fixture(scope="module", params=MAKERS)
def facts(request):
    return MAKERS[request.param](2)


@pytest.mark.parametrize("width", [72, 100, 120])
def test_lines_fit(facts, width: int) -> None:
    lines = plain(facts, width).splitlines()
    assert len(lines) > 8
    if width >= 100:
        assert max(map(len, lines)) <= width, max(lines, key=len)


@pytest.mark.parametrize("name", MAKERS)
def test_a_single_seed_has_no_interval_and_no_error(name: str) -> None:
    page = plain(MAKERS[name](1), 100)
    assert "nan" not in page.lower().replace("nan.", "")


def test_a_picture_says_what_it_leaves_out(facts, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.svg"
    fitting_figure(facts, path)
    words = " ".join(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))
    assert re.search(r"[Nn]ot drawn|not drawn", words), words


@pytest.mark.parametrize("kind", ["svg", *(pytest.param(k, marks=pytest.mark.slow) for k in ("png", "pdf"))])
def test_the_same_facts_are_the_same_picture(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    facts = MAKERS["data"](2)
    paths = [tmp_path / f"{i}.{kind}" for i in range(2)]
    for path in paths:
        fitting_figure(facts, path)
    assert paths[0].read_bytes() == paths[1].read_bytes() and paths[0].stat().st_size > 4000


def test_a_loss_that_never_rose_is_not_called_proof() -> None:
    calm = fit_beyond(seeds=(0,), rates=(1e-4,), steps=5, numbers=(2.0,), epochs=5)
    assert "is not ruled out" in " ".join(plain(calm, 100).split())


def test_too_few_epochs_are_not_called_overfitting() -> None:
    few = fit_epochs(seeds=(0,), epochs=1, width=16, context=4)
    assert "not trained too long; give more --epochs" in " ".join(plain(few, 100).split())
