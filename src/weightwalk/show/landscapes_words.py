"""What a landscape's title says and what its picture leaves out, for the terminal and for figures alike."""

from __future__ import annotations

from typing import Any

from weightwalk.show.formula_layout import count, told

KINDS = {
    "random": "along two random directions",
    "weights": "over two of its weights",
    "weight": "along one of its weights",
    "trajectory": "on the plane of its training's principal components",
    "rates": "on the plane of its steepest directions",
    "optimizers": "on the plane of several trainings",
    "between": "between two nets",
    "three nets": "on the plane of three nets",
}


def title(found: Any) -> str:
    """``sqrt: mse along two random directions, 3 seeds``."""
    first = found.surfaces[0]
    where = KINDS.get(found.kind, f"on a plane ({found.kind})")
    if found.kind == "random" and first.shown == 1:
        where = "along a random direction"
    many = f", {count(len(found.surfaces), 'surface')} with one scale" if len(found.surfaces) > 1 else ""
    return f"{found.net}: {first.loss} {where}{many}"


def settings_words(found: Any) -> str:
    """How the net at the centre came to be."""
    said = dict(found.settings)
    shape = ", ".join(
        f"{k} {v}" for k, v in said.items() if k not in ("task", "seed", "loss", "optimizer", "lr", "epochs", "batch")
    )
    made = f"{said.get('task', found.net)}{f' ({shape})' if shape else ''}"
    if "optimizer" not in said:
        return f"the net as it was given: {made}"
    batch = f", batches of {said['batch']}" if said.get("batch") else ""
    how = (
        f"{said['optimizer']}, rate {told(said['lr'], 4)}, {count(said['epochs'], 'epoch')}{batch}, seed {said['seed']}"
    )
    return f"the net at the centre: {made}, trained by {how}"


def scale_words(scale: tuple[float, float], steep: bool) -> str:
    """How shades are to be read."""
    return f"{told(scale[0], 3)} (light) to {told(scale[1], 3)} (dark)" + (", logarithmic" if steep else "")


def dimensions(surface: Any) -> str:
    """``2 of 1,953 dimensions (0.1 %)``."""
    return f"{surface.shown} of {count(surface.n_parameters, 'dimension')} ({told(100 * surface.share, 2)} %)"


def eigenvalue_words(spectrum: Any) -> str:
    """``greatest eigenvalues 69.7, 0.52, 0.01; 2 of 25 negative, the least -0.003``."""
    tops = ", ".join(told(v, 4) for v in spectrum.largest[:3].tolist())
    exact = "" if spectrum.negative_is_exact else "at least "
    text = f"greatest eigenvalues {tops}; {exact}{spectrum.negative:,} of {spectrum.n:,} negative"
    if spectrum.smallest is None or not len(spectrum.smallest):
        return text
    least = float(spectrum.smallest[0])
    if abs(least) <= spectrum.tolerance:  # what rounding makes of 0: its digits say nothing, nor does its sign
        return f"{text}, the least 0 (within ±{spectrum.tolerance:.0e})"
    return f"{text}, the least {told(least, 4)}"


def spectrum_sentences(found: Any) -> list[str]:
    """The eigenvalues, and what random directions make of them."""
    spectrum, curvatures = found.spectrum, found.curvatures
    made = []
    if spectrum is not None:
        made.append(f"Hessian at the net: {eigenvalue_words(spectrum)}; gradient {told(spectrum.gradient_norm, 3)}.")
    if curvatures is not None:
        text = (
            f"Of {curvatures.directions:,} random directions {curvatures.negative:,} bend downwards; their curvature "
        )
        text += f"is {told(curvatures.mean, 3)} in the mean and {told(curvatures.minimum, 3)} at least"
        if spectrum is not None and spectrum.negative and not curvatures.negative:
            are = "is" if spectrum.negative == 1 else "are"
            text += f": no such picture shows that {count(spectrum.negative, 'eigenvalue')} {are} negative"
        made.append(text + ".")
    return made


def hidden_sentences(found: Any) -> list[str]:
    """All sentences on what the picture leaves out, the most important first."""
    first = found.surfaces[0]
    made = [f"Shown: {dimensions(first)}; held fixed: {first.held}."]
    gap = max(abs(s.centre_gap) for s in found.surfaces)
    grid = f"comes to within {told(gap, 2)}" if gap else "gives the same bits"
    made.append(
        f"The centre is the net itself: {first.loss} {told(first.centre_loss, 9)} by {first.data}, from a call of the "
        f"untouched net (the grid's own arithmetic {grid})."
    )
    made += spectrum_sentences(found)
    bad = sum(s.not_finite for s in found.surfaces)
    if bad:
        made.append(f"{count(bad, 'place')} of the grid {'has' if bad == 1 else 'have'} no finite loss.")
    lower = [s for s in found.surfaces if s.lowest < s.centre_loss]
    if lower and found.kind != "between":
        least = min(lower, key=lambda s: s.lowest)
        made.append(f"The net is not the lowest place: {told(least.lowest, 6)} is met on the grid.")
    return [*made, *found.notes]
