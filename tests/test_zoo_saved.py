"""Every net of the zoo survives the file: what is loaded is what was recorded, step by step and bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo import ZOO, Case

import weightwalk as ww


@pytest.mark.parametrize("case", ZOO.values(), ids=lambda case: case.name)
def test_a_loaded_walk_is_the_saved_one(case: Case, tmp_path: Path) -> None:
    net = case.build()
    with ww.recording(net.model) as walk:
        out = case.run(net)
        if net.loss is not None:
            net.loss(out).backward()
    loaded = ww.load(walk.save(tmp_path / "net.walk"))

    assert list(loaded.steps) == list(walk.steps)
    assert list(loaded.calls) == list(walk.calls)
    assert dict(loaded.given) == dict(walk.given)
    assert loaded.completeness == walk.completeness
    assert loaded.addresses() == walk.addresses()
    for old, new in zip(walk.values, loaded.values, strict=True):
        assert (old.dtype, old.shape, old.kind, old.producer) == (new.dtype, new.shape, new.kind, new.producer)
        assert old.kept == new.kept, old.address
        if old.kept:
            assert old.numpy().tobytes() == new.numpy().tobytes(), old.address
