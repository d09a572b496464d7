"""One seed pulled out of a census: trained alone, held against the census, walked and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError


def walk_seed(task: Any, options: dict[str, Any], asked: dict[str, Any], files: dict[str, Path]) -> int:
    """Tell one seed's training and walk its net.

    Raises:
        UsageError: More than one combination of settings, or an input that the net does not take.
    """
    from weightwalk.learning.censuses.alone import alone
    from weightwalk.learning.censuses.census import census
    from weightwalk.nets.trained import net_of_task, row_as_input

    seed = options["walk_seed"]
    several = [name for name, values in asked["vary"].items() if len(values) > 1]
    if several:
        raise UsageError(
            f"--walk-seed walks one net, and --vary {several[0]} names several: give one value, such as "
            f"--vary {several[0]}={asked['vary'][several[0]][0]}."
        )
    found = census(task, **{**asked, "seeds": [seed]})
    with common.working(f"training seed {seed} alone"):
        one = alone(found, found.cells[0], seed)
    net = net_of_task(one.task, one.module, seed=seed, settings=dict(one.settings))
    row = one.wrong[0] if one.wrong else 0
    given = options["given"] if options["given"] is not None else row_as_input(one.task, row)
    walk = common.record_net(net, given, seed=seed)
    what = given if isinstance(given, str) else f"row {row}"
    walk.meta = {**walk.meta, "input": what}
    story, report = walk.narrate(), walk.verify()
    if options["as_json"]:
        from weightwalk.show.json import walk_summary

        common.emit({"seed": one, "walk": walk_summary(walk), "story": story, "verify": report})
    else:
        from weightwalk.show.censuses import alone_lines
        from weightwalk.show.terminal import console, put, show

        to = console()
        put(alone_lines(one, what, options["given"] is None, to.width), to)
        click.echo()
        show(story)
        click.echo()
        show(report)
    if "save" in files:
        walk.save(files["save"])
        common.note(f"saved {files['save']}")
    return 0 if report.ok else 1
