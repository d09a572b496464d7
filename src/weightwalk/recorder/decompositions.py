"""How fused ops come apart: as plain ATen ops, for `step.zoom()` and ``open_fused=True``.

torch's own decompositions serve where they exist; for the recurrent and transformer-layer kernels, which have none, the
equations are written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

_BY_TORCH = """
    _fused_rms_norm _log_softmax _log_softmax_backward_data _native_batch_norm_legit
    _native_batch_norm_legit_no_training _safe_softmax _softmax _softmax_backward_data addcdiv addcmul elu gelu
    gelu_backward hardswish huber_loss l1_loss leaky_relu mish mse_loss mse_loss_backward native_batch_norm
    native_group_norm native_group_norm_backward native_layer_norm native_layer_norm_backward nll_loss2d_forward
    nll_loss_backward nll_loss_forward silu silu_backward smooth_l1_loss softplus
"""


@cache
def table() -> dict[str, Callable[..., Any]]:
    """Op name to a function of the op's own arguments that computes its outputs by plain ops."""
    from torch._decomp import decomposition_table

    ops = torch.ops.aten
    found: dict[str, Callable[..., Any]] = {}
    for name in _BY_TORCH.split():
        packet = getattr(ops, name, None)
        for overload in packet.overloads() if packet is not None else ():
            op = getattr(packet, overload)
            if op in decomposition_table:
                found[str(op)] = decomposition_table[op]
    found |= {
        "aten._scaled_dot_product_flash_attention_for_cpu.default": _flash_cpu,
        "aten._scaled_dot_product_flash_attention.default": _flash,
        "aten._scaled_dot_product_efficient_attention.default": _efficient,
        "aten._scaled_dot_product_cudnn_attention.default": _efficient,
        "aten.mkldnn_rnn_layer.default": lstm_layer,
        "aten._transformer_encoder_layer_fwd.default": encoder_layer,
        "aten._native_multi_head_attention.default": multi_head_attention,
    }
    return found


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """softmax(q·kᵀ·scale + mask)·v and the log of the softmax's denominators.

    Shapes: q (batch, heads, n, d), k and v (batch, groups, m, d); scale defaults to 1/√d (Vaswani et al. 2017, §3.2.1).
    """
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    scores = torch.matmul(q, k.transpose(-2, -1)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        n, m = scores.shape[-2:]
        scores = scores.masked_fill(torch.ones(n, m, dtype=torch.bool, device=q.device).triu(1), -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    top = scores.amax(-1, keepdim=True)
    top = torch.where(top.isinf(), torch.zeros_like(top), top)
    e = torch.exp(scores - top)
    total = e.sum(-1, keepdim=True)
    pattern = torch.where(total == 0, torch.zeros_like(e), e / total)
    return torch.matmul(pattern, v), (torch.log(total) + top).squeeze(-1)


def _flash_cpu(q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, **options: Any) -> Any:
    return attention(q, k, v, options.get("attn_mask"), is_causal, options.get("scale"))


def _flash(q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, *_: Any, scale: Any = None) -> Any:
    return attention(q, k, v, None, is_causal, scale)


def _efficient(q: Any, k: Any, v: Any, attn_bias: Any, *flags: Any, scale: Any = None) -> Any:
    causal = bool(flags[2]) if len(flags) > 2 else False  # flags: compute_log_sumexp, dropout_p, is_causal
    return attention(q, k, v, attn_bias, causal, scale)


def lstm_layer(
    input: torch.Tensor, w_ih: torch.Tensor, w_hh: torch.Tensor, b_ih: torch.Tensor, b_hh: torch.Tensor,
    hx: torch.Tensor, cx: torch.Tensor, reverse: bool, *_: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """One LSTM layer in one direction, as its gates (Hochreiter & Schmidhuber 1997; torch's gate order i, f, g, o).

    Shapes: input (time, batch, features); hx, cx (1, batch, hidden) or (batch, hidden). Returns outputs, last states.
    """
    h, c = hx.reshape(-1, hx.shape[-1]), cx.reshape(-1, cx.shape[-1])
    order = range(input.shape[0] - 1, -1, -1) if reverse else range(input.shape[0])
    outputs: dict[int, torch.Tensor] = {}
    for t in order:
        gates = torch.matmul(input[t], w_ih.t()) + b_ih + torch.matmul(h, w_hh.t()) + b_hh
        i, f, g, o = gates.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs[t] = h
    stacked = torch.stack([outputs[t] for t in range(input.shape[0])]) if outputs else input.new_zeros(0, *h.shape)
    return stacked, h.reshape(hx.shape), c.reshape(cx.shape)


def _merged_attention(
    x: Any, heads: int, qkv_w: Any, qkv_b: Any, proj_w: Any, proj_b: Any, mask: Any
) -> tuple[Any, Any]:
    b, n, d = x.shape
    qkv = (torch.matmul(x, qkv_w.t()) + qkv_b).chunk(3, -1)
    q, k, v = (t.reshape(b, n, heads, d // heads).transpose(1, 2) for t in qkv)
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(d // heads)
    if mask is not None:  # True hides a key
        shape = {2: (1, 1, *mask.shape), 3: (b, -1, *mask.shape[1:])}.get(mask.dim(), mask.shape)
        shape = (b, 1, 1, n) if mask.shape == (b, n) and b != n else shape
        scores = scores.masked_fill(mask.reshape(shape), -torch.inf)
    pattern = scores.softmax(-1)
    mixed = torch.matmul(pattern, v).transpose(1, 2).reshape(b, n, d)
    return torch.matmul(mixed, proj_w.t()) + proj_b, pattern


def encoder_layer(
    src: torch.Tensor, embed_dim: int, num_heads: int, qkv_weight: Any, qkv_bias: Any, proj_weight: Any, proj_bias: Any,
    use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: Any, norm_bias_1: Any, norm_weight_2: Any,
    norm_bias_2: Any, ffn_weight_1: Any, ffn_bias_1: Any, ffn_weight_2: Any, ffn_bias_2: Any, mask: Any = None,
    mask_type: Any = None,
) -> torch.Tensor:  # fmt: skip
    """`nn.TransformerEncoderLayer` in eval mode, pre- or post-norm (Vaswani et al. 2017)."""
    act = F.gelu if use_gelu else torch.relu
    norm1 = lambda x: F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)  # noqa: E731
    norm2 = lambda x: F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)  # noqa: E731
    mix = lambda x: _merged_attention(x, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask)[0]  # noqa: E731
    feed = lambda x: torch.matmul(act(torch.matmul(x, ffn_weight_1.t()) + ffn_bias_1), ffn_weight_2.t()) + ffn_bias_2  # noqa: E731
    if norm_first:
        x = src + mix(norm1(src))
        return x + feed(norm2(x))
    x = norm1(src + mix(src))
    return norm2(x + feed(x))


def multi_head_attention(
    query: torch.Tensor, key: Any, value: Any, embed_dim: int, num_head: int, qkv_weight: Any, qkv_bias: Any,
    proj_weight: Any, proj_bias: Any, mask: Any = None, need_weights: bool = True, average_attn_weights: bool = True,
    mask_type: Any = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """Self-attention of `nn.MultiheadAttention` in eval mode, with its (averaged) attention weights."""
    out, pattern = _merged_attention(query, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias, mask)
    if not need_weights:
        return out, None
    return out, pattern.mean(1) if average_attn_weights else pattern
