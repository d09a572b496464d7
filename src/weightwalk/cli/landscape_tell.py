"""The facts of a picture to where they were wanted: the terminal, JSON, a table, a figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from weightwalk.cli import common, outputs

if TYPE_CHECKING:
    from weightwalk.cli.landscape_request import Request


def tell(request: Request, found: Any) -> int:
    """Write what was asked for, files first."""
    if "figure" in request.files:
        from weightwalk.show.landscape_figures import landscape_figure

        with common.whole(request.files["figure"]) as path, common.working("drawing"):
            landscape_figure(found, path, surface3d=request.surface3d)
        common.note(f"drew {request.files['figure']}")
    if "frame" in request.files:
        outputs.write_table(request.files["frame"], found.frame())
    if request.as_json:
        click.echo(json.dumps(facts(found), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        from weightwalk.show.terminal import console, lines, put

        target = console()
        more = {"top": request.top} if type(found).__name__ == "Picture" else {}
        put(lines(found, target.width, **more), target)
    return 0


def facts(found: Any) -> Any:
    """As JSON has them, every loss of every grid included."""
    from weightwalk.show.json import jsonable

    made = jsonable(found)
    for surface, plain in zip(getattr(found, "surfaces", ()), made.get("surfaces", ()), strict=False):
        _whole(surface, plain)
    if made["is"] in ("Neuron", "Slide"):
        made["first"], made["second"] = found.first.tolist(), found.second.tolist()
        if made["is"] == "Slide":
            made["losses"] = found.losses.tolist()
        else:
            for name in ("one", "every"):
                made[name]["losses"] = getattr(found, name).losses.tolist()
            if found.deep is not None:
                _whole(found.deep.surface, made["deep"]["surface"])
    return made


def _whole(surface: Any, plain: dict[str, Any]) -> None:
    """Long arrays are cut in JSON; the losses of a grid are what was asked for."""
    from weightwalk.show.json import jsonable

    plain["losses"] = jsonable(surface.losses.tolist())
    plain["alphas"], plain["betas"] = surface.alphas.tolist(), surface.betas.tolist()
