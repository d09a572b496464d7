"""Hessians against finite differences of gradients, closed forms and quadratics whose eigenvalues are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.learning.hessians import hessian_product, spectrum
from weightwalk.learning.losses import loss_of
from weightwalk.learning.seeds import seeded


def tanh_net() -> nn.Sequential:
    with seeded(1):
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def conv_net() -> nn.Module:
    with seeded(2):
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def embedding_net() -> nn.Module:
    with seeded(3):
        return nn.Sequential(nn.Embedding(5, 3), nn.GELU(), nn.LayerNorm(3), nn.Linear(3, 5))


def data(kind: str) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(5)
    if kind == "tanh":
        return torch.randn(7, 3, generator=rng), torch.randn(7, 2, generator=rng)
    if kind == "conv":
        return torch.randn(6, 1, 4, 4, generator=rng), torch.randint(3, (6,), generator=rng)
    return torch.randint(5, (8,), generator=rng), torch.randint(5, (8,), generator=rng)


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tanh": (tanh_net, "mse"),
    "conv": (conv_net, "cross_entropy"),
    "embedding": (embedding_net, "cross_entropy"),
}


def differences(module: nn.Module, x: Tensor, y: Tensor, loss: str, step: float = 1e-5) -> np.ndarray:
    """The Hessian by central differences of float64 gradients, one weight at a time."""
    twin = module.double()
    x = x.double() if x.is_floating_point() else x
    y = y.double() if y.is_floating_point() else y
    weights = list(twin.parameters())

    def gradient() -> np.ndarray:
        slopes = torch.autograd.grad(loss_of(loss)(twin(x), y), weights)
        return torch.cat([s.reshape(-1) for s in slopes]).numpy()

    rows = []
    for w in weights:
        for i in range(w.numel()):
            with torch.no_grad():
                w.view(-1)[i] += step
            above = gradient()
            with torch.no_grad():
                w.view(-1)[i] -= 2 * step
            below = gradient()
            with torch.no_grad():
                w.view(-1)[i] += step
            rows.append((above - below) / (2 * step))
    return np.array(rows)


@pytest.mark.parametrize("kind", CASES)
def test_products_are_those_of_differences_of_gradients(kind: str) -> None:
    make, loss = CASES[kind]
    x, y = data(kind)
    n, product = hessian_product(make(), x, y, loss)
    slow = differences(make(), x, y, loss)
    assert slow.shape == (n, n)
    assert np.abs(slow).max() > 0.01  # not trivially satisfied by zeros
    fast = np.array([product(row) for row in np.eye(n)])
    assert np.abs(fast - slow).max() < 1e-7


@pytest.mark.parametrize("kind", CASES)
def test_all_eigenvalues_are_those_of_the_slow_matrix(kind: str) -> None:
    make, loss = CASES[kind]
    x, y = data(kind)
    found = spectrum(make(), x, y, loss=loss)
    slow = np.linalg.eigvalsh(differences(make(), x, y, loss))
    assert found.all is not None
    assert np.abs(found.all - slow).max() < 1e-6
    assert found.method == "full" and found.negative_is_exact
    assert found.negative == (slow < -found.tolerance).sum()
    assert found.flat == (np.abs(slow) <= max(found.tolerance, 1e-7)).sum()


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_chunks_of_examples_add_up(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data("tanh")
    whole, one = hessian_product(tanh_net(), x, y, "mse"), spectrum(tanh_net(), x, y, loss="mse")
    from weightwalk.learning.curvature import Curvature

    made = Curvature(tanh_net(), x, y, "mse")
    made._chunk, made._kept = chunk, None
    v = np.random.default_rng(0).standard_normal(whole[0])
    assert np.abs(made.product(v) - whole[1](v)).max() < 1e-13
    assert one.all is not None and np.abs(np.linalg.eigvalsh(made.matrix()) - one.all).max() < 1e-13
    assert made._slope()[0] == pytest.approx(one.loss, rel=1e-14)


def test_little_memory_is_kept_to_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.learning import curvature

    monkeypatch.setattr(curvature, "MEMORY", 2000)
    x, y = data("tanh")
    made = curvature.Curvature(tanh_net(), x, y, "mse")
    assert made._chunk < 7
    monkeypatch.undo()
    assert np.abs(made.matrix() - curvature.Curvature(tanh_net(), x, y, "mse").matrix()).max() < 1e-13


def test_linear_regression_has_the_hessian_of_the_book() -> None:
    """``L = mean (x w - y)²`` has ``H = 2 X'X / N``, whatever w and y."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20, 4, generator=rng, dtype=torch.float64)
    line = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    found = spectrum(line, x, torch.randn(20, 1, generator=rng, dtype=torch.float64), loss="mse")
    book = np.linalg.eigvalsh((2 * x.T @ x / 20).numpy())
    assert found.all is not None and np.allclose(found.all, book, rtol=1e-12)
    assert (found.negative, found.flat, found.positive) == (0, 0, 4)
    assert found.note == ""


class Quadratic(nn.Module):
    """Output ``w² / 2``, so that targets as weights make the loss a quadratic with those eigenvalues."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w.square() / 2).sum(dim=1, keepdim=True)


def total(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


def test_both_ends_of_a_known_quadratic_by_lanczos() -> None:
    values = np.linspace(-3, 9, 300)
    x = torch.tensor(np.random.default_rng(1).permutation(values))[None]
    found = spectrum(Quadratic(300), x, torch.zeros(1, 1), loss=total, full_up_to=10, top=4)
    assert found.method == "lanczos" and found.smallest is not None
    assert np.allclose(found.largest, values[::-1][:4], atol=1e-4)
    assert np.allclose(found.smallest, values[:4], atol=1e-3)
    assert (found.negative, found.negative_is_exact, found.flat) == (4, False, None)
    assert found.residuals.max() < 1e-2
    assert found.lowest is not None and abs(np.linalg.norm(found.lowest) - 1) < 1e-9
    _, product = hessian_product(Quadratic(300), x, torch.zeros(1, 1), total)
    assert found.lowest @ product(found.lowest) == pytest.approx(-3, abs=1e-3)


def test_zero_eigenvalues_are_flat_not_negative() -> None:
    values = np.array([5.0, 0.0, 0.0, -1.0, 1e-9, -1e-9])
    found = spectrum(Quadratic(6), torch.tensor(values)[None], torch.zeros(1, 1), loss=total)
    assert (found.negative, found.flat, found.positive) == (1, 4, 1)
    assert found.tolerance == pytest.approx(5e-6)


def test_what_did_not_converge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from weightwalk.learning import curvature, hessians

    values = np.linspace(-1, 1, 3000)
    made = curvature.Curvature(Quadratic(3000), torch.tensor(values)[None], torch.zeros(1, 1), total)
    highest, _, missing = hessians._lanczos(made.product, 3000, 5, 20, 1, np.ones(3000), None)
    assert missing == 5 - len(highest) > 0


def test_where_products_are_dear_one_run_bounds_both_ends() -> None:
    values = np.concatenate([np.linspace(-1e-3, 1e-3, 3000), [4.0, -2.0]])
    x = torch.tensor(np.random.default_rng(3).permutation(values))[None]
    found = spectrum(Quadratic(3002), x, torch.zeros(1, 1), loss=total, seconds=1e-9, full_up_to=10)
    assert "12 products with the Hessian" in found.note and found.smallest is not None
    ends = (found.largest[0], 4.0, found.residuals[0]), (found.smallest[0], -2.0, found.residuals[-1])
    for value, true, bound in ends:
        assert abs(value - true) <= bound + 1e-12 and bound < 0.01
    assert 1 <= found.negative <= (values < 0).sum() and not found.negative_is_exact
    assert found.largest[0] <= 4 + 1e-12 and found.smallest[0] >= -2 - 1e-12
    _, product = hessian_product(Quadratic(3002), x, torch.zeros(1, 1), total)
    assert found.lowest is not None and found.lowest @ product(found.lowest) == pytest.approx(-2, abs=1e-2)


def test_a_linear_loss_has_no_curvature() -> None:
    found = spectrum(nn.Linear(2, 1), torch.ones(1, 2), torch.zeros(1, 1), loss=total)
    assert found.all is not None and not found.all.any()
    assert (found.negative, found.flat) == (0, 3)
    assert found.gradient_norm == pytest.approx(np.sqrt(3))


def test_the_net_is_left_as_found() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    net[3].eval()
    net[0].weight.grad = torch.full((4, 3), 7.0)
    x, y = data("tanh")
    before = {n: t.clone() for n, t in net.state_dict().items()}
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.inference_mode():
        spectrum(net, x, y, loss="mse")
    assert [m.training for m in net] == [True, True, True, False]
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert torch.equal(net[0].weight.grad, torch.full((4, 3), 7.0)) and net[3].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_frozen_weights_are_no_coordinates() -> None:
    net = tanh_net()
    net[0].requires_grad_(False)
    x, y = data("tanh")
    n, product = hessian_product(net, x, y, "mse")
    assert n == 10
    whole = differences(tanh_net(), x, y, "mse")[16:, 16:]
    assert np.abs(np.array([product(v) for v in np.eye(10)]) - whole).max() < 1e-7


def test_weights_that_nothing_uses_have_no_curvature() -> None:
    """A layer that the forward pass leaves out, as in a net of which one head is not asked: rows of zeros."""

    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with seeded(1):
                self.used, self.last, self.unused = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.used(x)))

    x, y = data("tanh")
    found = spectrum(Partly(), x, y, loss="mse")
    slow = np.linalg.eigvalsh(differences(tanh_net(), x, y, "mse"))
    assert found.all is not None and found.n == 38
    assert np.abs(np.sort(found.all) - np.sort([*slow, *[0.0] * 12])).max() < 1e-6


def test_tied_weights_count_once() -> None:
    first, last = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    last.weight = first.weight
    net = nn.Sequential(first, nn.Tanh(), last)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    n, product = hessian_product(net, x, x.flip(1), "mse")
    assert n == 9
    matrix = np.array([product(v) for v in np.eye(9)])
    assert np.abs(matrix - differences(net, x, x.flip(1), "mse")).max() < 1e-7


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_nets_of_other_precisions_are_taken_in_float64(dtype: torch.dtype) -> None:
    net = tanh_net().to(dtype)
    x, y = data("tanh")
    found = spectrum(net, x.to(dtype), y.to(dtype), loss="mse")
    slow = np.linalg.eigvalsh(differences(net, x.to(dtype), y.to(dtype), "mse"))
    assert found.all is not None and np.abs(found.all - slow).max() < 1e-6


class Stubborn(nn.Module):
    """Makes a float32 constant in its forward, so that it cannot be run in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) @ torch.eye(2, dtype=torch.float32)


def test_a_net_that_insists_on_float32_gets_it() -> None:
    x, y = data("tanh")
    found = spectrum(Stubborn(), x, y, loss="mse")
    assert "float32" in found.note
    assert found.positive == 8


def test_attention_is_differentiated_twice() -> None:
    with seeded(0):
        net = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.1)
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    n, product = hessian_product(net, x, x, "mse")
    net.eval()
    slow = differences(net, x, x, "mse")
    v = np.random.default_rng(0).standard_normal(n)
    assert np.abs(product(v) - slow @ v).max() < 1e-5


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "nothing to train": (
        lambda: hessian_product(nn.ReLU(), torch.ones(1, 1), torch.ones(1, 1), "mse"),
        "no parameter that can be trained",
    ),
    "rows": (
        lambda: hessian_product(nn.Linear(1, 1), torch.ones(2, 1), torch.ones(3, 1), "mse"),
        "as many inputs as targets",
    ),
    "empty": (lambda: spectrum(nn.Linear(1, 1), torch.ones(0, 1), torch.ones(0, 1), loss="mse"), "at least one"),
    "nan input": (
        lambda: spectrum(nn.Linear(1, 1), torch.full((1, 1), float("nan")), torch.ones(1, 1), loss="mse"),
        "loss is nan",
    ),
    "no number": (
        lambda: spectrum(nn.Linear(1, 1), torch.ones(2, 1), torch.ones(2, 1), loss=lambda a, b: a - b),
        "must be one number",
    ),
    "wrong shape": (
        lambda: hessian_product(nn.Linear(2, 1), torch.ones(2, 3), torch.ones(2, 1), "mse"),
        "could not be differentiated",
    ),
    "wrong vector": (
        lambda: hessian_product(nn.Linear(1, 1), torch.ones(1, 1), torch.ones(1, 1), "mse")[1](np.ones(3)),
        r"shape \(3,\); the net has 2 weights",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_hessian_is_refused_in_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(UsageError, match=message):
        call()


def test_weights_that_are_no_numbers_are_named() -> None:
    net = tanh_net()
    with torch.no_grad():
        dict(net.named_parameters())["2.weight"][1, 2] = float("nan")
    x, y = data("tanh")
    with pytest.raises(UsageError, match=r"2\.weight\[1, 2\] is nan \(1 of 8 numbers"):
        spectrum(net, x, y, loss="mse")


@pytest.mark.slow
def test_ten_million_weights() -> None:
    with seeded(0):
        net = nn.Sequential(nn.Linear(64, 3100), nn.Tanh(), nn.Linear(3100, 3100), nn.Tanh(), nn.Linear(3100, 4))
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    told: list[tuple[int, int]] = []
    found = spectrum(net, x, x[:, :4], loss="mse", top=2, seconds=20, progress=lambda a, b: told.append((a, b)))
    assert found.n > 9_000_000 and len(found.largest) > 0 and told
    assert "float32" in found.note


def test_equal_eigenvalues_are_found() -> None:
    found = spectrum(Quadratic(50), torch.full((1, 50), 2.0), torch.zeros(1, 1), loss=total, full_up_to=0)
    assert found.largest == pytest.approx(2) and found.smallest == pytest.approx(2)


def test_a_large_flat_net_has_zeros_at_both_ends() -> None:
    found = spectrum(nn.Linear(30, 1), torch.ones(1, 30), torch.zeros(1, 1), loss=total, full_up_to=0)
    assert found.negative == 0 and not np.abs(found.largest).any()
