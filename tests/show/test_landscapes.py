"""Landscapes as text and as pictures: what is shown is the facts, and what is left out is said inside."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.hessians import spectrum
from weightwalk.learning.landscapes.bowls import SIBLING, slide
from weightwalk.learning.landscapes.curvatures import random_curvatures
from weightwalk.learning.landscapes.directions import random_plane
from weightwalk.learning.landscapes.landscape import landscape
from weightwalk.learning.landscapes.lines import line_between
from weightwalk.learning.landscapes.neuron import neuron, optimizer_paths, rate_paths, start_of
from weightwalk.learning.landscapes.paths import checks, path_on
from weightwalk.learning.landscapes.pictures import Picture, picture
from weightwalk.learning.landscapes.surface import grid, surface
from weightwalk.learning.landscapes.trajectories import trajectory
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train
from weightwalk.show.landscapes import beside, chosen, thinned
from weightwalk.show.terminal import plain

X = torch.linspace(-2, 2, 16, dtype=torch.float64)[:, None]
Y = torch.sin(2 * X)
SETTINGS = {"task": "sine", "seed": 0, "loss": "mse", "optimizer": "adam", "lr": 0.05, "epochs": 60, "batch": None}


def net(seed: int = 0) -> nn.Module:
    with seeded(seed):
        return nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    module = net()
    kept = train(module, X, Y, optimizer="adam", lr=0.05, epochs=60, snapshots=5).snapshots
    path = trajectory(module, kept, X, Y, walks=5)
    about = {
        "settings": SETTINGS, "spectrum": spectrum(module, X, Y, loss="mse"),
        "curvatures": random_curvatures(module, X, Y, directions=20),
    }  # fmt: skip
    planes = [random_plane(module, s) for s in (0, 1)]
    two = tuple(surface(module, X, Y, p, alphas=grid(7)) for p in planes)
    real = path_on(planes[0], [s.weights for s in kept], module, X, Y, "mse", name="adam", rate=0.05)
    drawn = surface(module, X, Y, path.plane, alphas=2 * grid(7), betas=grid(7))
    tried = checks(module, X, Y, kept[0].weights)
    return {
        "random": picture("sine", "random", two, ("seed 0", "seed 1"), **about),
        "over": picture("sine", "random", two[:1], ("",), paths=(real,), checks=tried, **about),
        "trajectory": picture("sine", "trajectory", (drawn,), ("",), trajectory=path, checks=tried, **about),
        "line": line_between(module, net(1), X, Y, points=9, held_out=(X + 0.1, Y)),
        "landscape": landscape(module, X, Y, points=5, seeds=(0, 1), directions=5),
    }


def words(path: Path) -> str:
    """The text of a picture, one line."""
    parts = re.findall(r"<text[^>]*>(.*?)</text>", path.read_text(), re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", t)).strip() for t in parts)


def drawn(found: Any, tmp_path: Path, **options: Any) -> str:
    pytest.importorskip("matplotlib")
    from weightwalk.show.landscape_figures import landscape_figure

    landscape_figure(found, tmp_path / "a.svg", **options)
    return re.sub(r"\s+", " ", words(tmp_path / "a.svg"))


# What every picture says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["random", "over", "trajectory"])
@pytest.mark.parametrize("solid", [False, True], ids=["flat", "solid"])
def test_each_picture_says_inside_what_it_leaves_out(
    found: dict[str, Any], kind: str, solid: bool, tmp_path: Path
) -> None:
    shown: Picture = found[kind]
    text = drawn(shown, tmp_path, surface3d=solid)
    said = re.sub(r"\s+", " ", plain(shown))
    facts = shown.spectrum
    assert facts is not None
    for page in (text, said):
        assert "Shown: 2 of 19 dimensions (11 %)" in page
        assert f"held fixed: {shown.surfaces[0].held}" in page
        assert f"{shown.surfaces[0].centre_loss:.9g}"[:8] in page
        assert f"{facts.largest[0]:.4g}" in page and f"{facts.negative} of 19 negative" in page
        assert "Of 20 random directions" in page
        assert "trained by adam" in page


def test_the_line_says_what_it_leaves_out_too(found: dict[str, Any], tmp_path: Path) -> None:
    facts = found["random"].spectrum
    line = replace(found["line"], spectra=(facts, replace(facts, negative=7)))
    for page in (drawn(line, tmp_path), re.sub(r"\s+", " ", plain(line))):
        assert "Shown: 1 of 19 dimensions (5.26 %); held fixed: the other 18." in page
        assert f"Hessian at {line.labels[0]}: greatest eigenvalues {facts.largest[0]:.4g}" in page
        assert f"{facts.negative} of 19 negative" in page and "7 of 19 negative" in page


def test_a_least_eigenvalue_that_rounding_puts_below_0_is_not_shown_as_negative(found: dict[str, Any]) -> None:
    facts = replace(found["random"].spectrum, tolerance=3e-5, smallest=np.array([-2e-5]), negative=0)
    said = re.sub(r"\s+", " ", plain(replace(found["random"], spectrum=facts)))
    assert "0 of 19 negative, the least 0 (within ±3e-05); gradient" in said
    facts = replace(facts, smallest=np.array([-4e-5]), negative=1)
    said = re.sub(r"\s+", " ", plain(replace(found["random"], spectrum=facts)))
    assert "1 of 19 negative, the least -0.00004; gradient" in said


def test_true_and_drawn_losses_stand_in_the_picture_and_in_the_table(found: dict[str, Any], tmp_path: Path) -> None:
    shown = found["trajectory"]
    path = shown.trajectory
    text, said = drawn(shown, tmp_path), plain(shown)
    for i in chosen(path, 9):
        assert f"{path.true[i]:.3g}" in text and f"{path.drawn[i]:.3g}" in text
    w = path.worst
    assert f"worst at epoch {path.epochs[w]}: {path.drawn[w]:.3g} drawn, {path.true[w]:.3g} true" in text
    assert re.search(rf"^ *{path.epochs[w]} .*<- worst", said, re.M)
    assert "60.79  15.20" in said and "76.0 %" in text
    assert f"{100 * path.centred.path[:2].sum():.1f} %" in text and f"{100 * path.centred.path[0]:.2f}" in said
    assert "each checkpoint: the loss that it has" in said and "not shown: 1 checkpoint more" in said
    assert "checkpoint more" not in plain_all(shown)


def plain_all(shown: Any) -> str:
    from weightwalk.show.terminal import lines

    return "\n".join(line.plain for line in lines(shown, 100, top=100))


def test_paths_tell_how_much_of_them_is_seen(found: dict[str, Any], tmp_path: Path) -> None:
    path = found["over"].paths[0]
    share = f"{100 * path.shown:.1f} %"
    assert f"adam: ends at {path.final:.3g}, {share} of it seen" in drawn(found["over"], tmp_path)
    assert share in plain(found["over"]) and "gets right" in plain(found["over"])


def test_the_line_says_its_barrier(found: dict[str, Any], tmp_path: Path) -> None:
    line = found["line"]
    text, said = drawn(line, tmp_path), plain(line)
    assert "held-out" in said and "held-out data" in text
    for page in (said, text):
        assert "no wall" in re.sub(r"\s+", " ", page) and f"{line.ends[1]:.4g}"[:5] in page
    assert (f"{line.barrier:.4g}" in said) == (line.barrier > 0)


def test_what_the_verb_gives_is_shown_too(found: dict[str, Any], tmp_path: Path) -> None:
    assert "Shown: 2 of 19 dimensions" in plain(found["landscape"])
    assert "Shown: 2 of 19 dimensions" in drawn(found["landscape"], tmp_path)
    assert "Shown: 2 of 19 dimensions" in drawn(found["landscape"], tmp_path, surface3d=True)


def test_the_neuron_and_the_bowl(tmp_path: Path) -> None:
    one = neuron(grid=9)
    one = replace(one, paths=optimizer_paths(one, steps=10))
    text = drawn(one, tmp_path)
    assert "sample 0 alone: a trough" in text and "all 40 samples: a bowl" in text
    assert "Hessian's eigenvalues 50 and 0" in text and "no hills and no second valley" in text
    assert "with momentum 0.9: ends at" in text
    bowl = slide(SIBLING, rate_paths(SIBLING, (0.9, 1.1), start_of(SIBLING)), 9)
    assert "2/λmax = 0.9601" in drawn(bowl, tmp_path) and "diverged" in drawn(bowl, tmp_path)
    assert "fell at every step" in plain(bowl) and "0.9601" in plain(bowl)
    for solid in (one, bowl):
        assert "behind a slope" in drawn(solid, tmp_path, surface3d=True)


# Pictures as files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".svg", *(pytest.param(e, marks=pytest.mark.slow) for e in (".png", ".pdf"))])
def test_the_same_facts_give_the_same_bytes(found: dict[str, Any], ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.show.landscape_figures import landscape_figure

    for name in ("a", "b"):
        landscape_figure(found["over"], tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_no_two_texts_of_a_picture_overlap(found: dict[str, Any]) -> None:
    """Boxes of all texts as the renderer has them; what is inside one axes may touch its lines, not other texts."""
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    from weightwalk.show import landscape_figures_flat as flat
    from weightwalk.show.landscape_figures_path import trajectory_drawing

    one = neuron(grid=9)
    made = [flat.maps(Figure, found["random"]), flat.maps(Figure, found["over"]), flat.neuron_drawing(Figure, one),
            trajectory_drawing(Figure, found["trajectory"]), flat.line_drawing(Figure, found["line"])]  # fmt: skip
    for figure in made:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
        unseen = set()  # labels of ticks beyond the ends of an axis are kept by matplotlib and not drawn
        for axes in figure.axes:
            box = axes.get_window_extent()
            for axis, low, high in ((axes.xaxis, box.x0, box.x1), (axes.yaxis, box.y0, box.y1)):
                for label in axis.get_ticklabels(which="both"):
                    seen = label.get_window_extent(canvas.get_renderer())
                    middle = (seen.x0 + seen.x1) / 2 if axis is axes.xaxis else (seen.y0 + seen.y1) / 2
                    if not low - 1 <= middle <= high + 1:
                        unseen.add(id(label))
        boxes = [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts if id(t) not in unseen]
        for i, (a, one_box) in enumerate(boxes):
            for b, other in boxes[i + 1 :]:
                wide = min(one_box.x1, other.x1) - max(one_box.x0, other.x0)
                tall = min(one_box.y1, other.y1) - max(one_box.y0, other.y0)
                assert not (wide > 3 and tall > 3), f"{a!r} and {b!r} overlap by {wide:.0f} x {tall:.0f}"


def test_the_colours_are_read_in_grey() -> None:
    """Luminance falls all along the scale, so that light is low in grey too."""
    matplotlib = pytest.importorskip("matplotlib")
    from weightwalk.show.landscape_figures import COLOURS

    shades = matplotlib.colormaps[COLOURS](np.linspace(0, 1, 64))[:, :3]
    luminance = shades @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) < 0).all() and luminance[0] - luminance[-1] > 0.6


def test_losses_that_are_not_finite(found: dict[str, Any], tmp_path: Path) -> None:
    first = found["random"].surfaces[0]
    losses = first.losses.copy()
    losses[0, 0], losses[6, 6] = np.inf, np.nan
    broken = picture("sine", "random", (replace(first, losses=losses, not_finite=2),), ("",), settings=SETTINGS)
    page = plain(broken)
    assert "!!" in page and "2 places of the grid have no finite loss" in page and np.isfinite(broken.scale).all()
    assert "no finite loss" in drawn(broken, tmp_path) and drawn(broken, tmp_path, surface3d=True)
    nothing = picture("x", "random", (replace(first, losses=losses * np.nan, not_finite=49),), ("",), settings=SETTINGS)
    assert plain(nothing).count("!!") > 20 and drawn(nothing, tmp_path)
    level = picture("x", "random", (replace(first, losses=np.ones_like(losses)),), ("",), settings=SETTINGS)
    assert plain(level) and drawn(level, tmp_path)


def test_refusals(found: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A line has no surface"):
        drawn(found["line"], tmp_path, surface3d=True)
    many = found["random"].surfaces * 5
    crowd = picture("x", "random", many, tuple(map(str, range(10))), settings=SETTINGS)
    for solid in (False, True):
        with pytest.raises(UsageError, match="holds 9 surfaces, and there are 10"):
            drawn(crowd, tmp_path, surface3d=solid)


def test_an_open_file_becomes_a_png(found: dict[str, Any]) -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.show.landscape_figures import landscape_figure

    file = io.BytesIO()
    landscape_figure(found["line"], file)
    assert file.getvalue().startswith(b"\x89PNG")


# Maps of letters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "centre"), [(3, 1), (5, 2), (41, 20), (43, 21), (201, 100), (61, 15)])
def test_a_thinned_map_keeps_the_net(length: int, centre: int) -> None:
    picked = thinned(length, centre)
    assert centre in picked and len(picked) <= 21 and len(set(np.diff(picked))) <= 1


def test_maps_stand_side_by_side_where_there_is_room(found: dict[str, Any]) -> None:
    from rich.text import Text

    wide = [line.plain for line in beside([("a", [Text("xx")]), ("b", [Text("yy")])], 40)]
    narrow = [line.plain for line in beside([("a", [Text("x" * 30)]), ("b", [Text("y" * 30)])], 40)]
    assert len(wide) == 2 and "b" in wide[0] and "yy" in wide[1]
    assert len(narrow) == 5
    assert all(len(line) <= 100 for line in plain(found["random"]).splitlines())


def test_no_number_of_a_label_is_cut_short() -> None:
    pytest.importorskip("matplotlib")
    from weightwalk.show.landscape_figures_3d import _clipped

    assert _clipped("change of fc1.weight[0, 0] (trained: 0.13)") == "change of fc1.weight[0, 0] (trained: 0.13)"
    assert _clipped("change of fc1.weight[0, 0] (trained: -0.003412)") == "change of fc1.weight[0, 0]"
    assert _clipped("a" * 60) == "a" * 42 + "..."
