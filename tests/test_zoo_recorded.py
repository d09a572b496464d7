"""Every net of the zoo is recorded as it ran: same bits, every op, and the model left as it was found.

The oracle is a dispatch mode of a dozen lines that shares nothing with the recorder. It runs a twin of the net and
copies each result the moment it exists; the walk, read afterwards, must hold the same ops with the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from zoo import ZOO, Case, tensors

import weightwalk as ww

CASES = list(ZOO.values())
TRAINED = [case for case in CASES if case.grad and case.build().loss is not None]
UNWRITTEN = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}  # memory as it was found


def bits(x: torch.Tensor | np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and bytes: NaN equals NaN here, and -0 is not 0."""
    if isinstance(x, torch.Tensor):
        name = str(x.dtype).removeprefix("torch.")
        x = x.detach().resolve_conj().resolve_neg()
        return name, tuple(x.shape), (x.view(torch.int16) if name == "bfloat16" else x).numpy().tobytes()
    return x.dtype.name, x.shape, x.tobytes()


class Witness(TorchDispatchMode):
    """Each op that runs, and a copy of each tensor that it returns (None where the bytes mean nothing).

    It holds no tensor: torch takes over what nobody else holds, and runs another op where somebody does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[Any]]] = []
        self.held: list[Any] = []
        self.unwritten: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.namespace == "profiler":  # a mark for the profiler, not arithmetic
            return out
        name = str(func).split(".")[1]
        plain = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        if name in UNWRITTEN:
            self.unwritten.update(x.untyped_storage()._cdata for x in plain)
            self.held.append([x.untyped_storage() for x in plain])  # so that their addresses stay theirs
        source = next((x for x in args[1:] if isinstance(x, torch.Tensor)), None)
        whole = name.endswith("_") and name != "transpose_" and (source is None or not self._is_unwritten(source))
        copies = [bits(x) if whole or not self._is_unwritten(x) else None for x in plain]
        if name == "mkldnn_rnn_layer":
            copies[3:] = []  # its workspace has padding that nobody writes
        self.seen.append((str(func), copies))
        return out

    def _is_unwritten(self, x: torch.Tensor) -> bool:
        return x.layout is not torch.strided or x.is_nested or x.untyped_storage()._cdata in self.unwritten


def state(model: torch.nn.Module) -> dict[str, Any]:
    """What a guest must leave as it was, bar the numbers."""
    hooks = [name for name in vars(torch.nn.Module()) if name.endswith("_hooks")]
    return {
        "modes": [m.training for m in model.modules()],
        "hooks": [{name: list(getattr(m, name)) for name in hooks} for m in model.modules()],
        "forwards": ["forward" in vars(m) for m in model.modules()],
        "tensors": [(n, id(p), p.requires_grad) for n, p in model.named_parameters(remove_duplicate=False)],
        "attributes": [sorted(vars(m)) for m in model.modules()],
    }


def numbers(model: torch.nn.Module) -> dict[str, Any]:
    """Parameters, buffers and gradients, to the bit."""
    held = {name: bits(x) for name, x in [*model.named_parameters(), *model.named_buffers()]}
    grads = {f"{n}.grad": None if p.grad is None else bits(p.grad) for n, p in model.named_parameters()}
    return {**held, **grads}


def assert_same_record(walk: ww.Walk, seen: list[tuple[str, list[Any]]]) -> None:
    """The walk holds the ops that the witness saw, in order, and their results to the bit."""
    steps = [step for step in walk.steps if not step.op.startswith("weightwalk.")]  # its own glue
    assert [step.op for step in steps] == [op for op, _ in seen]
    for step, (_, expected) in zip(steps, seen, strict=True):
        results = list(step.results())
        assert len(results) >= len(expected), step.address
        for value, want in zip(results, expected, strict=False):
            if want is not None:
                assert bits(value.numpy()) == want, f"step {step.index}, {step.address}"
    complete = walk.completeness
    assert (complete.executed, complete.recorded, complete.unexplained) == (len(seen), len(seen), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_recorded_forward_pass_is_the_one_that_runs_anyway(case: Case) -> None:
    bare, twin, net = case.build(), case.build(), case.build()
    expected = [bits(x) for x in tensors(case.run(bare))]
    random_after = torch.random.get_rng_state()

    with Witness() as witness:
        case.run(twin)
    before = state(net.model)
    with ww.recording(net.model) as walk:
        out = case.run(net)

    assert [bits(x) for x in tensors(out)] == expected
    assert torch.equal(torch.random.get_rng_state(), random_after)
    assert state(net.model) == before
    assert numbers(net.model) == numbers(bare.model)
    assert_same_record(walk, witness.seen)
    named = [bits(walk.values[vid].numpy()) for vid in walk.calls[0].outputs.values()]
    assert named
    assert set(named) <= set(expected)


@pytest.mark.parametrize("case", TRAINED, ids=lambda case: case.name)
def test_a_recorded_training_step_is_the_one_that_runs_anyway(case: Case) -> None:
    def step(net: Any) -> torch.Tensor:
        optimizer = torch.optim.AdamW(net.model.parameters(), lr=1e-2)
        loss = net.loss(case.run(net))
        loss.backward()
        optimizer.step()
        return loss

    bare, twin, net = case.build(), case.build(), case.build()
    expected = bits(step(bare))
    with Witness() as witness:
        step(twin)
    before = state(net.model)
    with ww.recording(net.model) as walk:
        loss = step(net)

    assert bits(loss) == expected
    assert state(net.model) == before
    assert numbers(net.model) == numbers(bare.model)
    assert_same_record(walk, witness.seen)
    assert {s.phase for s in walk.steps} == {"forward", "loss", "backward", "update"}


# Nets that write in place, call modules twice or change what a module returned: where keeping less could go wrong.
TRICKY = ["cells", "in_place_relu", "resnet", "mixtral", "rwkv", "recurrent_gemma", "mpnet", "t5", "clip", "fourier"]


@pytest.mark.parametrize("name", TRICKY)
def test_keeping_less_changes_nothing_in_what_is_kept(name: str) -> None:
    case = ZOO[name]
    walks = []
    for keep in (None, ["**"]):  # all values, and what modules return
        net = case.build()
        with ww.recording(net.model, keep=keep) as walk:
            case.run(net)
        walks.append(walk)
    whole, part = walks
    assert [(s.op, s.args, s.outputs) for s in part.steps] == [(s.op, s.args, s.outputs) for s in whole.steps]
    assert part.completeness == whole.completeness
    kept = [value for value in part.values if value.kept]
    assert 0 < len(kept) < len(part.values)
    for value in kept:
        assert bits(value.numpy()) == bits(whole.values[value.id].numpy()), value.address


class Breaks(torch.nn.Module):
    """Fails in the middle of its second layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 3), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_a_model_that_raises_is_left_as_it_was_found() -> None:
    model = Breaks()
    before, held = state(model), numbers(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        ww.walk(model, torch.ones(1, 3))
    assert (state(model), numbers(model)) == (before, held)
    assert [s.op for s in ww.walk(model.first, torch.ones(1, 3)).steps] == ["aten.t.default", "aten.addmm.default"]
