"""The matrix of a recorded op that is linear in one tensor or, where that is too large, the op as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from weightwalk.formulas.piecewise import Matrix
from weightwalk.readings.account.rules.base import overload

if TYPE_CHECKING:
    from weightwalk.formulas.lifts.lift import Call

CHUNK = 1 << 22
"""Numbers pushed through an op at a time."""


class OpOperator(LinearOperator):
    """A recorded op without its bias, ``z -> J z``, run by torch in float64, or its transpose by its own derivative.

    Args:
        call: The step; its other arguments are constants.
        name: The argument that is z.
        shape: Of z.
    """

    def __init__(self, call: Call, name: str, shape: tuple[int, ...]) -> None:
        self.argument, self.within, self.into = name, shape, call.out.shape
        self.fn = overload(call.step.op)
        self.args = {k: None if k in (name, "bias") else call.lift._plain(v) for k, v in call.args.items()}
        columns, rows = (int(np.prod(s, dtype=np.int64)) for s in (shape, self.into))
        super().__init__(np.dtype(np.float64), (rows, columns))

    def run(self, z: torch.Tensor) -> torch.Tensor:
        """The op on one z."""
        assert self.fn is not None
        arguments = self.fn._schema.arguments
        args = {**self.args, self.argument: z}
        out = self.fn(
            *(args[a.name] for a in arguments if not a.kwarg_only),
            **{a.name: args[a.name] for a in arguments if a.kwarg_only},
        )
        return out[0] if isinstance(out, (list, tuple)) else out

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """J times each of (B, *shape)."""
        return torch.func.vmap(self.run)(vectors)

    def backward(self, vectors: torch.Tensor) -> torch.Tensor:
        """The transpose of J times each of (B, *result)."""
        zero = torch.zeros(self.within, dtype=torch.float64)
        pull = torch.func.vjp(self.run, zero)[1]
        return torch.func.vmap(lambda v: pull(v)[0])(vectors)

    def _matmat(self, X: np.ndarray) -> np.ndarray:
        return self._by(self.forward, X, self.within, self.shape[0])

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:
        return self._by(self.backward, X, self.into, self.shape[1])

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(x.reshape(-1, 1)).reshape(-1)

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self._rmatmat(x.reshape(-1, 1)).reshape(-1)

    def _by(self, fn: Any, columns: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
        out = np.empty((size, columns.shape[1]))
        step = max(1, CHUNK // max(self.shape))
        for start in range(0, columns.shape[1], step):
            some = np.ascontiguousarray(columns[:, start : start + step].T, np.float64)
            with torch.no_grad():
                made = fn(torch.from_numpy(some).reshape(-1, *shape))
            out[:, start : start + step] = made.reshape(len(some), -1).numpy().T
        return out


def linear_matrix(call: Call, name: str, shape: tuple[int, ...], largest: int) -> Matrix:
    """The matrix of an op that is linear in argument `name`, of that shape.

    Dense if small, else sparse if it has at most `largest` entries that are not 0, else the op itself.
    """
    op = OpOperator(call, name, shape)
    rows, columns = op.shape
    if rows * columns <= 1 << 16:
        return op @ np.eye(columns)
    if rows * columns > largest * 64:
        return op
    blocks, entries = [], 0
    step = max(1, CHUNK // max(rows, columns))
    for start in range(0, columns, step):
        count = min(step, columns - start)
        units = np.zeros((columns, count))
        units[start + np.arange(count), np.arange(count)] = 1.0
        blocks.append(sparse.csc_array(op @ units))
        entries += blocks[-1].nnz
        if entries > largest:
            return op
    found = sparse.csr_array(sparse.hstack(blocks, format="csr"))
    return found.toarray() if found.nnz * 4 > rows * columns else found
