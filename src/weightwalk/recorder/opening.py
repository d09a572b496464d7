"""`open_fused=True`: run fused ops as the plain ops they stand for, and state how much that changes the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from weightwalk.recorder.decompositions import table
from weightwalk.recorder.mode import Tape
from weightwalk.walks.walk import Walk


def _open(tape: Tape, func: Any, args: Any, kwargs: Any) -> Any:
    """Run `func` by its decomposition under the tape, or say that it has none."""
    decomposition = table().get(str(func))
    if decomposition is None:
        return NotImplemented
    with tape:
        return decomposition(*args, **kwargs)


@contextlib.contextmanager
def _plain_paths() -> Iterator[None]:
    """Switch off the kernels that hide whole layers: encoder fast path, fused attention, oneDNN's LSTM."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    onednn = torch._C._get_mkldnn_enabled()  # the public context manager also touches TF32, with a warning
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch._C._set_mkldnn_enabled(onednn)
        torch.backends.mha.set_fastpath_enabled(fast)


class _Restored:
    """Run something several times as if each were the first: same random state, same buffers; left as after one run."""

    def __init__(self, root: torch.nn.Module | None) -> None:
        self.buffers = [(b, b.detach().clone()) for b in root.buffers()] if root is not None else []
        self.start = self._random()

    @staticmethod
    def _random() -> tuple[torch.Tensor, list[torch.Tensor]]:
        return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def again(self) -> None:
        """Put everything back to the start."""
        torch.set_rng_state(self.start[0])
        if self.start[1]:
            torch.cuda.set_rng_state_all(self.start[1])
        with torch.no_grad():
            for buffer, saved in self.buffers:
                buffer.copy_(saved)


def walk_opened(fn: Any, *args: Any, keep: Any, patch: Any, snapshot: Any, axis_labels: Any, **kwargs: Any) -> Walk:
    """Record `fn` with fused ops opened; ``walk.meta["open_fused"]`` holds the greatest change of any output.

    `fn` runs once as it is, for the comparison, once opened, and once more if there is something to patch; each time
    from the same random state and the same buffers.
    """
    from weightwalk.recorder.session import Recording, _root_of, run

    root = _root_of(fn)
    roots = [root] if root is not None else []
    state = _Restored(root)
    plain = run(Recording(roots, ["out"], None, None), fn, args, kwargs, None)
    with _plain_paths():
        state.again()
        walk = run(Recording(roots, keep, None, snapshot, _open), fn, args, kwargs, axis_labels)
        difference = _difference(plain, walk)
        if patch is not None:
            state.again()
            walk = run(Recording(roots, keep, patch, snapshot, _open), fn, args, kwargs, axis_labels)
    walk.meta = {**walk.meta, "open_fused": difference}
    return walk


def _difference(plain: Walk, opened: Walk) -> dict[str, Any]:
    """Greatest absolute difference over the outputs that both walks kept."""
    worst, where = 0.0, ""
    store_a: Any = plain.store
    store_b: Any = opened.store
    for name, vid in plain.names.items():
        if not (name == "out" or name.startswith("out.")) or name not in opened.names:
            continue
        a, b = plain.values[vid], opened.values[opened.names[name]]
        if a.kept and b.kept and a.shape == b.shape and a.size:
            gap = float((store_a.tensor(a).double() - store_b.tensor(b).double()).abs().max())
            if gap > worst or where == "":
                worst, where = gap, name
    return {"greatest_difference": worst, "at": where, "steps_fused": len(plain), "steps_opened": len(opened)}
