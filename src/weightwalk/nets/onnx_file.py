"""Networks in ONNX files, run node by node in torch.

A file is data: no node is run whose operator is not in `OPERATORS`, nothing in it can name code, and data beside it is
read from the file's own folder only. Format: https://onnx.ai/onnx/repo-docs/IR.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.nets.inputs import Expects
from weightwalk.nets.net import Net
from weightwalk.nets.onnx_graph import Graph
from weightwalk.nets.onnx_ops import OPERATORS, PLAIN, Spec

OLDEST = 7
"""The first operator set with today's broadcasting."""

DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64,
}  # fmt: skip


def onnx_net(path: Path) -> Net:
    """The network in an ``.onnx`` file, its parameters and modules named as in the file.

    Raises:
        UsageError: The library ``onnx`` is missing; no such file, a damaged one, one with an operator or type that is
            not run here, or one that reaches for data outside its folder.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r}.")
    try:
        import onnx
    except ImportError:
        raise UsageError("ONNX files need the library onnx: pip install 'weightwalk[onnx]'.") from None
    model = _read(onnx, path)
    opset = _opset(model, path)
    constants = _constants(onnx, model, path)
    module = _graph(onnx, model, opset, constants, path).eval()
    inputs = [i for i in model.graph.input if i.name not in constants]
    producer = re.sub(r"[^\w .+-]", "", f"{model.producer_name} {model.producer_version}"[:60]).strip()
    return Net(
        path.name,
        module,
        f"ONNX graph of {len(model.graph.node):,} nodes, {sum(p.numel() for p in module.parameters()):,} parameters",
        _expects(inputs, path),
        provenance={
            "kind": "onnx", "source": str(path), "opset": opset, "producer": producer, "torch": torch.__version__,
        },
    )  # fmt: skip


def _read(onnx: Any, path: Path) -> Any:
    """The model, its data beside it included, checked by the library.

    A damaged file makes protobuf and onnx raise errors of many classes, which share none but Exception.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    outside = [t for t in _tensors(onnx, model) if t.data_location == onnx.TensorProto.EXTERNAL]
    for tensor in outside:
        _check_location(tensor, path)
    try:
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent.resolve()))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
        onnx.checker.check_model(model)
    except Exception as error:
        raise _damaged(path, str(error)) from None
    return model


def _tensors(onnx: Any, model: Any) -> Iterator[Any]:
    """Every tensor that is stored in the graph."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _check_location(tensor: Any, path: Path) -> None:
    """Data beside the file must lie in its folder, also after links are followed."""
    where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
    folder = path.parent.resolve()
    inside = bool(where) and not Path(where).is_absolute() and ".." not in re.split(r"[\\/]", where)
    target = (folder / where).resolve() if inside else folder
    if not inside or folder not in target.parents:
        raise UsageError(
            f"{str(path)!r} is not loaded: its tensor {tensor.name!r} would be read from {where!r}, outside the "
            "file's folder."
        )
    if not target.is_file():
        raise UsageError(f"{str(path)!r} keeps its numbers in {where!r}, which is not there: put both in one folder.")


def _opset(model: Any, path: Path) -> int:
    if model.functions:
        raise UsageError(
            f"{str(path)!r} holds functions of its own ({model.functions[0].name!r}), which are not run here: "
            "write it anew with onnx.inliner.inline_local_functions."
        )
    found = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if found is None or found < OLDEST:
        raise UsageError(
            f"{str(path)!r} is written for operator set {found} of ONNX, and the oldest that is run here is {OLDEST}: "
            "bring it up with onnx.version_converter.convert_version."
        )
    return found


def _constants(onnx: Any, model: Any, path: Path) -> dict[str, Tensor]:
    """Initializers and constant nodes by name."""
    if model.graph.sparse_initializer:
        raise UsageError(f"{str(path)!r} holds sparse tensors, which are not read here.")
    found = {t.name: _tensor(onnx, t, path) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            found[node.output[0]] = _constant(onnx, node, path)
    return found


def _constant(onnx: Any, node: Any, path: Path) -> Tensor:
    """What a constant node gives, in whichever of its forms it is written."""
    attribute = node.attribute[0]
    if attribute.name == "value":
        return _tensor(onnx, attribute.t, path)
    kinds = {"value_float": torch.float32, "value_floats": torch.float32}
    kinds |= {"value_int": torch.int64, "value_ints": torch.int64}
    if attribute.name not in kinds:
        raise UsageError(f"{str(path)!r} holds the constant {node.output[0]!r} as {attribute.name}: it is no tensor.")
    value = onnx.helper.get_attribute_value(attribute)
    return torch.tensor(list(value) if attribute.name.endswith("s") else value, dtype=kinds[attribute.name])


def _tensor(onnx: Any, tensor: Any, path: Path) -> Tensor:
    if tensor.data_type not in DTYPES:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in range(1, 30) else "unknown"
        raise UsageError(f"{str(path)!r} holds the tensor {tensor.name!r} of type {kind}, which is not read here.")
    try:
        return torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
    except Exception as error:
        raise _damaged(path, f"tensor {tensor.name!r}: {error}") from None


def _graph(onnx: Any, model: Any, opset: int, constants: dict[str, Tensor], path: Path) -> Graph:
    """Specs of all nodes; constants that decide a shape go into the node, the others become tensors of the module."""
    unknown = sorted({_kind(n) for n in model.graph.node if _kind(n) not in OPERATORS and _kind(n) != "Constant"})
    if unknown:
        raise UsageError(
            f"{str(path)!r} has operators that are not run here: {', '.join(unknown)}. "
            f"Those that are: {', '.join(sorted(OPERATORS))}."
        )
    nodes, trained, data = [], set(), {o.name for o in model.graph.output}
    for i, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            continue
        attributes = {a.name: _value(onnx, a) for a in node.attribute}
        outputs = max((k for k, name in enumerate(node.output, 1) if name), default=1)
        spec = Spec(node.op_type, node.name or f"{node.op_type}_{i + 1}", opset, attributes, outputs)
        plain = PLAIN.get(node.op_type, frozenset())
        fixed = {k: constants[name].tolist() for k, name in enumerate(node.input) if k in plain and name in constants}
        nodes.append((spec, list(node.input), list(node.output), fixed))
        read = {name for k, name in enumerate(node.input) if name in constants and k not in fixed}
        statistics = set(node.input[3:5]) if node.op_type == "BatchNormalization" else set()
        trained |= read - statistics
        data |= read
    tensors = {}
    for name, tensor in constants.items():
        if name in data:
            weights = name in trained and tensor.is_floating_point()
            tensors[name] = nn.Parameter(tensor) if weights else tensor
    inputs = [i.name for i in model.graph.input if i.name not in constants]
    return Graph(inputs, [o.name for o in model.graph.output], tensors, nodes)


def _kind(node: Any) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _value(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if not isinstance(value, (int, float, str)) and hasattr(value, "__len__") else value


def _expects(inputs: list[Any], path: Path) -> Expects:
    """Type and shapes of the graph's inputs; -1 where any length will do."""
    shapes, dtypes = [], []
    for given in inputs:
        kind = given.type.tensor_type
        if kind.elem_type not in DTYPES:
            raise UsageError(f"{str(path)!r} takes {given.name!r}, of type {kind.elem_type}, which is not run here.")
        dtypes.append(DTYPES[kind.elem_type])
        if kind.HasField("shape"):
            shapes.append(tuple(d.dim_value if d.dim_value > 0 else -1 for d in kind.shape.dim))
    if not inputs:
        raise UsageError(f"{str(path)!r} takes no input: every input of its graph has a value in the file.")
    if len(inputs) == 1:
        size = math.prod(abs(s) for s in shapes[0]) if shapes else None
        return Expects(dtypes[0], size=size, shapes=tuple(shapes), batched=False, what="this graph")
    return Expects(next((d for d in dtypes if d.is_floating_point), torch.float32), shapes=tuple(shapes))


def _damaged(path: Path, why: str) -> UsageError:
    return UsageError(f"{str(path)!r} is no ONNX model, or a damaged one ({' '.join(why.split())[:200].rstrip('.')}).")
