"""The NumPy referee against torch: thousands of recorded ops lie within their bounds, and a few bounds off is refused.

torch runs each op here; the referee shares no kernel with it. Two things can go wrong with a bound: it is too small
(a true record is called false) or too large (a false one passes). The first is tested on random and on nasty inputs in
four dtypes, the second by moving recorded numbers a little beyond the bound, and by how far below it true records stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from readings.harness import Recorded, judgements, record

from weightwalk.recorder import recording

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}


def unary(function: Callable[[torch.Tensor], Any]) -> Callable[..., Any]:
    return lambda x, y, w: function(x)


POINTWISE: dict[str, Callable[..., Any]] = {
    name: unary(getattr(torch, name))
    for name in (
        "exp", "expm1", "sin", "cos", "tanh", "sigmoid", "erf", "neg", "abs", "sgn", "square", "relu", "reciprocal",
        "floor", "ceil", "trunc", "isnan", "isinf", "isfinite", "logical_not",
    )
} | {
    "log": lambda x, y, w: torch.log(x.abs()), "log1p": lambda x, y, w: torch.log1p(x.abs()),
    "sqrt": lambda x, y, w: torch.sqrt(x.abs()), "rsqrt": lambda x, y, w: torch.rsqrt(x.abs()),
    "log2": lambda x, y, w: torch.log2(x.abs()),
    "gelu": unary(F.gelu), "gelu_tanh": unary(lambda x: F.gelu(x, approximate="tanh")), "silu": unary(F.silu),
    "mish": unary(F.mish), "elu": unary(F.elu), "selu": unary(F.selu), "leaky_relu": unary(F.leaky_relu),
    "softplus": unary(lambda x: F.softplus(x, 2.0, 5.0)), "hardswish": unary(F.hardswish),
    "hardsigmoid": unary(F.hardsigmoid), "hardtanh": unary(F.hardtanh), "logsigmoid": unary(F.logsigmoid),
    "hardshrink": unary(F.hardshrink), "softshrink": unary(F.softshrink), "celu": unary(lambda x: F.celu(x, 1.3)),
    "pow2": unary(lambda x: x**2), "pow3": unary(lambda x: x**3), "pow_half": unary(lambda x: x.abs() ** 0.5),
    "pow_odd": unary(lambda x: x.abs() ** 1.7), "scalar": unary(lambda x: (x + 0.1) * 0.3 - 1 / 3),
    "add": lambda x, y, w: x + y, "add_alpha": lambda x, y, w: torch.add(x, y, alpha=0.3),
    "sub": lambda x, y, w: x - y, "mul": lambda x, y, w: x * y, "div": lambda x, y, w: x / y,
    "rsub": lambda x, y, w: 1.3 - x, "where": lambda x, y, w: torch.where(x > y, x, y),
    "maximum": lambda x, y, w: torch.maximum(x, y), "minimum": lambda x, y, w: torch.minimum(x, y),
    "compare": lambda x, y, w: (x < y, x == y, x >= 0.1, x != 0, x <= 3),
    "lerp": lambda x, y, w: (torch.lerp(x, y, 0.3), torch.lerp(x, y, 0.8)),
    "addcmul": lambda x, y, w: torch.addcmul(x, y, w, value=0.3),
    "addcdiv": lambda x, y, w: torch.addcdiv(x, y, w.abs() + 0.1, value=-0.3),
    "clamp": lambda x, y, w: (x.clamp(-0.5, 0.7), x.clamp_min(0.1), x.clamp_max(0.1)),
    "in_place": lambda x, y, w: x.clone().add_(y).mul_(w).sigmoid_().neg_(),
    "foreach": lambda x, y, w: torch._foreach_add(torch._foreach_mul([x, y], 0.3), [w, x], alpha=0.7),
    "masked_fill": lambda x, y, w: x.masked_fill(y > 0, -1e4),
    "xlogy": lambda x, y, w: torch.xlogy(x, y.abs()),
    "cast": lambda x, y, w: (x.to(torch.float32), x.to(torch.float64), x.to(torch.bfloat16), x > 0),
}  # fmt: skip
"""Elementwise ops of three tensors of one shape, any number allowed in them."""

GRADIENTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "mish": F.mish, "elu": F.elu,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": F.softplus, "leaky_relu": F.leaky_relu, "relu": F.relu,
    "hardswish": F.hardswish, "logsigmoid": F.logsigmoid, "exp": torch.exp, "log_softmax": lambda x: x.log_softmax(-1),
    "softmax": lambda x: x.softmax(-1), "hardtanh": F.hardtanh, "glu": lambda x: F.glu(torch.cat([x, x], -1)),
    "norm": lambda x: x.norm(dim=-1), "var": lambda x: x.var(-1), "mean": lambda x: x.mean(0), "prod": lambda x: x * x,
}  # fmt: skip

REDUCTIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "sum": lambda x: (x.sum(), x.sum(0), x.sum(-1, keepdim=True)), "mean": lambda x: (x.mean(), x.mean(0)),
    "cumsum": lambda x: x.cumsum(0), "norm": lambda x: (x.norm(), x.norm(dim=-1), x.norm(p=1), x.norm(p=math.inf)),
    "amax": lambda x: (x.amax(-1), x.amin(0), x.max(), x.min()), "argmax": lambda x: (x.argmax(), x.argmax(-1)),
    "max_dim": lambda x: (x.max(-1), x.min(0)), "sort": lambda x: (x.sort(-1), x.sort(0, descending=True)),
    "topk": lambda x: x.topk(2, -1), "logsumexp": lambda x: x.logsumexp(-1), "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(0), "any_all": lambda x: (x.any(), (x > 0).all(-1)),
    "prod": lambda x: x.prod(), "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]), "median": lambda x: x.median(),
}  # fmt: skip

MOVES: dict[str, Callable[[torch.Tensor], Any]] = {
    "views": lambda x: (x.t(), x.view(-1), x[None], x.unsqueeze(1), x.expand(2, *x.shape), x.permute(1, 0), x[:, ::2]),
    "cat": lambda x: torch.cat([x, x[:1]]), "stack": lambda x: torch.stack([x, x], 1), "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0), "pad": lambda x: (F.pad(x, (1, 2)), F.pad(x, (-1, 1), value=2.0)),
    "tril": lambda x: (x.tril(), x.triu(1)), "index": lambda x: x[torch.tensor([0, 2, 0])],
    "gather": lambda x: x.gather(1, torch.tensor([[0, 1], [1, 1]])), "split": lambda x: (x.split(2), x.unbind(1)),
    "scatter": lambda x: x.scatter(0, torch.tensor([[0, 1]]), 1.0), "repeat": lambda x: x.repeat(2, 1),
    "fills": lambda x: (torch.zeros_like(x), torch.full_like(x, 0.1), torch.ones(2, 3), torch.arange(5), torch.eye(3)),
    "clone": lambda x: x.clone(), "copy": lambda x: torch.zeros_like(x).copy_(x), "select": lambda x: x.select(0, 1),
    "item": lambda x: x[0, 0].item(), "as_strided": lambda x: x.contiguous().as_strided((2, 2), (1, 2)),
    "one_hot": lambda x: F.one_hot(torch.tensor([0, 2])), "unfold": lambda x: x.unfold(0, 2, 1),
}  # fmt: skip


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale).to(dtype)


def nasty(dtype: torch.dtype) -> torch.Tensor:
    """Zeros of both signs, subnormals, the ends of the range, NaN and infinities, numbers near 0 and 1."""
    info = torch.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_normal / 4, info.eps, 1.0, 1 + info.eps, 88.0, 20.0, 3.0, 1e-3, 0.5]
    numbers = [0.0, math.inf, math.nan, *ends]
    return torch.tensor([*numbers, *(-n for n in numbers)], dtype=torch.float64).to(dtype)


def check(steps: list[Recorded]) -> float:
    """Assert that every covered step is right; the greatest fraction of a bound."""
    assert steps
    worst = 0.0
    for step in steps:
        found = judgements(step)
        assert found is not None, f"{step.op} is not covered"
        for _, judged in found:
            assert judged.ok, f"{step.op} {judged.message}"
            worst = max(worst, judged.fraction)
    return worst


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_records_lie_within_their_bounds(name: str, dtype: str) -> None:
    function, kind = POINTWISE[name], DTYPES[dtype]
    for seed, (shape, scale) in enumerate([((1000,), 1.0), ((40, 7), 6.0), ((), 1.0), ((0, 3), 1.0), ((65,), 1e-3)]):
        x, y, w = (draw(shape, kind, 3 * seed + i, scale) for i in range(3))
        check(record(lambda x=x, y=y, w=w: function(x, y, w)))
    edge = nasty(kind)
    check(record(lambda: function(edge, edge.flip(0), edge.roll(5))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRADIENTS)
def test_derivatives_lie_within_their_bounds(name: str, dtype: str) -> None:
    function, kind = GRADIENTS[name], DTYPES[dtype]
    for seed, scale in enumerate((0.1, 1.0, 5.0)):
        x = draw((6, 9), kind, seed, scale).requires_grad_()
        check(record(lambda x=x: function(x).sum().backward()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_lie_within_their_bounds(name: str, dtype: str) -> None:
    kind = DTYPES[dtype]
    for seed, shape in enumerate([(3, 5), (17, 33), (2, 300), (4, 4)]):
        x = draw(shape, kind, seed, 3.0)
        check(record(lambda x=x: REDUCTIONS[name](x)))
    with_edges = torch.stack([nasty(kind), nasty(kind).flip(0)])
    check(record(lambda: REDUCTIONS[name](with_edges)))
    ties = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, -2.0, 2.0]]).to(kind)
    check(record(lambda: REDUCTIONS[name](ties)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MOVES)
def test_moves_are_exact(name: str, dtype: str) -> None:
    x = nasty(DTYPES[dtype])[:20].reshape(5, 4)
    steps = record(lambda: MOVES[name](x))
    assert check(steps) == 0.0


def matrices(kind: torch.dtype, seed: int) -> list[Recorded]:
    a, b = draw((5, 37), kind, seed), draw((37, 11), kind, seed + 1)
    bias, batch = draw((11,), kind, seed + 2), draw((3, 4, 6), kind, seed + 3)

    def run() -> None:
        torch.mm(a, b)
        torch.addmm(bias, a, b)
        torch.addmm(bias, a, b, beta=0.5, alpha=0.3)
        torch.bmm(batch, batch.transpose(1, 2))
        torch.baddbmm(batch[:, :, :4], batch, batch.transpose(1, 2))
        torch.mv(a, b[:, 0])
        torch.dot(a[0], b[:, 0])
        F.linear(a, b.t(), bias)
        torch.mm(a[:0], b)
        torch.mm(a[:, :0], b[:0])
        torch.addmv(bias[:5], a, b[:, 1])

    return record(run)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_lie_within_their_bounds_and_use_a_fair_part_of_them(dtype: str) -> None:
    worst = max(check(matrices(DTYPES[dtype], seed)) for seed in range(8))
    assert worst > 1e-3, "a bound that nothing ever comes near proves little"


CONVOLUTIONS: list[tuple[Any, ...]] = [
    (F.conv2d, (2, 4, 7, 6), (6, 4, 3, 3), {"padding": 1}), (F.conv2d, (2, 4, 7, 6), (6, 2, 3, 2), {"groups": 2}),
    (F.conv2d, (1, 3, 9, 9), (2, 3, 3, 3), {"stride": 2, "dilation": 2, "padding": (2, 1)}),
    (F.conv1d, (2, 3, 10), (4, 3, 3), {"padding": 2}), (F.conv1d, (2, 4, 10), (4, 1, 4), {"groups": 4}),
    (F.conv3d, (1, 2, 4, 4, 4), (3, 2, 2, 2, 2), {}),
    (F.conv_transpose2d, (2, 4, 4, 5), (4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    (F.conv_transpose1d, (2, 4, 6), (4, 2, 3), {"groups": 2, "dilation": 2}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", range(len(CONVOLUTIONS)))
def test_convolutions_and_their_derivatives(index: int, dtype: str) -> None:
    function, x_shape, w_shape, options = CONVOLUTIONS[index]
    kind = DTYPES[dtype]
    x, w = draw(x_shape, kind, 1).requires_grad_(), draw(w_shape, kind, 2).requires_grad_()
    outputs = w_shape[0] if "transpose" not in function.__name__ else w_shape[1] * options.get("groups", 1)
    b = draw((outputs,), kind, 3).requires_grad_()
    check(record(lambda: function(x, w, b, **options).square().sum().backward()))


NORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "layer": lambda x: F.layer_norm(x, x.shape[1:], x[0].detach() * 0.3, x[1].detach()),
    "rms": lambda x: F.rms_norm(x, x.shape[-1:]),
    "group": lambda x: F.group_norm(x, 2, x[0, :, 0].detach(), x[1, :, 0].detach()),
    "batch": lambda x: F.batch_norm(x, torch.zeros(4, dtype=x.dtype), torch.ones(4, dtype=x.dtype), training=True),
    "batch_eval": lambda x: F.batch_norm(x, torch.ones(4, dtype=x.dtype), torch.ones(4, dtype=x.dtype) * 2),
    "instance": F.instance_norm,
    "max_pool": lambda x: F.max_pool1d(x, 2), "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg_pool": lambda x: F.avg_pool2d(x, 2, 1, 1), "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_norms_and_pools_with_their_derivatives(name: str, dtype: str, offset: float) -> None:
    """With an offset the mean is far from 0, where the variance cancels."""
    x = (draw((5, 4, 8), DTYPES[dtype], 7) + offset).requires_grad_()
    weights = draw((5, 4, 16), DTYPES[dtype], 8)

    def run() -> None:
        y = NORMS[name](x)
        (y * weights.flatten()[: y.numel()].reshape(y.shape)).sum().backward()

    check(record(run))


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss,
    "huber": lambda x, t: F.huber_loss(x, t, delta=0.7),
    "bce_logits": lambda x, t: F.binary_cross_entropy_with_logits(x, t.abs().clamp(0, 1)),
    "bce": lambda x, t: F.binary_cross_entropy(x.sigmoid(), t.abs().clamp(0, 1)),
    "cross_entropy": lambda x, t: F.cross_entropy(x, t.argmax(-1)),
    "smoothed": lambda x, t: F.cross_entropy(x, t.argmax(-1), label_smoothing=0.1),
    "ignored": lambda x, t: F.cross_entropy(x, t.argmax(-1).index_fill(0, torch.tensor([1]), -100)),
    "weighted": lambda x, t: F.cross_entropy(x, t.argmax(-1), weight=t[0].detach().abs() + 0.5),
    "summed": lambda x, t: F.cross_entropy(x, t.argmax(-1), reduction="sum"),
    "each": lambda x, t: F.cross_entropy(x, t.argmax(-1), reduction="none").sum(),
    "kl": lambda x, t: F.kl_div(x.log_softmax(-1), t.softmax(-1), reduction="batchmean"),
    "soft_margin": lambda x, t: F.soft_margin_loss(x, t.sign()),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_derivatives(name: str, dtype: str) -> None:
    for seed, rows in enumerate((6, 40)):
        x, t = draw((rows, 9), DTYPES[dtype], seed, 2.0).requires_grad_(), draw((rows, 9), DTYPES[dtype], seed + 9)
        check(record(lambda x=x, t=t: LOSSES[name](x, t).backward()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["plain", "causal", "mask", "bool", "grouped", "barred row"])
def test_fused_attention(how: str, dtype: str) -> None:
    kind = DTYPES[dtype]
    q, k, v = (draw((2, 4, 40, 8), kind, i, 2.0) for i in range(3))
    options: dict[str, Any] = {}
    if how == "causal":
        options["is_causal"] = True
    elif how == "mask":
        options["attn_mask"] = draw((40, 40), kind, 5)
    elif how == "grouped":
        k, v, options["enable_gqa"] = k[:, :2], v[:, :2], True
    elif how in ("bool", "barred row"):
        mask = torch.ones(40, 40, dtype=torch.bool).tril()
        mask[0] = how == "bool"
        options["attn_mask"] = mask
    leaves = [t.requires_grad_() for t in (q, k, v)]

    def run() -> None:
        y = F.scaled_dot_product_attention(*leaves, **options)
        y.backward(y.detach())

    check(record(run))


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "SGD", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam"])
@pytest.mark.parametrize("style", [{"foreach": False}, {"foreach": True}, {"fused": True}])
def test_optimizer_steps(optimizer: str, style: dict[str, bool]) -> None:
    if "fused" in style and optimizer not in ("AdamW", "Adam", "SGD", "Adagrad"):
        pytest.skip("has no fused form")
    parameters = [draw(s, torch.float32, i).requires_grad_() for i, s in enumerate([(7, 5), (5,), ()])]
    more = {"SGD": {"momentum": 0.9, "nesterov": True}, "Adam": {"amsgrad": True}}.get(optimizer, {})
    if optimizer == "Adagrad" and "fused" in style:
        pytest.skip("not covered yet")
    step = getattr(torch.optim, optimizer)(parameters, lr=1e-2, weight_decay=0.01, **more, **style)
    for turn in range(3):
        for i, p in enumerate(parameters):
            p.grad = draw(tuple(p.shape), torch.float32, 10 * turn + i)
        check(record(step.step))


def test_recurrent_layers() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 2, 4)
    for net in (torch.nn.LSTM(4, 5, 2, bidirectional=True), torch.nn.GRU(4, 5), torch.nn.RNN(4, 5)):
        check([s for s in record(lambda net=net: net(x)[0].sum().backward()) if "empty" not in s.op])


def test_embedding_and_indexing_with_repeats() -> None:
    table, places = draw((7, 3), torch.float32, 1).requires_grad_(), torch.tensor([[0, 1, 1], [6, 1, 0]])
    check(record(lambda: F.embedding(places, table, padding_idx=6).square().sum().backward()))
    values = draw((4, 3), torch.float32, 2)
    at = torch.tensor([1, 1, 1, 0])

    def run() -> None:
        torch.zeros(7, 3).index_add(0, at, values, alpha=0.3)
        torch.ones(7, 3).index_put((at,), values, accumulate=True)
        torch.zeros(7, 3).scatter_add(0, at[:, None].expand(4, 3), values)

    check(record(run))


REFUSED: dict[str, Callable[[], Any]] = {
    "mm": lambda: torch.mm(draw((4, 20), torch.float32, 0), draw((20, 5), torch.float32, 1)),
    "conv": lambda: F.conv2d(draw((1, 2, 5, 5), torch.float32, 0), draw((3, 2, 3, 3), torch.float32, 1)),
    "gelu": lambda: F.gelu(draw((50,), torch.float32, 0)), "exp": lambda: torch.exp(draw((50,), torch.float32, 0)),
    "softmax": lambda: draw((5, 9), torch.float32, 0).softmax(-1), "add": lambda: draw((9,), torch.float32, 0) + 1.5,
    "log_softmax": lambda: draw((5, 9), torch.float32, 0).log_softmax(-1),
    "sum": lambda: draw((50,), torch.float32, 0).sum(),
    "layer_norm": lambda: F.layer_norm(draw((5, 16), torch.float32, 0), (16,)),
    "attention": lambda: F.scaled_dot_product_attention(*(draw((1, 2, 9, 8), torch.float32, i) for i in range(3))),
    "bf16": lambda: torch.mm(draw((4, 20), torch.bfloat16, 0), draw((20, 5), torch.bfloat16, 1)),
    "clone": lambda: draw((9,), torch.float32, 0).clone(), "relu": lambda: draw((9,), torch.float32, 0).relu(),
    "argmax": lambda: draw((5, 9), torch.float32, 0).argmax(-1), "compare": lambda: draw((9,), torch.float32, 0) > 0,
    "embedding": lambda: F.embedding(torch.tensor([1, 3]), draw((5, 4), torch.float32, 0)),
    "sort": lambda: draw((9,), torch.float32, 0).sort(),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_number_three_bounds_off_is_refused(name: str) -> None:
    """Every output, many places: moved by three bounds (or to the next number, where equality is asked), and NaN."""
    rng = np.random.default_rng(0)
    step = record(REFUSED[name])[-1]
    expected = step.expected()
    assert expected is not None
    refused = 0
    for i, (good, want) in enumerate(zip(step.outputs, expected, strict=True)):
        for _ in range(20):
            bad = np.array(good)
            place = tuple(int(rng.integers(n)) for n in bad.shape)
            bad[place] = moved(bad[place], want, place, rng)
            step.outputs[i] = bad
            found = judgements(step)
            assert found is not None
            assert not found[i][1].ok, (name, i, place, good[place], bad[place])
            refused += 1
        if good.dtype.kind == "f":
            bad = np.array(good)
            bad.flat[0] = np.nan
            step.outputs[i] = bad
            assert not judgements(step)[i][1].ok  # type: ignore[index]
        step.outputs[i] = good
    assert refused >= 20


def moved(number: Any, want: Any, place: tuple[int, ...], rng: np.random.Generator) -> Any:
    if number.dtype.kind == "b":
        return ~number
    if number.dtype.kind in "iu":
        return number + 1
    bound = float(np.broadcast_to(want.bound, want.value.shape)[place])
    if bound == 0.0:
        return np.nextafter(number, number.dtype.type(9)) if number.dtype.kind == "f" else number * 2 + 1
    sign = rng.choice([-1.0, 1.0])
    step = 3.0 * bound if number.dtype.kind == "f" else 8.0 * bound
    return number.dtype.type(float(want.value[place]) + sign * step)


def test_an_unknown_op_is_not_covered() -> None:
    assert Recorded("aten.no_such_op.default", [], {}, []).expected() is None


def test_nan_and_infinity_stand_only_against_themselves() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 1.0])
    step = record(lambda: x + 1.0)[-1]
    good = step.outputs[0]
    nan, inf = math.nan, math.inf
    for place, wrong in [(0, 1.0), (1, nan), (1, -inf), (1, 3e38), (2, inf), (3, nan), (3, inf)]:
        bad = np.array(good)
        bad[place] = wrong
        step.outputs[0] = bad
        assert not judgements(step)[0][1].ok, (place, wrong)  # type: ignore[index]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_running_moments_in_half_precision_round_their_factors_and_products_too(dtype: str) -> None:
    """One in ten such trainings was called false: kernels write ``half(half(0.1) v) + half(half(0.9) old)``."""
    for seed in range(60):
        torch.manual_seed(seed)
        net = torch.nn.BatchNorm1d(4).to(DTYPES[dtype])
        x = torch.randn(9, 4).to(DTYPES[dtype])
        for _ in range(1 + seed % 6):
            net(x)
        with recording(net) as walk:
            net(x)
        assert walk.verify(drift=False).ok
