"""Everything that is measured, one entry each: what it does, and how to set it up."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.nets import Subject

Run = Callable[[Any], Any]
"""One measured run. Takes what ``prepare`` gave (None where there is none), returns what it holds."""


@dataclass(frozen=True)
class Contender:
    """One row of a table.

    Attributes:
        name: As the tables call it.
        group: Contenders of one group share a process; each peer has its own, for some patch torch itself.
        holds: What it has in hand afterwards.
        setup: Gets the subject, a model and its inputs, and gives the measured run.
        own_model: Whether it changes the model it is given, so that the bare forward must run on another.
        prepare: Work before each run that is not measured.
    """

    name: str
    group: str
    holds: str
    setup: Callable[[Subject, Any, Any], Run]
    own_model: bool = False
    prepare: Callable[[Subject, Any, Any], Any] | None = None


# The references ------------------------------------------------------------------------------------------------------


def bare(subject: Subject, model: Any, inputs: Any) -> Run:
    return lambda _: model(inputs)


def floor(subject: Subject, model: Any, inputs: Any) -> Run:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Keep(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.outputs: list[Any] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            self.outputs.append(out)
            return out

    def run(_: Any) -> Any:
        with Keep() as mode:
            model(inputs)
        return mode

    return run


def hooks(subject: Subject, model: Any, inputs: Any) -> Run:
    def run(_: Any) -> Any:
        kept: list[Any] = []
        handles = [m.register_forward_hook(lambda m, a, out: kept.append(out)) for m in model.modules()]
        try:
            model(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return kept

    return run


def debug_mode(subject: Subject, model: Any, inputs: Any) -> Run:
    from torch.utils._debug_mode import DebugMode

    def run(_: Any) -> Any:
        with DebugMode() as mode, DebugMode.record_outputs():
            model(inputs)
        return mode

    return run


# Weightwalk ----------------------------------------------------------------------------------------------------------


def walk_all(subject: Subject, model: Any, inputs: Any) -> Run:
    import weightwalk as ww

    return lambda _: ww.walk(model, inputs)


def walk_modules(subject: Subject, model: Any, inputs: Any) -> Run:
    import weightwalk as ww

    return lambda _: ww.walk(model, inputs, keep=["**"])


def fresh_walk(subject: Subject, model: Any, inputs: Any) -> Any:
    """A walk that no reading has touched, so that nothing it remembers makes the next run faster."""
    import weightwalk as ww

    return ww.walk(model, inputs)


def verify_numpy(subject: Subject, model: Any, inputs: Any) -> Run:
    return lambda walk: walk.verify(referee="numpy", drift=False)


def verify_torch(subject: Subject, model: Any, inputs: Any) -> Run:
    return lambda walk: walk.verify(referee="torch", drift=False)


def verify_drift(subject: Subject, model: Any, inputs: Any) -> Run:
    return lambda walk: walk.verify(referee="numpy")


def account(subject: Subject, model: Any, inputs: Any) -> Run:
    return lambda walk: walk.account("logits[0, -1, 5]", cut="modules")


# The peers -----------------------------------------------------------------------------------------------------------


def torchlens_trace(subject: Subject, model: Any, inputs: Any) -> Run:
    import torchlens

    return lambda _: torchlens.trace(model, inputs)


def torchlens_record(subject: Subject, model: Any, inputs: Any) -> Run:
    import torchlens

    return lambda _: torchlens.record(model, inputs, default_op=True)


def nnsight(subject: Subject, model: Any, inputs: Any) -> Run:
    from nnsight import NNsight

    wrapped = NNsight(model)

    def run(_: Any) -> Any:
        with wrapped.trace(inputs) as tracer:
            cache = tracer.cache()
        return cache  # noqa: RET504  (nnsight rewrites the block: nothing may return from inside it)

    return run


def transformer_lens(subject: Subject, model: Any, inputs: Any) -> Run:
    from transformer_lens.model_bridge import TransformerBridge

    if subject.net != "gpt2":
        raise NotImplementedError("it takes only networks of the architectures that it has adapters for")
    with tempfile.TemporaryDirectory() as folder:  # where the bridge finds a configuration without a hub
        model.config.save_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(folder, hf_model=model, device=subject.device)
    return lambda _: bridge.run_with_cache(inputs)


CONTENDERS = (
    Contender("bare forward, again", "home", "nothing (control)", bare),
    Contender("minimal dispatch mode", "home", "every op's output, by reference: the floor", floor),
    Contender("weightwalk, everything", "home", "every op with values, links, names, source lines", walk_all),
    Contender('weightwalk, keep=["**"]', "home", "every op; the values of module outputs", walk_modules),
    Contender("forward hooks", "home", "every module's output, by reference", hooks),
    Contender("torch DebugMode, outputs", "home", "every op's output, cloned", debug_mode),
    Contender("TorchLens trace", "torchlens-trace", "every torch call with values and links", torchlens_trace, True),
    Contender("TorchLens record", "torchlens-record", "every torch call's output", torchlens_record, True),
    Contender("nnsight, all modules", "nnsight", "every module's output", nnsight, True),
    Contender("TransformerLens run_with_cache", "transformer-lens", "its hook points' values", transformer_lens, True),
    Contender("verify, NumPy referee", "readings", "a verdict on every step", verify_numpy, prepare=fresh_walk),
    Contender("verify, torch referee", "readings", "a verdict on every step", verify_torch, prepare=fresh_walk),
    Contender(
        "verify, NumPy, and drift", "readings", "the same and the float64 replay", verify_drift, prepare=fresh_walk
    ),
    Contender("account of one logit", "readings", "a table of modules that adds up", account, prepare=fresh_walk),
)

OURS = ("home", "readings")
PEERS = ("torchlens-trace", "torchlens-record", "nnsight", "transformer-lens")


@contextlib.contextmanager
def quiet() -> Any:
    """No gradients, no warnings, no hub."""
    import warnings

    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
