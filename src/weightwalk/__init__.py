"""Weightwalk: walk a neural network, every number in it, where it came from, and proof that it adds up.

::

    import weightwalk as ww

    walk = ww.walk(model, x)                         # run it once, and write down every operation
    walk["fc1"].numpy()                              # what a module returned
    walk.verify()                                    # every step again, in float64, against its rounding bound
    walk.account("out[0, 3]", cut="inputs")          # one number as an exact sum of contributions
    walk.narrate()                                   # the story, in words and sums
    walk.save("run.walk"); ww.load("run.walk")       # one file that a stranger can check
    ww.formula(net)                                  # the exact function that a piecewise-linear net computes
    ww.nudge("hello")                                # one training step: every weight's blame, and its nudge
    ww.census("hello6", seeds=1000)                  # a thousand trainings, counted by outcome
    ww.train("hello6", seed=3)                       # a training, seeded to the bit
    ww.diagnose("hello6", seed=2)                    # why it is where it is: dead units, gradients, the Hessian
    ww.landscape("regions", seeds=(0, 1))            # its loss over planes of weights, and what they hide

``with ww.recording(model) as walk:`` records a training step: forward, loss, backward and update. ``ww.load_net`` has
networks to walk, ``ww.compare`` holds two walks side by side.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightwalk.formulas.formula import formula
    from weightwalk.learning.censuses.census import census
    from weightwalk.learning.diagnoses.diagnose import diagnose
    from weightwalk.learning.landscapes.landscape import landscape
    from weightwalk.learning.nudges.nudge import nudge
    from weightwalk.learning.train import train
    from weightwalk.nets.load import load_net
    from weightwalk.readings.compare import compare
    from weightwalk.recorder import recording, walk
    from weightwalk.walks.files import load
    from weightwalk.walks.walk import Walk

__version__ = "0.1.0"

# Verb -> the room it lives in. Rooms are imported when a verb is first used, so that `import weightwalk` stays light.
_DOORS = {
    "Walk": "weightwalk.walks.walk",
    "census": "weightwalk.learning.censuses.census",
    "compare": "weightwalk.readings.compare",
    "diagnose": "weightwalk.learning.diagnoses.diagnose",
    "formula": "weightwalk.formulas.formula",
    "landscape": "weightwalk.learning.landscapes.landscape",
    "load": "weightwalk.walks.files",
    "load_net": "weightwalk.nets.load",
    "nudge": "weightwalk.learning.nudges.nudge",
    "recording": "weightwalk.recorder",
    "train": "weightwalk.learning.train",
    "walk": "weightwalk.recorder",
}

__all__ = [
    "Walk",
    "__version__",
    "census",
    "compare",
    "diagnose",
    "formula",
    "landscape",
    "load",
    "load_net",
    "nudge",
    "recording",
    "train",
    "walk",
]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'weightwalk' has no attribute {name!r}")
    try:
        value = getattr(import_module(_DOORS[name]), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        science = "learning" if _DOORS[name].startswith("weightwalk.learning") else "formulas"
        extra = {"torch": "torch", "scipy": science, "pandas": science}.get(missing)
        if extra is None:
            raise
        from weightwalk.errors import UsageError

        raise UsageError(
            f"weightwalk.{name} needs {missing}, which is not installed; "
            f"reading walks does without: for the rest, pip install 'weightwalk[{extra}]'."
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
