"""What can only be said once the whole is known: which steps were the loss, and for whom each update step worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from weightwalk.walks.model import Argument, Call, Ref, Step, Value, leaves


def mark_loss(steps: list[Step], calls: Sequence[Call]) -> None:
    """Mark the loss: steps of loss modules, and what ran outside every module between the model and backward."""
    backward = next((s.index for s in steps if s.phase == "backward"), None)
    model_end = max((c.last for c in calls if c.parent == -1 and c.path == ""), default=None)
    in_loss = {c.index for c in calls if c.type.endswith("Loss")}
    for s in steps:
        between = backward is not None and model_end is not None and model_end <= s.index < backward and s.call == -1
        if s.phase == "forward" and (between or s.call in in_loss):
            steps[s.index] = replace(s, phase="loss")


def name_updates(steps: list[Step], values: Sequence[Value], given: Mapping[str, int]) -> None:
    """Give each update step the name of the parameter that it works for, so that it can be found.

    The parameters and their optimizer state have names; from them the name spreads back over the steps that led there.
    """
    parameters = {name for name, vid in given.items() if values[vid].kind == "parameter"}
    owner: dict[int, str] = {}
    for name, vid in given.items():
        stem = name if name in parameters else name.rpartition(".")[0]
        if stem in parameters:
            owner.setdefault(vid, stem)
    for s in reversed(steps):
        if s.phase != "update":
            continue
        ids = _ids(s.outputs)
        name = next((owner[i] for i in (*(old for old, _ in s.written), *ids) if i in owner), None)
        if name is None:
            continue
        steps[s.index] = replace(s, module=name)
        for i in _ids((*s.args, *s.kwargs.values())):
            maker = values[i].producer
            if maker is None or steps[maker].phase == "update":
                owner.setdefault(i, name)
        for i in ids:
            owner.setdefault(i, name)


def _ids(tree: Argument) -> list[int]:
    return [leaf.value for leaf in leaves(tree) if isinstance(leaf, Ref)]
