"""A text net of one token as a closed form: a table of embeddings, and a formula of the embedding.

A token's id only chooses a row of the table, ``e = E[token]``; from there on a net of ReLUs is piecewise affine, and
each logit is an expression of the numbers e that a reader can follow with a pocket calculator.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from weightwalk.errors import UsageError
from weightwalk.formulas.certificate import Certificate, Check, agreement
from weightwalk.formulas.lifts.lift import Lifted
from weightwalk.formulas.piecewise import PiecewiseNet
from weightwalk.readings.account.tensors import tensor_of
from weightwalk.walks.model import Value

MOST = 4096
"""Tokens on which the certificate runs the net."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """``y = f(E[token])``.

    Attributes:
        name: Of the net.
        tokens: Of the vocabulary, by id.
        table: (tokens, d) float64, E.
        token: Id of the token that was given.
        net: f, a net of the d numbers e0, e1, ...
        values: (tokens, outputs) f of every row of the table.
        certificate: f of the table's rows against the net itself, run on the tokens.
    """

    name: str
    tokens: tuple[str, ...]
    table: np.ndarray
    token: int
    net: PiecewiseNet = field(repr=False)
    values: np.ndarray = field(repr=False)
    certificate: Certificate = field(repr=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the numbers of an embedding: ``e0``, ``e1`` ..."""
        return self.net.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the logits."""
        return self.net.outputs

    @property
    def said(self) -> tuple[int, ...]:
        """Per token, the output that is greatest after it."""
        return tuple(self.values.argmax(1).tolist())

    def expressions(self, digits: int | None = None, style: str = "text") -> tuple[str, ...]:
        """Each output as a nested formula of e0, e1 ...; see `weightwalk.formulas.writing.written.expression`.

        Raises:
            UsageError: The net is too large to be written so.
        """
        from weightwalk.formulas.writing.written import expression

        return tuple(expression(self.net, k, digits=digits, style=style) for k in range(len(self.outputs)))  # type: ignore[arg-type]

    def python(self) -> str:
        """As the source of a function that needs nothing: from a token to the logits."""
        rows = [f"    {t!r}: {tuple(r)!r}," for t, r in zip(self.tokens, self.table.tolist(), strict=True)]
        names = ", ".join(self.inputs) + ("," if len(self.inputs) == 1 else "")
        sums = zip(self.expressions(style="python"), self.outputs, strict=True)
        return "\n".join([
            f'"""{self.name}, as a table of embeddings and a formula of them: every digit, nothing left out."""',
            "",
            f"OUTPUTS = {self.outputs!r}",
            "",
            "E = {",
            *rows,
            "}",
            "",
            "",
            "def f(token):",
            f'    """The numbers {self.outputs[0]} ... after a token."""',
            f"    {names} = E[token]",
            "    return (",
            *(f"        {text},  # {name}" for text, name in sums),
            "    )",
            "",
        ])  # fmt: skip

    def latex(self) -> str:
        """As LaTeX: the table, and an equation per output."""
        from weightwalk.formulas.writing.words import number, symbol

        heads = " & ".join(symbol(name, "latex") for name in self.inputs)
        rows = [
            f"\\text{{{_escaped(t)}}} & {' & '.join(number(v, None, 'latex') for v in r)} \\\\"
            for t, r in zip(self.tokens, self.table.tolist(), strict=True)
        ]
        sums = zip(self.outputs, self.expressions(style="latex"), strict=True)
        return "\n".join([
            f"% {self.name}: a table of embeddings, and a formula of them",
            "\\[",
            f"\\begin{{array}}{{l{'r' * len(self.inputs)}}}",
            f"\\text{{token}} & {heads} \\\\ \\hline",
            *rows,
            "\\end{array}",
            "\\]",
            "\\begin{align*}",
            " \\\\\n".join(f"\\text{{{_escaped(name)}}} &= {text}" for name, text in sums),
            "\\end{align*}",
        ])  # fmt: skip


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "#$%&_{}" else c) for c in text)


def one_token(lifted: Lifted) -> bool:
    """Whether the inputs of a lifted net are the embedding of one token."""
    if not lifted.embedded or len(lifted.sources) != 1:
        return False
    value = lifted.walk.values[lifted.sources[0]]
    return bool(value.shape) and value.shape[-1] == value.size


def table_of(lifted: Lifted) -> np.ndarray:
    """(tokens, d) the table that the one token was looked up in, float64."""
    return tensor_of(lifted.walk, _read(lifted)[0]).to(torch.float64).cpu().numpy()


def _read(lifted: Lifted) -> tuple[Value, Value]:
    """The table and the ids that the embedding was made of."""
    step = lifted.walk.values[lifted.sources[0]].step
    assert step is not None
    values = list(step.inputs())
    ids = next(v for v in values if v.dtype.startswith("int"))
    return next(v for v in values if v.id != ids.id), ids


def lookup(net: Any, lifted: Lifted, *, seed: int = 0) -> Lookup:
    """The closed form of a net that reads one token.

    Args:
        net: From `weightwalk.load_net`, with a tokenizer.
        lifted: Its walk on one token, in piecewise-affine form.
        seed: Kept in the certificate; every token is run, so nothing is drawn.

    Raises:
        UsageError: The net was walked on several tokens, or adds up several embeddings.

    Example:
        >>> import weightwalk as ww
        >>> from weightwalk.formulas.formula import formula
        >>> net = ww.load_net("hello", seed=0)
        >>> found = lookup(net, formula(net, at="hello").lifted)
        >>> found.tokens[found.token], found.table.shape, found.certificate.ok
        ('hello', (5, 2), True)
    """
    if not one_token(lifted):
        raise UsageError(
            f"The closed form with a lookup is for one token and one table of embeddings, and {net.name} was walked on "
            f"more: give one token."
        )
    table = table_of(lifted)
    inner = replace(lifted.net, inputs=tuple(f"e{i}" for i in range(lifted.net.n)))
    values = inner(table)
    token = int(np.asarray(_read(lifted)[1].numpy()).reshape(-1)[0])
    certificate = Certificate((_check(net, values),), seed)
    return Lookup(net.name, tuple(net.tokenizer.tokens)[: len(table)], table, token, inner, values, certificate)


def _check(net: Any, values: np.ndarray) -> Check:
    """The formula of the rows against the module itself, in float64, on the tokens."""
    module = copy.deepcopy(net.module).double()
    count = min(len(values), MOST)
    outs = []
    with torch.no_grad():
        for token in range(count):
            given = net.inputs([token])
            found = module(*given.args, **given.kwargs)
            outs.append(getattr(found, "logits", found).reshape(-1).cpu().numpy())
    wanted = np.array(outs)
    error = float(np.abs(values[:count] - wanted).max(initial=0.0))
    return agreement(f"{count:,} tokens, the net run on each", error, float(np.abs(wanted).max(initial=0.0)))
