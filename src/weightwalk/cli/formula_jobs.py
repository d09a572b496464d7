"""What `weightwalk formula` is asked, and what is found for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightwalk.cli import common
from weightwalk.cli import formula_options as parse
from weightwalk.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What is wanted, as far as it can be read without the net.

    Attributes:
        source: A net or a walk file.
        at: One input as it was typed; None if none was.
        box: As `formula_options.box` reads it.
        select: Numbers of outputs.
        targets: Files to write.
        options: All that was typed.
    """

    source: str
    at: str | None
    box: Any
    select: list[int] | None
    memory: int
    targets: Mapping[str, Path]
    options: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.options[name]

    @property
    def fitted(self) -> bool:
        """Whether something is wanted that any net has."""
        return self["surrogate"] is not None or self["sensitivity"]


@dataclass
class Found:
    """What was found.

    Attributes:
        formula: A `Formula` or a `Lookup`; a loss along weights; None where only fits were asked for.
        more: What stands beside it: a `Summary`, `Surrogate`s, `Sensitivity`s.
        data: Points to draw.
        net: The net that was run, or the walk.
    """

    formula: Any
    more: list[Any] = field(default_factory=list)
    data: parse.Data | None = None
    net: Any = None

    @property
    def failures(self) -> list[Any]:
        """Every check that failed."""
        certificates = [getattr(f, "certificate", None) for f in (self.formula, *self.more)]
        return list(dict.fromkeys(check for c in certificates if c is not None for check in c.failures))


# Reading --------------------------------------------------------------------------------------------------------------

NAMED = 200
"""Tokens that are named in a picture at most."""

LOCAL = ("direction", "facets", "minimal", "budget")


def read(source: str, given: str | None, options: Mapping[str, Any]) -> Request:
    """The request, refused where options do not go together; nothing is run yet.

    Raises:
        UsageError: They do not, or one cannot be read.
    """
    options = dict(options)
    at = options["at"]
    if given is not None and common.is_walk_file(source):
        raise UsageError(f"{source} is a walk already; around another input, say --at {given}.")
    if given is not None and at is not None:
        raise UsageError(f"The input was given twice, as {given!r} and as --at {at!r}; leave one out.")
    options["at"] = at = given if at is None else at
    _together(options, at is not None or common.is_walk_file(source))
    parsed = None if options["box"] is None else parse.box(options["box"])
    if parsed == "all" and (options["weight"] or options["surrogate"] is not None or options["sensitivity"]):
        raise UsageError("--box all is for lines and planes; here give its sides, such as --box -1..1.")
    select = None if options["select"] is None else parse.rows(options["select"])
    if options["plane"] is not None:
        options["plane"] = parse.plane(options["plane"])
    targets = {
        kind: common.writable(options[kind], ends)
        for kind, ends in (("save", parse.WRITTEN), ("figure", parse.DRAWN))
        if options[kind] is not None
    }
    if "figure" in targets:
        common.needs_matplotlib()
    return Request(source, at, parsed, select, parse.memory(options["memory"]), targets, options)


def _together(options: Mapping[str, Any], placed: bool) -> None:
    parse.one_of(options, ("line", "plane"), "ask for one of them at a time")
    parse.one_of(options, ("line", "at"), "a line has its own two inputs")
    for other in ("line", "plane", "at"):
        parse.one_of(options, ("weight", other), "the loss is along weights, not inputs")
        if other != "at":
            parse.one_of(options, (other, "surrogate"), "a polynomial is fitted over --box, in all inputs")
            parse.one_of(options, (other, "sensitivity"), "sensitivities are taken over --box, in all inputs")
    for fit in ("surrogate", "sensitivity"):
        for other in ("weight", "exact", "summary", "legendre", "output", "decide"):
            parse.one_of(options, (fit, other), "the one runs the net as it is, the other needs its exact formula")
    if len(options["weight"]) > 2:
        raise UsageError(f"--weight was given {len(options['weight'])} times; one weight, or two of one layer.")
    local = placed and not (options["plane"] or options["line"])
    parse.needs(options, LOCAL, local, "belongs to the formula around one input: say which with --at")
    parse.needs(options, ("tolerance",), not local, "belongs to lines and planes; around one input nothing is snapped")
    parse.needs(options, ("summary", "legendre"), not local, "is taken over a box, and --at asks about one input")
    poly = options["surrogate"] is not None or options["legendre"] is not None
    parse.needs(options, ("per_input",), poly, "belongs to --surrogate or --legendre")
    parse.needs(options, ("color",), options["figure"] is not None, "belongs to --figure")
    forms = [n for n in ("python", "latex", "as_json") if options[n]]
    if len(forms) > 1:
        raise UsageError(
            f"{parse.flag(forms[0])} and {parse.flag(forms[1])} are two ways to print one formula: choose."
        )


# Finding --------------------------------------------------------------------------------------------------------------


def find(request: Request) -> Found:
    """Run what the request asks for.

    Raises:
        UsageError: It cannot be served.
    """
    if common.is_walk_file(request.source):
        if request.fitted or request["weight"]:
            raise UsageError(
                f"{request.source} is a record of one run, and this needs the net itself: name the net instead."
            )
        from weightwalk.walks.files import load

        return _formula(request, load(request.source))
    net = common.net_of(request.source, fresh=request["fresh"], seed=request["seed"])
    if request.fitted:
        from weightwalk.cli.formula_fits import fits

        return fits(request, net)
    if request["weight"]:
        from weightwalk.cli.formula_weights import losses

        return losses(request, net)
    return _formula(request, net)


def _formula(request: Request, net: Any) -> Found:
    """The exact formula, and what is computed from it."""
    from weightwalk.formulas.formula import formula

    text = getattr(net, "tokenizer", None) is not None
    place = _place(request, text)
    box = request.box
    over = request["summary"] or request["legendre"] is not None
    data = own_data(net) if request["data"] is None else None
    if over and box is None and not place and data is not None:
        box = [(float(a), float(b)) for a, b in zip(data.x.min(0), data.x.max(0), strict=True)]
        common.note("over the range of the net's own training data; --box chooses another")
    extra = {k: request[k] for k in LOCAL if request[k]}
    if "direction" in extra:
        extra["direction"] = parse.numbers(extra["direction"], "--direction")
    if request["tolerance"] is not None:
        extra["tolerance"] = request["tolerance"]
    with common.counting("finding the formula") as progress:
        found = formula(
            net,
            **place,
            box=box,
            output=request["output"],
            select=request.select,
            exact=request["exact"],
            seed=request["seed"] or 0,
            max_regions=request["max_regions"],
            memory=request.memory,
            progress=progress,
            **extra,
        )
    if text and set(place) == {"at"} and not extra:
        looked = _lookup(net, found, request)
        if looked is not None:
            return Found(looked, net=net)
    more = _more(request, found) if over else []
    if request["decide"]:
        more.append(_decisions(request, found))
    if request["data"] is not None:
        data = parse.data(request["data"], found.lifted.net.n, len(found.outputs))
    return Found(found, more, _tokens(net, found) or data, net)


def _place(request: Request, text: bool) -> dict[str, Any]:
    """``at``, ``line`` and ``plane`` of the verb."""
    place: dict[str, Any] = {}
    if request.at is not None:
        place["at"] = request.at if text or request.at.startswith("ids:") else parse.numbers(request.at, "--at")
    if request["line"]:
        place["line"] = tuple(
            parse.numbers(p, f"{w} of --line") for p, w in zip(request["line"], ("A", "B"), strict=True)
        )
    if request["plane"] is not None:
        place["plane"] = request["plane"]
    return place


def _lookup(net: Any, found: Any, request: Request) -> Any:
    """The closed form of a text net of one token; None where it is another kind of net."""
    if request.select is not None or request["output"] is not None or not found.lifted.embedded:
        return None
    from weightwalk.formulas.lookup import lookup, one_token

    return lookup(net, found.lifted, seed=request["seed"] or 0) if one_token(found.lifted) else None


def _tokens(net: Any, found: Any) -> parse.Data | None:
    """The embeddings of a text net's tokens, as points of its embedding plane."""
    if not found.lifted.embedded or getattr(net, "tokenizer", None) is None:
        return None
    from weightwalk.formulas.lookup import one_token, table_of

    if not one_token(found.lifted):
        return None
    table = table_of(found.lifted)
    tokens = tuple(net.tokenizer.tokens)[: len(table)]
    return parse.Data(table, None, tokens if len(tokens) <= NAMED else ())


def _more(request: Request, found: Any) -> list[Any]:
    """Integrals of the exact formula."""
    if found.kind == "point":
        raise UsageError("--summary and --legendre are taken over a line or a plane: say --line or --plane, and --box.")
    facts = found.facts
    seed = request["seed"] or 0
    if found.kind == "affine":
        facts = _as_pieces(found, request)
    out: list[Any] = []
    if request["summary"]:
        from weightwalk.formulas.integrals.summary import summary

        out.append(summary(facts, seed=seed))
        out += _shares(facts)
    if request["legendre"] is not None:
        from weightwalk.formulas.fits.legendre import legendre_surrogate

        kind = "per-input" if request["per_input"] else "total"
        out.append(legendre_surrogate(facts, request["legendre"], kind, seed=seed, memory=request.memory))
    return out


def _shares(facts: Any) -> list[Any]:
    """Exact Sobol' indices, where there are two inputs and not too many regions."""
    from weightwalk.formulas.integrals.decomposition import indices
    from weightwalk.formulas.planes.partition import Partition

    if not isinstance(facts, Partition):
        return []
    try:
        return [indices(facts)]
    except UsageError as error:
        common.note(str(error))
        return []


def _decisions(request: Request, found: Any) -> Any:
    """Which output leads where."""
    from weightwalk.formulas.planes.decisions import decisions

    if found.kind != "plane":
        raise UsageError("--decide is drawn on a plane: say which with --plane, such as --plane 0,1.")
    return decisions(found.facts, request["decide"] == "min", request.memory)


def _as_pieces(found: Any, request: Request) -> Any:
    """An affine map of one or two inputs as a line or plane of one piece."""
    from weightwalk.formulas.places import intervals

    n = found.facts.net.n
    if n > 2:
        raise UsageError(
            f"--summary is for functions of one or two numbers, and this one has {n}: say --line or --plane."
        )
    sides = intervals(request.box, n, [(-1.0, 1.0)] * n)
    if n == 1:
        from weightwalk.formulas.lines.line import line

        return line(found.facts.net, *sides[0])
    from weightwalk.formulas.planes.plane import partition

    return partition(found.facts.net, sides)


def own_data(net: Any) -> parse.Data | None:
    """The training data of a gallery net; None for any other, and for one of tokens."""
    from weightwalk.nets.gallery import GALLERY

    entry = GALLERY.get(net.provenance.get("net", "")) if getattr(net, "provenance", None) else None
    if entry is None or entry.data is None or net.expects.ids:
        return None
    x, y, *_ = entry.data()
    return parse.Data(x.double().numpy(), y.double().numpy())
