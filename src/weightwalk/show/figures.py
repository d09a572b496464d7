"""A picture of a walk, drawn from its story with matplotlib: nothing is computed here, and what is left out is said.

A small net becomes a graph: a circle for every number, an arrow for every contribution, its width and colour the
contribution's size and sign. A large one becomes three panels: how strong each part's output is, where each head looks,
and what the net says at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from weightwalk.readings.narrate_facts import Section, Story, Sum, Table
from weightwalk.show.drawing import INK, save

PLUS, MINUS, OFF, WIN = "#1f77b4", "#c0392b", "#b8bec5", "#147a3d"
MOST = 12  # circles in one column; of a wider layer the picture would be a blot


@dataclass
class Node:
    """One number of the picture."""

    label: str
    value: float
    on: bool = True


@dataclass
class Graph:
    """Columns of numbers, and the contributions between them."""

    columns: list[tuple[str, list[Node]]] = field(default_factory=list)
    arrows: list[tuple[str, str, float]] = field(default_factory=list)


def draw(walk: Any, path: Path, story: Story | None = None) -> None:
    """Draw a walk to a file; its ending says the kind (.svg, .png, .pdf).

    Raises:
        UsageError: matplotlib is not installed.
    """
    save(lambda make: _drawing(make, walk.narrate() if story is None else story), path)


def _drawing(make: Any, story: Story) -> Any:
    graph = graph_of(story) if story.small else None
    if graph is not None and graph.columns and max(len(nodes) for _, nodes in graph.columns) <= MOST:
        return _draw_graph(make, graph, story)
    return _draw_panels(make, story)


# Small nets ---------------------------------------------------------------------------------------------------------


def graph_of(story: Story) -> Graph:
    """The numbers and contributions of a small net's story, for one row of its input."""
    graph, placed = Graph(), set()
    for section in story.sections:
        if section.phase != "forward":
            continue
        sums = [line for line in section.lines if isinstance(line, Sum)]
        gates = [line for line in section.lines if isinstance(line, Table) and "gate" in line.columns]
        if sums:
            _add_layer(graph, placed, section, sums)
        for table in gates:
            _add_gates(graph, placed, section, table)
    return graph


def _add_layer(graph: Graph, placed: set[str], section: Section, sums: list[Sum]) -> None:
    sources = [t for s in sums for t in s.terms if t.kind in ("product", "value")]
    new = {t.label: t.factors[1] if len(t.factors) > 1 else t.value for t in sources if t.label not in placed}
    if new and not graph.columns:
        first = next(iter(new)).partition("[")[0]
        graph.columns.append((first if first != "in" else "input", [Node(k, float(v)) for k, v in new.items()]))
        placed.update(new)
    nodes = []
    for line in sums:
        if line.label in placed:
            continue
        nodes.append(Node(line.label, float(line.total)))
        placed.add(line.label)
        graph.arrows += [(t.label, line.label, float(t.value)) for t in line.terms if t.label in placed]
    if nodes:
        graph.columns.append((section.title, nodes))


def _add_gates(graph: Graph, placed: set[str], section: Section, table: Table) -> None:
    before = graph.columns[-1][1] if graph.columns else []
    rows = [row for row in table.rows if isinstance(row[2], Decimal)]
    if len(rows) != len(before):
        return
    nodes = [Node(str(row[0]), float(row[2]), on=not str(row[3]).startswith("off")) for row in rows]  # type: ignore[arg-type]
    graph.columns.append((section.title, nodes))
    graph.arrows += [(a.label, b.label, b.value) for a, b in zip(before, nodes, strict=True)]
    placed.update(n.label for n in nodes)


def _draw_graph(make: Any, graph: Graph, story: Story) -> Any:
    tallest = max(len(nodes) for _, nodes in graph.columns)
    figure = make(figsize=(2.1 * len(graph.columns) + 1.2, 0.85 * tallest + 2.0))
    axes = figure.add_subplot()
    places: dict[str, tuple[float, float]] = {}
    best = max(graph.columns[-1][1], key=lambda n: n.value).label if len(graph.columns[-1][1]) > 1 else ""
    for x, (_, nodes) in enumerate(graph.columns):
        for i, node in enumerate(nodes):
            places[node.label] = (2.1 * x, (len(nodes) - 1) / 2 - i)
    largest = max((abs(v) for *_, v in graph.arrows), default=1.0) or 1.0
    for start, end, value in graph.arrows:
        (x0, y0), (x1, y1) = places[start], places[end]
        if value == 0 or value != value:
            axes.plot([x0, x1], [y0, y1], color=OFF, linewidth=0.5, linestyle=(0, (2, 3)), zorder=1)
            continue
        width = 0.5 + 4.5 * min(abs(value) / largest, 1)
        axes.plot([x0, x1], [y0, y1], color=PLUS if value > 0 else MINUS, linewidth=width, alpha=0.75, zorder=1,
                  solid_capstyle="butt")  # fmt: skip
    for x, (title, nodes) in enumerate(graph.columns):
        name, _, rest = title.partition(" · ")
        axes.text(2.1 * x, tallest / 2 + 0.35, name, ha="center", va="bottom", fontweight="bold", fontsize=10)
        axes.text(2.1 * x, tallest / 2 + 0.3, rest.split(" · ")[0], ha="center", va="top", fontsize=8, color="#5b6673")
        for node in nodes:
            _circle(axes, places[node.label], node, node.label == best)
    axes.set_title(story.title, fontsize=11, loc="left", pad=24)
    axes.text(0, -0.01, _caption(), transform=axes.transAxes, fontsize=7.5, color="#5b6673", va="top")
    axes.set_xlim(-0.9, 2.1 * (len(graph.columns) - 1) + 0.9)
    axes.set_ylim(-tallest / 2 - 0.1, tallest / 2 + 0.75)
    axes.axis("off")
    return figure


def _caption() -> str:
    return (
        "Circle: a number of the walk, rounded to four digits (the story has them all). "
        "Line: its contribution to the next number,\n"
        "blue positive, red negative, width its size, dotted where it is 0. Not drawn: biases, rounding, weights."
    )


def _circle(axes: Any, place: tuple[float, float], node: Node, best: bool) -> None:
    from matplotlib.patches import Ellipse

    edge = WIN if best else (INK if node.on else OFF)
    face = "#eaf6ee" if best else ("white" if node.on else "#f4f5f6")
    axes.add_patch(
        Ellipse(place, 1.0, 0.56, facecolor=face, edgecolor=edge, linewidth=2.2 if best else 1.2, zorder=2,
                linestyle="-" if node.on else (0, (3, 2)))
    )  # fmt: skip
    axes.text(place[0], place[1], f"{node.value:.4g}" if node.on else "off", ha="center", va="center", fontsize=9,
              color=INK if node.on else "#8a939c", zorder=3)  # fmt: skip
    label = node.label.replace("$", r"\$")
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}  # a line may pass under the label
    at = (place[0], place[1] - 0.31)
    axes.text(*at, label, ha="center", va="top", fontsize=7, color="#5b6673", zorder=3, bbox=behind)


# Large nets ---------------------------------------------------------------------------------------------------------


def _tables(story: Story) -> list[tuple[str, Table]]:
    out: list[tuple[str, Table]] = []

    def visit(section: Section, name: str) -> None:
        here = section.address or name
        out.extend((here, line) for line in section.lines if isinstance(line, Table))
        for child in section.children:
            visit(child, here)

    for section in story.sections:
        visit(section, "")
    return out


def _absolute(section: str, part: str) -> str:
    """The whole address of a part that a section names within itself."""
    if part == "(the output)":
        return section
    return part if not section else section + part if part.startswith("/") else f"{section}.{part}"


def _draw_panels(make: Any, story: Story) -> Any:
    tables = _tables(story)
    norms = [
        (_absolute(where, str(r[0])), float(r[3]))
        for where, t in tables
        if "norm" in t.columns
        for r in t.rows
        if isinstance(r[3], Decimal)
    ]
    looks = [(name, t) for name, t in tables if t.caption.startswith("softmax: how much")][:4]
    ends = [t for _, t in tables if "probability" in t.columns]
    panels = 1 + bool(looks) + bool(ends)
    figure = make(figsize=(4.6 * panels, max(3.2, 0.2 * len(norms) + 1.4)), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _bars(axes[0], norms, "norm of each part's output", "last position; the scale is logarithmic")
    if looks:
        _heads(axes[1], looks)
    if ends:
        rows = [(str(r[0]), float(r[-2])) for r in ends[-1].rows if isinstance(r[-2], Decimal) and r[0] != "sum"]
        rest = [f"{name} share {value:.4g}" for name, value in rows if name.startswith("the other")]
        rows = [row for row in rows if not row[0].startswith("the other")]
        _bars(axes[-1], rows, "probabilities at the last position", rest[0] if rest else "all are shown", log=False)
    figure.suptitle(story.title.replace("$", r"\$"), fontsize=11, ha="left", x=0.01)
    return figure


def _bars(axes: Any, rows: list[tuple[str, float]], title: str, note: str, *, log: bool = True) -> None:
    names = [name.replace("$", r"\$") for name, _ in rows]
    values = [v if v == v else 0.0 for _, v in rows]
    axes.barh(range(len(rows)), values, color=PLUS, height=0.65)
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    if log and any(v > 0 for v in values):
        axes.set_xscale("log")
    for i, value in enumerate(values):
        axes.text(value, i, f" {value:.3g}", va="center", fontsize=6.5, color=INK)
    axes.margins(x=0.18)
    axes.set_title(f"{title}\n({note})", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)


def _heads(axes: Any, looks: list[tuple[str, Table]]) -> None:
    """One row per head: how much of each token it takes."""
    rows, names = [], []
    columns = looks[0][1].columns[1:-2]
    for name, table in looks:
        for row in table.rows:
            cells = row[1:-2]
            if len(cells) == len(columns) and all(isinstance(c, Decimal) for c in cells):
                rows.append([float(c) for c in cells])  # type: ignore[arg-type]
                names.append(f"{name} {row[0]}")
    if not rows:
        axes.text(
            0.5, 0.5, "too many tokens to draw;\nthe story lists the largest", ha="center", va="center", fontsize=8
        )
        axes.axis("off")
        return
    axes.imshow(rows, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7,
                      color="white" if value > 0.6 else INK)  # fmt: skip
    axes.set_xticks(range(len(columns)), [c.replace("$", r"\$") for c in columns], fontsize=7, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title("where each head looks\n(softmax row of the last position)", fontsize=9, loc="left")
