"""From a walk to its piecewise-affine form: each recorded step once, in order, as an operation on affine maps.

The walk tells which operations ran, with which weights; that is all that is used of it. The lift starts from the input
(of a net that reads token ids: from its embeddings) and goes on to the output, step by step, each by a small rule: it
moves numbers about, adds, multiplies by weights, bends at kinks, or takes a greatest number. A step without such a rule
is refused by name. Nothing is approximated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.formulas.lifts.forms import Form, constant_form, identity_form
from weightwalk.formulas.lifts.names import known_as
from weightwalk.formulas.piecewise import Activation, Layer, PiecewiseNet, element
from weightwalk.readings.account.rules.base import overload, schema
from weightwalk.readings.account.tensors import is_float, tensor_of
from weightwalk.walks.model import Ref, Step, Value, leaves
from weightwalk.walks.walk import Walk

FORWARD = ("forward", "loss")

MOVES = frozenset(
    f"aten.{name}"
    for name in (
        "_to_copy", "to", "detach", "alias", "clone", "lift_fresh", "t", "view", "transpose", "permute", "expand",
        "reshape", "select", "slice", "unsqueeze", "squeeze", "contiguous", "cat", "stack",
    )
)  # fmt: skip
"""What may stand between a weight and its use without rounding it."""


@dataclass(frozen=True, eq=False)
class Lifted:
    """A walk in piecewise-affine form.

    Attributes:
        net: The form.
        walk: Where it was read from.
        sources: Value ids of what the net's inputs are, laid end to end: the walk's input, or its embeddings.
        output: Value id of what its outputs are.
        point: (n,) the inputs as recorded.
        embedded: Whether the inputs are embeddings, because the walk's own input is token ids.
        whole: Whether the output is what the root module returned.
        others: Addresses of what else it returned.
    """

    net: PiecewiseNet
    walk: Walk = field(repr=False)
    sources: tuple[int, ...]
    output: int
    point: np.ndarray
    embedded: bool
    whole: bool
    others: tuple[str, ...] = ()


class Call:
    """One step as a rule sees it."""

    def __init__(self, lift: Lift, step: Step) -> None:
        self.lift, self.step = lift, step
        names = schema(step.op)
        self.args: dict[str, Any] = dict(names or ())
        for i, argument in enumerate(step.args):
            self.args[names[i][0] if names and i < len(names) else str(i)] = argument
        self.args.update(step.kwargs)

    @property
    def at(self) -> str:
        """Where it stands, for messages."""
        return self.step.address

    @property
    def out(self) -> Value:
        """Its first result."""
        return next(self.step.results())

    def form(self, name: str) -> Form:
        """A tensor or number among the arguments."""
        return self.lift.form(self.args[name])

    def forms(self, name: str) -> list[Form]:
        """A list argument."""
        return [self.lift.form(a) for a in self.args[name]]

    def depends(self, name: str) -> bool:
        """Whether an argument depends on the input."""
        return any(isinstance(a, Ref) and a.value in self.lift.signal for a in leaves(self.args.get(name)))

    def tensor(self, name: str) -> torch.Tensor:
        """An argument that does not depend on the input, float64 where it is of real numbers."""
        return self.lift.constant(self.args[name])

    def refuse(self, what: str) -> UsageError:
        """Why there is no exact formula."""
        return UsageError(
            f"{what} at {self.at} is not piecewise linear, so the net has no formula of affine pieces: try --surrogate "
            f"(a polynomial fitted to it, with its errors), or name an earlier value with --output."
        )


Rule = Callable[[Call], Form | list[Form | None]]
RULES: dict[str, Rule] = {}


R = TypeVar("R", bound=Rule)


def rule(*ops: str) -> Callable[[R], R]:
    """Make the decorated function the rule of `ops` (``"aten.mul"`` stands for every overload, and for ``mul_``)."""

    def enter(fn: R) -> R:
        for op in ops:
            assert op not in RULES, op
            RULES[op] = fn
        return fn

    return enter


def find_rule(op: str) -> Rule | None:
    """The rule of a full op name: its own, or that of its family."""
    if op in RULES:
        return RULES[op]
    parts = op.split(".")
    family = f"{parts[0]}.{parts[1]}"
    plain = family[:-1] if family.endswith("_") and not family.endswith("__") else family
    return RULES.get(family) or RULES.get(plain)


class Lift:
    """One lift in the making: the layers so far, and a form for each value that later steps read."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.layers: list[Layer] = []
        self.sizes: list[int] = []
        self.known: dict[int, Form] = {}
        self.constants: dict[int, torch.Tensor] = {}
        self.signal: set[int] = set()
        self.inexact = ""

    # Constants -----------------------------------------------------------------------------------------------------

    def form(self, argument: Any) -> Form:
        """The form of an argument of a step."""
        if isinstance(argument, Ref):
            if argument.value not in self.known:
                self._fixed(argument.value)
                self.known[argument.value] = constant_form(self.constant(argument).numpy())
            return self.known[argument.value]
        return constant_form(np.asarray(argument, np.float64))

    def constant(self, argument: Any) -> torch.Tensor:
        """What does not depend on the input: weights as recorded, and what is computed from them anew in float64."""
        if not isinstance(argument, Ref):
            return torch.as_tensor(argument, dtype=torch.float64 if isinstance(argument, float) else None)
        if argument.value not in self.constants:
            self._fixed(argument.value)
            self.constants[argument.value] = self._constant(self.walk.values[argument.value])
        return self.constants[argument.value]

    def _fixed(self, vid: int) -> None:
        """Refuse to take a number from the record that another input would change, such as the place of a maximum."""
        if vid in self.signal:
            raise UsageError(
                f"{self.walk.values[vid].address} depends on the input, but not as a piecewise linear number (it is a "
                f"place, say, or a kernel), so the net has no formula of affine pieces: try --surrogate (a polynomial "
                f"fitted to it, with its errors), or name an earlier value with --output."
            )

    def _constant(self, value: Value) -> torch.Tensor:
        step = value.step
        fn = overload(step.op) if step is not None else None
        computed = step is not None and is_float(value) and any(is_float(v) for v in step.inputs())
        computed = computed and step is not None and not _shape_only(step)
        if computed and step is not None and fn is not None:
            args, kwargs = self._plain(step.args), {k: self._plain(v) for k, v in step.kwargs.items()}
            if step.written:  # what was there before is still a constant of other steps
                args, kwargs = copy.deepcopy((args, kwargs))
            out = fn(*args, **kwargs)
            outs = list(out) if isinstance(out, (list, tuple)) else [out]
            place = [r.value for r in step.outputs if isinstance(r, Ref)].index(value.id)
            if step.op.rpartition(".")[0] not in MOVES:
                self.round(f"{value.address} is computed from the weights by {step.name}")
            return outs[place].to(torch.float64)
        if computed and step is not None:
            self.round(f"{value.address} is taken as {step.name} left it, in the net's own precision")
        found = tensor_of(self.walk, value).cpu()
        if not is_float(value):
            return found
        found = found.to(torch.float64)
        if not bool(found.isfinite().all()):
            self._not_finite(value, found)
        return found

    def _plain(self, argument: Any) -> Any:
        if isinstance(argument, Ref):
            return self.constant(argument)
        if isinstance(argument, (list, tuple)):
            return [self._plain(a) for a in argument]
        if isinstance(argument, str):
            named = getattr(torch, argument, None)
            if isinstance(named, torch.dtype):
                return torch.float64 if named.is_floating_point else named
            return named if isinstance(named, (torch.memory_format, torch.layout)) else "cpu"
        return argument

    def _not_finite(self, value: Value, found: torch.Tensor) -> None:
        bad = (~found.isfinite()).reshape(-1).nonzero().reshape(-1)
        first = element(value.address, value.shape, int(bad[0]))
        raise UsageError(
            f"{first} is {float(found.reshape(-1)[bad[0]])} ({len(bad):,} of {found.numel():,} numbers of "
            f"{value.address} are not finite): a formula needs finite weights; weightwalk walk shows where they act."
        )

    def round(self, why: str) -> None:
        """Note that the form's entries are not exactly those of the net."""
        self.inexact = self.inexact or why

    # Layers --------------------------------------------------------------------------------------------------------

    def layer(self, name: str, form: Form, activation: Activation) -> Form:
        """Make a value the pre-activations of a new layer; what comes out of it, as a form."""
        self.layers.append(Layer(name, form.shape, form.affine(), activation))
        self.sizes.append(form.size)
        return identity_form(form.shape, len(self.layers))

    # The way through -----------------------------------------------------------------------------------------------

    def run(self, steps: Sequence[Step]) -> None:
        """Apply the rule of each step."""
        for step in steps:
            call = Call(self, step)
            found = find_rule(step.op)
            if found is None:
                raise call.refuse(known_as(step))
            if not is_float(call.out) and step.name != "to_copy":
                raise call.refuse(f"{step.name.rstrip('_')}, here with a result of {call.out.dtype}, which jumps,")
            made = found(call)
            outs = list(step.outputs)
            for out, form in zip(outs, made if isinstance(made, list) else [made], strict=False):
                if isinstance(out, Ref) and form is not None:
                    self.known[out.value] = form
            for old, new in step.written:
                if new not in self.known and isinstance(outs[0], Ref) and old == new:
                    self.known[new] = self.known[outs[0].value]


def lift(walk: Walk, output: str | None = None) -> Lifted:
    """A walk as a piecewise-affine net, from its input (or embeddings) to its output.

    Args:
        walk: Its weights and operations are read; the numbers of its one input are not.
        output: Address of the value to be expressed; None for what the root module returned.

    Raises:
        UsageError: The output does not depend on a real-valued input, an operation on the way is not piecewise linear,
            a weight is not finite, or a number left for Python on the way, so that other inputs may go other ways.

    Example:
        >>> import torch, weightwalk as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).double()
        >>> lifted = lift(ww.walk(net, torch.zeros(1, 1, dtype=torch.float64)))
        >>> x = torch.tensor([[0.7]], dtype=torch.float64)
        >>> bool(abs(lifted.net(x.numpy()) - net(x).detach().numpy()).max() < 1e-15)
        True
    """
    from weightwalk.formulas.lifts import bends, linear  # noqa: F401  (they fill RULES)

    target = _target(walk, output)
    steps = forward_slice(walk, target)
    _no_draw(steps)
    sources, embedded = _sources(target, steps)
    making = Lift(walk)
    making.signal = _signal(walk, set(sources))
    if target.id not in making.signal:
        raise UsageError(f"{target.address} does not depend on the input, so there is no formula of it to find.")
    _no_escape(_steps_before(walk, target), making.signal)
    total, parts = sum(walk.values[v].size for v in sources), []
    making.sizes.append(total)
    for vid in sources:
        whole, start = identity_form((total,), 0), sum(p.size for p in parts)
        value = walk.values[vid]
        part = whole.terms[0][start : start + value.size]
        parts.append(Form(value.shape, {0: part}, np.zeros(value.size)))
        making.known[vid] = parts[-1]
    making.run([s for s in steps if any(v.id in making.signal for v in s.results()) and not _made_of(s, sources)])
    end = making.known[target.id]
    names = tuple(n for v in sources for n in _elements(walk.values[v]))
    net = PiecewiseNet(names, tuple(making.layers), end.affine(), tuple(_elements(target)), making.inexact)
    point = np.concatenate([np.asarray(walk.values[v].numpy(), np.float64).reshape(-1) for v in sources])
    others = [walk.address_of(v) for v in _returned(walk) if is_float(walk.values[v]) and v != target.id]
    return Lifted(
        net, walk, tuple(sources), target.id, point, embedded, output is None, tuple(others if output is None else ())
    )


def _elements(value: Value) -> Iterator[str]:
    name = value.address
    return (element(name, value.shape, i) for i in range(value.size))


def _made_of(step: Step, sources: Sequence[int]) -> bool:
    return any(v.id in sources for v in step.results())


def _target(walk: Walk, output: str | None) -> Value:
    if output is not None:
        found = walk[output]
        if not isinstance(found, Value):
            raise UsageError(f"{output!r} is not one whole value of the walk: name one, such as 'out' or 'fc1'.")
        return found
    for vid in _returned(walk):
        if is_float(walk.values[vid]):
            return walk.values[vid]
    results = [v for s in walk.steps for v in s.results() if is_float(v) and s.phase in FORWARD]
    if not results:
        raise UsageError("The walk has no real-valued result to express.")
    return results[-1]


def _returned(walk: Walk) -> list[int]:
    """What the recorded function returned, or, of a recorded module, what that returned: value ids."""
    function = [vid for name, vid in walk.given.items() if name == "out" or name.startswith("out.")]
    made = [vid for vid in function if walk.values[vid].producer is not None]  # not the weights of a module `out`
    return made or [vid for call in walk.calls if call.parent < 0 for vid in call.outputs.values()]


def forward_slice(walk: Walk, target: Value) -> list[Step]:
    """The forward steps that `target` is made of, in order."""
    wanted, steps = {target.id}, []
    for step in reversed(list(walk.steps)):
        if step.phase in FORWARD and any(v.id in wanted and v.producer == step.index for v in step.results()):
            steps.append(step)
            wanted.update(v.id for v in step.inputs())
    return steps[::-1]


def _sources(target: Value, steps: Sequence[Step]) -> tuple[list[int], bool]:
    read = [target, *(v for s in steps for v in s.inputs())]
    inputs = list(dict.fromkeys(v.id for v in read if v.kind == "input" and is_float(v)))
    if inputs:
        return inputs, False
    tables = [s for s in steps if s.op.startswith("aten.embedding.")]
    if tables:
        return [next(s.results()).id for s in tables], True
    raise UsageError(
        f"{target.address} depends on no real-valued input and on no embedding, so there is nothing for a formula to "
        f"be a function of."
    )


def _signal(walk: Walk, start: set[int]) -> set[int]:
    signal = set(start)
    for step in walk.steps:
        if step.phase in FORWARD and not _shape_only(step) and any(v.id in signal for v in step.inputs()):
            signal.update(v.id for v in step.results())
    return signal


def _shape_only(step: Step) -> bool:
    """Whether it takes only the shape of its argument."""
    return step.name.endswith("_like") or step.name.startswith("new_")


def _no_draw(steps: Sequence[Step]) -> None:
    for step in steps:
        fn = overload(step.op)
        draws = fn is not None and torch.Tag.nondeterministic_seeded in fn.tags and find_rule(step.op) is None
        if draws and "attention" not in step.name:
            raise UsageError(
                f"{step.name.strip('_')} at {step.address} is a random draw, as dropout makes in training mode, so "
                f"the net is another function each time: call net.eval() first."
            )


def _steps_before(walk: Walk, target: Value) -> list[Step]:
    """The forward steps that bear on which value `target` is: those up to it; all, if the net returns it."""
    last = len(walk.steps) if target.id in _returned(walk) or target.producer is None else target.producer
    return [s for s in walk.steps if s.phase in FORWARD and s.index <= last]


READS = {"local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "masked_select", "bincount"}
"""What tells Python a number, or gives a result whose size does."""


def _no_escape(steps: Sequence[Step], signal: set[int]) -> None:
    for step in steps:
        changing = [v for v in step.inputs() if v.id in signal]
        name = step.name.strip("_")
        mask = step.op == "aten.index.Tensor" and any(v.dtype in {"bool", "uint8"} for v in changing)
        counts = step.op == "aten.repeat_interleave.Tensor" or name.startswith("unique") or mask
        if changing and (counts or name in READS):
            raise UsageError(
                f"At {step.address} ({step.source}) the net reads a number that depends on its input into Python, so "
                f"for another input it may run other code: one walk does not tell the formula of such a net; name an "
                f"earlier value with --output, or try --surrogate."
            )
