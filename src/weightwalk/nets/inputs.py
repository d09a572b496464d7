"""Input as people give it, made into the tensors that a net takes.

A string is text for a text net and numbers for any other: ``2.0``; ``1, 2, 3``; rows parted by ``;``. ``ids:464,3139``
gives a text net its token ids directly. ``@file`` reads .npy, .json, .txt or .safetensors. From Python, numbers, lists,
NumPy arrays and tensors are taken as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from weightwalk.errors import UsageError
from weightwalk.language.tokenizers import Tokenizer
from weightwalk.nets.files import read_file


class Inputs(NamedTuple):
    """How to call a net: ``net.module(*args, **kwargs)``, and the names on the axes of what comes of it."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expects:
    """What a net's input looks like, as far as that is known.

    Attributes:
        dtype: Type of the input tensor: int64 for token ids.
        size: Length of axis `axis`: features of a linear layer, channels of a convolution.
        axis: The axis that `size` speaks of.
        dims: Number of axes, where a plain list of numbers cannot do.
        limit: For token ids: they must be below it.
        longest: For token ids: how many the net has positions for.
        batched: Whether token ids get a batch axis in front: (1, T) instead of (T,).
        sure: Whether `size` is certain, not merely read off the first layer (whose input may not be the net's).
        key: Keyword under which the input is passed; None for a positional argument.
        extra: Further keyword arguments of every call.
        what: Who says so, for messages: ``"its first layer, fc1,"``.
        shapes: Shapes of the example inputs of an exported program; -1 where any length will do.
        names: Names of the numbers along the last axis, where the net has some.
        box: (least, greatest) of each of these, where the net says for which inputs it was made.
    """

    dtype: torch.dtype = torch.float32
    size: int | None = None
    axis: int = -1
    dims: int | None = None
    limit: int | None = None
    longest: int | None = None
    batched: bool = True
    sure: bool = False
    key: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    what: str = "this net"
    shapes: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()
    box: tuple[tuple[float, float], ...] = ()

    @property
    def ids(self) -> bool:
        """Whether the input is token ids."""
        return not self.dtype.is_floating_point and not self.dtype.is_complex and self.dtype is not torch.bool


def expectation(module: object) -> Expects:
    """Read off the first layer what a net takes; an empty `Expects` where that does not tell."""
    if not isinstance(module, nn.Module):
        return Expects()
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    sure = isinstance(module, (nn.Sequential, nn.Linear, nn.Embedding))
    for name, layer in module.named_modules():
        if any(True for _ in layer.children()):
            continue
        what = f"its first layer, {name}," if name else "this layer"
        if isinstance(layer, nn.Embedding):
            return Expects(torch.int64, limit=layer.num_embeddings, what=what, sure=sure)
        if isinstance(layer, nn.Linear):
            return Expects(dtype, size=layer.in_features, what=what, sure=sure)
        if isinstance(layer, nn.RNNBase):
            return Expects(dtype, size=layer.input_size, what=what)
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            dims = len(layer.kernel_size)
            return Expects(dtype, size=layer.in_channels, axis=-1 - dims, dims=dims + 2, what=what, sure=sure)
        if next(layer.parameters(), None) is not None:
            break
    return Expects(dtype)


def read_input(
    given: object, expects: Expects, tokenizer: Tokenizer | None = None, labels: Mapping[str, Any] | None = None
) -> Inputs:
    """Make what a person gave into the arguments of a call.

    Args:
        given: Text, numbers or ``"@file"`` in a string; or a number, list, array, tensor; or a mapping from keyword to
            one of these for a net with several inputs.
        expects: What the net takes.
        tokenizer: For text nets.
        labels: The net's own labels, to which those of this input are added.

    Raises:
        UsageError: The input cannot be read, or does not fit.
    """
    named = dict(labels or {})
    if isinstance(given, str) and given.startswith("@"):
        given = read_file(given[1:])
    if isinstance(given, Mapping):
        if not given:
            raise UsageError("The input names no tensor: it is empty.")
        return Inputs((), {str(k): _loose(v, expects) for k, v in given.items()} | dict(expects.extra), named)
    if tokenizer is not None and isinstance(given, str) and not given.startswith("ids:"):
        tensor = _checked_ids(torch.tensor(tokenizer.encode(given), dtype=torch.int64), expects)
    elif isinstance(given, str):
        if expects.ids and not given.startswith("ids:") and not re.match(r"\s*[-+\d]", given):
            raise UsageError(
                f"This net takes token ids and came without a tokenizer that can be loaded, so it cannot read the text "
                f"{_short(given)}: give ids, such as 464,3139."
            )
        tensor = _fitted(_numbers(given.removeprefix("ids:"), expects), expects, typed=True)
    else:
        tensor = _fitted(_array(given), expects, typed=False)
    if expects.ids and tokenizer is not None:
        named |= _token_labels(tensor, tokenizer, named)
    if expects.ids and expects.batched and tensor.dim() == 1:
        tensor = tensor[None]
    if expects.key is not None:
        return Inputs((), {expects.key: tensor, **expects.extra}, named)
    return Inputs((tensor,), dict(expects.extra), named)


def _token_labels(ids: Tensor, tokenizer: Tokenizer, named: Mapping[str, Any]) -> dict[str, Any]:
    """The surface of each position, as ``"tokens"`` and on the axes that the net marks with the word ``"tokens"``."""
    tokens = [tokenizer.tokens[i] for i in ids.reshape(-1).tolist()] if ids.dim() == 1 or len(ids) == 1 else []
    result: dict[str, Any] = {"tokens": tokens}
    for address, axes in named.items():
        if isinstance(axes, Mapping):
            result[address] = {axis: tokens if names == "tokens" else names for axis, names in axes.items()}
    return result


def _numbers(text: str, expects: Expects) -> Tensor:
    """``"1,2;3,4"`` -> a tensor (2, 2); one row gives a vector."""
    rows = [re.findall(r"[^,\s]+", row) for row in re.split(r"[;\n]", text.strip().rstrip(";"))]
    if not any(rows):
        raise UsageError(f"The input is empty; {_wants(expects)}.")
    if len({len(row) for row in rows}) > 1:
        raise UsageError(f"The rows of the input differ in length: {', '.join(str(len(row)) for row in rows)}.")
    parse = _integer if expects.ids else _float
    values = [[parse(word, expects) for word in row] for row in rows]
    return _cast(np.asarray(values if len(values) > 1 else values[0]), expects)


def _float(word: str, expects: Expects) -> float:
    try:
        value = float(word) if "_" not in word else None
    except ValueError:
        value = None
    if value is None:
        raise UsageError(f"{word!r} is not a number; {_wants(expects)}.")
    if math.isinf(value) and "inf" not in word.lower():
        raise UsageError(f"{word} is too large for a float64; write inf if infinity is meant.")
    return value


def _integer(word: str, expects: Expects) -> int:
    if not re.fullmatch(r"[-+]?\d{1,18}", word):
        raise UsageError(f"{word!r} is not a token id; {_wants(expects)}.")
    return int(word)


def _array(given: object) -> Tensor:
    """Anything array-like from Python."""
    if isinstance(given, Tensor):
        return given.detach()
    if isinstance(given, (bool, int, float, Sequence, np.ndarray, np.generic)) and not isinstance(given, (str, bytes)):
        try:
            array = np.asarray(given)
        except ValueError as error:
            raise UsageError(f"The input's rows differ in length, so it is no array: {error}.") from None
        if array.dtype.kind in "biufc":
            return torch.from_numpy(np.array(array, order="C"))
    raise UsageError(
        f"The input is a {type(given).__name__}; expected numbers, text, an array, a tensor, or @file "
        "(.npy, .json, .txt, .safetensors)."
    )


def _cast(numbers: Tensor | np.ndarray, expects: Expects) -> Tensor:
    """To the net's own type, refusing what that type cannot hold."""
    tensor = torch.from_numpy(numbers) if isinstance(numbers, np.ndarray) else numbers
    if expects.ids and (tensor.is_complex() or not bool((tensor == tensor.trunc()).all())):
        raise UsageError(f"Token ids are whole numbers, and the input holds others; {_wants(expects)}.")
    cast = tensor.to(expects.dtype)
    if cast.is_floating_point() and not tensor.is_complex():
        lost = torch.isinf(cast) & ~torch.isinf(tensor)
        if bool(lost.any()):
            name = str(expects.dtype).removeprefix("torch.")
            raise UsageError(f"{tensor[lost][0].item()} is too large for this net's numbers, which are {name}.")
    return cast


def _loose(given: object, expects: Expects) -> Tensor:
    """One of several named inputs: floats take the net's type, integers stay."""
    tensor = _array(given)
    return tensor.to(expects.dtype) if tensor.is_floating_point() and expects.dtype.is_floating_point else tensor


def _fitted(tensor: Tensor, expects: Expects, *, typed: bool) -> Tensor:
    """Give a plain list of numbers the shape that the net takes, and check what has a shape already."""
    tensor = _cast(tensor, expects)
    if len(expects.shapes) > 1:
        raise UsageError(
            f"This program takes {len(expects.shapes)} inputs of shapes "
            f"{', '.join(map(str, expects.shapes))}: give them by name, in @file.safetensors or @file.json."
        )
    if expects.shapes:
        return _shaped_like(tensor, expects.shapes[0])
    if expects.ids:
        return _checked_ids(tensor.reshape(1) if tensor.dim() == 0 else tensor, expects)
    if expects.size is None:
        return tensor.reshape(1) if typed and tensor.dim() == 0 else tensor
    if expects.dims is None and tensor.dim() < 2:
        if tensor.numel() % expects.size or tensor.numel() == 0:
            raise UsageError(f"The input has {tensor.numel()} numbers; {_wants(expects)}.")
        return tensor.reshape(-1, expects.size)
    if expects.dims is not None and tensor.dim() == expects.dims - 1:
        tensor = tensor[None]
    short = tensor.dim() < -expects.axis
    wrong = short or tensor.shape[expects.axis] != expects.size or tensor.dim() != (expects.dims or tensor.dim())
    if wrong and (typed or expects.sure or short):
        raise UsageError(f"The input has shape {tuple(tensor.shape)}; {_wants(expects)}.")
    return tensor


def _shaped_like(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Fit the numbers to an example's shape, in which -1 is any length."""
    if tensor.dim() == len(shape) and all(b in (-1, a) for a, b in zip(tensor.shape, shape, strict=True)):
        return tensor
    if tensor.dim() <= 1 and shape.count(-1) <= 1:
        fixed = math.prod(s for s in shape if s != -1)
        if (fixed and tensor.numel() % fixed == 0 and -1 in shape) or tensor.numel() == fixed:
            return tensor.reshape(shape)
    wanted = "(" + ", ".join("any" if s == -1 else str(s) for s in shape) + ")"
    raise UsageError(f"The input has shape {tuple(tensor.shape)}; this program was exported for {wanted}.")


def _checked_ids(ids: Tensor, expects: Expects) -> Tensor:
    if ids.numel() == 0:
        raise UsageError("The input holds no token; give at least one.")
    if expects.longest is not None and ids.shape[-1] > expects.longest:
        raise UsageError(
            f"The input has {ids.shape[-1]} tokens, and this net has positions for {expects.longest}: shorten it."
        )
    if expects.limit is not None:
        wrong = ids[(ids < 0) | (ids >= expects.limit)]
        if wrong.numel():
            raise UsageError(
                f"The token id {wrong.reshape(-1)[0].item()} does not exist: "
                f"{expects.what} knows ids from 0 to {expects.limit - 1}."
            )
    return ids


def _wants(expects: Expects) -> str:
    """What would have been right, for the end of a message."""
    if expects.ids:
        top = "" if expects.limit is None else f" from 0 to {expects.limit - 1}"
        return f"{expects.what} takes token ids{top}, such as 0,1,2"
    if expects.size is None:
        return "numbers look like 2.0 or 1,2,3; or give @file"
    if expects.dims is not None:
        rest = ", ".join({3: "L", 4: "HW", 5: "DHW"}[expects.dims])
        return f"{expects.what} takes shape (N, {expects.size}, {rest}): give it as @file.npy"
    if expects.size == 1:
        return f"{expects.what} takes 1 number at a time, such as 2.0"
    example = ",".join(["1", "2", "3", "..."][: min(4, expects.size)])
    return f"{expects.what} takes {expects.size} numbers at a time, such as {example}"


def _short(text: str, most: int = 40) -> str:
    return repr(text if len(text) <= most else text[: most - 3] + "...")
