"""Questions about a walk's data flow: what depends on what, and what a value is once moves are looked through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from weightwalk.readings.account.tensors import is_number
from weightwalk.walks.model import Ref, Step, Value, leaves
from weightwalk.walks.walk import Walk


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOVES = _words(
    """
    view unsafe_view reshape reshape_alias alias detach clone contiguous to_copy expand permute transpose t
    squeeze unsqueeze slice select split split_with_sizes unsafe_split unbind chunk lift_fresh lift dropout
    native_dropout as_strided narrow flatten unflatten movedim swapaxes flip roll repeat copy constant_pad_nd
    pad index_select masked_fill overwrite view_as_real view_as_complex
    """
)
"""Ops that hand numbers on without combining them."""

PICKS = _words(
    """
    split split_with_sizes unsafe_split unbind chunk slice select narrow index_select as_strided
    """
)
"""Moves that hand on only a part."""

POINTWISE = _words(
    """
    relu relu6 gelu silu mish elu celu selu leaky_relu prelu rrelu_with_noise hardtanh hardswish hardsigmoid
    softplus softsign sigmoid log_sigmoid log_sigmoid_forward tanh erf sin cos exp expm1 log log1p sqrt rsqrt
    reciprocal pow square abs threshold clamp clamp_min clamp_max sign glu atan sinh cosh tanhshrink
    softshrink hardshrink
    """
)
"""Nonlinear functions of one number."""

SCALINGS = frozenset(["mul", "div", "neg", "mul_scalar", "to_copy"])
FAR = 5000
"""How many steps back a search looks for an ancestor: a block of a net is smaller."""

GATES = frozenset(["sigmoid", "hardsigmoid", "softmax", "safe_softmax"])
STATISTICS = frozenset(["rsqrt", "reciprocal"])
MATRIX = _words(
    """
    mm addmm bmm baddbmm linear convolution mkldnn_convolution addmv mv matmul dot addbmm
    """
)
ATTENTION = _words(
    """
    scaled_dot_product_flash_attention_for_cpu scaled_dot_product_efficient_attention
    scaled_dot_product_flash_attention scaled_dot_product_attention_math scaled_dot_product_cudnn_attention
    scaled_dot_product_fused_attention_overrideable
    """
)
NORMS = _words(
    """
    native_layer_norm native_batch_norm native_group_norm fused_rms_norm rms_norm layer_norm group_norm
    cudnn_batch_norm native_batch_norm_legit native_batch_norm_legit_no_training batch_norm miopen_batch_norm
    """
)

# Arguments of which an op reads only the shape, or that only choose places: nothing flows from them.
SHAPE_ONLY = {
    "ones_like": (0,), "zeros_like": (0,), "full_like": (0,), "empty_like": (0,), "rand_like": (0,),
    "randn_like": (0,), "new_zeros": (0,), "new_ones": (0,), "new_full": (0,), "new_empty": (0,),
    "new_empty_strided": (0,), "bernoulli": (0,), "zero": (0,), "fill": (0,), "uniform": (0,), "normal": (0,),
    "nll_loss_backward": (1, 6), "nll_loss2d_backward": (1, 6), "copy": (0,), "exponential": (0,),
    "threshold_backward": (), "sign": (0,), "round": (0,), "floor": (0,), "ceil": (0,), "heaviside": (0,),
    "random": (0,),
}  # fmt: skip


def base(op: str) -> str:
    """``"mul"`` for ``"aten.mul_.Tensor"``: the op without namespace, overload or in-place mark."""
    parts = op.split(".")
    name = parts[1] if len(parts) > 1 else parts[0]
    return name.strip("_")


def positions(value: Value) -> np.ndarray:
    """Where each element of a value lies in its storage, in elements, in the value's shape."""
    at = np.array(value.offset, dtype=np.int64)
    for axis, (size, stride) in enumerate(zip(value.shape, value.strides, strict=True)):
        steps = np.arange(size, dtype=np.int64) * stride
        at = at + steps.reshape((-1,) + (1,) * (len(value.shape) - axis - 1))
    return np.broadcast_to(at, value.shape)


class Graph:
    """The data flow of one walk, for the floating-point values only."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.values: list[Value] = list(walk.values)  # once: a walk binds what it hands out, each time anew
        self.steps: list[Step] = list(walk.steps)
        self.floats: list[bool] = [is_number(v) for v in self.values]
        self.bases: list[str] = [base(s.op) for s in self.steps]
        self._users: dict[int, list[int]] | None = None
        self._reach: dict[int, bytearray] = {}
        self._shown: dict[int, list[int]] = {}

    # Steps ---------------------------------------------------------------------------------------------------------

    def producer(self, vid: int) -> Step | None:
        """The step that made a value."""
        producer = self.values[vid].producer
        return None if producer is None else self.steps[producer]

    def made_by(self, vid: int) -> str:
        """Base name of the op that made a value; ``""`` for what came from outside."""
        producer = self.values[vid].producer
        return "" if producer is None else self.bases[producer]

    def flows_in(self, step: Step) -> list[int]:
        """The float values among a step's arguments whose numbers matter to it."""
        skip = SHAPE_ONLY.get(self.bases[step.index], ())
        if step.op == "weightwalk.overwrite.default":
            return self._overwritten(step)
        out = []
        for i, argument in enumerate((*step.args, *step.kwargs.values())):
            if i in skip and i < len(step.args):
                continue
            out.extend(x.value for x in leaves(argument) if isinstance(x, Ref) and self.floats[x.value])
        return out

    def _overwritten(self, step: Step) -> list[int]:
        """Of `old` and `written`, those that the window of an overwrite step really shows."""
        vid = step.outputs[0].value
        if vid not in self._shown:
            old, written = step.args[0].value, step.args[1].value
            here, there = positions(self.values[vid]), positions(self.values[written])
            covered = np.isin(here, there)
            both = [old, written] if covered.any() else [old]
            self._shown[vid] = [written] if covered.size and covered.all() else both
        return self._shown[vid]

    def results(self, step: Step) -> list[int]:
        """The float values that a step made (not those it merely hands through)."""
        return [
            x.value
            for x in step.outputs
            if isinstance(x, Ref) and self.floats[x.value] and self.values[x.value].producer == step.index
        ]

    def reached(self, sources: Iterable[int]) -> bytearray:
        """Per value, whether it depends on one of `sources`."""
        signal = bytearray(len(self.values))
        first = len(self.steps)
        for vid in sources:
            signal[vid] = 1
            producer = self.values[vid].producer
            first = min(first, 0 if producer is None else producer)
        for step in self.steps[first:]:
            if any(signal[v] for v in self.flows_in(step)):
                for vid in self.results(step):
                    signal[vid] = 1
        return signal

    def updated(self, signal: bytearray) -> bytearray:
        """`signal`, and in the update phase also what depends on parameters."""
        updates = [s for s in self.steps if s.phase == "update"]
        if not updates:
            return signal
        wide = bytearray(signal)
        for value in self.values:
            wide[value.id] |= value.kind == "parameter"
        for step in updates:
            if any(wide[v] for v in self.flows_in(step)):
                for vid in self.results(step):
                    wide[vid] = 1
        return wide

    # Looking through -----------------------------------------------------------------------------------------------

    def through(self, vid: int, signal: Sequence[int], parts: bool = True) -> Iterator[int]:
        """`vid` and what lies behind it, through moves and through scaling by what carries no signal.

        `parts=False` stops at a move that hands on only a part of what it got.
        """
        while True:
            yield vid
            step = self.producer(vid)
            if step is None:
                return
            name = self.bases[step.index]
            if (name not in MOVES and name not in SCALINGS) or (not parts and name in PICKS):
                return
            carried = [v for v in self.flows_in(step) if signal[v] and v != vid]
            if len(set(carried)) != 1:
                return
            if name == "div" and self.flows_in(step)[0] != carried[0]:
                return  # c / x is no scaling of x
            vid = carried[0]

    def root(self, vid: int, signal: Sequence[int], parts: bool = False) -> int:
        """What a value is at heart: the end of `through`."""
        return deque(self.through(vid, signal, parts), maxlen=1).pop()

    def pointwise_root(self, vid: int, signal: Sequence[int], limit: int = 40) -> tuple[int, bool]:
        """The one value of which `vid` is a pointwise function, and whether it is a multiple of it."""
        at = self.root(vid, signal)
        step = self.producer(at)
        if step is None or limit == 0 or self.bases[step.index] not in POINTWISE | {"add", "sub", "mul", "rsub"}:
            return at, True
        carried = [v for v in self.flows_in(step) if signal[v]]
        roots = {self.pointwise_root(v, signal, limit - 1)[0] for v in carried[:3]}
        if len(roots) != 1 or len(carried) > 3:
            return at, True
        return roots.pop(), False

    def depends(self, vid: int, on: int) -> bool:
        """Whether value `vid` was computed from value `on`."""
        values = self.values
        floor = values[on].producer
        if floor is None:
            if on not in self._reach:
                self._reach[on] = self.reached([on])
            return bool(self._reach[on][vid])
        seen, todo = {vid}, [vid]
        if vid == on:
            return True
        while todo and len(seen) < FAR:
            producer = values[todo.pop()].producer
            if producer is None or producer < floor:
                continue
            for v in self.flows_in(self.steps[producer]):
                if v == on:
                    return True
                if v not in seen:
                    seen.add(v)
                    todo.append(v)
        return False

    def between(self, vid: int, on: int) -> set[str]:
        """Base names of the ops on the ways from value `on` to value `vid`; empty if there is no way."""
        values, steps = self.values, self.steps
        start = values[on].producer
        floor = -1 if start is None else start
        above: list[int] = []  # steps above `on`, from which `vid` is made
        seen, todo = set(), [vid]
        while todo and len(seen) < FAR:
            producer = values[todo.pop()].producer
            if producer is None or producer <= floor or producer in seen:
                continue
            seen.add(producer)
            above.append(producer)
            todo.extend(self.flows_in(steps[producer]))
        reach, names = {on}, set()
        for index in sorted(above):
            if any(v in reach for v in self.flows_in(steps[index])):
                reach.update(self.results(steps[index]))
                names.add(self.bases[index])
        return names if vid in reach else set()

    def consumers(self, vid: int) -> list[Step]:
        """The steps that read a value's numbers."""
        if self._users is None:
            self._users = {}
            for step in self.steps:
                for v in dict.fromkeys(self.flows_in(step)):
                    self._users.setdefault(v, []).append(step.index)
        return [self.steps[i] for i in self._users.get(vid, ())]

    def value(self, vid: int) -> Value:
        """The value of that id."""
        return self.values[vid]
