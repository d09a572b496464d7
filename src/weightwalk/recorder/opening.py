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


def walk_opened(fn: Any, *args: Any, keep: Any, patch: Any, snapshot: Any, axis_labels: Any, **kwargs: Any) -> Walk:
    """Record `fn` with fused ops opened; ``walk.meta["open_fused"]`` holds the greatest change of any output.

    `fn` runs twice, from the same random state and the same buffers: once as it is, for the comparison, once opened.
    """
    from weightwalk.recorder.session import Recording, _root_of, run

    root = _root_of(fn)
    buffers = [(b, b.detach().clone()) for b in root.buffers()] if root is not None else []
    cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    roots = [root] if root is not None else []
    plain = run(Recording(roots, ["out"], patch, None), fn, args, kwargs, None)
    after = [torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else []]
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
    with torch.no_grad():
        for buffer, saved in buffers:
            buffer.copy_(saved)
    session = Recording(roots, keep, patch, snapshot, _open)
    with _plain_paths():
        walk = run(session, fn, args, kwargs, axis_labels)
    torch.set_rng_state(after[0])
    if cuda:
        torch.cuda.set_rng_state_all(after[1])
    walk.meta = {**walk.meta, "open_fused": _difference(plain, walk)}
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
