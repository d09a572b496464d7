"""From a gallery entry to a net: train it by its recipe, or recall what was trained before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import History, train
from weightwalk.nets.cache import recall, recipe_key, remember
from weightwalk.nets.digest import weights_digest
from weightwalk.nets.gallery import Entry, Recipe
from weightwalk.nets.inputs import expectation
from weightwalk.nets.net import Net

Progress = Callable[[str, int, int, float], None]
"""Called with (net's name, epochs done over all seeds, epochs in all, loss)."""


def gallery_net(entry: Entry, *, fresh: bool = False, seed: int | None = None, progress: Progress | None = None) -> Net:
    """The net of a gallery entry, in eval mode.

    Args:
        entry: Which.
        fresh: Train anew even if it is remembered (and remember the outcome).
        seed: Train from this seed alone, whatever comes of it; None leaves the choice to the recipe.
        progress: Told of every epoch.
    """
    module = _built(entry, 0 if seed is None else seed)
    provenance: dict[str, Any] = {"kind": "gallery", "net": entry.name, "torch": torch.__version__}
    history, remembered = None, False
    if entry.recipe is None:
        provenance |= {"seed": seed or 0, "recipe": "random weights, not trained"}
    else:
        recipe = entry.recipe if seed is None else replace(entry.recipe, seeds=(seed,), choose="given")
        state, facts, remembered = _trained(entry, recipe, module, fresh, progress)
        module.load_state_dict(state)
        history = History(**{**facts["history"], "losses": tuple(facts["history"]["losses"])})
        tried = facts["tried"]
        provenance |= {"seed": history.seed, "recipe": asdict(recipe), "tried": tried}
    module.eval().requires_grad_(True)
    tokenizer = entry.tokenizer() if entry.tokenizer else None
    longest = getattr(getattr(module, "config", None), "n_positions", None)
    expects = replace(expectation(module), batched=entry.batched, longest=longest, sure=True)
    return Net(
        entry.name, module, entry.description, expects, _labels(entry), tokenizer, provenance, history, remembered
    )


def _labels(entry: Entry) -> dict[str, Any]:
    """The entry's axis names with the vocabulary filled in; ``"tokens"`` waits for an input."""
    if entry.tokenizer is None:
        return {address: dict(axes) for address, axes in entry.axes}
    vocab = list(entry.tokenizer().tokens)
    labels: dict[str, Any] = {"vocab": vocab}
    for address, axes in entry.axes:
        labels[address] = {axis: vocab if names == "vocab" else names for axis, names in axes}
    return labels


def _built(entry: Entry, seed: int) -> nn.Module:
    # Whatever defaults the caller has set, a seed means the same net.
    with seeded(seed), torch.device("cpu"), torch.inference_mode(False):
        return entry.build()


def _trained(
    entry: Entry, recipe: Recipe, module: nn.Module, fresh: bool, progress: Progress | None
) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """Weights and facts, and whether they were remembered."""
    assert entry.data is not None
    with torch.device("cpu"), torch.inference_mode(False):
        data: dict[str, Tensor] = dict(zip(("x", "y", "held_x", "held_y"), entry.data(), strict=True))
    layout = {name: list(t.shape) for name, t in module.state_dict().items()}
    key = recipe_key({"net": entry.name, **asdict(recipe), "data": weights_digest(data), "layout": layout})
    known = None if fresh else recall(entry.name, key)
    if known is not None and {n: list(t.shape) for n, t in known[0].items()} == layout and "tried" in known[1]:
        return *known, True
    state, facts = _try_seeds(entry, recipe, data, progress)
    remember(entry.name, key, state, facts)
    return state, facts, False


def _try_seeds(
    entry: Entry, recipe: Recipe, data: dict[str, Tensor], progress: Progress | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train every seed of the recipe and keep the one that it chooses."""
    runs: list[tuple[dict[str, Tensor], History, dict[str, Any]]] = []
    for index, seed in enumerate(recipe.seeds):
        module = _built(entry, seed)
        history = train(
            module,
            data["x"],
            data["y"],
            loss=recipe.loss,
            optimizer=recipe.optimizer,
            lr=recipe.lr,
            epochs=recipe.epochs,
            seed=seed,
            progress=_within(progress, entry.name, index, len(recipe.seeds)),
        )
        losses = {"initial": history.losses[0], "loss": history.final}
        outcome = {"seed": seed, **losses, **_score(module, recipe.loss, data["held_x"], data["held_y"])}
        runs.append(({n: t.detach().clone() for n, t in module.state_dict().items()}, history, outcome))
    if recipe.choose == "first":
        chosen = next((run for run in runs if run[2].get("solved")), None) or min(runs, key=lambda run: run[2]["loss"])
    else:
        chosen = min(runs, key=lambda run: run[2].get("rmse", run[2]["loss"]))
    facts = ("losses", "final", "epochs", "seed", "settings")
    history = {name: getattr(chosen[1], name) for name in facts}
    return chosen[0], {"history": history, "tried": [run[2] for run in runs]}


def _score(module: nn.Module, loss: str, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Held-out root-mean-square error of a regression; right answers of a classification."""
    with torch.no_grad():
        out = module(x)
        if loss == "cross_entropy":
            right = int((out.argmax(dim=-1) == y).sum())
            return {"right": right, "of": len(y), "solved": right == len(y)}
        return {"rmse": float((out - y).square().mean().sqrt())}


def _within(progress: Progress | None, name: str, index: int, runs: int) -> Callable[[int, int, float], None] | None:
    """Progress of one seed as progress over all."""
    if progress is None:
        return None
    return lambda done, epochs, loss: progress(name, index * epochs + done, runs * epochs, loss)
