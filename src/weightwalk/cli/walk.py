"""``weightwalk walk``: run a net on an input and tell every step of it."""

from __future__ import annotations

from typing import Any

import click

from weightwalk.cli import common
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk walk hello hello              every product and sum of a tiny text net
  weightwalk walk sqrt 2.0 --verify        and proof that each step is right
  weightwalk walk hello hello --target cat through loss, gradients and one nudge of training
  weightwalk walk gpt "The cat" --focus transformer.h.1.attn
  weightwalk walk gpt "The cat" --patch transformer.h.0.attn=0 --save without.walk
  weightwalk walk ./my-checkpoint "Once upon a time" --dtype bfloat16
  weightwalk walk my_package.nets:make_net @input.npy --json

\b
NET is a gallery name (weightwalk nets), a directory with a transformers checkpoint, a .pt2 exported program, an .onnx
or .nnet file, or package.module:object. INPUT is numbers (2.0 or 1,2,3), text, or @file (.npy, .json, .txt,
.safetensors)."""


@click.command("walk", cls=common.NumbersWelcome, epilog=EPILOG)
@click.argument("net")
@click.argument("given", metavar="INPUT")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Levels of modules to unfold in a large net.")
@click.option("--focus", metavar="ADDRESS", help="Unfold this module, op or number only.")
@click.option(
    "--top", type=click.IntRange(1), metavar="N", default=5, show_default=True, help="Terms of a long sum to show."
)
@click.option(
    "--digits",
    type=click.IntRange(2, 17),
    metavar="N",
    default=9,
    show_default=True,
    help="Significant digits to show.",
)
@click.option("--keep", metavar="GLOB", multiple=True, help="Store only these values; may be repeated.")
@click.option(
    "--patch", metavar="ADDRESS=VALUE", multiple=True, help="Replace a value as it is produced: a number or @file.npy."
)
@click.option(
    "--open-fused", is_flag=True, help="Run fused ops decomposed; this changes low bits, and says by how much."
)
@click.option("--target", help="Take a training step too: loss against this, gradients, and a nudge (plain SGD).")
@click.option("--lr", type=float, metavar="X", default=0.1, show_default=True, help="Learning rate of that step.")
@click.option("--save", metavar="FILE.walk", help="Write the walk to a file.")
@click.option("--verify", "check", is_flag=True, help="Recompute every step as well; exit code 1 if one is wrong.")
@click.option("--figure", metavar="FILE", help="Draw the walk: .svg, .png or .pdf.")
@click.option("--html", metavar="FILE.html", help="Write a page that shows the walk.")
@common.fresh_option
@common.seed_option
@common.dtype_option
@common.json_option
def command(net: str, given: str, **options: Any) -> int:
    """Run NET on INPUT and tell every step of it.

    A small net is told multiplication by multiplication, a large one module by module.
    """
    targets = _targets(options)
    if common.is_walk_file(net):
        raise UsageError(f"{net} is a recorded walk; `weightwalk show {net}` tells what it holds.")
    common.needs_torch("to run a net")
    walk = common.record(
        net,
        given,
        fresh=options["fresh"],
        seed=options["seed"],
        dtype=options["dtype"],
        target=options["target"],
        lr=options["lr"],
        **_recording(options),
    )
    story = walk.narrate(depth=options["depth"], focus=options["focus"], top=options["top"], digits=options["digits"])
    report = walk.verify() if options["check"] else None
    if options["as_json"]:
        from weightwalk.show.json import walk_summary

        facts = {"walk": walk_summary(walk), "story": story}
        common.emit(facts if report is None else {**facts, "verify": report})
    else:
        from weightwalk.show.terminal import show

        show(story)
        _say_changes(walk)
        if report is not None:
            click.echo()
            show(report)
    _write(walk, story, targets)
    return 0 if report is None or report.ok else 1


def _recording(options: dict[str, Any]) -> dict[str, Any]:
    """The options of ``ww.walk``."""
    out: dict[str, Any] = {}
    if options["keep"]:
        out["keep"] = list(options["keep"])
    if options["patch"]:
        out["patch"] = dict(parse_patch(p) for p in options["patch"])
    if options["open_fused"]:
        out["open_fused"] = True
    return out


def parse_patch(text: str) -> tuple[str, Any]:
    """``"h.3.attn=0"`` as an address and a value.

    Raises:
        UsageError: It is neither a number nor a file.
    """
    address, equals, value = text.rpartition("=")
    if not equals or not address.strip() or not value.strip():
        raise UsageError(f"--patch {text!r} is not ADDRESS=VALUE, such as fc1=0 or 'fc1[0, 3]=2.5'.")
    if value.startswith("@"):
        import torch

        from weightwalk.nets.files import read_file

        return address.strip(), torch.as_tensor(read_file(value[1:]))
    try:
        return address.strip(), float(value)
    except ValueError:
        raise UsageError(f"--patch {text!r}: {value!r} is neither a number nor @file.npy.") from None


def _targets(options: dict[str, Any]) -> dict[str, Any]:
    """The files to write, refused before any work is done where they cannot be."""
    endings = {"save": (".walk",), "figure": (".svg", ".png", ".pdf"), "html": (".html", ".htm")}
    out = {kind: common.writable(options[kind], ends) for kind, ends in endings.items() if options[kind]}
    if "figure" in out:
        common.needs_matplotlib()
    return out


def _write(walk: Any, story: Any, targets: dict[str, Any]) -> None:
    if "save" in targets:
        walk.save(targets["save"])
        common.note(f"saved {targets['save']}")
    if "html" in targets:
        from weightwalk.show.html import write_page

        write_page(walk, targets["html"], story)
        common.note(f"wrote {targets['html']}")
    if "figure" in targets:
        from weightwalk.show.figures import draw

        with common.whole(targets["figure"]) as beside:
            draw(walk, beside)
        common.note(f"drew {targets['figure']}")


def _say_changes(walk: Any) -> None:
    """What opening fused ops did to the result."""
    opened = walk.meta.get("open_fused")
    if opened:
        common.note(f"open_fused: {opened}")
