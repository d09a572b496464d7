"""``weightwalk demo``: the tour: nets trained, walked, verified, accounted for, as formulas, and by the hundred."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from weightwalk.cli import common
from weightwalk.readings.narrate_decimals import decimal
from weightwalk.show.layout import number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

    from weightwalk.nets import Net
    from weightwalk.walks.walk import Walk

PROMPT = "The capital of France is"


@click.command("demo")
@click.option("--part", type=click.IntRange(1, 6), multiple=True, help="Only this part; may be repeated.")
@click.option("--remembered", is_flag=True, help="Use nets trained before instead of training them now.")
@common.json_option
def command(part: tuple[int, ...], remembered: bool, as_json: bool) -> int:
    """Take the tour: train tiny nets, walk them, account for a GPT's top logit, read off what two nets compute, and
    count how often training fails.

    Every number is computed while you watch; nothing is downloaded. Takes less than a minute.
    """
    common.needs_torch("for the tour")
    tour = Tour(fresh=not remembered, silent=as_json)
    tour.say("A tour of weightwalk: five networks, every number computed now, on this machine.", "bold")
    parts = (linear, sqrt, hello, gpt, formulas, learning)
    for place, take in enumerate(parts, 1):
        if not part or place in part:
            take(tour)
    tour.close()
    if as_json:
        common.emit(tour.facts)
    return 0 if tour.ok else 1


@dataclass
class Tour:
    """The tour as it goes: where it prints, and what it found.

    Attributes:
        fresh: Whether nets are trained here and now.
        silent: Whether nothing is printed (for ``--json``).
        facts: What each part found.
        ok: Whether every verification passed.
        steps: Steps verified.
        exact: Formulas whose certificates passed.
        counted: Trainings counted by outcome.
        nets: Nets that are at hand already.
    """

    fresh: bool
    silent: bool
    facts: dict[str, Any] = field(default_factory=dict)
    ok: bool = True
    steps: int = 0
    exact: int = 0
    counted: int = 0
    nets: dict[str, Any] = field(default_factory=dict)

    def put(self, lines: Iterable[Text]) -> None:
        """Print lines."""
        from weightwalk.show.terminal import console, put

        if not self.silent:
            put(lines, console())

    def width(self) -> int:
        """Cells per line."""
        from weightwalk.show.terminal import console

        return console().width

    def heading(self, number: int, text: str) -> None:
        """The title of a part."""
        from weightwalk.show.tours import heading

        self.put(heading(number, text, self.width()))

    def say(self, text: str, style: str = "") -> None:
        """A sentence."""
        from weightwalk.show.layout import wrapped

        self.put(wrapped(text, self.width(), "", style))

    def show(self, facts: Any, **options: Any) -> None:
        """Facts, as the commands print them."""
        from weightwalk.show.terminal import lines

        self.put(lines(facts, self.width(), **options))

    def net(self, name: str) -> Net:
        """Train or build a net, and say how it went; one of an earlier part is taken from there."""
        from weightwalk.show.tours import training_lines

        if name not in self.nets:
            self.nets[name] = common.net_of(name, fresh=self.fresh, seed=None)
            self.put(training_lines(self.nets[name], self.width()))
        return self.nets[name]

    def walk(self, net: Net, given: str) -> Walk:
        """Record a walk and say how complete it is."""
        return common.record_net(net, given)

    def verify(self, part: str, walk: Walk, **more: Any) -> None:
        """The verification line that ends a part."""
        from weightwalk.show.reports import verdict

        report = walk.verify()
        self.ok = self.ok and report.ok
        self.steps += len(walk.steps)
        self.facts[part] = {"story": walk.narrate(), "verify": report, **more}
        self.put(verdict(report, walk, self.width()))

    def account(self, walk: Walk, address: str, cut: str, top: int = 6) -> Any:
        """An account, printed."""
        account = walk.account(address, cut=cut)
        self.show(account, top=top)
        return account

    def formula(self, found: Any, **options: Any) -> Any:
        """A formula, printed with its certificate, and drawn where the terminal has colours."""
        from weightwalk.show.formulas import formula_lines
        from weightwalk.show.terminal import console

        self.ok = self.ok and found.certified
        self.exact += found.certified
        picture = "colours" if console().color_system else "shades"
        self.put(formula_lines(found, self.width(), picture=picture, **options))
        return found

    def close(self) -> None:
        """The last line."""
        if self.ok:
            self.say("")
            done = []
            if self.steps:
                done.append(f"{self.steps:,} steps walked, each recomputed independently and within its bound")
            if self.exact:
                done.append(f"{self.exact} formulas held to their nets, all exact")
            if self.counted:
                done.append(f"{self.counted:,} trainings counted")
            self.say(f"Done: {'; '.join(done)}.", "bold green")
            self.say("Next: weightwalk walk hello cat    weightwalk formula sqrt    weightwalk --help", "dim")
        else:
            self.say("A verification or a certificate failed; see above.", "bold red")


def linear(tour: Tour) -> None:
    """A net without a hidden layer: its formula is its weights."""
    tour.heading(1, "linear: the formula is the weights")
    net = tour.net("linear")
    walk = tour.walk(net, "2.0")
    w, b = (decimal(walk[name].numpy().reshape(-1)[0]) for name in ("fc.weight", "fc.bias"))
    tour.say("")
    tour.say(f"read off the weights:  y = {number(w)} x {'-' if b < 0 else '+'} {number(abs(b))}", "bold green")
    tour.say("it was trained on 41 points of y = 2x + 3, and never saw that formula.", "dim")
    tour.say("")
    tour.show(walk.narrate())
    tour.verify("linear", walk, weight=w, bias=b)


def sqrt(tour: Tour) -> None:
    """Eight ReLU units that bend a line into a square root."""
    tour.heading(2, "sqrt: eight units bend a line into a square root")
    net = tour.net("sqrt")
    walk = tour.walk(net, "2.0")
    tour.say("")
    tour.show(walk.narrate())
    root, out = decimal(math.sqrt(2)), decimal(walk["out"].numpy().reshape(-1)[0])
    tour.say("")
    tour.say(
        f"The square root of 2 is {number(root)}; the net says {number(out)}, which is off by {number(out - root)}."
    )
    tour.say(
        "Between two kinks the net is a straight line, and an account cut at the input reads it off: what comes of x, "
        "and what comes of the biases."
    )
    account = tour.account(walk, "out", "inputs")
    tour.verify("sqrt", walk, account=account)


def hello(tour: Tour) -> None:
    """Five tokens, four pairs, 37 parameters."""
    from weightwalk.nets.gallery import HELLO_PAIRS
    from weightwalk.readings.narrate import Text

    tour.heading(3, 'hello: from "hello" to "world" in 37 parameters')
    net = tour.net("hello")
    walk = tour.walk(net, "hello")
    tour.say("")
    tour.show(walk.narrate())
    tour.say("")
    tour.say("The pairs that it was trained on, and what it says after each:", "bold")
    pairs = tour.walk(net, " ".join(first for first, _ in HELLO_PAIRS))
    answers = [line for line in pairs.narrate().lines() if isinstance(line, Text) and line.tone == "result"]
    for line, (first, then) in zip(answers, HELLO_PAIRS, strict=True):
        tour.say(f"  {line.text}   (trained: {first} → {then})")
    tour.verify("hello", walk, pairs=answers)


def gpt(tour: Tour) -> None:
    """GPT-2's architecture with random weights: one prompt, one logit, three accounts of it."""
    import json

    import numpy as np

    tour.heading(4, "gpt: one logit of a GPT, accounted for three ways")
    net = tour.net("gpt")
    walk = tour.walk(net, PROMPT)
    tour.say("")
    tour.show(walk.narrate(depth=1))
    tour.say("")
    tour.say("inside the first attention", "bold")
    tour.show(walk.narrate(focus="transformer.h.0.attn"))
    logits = walk["logits"].numpy()[0, -1]
    best = walk.labels["vocab"][int(np.argmax(logits))]
    address = f"logits[-1, {json.dumps(best, ensure_ascii=False)}]"
    tour.say("")
    tour.say(
        f"After {PROMPT!r} its top logit is {best!r}. Its weights are random, so that means nothing; why it came out "
        "on top is arithmetic all the same, and adds up:"
    )
    accounts = {}
    for cut, words in (("tokens", "by token"), ("heads", "by head"), ("neurons", "by neuron")):
        tour.say("")
        tour.say(words, "bold")
        accounts[cut] = tour.account(walk, address, cut)
    tour.verify("gpt", walk, prompt=PROMPT, top=best, accounts=accounts)


NUMBERS = (0.25, 2.0, 5.0, 9.5, 100.0)


def formulas(tour: Tour) -> None:
    """What the square root net computes, exactly; and the polygons of a net of two numbers."""
    from weightwalk.formulas.formula import formula
    from weightwalk.formulas.newton import roots
    from weightwalk.show.formula_json import formula_facts
    from weightwalk.show.tours import root_lines

    tour.heading(5, "formulas: the exact functions that two nets compute")
    tour.say("sqrt, the whole of it", "bold")
    net = tour.net("sqrt")
    tour.say("")
    found = tour.formula(formula(net))
    tour.say("")
    tour.say("Is that a square root? Beside Newton's iteration:", "bold")
    rows = roots(found.facts, NUMBERS)
    tour.put(root_lines(rows, tour.width()))
    tour.say("")
    tour.say("regions, on its square", "bold")
    net = tour.net("regions")
    tour.say("")
    plane = tour.formula(formula(net), top=5)
    tour.say("")
    tour.say("As a picture with every kink line: weightwalk formula regions --figure regions.svg", "dim")
    tour.facts["formulas"] = {"sqrt": formula_facts(found), "roots": rows, "regions": formula_facts(plane)}


def learning(tour: Tour) -> None:
    """One step of a training with every number, and hundreds of trainings, counted."""
    from weightwalk.learning.censuses.census import census
    from weightwalk.learning.nudges.nudge import nudge

    tour.heading(6, "learning: one step with every number, and how often training fails")
    step = nudge("linear", rows=(0, 20, 40))
    tour.show(step)
    tour.ok = tour.ok and step.ok
    tour.steps += len(step.walk.steps) if step.walk is not None else 0
    tour.say("")
    tour.say("One training is an anecdote. Three hundred of the six-pair net, at two widths:", "bold")
    tour.say("")
    with common.counting("training hello6") as progress:
        counted = census("hello6", seeds=300, vary={"width": (2, 8)}, progress=progress)
    tour.show(counted)
    tour.counted = sum(len(cell.seeds) for cell in counted.cells)
    tour.say("")
    tour.say("Why did one of them fail? weightwalk diagnose hello6 --seed 2", "dim")
    tour.facts["learning"] = {"nudge": step, "census": counted}
