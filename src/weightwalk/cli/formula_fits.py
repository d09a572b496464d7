"""What `weightwalk formula` offers for any net: a polynomial in its place, and which inputs matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightwalk.cli import common
from weightwalk.cli import formula_options as parse
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from weightwalk.cli.formula_jobs import Found, Request

RANKED = 4
"""Outputs for which inputs are ranked without being asked to by --select."""


def fits(request: Request, net: Any) -> Found:
    """Surrogates and sensitivities of a net over a box.

    Raises:
        UsageError: The net takes no numbers, there is no box, or no such fit.
    """
    from weightwalk.cli.formula_jobs import Found, own_data
    from weightwalk.formulas.functions import function_of

    f = function_of(net)
    if request["data"] is not None:
        data = parse.data(request["data"], len(f.inputs), len(f.outputs))
    else:
        data = own_data(net)
    if request.select is not None:
        f = f.select(request.select)
        data = None if data is None else parse.Data(data.x, None if data.y is None else data.y[:, request.select])
    box = _box(request, f, data)
    targets = None if data is None or data.y is None else (data.x, data.y)
    found = Found(None, [], data, net)
    seed = request["seed"] or 0
    if request["surrogate"] is not None:
        from weightwalk.formulas.fits.surrogates import surrogate

        kind = "per-input" if request["per_input"] else "total"
        with common.working("fitting"):
            found.more.append(
                surrogate(
                    f, box, request["surrogate"], kind=kind, seed=seed, data=targets, names=f.inputs,
                    outputs=f.outputs, memory=request.memory,
                )
            )  # fmt: skip
    if request["sensitivity"]:
        found.more += _rankings(request, f, box, targets, seed)
    return found


def _rankings(request: Request, f: Any, box: Any, targets: Any, seed: int) -> list[Any]:
    from weightwalk.formulas.fits.rank import sensitivity

    if len(f.outputs) > RANKED:
        raise UsageError(
            f"--sensitivity ranks the inputs for one output at a time, and the net has {len(f.outputs)}: choose some "
            f"with --select, such as --select 0."
        )
    low, high = zip(*box, strict=True)
    x = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    if request.at is not None:
        x = parse.numbers(request.at, "--at").reshape(-1).tolist()
        if len(x) != len(f.inputs):
            raise UsageError(f"--at has {len(x)} number{'s' * (len(x) != 1)}, and the net takes {len(f.inputs)}.")
    import numpy as np

    gradient = f.gradient(np.array(x))
    with common.working("ranking inputs"):
        return [
            sensitivity(f, box, x=x, output=o, gradient=gradient, seed=seed, data=targets, names=f.inputs)
            for o in range(len(f.outputs))
        ]


def _box(request: Request, f: Any, data: parse.Data | None) -> Any:
    """The box over which to fit: as given, as the net says, or that of the data."""
    from weightwalk.formulas.places import intervals

    if request.box is not None:
        return intervals(request.box, len(f.inputs), ())
    if f.box is not None:
        return f.box
    if data is None:
        raise UsageError("A polynomial or a ranking is taken over a box of inputs: give one, such as --box -1..1.")
    common.note("over the range of the data; --box chooses another")
    return tuple((float(a), float(b)) for a, b in zip(data.x.min(0), data.x.max(0), strict=True))
