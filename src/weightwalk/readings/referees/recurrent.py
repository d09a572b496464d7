"""Rules for recurrent layers that run as one op: oneDNN's LSTM layer and the fused cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import Context, Expected, rule
from weightwalk.readings.referees.rounded import Rounded

_LSTM = 2


def lstm_gates(gates: Rounded, cell: Rounded) -> tuple[Rounded, Rounded, list[Rounded]]:
    """``c' = sigma(f) c + sigma(i) tanh(g)``, ``h' = sigma(o) tanh(c')``; gates in the order i, f, g, o."""
    w = cell.shape[-1]
    i, forget, g, o = (gates[..., k * w : (k + 1) * w] for k in range(4))
    parts = [f.sigmoid(i), f.sigmoid(forget), f.tanh(g), f.sigmoid(o)]
    new = parts[1] * cell + parts[0] * parts[2]
    return parts[3] * f.tanh(new), new, parts


@rule("mkldnn_rnn_layer.default")
def mkldnn_rnn_layer(
    c: Context, input: Any, weight0: Any, weight1: Any, weight2: Any, weight3: Any, hx_: Any, cx_: Any, reverse: bool,
    batch_sizes: Any, mode: int, hidden_size: int, num_layers: int, has_biases: bool, bidirectional: bool,
    batch_first: bool, train: bool,
) -> Any:  # fmt: skip
    """One LSTM layer in one direction over ``[time, batch, features]``: outputs, last h, last c, private workspace."""
    if mode != _LSTM or batch_sizes:
        return None
    c.stepwise()
    x = input
    h, cell = c.take(hx_.reshape(hx_.shape[-2:])), c.take(cx_.reshape(cx_.shape[-2:]))
    w_x, w_h = c.take(weight0).map(np.transpose), c.take(weight1).map(np.transpose)
    bias = c.take(weight2) + c.take(weight3) if has_biases else c.const(0.0)
    outs: list[Any] = [None] * x.shape[0]
    for t in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
        gates = c.take(x[t]) @ w_x + h @ w_h + bias
        h, cell, _ = lstm_gates(gates, cell)
        outs[t] = h
    y = Rounded(np.stack([o.v for o in outs]), np.stack([o.error for o in outs]) if c.bounds else None, c)
    private = [Expected(np.zeros(0), None, "oneDNN's private workspace") for _ in c.dtypes[3:]]
    return [y, h.reshape(hx_.shape), cell.reshape(cx_.shape), *private]


@rule("mkldnn_rnn_layer_backward.default")
def mkldnn_rnn_layer_backward(
    c: Context, input: Any, weight1: Any, weight2: Any, weight3: Any, weight4: Any, hx_: Any, cx_tmp: Any,
    output: Any, hy_: Any, cy_: Any, grad_output: Any, grad_hy: Any, grad_cy: Any, reverse: bool, mode: int,
    hidden_size: int, num_layers: int, has_biases: bool, train: bool, bidirectional: bool, batch_sizes: Any,
    batch_first: bool, workspace: Any,
) -> Any:  # fmt: skip
    """Backpropagation through time, from gates that are computed again: gradients of x, W_x, W_h, b, b, h and c."""
    if mode != _LSTM or batch_sizes:
        return None
    c.stepwise()
    h, cell = c.take(hx_.reshape(hx_.shape[-2:])), c.take(cx_tmp.reshape(cx_tmp.shape[-2:]))
    w_x, w_h = c.take(weight1), c.take(weight2)
    bias = c.take(weight3) + c.take(weight4) if has_biases else c.const(0.0)
    order = list(reversed(range(input.shape[0])) if reverse else range(input.shape[0]))
    tape = []
    for t in order:
        x = c.take(input[t])
        new_h, new_cell, parts = lstm_gates(x @ w_x.map(np.transpose) + h @ w_h.map(np.transpose) + bias, cell)
        tape.append((t, x, h, cell, new_cell, parts))
        h, cell = new_h, new_cell
    zero = c.const(np.zeros(h.shape))
    dh = zero if grad_hy is None else c.take(grad_hy.reshape(h.shape))
    dc = zero if grad_cy is None else c.take(grad_cy.reshape(h.shape))
    dx: list[Any] = [None] * len(order)
    d_wx, d_wh, d_b = c.const(np.zeros(weight1.shape)), c.const(np.zeros(weight2.shape)), c.const(np.zeros(()))
    for t, x, old_h, old_cell, new_cell, parts in reversed(tape):
        dh = dh if grad_output is None else dh + c.take(grad_output[t])
        d_gates, dc = _lstm_gate_gradients(dh, dc, old_cell, new_cell, parts)
        dx[t] = d_gates @ w_x
        d_wx, d_wh = d_wx + d_gates.map(np.transpose) @ x, d_wh + d_gates.map(np.transpose) @ old_h
        d_b = d_b + d_gates.sum(0)
        dh = d_gates @ w_h
    stacked = Rounded(np.stack([d.v for d in dx]), np.stack([d.error for d in dx]) if c.bounds else None, c)
    return [stacked, d_wx, d_wh, d_b, d_b, dh.reshape(hx_.shape), dc.reshape(cx_tmp.shape)]


def _lstm_gate_gradients(
    dh: Rounded, dc: Rounded, old: Rounded, new: Rounded, parts: list[Rounded]
) -> tuple[Rounded, Rounded]:
    """Gradients of the four gates before their activations, and of the cell before the step."""
    i, forget, g, o = parts
    t = f.tanh(new)
    dc = dc + dh * o * (1.0 - t * t)
    pieces = [
        dc * g * i * (1.0 - i),
        dc * old * forget * (1.0 - forget),
        dc * i * (1.0 - g * g),
        dh * t * o * (1.0 - o),
    ]
    e = np.concatenate([p.error for p in pieces], -1) if dh.a.bounds else None
    return Rounded(np.concatenate([p.v for p in pieces], -1), e, dh.a), dc * forget


@rule("_thnn_fused_lstm_cell.default")
def fused_lstm_cell(
    c: Context, input_gates: Any, hidden_gates: Any, cx: Any, input_bias: Any = None, hidden_bias: Any = None
) -> Any:
    """One LSTM step from the two products: h, c and the gates after their activations."""
    c.stepwise()
    gates = c.take(input_gates) + c.take(hidden_gates)
    for bias in (input_bias, hidden_bias):
        gates = gates if bias is None else gates + c.take(bias)
    h, cell, parts = lstm_gates(gates, c.take(cx))
    e = np.concatenate([p.error for p in parts], -1) if c.bounds else None
    return [h, cell, Rounded(np.concatenate([p.v for p in parts], -1), e, c)]
