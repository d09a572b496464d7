"""The loss along one weight of a net, or two, for `weightwalk formula --weight`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weightwalk.cli import common
from weightwalk.cli import formula_options as parse
from weightwalk.errors import UsageError

if TYPE_CHECKING:
    from weightwalk.cli.formula_jobs import Found, Request


def losses(request: Request, net: Any) -> Found:
    """The exact mean squared loss along the weights that were named.

    Raises:
        UsageError: There is no data, no such weight, or the loss has no such formula.
    """
    from weightwalk.cli.formula_jobs import Found, own_data
    from weightwalk.formulas.losses.parameters import loss_along_parameter, loss_over_parameters
    from weightwalk.formulas.places import intervals

    if net.expects.ids:
        raise UsageError(f"{net.name} reads token ids; the loss along a weight is for nets of numbers.")
    data = _data(request, net) if request["data"] is not None else own_data(net)
    if data is None:
        raise UsageError(
            f"A loss needs data, and {net.name} has none of its own: give --data FILE, a .csv with inputs and then "
            f"targets in its columns, or a .npz with x and y."
        )
    if data.y is None:
        raise UsageError(f"--data {request['data']!r} has inputs and no targets, which a loss needs.")
    weights = list(request["weight"])
    given = net.inputs(data.x[0].tolist())
    seed = request["seed"] or 0
    if len(weights) == 1:
        span = None if request.box is None else intervals(request.box, 1, ())[0]
        with common.working("following the loss"):
            found = loss_along_parameter(net.module, given.args, weights[0], (data.x, data.y), span, seed=seed)
        return Found(found, [], None, net)
    box = None if request.box is None else intervals(request.box, 2, ())
    with common.working("dividing the plane of the two weights, sample by sample"):
        over = loss_over_parameters(
            net.module, given.args, (weights[0], weights[1]), (data.x, data.y), box, seed=seed,
            max_regions=request["max_regions"], memory=request.memory,
        )  # fmt: skip
    return Found(over, [], None, net)


def _data(request: Request, net: Any) -> parse.Data:
    from weightwalk.formulas.functions import function_of

    f = function_of(net)
    return parse.data(request["data"], len(f.inputs), len(f.outputs))
