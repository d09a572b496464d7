"""Rules for fused attention: a product, a softmax and a product, with the online rescaling of the flash kernels.

With ``s = scale q k^T + mask``, ``m`` the row maximum, ``p = exp(s - m)`` and ``l = sum p``: out = ``p v / l`` and
logsumexp = ``m + log l``. Flash kernels run over blocks of keys and rescale by ``exp(m_old - m_new)`` for each (Dao et
al. 2022): one more exp and product per block in the error of p. In half types p is rounded before it meets v.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, Expected, rule
from weightwalk.readings.referees.rounded import FAST_FUNCTION, FAST_HALF, Rounded
from weightwalk.readings.referees.softmax import shifted, softmax_of

_KEYS_PER_BLOCK = 16
"""Fewest keys in one block of a flash kernel, hence most rescalings."""


def _scores(c: Context, q: Rounded, k: Rounded, mask: Any, causal: bool, scale: Any) -> Rounded:
    """``scale q k^T + mask``, minus infinity where attention is barred."""
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    # The scale may be rounded, and may be put on the product or, as its root, on both factors.
    s = (q @ k.map(lambda a: np.swapaxes(a, -1, -2))) * c.const(scale)
    if c.bounds:
        s = s.plus(6.0 * c.u * np.abs(s.v))
    if mask is not None:
        if mask.dtype.kind == "b":
            s = _barred(s, ~np.broadcast_to(mask, s.shape))
        else:
            low = np.broadcast_to(np.isneginf(mask), s.shape)
            s = _barred(s + c.take(np.where(np.isneginf(mask), 0, mask).astype(mask.dtype)), low)
    if causal:
        s = _barred(s, ~np.tri(s.shape[-2], s.shape[-1], dtype=bool))
    return s


def _barred(s: Rounded, barred: np.ndarray) -> Rounded:
    return Rounded(np.where(barred, -np.inf, s.v), None if s.e is None else np.where(barred, 0.0, s.e), s.a)


def _heads(x: np.ndarray, heads: int) -> np.ndarray:
    """Key or value heads repeated for their group of query heads."""
    return x if x.shape[1] == heads else np.repeat(x, heads // x.shape[1], axis=1)


def _in_half(c: Context, p: Rounded) -> Rounded:
    """`p` rounded into the half type, where the kernel stores it so."""
    return p.plus(c.half_unit * np.abs(p.v)) if c.half and c.bounds else p


@rule("_scaled_dot_product_flash_attention_for_cpu.default")
def flash_attention(
    c: Context, query: Any, key: Any, value: Any, dropout_p: float = 0.0, is_causal: bool = False,
    attn_mask: Any = None, scale: Any = None,
) -> Any:  # fmt: skip
    """Output and logsumexp. A row that may attend to nothing gives zeros, and a logsumexp that is not judged.

    The kernel gives zeros for a row with a NaN among its scores as well, which hides it: not judged either.
    """
    if dropout_p:
        return None
    q, k, v = (c.take(_heads(x, query.shape[1])) for x in (query, key, value))
    s = _scores(c, q, k, attn_mask, is_causal, scale)
    m = np.max(s.v, axis=-1, keepdims=True, initial=-np.inf)
    lost = np.isnan(m)
    empty = np.isneginf(m) | lost
    p = f.exp(shifted(s, Rounded(np.where(empty, 0.0, m), None, c)), FAST_FUNCTION)
    if c.bounds and p.e is not None:
        p.e = p.e + (FAST_HALF * p.v if c.half else 0.0)
        # Rescaling per block; and the kernel's maximum is one of its own rounded scores, not this one.
        blocks = p.shape[-1] // _KEYS_PER_BLOCK
        top = np.max(np.where(np.isneginf(s.v), 0.0, s.error), axis=-1, keepdims=True, initial=0.0)
        p.e = p.e + p.v * (np.expm1(np.minimum(top, 700.0)) + blocks * (FAST_FUNCTION + 2.0) * c.u)
    total = p.sum(-1, True)
    out = (_in_half(c, p) @ v) / total
    out = f.where(empty, Rounded(np.zeros(()), np.where(lost, np.inf, 0.0) if lost.any() else None, c), out)
    lse = (f.log(total) + Rounded(np.where(empty, 0.0, m), None, c)).reshape(query.shape[:-1])
    if c.bounds and lse.e is not None:
        lse.v = np.where(empty[..., 0], 0.0, lse.v)
        lse.e = np.where(empty[..., 0], np.inf, lse.e + 2 * c.u * np.abs(m[..., 0]))
    if not lost.any():
        return [out, lse]
    return [replace(c.done(y, i), accept=partial(_hidden, lost)) for i, y in enumerate((out, lse))]


def _hidden(lost: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Whether a recorded NaN stands in a row that holds one."""
    return np.isnan(recorded) & (lost if recorded.ndim == lost.ndim else lost[..., 0])


@rule("_scaled_dot_product_flash_attention_for_cpu_backward.default")
def flash_attention_backward(
    c: Context, grad_out: Any, query: Any, key: Any, value: Any, out: Any, logsumexp: Any, dropout_p: float,
    is_causal: bool, attn_mask: Any = None, scale: Any = None,
) -> Any:  # fmt: skip
    """With ``p = exp(s - lse)``: ``dv = p^T do``, ``ds = p (do v^T - sum do out) scale``, ``dq = ds k``
    and ``dk = ds^T q``.

    Key and value heads that serve a group of query heads receive the group's sum.
    """
    heads = query.shape[1]
    q, k, v = c.take(query), c.take(_heads(key, heads)), c.take(_heads(value, heads))
    do, o = c.take(grad_out), c.take(out)
    s = _scores(c, q, k, attn_mask, is_causal, scale)
    p = f.exp(shifted(s, c.take(logsumexp)[..., None]), FAST_FUNCTION)
    if c.half and c.bounds:
        p = p.plus(FAST_HALF * p.v)
    delta = (do * o).sum(-1, True)
    dp = do @ _swap(v)
    ds = p * (dp - delta) * c.const(1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if c.bounds:
        ds = ds.plus(4.0 * c.u * np.abs(ds.v))
    ds, p = _in_half(c, ds), _in_half(c, p)
    dq, dk, dv = ds @ k, _swap(ds) @ q, _swap(p) @ do
    return [dq, _grouped(dk, key.shape), _grouped(dv, value.shape)]


def _swap(x: Rounded) -> Rounded:
    return x.map(lambda a: np.swapaxes(a, -1, -2))


def _grouped(x: Rounded, shape: tuple[int, ...]) -> Rounded:
    if x.shape == tuple(shape):
        return x
    return x.reshape(shape[0], shape[1], -1, *shape[2:]).sum(2)


@rule("_scaled_dot_product_attention_math.default", "_scaled_dot_product_attention_math_for_mps.default")
def attention_math(
    c: Context, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, dropout_mask: Any = None, scale: Any = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """``softmax(scale q k^T + mask) v`` and the weights; each stage of a half type is rounded into it."""
    if dropout_p or dropout_mask is not None:
        return None
    q, k, v = (c.take(_heads(x, query.shape[-3]) if enable_gqa else x) for x in (query, key, value))
    if c.half and c.bounds:
        q, k = (x.plus(2 * c.half_unit * np.abs(x.v)) for x in (q, k))
    s = _scores(c, q, k, attn_mask, is_causal, scale)
    if c.half and c.bounds:
        s = s.plus(2 * c.half_unit * np.where(np.isfinite(s.v), np.abs(s.v), 0.0))
    w = softmax_of(s, -1)
    empty = np.isneginf(np.max(s.v, axis=-1, keepdims=True, initial=-np.inf))
    w = f.where(empty, c.const(0.0), w)
    return [_in_half(c, w) @ v, w]


def split_heads(x: Rounded, heads: int) -> Rounded:
    """``[batch, tokens, heads * width]`` as ``[batch, heads, tokens, width]``."""
    b, n, d = x.shape
    return x.map(lambda a: a.reshape(b, n, heads, d // heads).transpose(0, 2, 1, 3))


def self_attention(
    c: Context, x: Rounded, heads: int, qkv_weight: Any, qkv_bias: Any, proj_weight: Any, proj_bias: Any, barred: Any
) -> tuple[Rounded, Rounded]:
    """One multi-head self-attention from the packed weights: the output and the attention weights."""
    qkv = x @ _swap(c.take(qkv_weight)) + c.take(qkv_bias)
    d = x.shape[-1]
    q, k, v = (split_heads(qkv[..., i * d : (i + 1) * d], heads) for i in range(3))
    s = _scores(c, q, k, None, False, None)
    s = s if barred is None else _barred(s, np.broadcast_to(barred, s.shape))
    w = softmax_of(s, -1)
    mixed = (w @ v).map(lambda a: a.transpose(0, 2, 1, 3).reshape(x.shape))
    return mixed @ _swap(c.take(proj_weight)) + c.take(proj_bias), w


@rule("_native_multi_head_attention.default")
def native_multi_head_attention(
    c: Context, query: Any, key: Any, value: Any, embed_dim: int, num_head: int, qkv_weight: Any, qkv_bias: Any,
    proj_weight: Any, proj_bias: Any, mask: Any = None, need_weights: bool = True, average_attn_weights: bool = True,
    mask_type: Any = None,
) -> Any:  # fmt: skip
    """``nn.MultiheadAttention``'s fast path, for self-attention without a mask."""
    if mask is not None or not (np.array_equal(query, key) and np.array_equal(query, value)):
        return None
    c.stepwise()
    y, w = self_attention(c, c.take(query), num_head, qkv_weight, qkv_bias, proj_weight, proj_bias, None)
    if not need_weights:
        return [y, *(Expected(np.zeros(0), None, "empty") for _ in c.dtypes[1:])]
    return [y, w.mean(1) if average_attn_weights else w]


@rule("_transformer_encoder_layer_fwd.default")
def transformer_encoder_layer(
    c: Context, src: Any, embed_dim: int, num_heads: int, qkv_weight: Any, qkv_bias: Any, proj_weight: Any,
    proj_bias: Any, use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: Any, norm_bias_1: Any,
    norm_weight_2: Any, norm_bias_2: Any, ffn_weight_1: Any, ffn_bias_1: Any, ffn_weight_2: Any, ffn_bias_2: Any,
    mask: Any = None, mask_type: Any = None,
) -> Any:  # fmt: skip
    """The encoder layer's fast path: attention and feed-forward, each added to its input, norms first or last."""
    from weightwalk.readings.referees.norms import normalised
    from weightwalk.readings.referees.reductions import moments

    if src.ndim != 3:
        return None
    c.stepwise()
    barred = _encoder_mask(mask, mask_type)

    def norm(x: Rounded, weight: Any, bias: Any) -> Rounded:
        m, v = moments(x, (2,))
        return normalised(x, m, f.inverse_root(v + c.take(eps)), c.take(weight), c.take(bias))

    def attend(x: Rounded) -> Rounded:
        return self_attention(c, x, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, barred)[0]

    def feed(x: Rounded) -> Rounded:
        h = x @ _swap(c.take(ffn_weight_1)) + c.take(ffn_bias_1)
        if use_gelu:
            h = h * ((f.erf(h * c.take(math.sqrt(0.5))) + 1.0) * c.const(0.5))
        else:
            h = h.clip(0.0, None)
        return h @ _swap(c.take(ffn_weight_2)) + c.take(ffn_bias_2)

    x = c.take(src)
    if norm_first:
        x = x + attend(norm(x, norm_weight_1, norm_bias_1))
        return x + feed(norm(x, norm_weight_2, norm_bias_2))
    x = norm(x + attend(x), norm_weight_1, norm_bias_1)
    return norm(x + feed(x), norm_weight_2, norm_bias_2)


def _encoder_mask(mask: Any, mask_type: Any) -> Any:
    """Where attention is barred: mask type 0 is tokens by tokens, 1 is batch by keys."""
    if mask is None:
        return None
    barred = np.asarray(mask) != 0
    return barred[:, None, None, :] if mask_type == 1 else barred
