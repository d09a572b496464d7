"""Slope and curvature of the loss at the centre of a picture, along its own axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from weightwalk.errors import UsageError
from weightwalk.learning.curvature import Curvature
from weightwalk.learning.landscapes.directions import Plane, Weights
from weightwalk.learning.landscapes.evaluate import Question


@dataclass(frozen=True, slots=True)
class Centre:
    """Derivatives of the loss at the net itself; NaN where they could not be had, and `why` says why.

    Attributes:
        gradient_norm: Length of the gradient over all weights; 0 at a critical point.
        slope: ``dL/da`` and ``dL/db``: the gradient along u and v (not scaled to length 1).
        curvature: ``u'Hu``, ``v'Hv`` and ``u'Hv``, with H the Hessian: the second derivatives in a and b.
        rayleigh: ``u'Hu / u'u`` and ``v'Hv / v'v``: curvature per unit of length, which lies between the smallest and
            the largest eigenvalue of H and can be compared with them.
        why: What kept them from being computed; empty where nothing did.
    """

    gradient_norm: float = math.nan
    slope: tuple[float, float] = (math.nan, math.nan)
    curvature: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    rayleigh: tuple[float, float] = (math.nan, math.nan)
    why: str = ""


def flat(weights: Weights, direction: Weights) -> np.ndarray:
    """A direction as one vector (n,) float64, in the order of the weights; zeros where it does not move."""
    parts = [_numpy(direction[n]) if n in direction else np.zeros(w.numel()) for n, w in weights.items()]
    return np.concatenate(parts)


def _numpy(t: Tensor) -> np.ndarray:
    return t.detach().double().cpu().numpy().ravel()


def centre_of(q: Question, plane: Plane) -> Centre:
    """Two Hessian products, exact."""
    u = flat(plane.origin, plane.u)
    v = np.zeros_like(u) if plane.v is None else flat(plane.origin, plane.v)
    try:
        about = Curvature(q.module, q.inputs, q.targets, q.loss)
        hu, hv = about.product(u), about.product(v) if plane.v is not None else v
    except (UsageError, RuntimeError, NotImplementedError) as error:
        return Centre(why=str(error).strip().splitlines()[0])
    g, uu, vv = about.gradient, float(u @ hu), float(v @ hv)
    lengths = float(u @ u), float(v @ v)
    if plane.v is None:
        return Centre(about.gradient_norm, (float(g @ u), 0.0), (uu, 0.0, 0.0), (uu / lengths[0], math.nan))
    return Centre(
        about.gradient_norm,
        (float(g @ u), float(g @ v)),
        (uu, vv, float(u @ hv)),
        (uu / lengths[0], vv / lengths[1]),
    )
