"""GPT-2 checkpoints, read and written: the logits of `transformers`, and a sentence for each that does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.nets.gpt import GPT, GPTConfig
from weightwalk.nets.gpt_files import load_gpt, save_gpt

TINY = GPTConfig(vocab_size=50, n_positions=16, n_embd=24, n_layer=3, n_head=4)
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 49]])


def made(config: GPTConfig = TINY) -> GPT:
    with seeded(0), torch.no_grad():
        net = GPT(config).eval()
        for p in net.parameters():
            p.normal_(std=0.4)
    return net


VARIANTS: list[dict[str, Any]] = [
    {},
    {"n_inner": 40},
    {"activation_function": "relu"},
    {"activation_function": "gelu"},
    {"scale_attn_weights": False},
    {"tie_word_embeddings": False},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_transformers_wrote_gives_its_logits(variant: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 24, "n_layer": 3, "n_head": 4}
    config = transformers.GPT2Config(**sizes, **variant, bos_token_id=0, eos_token_id=0)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    with seeded(1), torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.4)
    theirs.to(dtype).save_pretrained(tmp_path / "net")
    ours = load_gpt(tmp_path / "net")
    assert next(ours.parameters()).dtype == dtype and not ours.training
    near = 1e-11 if dtype == torch.float64 else 1e-3
    with torch.no_grad():
        torch.testing.assert_close(ours(IDS), theirs(IDS).logits, rtol=near, atol=near)
        torch.testing.assert_close(ours.double()(IDS), theirs.double()(IDS).logits, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "variant", [{}, {"n_inner": 40}, {"activation": "relu"}, {"tied": False}, {"scale": False}], ids=str
)
def test_transformers_reads_what_we_wrote(variant: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    net = made(replace(TINY, **variant))
    save_gpt(net, tmp_path / "net")
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "net", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval().double()(IDS).logits, net.double()(IDS), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "switches",
    [
        {"position": "rotary", "norm": "rms", "activation": "swiglu", "bias": False},
        {"norm_at": "post", "residual": False, "causal": False},
        {"position": "none", "tied": False},
    ],
    ids=str,
)
def test_switches_come_back(switches: dict[str, Any], tmp_path: Path) -> None:
    net = made(replace(TINY, **switches))
    save_gpt(net, tmp_path / "net")
    again = load_gpt(tmp_path / "net")
    assert again.config == net.config
    with torch.no_grad():
        assert torch.equal(again(IDS), net(IDS))
    assert all(p.requires_grad for p in again.parameters())
    if net.config.tied:
        assert again.lm_head.weight is again.transformer.wte.weight


def test_old_names_and_masks_and_shards(tmp_path: Path) -> None:
    """As openai-community/gpt2 has them: no "transformer." in front, a causal mask per layer."""
    net = made()
    save_gpt(net, tmp_path / "net")
    path = tmp_path / "net" / "model.safetensors"
    old = {n.removeprefix("transformer."): t for n, t in load_file(path).items()}
    old |= {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16) for i in range(3)}
    names = sorted(old)
    for i, part in enumerate((names[:20], names[20:])):
        save_file({n: old[n] for n in part}, tmp_path / "net" / f"model-{i}.safetensors")
    where = {n: f"model-{int(n in names[20:])}.safetensors" for n in names}
    (tmp_path / "net" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    path.unlink()
    with torch.no_grad():
        assert torch.equal(load_gpt(tmp_path / "net")(IDS), net(IDS))


def changed(tmp: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = tmp / "net" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def setting(tmp: Path, **values: Any) -> None:
    path = tmp / "net" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda t: changed(t, lambda d: d.pop("transformer.h.1.mlp.c_fc.bias")), "lacks transformer.h.1.mlp.c_fc.bias"),
        (
            lambda t: changed(t, lambda d: d.update(more=torch.ones(2))),
            "has transformer.more, for which this net has no",
        ),
        (lambda t: setting(t, n_embd=28), "has shape (50, 24), and its config.json asks for (50, 28)."),
        (
            lambda t: setting(t, model_type="llama"),
            "holds a model of type 'llama'; this GPT reads gpt2 and weightwalk-gpt.",
        ),
        (lambda t: setting(t, n_layer=None), "does not say n_layer."),
        (
            lambda t: setting(t, reorder_and_upcast_attn=True),
            "sets reorder_and_upcast_attn=True, which this GPT does not do",
        ),
        (lambda t: setting(t, activation_function="silu"), "There is no activation='silu'; there are gelu_new"),
        (lambda t: setting(t, weightwalk={"colour": 1}), "has switches that this GPT lacks: colour."),
        (lambda t: (t / "net" / "model.safetensors").unlink(), "has no model.safetensors."),
        (lambda t: (t / "net" / "model.safetensors").write_bytes(b"no"), "is not a whole safetensors file"),
        (lambda t: (t / "net" / "config.json").unlink(), "has no readable config.json (No such file or directory)."),
        (lambda t: (t / "net" / "config.json").write_text("{"), "config.json in '{}' is not valid JSON"),
        (lambda t: (t / "net" / "config.json").write_text("[]"), "config.json in '{}' holds no settings."),
        (lambda t: (t / "net" / "model.safetensors").rename(t / "net" / "pytorch_model.bin"), "its .bin is a pickle"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_a_sentence(act: Any, message: str, tmp_path: Path) -> None:
    save_gpt(made(), tmp_path / "net")
    act(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_gpt(tmp_path / "net")
    assert message.format(tmp_path / "net") in str(caught.value)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_gpt(made(), tmp_path / "net")
    with pytest.raises(UsageError, match="exists and is not an empty folder; nothing was written"):
        save_gpt(made(), tmp_path / "net")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match=r"could not be written \(No space left on device\); nothing was left behind"):
        save_gpt(made(), tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
