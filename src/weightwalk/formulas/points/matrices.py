"""What the formula at one input asks of a matrix of any kind: a dense array, a SciPy sparse array, a `LinearOperator`.

Nothing here turns a large matrix into a dense one: rows and columns are taken in the pieces that the caller asks for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weightwalk.formulas.piecewise import Affine, Matrix


def after(matrix: Matrix, columns: np.ndarray) -> np.ndarray:
    """``matrix @ columns``, (rows, c), as an array.

    Example:
        >>> import numpy as np
        >>> after(np.array([[1.0, 2.0]]), np.eye(2)).tolist()
        [[1.0, 2.0]]
    """
    return np.asarray(matrix @ columns)


def before(rows: np.ndarray, matrix: Matrix) -> np.ndarray:
    """``rows @ matrix``, (r, columns): the transpose's product, for operators by ``rmatmat``.

    Example:
        >>> import numpy as np, scipy.sparse
        >>> before(np.array([[1.0, 2.0]]), scipy.sparse.csr_array(np.array([[0.0, 1.0], [3.0, 0.0]]))).tolist()
        [[6.0, 1.0]]
    """
    if isinstance(matrix, np.ndarray):
        return rows @ matrix
    turned = matrix.T @ rows.T if is_sparse(matrix) else matrix.rmatmat(np.ascontiguousarray(rows.T))
    return np.ascontiguousarray(np.asarray(turned).T)


def some_columns(matrix: Matrix, low: int, high: int) -> np.ndarray:
    """Columns `low` to `high` - 1 as a dense array, (rows, high - low)."""
    if isinstance(matrix, np.ndarray):
        return matrix[:, low:high]
    if is_sparse(matrix):
        return np.asarray(matrix.tocsc()[:, low:high].todense())
    pick = np.zeros((matrix.shape[1], high - low))
    pick[np.arange(low, high), np.arange(high - low)] = 1.0
    return np.asarray(matrix @ pick)


def some_rows(matrix: Matrix, rows: np.ndarray) -> np.ndarray:
    """Some rows as a dense array, (len(rows), columns)."""
    if isinstance(matrix, np.ndarray):
        return matrix[rows]
    if is_sparse(matrix):
        return np.asarray(matrix.tocsr()[rows].todense())
    pick = np.zeros((len(rows), matrix.shape[0]))
    pick[np.arange(len(rows)), rows] = 1.0
    return before(pick, matrix)


def term_sizes(
    affine: Affine, rows: np.ndarray, sources: Sequence[np.ndarray | None], memory: int = 64 << 20
) -> np.ndarray:
    """``sum_j |W_j[rows]| |h_j|``: how large the terms are whose sum is one entry of z; (N, len(rows)).

    The rounding error of that entry is a small multiple of 1.1e-16 times this size, however far the terms cancel.

    Args:
        affine: The map.
        rows: Which entries of z.
        sources: h_j, (N, n_j) each.
        memory: Rows are taken in chunks of about this many bytes.
    """
    count = next(len(s) for s in sources if s is not None)
    out = np.zeros((count, len(rows)))
    for j, matrix in affine.terms:
        source = sources[j]
        assert source is not None
        size = np.abs(source).T
        if is_sparse(matrix):
            out += np.asarray(abs(matrix.tocsr()[rows]) @ size).T
            continue
        step = max(1, memory // (8 * sum(matrix.shape)))
        for i in range(0, len(rows), step):
            out[:, i : i + step] += (np.abs(some_rows(matrix, rows[i : i + step])) @ size).T
    return out


def row_norms(matrix: Matrix, memory: int = 64 << 20) -> np.ndarray:
    """The Euclidean length of every row, in chunks of about `memory` bytes.

    Example:
        >>> import numpy as np
        >>> row_norms(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [5.0, 0.0]
    """
    if isinstance(matrix, np.ndarray):
        return np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    if is_sparse(matrix):
        matrix = matrix.tocsr()
        return np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    squares = np.zeros(matrix.shape[0])
    step = max(1, memory // (8 * sum(matrix.shape)))
    for low in range(0, matrix.shape[1], step):
        part = some_columns(matrix, low, min(low + step, matrix.shape[1]))
        squares += np.einsum("ij,ij->i", part, part)
    return np.sqrt(squares)


def cost(matrix: Matrix) -> int:
    """Work of one product with a vector: multiplications, where dense ones are three to the price of one sparse.

    Of an operator it is its ``cost`` if it has one, else a guess.
    """
    if isinstance(matrix, np.ndarray):
        return -(-matrix.size // 3)
    if is_sparse(matrix):
        return int(matrix.nnz)
    return int(getattr(matrix, "cost", 8 * sum(matrix.shape)))


def is_sparse(matrix: Matrix) -> bool:
    """Whether it is a SciPy sparse array or matrix."""
    return hasattr(matrix, "tocsr")
