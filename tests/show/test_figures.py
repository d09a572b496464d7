"""Pictures of walks: drawn from the story, the same bytes each time, and open about what they leave out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import weightwalk as ww
from weightwalk.nets.gpt import GPT, GPTConfig
from weightwalk.nets.modules import HelloNet, ReluNet
from weightwalk.readings.narrate import narrate
from weightwalk.show.figures import draw, graph_of

pytest.importorskip("matplotlib")


def walked(net: torch.nn.Module, x: torch.Tensor, **options: object) -> ww.Walk:
    with torch.no_grad():
        return ww.walk(net, x, **options)


def test_the_graph_is_the_walk() -> None:
    walk = walked(ReluNet(3), torch.tensor([[2.0]]))
    graph = graph_of(narrate(walk))
    assert [len(nodes) for _, nodes in graph.columns] == [1, 3, 3, 1]
    for _, nodes in graph.columns:
        for node in nodes:
            assert node.value == pytest.approx(float(walk[node.label]), rel=1e-6)
    weights = walk["fc2.weight"].numpy()[0]
    into = [v for a, b, v in graph.arrows if b == "out"]
    assert into == pytest.approx((weights * walk["relu"].numpy()[0]).tolist(), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("ending", [".svg", ".png", ".pdf"])
def test_a_picture_is_the_same_each_time(tmp_path: Path, ending: str) -> None:
    walk = walked(ReluNet(3), torch.tensor([[2.0]]))
    draw(walk, tmp_path / f"a{ending}")
    draw(walk, tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_a_picture_says_what_it_leaves_out(tmp_path: Path) -> None:
    walk = walked(HelloNet(), torch.tensor([0]), axis_labels={"vocab": ["a", "b", "$c", "<d>", "&"]})
    draw(walk, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "Not drawn: biases, rounding, weights." in text
    assert "&lt;d&gt;" in text


def test_a_transformer_s_picture(tmp_path: Path) -> None:
    net = GPT(GPTConfig(vocab_size=30, n_embd=16, n_layer=2, n_head=2))
    walk = walked(
        net, torch.tensor([[1, 2, 3]]), axis_labels={"tokens": ["a", "$b", "c"], "vocab": [f"w{i}" for i in range(30)]}
    )
    draw(walk, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("transformer.h.0.attn", "where each head looks", "last position", "the other 25 share"):
        assert words in text


def test_nan_does_not_break_the_picture(tmp_path: Path) -> None:
    draw(walked(ReluNet(2), torch.tensor([[float("nan")]])), tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
