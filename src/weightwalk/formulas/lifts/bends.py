"""Rules of the lift for steps that bend: activations with kinks, and maxima."""

from __future__ import annotations

import numpy as np

from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.forms import Form, added, gather, spread
from weightwalk.formulas.lifts.lift import Call, rule
from weightwalk.formulas.lifts.windows import axis_windows, pool_windows
from weightwalk.formulas.piecewise import Activation, relu


def bent(call: Call, name: str, kinks: list[np.ndarray], slopes: list[np.ndarray], offsets: list[np.ndarray],
         argument: str = "self") -> Form:  # fmt: skip
    """A layer whose pre-activations are `argument`; kinks, slopes and offsets as numbers or in its shape."""
    form = spread(call.form(argument), call.out.shape)

    def table(columns: list[np.ndarray]) -> np.ndarray:
        wide = [np.broadcast_to(np.asarray(c, np.float64), form.shape).reshape(-1) for c in columns]
        return np.stack(wide, axis=1) if wide else np.zeros((form.size, 0))

    activation = Activation(name, table(kinks), table(slopes), table(offsets))
    for k in range(activation.count):
        at = activation.kinks[:, k]
        left, right = (activation.slopes[:, p] * at + activation.offsets[:, p] for p in (k, k + 1))
        if not np.allclose(left, right, rtol=1e-15, atol=0):
            raise call.refuse(f"{call.step.name}, which jumps at {at[int(np.abs(left - right).argmax())]:g},")
    return call.lift.layer(_name(call, argument), form, activation)


def _name(call: Call, argument: str) -> str:
    raw = call.args[argument]
    return call.lift.walk.values[raw.value].address


def _number(call: Call, name: str, default: float | None = None) -> np.ndarray:
    raw = call.args.get(name)
    if raw is None:
        raw = default
    if call.depends(name):
        raise call.refuse(f"{call.step.name} with a {name} that depends on the input")
    return call.tensor(name).numpy() if raw is call.args.get(name) and raw is not None else np.asarray(raw)


@rule("aten.relu")
def relus(call: Call) -> Form:
    """max(0, z)."""
    form = call.form("self")
    return call.lift.layer(_name(call, "self"), form, relu(form.size))


@rule("aten.leaky_relu")
def leaky(call: Call) -> Form:
    """z above 0, ``slope z`` below."""
    return bent(call, "leaky_relu", [0.0], [_number(call, "negative_slope", 0.01), 1.0], [0.0, 0.0])  # type: ignore[list-item]


@rule("aten._prelu_kernel", "aten.prelu")
def prelu(call: Call) -> Form:
    """Leaky ReLU with learned slopes."""
    form, weight = call.form("self"), _number(call, "weight")
    if call.step.name == "prelu" and weight.size > 1:
        weight = weight.reshape(-1, *(1,) * (len(form.shape) - 2))
    return bent(call, "prelu", [0.0], [weight.reshape(()) if weight.size == 1 else weight, 1.0], [0.0, 0.0])  # type: ignore[list-item]


@rule("aten.rrelu_with_noise")
def rrelu(call: Call) -> list[Form | None]:
    """In eval mode a leaky ReLU with the mean slope."""
    if call.args.get("training"):
        raise call.refuse("RReLU in training mode, which draws its slopes at random (call net.eval()),")
    low, high = float(_number(call, "lower", 0.125)), float(_number(call, "upper", 1 / 3))
    call.lift.round(f"RReLU at {call.at} has the mean of two slopes")
    return [bent(call, "rrelu", [0.0], [(low + high) / 2, 1.0], [0.0, 0.0]), None]  # type: ignore[list-item]


@rule("aten.abs")
def absolute(call: Call) -> Form:
    """|z|."""
    return bent(call, "abs", [0.0], [-1.0, 1.0], [0.0, 0.0])  # type: ignore[list-item]


@rule("aten.hardtanh", "aten.clamp", "aten.clip", "aten.clamp_min", "aten.clamp_max", "aten.relu6")
def clamp(call: Call) -> Form:
    """z held between two bounds, of which one may be missing."""
    pairs = {"hardtanh": ("min_val", "max_val"), "relu6": ("", "")}
    low_name, high_name = pairs.get(call.step.name.rstrip("_"), ("min", "max"))
    defaults = {"hardtanh": (-1.0, 1.0), "relu6": (0.0, 6.0)}.get(call.step.name.rstrip("_"), (None, None))
    low = _number(call, low_name, defaults[0]) if call.args.get(low_name, defaults[0]) is not None else None
    high = _number(call, high_name, defaults[1]) if call.args.get(high_name, defaults[1]) is not None else None
    low = None if low is None or np.isneginf(low).all() else low
    high = None if high is None or np.isposinf(high).all() else high
    if low is not None and high is not None and (low > high).any():
        raise UsageError(f"The bounds of {call.step.name} at {call.at} are reversed: {low} is above {high}.")
    kinks = [b for b in (low, high) if b is not None]
    slopes = [*([0.0] if low is not None else []), 1.0, *([0.0] if high is not None else [])]
    offsets = [*([low] if low is not None else []), 0.0, *([high] if high is not None else [])]
    return bent(call, call.step.name.rstrip("_"), kinks, slopes, offsets)  # type: ignore[arg-type]


@rule("aten.threshold")
def threshold(call: Call) -> Form:
    """z above a threshold, a number below; continuous only where the two are equal."""
    at, value = _number(call, "threshold"), _number(call, "value")
    return bent(call, "threshold", [at], [0.0, 1.0], [value, 0.0])  # type: ignore[list-item]


@rule("aten.softshrink")
def softshrink(call: Call) -> Form:
    """z moved towards 0 by lambda, and 0 within lambda."""
    by = _number(call, "lambd", 0.5)
    return bent(call, "softshrink", [-by, by], [1.0, 0.0, 1.0], [by, 0.0, -by])  # type: ignore[list-item]


@rule("aten.hardsigmoid")
def hardsigmoid(call: Call) -> Form:
    """z/6 + 1/2 held between 0 and 1."""
    call.lift.round(f"hardsigmoid at {call.at} has the slope 1/6, which is no binary fraction")
    return bent(call, "hardsigmoid", [-3.0, 3.0], [0.0, 1 / 6, 0.0], [0.0, 0.5, 1.0])  # type: ignore[list-item]


# Maxima --------------------------------------------------------------------------------------------------------------


def greatest(call: Call, form: Form, windows: np.ndarray, shape: tuple[int, ...], sign: int) -> Form:
    """The greatest (sign 1) or least (-1) element of each window.

    A tournament: ``max(a, b) = b + relu(a - b)``, ``min(a, b) = b - relu(b - a)``, each round one layer.

    Args:
        call: Whose step it is.
        form: The elements.
        windows: (results, k) places counted from 1; 0 for none.
        shape: Of the result.
        sign: See above.
    """
    added_to = np.concatenate([[False], form.bias != 0])[windows]
    if form.weighted or (added_to.sum(axis=1) > 1).any():  # the difference of two constants might be rounded
        form = call.lift.layer(f"{call.at}.in", form, _plain(form.size))
    if (windows == 0).all(axis=1).any():
        raise UsageError(f"{call.step.name} at {call.at} has a window with nothing in it.")
    order = np.argsort(windows == 0, axis=1, kind="stable")  # those that are there come first
    columns = [gather([form], column) for column in np.take_along_axis(windows, order, axis=1).T]
    there = [np.asarray(c) > 0 for c in np.take_along_axis(windows, order, axis=1).T]
    step = 0
    while len(columns) > 1:
        step += 1
        pairs = [
            _duel(call, columns[i : i + 2], there[i : i + 2], sign, step, i // 2) for i in range(0, len(columns), 2)
        ]
        columns, there = [p[0] for p in pairs], [p[1] for p in pairs]
    return Form(shape, columns[0].terms, columns[0].bias)


def _plain(n: int) -> Activation:
    from weightwalk.formulas.piecewise import identity

    return identity(n)


def _duel(
    call: Call, two: list[Form], there: list[np.ndarray], sign: int, step: int, nth: int
) -> tuple[Form, np.ndarray]:
    if len(two) == 1:
        return two[0], there[0]
    (a, b), (has_a, has_b) = two, there
    both = np.flatnonzero(has_a & has_b)
    if not len(both):  # then b is nowhere: what is there comes first
        return a, has_a
    first, second = (gather([f], both + 1) for f in (a, b))
    ahead = added(first, second, sign, -sign, first.shape)
    wins = call.lift.layer(f"{call.at}.{step}.{nth}", ahead, relu(ahead.size))
    best = added(second, wins, 1, sign, second.shape)
    places = np.arange(1, a.size + 1)
    places[both] = a.size + 1 + np.arange(len(both))
    return gather([a, best], places), has_a | has_b


@rule("aten.maximum", "aten.minimum", "aten.fmax", "aten.fmin", "aten.max.other", "aten.min.other")
def maximum(call: Call) -> Form:
    """The greater, or lesser, of two."""
    sign = 1 if "max" in call.step.name else -1
    shape = call.out.shape
    a, b = (spread(call.form(k), shape) for k in ("self", "other"))
    both = gather([a, b], np.arange(1, a.size + b.size + 1))
    windows = np.stack([np.arange(1, a.size + 1), np.arange(a.size + 1, a.size + b.size + 1)], axis=1)
    return greatest(call, both, windows, shape, sign)


@rule("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d", "aten.max_pool2d_with_indices",
      "aten.max_pool3d_with_indices", "aten.max_pool1d_with_indices")  # fmt: skip
def max_pool(call: Call) -> list[Form | None]:
    """The greatest number of each window."""
    form = call.form("self")
    dims = int(call.step.name.removeprefix("max_pool")[0])
    windows = pool_windows(
        form.shape, call.out.shape, dims, *(call.args.get(k) for k in ("kernel_size", "stride", "padding", "dilation"))
    )
    return [greatest(call, form, windows, call.out.shape, 1), None]


@rule("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def adaptive_max_pool(call: Call) -> list[Form | None]:
    """The greatest number of each of a given number of windows."""
    from weightwalk.formulas.lifts.windows import adaptive_windows

    form = call.form("self")
    dims = int(call.step.name.removeprefix("adaptive_max_pool")[0])
    return [greatest(call, form, adaptive_windows(form.shape, call.out.shape, dims), call.out.shape, 1), None]


@rule("aten.amax", "aten.amin", "aten.max.dim", "aten.min.dim", "aten.max.default", "aten.min.default")
def extremes(call: Call) -> list[Form | None]:
    """The greatest, or least, along axes."""
    form = call.form("self")
    dims = call.args.get("dim")
    axes = [dims] if isinstance(dims, int) else list(dims or range(len(form.shape)))
    sign = 1 if "max" in call.step.name else -1
    return [greatest(call, form, axis_windows(form.shape, axes), call.out.shape, sign), None]
