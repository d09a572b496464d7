"""Formulas as JSON: complete, every digit, nothing cut; polygons as lists of vertices, fractions as text."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from weightwalk.show.json import jsonable

LEFT_OUT = {"net", "lifted", "oracle", "frozen", "region", "certificate", "pattern", "partition", "seconds"}
"""Fields that are not the formula: the net itself, what is said elsewhere, and the clock."""


def formula_facts(found: Any) -> dict[str, Any]:
    """A formula, or what was found beside one, as plain lists, numbers and strings."""
    kind = type(found).__name__
    if kind == "Formula":
        out = _formula(found)
    else:
        out = {"is": kind, **_fields(found)}
    certificate = getattr(found, "certificate", None)
    if certificate is None:
        return out
    return {**out, "certified": certificate.ok, "certificate": _certificate(certificate)}


def _formula(found: Any) -> dict[str, Any]:
    flat = found.flat
    out: dict[str, Any] = {
        "is": "Formula", "kind": found.kind, "net": found.name, "inputs": list(found.inputs),
        "outputs": list(found.outputs),
    }  # fmt: skip
    if flat is not None:
        out["where"] = {"origin": plain(flat.origin), "directions": plain(flat.directions), "names": list(flat.names)}
    body = {"affine": _fields, "line": _line, "plane": _plane, "point": _point}[found.kind]
    out |= body(found.facts)
    if found.exact is not None:
        out["fractions"] = _fields(found.exact)
    return out


def _line(line: Any) -> dict[str, Any]:
    return {
        "start": plain(line.start), "end": plain(line.end), "kinks": plain(line.kinks),
        "units": [list(names) for names in line.units], "bends": plain(line.bends), "slopes": plain(line.slopes),
        "intercepts": plain(line.intercepts), "tolerance": line.tolerance,
    }  # fmt: skip


def _plane(plane: Any) -> dict[str, Any]:
    start, ring, edge = plane.start.tolist(), plane.ring.tolist(), plane.edge.tolist()
    places = list(pairwise(start))
    crossed = sorted({e for e in edge if e >= 0})
    return {
        "box": plain(plane.box), "activation_regions": plane.activation_regions, "affine_regions": plane.affine_regions,
        "vertices": plain(plane.vertices), "infinite": np.flatnonzero(plane.infinite).tolist(),
        "regions": [ring[a:b] for a, b in places], "edges": [edge[a:b] for a, b in places],
        "units": {str(e): plane.unit(e) for e in crossed}, "slopes": plain(plane.slopes),
        "offsets": plain(plane.offsets), "affine": plain(plane.affine), "tolerance": plane.tolerance,
        "snapped": plane.snapped,
    }  # fmt: skip


def _point(local: Any) -> dict[str, Any]:
    out = {name: plain(getattr(local, name)) for name in ("x", "y", "A", "b", "note")}
    out["nearest"] = None if local.nearest is None else _fields(local.nearest)
    out["along"] = [_fields(a) for a in local.along]
    out["at_kink"] = [local.unit_name(int(u)) for u in local.at_kink]
    rows = range(len(local.slack))
    out["polytope"] = {
        "sides": [local.side(r) for r in rows], "G": plain(local.G), "g": plain(local.g), "slack": plain(local.slack),
        "distance": plain(local.distance), "facets": plain(local.facets),
    }  # fmt: skip
    ball = local.chebyshev
    return out if ball is None else {**out, "chebyshev": _fields(ball)}


def _fields(facts: Any) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(facts) if f.name not in LEFT_OUT]
    return {n: plain(getattr(facts, n)) for n in names}


def _certificate(certificate: Any) -> dict[str, Any]:
    return {"seed": certificate.seed, "checks": [jsonable(c) for c in certificate.checks]}


def plain(facts: Any) -> Any:
    """Arrays as nested lists, all of them; fractions as text.

    >>> plain((Fraction(1, 3), np.array([[1.0, np.inf]])))
    ['1/3', [[1.0, 'Infinity']]]
    """
    if isinstance(facts, Fraction):
        return str(facts)
    if isinstance(facts, np.ndarray):
        if facts.dtype.kind in "biu" or np.isfinite(facts).all():
            return facts.tolist()
        return plain(facts.tolist())
    if isinstance(facts, (list, tuple)):
        return [plain(v) for v in facts]
    if isinstance(facts, dict):
        return {str(k): plain(v) for k, v in facts.items()}
    if dataclasses.is_dataclass(facts):
        return {"is": type(facts).__name__, **_fields(facts)}
    return jsonable(facts)
