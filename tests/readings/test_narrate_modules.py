"""The story of a large net: module by module, with attention found from the data flow."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from torch import nn

import weightwalk as ww
from weightwalk.nets.gpt import GPT, GPTConfig
from weightwalk.readings.narrate import Section, Story, Sum, Table, Text, narrate
from weightwalk.show.terminal import plain

CONFIG = GPTConfig(vocab_size=40, n_embd=16, n_layer=2, n_head=2)
TOKENS = ["a", "b", "c", "d"]
LABELS = {"tokens": TOKENS, "vocab": [f"w{i}" for i in range(40)]}


def walked(net: nn.Module, *args: torch.Tensor, **options: object) -> ww.Walk:
    with torch.no_grad():
        return ww.walk(net.eval(), *args, **options)


@pytest.fixture(scope="module")
def gpt() -> ww.Walk:
    torch.manual_seed(0)
    net = GPT(CONFIG)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(8)  # so that the heads look somewhere
    return walked(net, torch.tensor([[3, 1, 4, 1]]), axis_labels=LABELS)


def tables(story: Story, start: str) -> list[Table]:
    return [x for x in story.lines() if isinstance(x, Table) and x.caption.startswith(start)]


def test_a_transformer_is_told_in_the_order_in_which_it_computes(gpt: ww.Walk) -> None:
    page = plain(narrate(gpt, top=40))
    order = [
        "wte ", "wpe ", "add of wte and wpe", "transformer.h.0", "ln_1", "q·k/√8", "softmax: how much",
        "weighted values", "ln_2", "feed-forward block", "transformer.h.1", "ln_f", "lm_head", "score s",
        "probability", "→",
    ]  # fmt: skip
    at = 0
    for words in order:
        at = page.find(words, at)
        assert at >= 0, f"{words!r} does not follow"


def test_scores_and_patterns_are_those_of_the_equation(gpt: ww.Walk) -> None:
    story = narrate(gpt)
    scores, patterns, values = (tables(story, s) for s in ("q·k/√8", "softmax: how much", "weighted values"))
    assert len(scores) == len(patterns) == len(values) == 2
    for layer in range(2):
        qkv = gpt[f"transformer.h.{layer}.attn.c_attn"].numpy()[0].astype(np.float64)
        q, k, v = (x.reshape(4, 2, 8).transpose(1, 0, 2) for x in np.split(qkv, 3, axis=-1))
        for head in range(2):
            s = q[head, -1] @ k[head].T / math.sqrt(8)
            p = np.exp(s) / np.exp(s).sum()
            np.testing.assert_allclose([float(c) for c in scores[layer].rows[head][1:]], s, rtol=2e-5, atol=1e-6)
            np.testing.assert_allclose([float(c) for c in patterns[layer].rows[head][1:5]], p, atol=2e-6)
            norms = np.linalg.norm(p[:, None] * v[head], axis=1)
            np.testing.assert_allclose([float(c) for c in values[layer].rows[head][1:5]], norms, rtol=1e-4)
            mixed = np.linalg.norm(p @ v[head])
            np.testing.assert_allclose(float(values[layer].rows[head][5]), mixed, rtol=1e-4)


def test_rows_of_a_pattern_add_up_as_printed(gpt: ww.Walk) -> None:
    for table in tables(narrate(gpt), "softmax: how much"):
        for row in table.rows:
            *cells, whole = row[1:]
            assert sum(c for c in cells if isinstance(c, Decimal)) == whole == 1


def test_a_fused_kernel_s_scores_are_computed_and_that_is_said() -> None:
    class Fused(nn.Module):
        def __init__(self, causal: bool, scale: float | None) -> None:
            super().__init__()
            self.causal, self.scale = causal, scale

        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            f = nn.functional.scaled_dot_product_attention
            return f(q, k, v, is_causal=self.causal, scale=self.scale)

    q, k, v = (torch.randn(1, 3, 5, 8) for _ in range(3))
    for causal in (False, True):
        for scale in (None, 0.7):
            walk = walked(Fused(causal, scale), q, k, v)
            story = narrate(walk, depth=0)
            said = " ".join(x.text for x in story.lines() if isinstance(x, Text))
            assert "A fused kernel ran this attention and kept no scores" in said
            (table,) = tables(story, "softmax: how much")
            s = (q.double() @ k.double().mT) * (scale or 1 / math.sqrt(8))
            p = s[0, :, -1].softmax(-1).numpy()
            np.testing.assert_allclose([[float(c) for c in r[1:6]] for r in table.rows], p, atol=2e-6)
            assert float(said.rpartition("at most ")[2].rstrip(".")) < 1e-6


def test_a_mask_hides_the_future() -> None:
    """Seen from the first position everything else is masked (a story tells the last position)."""
    from weightwalk.readings.narrate_attention import tell_attention
    from weightwalk.readings.narrate_names import Names
    from weightwalk.readings.narrate_ops import Teller

    walk = walked(GPT(CONFIG), torch.tensor([[3, 1, 4]]))
    step = next(s for s in walk.steps if s.name == "softmax")
    lines = tell_attention(Teller(Names(walk), top=5), walk, step, at=0)
    scores = next(x for x in lines if isinstance(x, Table) and x.caption.startswith("q·k"))
    assert [row[2:] for row in scores.rows] == [("masked", "masked")] * 2


def test_many_keys_show_the_heaviest_and_the_rest(gpt: ww.Walk) -> None:
    net = GPT(CONFIG)
    walk = walked(net, torch.arange(20)[None])
    (table, *_) = tables(narrate(walk, top=3), "softmax: how much")
    assert table.columns[1:] == ("largest 1", "largest 2", "largest 3", "rest", "sum")
    for row in table.rows:
        shown = [Decimal(str(c).split()[-1]) for c in row[1:4]]
        assert sum(shown) + row[4] == row[5] == 1  # type: ignore[operator]
        assert shown == sorted(shown, reverse=True)


def test_the_top_logit_is_its_largest_terms_and_the_exact_rest(gpt: ww.Walk) -> None:
    line = next(x for x in narrate(gpt).lines() if isinstance(x, Sum))
    assert sum(t.value for t in line.terms) == line.total
    best = gpt["out"].numpy()[0, -1].max()
    assert np.float32(float(line.total)) == best


def test_probabilities_close(gpt: ww.Walk) -> None:
    table = next(x for x in narrate(gpt).lines() if isinstance(x, Table) and "probability" in x.columns)
    *rows, last = table.rows
    assert last[0] == "sum"
    assert sum(r[-2] for r in rows if isinstance(r[-2], Decimal)) == last[-2] == 1
    assert str(rows[-1][0]) == "the other 35"


def test_a_wall_of_numbers_is_never_shown() -> None:
    net = GPT(GPTConfig(vocab_size=300, n_embd=48, n_layer=10, n_head=12))
    story = narrate(walked(net, torch.arange(30)[None]))
    assert plain(story).count("\n") < 250
    assert any("In one line each: transformer.h.1 to transformer.h.8" in n for n in story.notes)


def sections(story: Story) -> list[Section]:
    out: list[Section] = []

    def visit(section: Section) -> None:
        out.append(section)
        for child in section.children:
            visit(child)

    for section in story.sections:
        visit(section)
    return out


def test_depth_unfolds(gpt: ww.Walk) -> None:
    at = {d: {s.address for s in sections(narrate(gpt, depth=d))} for d in (0, 1, 2, 3)}
    assert "transformer" not in at[0]
    assert "transformer" in at[1]
    assert "transformer.h.0" in at[2] - at[1]
    assert "transformer.h.0.attn" in at[3] - at[2]


def test_focus_unfolds_one_module(gpt: ww.Walk) -> None:
    story = narrate(gpt, focus="h.1.mlp")
    assert story.sections[0].address == "transformer.h.1.mlp"
    assert "c_fc" in plain(story)


def test_focus_on_an_attention_op(gpt: ww.Walk) -> None:
    story = narrate(gpt, focus="transformer.h.0.attn/softmax")
    assert len(tables(story, "softmax: how much")) == 1


def test_each_part_s_norm_is_right(gpt: ww.Walk) -> None:
    norms = {
        f"{s.address}.{row[0]}": float(row[3])
        for s in sections(narrate(gpt))
        for x in s.lines
        if isinstance(x, Table) and "norm" in x.columns
        for row in x.rows
        if isinstance(row[3], Decimal) and "/" not in str(row[0]) and "(" not in str(row[0])
    }
    assert len(norms) > 8
    for address, norm in norms.items():
        value = gpt[address.removeprefix(".")].numpy().astype(np.float64)
        row = value.reshape(-1, value.shape[-1])[-1]
        np.testing.assert_allclose(norm, np.linalg.norm(row), rtol=1e-5)


def test_nan_inside_a_large_net_is_seen() -> None:
    net = GPT(CONFIG)
    with torch.no_grad():
        net.transformer.h[1].ln_1.weight[3] = float("nan")
    page = plain(narrate(walked(net, torch.tensor([[1, 2]]), axis_labels={"vocab": LABELS["vocab"]})))
    assert "1 of 16 are NaN or infinite" in page
    assert "no winner" in page


def test_a_module_called_twice_and_one_without_output() -> None:
    class Silent(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            x.sum()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.silent = nn.Linear(40, 40), Silent()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.silent(x)
            return self.fc(self.fc(x))

    walk = walked(Net(), torch.randn(2, 40))
    page = plain(narrate(walk))
    assert "fc#2" in page
    assert "no output" in page
    assert "fc was called 2 times" in " ".join(narrate(walk, focus="fc").notes)


def test_a_large_training_step_is_told_by_norms() -> None:
    net = nn.Sequential(nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 1))
    before = net[0].weight.detach().clone()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    with ww.recording(net) as walk:
        net(torch.randn(4, 30)).square().mean().backward()
        optimizer.step()
    section = narrate(walk).sections[-1]
    (table,) = [x for x in section.lines if isinstance(x, Table)]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    np.testing.assert_allclose(float(row["norm"]), before.norm().item(), rtol=1e-5)
    np.testing.assert_allclose(float(row["norm of nudge"]), (net[0].weight - before).norm().item(), rtol=1e-4)
    np.testing.assert_allclose(float(row["norm of gradient"]), net[0].weight.grad.norm().item(), rtol=1e-5)


def test_a_softmax_that_weights_nothing_is_no_attention() -> None:
    class Router(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.expert = nn.Linear(40, 3), nn.Linear(40, 40)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gate(x).softmax(-1)[..., :1] * self.expert(x)

    page = plain(narrate(walked(Router(), torch.randn(1, 4, 40))))
    assert "per head" not in page
    assert "softmax" in page
