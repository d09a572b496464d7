"""How good an answer is: rows right, and the loss that needs no net."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from weightwalk.learning.losses import Loss


def baseline_of(targets: Tensor, loss: str | Loss) -> float | None:
    """The least loss of an answer that is the same for every row: mean, median, or the frequencies of the classes.

    >>> import torch
    >>> baseline_of(torch.tensor([0.0, 1.0]), "mse"), baseline_of(torch.tensor([0, 1]), "cross_entropy")
    (0.25, 0.6931471805599453)
    """
    if loss == "cross_entropy":
        _, counts = targets.flatten().unique(return_counts=True)
        share = counts.double().cpu().numpy() / targets.numel()
        return float(-(share * np.log(share)).sum())
    y = targets.double().cpu().numpy().reshape(len(targets), -1)
    if loss == "mse":
        return float(y.var(axis=0).mean())
    if loss == "mae":
        return float(np.abs(y - np.median(y, axis=0)).mean())
    if loss == "bce":
        p = y.mean(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-(1 - p) * np.log(1 - p))
        return float(terms.mean())
    return None


def right_of(outputs: Tensor | None, targets: Tensor, loss: str | Loss) -> int | None:
    """Rows answered right: the largest logit at the target; the sign of the logit for yes or no."""
    if outputs is None:
        return None
    if loss == "cross_entropy":
        hits = outputs.argmax(dim=-1) == targets
    elif loss == "bce":
        hits = (outputs > 0) == (targets > 0.5)
    else:
        return None
    return int(hits.reshape(len(hits), -1).all(dim=1).sum())
