"""Holding a recorded output against what it should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weightwalk.readings.referees.base import Expected, is_float


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a recorded tensor stands against its expected numbers.

    Attributes:
        ok: Whether every number is within its bound (or, without one, has the right shape).
        fraction: Greatest deviation over bound; 0 for exact agreement, infinite where equal numbers differ.
        place: Index of the worst number, or None.
        deviation: Greatest absolute deviation.
        exact: Whether equality was asked for and found.
        bounded: Whether every number had a finite bound.
        message: What is wrong; ``""`` if nothing.
    """

    ok: bool
    fraction: float
    place: tuple[int, ...] | None = None
    deviation: float = 0.0
    exact: bool = False
    bounded: bool = True
    message: str = ""


def judge(recorded: np.ndarray, expected: Expected) -> Judgement:
    """Compare elementwise; NaN stands only against NaN, infinity only against the same infinity or an overflow.

    Nothing passes by being incomparable: a number is right only if ``deviation <= bound`` is true.
    """
    value = expected.value
    if expected.refused:
        return Judgement(False, np.inf, message=expected.refused)
    if recorded.shape != value.shape:
        text = f"has shape {list(recorded.shape)}, the op gives {list(value.shape)}"
        return Judgement(False, np.inf, message=text)
    if recorded.size == 0:
        return Judgement(True, 0.0, exact=expected.bound is not None, bounded=expected.bound is not None)
    with np.errstate(all="ignore"):
        if isinstance(expected.bound, float) and expected.bound == 0.0:
            return _judge_equal(recorded, expected)
        return _judge_near(recorded, expected)


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    x, y = a.__array_interface__, b.__array_interface__
    return x["data"][0] == y["data"][0] and a.strides == b.strides and a.dtype == b.dtype


def _judge_equal(recorded: np.ndarray, expected: Expected) -> Judgement:
    value = expected.value
    if _same_memory(recorded, value):
        return Judgement(True, 0.0, exact=True)
    wrong = _differ(recorded, value)
    if not wrong.any():
        return Judgement(True, 0.0, exact=True)
    if expected.accept is not None:
        wrong &= ~np.broadcast_to(expected.accept(recorded), wrong.shape)
        if not wrong.any():
            return Judgement(True, 0.0, exact=True)
    place = _first(wrong)
    gap = abs(_number(recorded[place]) - _number(value[place]))
    text = f"is {recorded[place]} at {list(place)}, must be exactly {value[place]}"
    return Judgement(False, np.inf, place, float(gap), message=text)


def _differ(recorded: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Where two arrays hold different numbers: other bits, unless both are NaN."""
    if recorded.dtype == value.dtype and is_float(value.dtype) and recorded.dtype.kind != "c":
        bits = np.dtype(f"u{recorded.itemsize}")
        wrong = np.not_equal(_as(recorded, bits), _as(value, bits))
        return wrong & ~((recorded != recorded) & (value != value)) if wrong.any() else wrong
    return np.not_equal(recorded, value) & ~((recorded != recorded) & (value != value))


def _as(a: np.ndarray, bits: np.dtype) -> np.ndarray:
    try:
        return a.view(bits)
    except ValueError:
        return np.ascontiguousarray(a).view(bits)


def _judge_near(recorded: np.ndarray, expected: Expected) -> Judgement:
    value, bound = expected.value, expected.bound
    if bound is not None:
        quick = _quick(recorded, value, bound)
        if quick is not None:
            return quick
    deviation = np.subtract(recorded, value, dtype=value.dtype) if is_float(recorded.dtype) else recorded - value
    deviation = np.abs(deviation)
    if bound is None:
        worst = float(np.nanmax(deviation)) if not np.isnan(deviation).all() else 0.0
        return Judgement(True, 0.0, deviation=worst, bounded=False)
    right = (deviation <= bound) & (deviation < np.inf)
    if right.all() and np.isfinite(bound).all():
        return _measured(deviation, bound)
    wide = recorded.astype(value.dtype)
    right |= np.isnan(wide) & np.isnan(value)
    right |= _infinite(wide, value, bound, recorded.dtype)
    # Without a finite bound the arithmetic may have overflowed on the way: anything may stand there, nothing is proven.
    unproven = ~np.isfinite(bound) & np.isfinite(value)
    right |= unproven
    if expected.accept is not None:
        right |= expected.accept(recorded)
    if right.all():
        ordinary = np.isfinite(deviation) & np.isfinite(bound)
        measured = _measured(np.where(ordinary, deviation, 0.0), np.where(ordinary, bound, 1.0))
        if unproven.any():
            text = f"{int(np.sum(unproven)):,} of {recorded.size:,} numbers have no finite bound"
            return Judgement(True, measured.fraction, measured.place, measured.deviation, bounded=False, message=text)
        return measured
    return _refused(recorded, value, deviation, bound, right)


_BLOCK = 1 << 15


def _quick(recorded: np.ndarray, value: np.ndarray, bound: np.ndarray | float) -> Judgement | None:
    """The verdict where every number is finite, bounded and right; None where anything needs a closer look.

    Done a block of rows at a time: whole arrays of deviations would be paged in afresh for every step.
    """
    if not is_float(recorded.dtype):
        return None
    limit = np.broadcast_to(np.asarray(bound), value.shape)
    if not value.ndim:
        recorded, value, limit = recorded[None], value[None], limit[None]
    rows = max(1, _BLOCK * len(value) // max(value.size, 1))
    best, place, deviation = -1.0, (), 0.0
    for lo in range(0, len(value), rows):
        cut = slice(lo, lo + rows)
        gap = np.abs(np.subtract(recorded[cut], value[cut], dtype=value.dtype))
        top = limit[cut]
        share = gap / top
        flat = int(share.argmax())
        worst = float(share.flat[flat])
        if not worst <= 1.0 or not top.max() < np.inf:
            return None
        if worst > best:
            here = np.unravel_index(flat, share.shape)
            best, deviation = worst, float(gap[here])
            place = (int(here[0]) + lo, *(int(i) for i in here[1:]))
    return Judgement(True, best, place[: recorded.ndim] if value.ndim else (), deviation)


def _infinite(wide: np.ndarray, value: np.ndarray, bound: np.ndarray | float, dtype: np.dtype) -> np.ndarray:
    """Infinities that are right: the same one, or what lies so near the dtype's largest number that it overflowed."""
    if dtype.kind == "c":
        return np.isinf(wide) & np.isinf(value)
    largest = float(_largest(dtype))
    reach = np.abs(value) + np.where(np.isfinite(bound), bound, 0.0)
    over = np.isinf(wide) & (reach >= largest) & (np.sign(wide) == np.sign(value))
    return over | (np.isinf(wide) & (wide == value))


def _largest(dtype: np.dtype) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).max)


def _measured(deviation: np.ndarray, bound: np.ndarray | float) -> Judgement:
    share = np.where(deviation == 0, 0.0, deviation / bound)
    flat = int(np.argmax(share))
    place = tuple(int(i) for i in np.unravel_index(flat, share.shape))
    return Judgement(True, float(share[place]), place, float(deviation[place]))


def _refused(
    recorded: np.ndarray, value: np.ndarray, deviation: np.ndarray, bound: np.ndarray | float, right: np.ndarray
) -> Judgement:
    limit = np.broadcast_to(bound, deviation.shape)
    share = np.where(right, -1.0, deviation / limit)
    share = np.where(np.isnan(share), np.inf, share)
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(share)), share.shape))
    text = (
        f"is {recorded[place]} at {list(place)}, should be {value[place]:.9g} within {limit[place]:.2g}"
        f" ({int(np.sum(~right)):,} of {recorded.size:,} numbers out of bounds)"
    )
    return Judgement(False, float(share[place]), place, float(deviation[place]), message=text)


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _number(x: np.generic) -> complex | float:
    return complex(x) if np.iscomplexobj(x) else float(x)
