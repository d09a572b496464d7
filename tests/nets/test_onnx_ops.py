"""Each ONNX operator against the evaluator that the onnx project itself gives as its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from weightwalk.nets import load_net  # noqa: E402
from weightwalk.nets.onnx_ops import OPERATORS  # noqa: E402


class Case(NamedTuple):
    """One node: operator, shape of its input, the further inputs as constants, settings."""

    op: str
    x: tuple[int, ...]
    more: tuple[Any, ...] = ()
    opset: int = 17
    outputs: int = 1
    settings: dict[str, Any] = {}  # noqa: RUF012


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape)


def node(op: str, x: tuple[int, ...], *more: Any, opset: int = 17, outputs: int = 1, **settings: Any) -> Case:
    return Case(op, x, more, opset, outputs, settings)


IMAGE = (2, 3, 7, 6)
POOL = {"kernel_shape": [3, 2], "strides": [2, 1]}
CASES = [
    *(node(op, (2, 5)) for op in ("Relu", "Abs", "Neg", "Sigmoid", "Tanh", "Exp", "Erf", "Softplus")),
    node("Identity", (2, 5)),
    node("Sqrt", (2, 5)), node("Log", (2, 5)),
    node("LeakyRelu", (2, 5)), node("LeakyRelu", (2, 5), alpha=0.3),
    node("Elu", (2, 5)), node("Elu", (2, 5), alpha=0.5),
    node("Gelu", (2, 5), opset=20), node("Gelu", (2, 5), opset=20, approximate="tanh"),
    node("HardSigmoid", (4, 9)), node("HardSigmoid", (4, 9), alpha=0.5, beta=0.1),
    node("PRelu", (2, 5), np.array([0.2])), node("PRelu", (2, 5), drawn(5)),
    node("PRelu", IMAGE, drawn(3, 1, 1)), node("PRelu", IMAGE, drawn(7, 6)), node("PRelu", IMAGE, drawn(6)),
    node("PRelu", (3, 3), drawn(3, 3)),
    node("Clip", (4, 9), np.array(-0.5), np.array(0.25)), node("Clip", (4, 9), np.array(-0.5)),
    node("Clip", (4, 9), None, np.array(0.25)), node("Clip", (4, 9)),
    node("Clip", (4, 9), opset=7, min=-0.25, max=0.5), node("Clip", (4, 9), opset=7, max=0.5),
    node("Cast", (2, 5), to=TensorProto.FLOAT), node("Cast", (2, 5), to=TensorProto.INT64),
    node("Dropout", (2, 5)), node("Dropout", (2, 5), opset=7, ratio=0.3), node("Dropout", (2, 5), np.array(0.3, "f4")),
    *(node(op, (2, 5), drawn(5)) for op in ("Add", "Sub", "Mul", "Div")),
    *(node(op, (2, 1, 5), drawn(4, 1)) for op in ("Add", "Sub", "Mul", "Div")),
    node("Pow", (2, 5), np.array(3.0)), node("Sum", (2, 5), drawn(5), drawn(2, 1)),
    node("Max", (2, 5), drawn(5), drawn(2, 1)), node("Min", (2, 5), drawn(5)), node("Max", (2, 5)),
    node("MatMul", (2, 5), drawn(5, 3)), node("MatMul", (2, 3, 5), drawn(5, 3)), node("MatMul", (2, 5), drawn(5)),
    node("Gemm", (2, 5), drawn(5, 3), drawn(3)), node("Gemm", (2, 5), drawn(3, 5), drawn(3), transB=1),
    node("Gemm", (2, 5), drawn(3, 5), transB=1), node("Gemm", (5, 2), drawn(5, 3), drawn(2, 1), transA=1),
    node("Gemm", (2, 5), drawn(3, 5), drawn(1), transB=1),
    node("Gemm", (2, 5), drawn(3, 5), drawn(2, 3), transB=1, alpha=0.5, beta=2.0),
    node("BatchNormalization", IMAGE, drawn(3), drawn(3), drawn(3), drawn(3) ** 2),
    node("BatchNormalization", (4, 3), drawn(3), drawn(3), drawn(3), drawn(3) ** 2, epsilon=1e-3),
    node("Softmax", IMAGE), node("Softmax", IMAGE, axis=1),
    node("ReduceSum", IMAGE, ints(1, -1)), node("ReduceSum", IMAGE), node("ReduceSum", IMAGE, ints(2), keepdims=0),
    node("ReduceSum", IMAGE, opset=11, axes=[1, 2]), node("ReduceSum", IMAGE, noop_with_empty_axes=1),
    node("ReduceMean", IMAGE, axes=[1, 3]), node("ReduceMean", IMAGE, ints(2, 3), opset=18, keepdims=0),
    node("ReduceMax", IMAGE, axes=[1, 3]), node("ReduceMax", IMAGE, ints(2), opset=18),
    node("Flatten", IMAGE), node("Flatten", IMAGE, axis=0), node("Flatten", IMAGE, axis=-1),
    node("Flatten", IMAGE, axis=4), node("Flatten", (5,)),
    node("Reshape", IMAGE, ints(2, -1)), node("Reshape", IMAGE, ints(0, 3, 42)), node("Reshape", IMAGE, ints(0, 0, -1)),
    node("Transpose", IMAGE), node("Transpose", IMAGE, perm=[0, 2, 3, 1]),
    node("Squeeze", (1, 3, 1), ints(0)), node("Squeeze", (1, 3, 1), ints(0, -1)), node("Squeeze", (1, 3, 1)),
    node("Squeeze", (1, 3, 1), opset=11, axes=[2]),
    node("Unsqueeze", (2, 3), ints(0, -1)), node("Unsqueeze", (2, 3), ints(3, 1)),
    node("Unsqueeze", (2, 3), opset=11, axes=[1]),
    node("Concat", (2, 5), drawn(2, 3), axis=1), node("Concat", (2, 5), drawn(4, 5), drawn(1, 5), axis=-2),
    node("Split", (6, 2), outputs=2), node("Split", (2, 6), ints(1, 5), outputs=2, axis=1),
    node("Split", (7, 2), outputs=3, opset=18, num_outputs=3), node("Split", (6, 2), outputs=2, opset=11, split=[2, 4]),
    node("Slice", IMAGE, ints(1), ints(3), ints(2)), node("Slice", IMAGE, ints(0, 1), ints(1, -1)),
    node("Slice", IMAGE, ints(1, 0), ints(6, 1 << 60), ints(2, -1), ints(2, 3)),
    node("Slice", IMAGE, ints(-1, 4), ints(-(1 << 60), 1), ints(2, 3), ints(-1, -2)),
    node("Slice", IMAGE, opset=9, starts=[1, 0], ends=[9, -2], axes=[1, 3]),
    node("Gather", (4, 5), ints(2, 0, -1)), node("Gather", (4, 5), np.array([[0, 1], [1, -5]]), axis=1),
    node("Gather", (4, 5), np.array(3)),
    node("Shape", IMAGE), node("Shape", IMAGE, start=1, end=-1),
    node("Pad", (2, 5), ints(1, 0, 0, 2), np.array(7.0)),
    node("Pad", (2, 5), opset=7, pads=[0, 1, 1, 0], value=2.0),
    node("Pad", (2, 5), ints(1, 2), None, ints(1), opset=18),
    *(node("Pad", (3, 5), ints(2, 0, 1, 4), mode=mode) for mode in ("edge", "reflect")),
    node("Pad", (3, 5), ints(2, 0, 1, 4), mode="wrap", opset=19),
    node("Conv", IMAGE, drawn(4, 3, 3, 2), drawn(4)), node("Conv", IMAGE, drawn(4, 3, 3, 2), strides=[2, 1]),
    node("Conv", IMAGE, drawn(6, 1, 3, 3), drawn(6), group=3, pads=[1, 1, 1, 1]),
    node("Conv", IMAGE, drawn(4, 3, 3, 2), pads=[1, 0, 2, 1], dilations=[2, 1]),
    node("Conv", IMAGE, drawn(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    *(node("Conv", IMAGE, drawn(4, 3, 2, 2), auto_pad=kind) for kind in ("SAME_LOWER", "VALID")),
    node("Conv", (2, 3, 8), drawn(4, 3, 3), drawn(4), pads=[1, 1]), node("Conv", (1, 2, 4, 4, 4), drawn(3, 2, 2, 2, 2)),
    node("MaxPool", IMAGE, **POOL), node("MaxPool", IMAGE, **POOL, pads=[1, 1, 1, 1]),
    node("MaxPool", IMAGE, **POOL, pads=[0, 0, 2, 1]), node("MaxPool", IMAGE, **POOL, ceil_mode=1),
    node("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 1]), node("MaxPool", (2, 3, 9), kernel_shape=[3]),
    node("MaxPool", IMAGE, **POOL, auto_pad="SAME_UPPER"),
    node("AveragePool", IMAGE, **POOL), node("AveragePool", IMAGE, **POOL, pads=[1, 1, 1, 1]),
    node("AveragePool", IMAGE, **POOL, pads=[1, 1, 1, 1], count_include_pad=1),
    node("AveragePool", IMAGE, **POOL, pads=[0, 0, 2, 1]), node("AveragePool", IMAGE, **POOL, ceil_mode=1),
    node("AveragePool", IMAGE, **POOL, pads=[0, 0, 2, 1], count_include_pad=1),
    node("GlobalAveragePool", IMAGE), node("GlobalAveragePool", (2, 3, 9)), node("GlobalMaxPool", IMAGE),
]  # fmt: skip


def made(case: Case) -> tuple[Any, np.ndarray]:
    """A model of that one node, its first input free and the others constants; and an input for it."""
    x = np.random.default_rng(5).standard_normal(case.x)
    x = np.abs(x) + 0.1 if case.op in ("Sqrt", "Log") else x
    names = ["x", *("" if m is None else f"c{i}" for i, m in enumerate(case.more))]
    constants = [numpy_helper.from_array(np.asarray(m), f"c{i}") for i, m in enumerate(case.more) if m is not None]
    outputs = [f"y{i}" for i in range(case.outputs)]
    graph = helper.make_graph(
        [helper.make_node(case.op, names, outputs, name="the_node", **case.settings)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, case.x)],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, []) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8)
    return model, x


def told(case: Case) -> str:
    return "-".join([case.op, *(f"{k}={v}" for k, v in case.settings.items()), str(case.opset)])


@pytest.mark.parametrize("case", CASES, ids=told)
def test_an_operator_against_the_reference(case: Case, tmp_path: Path) -> None:
    model, x = made(case)
    onnx.save(model, tmp_path / "one.onnx")
    module = load_net(str(tmp_path / "one.onnx")).module
    with torch.no_grad():
        found = module(torch.from_numpy(x))
    found = [f.numpy() for f in (found if isinstance(found, tuple) else (found,))]
    wanted = [np.asarray(w) for w in ReferenceEvaluator(model).run(None, {"x": x})]
    assert [f.shape for f in found] == [w.shape for w in wanted]
    limit = 1e-7 if case.op in ("Erf", "Gelu") else 1e-12  # the reference computes erf in float32
    for f, w in zip(found, wanted, strict=True):
        assert f.dtype == w.dtype
        assert np.abs(f - w).max() <= limit * max(1.0, np.abs(w).max())


def run(case: Case, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Input and output of a case."""
    model, x = made(case)
    onnx.save(model, folder / "one.onnx")
    with torch.no_grad():
        return x, load_net(str(folder / "one.onnx")).module(torch.from_numpy(x)).numpy()


# What the reference evaluator does not do as its own specification of that version says, by its closed form:


@pytest.mark.parametrize("axis", [0, 1, 2, -2])
def test_softmax_before_opset_13_takes_all_axes_from_one_on_as_one(tmp_path: Path, axis: int) -> None:
    x, found = run(node("Softmax", (2, 3, 4), opset=11, axis=axis), tmp_path)
    rows = np.exp(x).reshape(int(np.prod(x.shape[: axis % 3])), -1)
    wanted = (rows / rows.sum(1, keepdims=True)).reshape(x.shape)
    assert np.abs(found - wanted).max() < 1e-14


def test_batch_norm_of_opset_9_is_inference(tmp_path: Path) -> None:
    scale, shift, mean, variance = drawn(3), drawn(3) + 1, drawn(3) - 1, drawn(3) ** 2
    x, found = run(node("BatchNormalization", (4, 3), scale, shift, mean, variance, opset=9, epsilon=0.25), tmp_path)
    assert np.abs(found - ((x - mean) / np.sqrt(variance + 0.25) * scale + shift)).max() < 1e-13


def test_negative_padding_cuts(tmp_path: Path) -> None:
    x, found = run(node("Pad", (2, 5), ints(0, -1, 1, 2)), tmp_path)
    assert np.array_equal(found, np.pad(x[:, 1:], ((0, 1), (0, 2))))


def test_every_operator_has_a_case() -> None:
    assert {case.op for case in CASES} == set(OPERATORS)
