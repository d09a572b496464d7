"""The referee's values against exact arithmetic, its bounds against theory: no torch in sight."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from weightwalk.readings.referees import judge, numpy_referee
from weightwalk.readings.referees.base import RULES, Expected
from weightwalk.readings.referees.rounded import FAST_HALF, UNIT
from weightwalk.readings.referees.special import erf

RNG = np.random.default_rng(7)


def ask(op: str, *args: Any, dtypes: list[str] | None = None, **kwargs: Any) -> list[Expected]:
    found = numpy_referee(op, list(args), kwargs, dtypes or ["float32"])
    assert found is not None
    return found


def exact_product(a: np.ndarray, b: np.ndarray) -> list[list[Fraction]]:
    columns = range(b.shape[1])
    return [[sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(row, b[:, j], strict=True)) for j in columns]
            for row in a]  # fmt: skip


def test_erf_agrees_with_the_c_library_to_the_last_bits() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.46875, 4.0, 1e-300, 30.0, -30.0], RNG.standard_normal(2000)])
    truth = np.array([math.erf(v) for v in x])
    assert np.max(np.abs(erf(x) - truth)) < 4e-16
    assert np.isnan(erf(np.array(np.nan)))
    assert erf(np.array([np.inf, -np.inf])).tolist() == [1.0, -1.0]


def test_a_matrix_product_is_the_exact_one_and_its_bound_is_gamma_n() -> None:
    a, b = RNG.standard_normal((3, 40)).astype(np.float32), RNG.standard_normal((40, 4)).astype(np.float32)
    [y] = ask("aten.mm.default", a, b)
    exact = exact_product(a, b)
    size = np.abs(a).astype(float) @ np.abs(b).astype(float)
    n, u = 41, UNIT["float32"]
    for i in range(3):
        for j in range(4):
            assert abs(Fraction(y.value[i, j]) - exact[i][j]) < Fraction(1e-13)
    gamma = n * u / (1 - n * u)
    assert np.all(y.bound >= gamma * size)
    assert np.all(y.bound <= 1.001 * gamma * size)


def test_products_of_large_and_tiny_numbers_keep_an_upper_bound() -> None:
    """|A||B| is formed in float32: where it overflows or underflows the bound must still be one."""
    big = np.full((2, 3), 1e30, np.float32)
    [y] = ask("aten.mm.default", big, big.T.copy())
    assert np.isfinite(y.bound).all() and np.all(y.bound > 3e60 * UNIT["float32"])
    small = np.full((2, 3), 1e-30, np.float32)
    [y] = ask("aten.mm.default", small, small.T.copy())
    assert np.all(y.bound > 0)
    assert judge(np.zeros((2, 2), np.float32), y).ok


@pytest.mark.parametrize("blocks", [1, 7])
def test_a_product_done_in_blocks_is_the_same(blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.readings.referees import gemm

    a, b = RNG.standard_normal((5, 30)).astype(np.float32), RNG.standard_normal((900, 30)).astype(np.float32)
    monkeypatch.setattr(gemm, "_BLOCK", 30 * 900 // blocks)
    monkeypatch.setattr(gemm, "_WIDTH", 64)
    for left, right in ((a, b.T), (a, np.ascontiguousarray(b.T)), (b, a.T)):
        v, s = gemm.products(left, right, True)
        assert np.allclose(v, left.astype(float) @ right.astype(float), rtol=1e-13, atol=1e-13)
        assert s is not None
        assert np.allclose(s, np.abs(left).astype(float) @ np.abs(right).astype(float), rtol=1e-5)


@pytest.mark.parametrize(
    ("op", "function", "low", "high"),
    [
        ("exp", mpmath.exp, -20, 20), ("log", mpmath.log, 1e-6, 50), ("tanh", mpmath.tanh, -5, 5),
        ("sigmoid", lambda x: 1 / (1 + mpmath.exp(-x)), -30, 30), ("sin", mpmath.sin, -20, 20),
        ("sqrt", mpmath.sqrt, 0, 9), ("rsqrt", lambda x: 1 / mpmath.sqrt(x), 1e-4, 9), ("erf", mpmath.erf, -4, 4),
        ("gelu", lambda x: x * (1 + mpmath.erf(x / mpmath.sqrt(2))) / 2, -9, 9),
        ("silu", lambda x: x / (1 + mpmath.exp(-x)), -20, 20), ("expm1", mpmath.expm1, -1, 1),
        ("mish", lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))), -9, 9),
        ("softplus", lambda x: mpmath.log(1 + mpmath.exp(x)), -15, 15), ("log1p", mpmath.log1p, -0.9, 5),
        ("hardswish", lambda x: x * min(max(x + 3, 0), 6) / 6, -5, 5),
    ],
)  # fmt: skip
def test_functions_agree_with_fifty_digits(op: str, function: Any, low: float, high: float) -> None:
    """The float64 value to a few last places, and the correctly rounded float32 result within the bound."""
    x = RNG.uniform(low, high, 60).astype(np.float32)
    [y] = ask(f"aten.{op}.default", x)
    with mpmath.workdps(50):
        truth = np.array([float(function(mpmath.mpf(float(v)))) for v in x])
    assert np.all(np.abs(y.value - truth) <= 1e-13 * np.abs(truth) + 1e-15 * (1 + np.abs(x)))
    assert judge(truth.astype(np.float32), y).ok


def test_sums_agree_with_fsum() -> None:
    x = (RNG.standard_normal((3, 1000)) * 10.0 ** RNG.integers(-8, 8, (3, 1000))).astype(np.float32)
    [y] = ask("aten.sum.dim_IntList", x, [1])
    for i in range(3):
        exact = math.fsum(float(v) for v in x[i])
        assert abs(y.value[i] - exact) <= 1e-12 * math.fsum(abs(float(v)) for v in x[i])
        for order in (np.sort(x[i]), x[i][::-1], np.sort(x[i])[::-1]):
            total = np.float32(0)
            for v in order:
                total = np.float32(total + v)
            assert abs(float(total) - y.value[i]) <= y.bound[i]


def test_softmax_and_its_logarithm_agree_with_fifty_digits() -> None:
    x = (RNG.standard_normal((4, 6)) * 8).astype(np.float32)
    [p], [logs] = ask("aten._softmax.default", x, 1, False), ask("aten._log_softmax.default", x, 1, False)
    with mpmath.workdps(50):
        for i in range(4):
            e = [mpmath.exp(mpmath.mpf(float(v))) for v in x[i]]
            assert np.allclose(p.value[i], [float(v / sum(e)) for v in e], rtol=1e-13)
            assert np.allclose(logs.value[i], [float(mpmath.log(v / sum(e))) for v in e], rtol=1e-13)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_layer_norm_bounds_hold_for_the_textbook_two_pass_and_welford_algorithms(offset: float) -> None:
    x = (RNG.standard_normal((6, 64)) + offset).astype(np.float32)
    y, mean, rstd = ask("aten.native_layer_norm.default", x, [64], None, None, 1e-5, dtypes=["float32"] * 3)
    exact = [[Fraction(float(v)) for v in row] for row in x]
    for i, row in enumerate(exact):
        m = sum(row) / 64
        v = sum((a - m) ** 2 for a in row) / 64
        r = 1 / mpmath.sqrt(mpmath.mpf(v.numerator) / v.denominator + mpmath.mpf(1e-5))
        assert abs(mean.value[i, 0] - float(m)) < 1e-13 * (1 + offset)
        assert abs(rstd.value[i, 0] - float(r)) < 1e-11
    two_pass = x - x.mean(-1, keepdims=True, dtype=np.float32)
    r32 = np.float32(1) / np.sqrt((two_pass * two_pass).mean(-1, keepdims=True, dtype=np.float32) + np.float32(1e-5))
    assert judge(two_pass * r32, y).ok
    assert judge(r32, rstd).ok
    welford = np.array([_welford(row) for row in x], np.float32)[:, None]
    assert judge((np.float32(1) / np.sqrt(welford + np.float32(1e-5))).astype(np.float32), rstd).ok


def _welford(row: np.ndarray) -> np.float32:
    m = s = np.float32(0)
    for k, v in enumerate(row, 1):
        d = np.float32(v - m)
        m = np.float32(m + d / np.float32(k))
        s = np.float32(s + d * np.float32(v - m))
    return np.float32(s / np.float32(len(row)))


def test_a_convolution_is_its_definition() -> None:
    x, w = RNG.standard_normal((2, 4, 6, 5)), RNG.standard_normal((6, 2, 3, 2))
    [y] = ask("aten.convolution.default", x, w, None, [2, 1], [1, 0], [1, 2], False, [0, 0], 2, dtypes=["float64"])
    assert y.value.shape == (2, 6, 3, 3)
    for n, o, i, j in np.ndindex(y.value.shape):
        terms = []
        for ch, a, b in np.ndindex(2, 3, 2):
            row, col = 2 * i + a - 1, j + 2 * b
            if 0 <= row < 6 and 0 <= col < 5:
                terms.append(x[n, 2 * (o // 3) + ch, row, col] * w[o, ch, a, b])
        assert abs(y.value[n, o, i, j] - math.fsum(terms)) < 1e-13


def test_attention_is_its_definition() -> None:
    q, k, v = (RNG.standard_normal((1, 2, 4, 3)) for _ in range(3))
    names = ["float64", "float64"]
    y, lse = ask("aten._scaled_dot_product_flash_attention_for_cpu.default", q, k, v, 0.0, True, dtypes=names)
    for h in range(2):
        for i in range(4):
            s = [math.fsum(q[0, h, i] * k[0, h, j]) / math.sqrt(3) for j in range(i + 1)]
            p = [math.exp(t) for t in s]
            out = [math.fsum(a * v[0, h, j, d] for j, a in enumerate(p)) / math.fsum(p) for d in range(3)]
            assert np.allclose(y.value[0, h, i], out, rtol=1e-12)
            assert math.isclose(lse.value[0, h, i], math.log(math.fsum(p)), rel_tol=1e-11, abs_tol=1e-12)


def test_adamw_is_its_definition() -> None:
    p, g, m, v = (RNG.standard_normal(5).astype(np.float32) for _ in range(4))
    v = np.abs(v)
    step = np.float32(3.0)
    options = {
        "lr": 0.01, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.1, "eps": 1e-8, "amsgrad": False, "maximize": False,
    }  # fmt: skip
    new_p, _, new_m, new_v = ask(
        "aten._fused_adamw_.default", [p], [g], [m], [v], [], [step], dtypes=["float32"] * 4, **options
    )
    for i in range(5):
        mm = 0.9 * float(m[i]) + 0.1 * float(g[i])
        vv = 0.999 * float(v[i]) + 0.001 * float(g[i]) ** 2
        hat = mm / (1 - 0.9**3) / (math.sqrt(vv / (1 - 0.999**3)) + 1e-8)
        assert math.isclose(new_m.value[i], mm, rel_tol=1e-12, abs_tol=1e-15)
        assert math.isclose(new_v.value[i], vv, rel_tol=1e-12)
        assert math.isclose(new_p.value[i], float(p[i]) * (1 - 0.01 * 0.1) - 0.01 * hat, rel_tol=1e-11, abs_tol=1e-14)


def test_the_fast_exp_of_half_kernels_errs_as_stated() -> None:
    """The cubic of Malossi et al. with PyTorch's coefficients, over one octave."""
    f = np.linspace(0.0, 1.0, 100_001)
    c = (0.00010703434948458272, 0.30354260500649682, -0.22433836478672356, -0.079204240219773236)
    mantissa = 1.0 + f - (((f * c[3] + c[2]) * f + c[1]) * f + c[0])
    assert 1e-4 < np.max(np.abs(mantissa / 2.0**f - 1.0)) < FAST_HALF


def test_drawn_and_unset_numbers_are_said_to_be_so() -> None:
    [drawn] = ask("aten.randn.default", [3])
    [unset] = ask("aten.empty.memory_format", [3])
    assert drawn.unchecked and unset.unchecked


def test_impossible_arguments_are_not_passed_over() -> None:
    with pytest.raises((ValueError, TypeError)):
        ask("aten.mm.default", np.ones((2, 3)), np.ones((2, 3)), dtypes=["float64"])


def test_every_rule_says_what_it_is_for() -> None:
    assert len(RULES) > 600
    assert all(name.startswith("aten.") for name in RULES)


def test_a_judgement_needs_a_true_comparison() -> None:
    """NaN in the bound, the value or the record never makes a wrong number right."""
    value = np.array([1.0, np.nan, np.inf])
    for bad in ([np.nan, np.nan, np.inf], [1.0, 1.0, np.inf], [1.0, np.nan, -np.inf], [1.0, np.nan, np.nan]):
        assert not judge(np.array(bad), Expected(value, np.array([1e-9, 1e-9, 1e-9]))).ok
    assert judge(value, Expected(value, np.array([1e-9, 1e-9, 1e-9]))).ok
    found = judge(np.array([1.0, 2.0]), Expected(np.array([1.0, 1.0]), np.array([1e-9, np.nan])))
    assert not found.bounded
    assert not judge(np.array([2.0, 1.0]), Expected(np.array([1.0, 1.0]), np.array([1e-9, np.nan]))).ok
