"""Each rule against its equation, written out slowly in NumPy in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import weightwalk as ww
from weightwalk.readings.account import Account

Array = np.ndarray


def run(fn: Callable[..., Tensor], *xs: Array, at: tuple[int, ...] | None = None, split="even") -> Account:
    """The account of one element of ``fn(*xs)`` (the last by default) by its inputs; it must close at every step."""
    tensors = [torch.from_numpy(np.array(x, dtype=np.float64)) for x in xs]
    walk = ww.walk(fn, *tensors)
    made = (v for s in reversed(walk.steps) for v in s.results() if v.producer == s.index and v.dtype == "float64")
    value = next(made)
    index = at if at is not None else tuple(n - 1 for n in value.shape)
    where = f"[{', '.join(map(str, index))}]" if index else ""
    a = walk.account(value.address + where, cut="inputs", split=split)
    assert a.relative_residual < 1e-12
    assert a.worst is None or a.worst.relative < 1e-12
    assert all(r.amount <= r.bound for r in a.residuals)
    return a


def inputs(a: Account, which: str = "in") -> Array:
    """cotangent * input: what each element contributes; empty if nothing arrived there."""
    return np.array(
        [r.value for r in sorted(a.rows, key=_index) if r.kind == "cut" and r.address.split("[")[0] == which]
    )


def _index(row) -> tuple[int, ...]:
    return tuple(int(i) for i in row.address.partition("[")[2].rstrip("]").split(",") if i.strip())


def constants(a: Account) -> float:
    return math.fsum(r.value for r in a.rows if r.kind != "cut")


X = np.array([-1.7, -0.3, 0.0, 0.4, 2.5])

# Functions of one number: y = f(0) + (f(x) - f(0)) / x * x ----------------------------------------------------------

SECANTS = {
    "tanh": (torch.tanh, 0.0),
    "sigmoid": (torch.sigmoid, 0.5),
    "exp": (torch.exp, 1.0),
    "cos": (torch.cos, 1.0),
    "erf": (torch.erf, 0.0),
    "gelu": (F.gelu, 0.0),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), 0.0),
    "silu": (F.silu, 0.0),
    "mish": (F.mish, 0.0),
    "elu": (F.elu, 0.0),
    "selu": (F.selu, 0.0),
    "softplus": (F.softplus, math.log(2)),
    "softplus_beta": (lambda x: F.softplus(x, beta=2.0), math.log(2) / 2),
    "logsigmoid": (F.logsigmoid, -math.log(2)),
    "hardswish": (F.hardswish, 0.0),
    "square": (lambda x: x**2, 0.0),
    "cube": (lambda x: x**3, 0.0),
    "in_place": (lambda x: (x * 1).tanh_(), 0.0),
    "written_out": (lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3))), 0.0),
    "silu_written_out": (lambda x: x * torch.sigmoid(x), 0.0),
}


@pytest.mark.parametrize("name", SECANTS)
@pytest.mark.parametrize("i", range(len(X)))
def test_gates_are_secants_from_zero(name: str, i: int) -> None:
    fn, start = SECANTS[name]
    a = run(fn, X, at=(i,))
    expected = np.zeros(len(X))
    expected[i] = fn(torch.tensor(X[i])).item() - start
    np.testing.assert_allclose(inputs(a), expected, atol=1e-15)
    assert constants(a) == pytest.approx(start, abs=1e-15)
    assert np.isfinite(a.cotangents["in"]).all()


@pytest.mark.parametrize("tiny", [1e-6, 1e-9, 1e-30, 5e-324, -1e-12])
def test_slopes_stay_finite_near_zero(tiny: float) -> None:
    for fn, slope in ((torch.sigmoid, 0.25), (torch.exp, 1.0), (F.softplus, 0.5), (torch.tanh, 1.0), (F.gelu, 0.5)):
        a = run(fn, np.array([tiny]))
        assert a.cotangents["in"][0] == pytest.approx(slope, rel=1e-4 if abs(tiny) > 1e-300 else 1.0)


@pytest.mark.parametrize(
    ("fn", "slope"),
    [
        (torch.relu, lambda x: float(x > 0)),
        (F.leaky_relu, lambda x: 1.0 if x > 0 else 0.01),
        (F.hardtanh, lambda x: float(-1 < x < 1)),
        (F.relu6, lambda x: float(0 < x < 6)),
        (F.hardsigmoid, lambda x: 1 / 6 if -3 < x < 3 else 0.0),
        (F.softshrink, lambda x: float(abs(x) > 0.5)),
        (torch.abs, lambda x: np.sign(x)),
        (lambda x: x.clamp(-0.2, 1.0), lambda x: float(-0.2 <= x <= 1.0)),
        (lambda x: F.threshold(x, 0.2, -3.0), lambda x: float(x > 0.2)),
        (lambda x: F.prelu(x, torch.tensor([0.3], dtype=torch.float64)), lambda x: 1.0 if x > 0 else 0.3),
        (lambda x: torch.maximum(x, -x), lambda x: np.sign(x)),
    ],
)  # fmt: skip
def test_piecewise_linear_functions_give_their_piece(fn, slope) -> None:
    for i, x in enumerate(X):
        a = run(fn, X, at=(i,))
        assert a.cotangents["in"][i] == pytest.approx(slope(x), abs=1e-15)
        assert constants(a) == pytest.approx(fn(torch.tensor(X))[i].item() - slope(x) * x, abs=1e-15)


@pytest.mark.parametrize("fn", [torch.log, torch.rsqrt, torch.reciprocal, torch.sqrt, lambda x: x**-1.5])
def test_functions_without_a_value_at_zero(fn) -> None:
    a = run(fn, np.array([0.3, 2.0]))
    assert inputs(a)[1] == pytest.approx(fn(torch.tensor(2.0, dtype=torch.float64)).item(), rel=1e-15)


# Softmax ------------------------------------------------------------------------------------------------------------

LOGITS = np.array([[0.3, -1.2, 2.0, 0.0]])


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_log_softmax() -> None:
    """y_i = x_i - sum p_j x_j - H(p)."""
    p = softmax(LOGITS)[0]
    entropy = -(p * np.log(p)).sum()
    a = run(lambda x: F.log_softmax(x, -1), LOGITS, at=(0, 1))
    expected = -p * LOGITS[0]
    expected[1] += LOGITS[0, 1]
    np.testing.assert_allclose(inputs(a), expected, atol=1e-15)
    assert constants(a) == pytest.approx(-entropy, abs=1e-15)


def test_logsumexp() -> None:
    p = softmax(LOGITS)[0]
    a = run(lambda x: torch.logsumexp(x, 1), LOGITS)
    np.testing.assert_allclose(inputs(a), p * LOGITS[0], atol=1e-15)
    assert constants(a) == pytest.approx(-(p * np.log(p)).sum(), abs=1e-15)


@pytest.mark.parametrize("i", range(4))
def test_softmax_is_the_secant_from_uniform(i: int) -> None:
    p = softmax(LOGITS)[0]
    n = 4
    slope = (p[i] - 1 / n) / (np.log(p[i]) + np.log(n))
    a = run(lambda x: F.softmax(x, -1), LOGITS, at=(0, i))
    expected = -slope * p * LOGITS[0]
    expected[i] += slope * LOGITS[0, i]
    np.testing.assert_allclose(inputs(a), expected, atol=1e-14)
    shifted = run(lambda x: F.softmax(x, -1), LOGITS + 5, at=(0, i))
    assert constants(shifted) == pytest.approx(constants(a))  # shifting all logits moves nothing to the constants
    np.testing.assert_allclose(shifted.cotangents["in"], a.cotangents["in"], atol=1e-14)
    assert a.cotangents["in"].sum() == pytest.approx(0.0, abs=1e-15)


def test_softmax_at_uniform_and_under_a_mask() -> None:
    a = run(lambda x: F.softmax(x, -1), np.full((1, 3), 0.7))
    assert constants(a) == pytest.approx(1 / 3)
    assert np.isfinite(a.cotangents["in"]).all()
    keep = torch.tensor([True, True, False])
    a = run(lambda x: F.softmax(x.masked_fill(~keep, -math.inf), -1), np.array([[1.0, 2.0, 9.0]]), at=(0, 1))
    assert a.number == pytest.approx(1 / (1 + math.exp(-1)))
    assert a.cotangents["in"][0, 2] == 0.0


def test_masks_of_infinity_take_no_part() -> None:
    keep = torch.tensor([[True, True, False]])
    x = np.array([[1.0, 2.0, 9.0]])
    for mask in (lambda x: torch.where(keep, x, -math.inf), lambda x: x.masked_fill(~keep, -math.inf)):
        a = run(lambda x, mask=mask: F.log_softmax(mask(x), -1)[:, :2].sum(), x)
        assert a.cotangents["in"][0, 2] == 0.0
        b = run(lambda x, mask=mask: mask(x)[0, 1] * 3, x, at=())
        assert inputs(b)[1] == 6.0


# Losses -------------------------------------------------------------------------------------------------------------


def test_cross_entropy_is_the_margin_less_the_entropy() -> None:
    x = np.array([[0.3, -1.2, 2.0], [1.0, 0.0, -0.5]])
    target = torch.tensor([2, 0])
    a = run(lambda x: F.cross_entropy(x, target), x)
    p = softmax(x)
    onehot = np.eye(3)[target.numpy()]
    np.testing.assert_allclose(inputs(a), ((p - onehot) * x / 2).ravel(), atol=1e-15)
    assert constants(a) == pytest.approx(-(p * np.log(p)).sum() / 2)


def test_squared_error() -> None:
    x, t = np.array([1.0, -2.0]), np.array([0.5, 0.25])
    a = run(F.mse_loss, x, t)
    np.testing.assert_allclose(inputs(a), (x - t) * x / 2)
    np.testing.assert_allclose(inputs(a, "in.target"), -(x - t) * t / 2)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_logistic_and_robust_losses_close(reduction: str) -> None:
    x, t = np.array([1.0, -2.0, 0.0]), np.array([1.0, 0.0, 1.0])
    a = run(lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=reduction), x, t)
    assert constants(a) == pytest.approx(3 * math.log(2) / (3 if reduction == "mean" else 1))  # what x = 0 would cost
    run(lambda x, t: F.huber_loss(x, t, reduction=reduction), x, t)
    run(lambda x, t: F.smooth_l1_loss(x, t, reduction=reduction), x, t)


# Norms --------------------------------------------------------------------------------------------------------------


def test_layer_norm_freezes_only_the_deviation() -> None:
    x, w, b = np.array([[1.0, -2.0, 0.5, 3.0]]), np.array([1.5, -1.0, 0.5, 2.0]), np.array([0.1, 0.2, 0.3, 0.4])
    fixed = [torch.tensor(v) for v in (w, b)]
    a = run(lambda x: F.layer_norm(x, (4,), *fixed, eps=1e-5), x, at=(0, 2))
    r = 1 / np.sqrt(x.var() + 1e-5)
    expected = (np.eye(4)[2] - 1 / 4) * r * w[2] * x[0]
    np.testing.assert_allclose(inputs(a), expected, atol=1e-15)
    assert constants(a) == pytest.approx(b[2])
    by_hand = run(
        lambda x: (x - x.mean(-1, True)) / torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-5), x, at=(0, 2)
    )
    np.testing.assert_allclose(inputs(by_hand) * w[2], expected, atol=1e-15)  # the same written out


def test_root_mean_square_norm() -> None:
    x = np.array([[1.0, -2.0, 0.5]])
    r = 1 / np.sqrt((x**2).mean() + 1e-6)
    written = run(lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6), x, at=(0, 1))
    module = run(lambda x: F.rms_norm(x, (3,), eps=1e-6), x, at=(0, 1))
    for a in (written, module):
        np.testing.assert_allclose(inputs(a), [0.0, x[0, 1] * r, 0.0], atol=1e-15)


def test_batch_norm_is_affine_in_evaluation_and_linear_in_training() -> None:
    x = np.arange(12.0).reshape(3, 2, 2) ** 1.5
    m, v, w, b = (torch.tensor(t, dtype=torch.float64) for t in ([0.5, 1.0], [2.0, 3.0], [1.5, -1.0], [0.1, 0.2]))
    a = run(lambda x: F.batch_norm(x, m, v, w, b, eps=1e-5), x, at=(2, 1, 0))
    slope = -1.0 / np.sqrt(3.0 + 1e-5)
    assert inputs(a)[10] == pytest.approx(slope * x[2, 1, 0])
    assert constants(a) == pytest.approx(0.2 - slope * 1.0)
    a = run(lambda x: F.batch_norm(x, None, None, w, b, training=True, eps=1e-5), x, at=(2, 1, 0))
    channel = x[:, 1]
    slopes = np.zeros_like(x)
    slopes[:, 1] = -1 / channel.size
    slopes[2, 1, 0] += 1
    np.testing.assert_allclose(inputs(a), (slopes * -1.0 / np.sqrt(channel.var() + 1e-5) * x).ravel(), atol=1e-14)


def test_group_norm() -> None:
    x = np.linspace(-1, 2, 16).reshape(1, 4, 4) ** 3
    a = run(lambda x: F.group_norm(x, 2, eps=1e-5), x, at=(0, 3, 1))
    group = x[0, 2:]
    slopes = np.zeros_like(x)
    slopes[0, 2:] = -1 / 8
    slopes[0, 3, 1] += 1
    np.testing.assert_allclose(inputs(a), (slopes / np.sqrt(group.var() + 1e-5) * x).ravel(), atol=1e-14)


@pytest.mark.parametrize("correction", [0, 1])
def test_variance_and_deviation(correction: int) -> None:
    x = np.array([1.0, -2.0, 0.5, 3.0])
    a = run(lambda x: x.var(correction=correction), x)
    np.testing.assert_allclose(inputs(a), (x - x.mean()) * x / (4 - correction), atol=1e-15)
    a = run(lambda x: x.std(correction=correction), x)
    std = x.std(ddof=correction)
    np.testing.assert_allclose(inputs(a), (x - x.mean()) * x / (4 - correction) / std, atol=1e-15)


# Products -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "left"), [("even", 0.5), ("left", 1.0), ("right", 0.0), (0.25, 0.25), ({"/mul": "right"}, 0.0)]
)
def test_products_of_two_signals_are_shared_out(split, left: float) -> None:
    x, y = np.array([1.5, -2.0]), np.array([4.0, 0.5])
    a = run(lambda x, y: x * y, x, y, at=(1,), split=split)
    for name, share in (("in", left), ("in.y", 1 - left)):
        np.testing.assert_allclose(inputs(a, name), [0.0, share * -1.0] if share else [])


def test_products_of_matrices() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4) - 5
    a = run(lambda x, y: x @ y, x, y, at=(1, 2), split=0.25)
    left, right = np.zeros_like(x), np.zeros_like(y)
    left[1], right[:, 2] = x[1] * y[:, 2] * 0.25, x[1] * y[:, 2] * 0.75
    np.testing.assert_allclose(inputs(a), left.ravel())
    np.testing.assert_allclose(inputs(a, "in.y"), right.ravel())


def test_ratios_freeze_the_denominator() -> None:
    a = run(lambda x, y: x / y, np.array([3.0]), np.array([4.0]))
    assert (inputs(a)[0], inputs(a, "in.y")[0] if len(inputs(a, "in.y")) else 0.0) == (0.75, 0.0)
    assert "denominators" in [f.text for f in a.frozen]
    a = run(lambda y: 3.0 / y, np.array([4.0]))  # only the denominator carries anything: c / y = (c / y^2) y
    assert inputs(a)[0] == 0.75


def test_gates_and_patterns_are_frozen() -> None:
    x = np.array([0.5, -1.0])
    a = run(lambda x, y: torch.sigmoid(x) * y, x, np.array([2.0, 3.0]), at=(1,))
    assert inputs(a, "in.y")[1] == pytest.approx(3 / (1 + math.e))
    assert not inputs(a).any()
    a = run(lambda x: F.glu(x), np.array([1.5, 0.7]))
    np.testing.assert_allclose(inputs(a), [a.number, 0.0])
    scores, v = np.array([[0.2, 1.0]]), np.array([[1.0], [-3.0]])
    a = run(lambda s, v: torch.softmax(s, -1) @ v, scores, v)
    np.testing.assert_allclose(inputs(a, "in.v"), (softmax(scores)[0] * v[:, 0]))
    a = run(lambda s, v: torch.softmax(s, -1) @ v, scores, v, split={"*/mm*": "left"})  # unless the caller says so
    assert not inputs(a, "in.v").any()
    assert inputs(a).any()


@pytest.mark.parametrize("heads", [(2, 2), (4, 2)], ids=["same", "grouped"])
@pytest.mark.parametrize("causal", [False, True])
def test_fused_attention_is_the_pattern_times_the_values(heads: tuple[int, int], causal: bool) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, h, 3, 4)) for h in (heads[0], heads[1], heads[1]))
    fn = lambda q, k, v: F.scaled_dot_product_attention(  # noqa: E731
        q, k, v, is_causal=causal, enable_gqa=heads[0] != heads[1]
    )
    a = run(lambda q, k, v: fn(q, k, v) * 1.0, q, k, v, at=(0, heads[0] - 1, 1, 2))
    scores = q[0, -1, 1] @ k[0, -1].T / 2
    if causal:
        scores[2] = -np.inf
    expected = np.zeros_like(v)
    expected[0, -1, :, 2] = softmax(scores) * v[0, -1, :, 2]
    np.testing.assert_allclose(inputs(a, "in.v"), expected.ravel(), atol=1e-14)
    assert not inputs(a).any()


# Moves, sums, windows -----------------------------------------------------------------------------------------------

MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(3, 4).t().reshape(2, 6),
    "permute": lambda x: x.permute(2, 0, 1).contiguous(),
    "flip": lambda x: x.flip(0).roll(1, 2),
    "slice": lambda x: x[:, 1:, ::2],
    "split": lambda x: torch.cat([p * (i + 1) for i, p in enumerate(x.split(1, 1))], 2),
    "unbind": lambda x: torch.stack([p * (i + 1) for i, p in enumerate(x.unbind(2))], 1),
    "expand": lambda x: x.unsqueeze(0).expand(3, 2, 2, 3).sum((0, 2)),
    "repeat": lambda x: x.repeat(2, 1, 3).mean(0),
    "index": lambda x: x[[1, 0, 1], :, torch.tensor([2, 2, 0])],
    "gather": lambda x: x.gather(2, torch.tensor([[[0, 2]] * 2] * 2)),
    "scatter": lambda x: torch.zeros(2, 2, 5, dtype=x.dtype).scatter_add(2, torch.tensor([[[4, 0, 4]] * 2] * 2), x),
    "cumsum": lambda x: x.cumsum(2),
    "tril": lambda x: x[0].tril(),
    "pad": lambda x: F.pad(x, (1, 2), value=0.0),
    "unfold": lambda x: x.unfold(2, 2, 1).sum(1),
    "diagonal": lambda x: x.diagonal(dim1=1, dim2=2),
    "interpolate": lambda x: F.interpolate(x, size=5, mode="linear"),
    "avg_pool": lambda x: F.avg_pool1d(x, 2, 1),
    "conv": lambda x: F.conv1d(x, torch.arange(8.0, dtype=x.dtype).view(2, 2, 2), padding=1),
    "conv_transpose": lambda x: F.conv_transpose1d(x, torch.arange(8.0, dtype=x.dtype).view(2, 2, 2), stride=2),
    "einsum": lambda x: torch.einsum("abc,dc->abd", x, torch.arange(6.0, dtype=x.dtype).view(2, 3)),
    "fft": lambda x: torch.fft.fft(x).real,
    "irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x) * (1 + 2j), n=3),
    "complex": lambda x: torch.view_as_real(torch.view_as_complex(x[..., :2].contiguous()) * (0.5 - 1j)).conj(),
    "lerp": lambda x: torch.lerp(x, 2 * x.flip(0), 0.25),
    "copy": lambda x: torch.empty(2, 2, 3, dtype=x.dtype).copy_(x),
    "write": lambda x: _write(x),
}  # fmt: skip


def _write(x: Tensor) -> Tensor:
    """Windows onto one storage, written one after another."""
    y = torch.zeros(2, 4, 3, dtype=x.dtype)
    a, b = y[:, :2], y[:, 1:3]
    a.copy_(x)
    b.mul_(2.0).add_(x)
    return y[:, :3].transpose(1, 2) * 1.0


@pytest.mark.parametrize("name", MOVES)
def test_linear_ops_pass_their_transpose(name: str) -> None:
    """For a linear map the cotangent is the row of its matrix, found here by feeding the unit vectors."""
    fn = MOVES[name]
    x = np.random.default_rng(1).normal(size=(2, 2, 3))
    columns = [fn(torch.from_numpy(np.eye(12)[i].reshape(x.shape).copy())) for i in range(12)]
    offset = fn(torch.zeros(2, 2, 3, dtype=torch.float64))
    for at in (0, columns[0].numel() // 2, columns[0].numel() - 1):
        index = tuple(int(i) for i in np.unravel_index(at, columns[0].shape))
        a = run(fn, x, at=index)
        row = [float(c[index] - offset[index]) for c in columns]
        found = a.cotangents.get("in", np.zeros(12))
        np.testing.assert_allclose(found.ravel(), row, atol=1e-14)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x.max(1).values, lambda x: x.amin(1), lambda x: x.sort(1).values, lambda x: x.topk(2, 1).values,
        lambda x: x.median(1).values, lambda x: F.max_pool1d(x, 2), lambda x: x.norm(dim=1),
        lambda x: x.cummax(1).values,
        lambda x: torch.where(x > 0, x, 2 * x), lambda x: x.masked_fill(x > 0, 3.0), lambda x: x[:, :2] - 1.5,
        lambda x: 2.0 - x, lambda x: F.pad(x, (1, 1), value=7.0), lambda x: x.prod(1), lambda x: x.floor() + x,
        lambda x: torch.addcmul(x, x, x, value=0.5), lambda x: torch.addcdiv(x, x, 1 + x * x),
        lambda x: torch.linalg.vector_norm(x, 1, dim=1), lambda x: x.index_fill(1, torch.tensor([0]), 2.0),
        lambda x: F.cosine_similarity(x, x.flip(1), dim=1), lambda x: F.normalize(x, dim=1),
        lambda x: torch.cdist(x, 2 * x)[0, 1:],
        lambda x: torch.outer(x[0], x[1]), lambda x: x @ x.T, lambda x: torch.baddbmm(x[None], x[None, :, :2], x[None]),
    ],
)  # fmt: skip
def test_other_ops_conserve(fn) -> None:
    x = np.array([[0.3, -1.2, 2.0], [1.5, 0.7, -0.4]])
    a = run(fn, x)
    assert not a.opaque or a.opaque[0].label.startswith("opaque: cdist")


def test_embedding_stops_at_positions_or_at_the_table() -> None:
    net = torch.nn.Embedding(5, 2).double()
    w = ww.walk(net, torch.tensor([[3, 1, 3]]))
    a = w.account("out[0, 0, 1] + out[0, 2, 1]", cut="parameters")
    assert a.cotangents["weight"][3, 1] == 2.0
    assert [r.address for r in a.rows] == ["weight"]


def test_fused_ops_are_accounted_for_through_their_decomposition() -> None:
    """In float32 the LSTM and the encoder layer are one kernel each; inside, the same rules hold."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(3, 4, batch_first=True)
    x = torch.randn(1, 3, 3)
    with torch.no_grad():
        w = ww.walk(lstm, x)
    assert "mkldnn_rnn_layer" in {s.name for s in w.steps}
    fused = w.account(f"{w.values[w.calls[0].outputs['0']].address}[0, 2, 1]", cut="inputs")
    wide = ww.walk(lstm.double(), x.double())
    open_ = wide.account(f"{wide.values[wide.calls[0].outputs['0']].address}[0, 2, 1]", cut="inputs")
    assert not fused.opaque
    there = {r.address: r.value for r in open_.rows if r.kind == "cut"}
    for row in fused.rows:
        if row.kind == "cut":
            assert row.value == pytest.approx(there[row.address], abs=1e-6)
    assert abs(fused.remainder) <= fused.bound
