"""A task's net with given weights as a net to be walked: with names for its tokens and inputs as people give them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from weightwalk.language.tokenizers import WordTokenizer
from weightwalk.learning.tasks import Task
from weightwalk.nets.inputs import expectation
from weightwalk.nets.net import Net


def net_of_task(task: Task, module: nn.Module, **provenance: Any) -> Net:
    """The net `module`, made and trained by `task`.

    Args:
        task: Its data say whether it takes token ids or numbers, and give names to classes.
        module: With the weights that it is to be walked with.
        provenance: Where these come from, such as ``seed=137``.
    """
    inputs, classes = task.data.inputs, task.data.classes
    expects = replace(expectation(module), batched=inputs.dim() > 1)
    labels: dict[str, Any] = {}
    tokenizer = None
    if expects.ids and inputs.dim() == 1 and classes and int(inputs.max()) < len(classes):
        tokenizer = WordTokenizer(tuple(classes))
        labels = {"vocab": list(classes), "logits": {-1: list(classes), -2: "tokens"}}
        labels |= {"embed.weight": {0: list(classes)}, "logits.weight": {0: list(classes)}}
        labels["logits.bias"] = {0: list(classes)}
    told = {"kind": "task", "net": task.name, **provenance}
    return Net(task.name, module.eval(), task.description, expects, labels, tokenizer, told)


def row_as_input(task: Task, row: int) -> Any:
    """A training row as what a person would type; as a tensor where there is no typing it."""
    x = task.data.inputs[row]
    if x.dim() == 0 and task.data.classes and not x.is_floating_point() and int(x) < len(task.data.classes):
        return task.data.classes[int(x)]
    if x.dim() == 1 and x.is_floating_point() and len(x) <= 64:
        return ", ".join(repr(v) for v in x.tolist())
    return task.data.inputs[row : row + 1]
