"""What people type, and what becomes of it; what is refused, and in which words."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.nets import load_net
from weightwalk.nets.inputs import Expects, expectation, read_input
from weightwalk.nets.net import Net

FOUR = expectation(nn.Linear(4, 2))
THREE = expectation(nn.Sequential(nn.Linear(3, 2)))
ONE = expectation(nn.Linear(1, 1))
IDS = expectation(nn.Embedding(10, 2))


def tensor(given: object, expects: Expects) -> torch.Tensor:
    (result,), kwargs, _ = read_input(given, expects)
    assert not kwargs
    return result


@pytest.mark.parametrize(
    ("typed", "expects", "rows"),
    [
        ("2.0", ONE, [[2.0]]),
        ("1,2,3", ONE, [[1.0], [2.0], [3.0]]),
        ("1,2,3", THREE, [[1.0, 2.0, 3.0]]),
        ("1,2,3; 4,5,6", THREE, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ("1 2 3 4 5 6", THREE, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ("-1e-3, +2.5E2, .5", THREE, [[-1e-3, 250.0, 0.5]]),
        ("inf,-inf,0", THREE, [[math.inf, -math.inf, 0.0]]),
        (2, ONE, [[2.0]]),
        ([1, 2, 3], THREE, [[1.0, 2.0, 3.0]]),
        (np.arange(6), THREE, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
        (torch.ones(2, 3, dtype=torch.float64), THREE, [[1.0, 1.0, 1.0]] * 2),
        ("3,1", IDS, [[3, 1]]),
        ("ids:3,1", IDS, [[3, 1]]),
        ([3, 1], IDS, [[3, 1]]),
        (np.array([[3, 1]]), IDS, [[3, 1]]),
        (np.array([3.0, 1.0]), IDS, [[3, 1]]),
    ],
)
def test_numbers(typed: object, expects: Expects, rows: list) -> None:
    result = tensor(typed, expects)
    assert result.dtype is expects.dtype
    assert torch.equal(result, torch.tensor(rows, dtype=expects.dtype))


def test_nan_is_a_number_here() -> None:
    assert tensor("nan", ONE).isnan().all()


def test_unknown_nets_get_the_numbers_as_they_are() -> None:
    assert tensor("1,2", Expects()).tolist() == [1.0, 2.0]
    assert tensor("2", Expects()).tolist() == [2.0]
    assert tensor("1,2;3,4", Expects()).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert tensor(np.ones((2, 3, 4)), Expects()).shape == (2, 3, 4)


@given(st.floats(width=32, allow_nan=False))
def test_every_float32_can_be_typed(x: float) -> None:
    assert tensor(repr(x), ONE).item() == x


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_nets_own_type_is_used(dtype: torch.dtype) -> None:
    assert tensor("1.5", expectation(nn.Linear(1, 1, dtype=dtype))).dtype is dtype


@pytest.mark.parametrize(
    ("given", "expects", "message"),
    [
        ("two", ONE, r"'two' is not a number; this layer takes 1 number at a time, such as 2\.0"),
        ("1_000", ONE, "'1_000' is not a number"),
        ("1,2", THREE, "The input has 2 numbers; its first layer, 0, takes 3 numbers at a time, such as 1,2,3"),
        ("1,2,3", FOUR, r"takes 4 numbers at a time, such as 1,2,3,\.\.\."),
        ("", ONE, "The input is empty"),
        (" ; ", ONE, "The input is empty"),
        ("1,2;3", Expects(), "rows of the input differ in length: 2, 1"),
        ("1e999", ONE, "1e999 is too large for a float64; write inf"),
        ("1e39", ONE, "1e\\+39 is too large for this net's numbers, which are float32"),
        ([[1, 2], [3]], ONE, "rows differ in length, so it is no array"),
        (None, ONE, "The input is a NoneType; expected numbers, text, an array"),
        (b"12", ONE, "The input is a bytes"),
        (["a"], ONE, "The input is a list; expected numbers"),
        (np.ones((2, 5)), THREE, r"The input has shape \(2, 5\); its first layer, 0, takes 3 numbers"),
        ({}, ONE, "names no tensor"),
        ("10", IDS, "The token id 10 does not exist: this layer knows ids from 0 to 9"),
        ("-1", IDS, "The token id -1 does not exist"),
        ([3, 99], IDS, "The token id 99 does not exist"),
        ("1.5", IDS, "'1.5' is not a token id; this layer takes token ids from 0 to 9"),
        ([1.5], IDS, "Token ids are whole numbers"),
        ("hello", IDS, "came without a tokenizer that can be loaded, so it cannot read the text 'hello'"),
        (np.zeros(0, dtype=int), IDS, "holds no token"),
    ],
)
def test_refusals(given: object, expects: Expects, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_input(given, expects)


def test_text() -> None:
    hello = load_net("hello")
    assert hello.inputs("cat dog").args[0].tolist() == [2, 3]
    assert load_net("gpt").inputs("The").args[0].shape == (1, 1)
    with pytest.raises(UsageError, match="The text is empty"):
        hello.inputs("")
    with pytest.raises(UsageError, match="The word 'bird' is unknown"):
        hello.inputs("cat bird")
    with pytest.raises(UsageError, match="The character '☕'"):
        load_net("gpt").inputs("☕")
    with pytest.raises(UsageError, match="The token id 5 does not exist: its first layer, embed, knows ids from 0 to"):
        hello.inputs([5])
    with pytest.raises(UsageError, match="has 65 tokens, and this net has positions for 64: shorten it"):
        load_net("gpt").inputs("?" * 65)
    assert hello.inputs("ids:4,0").labels["tokens"] == ["!", "hello"], "ids are named as text is"


@pytest.mark.parametrize("name", ["a.npy", "a.json", "a.safetensors", "a.txt"])
def test_files_of_numbers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    if name.endswith("npy"):
        np.save(path, np.array(rows))
    elif name.endswith("json"):
        path.write_text(json.dumps(rows))
    elif name.endswith("txt"):
        path.write_text("1 2 3\n4 5 6\n")
    else:
        save_file({"x": np.array(rows)}, path)
    assert tensor(f"@{path}", THREE).tolist() == rows


def test_a_text_file_is_the_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("cat dog\n")
    assert load_net("hello").inputs(f"@{tmp_path / 't.txt'}").args[0].tolist() == [2, 3]
    (tmp_path / "t.json").write_text('"cat dog"')
    assert load_net("hello").inputs(f"@{tmp_path / 't.json'}").args[0].tolist() == [2, 3]


def test_several_tensors_go_in_by_name(tmp_path: Path) -> None:
    save_file({"a": np.ones(2), "b": np.arange(2)}, tmp_path / "x.safetensors")
    args, kwargs, _ = read_input(f"@{tmp_path / 'x.safetensors'}", Expects())
    assert args == ()
    assert {k: v.dtype for k, v in kwargs.items()} == {"a": torch.float32, "b": torch.int64}
    (tmp_path / "x.json").write_text('{"a": [1.5], "b": [2]}')
    assert read_input(f"@{tmp_path / 'x.json'}", Expects()).kwargs["b"].tolist() == [2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "There is no input file"),
        ("a.csv", b"1,2", r"Input files are \.npy, \.json, \.txt, \.safetensors; .*a\.csv' is none of them"),
        ("a.npy", b"junk", "'a.npy' is not an array of numbers that can be read safely"),
        ("a.json", b"{", "'a.json' is not valid JSON"),
        ("a.json", b"null", "'a.json' holds null; expected numbers"),
        ("a.txt", b"\xff\xfe", r"'a.txt' is not UTF-8 text \(byte 0\)"),
        ("a.safetensors", b"\x00" * 20, "'a.safetensors' is not a whole safetensors file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_input(f"@{tmp_path / name}", ONE)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="not an array of numbers that can be read safely"):
        read_input(f"@{tmp_path / 'o.npy'}", ONE)


def test_arrays_of_text_and_of_several_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array(["a"]))
    with pytest.raises(UsageError, match="holds <U1, not numbers"):
        read_input(f"@{tmp_path / 's.npy'}", ONE)
    save_file({}, tmp_path / "e.safetensors")
    with pytest.raises(UsageError, match="holds no tensor"):
        read_input(f"@{tmp_path / 'e.safetensors'}", ONE)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(2, 3, 3), (1, 2, 8)),
        (nn.Conv2d(2, 3, 3), (1, 2, 8, 8)),
        (nn.Conv3d(2, 3, 3), (1, 2, 8, 8, 8)),
    ],
)
def test_convolutions_want_channels(layer: nn.Module, shape: tuple[int, ...]) -> None:
    expects = expectation(layer if isinstance(layer, nn.Sequential) else nn.Sequential(layer))
    assert tensor(np.ones(shape), expects).shape == shape
    assert tensor(np.ones(shape[1:]), expects).shape == shape, "one example gets a batch axis"
    with pytest.raises(UsageError, match=r"0, takes shape \(N, 2, .*give it as @file\.npy"):
        tensor("1,2,3", expects)
    with pytest.raises(UsageError, match=r"takes shape \(N, 2, "):
        tensor(np.ones((1, 5, *shape[2:])), expects)


def test_sequences_for_recurrent_nets() -> None:
    expects = expectation(nn.Sequential(nn.LSTM(3, 4)))
    assert tensor("1,2,3;4,5,6", expects).shape == (2, 3)
    assert tensor(np.ones((5, 1, 3)), expects).shape == (5, 1, 3)


def test_a_guess_from_the_first_layer_does_not_refuse_arrays() -> None:
    """The first layer registered need not be the first used: an array with its own shape is let through."""

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(7, 1)
            self.first = nn.Linear(3, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    expects = expectation(Backwards())
    assert tensor(np.ones((2, 3)), expects).shape == (2, 3)


def test_nets_without_a_telling_first_layer() -> None:
    assert expectation(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))).size is None
    assert expectation(len) == Expects()
    assert expectation(nn.Sequential(nn.ReLU(), nn.Linear(3, 1))).size == 3


def test_weightless_nets_have_a_dtype_and_a_digest_too() -> None:
    net = Net("f", torch.sin, "a function", Expects())
    assert net.dtype == "float32"
    assert len(net.sha256) == 64
    assert net.inputs("1,2").args[0].tolist() == [1, 2]
