"""What a network is to the rest of the house: something to run, the names on its axes, and where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from weightwalk.language.tokenizers import Tokenizer
from weightwalk.nets.digest import weights_digest
from weightwalk.nets.inputs import Expects, Inputs, read_input

if TYPE_CHECKING:
    from weightwalk.learning.train import History

Labels = Mapping[str, Any]
"""Names for the axes of a walk's values: ``"tokens"`` (one string per position), ``"vocab"`` (one per token id), and
for any address a mapping from axis to names, such as ``{"logits": {-1: ["hello", "world"]}}``. In a net's own labels
the word ``"tokens"`` stands in place of names that only an input can give."""


@dataclass(frozen=True, eq=False)
class Net:
    """A network that can be walked.

    Attributes:
        name: What the user called it.
        module: The ``nn.Module`` in eval mode, or a function on tensors.
        description: One line.
        expects: What its input looks like.
        labels: See `Labels`; what holds for every input.
        tokenizer: For text nets.
        provenance: Where it came from: kind, seed, recipe, file ...
        history: Its training, where it was trained here.
        remembered: Whether that was an earlier one, recalled from the cache (not part of the provenance, for the net is
            the same either way).
    """

    name: str
    module: Callable[..., Any] = field(repr=False)
    description: str
    expects: Expects
    labels: Labels = field(default_factory=dict, repr=False)
    tokenizer: Tokenizer | None = field(default=None, repr=False)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = field(default=None, repr=False)
    remembered: bool = field(default=False, repr=False)

    @property
    def dtype(self) -> str:
        """The type of its weights, ``"float32"`` for instance; of its input where it has no weights."""
        if isinstance(self.module, nn.Module):
            for parameter in self.module.parameters():
                if parameter.is_floating_point():
                    return str(parameter.dtype).removeprefix("torch.")
        return str(self.expects.dtype).removeprefix("torch.")

    @cached_property
    def sha256(self) -> str:
        """Digest of all weights and buffers: names, types, shapes and bytes. Computed when first asked for."""
        return weights_digest(self.module.state_dict()) if isinstance(self.module, nn.Module) else weights_digest({})

    def inputs(self, given: object) -> Inputs:
        """What to call `module` with, from numbers, text, token ids, arrays or ``"@file"``; see `read_input`.

        Raises:
            UsageError: The input cannot be read, or does not fit this net.
        """
        return read_input(given, self.expects, self.tokenizer, self.labels)
