"""Rules for optimizer steps: the ``_foreach`` ops, one tensor at a time, and the fused Adam, AdamW and SGD."""

from __future__ import annotations

from typing import Any

import numpy as np

from weightwalk.readings.referees import functions as f
from weightwalk.readings.referees.base import RULES, Context, Expected, Rule, rule
from weightwalk.readings.referees.rounded import Rounded


def _one_by_one(each: Rule, c: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Expected]:
    """Apply the rule of one tensor to the i-th entry of every list; what is no list is shared by all."""
    n = len(args[0])
    done: list[Expected] = []
    for i in range(n):
        row = [a[i] if isinstance(a, (list, tuple)) else a for a in args]
        extra = {k: v[i] if isinstance(v, (list, tuple)) else v for k, v in kwargs.items()}
        inner = Context([c.dtypes[i].name], [], c.bounds)
        result: Any = each(inner, *row, **extra)
        if isinstance(result, Rounded):
            result = inner.done(result)
        elif not isinstance(result, Expected):
            result = inner.same(np.asarray(result))
        done.append(result)
    return done


def _foreach(name: str, overload: str) -> None:
    each = RULES[f"aten._foreach_{name}.each"]

    def apply(c: Context, *args: Any, **kwargs: Any) -> Any:
        return _one_by_one(each, c, args, kwargs)

    rule(f"_foreach_{name}.{overload}")(apply)


def register_foreach() -> None:
    """One ``_foreach`` rule per ``.each`` rule and overload. Called once all the ``.each`` rules are known."""
    for key in list(RULES):
        if key.startswith("aten._foreach_") and key.endswith(".each"):
            name = key.removeprefix("aten._foreach_").removesuffix(".each")
            for overload in ("default", "Scalar", "ScalarList", "List", "Tensor", "ScalarAndTensor"):
                _foreach(name, overload)


@rule("_fused_adam_.default", "_fused_adam_.tensor_lr")
def fused_adam(c: Context, self: Any, grads: Any, exp_avgs: Any, exp_avg_sqs: Any, max_exp_avg_sqs: Any,
               state_steps: Any, **options: Any) -> Any:  # fmt: skip
    return _adam_all(c, self, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, False, options)


@rule("_fused_adamw_.default", "_fused_adamw_.tensor_lr")
def fused_adamw(c: Context, self: Any, grads: Any, exp_avgs: Any, exp_avg_sqs: Any, max_exp_avg_sqs: Any,
                state_steps: Any, **options: Any) -> Any:  # fmt: skip
    return _adam_all(c, self, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, True, options)


def _adam_all(
    c: Context, params: Any, grads: Any, firsts: Any, seconds: Any, maxima: Any, steps: Any, decoupled: bool,
    options: dict[str, Any],
) -> Any:  # fmt: skip
    """New values of parameters, gradients (as they were), both moments and their maxima, list after list."""
    if options.get("grad_scale") is not None or options.get("found_inf") is not None or not params:
        return None
    n = len(params)
    columns: list[list[Any]] = [[], list(grads), [], [], []]
    for i in range(n):
        inner = Context([c.dtypes[i].name], [], c.bounds)
        largest = maxima[i] if options["amsgrad"] else None
        row = _adam(inner, params[i], grads[i], firsts[i], seconds[i], largest, float(steps[i]), decoupled, options)
        for column, result in zip((0, 2, 3, 4), row, strict=False):
            columns[column].append(inner.done(result))
    if options["maximize"]:
        columns[1] = [np.negative(g) for g in grads]
    flat = [x for column in columns for x in column]
    return flat if len(flat) == len(c.dtypes) else None


def _adam(
    c: Context, param: Any, grad: Any, first: Any, second: Any, largest: Any, step: float, decoupled: bool,
    o: dict[str, Any],
) -> list[Rounded]:  # fmt: skip
    """``m += (g - m)(1 - b1)``, ``v = b2 v + (1 - b2) g^2``, ``p -= lr m^ / (sqrt v^ + eps)``.

    With ``m^ = m / (1 - b1^t)`` and ``v^ = v / (1 - b2^t)``.

    Weight decay is taken from p (AdamW) or added to g (Adam). Hyperparameters are rounded as the kernel casts them.
    """
    p, g, m, v = c.take(param), c.take(grad), c.take(first), c.take(second)
    g = -g if o["maximize"] else g
    lr, decay = float(np.asarray(o["lr"])), o["weight_decay"]
    if decay:
        p, g = (p * c.take(1.0 - lr * decay), g) if decoupled else (p, g + p * c.take(decay))
    b1, b2 = o["beta1"], o["beta2"]
    if decay and decoupled and c.bounds:
        p = p.plus(c.u * (1 + lr * decay) * np.abs(p.v))
    new_m = m + (g - m) * c.take(1.0 - b1)
    new_v = v * c.take(b2) + g * g * c.take(1.0 - b2)
    if c.bounds:
        # The kernel's 1 - b is that of the rounded b: an error of u in a number of the size of 1 - b.
        new_m = new_m.plus(c.unit * np.abs((g - m).v))
        new_v = new_v.plus(c.unit * (g * g).v)
    top = new_v
    if largest is not None:
        old = c.take(largest)
        top = Rounded(np.maximum(old.v, new_v.v), new_v.e, c)
    root = f.sqrt(top) / c.take(float(np.sqrt(1.0 - b2**step))) + c.take(o["eps"])
    rate = c.take(lr / (1.0 - b1**step))
    move = rate * new_m / root
    if c.bounds:
        move = move.plus(4 * c.u * np.abs(move.v))
    return [p - move, new_m, new_v] + ([top] if largest is not None else [])


@rule("_fused_sgd_.default", "_fused_sgd_.tensor_lr")
def fused_sgd(c: Context, self: Any, grads: Any, momentum_buffer_list: Any, **o: Any) -> Any:
    """``b = mu b + (1 - d) g`` (g itself at first), ``p -= lr b``, or ``lr (g + mu b)`` with Nesterov."""
    if o.get("grad_scale") is not None or o.get("found_inf") is not None:
        return None
    new_p, new_b = [], []
    for i, (param, grad) in enumerate(zip(self, grads, strict=True)):
        inner = Context([c.dtypes[i].name], [], c.bounds)
        p, g = inner.take(param), inner.take(grad)
        g = -g if o["maximize"] else g
        g = g + p * inner.take(o["weight_decay"]) if o["weight_decay"] else g
        step = g
        if o["momentum"]:
            mu = inner.take(o["momentum"])
            b = g
            if not o["is_first_step"]:
                b = mu * inner.take(momentum_buffer_list[i]) + g * inner.take(1.0 - o["dampening"])
            new_b.append(inner.done(b))
            step = g + mu * b if o["nesterov"] else b
        new_p.append(inner.done(p - step * inner.take(float(np.asarray(o["lr"])))))
    flat = [*new_p, *([np.negative(g) for g in grads] if o["maximize"] else grads), *new_b]
    return flat if len(flat) == len(c.dtypes) else None
