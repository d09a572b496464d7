"""``.walk`` files: the round trip is exact, damage is always seen, nothing half-written stays behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import weightwalk as ww
from weightwalk.errors import NotKeptError, RecordError, UsageError, WeightwalkError


def training_step() -> tuple[nn.Module, ww.Walk]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    with ww.recording(net, axis_labels={"vocab": ["no", "yé"]}) as walk:
        nn.functional.cross_entropy(net(torch.randn(5, 3)), torch.tensor([0, 1, 0, 1, 1])).backward()
        optimizer.step()
    return net, walk


def same_walk(a: ww.Walk, b: ww.Walk) -> None:
    plain = lambda s: (s.op, s.args, dict(s.kwargs), s.outputs, s.written, s.module, s.call, s.phase, s.source)  # noqa: E731
    assert [plain(s) for s in a.steps] == [plain(s) for s in b.steps]
    assert [(s.forward, s.python) for s in a.steps] == [(s.forward, s.python) for s in b.steps]
    assert a.calls == b.calls and dict(a.given) == dict(b.given) and a.meta == b.meta
    assert a.completeness == b.completeness and a.names == b.names
    for x, y in zip(a.values, b.values, strict=True):
        assert (x.dtype, x.shape, x.strides, x.kind, x.producer) == (y.dtype, y.shape, y.strides, y.kind, y.producer)
        assert x.numpy().tobytes() == y.numpy().tobytes()


def test_round_trip_is_exact(tmp_path: Path) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    same_walk(walk, ww.load(path))
    again = ww.load(path).save(tmp_path / "b.walk")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16", "complex64", "int8", "bool"])
def test_every_dtype_makes_the_trip(tmp_path: Path, dtype: str) -> None:
    x = torch.tensor([[1.5, -2.0, 0.0], [float("nan"), float("inf"), 3.0]]).nan_to_num(9).to(getattr(torch, dtype))
    walk = ww.walk(lambda t: t.t().contiguous()[1:], x)
    back = ww.load(walk.save(tmp_path / "a.walk"))
    assert back["out"].dtype == dtype
    np.testing.assert_array_equal(back["out"].numpy(), walk["out"].numpy())
    np.testing.assert_array_equal(back["in"].numpy(), walk["in"].numpy())


def test_constants_of_every_kind_make_the_trip(tmp_path: Path) -> None:
    def fn(x: torch.Tensor) -> torch.Tensor:
        y = torch.where(x > 0, x, -float("inf")).clamp(min=float("-inf"), max=1e30)
        return (y * (2 + 3j)).real.to(torch.float64)[None, ..., :0]

    walk = ww.walk(fn, torch.ones(3))
    same_walk(walk, ww.load(walk.save(tmp_path / "a.walk")))


def test_parameters_are_stored_once(tmp_path: Path) -> None:
    net = nn.Linear(1000, 100, bias=False)
    walk = ww.walk(lambda x: net(x) + net(x), torch.randn(1, 1000))
    assert walk.save(tmp_path / "a.walk").stat().st_size < net.weight.nbytes * 1.1


def test_a_slice_does_not_drag_its_whole_storage_along(tmp_path: Path) -> None:
    big = torch.randn(1_000_000)
    walk = ww.walk(lambda x: x + 1, big[500:510])
    assert walk.save(tmp_path / "a.walk").stat().st_size < 10_000


def test_weights_can_stay_outside(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(30, 40), nn.Linear(40, 2))
    walk = ww.walk(net, torch.randn(5, 30))
    path = walk.save(tmp_path / "a.walk", weights="external")
    assert path.stat().st_size < walk.save(tmp_path / "b.walk").stat().st_size - 30 * 40 * 4
    bare = ww.load(path)
    assert len(bare) == len(walk) and bare["0"].kept
    with pytest.raises(
        NotKeptError, match=r"0\.weight are not in a\.walk: it was saved with weights='external'; load it"
    ):
        bare["0.weight"].numpy()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    for weights in (net, net.state_dict(), tmp_path / "net.safetensors"):
        same_walk(walk, ww.load(path, weights=weights))
    with pytest.raises(RecordError, match=r"the weights given to a\.walk are not those of the recording: 4 of 4"):
        ww.load(path, weights={k: v + 1 for k, v in net.state_dict().items()})
    with pytest.raises(UsageError, match="weights= was given int"):
        ww.load(path, weights=3)
    with pytest.raises(UsageError, match="weights='outside' is not known"):
        walk.save(tmp_path / "c.walk", weights="outside")


def test_reading_is_lazy_and_read_only(tmp_path: Path) -> None:
    _, walk = training_step()
    back = ww.load(walk.save(tmp_path / "a.walk"))
    assert not back.store._data
    array = back["0"].numpy()
    assert len(back.store._data) == 1
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_any_flipped_bit_is_seen(tmp_path: Path) -> None:
    _, walk = training_step()
    raw = walk.save(tmp_path / "a.walk").read_bytes()
    damaged = tmp_path / "b.walk"
    rng = random.Random(0)
    for i in sorted(rng.sample(range(len(raw)), 300)) + list(range(60)):
        flipped = bytearray(raw)
        flipped[i] ^= 1 << rng.randrange(8)
        damaged.write_bytes(flipped)
        with pytest.raises(WeightwalkError):
            ww.load(damaged).store.check()


def test_damage_names_the_file_and_the_tensor(tmp_path: Path) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(RecordError, match=r"a\.walk is damaged: the numbers of .* do not match their SHA-256"):
        ww.load(path).store.check()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 5000, -1])
def test_truncated_files_are_refused(tmp_path: Path, keep: int) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RecordError, match="no walk, or a damaged or truncated one"):
        ww.load(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.walk").write_text("hello, this is a letter to my aunt")
    with pytest.raises(RecordError, match="does not read as a safetensors file"):
        ww.load(tmp_path / "a.walk")
    save_file({"x": torch.ones(2)}, tmp_path / "b.walk")
    with pytest.raises(RecordError, match="is a safetensors file but no walk"):
        ww.load(tmp_path / "b.walk")
    with pytest.raises(UsageError, match=r"does not exist; expected a \.walk file"):
        ww.load(tmp_path / "c.walk")
    with pytest.raises(UsageError, match="is a folder"):
        ww.load(tmp_path)


def forge(path: Path, change: object) -> None:
    """Rewrite the index of a walk file and its digests, as a careful forger would."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    index = json.loads(header["__metadata__"]["index"])
    change(index, header)  # type: ignore[operator]
    text = json.dumps(index)
    header["__metadata__"] |= {"index": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + raw[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda i, h: i["values"][3].__setitem__(3, 10**6),  # offset: would read beyond the buffer
        lambda i, h: i["values"][3].__setitem__(2, [-1] * len(i["values"][3][2])),
        lambda i, h: i["values"][3].__setitem__(1, [10**9] * len(i["values"][3][1])),
        lambda i, h: i["values"][3].__setitem__(5, 10**6),
        lambda i, h: i["steps"][0].__setitem__(3, [{"v": 10**6}]),
        lambda i, h: i["steps"][0].__setitem__(1, [{"v": -1}]),
        lambda i, h: i["steps"][0].__setitem__(7, "sideways"),
        lambda i, h: i["steps"][0].pop(),
        lambda i, h: i["given"].__setitem__("x", 10**6),
        lambda i, h: i["calls"][0][6].__setitem__("0", 10**6),
        lambda i, h: i.pop("meta"),
        lambda i, h: i["buffers"].popitem(),
        lambda i, h: i["completeness"].append(3),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(tmp_path: Path, change: object) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    forge(path, change)
    with pytest.raises(RecordError, match="is damaged: its index contradicts itself"):
        ww.load(path)


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    forge(path, lambda i, h: h["__metadata__"].__setitem__("version", "2"))
    with pytest.raises(RecordError, match="has format version '2'; this Weightwalk reads version 1"):
        ww.load(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    old = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"a\.walk could not be written \(No space left on device\); nothing was left"):
        walk.save(path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.walk"]  # noqa: PTH208
    with pytest.raises(UsageError, match="could not be written"):
        walk.save(tmp_path / "no" / "such" / "folder.walk")


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, walk = training_step()

    def interrupt(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        walk.save(tmp_path / "a.walk")
    assert not list(tmp_path.iterdir())


def test_it_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    _, walk = training_step()
    path = walk.save(tmp_path / "a.walk")
    value = walk["0.weight"]
    with safe_open(str(path), framework="numpy") as f:
        assert f.metadata()["format"] == "weightwalk"
        np.testing.assert_array_equal(f.get_tensor(f"buffer.{value.buffer}"), value.numpy().ravel())


def test_partial_walks_are_saved_as_partial(tmp_path: Path) -> None:
    walk = ww.walk(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), torch.ones(1, 2), keep=["1"])
    back = ww.load(walk.save(tmp_path / "a.walk"))
    assert back["1"].kept and not back["0"].kept
    with pytest.raises(NotKeptError, match=r"the numbers of 0 are not in a\.walk: they were not kept"):
        back["0"].numpy()


def test_weights_left_out_are_found_again_where_parameters_hold_the_same_numbers(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.LayerNorm(3))  # both start as ones and zeros
    ww.walk(net, torch.randn(2, 3)).save(tmp_path / "n.walk", weights="external")
    walk = ww.load(tmp_path / "n.walk", weights=net)
    assert all(walk[name].kept for name in ("0.weight", "1.weight", "0.bias", "1.bias"))
    assert walk.verify().ok and not walk.verify().counts["not kept"]
