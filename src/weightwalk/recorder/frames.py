"""Which line of whose code ran an op: the nearest frame outside torch, and what the torch frames on the way tell."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType, FrameType

import torch
import torch.nn.functional as F

USER, INSIDE, LOSS, BACKWARD = 0, 1, 2, 3

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent.parent)
_KIND: dict[int, int] = {}  # by id: hashing a code object costs more than all else here
_CODES: list[CodeType] = []  # keeps them alive, so that ids stay unique

_LOSSES = """
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy ctc_loss gaussian_nll_loss
    hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss
    multilabel_margin_loss multilabel_soft_margin_loss nll_loss poisson_nll_loss smooth_l1_loss soft_margin_loss
    triplet_margin_loss triplet_margin_with_distance_loss
"""


def _mark() -> None:
    for name in _LOSSES.split():
        function = getattr(F, name, None)
        code = getattr(function, "__code__", None)
        if code is not None:
            _KIND[id(code)] = LOSS
    for function in (torch.autograd.backward, torch.autograd.grad, torch.Tensor.backward):
        _KIND[id(function.__code__)] = BACKWARD


_mark()


def _classify(code: CodeType) -> int:
    name = code.co_filename
    inside = name.startswith((_TORCH, "<")) or (name.startswith(_OURS) and "/recorder/" in name)
    kind = _KIND[id(code)] = INSIDE if inside else USER
    _CODES.append(code)
    return kind


def origin(depth: int) -> tuple[CodeType | None, int, int]:
    """The first frame outside torch, `depth` frames up or more.

    Returns:
        Its code and instruction (resolve with `source_line`), and the strongest mark met on the way: ``BACKWARD``
        inside ``backward()``, ``LOSS`` inside a loss function of ``torch.nn.functional``, else ``INSIDE``.
    """
    frame: FrameType | None = sys._getframe(depth)
    mark = INSIDE
    while frame is not None:
        code = frame.f_code
        kind = _KIND.get(id(code))
        if kind is None:
            kind = _classify(code)
        if kind == USER:
            return code, frame.f_lasti, mark
        if kind > mark:
            mark = kind
        frame = frame.f_back
    return None, 0, mark


_LINES: dict[tuple[int, int], str] = {}


def source_line(code: CodeType | None, lasti: int) -> str:
    """``"model.py:12 in forward"``, for a code that `origin` gave."""
    if code is None:
        return ""
    line = _LINES.get((id(code), lasti))
    if line is None:
        line = _LINES[id(code), lasti] = _source_line(code, lasti)
    return line


def _source_line(code: CodeType, lasti: int) -> str:
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            line = number
            break
    return f"{Path(code.co_filename).name}:{line} in {code.co_name}"
