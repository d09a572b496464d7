"""A GPT in a folder, in the format of GPT-2's checkpoints: ``config.json`` and ``model.safetensors``.

What has all switches as in GPT-2 is read and written by Hugging Face's ``GPT2LMHeadModel`` too. Other switches are in
``config.json`` under ``"weightwalk"``, and the model type says that it is ours.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from weightwalk.errors import UsageError
from weightwalk.nets.gpt import GPT, GPTConfig

OURS = "weightwalk-gpt"
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "layer_norm_epsilon")
SWITCHES = ("position", "norm", "norm_at", "residual", "bias", "causal")
FIXED = {"scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False, "add_cross_attention": False}
"""Settings of GPT-2's configuration that change the function and that this net does not have."""


def save_gpt(net: GPT, folder: Path | str) -> None:
    """Write the net's configuration and weights; all of it or nothing.

    Raises:
        UsageError: The folder exists and is not empty, or cannot be written.
    """
    from safetensors.torch import save_file

    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{str(folder)!r} exists and is not an empty folder; nothing was written.")
    tensors = {n: t.detach().contiguous() for n, t in net.state_dict().items()}
    if net.config.tied:
        del tensors["lm_head.weight"]  # safetensors stores no tensor twice, and GPT-2 ties it again
    beside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        save_file(tensors, beside / "model.safetensors", metadata={"format": "pt"})
        (beside / "config.json").write_text(json.dumps(config_of(net.config), indent=1) + "\n", encoding="utf-8")
        beside.chmod(0o755)
        if target.exists():
            target.rmdir()
        beside.rename(target)
        beside = None
    except OSError as error:
        raise UsageError(
            f"{str(folder)!r} could not be written ({error.strerror or error}); nothing was left behind."
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def load_gpt(folder: Path | str) -> GPT:
    """The net of a folder, in eval mode, in the dtype of its weights.

    Raises:
        UsageError: No such folder, a file that is missing or damaged, a configuration that this net cannot have, or
            weights that do not fit it; the message names the first of them.
    """
    source = Path(folder)
    facts = _json(source / "config.json", folder)
    config = config_from(facts, folder)
    with torch.device("meta"):
        net = GPT(config)
    wanted = {n: tuple(t.shape) for n, t in net.state_dict().items()}
    found = _fitting(_tensors(source, folder), wanted, config, folder)
    net.load_state_dict(found, assign=True)
    if config.tied:
        net.lm_head.weight = net.transformer.wte.weight
    return net.requires_grad_(True).eval()


def config_of(config: GPTConfig) -> dict[str, Any]:
    """A configuration under GPT-2's names, with our switches where they differ from GPT-2's."""
    given = asdict(config)
    plain = asdict(GPTConfig(config.vocab_size))
    switches = {name: given[name] for name in SWITCHES if given[name] != plain[name]}
    if config.activation == "swiglu":
        switches["activation"] = "swiglu"
    out: dict[str, Any] = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": OURS if switches else "gpt2",
        **{name: given[name] for name in SIZES},
        "n_inner": config.n_inner or None,
        "activation_function": config.activation,
        "scale_attn_weights": config.scale,
        "tie_word_embeddings": config.tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }
    return {**out, "architectures": [], "weightwalk": switches} if switches else out


def config_from(facts: dict[str, Any], folder: Path | str) -> GPTConfig:
    """A configuration from ``config.json``.

    Raises:
        UsageError: Another kind of model, or a setting that this net does not have.
    """
    kind = facts.get("model_type")
    if kind not in ("gpt2", OURS):
        raise UsageError(f"{str(folder)!r} holds a model of type {kind!r}; this GPT reads gpt2 and {OURS}.")
    missing = [name for name in SIZES[:5] if not isinstance(facts.get(name), int)]
    if missing:
        raise UsageError(f"The config.json of {str(folder)!r} does not say {', '.join(missing)}.")
    for name, value in FIXED.items():
        if facts.get(name, value) != value:
            raise UsageError(f"{str(folder)!r} sets {name}={facts[name]!r}, which this GPT does not do.")
    switches = facts.get("weightwalk") or {}
    unknown = sorted(set(switches) - {f.name for f in fields(GPTConfig)})
    if unknown:
        raise UsageError(f"The config.json of {str(folder)!r} has switches that this GPT lacks: {', '.join(unknown)}.")
    return GPTConfig(
        **{name: facts[name] for name in SIZES if name in facts},
        **{
            "n_inner": facts.get("n_inner") or 0,
            "activation": facts.get("activation_function", "gelu_new"),
            "scale": facts.get("scale_attn_weights", True),
            "tied": facts.get("tie_word_embeddings", True),
            **switches,
        },
    )


def _fitting(
    tensors: dict[str, Tensor], wanted: dict[str, tuple[int, ...]], config: GPTConfig, folder: Path | str
) -> dict[str, Tensor]:
    """The tensors under this net's names; refused where one is missing, left over, or of another shape."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")) and tensor.dim() != 1:
            continue  # the causal mask, which old checkpoints store as if it were a weight
        full = name if name in wanted or name.startswith("transformer.") else f"transformer.{name}"
        found[full] = tensor
    if config.tied and "transformer.wte.weight" in found:
        found["lm_head.weight"] = found["transformer.wte.weight"]
    absent = [n for n in wanted if n not in found]
    extra = [n for n in found if n not in wanted]
    if absent or extra:
        what = f"lacks {_some(absent)}" if absent else f"has {_some(extra)}, for which this net has no place"
        raise UsageError(f"The checkpoint {str(folder)!r} {what}: weights and config.json do not belong together.")
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise UsageError(
                f"In the checkpoint {str(folder)!r}, {name} has shape {tuple(found[name].shape)}, and its config.json "
                f"asks for {shape}."
            )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _tensors(source: Path, folder: Path | str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = source / "model.safetensors.index.json"
    parts = [source / "model.safetensors"]
    if index.is_file():
        parts = [source / name for name in sorted(set(_json(index, folder)["weight_map"].values()))]
    out: dict[str, Tensor] = {}
    for part in parts:
        if not part.is_file():
            pickled = any(source.glob("*.bin")) and not index.is_file()
            why = "; its .bin is a pickle, which is never read: save it again as safetensors" if pickled else ""
            raise UsageError(f"The checkpoint {str(folder)!r} has no {part.name}{why}.")
        try:
            out |= load_file(part)
        except SafetensorError as error:
            raise UsageError(f"{part.name} in {str(folder)!r} is not a whole safetensors file: {error}.") from None
    return out


def _json(path: Path, folder: Path | str) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{str(folder)!r} has no readable {path.name} ({error.strerror or error}).") from error
    except ValueError as error:
        raise UsageError(f"{path.name} in {str(folder)!r} is not valid JSON: {error}.") from None
    if not isinstance(facts, dict):
        raise UsageError(f"{path.name} in {str(folder)!r} holds no settings.")
    return facts
