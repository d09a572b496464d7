"""``weightwalk neuron``: one neuron, with every number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from weightwalk.cli import common, outputs
from weightwalk.errors import UsageError

EPILOG = """\b
Examples:
  weightwalk neuron                            the logistic neuron: every step from p = 50 %
  weightwalk neuron --steps 100000 --figure neuron.svg
  weightwalk neuron --start random --seed 7
  weightwalk neuron --linear --weights 2,-1 --bias 0.5 --inputs 3,4 --target 4
  weightwalk neuron --threshold and            a truth table; or --threshold 1,1,-1.5
  weightwalk neuron --perceptron xor           errors corrected, in circles
  weightwalk neuron --perceptron or --rule delta
  weightwalk neuron --cross-entropy --figure cost.svg
  weightwalk neuron --bowl --lr 0.95,0.97      where gradient descent begins to diverge

\b
Exit codes: 0 done, 2 the request cannot be served."""

KINDS = ("linear", "threshold", "perceptron", "cross_entropy", "bowl")
TAKES = {
    "logistic": {"inputs", "target", "lr", "start", "steps", "seed"},
    "linear": {"inputs", "target", "weights", "bias"},
    "threshold": set(),
    "perceptron": {"rule", "lr", "steps"},
    "cross_entropy": {"probabilities"},
    "bowl": {"lr", "start", "steps"},
}


@click.command("neuron", epilog=EPILOG)
@click.option("--linear", is_flag=True, help="A linear neuron: its sum, its errors, and why a residual is no loss.")
@click.option("--threshold", metavar="GATE", help="A threshold unit: and, or, nand, nor, or w1,w2,b.")
@click.option("--perceptron", metavar="GATE", help="A unit trained by its errors: and, or, nand, nor, xor, xnor.")
@click.option("--cross-entropy", is_flag=True, help="What -ln p makes of a probability.")
@click.option("--bowl", is_flag=True, help="Gradient descent in 0.5 x² + y² + 0.3 x y, by rate.")
@click.option("--inputs", metavar="X,X", help="The example; 1,0.5, and 3,4 for --linear.")
@click.option("--target", type=float, metavar="T", help="What it should say; 1, and 4 for --linear.")
@click.option("--lr", metavar="X[,X]", help="Learning rate; several for --bowl.")
@click.option("--start", metavar="S", help="First weights: zero, random, one number, or w1,w2,b; x,y for --bowl.")
@click.option("--steps", type=click.IntRange(0), metavar="N", help="Steps, or passes for --perceptron.")
@click.option("--weights", metavar="W,W", help="Of --linear; 2,-1.")
@click.option("--bias", type=float, metavar="B", help="Of --linear; 0.5.")
@click.option("--rule", type=click.Choice(["perceptron", "delta"]), metavar="RULE", help="perceptron or delta.")
@click.option("--probabilities", metavar="P,P", help="Of --cross-entropy.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Of --start random; 0.")
@click.option("--figure", metavar="FILE", help="Draw it: .svg, .png or .pdf.")
@click.option("--frame", metavar="FILE.csv", help="Write the table.")
@common.json_option
def command(**options: Any) -> int:
    """One neuron with every number: how it learns one example, what its losses are, what a threshold can do."""
    kind = _kind(options)
    _possible(kind, options)
    files = outputs.targets(options)
    facts, lines = _facts(kind, options)
    if options["as_json"]:
        common.emit(facts)
    else:
        from weightwalk.show.terminal import console, put

        target = console()
        put(lines(facts, target.width), target)
    if "frame" in files:
        outputs.write_table(files["frame"], facts.frame())
    if "figure" in files:
        from weightwalk.show.neurons_figures import draw

        outputs.write_figure(files["figure"], draw, facts)
    return 0


def _kind(options: dict[str, Any]) -> str:
    """Which neuron; options of another are refused."""
    chosen = [k for k in KINDS if options[k]]
    if len(chosen) > 1:
        said = " and ".join(f"--{k.replace('_', '-')}" for k in chosen)
        raise UsageError(f"{said} are two questions; ask one at a time.")
    kind = chosen[0] if chosen else "logistic"
    every = set().union(*TAKES.values())
    alien = [o for o in sorted(every - TAKES[kind]) if options[o] is not None]
    if alien:
        what = "the logistic neuron" if kind == "logistic" else f"--{kind.replace('_', '-')}"
        takes = ", ".join(f"--{o}" for o in sorted(TAKES[kind])) or "nothing else"
        raise UsageError(f"--{alien[0]} says nothing to {what}, which takes {takes}.")
    return kind


def _possible(kind: str, options: dict[str, Any]) -> None:
    if options["figure"] is not None and kind in ("linear", "threshold", "perceptron"):
        raise UsageError("--figure draws the logistic neuron, --cross-entropy and --bowl.")
    if options["frame"] is not None and kind in ("linear", "threshold"):
        raise UsageError("--frame is for what has a long table: the logistic neuron, --perceptron, --bowl and such.")


def _facts(kind: str, options: dict[str, Any]) -> tuple[Any, Callable[..., Any]]:
    from weightwalk.show import neurons as show

    given = {k: options[k] for k in TAKES[kind] if options[k] is not None}
    for name in ("inputs", "weights", "probabilities"):
        if name in given:
            given[name] = numbers(given[name], f"--{name}")
    if "lr" in given:
        rates = numbers(given["lr"], "--lr")
        if kind != "bowl" and len(rates) != 1:
            raise UsageError("Several rates are for --bowl; give one.")
        given["lr"] = rates if kind == "bowl" else rates[0]
    if "start" in given and given["start"] not in ("zero", "random"):
        given["start"] = numbers(given["start"], "--start")
    return _ask(kind, given, options), getattr(show, LINES[kind])


LINES = {"logistic": "logistic_lines", "linear": "linear_lines", "threshold": "threshold_lines",
         "perceptron": "correction_lines", "cross_entropy": "surprise_lines", "bowl": "bowl_lines"}  # fmt: skip


def _ask(kind: str, given: dict[str, Any], options: dict[str, Any]) -> Any:
    from weightwalk.learning.neurons import curves, logistic, units

    if kind == "linear":
        return units.linear_neuron(**given)
    if kind == "threshold":
        gate = options["threshold"].lower()
        return units.threshold_unit(numbers(gate, "--threshold") if "," in gate else gate)
    if kind == "perceptron":
        passes = {"epochs": given.pop("steps")} if "steps" in given else {}
        return units.corrected(options["perceptron"].lower(), **given, **passes)
    if kind == "cross_entropy":
        return curves.cross_entropies(**given)
    if kind == "bowl":
        rates = {"rates": given.pop("lr")} if "lr" in given else {}
        start = given.get("start")
        if start is not None and (isinstance(start, str) or len(start) != 2):
            raise UsageError("--start of the bowl is two numbers, such as 2,2.")
        return curves.bowl(**given, **rates)
    return logistic.logistic_neuron(**given)


def numbers(text: str, option: str) -> list[float]:
    """``1,0.5`` as numbers.

    Raises:
        UsageError: It is not.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r} is not numbers, such as 1,0.5.") from None
