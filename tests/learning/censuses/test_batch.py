"""Each seed of a batch against the same seed trained alone by `train`, and against its own former self."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError, WeightwalkError
from weightwalk.learning.censuses.batch import Batch, train_many
from weightwalk.learning.history import NotFiniteError
from weightwalk.learning.tasks import Data, Task, task_of
from weightwalk.learning.train import History, train

SEEDS = [0, 7, 123]


def in_double(tensor: Tensor | None) -> Any:
    return tensor.double() if tensor is not None and tensor.is_floating_point() else tensor


def alone(task: Task, seed: int, dtype: torch.dtype, **how: Any) -> History:
    cast = in_double if dtype == torch.float64 else lambda t: t
    held = task.data.held_out
    return train(
        task.module(seed).to(dtype),
        cast(task.data.inputs),
        cast(task.data.targets),
        held_out=None if held is None else (cast(held[0]), cast(held[1])),
        seed=seed,
        **{"loss": task.loss, "lr": 0.02, **how},
    )


def distance(batch: Batch, row: int, history: History) -> float:
    """Largest difference in weights, losses along the way and losses at the end."""
    assert history.module is not None and batch.losses is not None
    apart = [
        float(np.abs(p.detach().double().numpy() - batch.weights[name][row]).max())
        for name, p in history.module.named_parameters()
    ]
    apart.append(float(np.abs(np.array(history.losses) - batch.losses[row]).max()))
    apart.append(abs(history.final - float(batch.final_losses[row])))
    if batch.held_losses is not None:
        apart.append(abs(history.held_losses[-1] - float(batch.held_losses[row])))
    return max(apart)


CASES = [
    ("hello", {}, "sgd", None),
    ("hello", {}, "momentum", 1),
    ("hello6", {"width": 4}, "adam", 2),
    ("hello6", {"width": 4}, "nesterov", None),
    ("hello6", {"width": 16}, "adamw", None),
    ("hello6", {"width": 16}, "sgd", 4),
    ("hello6", {"activation": "leaky_relu"}, "adam", None),
    ("sqrt", {}, "sgd", None),
    ("sqrt", {"width": 3, "depth": 2, "activation": "gelu"}, "adamw", 40),
    ("sqrt", {"width": 20, "depth": 2, "activation": "sigmoid"}, "nesterov", 40),
    ("sqrt", {"depth": 0}, "momentum", 30),
    ("xor", {}, "adam", None),
    ("xor", {"activation": "tanh", "width": 5}, "sgd", 1),
    ("xor", {"activation": "identity"}, "adamw", 2),
    ("linear", {}, "adam", None),
    ("linear", {"depth": 1, "width": 2}, "nesterov", 7),
    ("nearest", {"points": 60}, "adam", None),
    ("nearest", {"points": 60, "width": 16, "depth": 2, "activation": "tanh"}, "momentum", 16),
]


@pytest.mark.parametrize(("name", "shape", "optimizer", "batch"), CASES)
def test_each_seed_is_trained_as_it_would_be_alone(
    name: str, shape: dict[str, Any], optimizer: str, batch: int | None
) -> None:
    """In float64, where five epochs amplify a rounding of 1e-16 to no more than 1e-12."""
    task = task_of(name).of(**shape)
    data = task.data
    if data.held_inputs is not None and len(data.held_inputs) > 200:  # the grid of `nearest` is for pictures
        assert data.held_targets is not None
        data = Data(data.inputs, data.targets, data.held_inputs[::500], data.held_targets[::500])
    task = Task(task.name, "", task.build, data, task.loss)
    how: dict[str, Any] = {"optimizer": optimizer, "batch": batch, "epochs": 5}
    found = train_many(task, SEEDS, lr=0.02, dtype=torch.float64, record={"losses": 1}, **how)
    assert found.how == "chain"
    for row, seed in enumerate(SEEDS):
        assert distance(found, row, alone(task, seed, torch.float64, **how)) < 1e-12


@pytest.mark.parametrize(("name", "width"), [("hello6", 4), ("hello6", 16), ("sqrt", 8)])
def test_in_float32_it_strays_no_further_than_a_loop_does(name: str, width: int) -> None:
    """The yardstick is the training in float64: both float32 ones stray from it by rounding alone, and alike."""
    task = task_of(name).of(width=width)
    how: dict[str, Any] = {"optimizer": "adam", "epochs": 30}
    found = train_many(task, SEEDS, lr=0.02, record={"losses": 1}, **how)
    for row, seed in enumerate(SEEDS):
        exact, looped = alone(task, seed, torch.float64, **how), alone(task, seed, torch.float32, **how)
        assert exact.module is not None and looped.module is not None
        stray = max(
            float((a.detach() - b.detach().double()).abs().max())
            for a, b in zip(exact.module.parameters(), looped.module.parameters(), strict=True)
        )
        assert distance(found, row, exact) < 8 * stray + 1e-6


def test_outcomes_agree_after_a_whole_training() -> None:
    """501 epochs amplify rounding, but what is learned is the same for all but borderline seeds; here for each."""
    task = task_of("hello6")
    found = train_many(task, range(5))
    assert found.outputs is not None
    targets = task.data.targets.numpy()
    for seed in range(5):
        module = train(task, seed=seed).module
        assert module is not None
        looped = module(task.data.inputs).argmax(dim=1).numpy()
        assert ((looped == targets).sum()) == (found.outputs[seed].argmax(axis=1) == targets).sum()


def test_it_starts_from_the_same_bits() -> None:
    task = task_of("hello6").of(width=5)
    found = train_many(task, [5, -3, 2**62], epochs=0, record=("start",))
    for row, seed in enumerate(found.seeds.tolist()):
        for name, p in task.module(seed).named_parameters():
            assert np.array_equal(found.start_weights[name][row], p.detach().numpy())
            assert np.array_equal(found.weights[name][row], p.detach().numpy())
    assert np.array_equal(found.first_losses, found.final_losses)


def arrays(batch: Batch) -> list[np.ndarray]:
    held = [batch.held_losses] if batch.held_losses is not None else []
    masks = [*batch.dead_units_at_start.values(), *batch.dead_units_at_end.values()]
    assert batch.outputs is not None
    numbers = [batch.first_losses, batch.final_losses, batch.gradient_norms, batch.nonfinite_at, batch.outputs]
    return [*numbers, *batch.weights.values(), *masks, *held]


@pytest.mark.parametrize(
    ("name", "shape", "batch"),
    [
        ("hello6", {"width": 3}, None),
        ("hello6", {"width": 16}, 2),
        ("sqrt", {}, None),
        ("xor", {"activation": "tanh"}, 1),
    ],
)
def test_no_bit_depends_on_blocks_or_threads(
    name: str, shape: dict[str, Any], batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weightwalk.learning.censuses import splitting

    task, how = task_of(name).of(**shape), {"epochs": 8, "batch": batch, "optimizer": "adam"}
    whole = train_many(task, range(210), threads=1, **how)
    monkeypatch.setattr(splitting, "MOST", 16)  # filled up to whole lanes
    monkeypatch.setattr(splitting, "LEAST", 16)
    cut = train_many(task, range(210), threads=3, **how)
    one = train_many(task, [100], **how)
    for a, b, c in zip(arrays(whole), arrays(cut), arrays(one), strict=True):
        assert a.tobytes() == b.tobytes()
        assert a[100].tobytes() == c[0].tobytes()


@pytest.mark.parametrize(("shape", "batch"), [({}, None), ({"activation": "gelu"}, 4)])
def test_products_of_either_library_give_the_same_training(
    shape: dict[str, Any], batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weightwalk.learning.censuses import wide

    task = task_of("nearest").of(width=16, depth=2, points=30, **shape)
    how: dict[str, Any] = {"epochs": 4, "batch": batch, "dtype": torch.float64}
    called: list[int] = []
    product = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *a, **k: (called.append(1), product(*a, **k))[1])
    small = train_many(task, range(5), **how)
    before = len(called)
    monkeypatch.setattr(wide, "SMALL", 0)
    large = train_many(task, range(5), **how)
    assert len(called) - before > 3 * before
    for a, b in zip(arrays(small), arrays(large), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_steps_of_plain_descent_are_torchs_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor outcome can tell whether the update was written out or left to `torch.optim`."""
    task = task_of("hello6")
    ours = train_many(task, range(70), optimizer="sgd", epochs=30)
    theirs = train_many(task, range(70), optimizer="sgd", epochs=30, settings={"foreach": False})
    for a, b in zip(arrays(ours), arrays(theirs), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_seed_that_diverges_is_marked_and_leaves_the_others_alone() -> None:
    task = task_of("sqrt").of(width=4, activation="leaky_relu")
    how: dict[str, Any] = {"lr": 0.12, "epochs": 300, "optimizer": "sgd"}
    found = train_many(task, range(48), **how)
    lost = np.flatnonzero(found.nonfinite_at >= 0)
    assert 0 < len(lost) < 48
    for seed in lost[:3].tolist():
        with pytest.raises(NotFiniteError, match=rf"epoch {found.nonfinite_at[seed]}\b") as caught:
            train(task, seed=seed, **how)
        assert not np.isfinite(found.final_losses[seed])
        stopped = caught.value.history.module  # with the weights that gave that loss
        assert stopped is not None
        for name, p in stopped.named_parameters():
            assert found.weights[name][seed] == pytest.approx(p.detach().numpy(), rel=1e-3)
    kept = [s for s in range(48) if s not in lost]
    apart = train_many(task, kept, **how)
    assert (apart.nonfinite_at < 0).all()
    assert np.isfinite(apart.final_losses).all()
    assert apart.final_losses.tobytes() == found.final_losses[kept].tobytes()


def test_a_loss_that_is_lost_at_the_very_end_counts_too() -> None:
    task = Task("one", "", Line, Data(torch.tensor([[1e19]]), torch.tensor([[0.0]])), "mse", lr=1.0, epochs=1)
    found = train_many(task, [0])
    assert found.nonfinite_at.tolist() == [1] or found.nonfinite_at.tolist() == [0]
    with pytest.raises(WeightwalkError, match=rf"epoch {found.nonfinite_at[0]}\b"):
        train(task, seed=0)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


def keeper(seen: dict[str, Tensor], name: str) -> Callable[..., None]:
    return lambda module, given, out: seen.__setitem__(name, out)


@pytest.mark.parametrize("width", [3, 16])
def test_dead_units_and_gradients_are_those_of_the_nets(width: int) -> None:
    task = task_of("hello6").of(width=width)
    found = train_many(task, range(20), epochs=30, lr=0.3)
    for seed in range(20):
        for module, masks in (
            (task.module(seed), found.dead_units_at_start),
            (found.module(seed), found.dead_units_at_end),
        ):
            seen: dict[str, Tensor] = {}
            for name in ("relu1", "relu2"):
                module.get_submodule(name).register_forward_hook(keeper(seen, name))
            loss = nn.functional.cross_entropy(module(task.data.inputs), task.data.targets)
            for name, out in seen.items():
                assert np.array_equal(masks[name][seed], (out == 0).all(dim=0).numpy())
        loss.backward()
        slopes = [p.grad.double().flatten() for p in module.parameters() if p.grad is not None]
        assert found.gradient_norms[seed] == pytest.approx(torch.cat(slopes).norm().item(), rel=1e-4)
        assert found.final_losses[seed] == pytest.approx(loss.item(), rel=1e-5)
    assert np.array_equal(found.dead_at_end, np.hstack(list(found.dead_units_at_end.values())).sum(axis=1))
    assert found.dead_at_start.any()


def test_full_batch_in_any_order_is_the_same_training() -> None:
    plain, mixed = (train_many("hello6", range(50), epochs=99, dtype=torch.float64, shuffle=s) for s in (False, True))
    assert np.abs(plain.final_losses - mixed.final_losses).max() < 1e-13
    assert any(plain.weights[n].tobytes() != mixed.weights[n].tobytes() for n in plain.weights)  # in another order


def test_settings_reach_the_optimizer() -> None:
    task, settings = task_of("xor"), {"betas": (0.5, 0.9), "weight_decay": 0.1}
    how: dict[str, Any] = {"optimizer": "adamw", "epochs": 5, "settings": settings}
    found = train_many(task, SEEDS, lr=0.02, dtype=torch.float64, record={"losses": 1}, **how)
    plain = train_many(task, SEEDS, lr=0.02, dtype=torch.float64, optimizer="adamw", epochs=5)
    for row, seed in enumerate(SEEDS):
        assert distance(found, row, alone(task, seed, torch.float64, **how)) < 1e-13
    assert np.abs(found.final_losses - plain.final_losses).max() > 1e-4


def test_losses_are_recorded_every_so_many_epochs() -> None:
    each = train_many("xor", range(4), epochs=10, record={"losses": 1})
    some = train_many("xor", range(4), epochs=10, record={"losses": 4})
    assert each.losses is not None and some.losses is not None
    assert np.array_equal(some.losses, each.losses[:, ::4])
    assert np.array_equal(each.losses[:, 0], each.first_losses)
    assert train_many("xor", range(4), epochs=2).losses is None


def test_it_leaves_torch_as_it_was() -> None:
    state, threads, kind = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    for shape in ({}, {"width": 16}):
        train_many(task_of("hello6").of(**shape), range(3), epochs=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads and torch.get_default_dtype() is kind


def test_interrupts_end_it_between_epochs() -> None:
    calls: list[int] = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if done:
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        train_many("hello6", range(64), epochs=10**7, progress=interrupt)
    assert calls[-1] < 64 * 10**6
    assert torch.get_num_threads() == threads
    assert not [t for t in threading.enumerate() if t.name.startswith("census")]


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    train_many("hello6", range(40), epochs=30, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1200, 1200)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [2**63]}, "64 bits"),
        ({"lr": -1.0}, "learning rate"),
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"batch": 0}, "batch 1 or more"),
        ({"threads": 0}, "threads of 1 or more"),
        ({"memory": -5}, "memory of 1 byte or more"),
        ({"memory": 1000}, "memory budget"),
        ({"engine": "dask"}, "local or ray"),
        ({"record": ("weigths",)}, "cannot record weigths"),
        ({"optimizer": "sgdm"}, "no optimizer"),
        ({"loss": "huber"}, "no loss"),
        ({"loss": "residual"}, "no minimum"),
        ({"settings": {"momentun": 1}}, "does not take"),
        ({"dtype": torch.float16}, "float32 or torch.float64"),
    ],
)
def test_what_makes_no_sense_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train_many("hello6", **{"seeds": [0, 1], "epochs": 1, **how})


def test_modules_are_handed_out_by_seed() -> None:
    found = train_many("hello6", [4, 9], epochs=3)
    with pytest.raises(UsageError, match="Seed 5 is not among"):
        found.module(5)
    module = found.module(9)
    assert found.outputs is not None
    assert np.allclose(module(found.task.data.inputs).detach().numpy(), found.outputs[1], atol=1e-6)
    with pytest.raises(UsageError, match="not recorded"):
        train_many("hello6", [4], epochs=1, record={"end": False}).module(4)
