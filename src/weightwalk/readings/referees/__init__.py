"""Referees: second opinions on one recorded op.

The NumPy referee computes each op again as its plain equation in float64, importing no torch, with the forward
rounding-error bound of that op in its recorded dtype::

    >>> import numpy as np
    >>> from weightwalk.readings.referees import numpy_referee
    >>> a = np.array([[1.0, 2.0]], dtype=np.float32)
    >>> [y] = numpy_referee("aten.mm.default", [a, a.T], {}, ["float32"])
    >>> y.value, bool(y.bound < 1e-5)
    (array([[5.]]), True)
"""

from __future__ import annotations

from weightwalk.readings.referees import (  # noqa: F401  (importing a family registers its rules)
    activations,
    attention,
    convolution,
    indexing,
    losses,
    matmul,
    moves,
    norms,
    optimizers,
    pointwise,
    pooling,
    recurrent,
    reductions,
    resampling,
    softmax,
)
from weightwalk.readings.referees.base import Expected, numpy_referee
from weightwalk.readings.referees.compare import Judgement, judge

optimizers.register_foreach()

__all__ = ["Expected", "Judgement", "judge", "numpy_referee"]
