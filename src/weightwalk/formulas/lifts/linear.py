"""Rules of the lift for steps that are linear: moves, sums, and products with weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse

from weightwalk.formulas.lifts.forms import (
    Form,
    added,
    constant_form,
    exact_sum,
    gather,
    selects,
    spread,
)
from weightwalk.formulas.lifts.lift import Call, rule
from weightwalk.formulas.lifts.operators import linear_matrix
from weightwalk.formulas.lifts.windows import each, over_channels, spatial_windows
from weightwalk.formulas.piecewise import Matrix, identity
from weightwalk.readings.account.graph import positions
from weightwalk.readings.account.rules.base import overload
from weightwalk.walks.model import Ref

DENSE = 1 << 16
"""Entries up to which a matrix is always kept dense."""


# Moves ---------------------------------------------------------------------------------------------------------------


@rule(
    "aten.view", "aten._unsafe_view", "aten.reshape", "aten._reshape_alias", "aten.t", "aten.transpose", "aten.permute",
    "aten.squeeze", "aten.unsqueeze", "aten.expand", "aten.slice", "aten.select.int", "aten.narrow", "aten.cat",
    "aten.stack", "aten.split", "aten.split_with_sizes", "aten.unsafe_split", "aten.chunk", "aten.unbind", "aten.clone",
    "aten.contiguous", "aten.detach", "aten.alias", "aten.flip", "aten.roll", "aten.repeat", "aten.index_select",
    "aten.index.Tensor", "aten.gather", "aten.flatten", "aten.diagonal", "aten.movedim", "aten.tril", "aten.triu",
    "aten.unfold", "aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.lift_fresh", "aten.channel_shuffle",
    "aten.repeat_interleave.self_int", "aten.unsqueeze_copy", "aten.view_copy", "aten.rot90", "aten.im2col",
)  # fmt: skip
def move(call: Call) -> list[Form | None]:
    """Ops that only move numbers: run on places instead of numbers; place 0 stands for the number 0."""
    return _moved(call)


@rule("aten.constant_pad_nd", "aten.masked_fill", "aten.where", "aten.reflection_pad1d", "aten.reflection_pad2d",
      "aten.replication_pad1d", "aten.replication_pad2d", "aten.replication_pad3d")  # fmt: skip
def filled(call: Call) -> list[Form | None]:
    """The same, where a constant fills some places; what decides where must not depend on the input."""
    for name in ("condition", "mask"):
        if call.depends(name):
            raise call.refuse(f"{call.step.name}, which here chooses by a number that depends on the input,")
    return _moved(call)


def _moved(call: Call) -> list[Form | None]:
    forms: list[Form] = []
    start = 1

    def places(name: str, argument: Any) -> Any:
        nonlocal start
        if isinstance(argument, (list, tuple)) and any(isinstance(a, Ref) for a in argument) and name != "indices":
            return [places(name, a) for a in argument]
        moves = isinstance(argument, Ref) and name not in {"index", "indices", "condition", "mask"}
        scalar = isinstance(argument, (int, float)) and name in {"value", "self", "other"}
        if not (moves or scalar):
            return call.lift._plain(argument)
        form = call.lift.form(argument)
        if any(not isinstance(m, np.ndarray) and not sparse.issparse(m) for m in form.terms.values()):
            form = call.lift.layer(f"{call.at}.{name}", form, identity(form.size))
        forms.append(form)
        start += form.size
        place = torch.arange(start - form.size, start, dtype=torch.float64)
        return place.reshape(form.shape) if moves or name != "value" else float(place)

    args = {name: places(name, a) for name, a in call.args.items()}
    fn = overload(call.step.op.replace("_.", ".") if call.step.written else call.step.op)
    assert fn is not None
    names = [a.name for a in fn._schema.arguments]
    kwonly = {a.name for a in fn._schema.arguments if a.kwarg_only}
    out = fn(*(args[n] for n in names if n not in kwonly), **{n: args[n] for n in names if n in kwonly})
    outs = list(out) if isinstance(out, (list, tuple)) else [out]
    return [gather(forms, np.rint(o.numpy())) for o in outs]


@rule("aten._to_copy", "aten.to", "aten.native_dropout_eval")
def cast(call: Call) -> Form:
    """Another precision of the same real number."""
    if not call.out.dtype.startswith(("float", "bfloat")):
        raise call.refuse(f"a cast to {call.out.dtype}, which jumps,")
    return call.form("self")


@rule("aten.view.dtype")
def reread(call: Call) -> Form:
    """The bits of numbers read as other numbers."""
    raise call.refuse("a view of the bits as another type")


@rule("aten.copy")
def copy(call: Call) -> Form:
    """``copy_``: the old contents are gone."""
    return spread(call.form("src"), call.out.shape)


@rule("aten.as_strided", "weightwalk.alias")
def window(call: Call) -> Form:
    """Another window onto the memory of a value."""
    name = "base" if call.step.op.startswith("weightwalk") else "self"
    base = call.lift.walk.values[call.args[name].value]
    return gather([call.form(name)], _in_memory(positions(call.out), positions(base)))


@rule("weightwalk.overwrite")
def overwrite(call: Call) -> Form:
    """A window onto memory of which a part was written."""
    old, written = (call.lift.walk.values[call.args[k].value] for k in ("old", "written"))
    here = positions(call.out)
    places = _in_memory(here, positions(old))
    over = _in_memory(here, positions(written))
    return gather([call.form("old"), call.form("written")], np.where(over > 0, over + old.size, places))


def _in_memory(wanted: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Where each storage position of `wanted` stands among those of `has`, counted from 1; 0 for nowhere."""
    order = np.argsort(has.reshape(-1), kind="stable")
    ranked = has.reshape(-1)[order]
    found = np.clip(np.searchsorted(ranked, wanted), 0, max(len(ranked) - 1, 0))
    return np.where(ranked[found] == wanted, order[found] + 1, 0)


# Sums ----------------------------------------------------------------------------------------------------------------


@rule("aten.add", "aten.sub", "aten.rsub")
def add(call: Call) -> Form:
    """``self + alpha other``."""
    name = call.step.op.split(".")[1].strip("_")
    alpha = call.args.get("alpha")
    alpha = 1 if alpha is None else alpha
    a, b = (spread(call.form(k), call.out.shape) for k in ("self", "other"))
    if alpha != 1:
        scaled = _scaled(call, b if name != "rsub" else a, np.asarray(float(alpha)), f"{call.at}.scaled")
        a, b = (a, scaled) if name != "rsub" else (scaled, b)
    return _sum(call, a, b, -1 if name == "rsub" else 1, -1 if name == "sub" else 1)


def _sum(call: Call, a: Form, b: Form, factor_a: float = 1, factor_b: float = 1) -> Form:
    """Their sum; what would have to be rounded becomes layers first."""
    if not exact_sum(a, b):
        a, b = (
            f if not (f.weighted or (f.bias.any() and not f.constant))
            else call.lift.layer(f"{call.at}.{side}", f, identity(f.size))
            for side, f in (("self", a), ("other", b))
        )  # fmt: skip
        if not exact_sum(a, b):
            call.lift.round(f"{call.step.name} at {call.at} adds constants")
    return added(a, b, factor_a, factor_b, call.out.shape)


@rule("aten.neg", "aten.negative")
def neg(call: Call) -> Form:
    """-z."""
    form = call.form("self")
    return Form(form.shape, {j: -m for j, m in form.terms.items()}, -form.bias, form.weighted)


# Products with weights -----------------------------------------------------------------------------------------------


def _single(call: Call, form: Form, name: str) -> Form:
    """A form whose rows may be multiplied by weights without rounding: it picks numbers of one source, or is one."""
    if len(form.terms) == 1 and selects(form):
        return form
    return call.lift.layer(name, form, identity(form.size))


def weighted(call: Call, form: Form, matrix: Matrix, bias: np.ndarray, shape: tuple[int, ...], name: str) -> Form:
    """``matrix @ form + bias`` as a form."""
    if form.constant:  # the signal was overwritten by constants
        if form.bias.any():
            call.lift.round(f"{call.step.name} at {call.at} multiplies constants")
        return constant_form((np.asarray(matrix @ form.bias) + bias).reshape(shape))
    form = _single(call, form, name)
    ((j, picks),) = form.terms.items()
    if form.source() is None:
        csr = picks.tocsr()
        rows = np.repeat(np.arange(form.size), np.diff(csr.indptr))
        if isinstance(matrix, np.ndarray):
            moved = np.zeros((matrix.shape[0], csr.shape[1]))
            moved[:, csr.indices] = matrix[:, rows]
            matrix = moved
        elif sparse.issparse(matrix):
            matrix = sparse.csr_array(matrix @ csr)
        else:
            form = call.lift.layer(name, form, identity(form.size))
            ((j, _),) = form.terms.items()
    return Form(shape, {j: matrix}, np.array(np.broadcast_to(bias, (matrix.shape[0],))), weighted=True)


def _scaled(call: Call, form: Form, factor: np.ndarray, name: str, bias: np.ndarray | float = 0.0) -> Form:
    """Each element times a constant."""
    if form.constant:
        if (form.bias != 0).any() and (factor != 1).any():
            call.lift.round(f"{call.step.name} at {call.at} multiplies constants")
        return Form(form.shape, {}, form.bias * np.broadcast_to(factor, form.shape).reshape(-1) + bias)
    diagonal = np.broadcast_to(factor, form.shape).reshape(-1)
    return weighted(call, form, sparse.diags_array(diagonal, format="csr"), np.asarray(bias), form.shape, name)


def _product(call: Call, a: str, b: str) -> tuple[str, str]:
    """(the argument that depends on the input, the one that does not)."""
    if call.depends(a) and call.depends(b):
        raise call.refuse(f"{call.step.name} of two values that both depend on the input")
    return (a, b) if call.depends(a) else (b, a)


@rule("aten.mul", "aten.multiply")
def mul(call: Call) -> Form:
    """Times a constant."""
    signal, other = _product(call, "self", "other")
    factor = np.asarray(call.tensor(other).numpy(), np.float64)
    return _scaled(call, spread(call.form(signal), call.out.shape), factor, f"{call.at}.{signal}")


@rule("aten.div", "aten.true_divide")
def div(call: Call) -> Form:
    """Divided by a constant."""
    if call.depends("other"):
        raise call.refuse("division by a value that depends on the input")
    if call.args.get("rounding_mode"):
        raise call.refuse("division with rounding, which jumps,")
    by = np.asarray(call.tensor("other").numpy(), np.float64)
    if not powers_of_two(by):
        call.lift.round(f"{call.at} divides by a number that is no power of 2")
    with np.errstate(divide="ignore"):
        factor = 1 / by
    if not np.isfinite(factor).all():
        raise call.refuse("division by zero")
    return _scaled(call, spread(call.form("self"), call.out.shape), factor, f"{call.at}.self")


def powers_of_two(numbers: np.ndarray) -> bool:
    """Whether every number is 0 or a power of two, of either sign."""
    mantissas = np.abs(np.frexp(numbers)[0])
    return bool(((mantissas == 0.5) | (mantissas == 0)).all())


@rule("aten.native_batch_norm", "aten._native_batch_norm_legit_no_training", "aten.batch_norm",
      "aten._native_batch_norm_legit", "aten.cudnn_batch_norm", "aten._batch_norm_no_update")  # fmt: skip
def batch_norm(call: Call) -> list[Form | None]:
    """``(z - mean) / sqrt(var + eps) * weight + bias`` with the running statistics."""
    if call.args.get("training") or call.args.get("train"):
        raise call.refuse("batch norm in training mode, whose statistics depend on the input (call net.eval()),")
    form = call.form("input")
    over = (-1, *(1,) * (len(form.shape) - 2))

    def table(name: str, default: float) -> np.ndarray:
        raw = call.args.get(name)
        return (np.asarray(default) if raw is None else call.tensor(name).numpy()).reshape(-1 if raw is not None else 1)

    scale = table("weight", 1.0) / np.sqrt(table("running_var", 1.0) + float(call.args["eps"]))
    shift = table("bias", 0.0) - table("running_mean", 0.0) * scale
    call.lift.round(f"the batch norm at {call.at} divides by a square root")
    bias = np.broadcast_to(shift.reshape(over), form.shape).reshape(-1)
    return [_scaled(call, form, scale.reshape(over), f"{call.at}.in", bias), None, None]


@rule("aten.addmm", "aten.mm", "aten.linear", "aten.matmul", "aten.mv", "aten.addmv", "aten.dot", "aten.bmm",
      "aten.baddbmm")  # fmt: skip
def matmul(call: Call) -> Form:
    """A product of matrices of which one is constant, plus a bias."""
    names = {"addmm": ("mat1", "mat2"), "mm": ("self", "mat2"), "linear": ("input", "weight"), "mv": ("self", "vec"),
             "addmv": ("mat", "vec"), "dot": ("self", "tensor"), "bmm": ("self", "mat2"),
             "baddbmm": ("batch1", "batch2"), "matmul": ("self", "other")}[call.step.name.rstrip("_")]  # fmt: skip
    signal, other = _product(call, *names)
    bias_name = {"addmm": "self", "linear": "bias", "addmv": "self", "baddbmm": "self"}.get(call.step.name.rstrip("_"))
    weight, out = call.tensor(other).numpy(), call.out.shape
    form = call.form(signal)
    alpha, beta = (call.args.get(k) for k in ("alpha", "beta"))
    if alpha not in (None, 1):
        call.lift.round(f"{call.at} scales its product by {alpha}")
        weight = weight * float(alpha or 0.0)
    matrix = _matmul_matrix(form.shape, weight.T if call.step.name == "linear" else weight, signal == names[0])
    made = weighted(call, form, matrix, np.zeros(1), out, f"{call.at}.{signal}")
    if bias_name is None or call.args.get(bias_name) is None:
        return made
    bias = spread(call.form(bias_name), out)
    if beta not in (None, 1):
        bias = _scaled(call, bias, np.asarray(float(beta or 0.0)), f"{call.at}.{bias_name}")
    return _sum(call, made, bias)


def _matmul_matrix(shape: tuple[int, ...], weight: np.ndarray, left: bool) -> Matrix:
    """The matrix of ``z -> z @ weight`` (left) or ``weight @ z`` on flattened z; z of 1 to 3 axes."""
    if not left and len(shape) == 1:
        return np.ascontiguousarray(weight.reshape(-1, shape[0]))
    if left and weight.ndim <= 2:
        rows = int(np.prod(shape[:-1], dtype=np.int64))
        block = np.ascontiguousarray((weight if weight.ndim == 2 else weight[:, None]).T)
        return block if rows == 1 else _packed(sparse.kron(sparse.eye_array(rows), block, format="csr"))
    if weight.ndim == 2 and len(shape) == 2:  # weight (m, k) @ z (k, n)
        return _packed(sparse.kron(weight, sparse.eye_array(shape[1]), format="csr"))
    batch = shape[0]
    if left:
        blocks = [sparse.kron(sparse.eye_array(shape[-2]), weight[i].T) for i in range(batch)]
    else:
        blocks = [sparse.kron(weight[i], sparse.eye_array(shape[-1])) for i in range(batch)]
    return _packed(sparse.block_diag(blocks, format="csr"))


def _packed(matrix: Any) -> Matrix:
    """Dense where that is small or hardly larger."""
    rows, columns = matrix.shape
    if rows * columns <= DENSE or matrix.nnz * 4 > rows * columns:
        return matrix.toarray()
    return sparse.csr_array(matrix)


@rule("aten.convolution", "aten._convolution", "aten.conv1d", "aten.conv2d", "aten.conv3d", "aten.mkldnn_convolution",
      "aten.thnn_conv2d", "aten._slow_conv2d_forward", "aten.cudnn_convolution")  # fmt: skip
def convolution(call: Call) -> Form:
    """A convolution with constant kernels; transposed ones by their own linear map."""
    if call.depends("weight") or call.depends("bias"):
        raise call.refuse("a convolution whose kernel depends on the input")
    form, out = call.form("input"), call.out.shape
    if call.args.get("transposed"):
        return any_linear(call)
    weight = call.tensor("weight").numpy()
    bias = call.tensor("bias").numpy() if call.args.get("bias") is not None else np.zeros(out[-weight.ndim + 1])
    over = np.broadcast_to(bias.reshape(-1, *(1,) * (weight.ndim - 2)), out).reshape(-1)
    entries = int(np.prod(out, dtype=np.int64)) * int(np.prod(weight.shape[1:], dtype=np.int64))
    if entries > LARGEST:
        return any_linear(call)
    return weighted(call, form, _convolution_matrix(call, form.shape, out, weight), over, out, f"{call.at}.in")


LARGEST = 1 << 25
"""Entries up to which a sparse matrix is written out; beyond, the op itself is run."""


def _convolution_matrix(call: Call, shape: tuple[int, ...], out: tuple[int, ...], weight: np.ndarray) -> Matrix:
    dims = weight.ndim - 2
    sizes, results = shape[-dims:], out[-dims:]
    settings = (each(call.args.get(k), dims, d) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1)))
    grid = spatial_windows(sizes, results, weight.shape[2:], *settings)  # (places, kernel)
    groups = int(call.args.get("groups") or 1)
    per_out, per_in = weight.shape[0] // groups, weight.shape[1]
    area, places, taps = int(np.prod(sizes)), len(grid), grid.shape[1]
    batch = 1 if len(shape) == dims + 1 else shape[0]
    blocks = []
    for g in range(groups):
        columns = over_channels(grid, per_in, area).reshape(per_in, places, taps)
        columns = np.where(columns > 0, columns + g * per_in * area, 0).transpose(1, 0, 2).reshape(places, -1)
        kernels = weight[g * per_out : (g + 1) * per_out].reshape(per_out, 1, -1)
        data = np.broadcast_to(kernels, (per_out, places, per_in * taps))
        index = np.broadcast_to(columns[None], data.shape)
        rows = np.broadcast_to(
            (g * per_out * places + np.arange(per_out * places)).reshape(per_out, places, 1), data.shape
        )
        there = index > 0
        blocks.append((data[there], rows[there], index[there] - 1))
    data, rows, columns = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    one = sparse.csr_array((data, (rows, columns)), shape=(weight.shape[0] * places, per_in * groups * area))
    return _packed(one if batch == 1 else sparse.kron(sparse.eye_array(batch), one, format="csr"))


@rule(
    "aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d", "aten._adaptive_avg_pool2d", "aten._adaptive_avg_pool3d",
    "aten.adaptive_avg_pool1d", "aten.mean", "aten.sum", "aten.cumsum", "aten.col2im", "aten.upsample_nearest1d",
    "aten.upsample_nearest2d", "aten.upsample_nearest3d", "aten._upsample_nearest_exact2d", "aten.upsample_linear1d",
    "aten.upsample_bilinear2d", "aten.upsample_bicubic2d",
)  # fmt: skip
def any_linear(call: Call) -> Form:
    """An op that is linear in its one tensor: its matrix by running it on unit vectors, or the op itself if large."""
    name = "input" if "input" in call.args else "self"
    form = call.form(name)
    if call.step.name == "sum" and form.size == call.out.size:
        return Form(call.out.shape, form.terms, form.bias, form.weighted)
    matrix = linear_matrix(call, name, form.shape, LARGEST)
    entries = matrix if isinstance(matrix, np.ndarray) else getattr(matrix, "data", np.zeros(0))
    if not powers_of_two(np.asarray(entries)) and call.step.name not in {"convolution"}:
        call.lift.round(f"{call.step.name} at {call.at} divides by a number that is no power of 2")
    bias = call.tensor("bias").numpy() if call.args.get("bias") is not None else np.zeros(1)
    if bias.size > 1:
        over = (-1, *(1,) * (len(call.out.shape) - 2))
        bias = np.broadcast_to(bias.reshape(over), call.out.shape).reshape(-1)
    return weighted(call, form, matrix, bias, call.out.shape, f"{call.at}.in")


@rule("aten.native_dropout", "aten.dropout")
def dropout(call: Call) -> list[Form | None]:
    """In eval mode nothing happens; in training mode it is a random draw."""
    if call.args.get("train", True) and float(call.args.get("p") or 0.0) > 0:
        raise call.refuse("dropout in training mode, a random draw (call net.eval()),")
    return [call.form("input"), None]
