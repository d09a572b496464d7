"""One teller per kind of op: what a step did, multiplication by multiplication."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from weightwalk.readings.narrate_decimals import (
    DIGITS,
    EXACT,
    closed,
    decimal,
    decimals,
    product,
    share,
    significant,
    total,
)
from weightwalk.readings.narrate_facts import Cell, Line, Table, Term, Text
from weightwalk.readings.narrate_names import Names, is_float, numbers, tensors
from weightwalk.readings.narrate_sums import Products, largest_of, one_sum, products
from weightwalk.walks.model import Ref, Step

GATES = frozenset((
    "relu", "relu_", "relu6", "hardtanh", "hardswish", "leaky_relu", "leaky_relu_", "threshold",
))  # fmt: skip
POINTWISE = GATES | frozenset((
    "sigmoid", "sigmoid_", "tanh", "tanh_", "gelu", "silu", "silu_", "elu", "elu_", "selu", "softplus", "mish",
    "hardsigmoid", "exp", "exp_", "log", "log2", "log1p", "expm1", "sqrt", "rsqrt", "neg", "abs", "square",
    "sin", "cos", "erf", "reciprocal", "sign", "floor", "ceil", "round", "trunc", "clamp", "clamp_min",
    "clamp_max", "log_sigmoid", "log_sigmoid_forward",
))  # fmt: skip
SIGNS = {"add": "+", "sub": "-", "rsub": "-", "mul": "×", "div": "÷", "pow": "^", "add_": "+", "sub_": "-", "mul_": "×",
         "div_": "÷", "pow_": "^", "maximum": "max", "minimum": "min"}  # fmt: skip


@dataclass(frozen=True)
class Teller:
    """How the numbers are told: of which walk, with how many digits, and at most how many terms or rows of each."""

    names: Names
    digits: int = DIGITS
    top: int | None = None

    def tell(self, step: Step) -> list[Line]:
        """The story of one step; an op without a teller of its own has its inputs and outputs listed."""
        teller = TELLERS.get(step.name) or (pointwise if step.name in POINTWISE else None)
        if teller is None and step.name in SIGNS:
            teller = binary
        lines = teller(self, step) if teller is not None else None
        return lines if lines is not None else other(self, step)


# Sums of products ---------------------------------------------------------------------------------------------------


def sums(teller: Teller, step: Step) -> list[Line] | None:
    """Every output of a linear op as the sum of its products."""
    op = products(step)
    if op is None:
        return None
    rows, columns = op.left.shape[0], op.right.shape[-1]
    out = op.out_value.numpy().reshape(rows, columns)
    lines: list[Line] = []
    for r in range(rows):
        if rows > 1:
            lines.append(Text(f"for {teller.names.place(teller.names.result(op.out_value), r, rows)}:"))
        lines.extend(one_sum(teller.names, op, r, j, top=teller.top, digits=teller.digits) for j in range(columns))
        lines.extend(_only_bias(op, out, r))
    return lines


def _only_bias(op: Products, out: np.ndarray, row: int) -> Iterator[Text]:
    if op.left.shape[1] and op.bias is not None and not op.left[row].any():
        bias = np.broadcast_to(op.bias, out.shape)[row]
        if np.array_equal(out[row], bias):
            yield Text("Every input here is 0, so the weights do not matter: the result is the bias alone.", "warning")


# Tables -------------------------------------------------------------------------------------------------------------


def table(
    teller: Teller, columns: tuple[str, ...], rows: list[tuple[Cell, ...]], caption: str = "", of: int | None = None
) -> Table:
    """A table of at most `top` rows (all where `top` is None), which says how many it leaves out."""
    many = len(rows) if of is None else of
    shown = rows if teller.top is None else rows[: teller.top]
    return Table(columns, tuple(shown), caption, f"{many - len(shown):,} more rows" if many > len(shown) else "")


def pointwise(teller: Teller, step: Step) -> list[Line] | None:
    """In, out, and for gates whether they are open."""
    value, out = tensors(step)[0], next(step.results())
    if value.size != out.size:
        return None
    result, gate = teller.names.result(out), step.name in GATES
    x, y = value.numpy().reshape(-1), out.numpy().reshape(-1)
    rows: list[tuple[Cell, ...]] = []
    for i in range(x.size if teller.top is None else min(x.size, teller.top)):
        row: tuple[Cell, ...] = (
            teller.names.unit(result, i), decimal(x[i], teller.digits), decimal(y[i], teller.digits)
        )  # fmt: skip
        rows.append((*row, gate_word(x[i], y[i])) if gate else row)
    columns = ("unit", "in", "out", "gate") if gate else ("unit", "in", "out")
    return [table(teller, columns, rows, of=x.size), *dead(teller, step)]


def gate_word(x: float, y: float) -> str:
    """Whether a gate let its number through."""
    if np.isnan(x) or np.isnan(y):
        return "NaN"
    if y == 0:
        return "off" if x < 0 else "off (at 0)"
    return "on" if y == x else "bent"


def dead(teller: Teller, step: Step) -> list[Line]:
    """For a ReLU that lets nothing through at some place of the input: say so, and what follows from it."""
    if step.name not in ("relu", "relu_") or step.phase != "forward":
        return []
    out = next(step.results())
    x, y = tensors(step)[0].numpy(), out.numpy()
    if not y.size or not y.ndim:
        return []
    rows_in, rows = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    lines: list[Line] = []
    for r in range(len(rows)):
        if rows[r].any() or np.isnan(rows[r]).any():
            continue
        where = teller.names.place(teller.names.result(out), r, len(rows))
        nearest = int(np.argmax(rows_in[r]))
        unit = teller.names.unit(teller.names.source(tensors(step)[0]), r * x.shape[-1] + nearest)
        gap = decimal(rows_in[r][nearest], teller.digits)
        lines.append(
            Text(
                f"This layer is dead for {where}: every unit is off. What follows sees only zeros, and no small change "
                f"before this point changes the result; the unit nearest to opening is {unit}, at {plain_number(gap)}.",
                "warning",
            )
        )
    return lines


def plain_number(number: Decimal) -> str:
    """A decimal inside a sentence."""
    if not number.is_finite():
        return "NaN" if number.is_nan() else ("inf" if number > 0 else "-inf")
    return "0" if number == 0 else f"{number:f}" if -8 < number.adjusted() < 12 else f"{number:e}"


def binary(teller: Teller, step: Step) -> list[Line] | None:
    """Two numbers combined, place by place."""
    out = next(step.results())
    if len(step.args) < 2 or not is_float(out):
        return None
    scalars = numbers(step)
    if scalars.get("alpha", 1) != 1 or "rounding_mode" in scalars:
        return None
    sides = []
    for arg in step.args[:2] if step.name != "rsub" else reversed(step.args[:2]):
        value = step.walk.values[arg.value] if isinstance(arg, Ref) else None
        array = value.numpy() if value is not None else np.asarray(arg)
        if not np.issubdtype(array.dtype, np.number) and array.dtype.kind not in "fiubV":
            return None
        sides.append(np.broadcast_to(array, out.shape).reshape(-1))
    result, y = teller.names.result(out), out.numpy().reshape(-1)
    rows: list[tuple[Cell, ...]] = [
        (
            teller.names.unit(result, i),
            decimal(sides[0][i], teller.digits),
            SIGNS[step.name],
            decimal(sides[1][i], teller.digits),
            "=",
            decimal(y[i], teller.digits),
        )
        for i in range(y.size if teller.top is None else min(y.size, teller.top))
    ]
    return [table(teller, ("unit", "a", "", "b", "", "result"), rows, of=y.size)]


def embedding(teller: Teller, step: Step) -> list[Line] | None:
    """Which row of the table each token fetched."""
    weight, ids = tensors(step)[:2]
    out = next(step.results())
    rows_of, y = ids.numpy().reshape(-1), out.numpy().reshape(-1, out.shape[-1])
    wide = y.shape[1] if teller.top is None else min(y.shape[1], teller.top)
    rows: list[tuple[Cell, ...]] = []
    tokens = teller.names.axis(teller.names.result(out), -2) if len(out.shape) > 1 else None
    for i, token in enumerate(rows_of):
        label = repr(tokens[i]) if tokens and len(tokens) == len(rows_of) else f"row {i}"
        rows.append((label, decimal(token), *decimals(y[i, :wide], teller.digits)))
    columns = ("token", "id", *(f"{out.address}[{j}]" for j in range(wide)))
    lines: list[Line] = [table(teller, columns, rows, f"rows looked up in {weight.address}")]
    if wide < y.shape[1]:
        lines.append(Text(f"{y.shape[1] - wide:,} more columns are not shown.", "note"))
    return lines


def softmax(teller: Teller, step: Step) -> list[Line] | None:
    """Scores, their exponentials, and the shares that they are of the sum."""
    value, out = tensors(step)[0], next(step.results())
    axis = step.args[1] if len(step.args) > 1 else -1
    if not isinstance(axis, int) or not out.shape or axis % len(out.shape) != len(out.shape) - 1:
        return None
    x, y = value.numpy(), out.numpy()
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    result, log = teller.names.result(out), "log" in step.name
    lines: list[Line] = []
    for r in range(len(x) if teller.top is None else min(len(x), teller.top)):
        caption = f"for {teller.names.place(result, r, len(x))}" if len(x) > 1 else ""
        units = [teller.names.unit(result, r * x.shape[1] + j) for j in range(x.shape[1])]
        lines.append(shares(teller, units, x[r], y[r], caption, log=log))
    if len(lines) < len(x):
        lines.append(Text(f"{len(x) - len(lines):,} more rows are not shown.", "note"))
    return lines


def shares(
    teller: Teller, units: Sequence[str], x: np.ndarray, y: np.ndarray, caption: str = "", *, log: bool = False
) -> Table:
    """One softmax as a table: score, e^(score - largest), probability; `y` holds the probabilities (or their logs)."""
    places = min(teller.digits, 9)
    with np.errstate(all="ignore"):
        scores = x.astype(np.float64)
        powers = np.exp(scores - np.max(scores))
        p = np.exp(y.astype(np.float64)) if log else y.astype(np.float64)
    order = list(range(len(x)))
    if teller.top is not None and len(x) > teller.top + 1:
        order = np.argsort(-np.where(np.isnan(scores), np.inf, scores), kind="stable")[: teller.top].tolist()
    best = int(np.argmax(scores)) if not np.isnan(scores).any() else -1
    rows: list[tuple[Cell, ...]] = [
        (units[j], decimal(x[j], teller.digits), share(powers[j], places),
         *((decimal(y[j], teller.digits),) if log else ()), share(p[j], places), "largest" if j == best else "")
        for j in order
    ]  # fmt: skip
    blank = (None,) * int(log)
    if len(order) < len(x):
        others = np.setdiff1d(np.arange(len(x)), order)
        taken = _column(rows, -2)
        whole = share(float(p.sum()), places)  # the rest closes the column, so that it adds up as printed
        rest = EXACT.subtract(whole, taken) if whole.is_finite() and taken.is_finite() else Decimal("NaN")
        rows.append((f"the other {len(others):,}", None, share(float(powers[others].sum()), places), *blank, rest, ""))
    if np.isfinite(p).all():
        rows.append(("sum", None, _column(rows, 2), *blank, _column(rows, -2), ""))
    return Table(("unit", "score s", "e^(s-max)", *(("log p",) * int(log)), "probability", ""), tuple(rows), caption)


def _column(rows: list[tuple[Cell, ...]], column: int) -> Decimal:
    """The sum of a column as printed."""
    return total(cell for row in rows if isinstance(cell := row[column], Decimal))


def layer_norm(teller: Teller, step: Step) -> list[Line] | None:
    """Mean, spread, and each number shifted, divided and scaled."""
    results = list(step.results())
    if len(results) < 3:
        return None
    value, (out, mean, inverse) = tensors(step)[0], results[:3]
    x, y = value.numpy().reshape(-1, value.shape[-1]), out.numpy().reshape(-1, out.shape[-1])
    if mean.size != len(x):
        return None
    m, s = mean.numpy().reshape(-1), inverse.numpy().reshape(-1)
    result, lines = teller.names.result(out), []
    for r in range(len(x) if teller.top is None else min(len(x), teller.top)):
        where = f"{teller.names.place(result, r, len(x))}: " if len(x) > 1 else ""
        lines.append(Text(f"{where}mean {plain_number(decimal(m[r], teller.digits))}, "
                          f"1/standard deviation {plain_number(decimal(s[r], teller.digits))}"))  # fmt: skip
        rows: list[tuple[Cell, ...]] = [
            (teller.names.unit(result, r * x.shape[1] + j), *decimals(np.array([x[r, j], y[r, j]]), teller.digits))
            for j in range(x.shape[1])
        ]
        lines.append(table(teller, ("unit", "in", "out"), rows))
    return lines


def reduction(teller: Teller, step: Step) -> list[Line] | None:
    """The sum or the mean of everything."""
    value, out = tensors(step)[0], next(step.results())
    if out.size != 1 or value.size == 0:
        return None
    x = value.numpy().reshape(-1)
    source = teller.names.source(value)
    order, rest = largest_of(np.ones(x.size), x, teller.top)
    terms = [Term(teller.names.unit(source, int(k)), decimal(x[k], teller.digits), kind="value") for k in order]
    terms += [rest] if rest is not None else []
    recorded = decimal(out.numpy().reshape(()), teller.digits)
    if step.name == "sum":
        return [closed(out.address, terms, recorded, digits=teller.digits)]
    with np.errstate(all="ignore"):
        whole = decimal(np.float64(x.astype(np.float64).sum()), teller.digits)
    return [
        closed(f"sum over {x.size}", terms, whole, digits=teller.digits),
        Text(f"{out.address} = sum ÷ {x.size} = {mean_of([whole], x.size, recorded, teller.digits)}"),
    ]


def mean_of(numbers_: Sequence[Decimal], count: int, recorded: Decimal, digits: int) -> str:
    """The recorded mean, and where what is printed gives another one, how far that is off by rounding."""
    told = plain_number(recorded)
    exact = total(numbers_)
    if not exact.is_finite() or not recorded.is_finite():
        return told
    printed = significant(EXACT.divide(exact, Decimal(count)), digits)
    off = EXACT.subtract(recorded, printed)
    return (
        told if off == 0 else f"{plain_number(printed)}, and by the rounding of the record {plain_number(off)}: {told}"
    )


def squared_error(teller: Teller, step: Step) -> list[Line] | None:
    """Output, target, difference, square."""
    out, (value, target) = next(step.results()), tensors(step)[:2]
    if value.shape != target.shape:
        return None
    a, b = value.numpy().reshape(-1), target.numpy().reshape(-1)
    rows: list[tuple[Cell, ...]] = []
    squares: list[Decimal] = []
    for i in range(len(a) if teller.top is None else min(len(a), teller.top)):
        x, y = decimal(a[i], teller.digits), decimal(b[i], teller.digits)
        d = EXACT.subtract(x, y)
        square = significant(product((d, d)), teller.digits)
        squares.append(square)
        rows.append((teller.names.unit(teller.names.source(value), i), x, y, d.normalize(EXACT) if d else d, square))
    result = decimal(out.numpy().reshape(-1)[0], teller.digits)
    reduced = step.args[2] if len(step.args) > 2 else 1
    mean = "" if reduced == 0 else "sum of the squares = " if reduced == 2 else "mean of the squares = "
    lines: list[Line] = [table(teller, ("unit", "output", "target", "difference", "square"), rows, of=len(a))]
    if not mean or out.size != 1:
        return lines
    count = len(squares) if reduced == 1 else 1
    text = mean_of(squares, count, result, teller.digits) if len(squares) == len(a) else plain_number(result)
    return [*lines, Text(f"loss = {mean}{text}", "result")]


def likelihood(teller: Teller, step: Step) -> list[Line] | None:
    """Minus the log-probability of the right class, averaged."""
    (logs, target), out = tensors(step)[:2], next(step.results())
    p, t = logs.numpy(), target.numpy().reshape(-1)
    if p.ndim > 2 or (t < 0).any():
        return None
    p = p.reshape(-1, p.shape[-1])
    source = teller.names.source(logs)
    labels = teller.names.axis(source, -1)
    rows: list[tuple[Cell, ...]] = []
    for i, c in enumerate(t):
        right = repr(labels[c]) if labels else str(int(c))
        where = teller.names.place(source, i, len(t)) if len(t) > 1 else "row 0"
        rows.append((where, right, decimal(p[i, c], teller.digits), decimal(-p[i, c], teller.digits)))
    result = decimal(out.numpy().reshape(-1)[0], teller.digits)
    lines: list[Line] = [table(teller, ("row", "right class", "log p", "loss"), rows)]
    if out.size != 1:
        return lines
    losses = [row[3] for row in rows if isinstance(row[3], Decimal)]
    return [*lines, Text(f"loss = mean over {len(t)} = {mean_of(losses, len(t), result, teller.digits)}", "result")]


def other(teller: Teller, step: Step) -> list[Line]:
    """An op without a teller: what went in, by address, and what came out."""
    lines: list[Line] = []
    read = ", ".join(dict.fromkeys(v.address for v in step.inputs())) or "nothing"
    lines.append(Text(f"{step.op} read {read}"))
    limit = 8 if teller.top is None else teller.top
    for out in step.results():
        if not out.kept:
            lines.append(Text(f"{out.address}: the numbers were not kept (see keep=).", "note"))
            continue
        y = out.numpy().reshape(-1)
        rows: list[tuple[Cell, ...]] = [
            (teller.names.unit(out, i), decimal(y[i], teller.digits) if y.dtype.kind not in "c" else str(y[i]))
            for i in range(min(limit, y.size))
        ]
        left = f"{y.size - limit:,} more numbers" if y.size > limit else ""
        lines.append(Table(("unit", "value"), tuple(rows), f"shape {out.shape}", left))
    return lines


TELLERS: dict[str, Callable[[Teller, Step], list[Line] | None]] = {
    **dict.fromkeys(("addmm", "addmv", "mm", "mv", "dot", "bmm", "baddbmm", "linear", "matmul"), sums),
    "embedding": embedding,
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    "native_layer_norm": layer_norm,
    **dict.fromkeys(("sum", "mean"), reduction),
    "mse_loss": squared_error,
    **dict.fromkeys(("nll_loss_forward", "nll_loss"), likelihood),
}
