"""What of an exported program (.pt2) may be handed to ``torch.export.load``.

That function was not made for files from strangers: it unpickles where the file asks for it, evaluates size expressions
as Python (through SymPy), imports what a tree spec names, compiles guards given as source, resolves any dotted name
below ``torch`` as an operator, and pastes node names into generated code. So nothing goes to it that did not pass here:
each string has to look like what it should be, operators are PyTorch's own, tensors are raw bytes, and what is not
needed is dropped. The archive is then written anew from what passed, so that no second reader can see another file.
"""

from __future__ import annotations

import ast
import io
import json
import re
from typing import Any

import torch

from weightwalk.errors import UsageError

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|", re.ASCII)
TEXT = re.compile(r"[\w.@\- /:+]*", re.ASCII)
STACK = re.compile(r"[\w.@\- /:+,;<>\[\]]*", re.ASCII)

TARGETS = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!(from_file|save)\b)[A-Za-z_]\w*(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|associative_scan|wrap_with_set_grad_enabled"
    r"|wrap_with_autocast)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|neg|pos|pow|eq|ne|lt|le|gt|ge|and_|or_|not_|abs|getitem)"
    r"|math\.[a-z0-9]+|torch\._?sym_[a-z_]+",
    re.ASCII,
)
"""PyTorch's own operators, and arithmetic on sizes. `from_file` and `save` touch files, and no network needs them."""

FUNCTIONS = re.compile(
    "Symbol|Integer|Rational|Float|Add|Mul|Pow|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Mod|floor|ceiling|FloorDiv"
    "|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow"
    "|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat"
    "|Identity|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|Equality|Unequality"
)
SYMBOL = re.compile(r"(z?[suf]|zf)\d+|oo|int_oo|true|false|True|False", re.ASCII)
TREES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
NAMED = frozenset({"name", "as_name"})
NODES = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.BoolOp, ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip


def sieve_json(data: bytes, where: str) -> bytes:
    """A part of the archive that is JSON: checked through and written anew, without what may be left out.

    Raises:
        UsageError: It holds something that is not plainly data of a network.
    """
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The exported program is damaged: {where} is not valid JSON ({error}).") from None
    return json.dumps(_checked(tree, where)).encode()


def sieve_tensors(data: bytes, where: str) -> bytes:
    """A part of the archive that ``torch.save`` wrote: tensors in plain containers, or refused.

    Raises:
        UsageError: It could only be read by unpickling objects.
    """
    if not data:
        return data
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(f"{where} can only be read by unpickling ({type(error).__name__})") from None
    return data


def _checked(tree: Any, key: str) -> Any:
    """`tree` with every string checked against what stands under `key`."""
    if isinstance(tree, dict):
        return _checked_dict(tree, key)
    if isinstance(tree, list):
        return [_checked(item, key) for item in tree]
    if isinstance(tree, str):
        return _checked_string(tree, key)
    return tree


def _checked_dict(tree: dict[str, Any], key: str) -> dict[str, Any]:
    if key == "metadata":
        # Notes of the exporter. Of these only the module path is of use, and it must look like one.
        stack = tree.get("nn_module_stack")
        return {"nn_module_stack": stack} if isinstance(stack, str) and STACK.fullmatch(stack) else {}
    if tree.get("use_pickle"):
        raise _refusal(f"{tree.get('path_name', 'a tensor')!r} is stored as a pickle")
    result = {}
    for name, item in tree.items():
        if not TEXT.fullmatch(name):
            raise _refusal(f"{name!r} is not a name")
        if name in ("as_custom_obj", "custom_obj", "custom_obj_values", "script_object_payloads") and item:
            raise _refusal("it holds an object that is not a tensor")
        if name in ("guards_code", "treespec_namedtuple_fields"):
            if name == "treespec_namedtuple_fields" and item:
                raise _refusal("it returns or takes a named tuple, whose class would have to be imported")
            item = type(item)()  # guards are source code, and the net computes the same without them
        result[name] = _checked(item, name)
    return result


def _checked_string(text: str, key: str) -> str:
    if key in ("target", "as_operator"):
        if not TARGETS.fullmatch(text):
            raise _refusal(f"{text!r} is not one of PyTorch's own operators")
    elif key == "expr_str":
        _check_expression(text)
    elif key in ("in_spec", "out_spec"):
        _check_spec(text)
    elif key in NAMED:
        if not IDENTIFIER.fullmatch(text):
            raise _refusal(f"the name {text!r} is not an identifier")
    elif key == "path_name":
        if not re.fullmatch(r"(weight|tensor)_\d+", text, re.ASCII):
            raise _refusal(f"{text!r} is not a tensor")
    elif key in ("as_string", "as_strings"):
        pass  # an argument of an operator, and quoted wherever it goes
    elif not TEXT.fullmatch(text):
        raise _refusal(f"{text!r} does not belong under {key!r}")
    return text


def _check_expression(text: str) -> None:
    """Sizes such as ``Symbol('s0', positive=True)`` or ``2*s0 + 1``, and nothing that could do more than compute."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) < 2000 else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        fine = isinstance(node, NODES)
        if isinstance(node, ast.Name):
            fine = bool((FUNCTIONS if id(node) in calls else SYMBOL).fullmatch(node.id))
        elif isinstance(node, ast.Call):
            fine = isinstance(node.func, ast.Name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            fine = bool(SYMBOL.fullmatch(node.value))
        elif isinstance(node, ast.Constant):
            fine = isinstance(node.value, (int, float))
        if not fine:
            nodes = []
            break
    if not nodes:
        raise _refusal(f"{text[:60]!r} is not the expression of a size")


def _check_spec(text: str) -> None:
    """How inputs and outputs are nested: tuples, lists and mappings with plain keys."""
    try:
        _, tree = json.loads(text)
        _check_tree(tree)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _refusal("its nesting of inputs and outputs cannot be read") from None


def _check_tree(tree: dict[str, Any]) -> None:
    if tree["type"] not in TREES:
        raise _refusal(f"it takes or returns a {tree['type']}, where only tuples, lists and mappings can be read")
    if tree["context"] is not None:
        context = json.loads(tree["context"])
        keys = context if isinstance(context, list) else [] if context is None else [context]
        if any(not isinstance(k, (str, int)) or not TEXT.fullmatch(str(k)) for k in keys):
            raise _refusal("a key of its inputs or outputs is not a plain name")
    for child in tree["children_spec"]:
        _check_tree(child)


def _refusal(reason: str) -> UsageError:
    return UsageError(
        f"The exported program is not loaded, for it could run code: {reason}. "
        "Name the model itself as package.module:object if you trust it."
    )
