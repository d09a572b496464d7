"""Small architectures of every kind that Weightwalk claims to walk, each built from a seed in milliseconds.

    from zoo import ZOO
    net = ZOO["gpt2"].build()
    net.model(*net.args, **net.kwargs)

Nothing is downloaded: the `transformers` models are built from configurations, with random weights.
"""

from __future__ import annotations

from zoo import attention, convolutions, decoders, encoders, feedforward, modalities, recurrent, structures
from zoo.entry import Case, Float64, Net, tensors, widen

ZOO: dict[str, Case] = {}
for _room in (feedforward, convolutions, recurrent, attention, structures, decoders, encoders, modalities):
    for _case in _room.CASES:
        assert _case.name not in ZOO, f"two nets of the zoo are called {_case.name}"
        ZOO[_case.name] = _case

__all__ = ["ZOO", "Case", "Float64", "Net", "tensors", "widen"]
