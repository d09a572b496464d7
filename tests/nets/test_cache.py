"""Remembered trainings: found again, never trusted blindly, never in the way."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weightwalk.learning.train import TrainingInterrupted
from weightwalk.nets import GALLERY
from weightwalk.nets.cache import cache_directory, recall, recipe_key, remember
from weightwalk.nets.net import Net
from weightwalk.nets.training import gallery_net

ENTRY = replace(GALLERY["linear"], recipe=replace(GALLERY["linear"].recipe, epochs=3))
TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(())}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "cache"
    monkeypatch.setenv("WEIGHTWALK_CACHE", str(path))
    return path


def trained(**options: object) -> tuple[Net, int]:
    """The net, and for how many epochs it was trained for that."""
    epochs: list[int] = []
    net = gallery_net(ENTRY, progress=lambda name, done, total, loss: epochs.append(done), **options)  # type: ignore[arg-type]
    return net, len(epochs)


def test_trained_once_then_recalled_with_the_same_bits_and_history(folder: Path) -> None:
    first, epochs = trained()
    second, again = trained()
    assert (epochs, again) == (3, 0)
    assert first.sha256 == second.sha256
    assert first.history == second.history
    assert (first.remembered, second.remembered) == (False, True)
    assert first.provenance == second.provenance, "the net is the same, so its papers are"
    assert len(list(folder.iterdir())) == 1


def test_fresh_trains_anew() -> None:
    first, _ = trained()
    second, epochs = trained(fresh=True)
    assert epochs == 3
    assert first.sha256 == second.sha256


def test_another_recipe_or_seed_is_another_net(folder: Path) -> None:
    trained()
    assert trained(seed=1)[1] == 3
    gallery_net(replace(ENTRY, recipe=replace(ENTRY.recipe, lr=0.2)))
    assert len(list(folder.iterdir())) == 3
    assert recipe_key({"lr": 1}) != recipe_key({"lr": 2})


def test_other_data_is_another_net(folder: Path) -> None:
    trained()
    x, y, hx, hy = ENTRY.data()
    gallery_net(replace(ENTRY, data=lambda: (x, y + 1, hx, hy)))
    assert len(list(folder.iterdir())) == 2


def test_any_damage_means_training_anew(folder: Path) -> None:
    net, _ = trained()
    (path,) = folder.iterdir()
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    harms = {
        "empty": b"",
        "cut": good[:-1],
        "longer": good + b"x",
        "one bit of a weight": good[:-1] + bytes([good[-1] ^ 1]),
        "one digit of the history": good[:header].replace(b"losses", b"lasses") + good[header:],
        "no facts": good[:header].replace(b"weightwalk", b"weightwal_") + good[header:],
        "no seal": good[:header].replace(b" ", b"_") + good[header:],
        "another format": b"\x80\x04." * 10,
        "a huge header": (2**62).to_bytes(8, "little") + good[8:],
    }
    for harm, data in harms.items():
        assert data != good, harm
        path.write_bytes(data)
        again, epochs = trained()
        assert epochs == 3, harm
        assert again.sha256 == net.sha256
        assert path.read_bytes() == good, "and is put right"


def test_every_flipped_bit_is_noticed(folder: Path) -> None:
    remember("x", "k", TENSORS, {"a": 1})
    (path,) = folder.iterdir()
    good = path.read_bytes()
    assert recall("x", "k") is not None
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        found = recall("x", "k")
        # A bit in the JSON header may change nothing that is meant (a space, say); never the numbers or the facts.
        if found is not None:
            assert all(torch.equal(found[0][n], t) for n, t in TENSORS.items())
            assert found[1] == {"a": 1}


def test_a_cache_that_cannot_be_written_is_no_error(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where the directory should be")
    net, epochs = trained()
    assert epochs == 3
    assert not net.remembered
    assert not remember("x", "k", TENSORS, {})
    assert recall("x", "k") is None


def test_a_failed_write_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("x", "k", TENSORS, {"old": True})
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not remember("x", "k", TENSORS, {"new": True})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_an_interrupted_training_is_not_remembered(folder: Path) -> None:
    import signal

    with pytest.raises(TrainingInterrupted):
        gallery_net(ENTRY, progress=lambda *facts: signal.raise_signal(signal.SIGINT))
    assert not folder.exists()


def test_readers_beside_writers_see_all_or_nothing() -> None:
    big = {"w": torch.randn(200, 200)}
    remember("x", "k", big, {"n": 0})
    seen, stop = [], threading.Event()

    def write(offset: int) -> None:
        for n in range(15):
            assert remember("x", "k", big, {"n": offset + n})

    def read() -> None:
        while not stop.is_set():
            seen.append(recall("x", "k"))

    reader, writers = threading.Thread(target=read), [threading.Thread(target=write, args=(100 * i,)) for i in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert seen
    assert all(found is not None and torch.equal(found[0]["w"], big["w"]) for found in seen)


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_directory() == tmp_path / "deep" / "cache"
    monkeypatch.delenv("WEIGHTWALK_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "weightwalk"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_directory() == tmp_path / ".cache" / "weightwalk"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_directory() == tmp_path / "Library" / "Caches" / "weightwalk"


def test_no_home_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WEIGHTWALK_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_directory() is None
    assert recall("x", "k") is None
    assert not remember("x", "k", TENSORS, {})


def test_it_is_plain_safetensors(folder: Path) -> None:
    from safetensors import safe_open

    trained()
    (path,) = folder.iterdir()
    with safe_open(path, "np") as file:
        assert set(file.keys()) == {"fc.weight", "fc.bias"}
        assert len(json.loads(file.metadata()["weightwalk"].split(" ", 1)[1])["history"]["losses"]) == 3
