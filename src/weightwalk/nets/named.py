"""``package.module:object``: the one form of a net that runs somebody's code, and only because the user named it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.nets.inputs import expectation
from weightwalk.nets.net import Net


def named_net(spec: str, *, seed: int = 0) -> Net:
    """Import ``package.module`` (the current directory counts) and take `object` from it.

    The object is an ``nn.Module``; or a class or function without required arguments that makes one, called with
    torch's CPU generator seeded by `seed` and put back afterwards; or a function on tensors, which is walked as it is.

    Raises:
        UsageError: No such module or object, an error while importing or making it, or an object of another kind.
    """
    found = named_object(spec, seed=seed)
    with seeded(seed):  # again, for the first import may have drawn numbers
        net, made = _made(found, spec)
    if isinstance(net, nn.Module):
        net.eval()
        description = f"{type(net).__name__} from {spec}"
    else:
        description = f"function {spec}"
    provenance: dict[str, Any] = {"kind": "object", "spec": spec, "torch": torch.__version__}
    if made:
        provenance["seed"] = seed
    return Net(spec, net, description, expectation(net), provenance=provenance)


def named_object(spec: str, *, seed: int = 0) -> Any:
    """Import ``package.module`` (the current directory counts) and take `object` from it, whatever it is.

    Raises:
        UsageError: No such module or object, or an error while importing.
    """
    module_name, _, path = spec.partition(":")
    with seeded(seed):
        return _attribute(_import(module_name), module_name, path)


def _import(name: str) -> Any:
    try:
        with _current_directory_first():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise UsageError(
                f"There is no module {error.name!r}, neither installed nor in the current directory; "
                "the form is package.module:object."
            ) from None
        raise UsageError(f"Importing {name!r} failed: it needs {error.name!r}, which is not installed.") from error
    except Exception as error:
        raise UsageError(f"Importing {name!r} failed: {_told(error)}.") from error


@contextmanager
def _current_directory_first() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _attribute(module: Any, module_name: str, path: str) -> Any:
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            names = [n for n in dir(found) if not n.startswith("_")]
            near = difflib.get_close_matches(part, names, n=1) or names[:1]
            hint = f"; did you mean {near[0]!r}?" if near else "; it is empty."
            raise UsageError(f"{module_name!r} has no {path!r}{hint}")
        found = getattr(found, part)
    return found


def _made(found: Any, spec: str) -> tuple[Callable[..., Any], bool]:
    """The module or function to walk, and whether it was made here (so that the seed had a say)."""
    if isinstance(found, nn.Module):
        return found, False
    if not callable(found):
        raise UsageError(f"{spec!r} is a {type(found).__name__}; expected an nn.Module, or a callable that makes one.")
    needed = _required(found)
    is_class = inspect.isclass(found)
    if needed and not is_class:
        return found, False
    if needed:
        raise UsageError(
            f"The class {spec!r} needs arguments ({', '.join(needed)}): name an object made from it, or a function "
            "without arguments that makes one."
        )
    try:
        net = found()
    except Exception as error:
        raise UsageError(f"Making {spec!r} failed: {_told(error)}.") from error
    if not isinstance(net, nn.Module):
        raise UsageError(
            f"{spec!r}, called without arguments, gave a {type(net).__name__}; expected an nn.Module "
            "(a function to be walked itself takes at least one tensor)."
        )
    made: nn.Module = net
    return made, True


def _required(found: Callable[..., Any]) -> list[str]:
    """Names of the arguments that must be given; builtins that do not tell are taken to need one."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return ["..."]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not inspect.isclass(found) and any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return ["*"]
    kinds = (*positional, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind in kinds]


def _told(error: Exception) -> str:
    """The error with the last line that it passed through, for it is the user's code."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).rstrip('.')}{where}"
