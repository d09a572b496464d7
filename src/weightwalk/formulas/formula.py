"""The verb: which exact formula is wanted of which net, found and held to its certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.formulas.affine import affine_map
from weightwalk.formulas.asking import check_options, check_sizes, check_source, check_together, rows_among, rows_of
from weightwalk.formulas.calls import call_of, recorded
from weightwalk.formulas.certificate import Certificate, Check
from weightwalk.formulas.lifts.lift import Lifted, lift
from weightwalk.formulas.naming import box_on, named, own_box
from weightwalk.formulas.oracle import Oracle, module_oracle, oracle_of
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.formulas.places import Flat, flat_line, flat_plane, intervals, point_of
from weightwalk.walks.walk import Walk

Progress = Callable[[int, int], None]

FEW = 64
"""Points at which the net's own precision is measured."""


@dataclass(frozen=True, eq=False)
class Formula:
    """An exact formula, where it holds, and what it was held to.

    Attributes:
        kind: ``"affine"`` (one map for all inputs), ``"line"`` (every kink along a line), ``"plane"`` (every region of
            a plane) or ``"point"`` (the map and its region around one input).
        name: Of the net.
        lifted: The net in piecewise-affine form, with the walk that it was read from.
        facts: An `AffineMap`, a `Line`, a `Partition` or a `Local`.
        flat: The line or plane in input space; None where the formula is one of the inputs themselves.
        exact: The same in rational arithmetic, where it was asked for: an `ExactLine` or an `ExactPartition`.
        certificate: The checks of `facts`, of the rational arithmetic, and of the net's own precision.
        oracle: The net in float64, as the judge computed it; the data of a picture may be drawn from it.
    """

    kind: str
    name: str
    lifted: Lifted = field(repr=False)
    facts: Any = field(repr=False)
    flat: Flat | None
    exact: Any = field(repr=False)
    certificate: Certificate = field(repr=False)
    oracle: Oracle = field(repr=False)

    @property
    def certified(self) -> bool:
        """Whether every check passed; only then is the formula printed as exact."""
        return self.certificate.ok

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the numbers that the formula is one of."""
        return self.facts.net.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the numbers that it gives."""
        return self.facts.net.outputs

    def text(self, **options: Any) -> str:
        """As plain text; see `weightwalk.formulas.writing.written`."""
        return self._written("text", **options)

    def latex(self, **options: Any) -> str:
        """As LaTeX."""
        return self._written("latex", **options)

    def python(self, **options: Any) -> str:
        """As the source of a function that needs NumPy and nothing else."""
        return self._written("python", **options)

    def _written(self, form: str, **options: Any) -> str:
        from weightwalk.formulas.writing.written import write

        return write(self, form, **options)

    def __str__(self) -> str:
        from weightwalk.show.formulas import formula_lines

        return "\n".join(line.plain if hasattr(line, "plain") else str(line) for line in formula_lines(self, 100))

    def _repr_html_(self) -> str:
        from weightwalk.show.formula_html import formula_html

        return formula_html(self)


def formula(
    net_or_walk: Any,
    *,
    at: Any = None,
    line: tuple[Any, Any] | None = None,
    plane: Any = None,
    box: Any = None,
    weight: str | Sequence[str] | None = None,
    surrogate: int | None = None,
    per_input: bool = False,
    data: tuple[Any, Any] | None = None,
    output: str | None = None,
    select: int | Sequence[int] | None = None,
    exact: bool = False,
    seed: int = 0,
    max_regions: int = 2_000_000,
    memory: int = 2 << 30,
    progress: Progress | None = None,
    **options: Any,
) -> Any:
    """The exact formula of a piecewise-affine net: over all inputs, along a line, on a plane, or around one input.

    Without `at`, `line` or `plane`: a net without kinks gives its one affine map, a net of one input every kink of the
    real line, a net of two inputs every region of `box` (the square from -1 to 1 if there is none).

    Besides: the exact loss along a `weight`, and for any net, piecewise affine or not, a polynomial `surrogate`.

    Args:
        net_or_walk: An ``nn.Module`` or function, a net from `weightwalk.load_net`, a walk, or a `Lifted`.
        at: One input: the affine map there, and the polytope on which it holds.
        line: (A, B), two inputs: every kink on the way from A (t = 0) to B (t = 1).
        plane: (origin, U, V), vectors in input space: x = origin + s U + t V; or two input names or numbers, whose
            axes span the plane through `at`.
        box: (least, greatest) of each coordinate, or one pair for all. ``"all"`` for no bounds. A net that
            says for which inputs it was made (``net.expects.box``) brings its own.
        weight: ``"fc2.weight[0,1]"``, or two of one layer: the mean squared loss on `data` along it, `box` being the
            range of its values.
        surrogate: Degree of a polynomial to be fitted to the net over `box`.
        per_input: That degree in each input, instead of in all together.
        data: (inputs, targets): of the loss; and what a surrogate is scored against.
        output: Address of the value to be expressed, such as ``"fc2"``; None for what the net returns.
        select: Which of the outputs, by number; None for all.
        exact: Also in rational arithmetic (small nets), which the float64 result is then held to.
        seed: Of the fresh points at which the formula is held against the net.
        max_regions: More regions than this are refused.
        memory: Bytes that an enumeration may take.
        progress: Told (done, total).
        **options: For `weightwalk.formulas.lines.line.line`, `.plane.partition` or `.local.local`.

    Returns:
        A `Formula`; with `weight` a `LossLine` or `LossPlane`, with `surrogate` a `Surrogate`. Each has a certificate.

    Raises:
        UsageError: The net is not piecewise affine (the operation is named), the request does not fit it, or it is too
            large.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> with torch.no_grad():  # |x|
        ...     for p, v in zip(net.parameters(), ([[1.0], [-1.0]], [0.0, 0.0], [[1.0, 1.0]], [0.0])):
        ...         _ = p.copy_(torch.tensor(v))
        >>> found = ww.formula(net)
        >>> found.facts.kinks.tolist(), found.facts.slopes[:, 0].tolist(), found.certified
        ([0.0], [-1.0, 1.0], True)
    """
    check_source(net_or_walk)
    asked = {"at": at, "line": line, "plane": plane, "weight": weight, "surrogate": surrogate, "per_input": per_input}
    check_together({**asked, "data": data, "output": output, "select": select, "exact": exact}, options)
    check_sizes(seed=seed, max_regions=max_regions, memory=memory)
    select = rows_of(select)
    if weight is not None or surrogate is not None:
        from weightwalk.formulas.fits.asked import fitted, loss

        if weight is not None:
            return loss(net_or_walk, weight, data, box, seed, max_regions, memory)
        assert surrogate is not None
        return fitted(net_or_walk, surrogate, box, data, select, per_input, seed, memory)
    name, lifted, oracle, native = _lifted(net_or_walk, at, line, plane, output)
    net = lifted.net
    if select is not None:
        rows, whole = rows_among(select, net.output.size), oracle
        net = net.select(rows)
        oracle = lambda x: whole(x)[:, rows]  # noqa: E731
        native = None
    own = own_box(net_or_walk, net.n)
    point = lifted.point if at is None or lifted.embedded else point_of(at, net.n, "at")
    common = {"seed": seed, "progress": progress, **options}
    box = own if box is None and own is not None and at is line is plane is None else box
    wanted = _Request(name, lifted, net, oracle, native, box, exact, max_regions, memory, common)
    if line is not None:
        return wanted.line(flat_line(line, net.n))
    if plane is not None:
        flat = flat_plane(plane, net.inputs, np.mean(own, axis=1) if own is not None and at is None else point)
        return replace(wanted, box=box_on(flat, own) if box is None else box).plane(flat)
    if not net.units and (at is None or not options):
        return wanted.affine()
    if at is not None or (net.n > 2 and isinstance(net_or_walk, Walk)):
        return wanted.point(point)
    if net.n == 1:
        return wanted.line(None)
    if net.n == 2:
        return wanted.plane(None)
    raise UsageError(
        f"{name} has {net.n:,} inputs, too many to list its regions: say where, with --at X (around one input), --line "
        f"A B (along a line) or --plane (on a plane); --surrogate fits a polynomial over a box."
    )


@dataclass(frozen=True, eq=False)
class _Request:
    """A net and what is wanted of it; see `formula`."""

    name: str
    lifted: Lifted
    net: PiecewiseNet
    oracle: Oracle
    native: Oracle | None
    box: Any
    exact: bool
    most: int
    memory: int
    common: dict[str, Any]

    def affine(self) -> Formula:
        """The one map of a net without kinks."""
        facts = affine_map(self.net, oracle=self.oracle, exact=self.exact, seed=self.common["seed"])
        return self._made("affine", facts, None, None)

    def line(self, flat: Flat | None) -> Formula:
        """Every kink along a line, or of a net of one input."""
        from weightwalk.formulas.lines.line import line
        from weightwalk.formulas.rationals import check, line_exact

        whole = (-np.inf, np.inf)
        everything = isinstance(self.box, str) and self.box == "all"
        box = whole if everything else self.box
        ((start, end),) = intervals(box, 1, ((0.0, 1.0) if flat is not None else whole,))
        net, oracle = self._on(flat)
        check_options(line, self.common, "along a line")
        facts = line(net, start, end, oracle=oracle, max_pieces=self.most, memory=self.memory, **self.common)
        if not self.exact:
            return self._made("line", facts, flat, None)
        rational = line_exact(self._on(flat, fold=False)[0], start, end)
        return self._made("line", facts, flat, rational, check(facts, rational))

    def plane(self, flat: Flat | None) -> Formula:
        """Every region of a plane, or of a net of two inputs."""
        from weightwalk.formulas.planes.plane import partition
        from weightwalk.formulas.rationals import check_partition, partition_exact

        everything = isinstance(self.box, str) and self.box == "all"
        box = None if everything else intervals(self.box, 2, ((-1.0, 1.0), (-1.0, 1.0)))
        if self.exact and box is None:
            raise UsageError("--exact divides a bounded box: give one with --box, such as --box -1..1.")
        net, oracle = self._on(flat)
        check_options(partition, self.common, "of a plane")
        facts = partition(net, box, oracle=oracle, max_regions=self.most, memory=self.memory, **self.common)
        if not self.exact:
            return self._made("plane", facts, flat, None)
        rational = partition_exact(self._on(flat, fold=False)[0], box)
        return self._made("plane", facts, flat, rational, check_partition(facts, rational))

    def point(self, x: np.ndarray) -> Formula:
        """The map around one input."""
        from weightwalk.formulas.points.local import local

        if self.exact:
            raise UsageError(
                "--exact is for formulas of one or two numbers: along a line, on a plane, or a linear net."
            )
        box = None if self.box is None else intervals(self.box, self.net.n, ())
        check_options(local, self.common, "around one input")
        facts = local(self.net, x, box=box, oracle=self.oracle, memory=self.memory, **self.common)
        return self._made("point", facts, None, None)

    def _on(self, flat: Flat | None, fold: bool = True) -> tuple[PiecewiseNet, Oracle]:
        """The net and its judge on a line or plane."""
        return (self.net, self.oracle) if flat is None else (flat.of(self.net, fold), flat.through(self.oracle))

    def _made(self, kind: str, facts: Any, flat: Flat | None, rational: Any, more: Sequence[Check] = ()) -> Formula:
        checks = (*facts.certificate.checks, *more)
        if self.native is not None:
            checks = (*checks, self._in_own_precision(facts, flat, self.native))
        certificate = Certificate(checks, facts.certificate.seed)
        return Formula(kind, self.name, self.lifted, facts, flat, rational, certificate, self.oracle)

    def _in_own_precision(self, facts: Any, flat: Flat | None, native: Oracle) -> Check:
        """Told, not judged: how far the net's run in its own precision is from its formula, by rounding in the net."""
        points = sample(facts, facts.net.n, FEW)
        with np.errstate(over="ignore", invalid="ignore"):  # a box may reach beyond the net's own precision
            inputs = (points if flat is None else flat.at(points)).astype(np.float32).astype(np.float64)
            gap = np.nan_to_num(np.abs(native(inputs) - self.oracle(inputs)), nan=np.inf).max(initial=0.0)
        return Check("rounding of the net itself: greatest |net in its own precision - net in float64|", float(gap))


def sample(facts: Any, n: int, count: int) -> np.ndarray:
    """A few points of where a formula holds, (count, n), the same each time."""
    draw = np.random.default_rng(1).uniform(0, 1, (count, n))
    if hasattr(facts, "x"):
        return np.asarray(facts.x) + (draw - 0.5) * 1e-3
    low, high = np.full(n, -1.0), np.full(n, 1.0)
    ends = [getattr(facts, "start", None), getattr(facts, "end", None)]
    if all(isinstance(e, float) and np.isfinite(e) for e in ends):
        low, high = np.array(ends[:1], float), np.array(ends[1:], float)
    elif getattr(facts, "box", None) is not None:
        low, high = np.array(facts.box, float).T
    return low + draw * (high - low)


def _lifted(
    source: Any, at: Any, line: Any, plane: Any, output: str | None
) -> tuple[str, Lifted, Oracle, Oracle | None]:
    """(name, the piecewise form, its judge, the net in its own precision where that is not float64)."""
    if isinstance(source, Lifted):
        return "net", source, oracle_of(source), None
    if isinstance(source, Walk):
        found = named(lift(source, output))
        return str(source.meta.get("net", "net")), found, oracle_of(found), None
    module = getattr(source, "module", source)
    name = getattr(source, "name", None) or type(module).__name__
    example = at if at is not None else line[0] if line is not None else None
    if example is None and isinstance(plane, (tuple, list)) and len(plane) == 3:
        example = plane[0]
    args, kwargs = call_of(source, module, example)
    walk = recorded(name, module, args, kwargs)
    found = named(lift(walk, output), source)
    native = None
    if (
        isinstance(module, nn.Module)
        and found.whole
        and any(p.dtype != torch.float64 for p in module.parameters() if p.is_floating_point())
    ):
        native = module_oracle(found, module, args, kwargs, None)
    return name, found, oracle_of(found, module, args, kwargs), native
