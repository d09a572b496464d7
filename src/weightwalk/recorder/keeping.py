"""`keep=`: which values of a recording are stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from weightwalk.errors import UsageError
from weightwalk.recorder.mode import CallEvent, Keeper
from weightwalk.walks.address import glob_regex


def keeper_for(keep: Sequence[str] | str | None) -> Keeper | None:
    """The keeper that stores what `keep` names; None stores everything.

    Raises:
        UsageError: `keep` is no text or list of texts.
    """
    if keep is None:
        return None
    patterns = [keep] if isinstance(keep, str) else list(keep) if isinstance(keep, Iterable) else [keep]
    if any(not isinstance(p, str) or not p.strip() for p in patterns):
        raise UsageError(f"keep= takes addresses or globs such as ['h.*.mlp', 'h.3.attn/softmax'], not {keep!r}.")
    patterns = [p.split("[")[0] for p in patterns]
    modules = [glob_regex(p.removesuffix(".out")) for p in patterns if "/" not in p]
    ops = [glob_regex(p) for p in patterns if "/" in p]

    def module_wanted(call: CallEvent, part: str) -> bool:
        path = call.path or "out"
        name = path if call.nth == 1 else f"{path}#{call.nth}"
        name = name if part == "out" else f"{name}.in"
        return _any(modules, name) or (not call.path and _any(modules, "logits" if part == "out" else "in"))

    return Keeper(module_wanted, (lambda address: _any(ops, address)) if ops else None)


def _any(patterns: list[re.Pattern[str]], name: str) -> bool:
    return any(p.fullmatch(name) for p in patterns)
