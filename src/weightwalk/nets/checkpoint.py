"""Checkpoints of ``transformers``: a local directory, or a name on the hub for those who have internet.

Only safetensors weights are read and no code from the checkpoint is run (``trust_remote_code=False``,
``use_safetensors=True``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.learning.seeds import seeded
from weightwalk.nets.inputs import Expects, expectation
from weightwalk.nets.net import Net

VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
"""A tokenizer has one of these. Without, the library makes one that knows no word, and every text would be unknown."""


class SurfaceTokenizer:
    """A ``transformers`` tokenizer with each token's surface: the text that it stands for, leading space included.

    Special tokens are added as the checkpoint itself does. A byte that is no character alone keeps its raw name.
    """

    def __init__(self, tokenizer: Any, size: int) -> None:
        self._tokenizer = tokenizer
        self._size = max(size, len(tokenizer))
        self._tokens: list[str] | None = None

    @property
    def tokens(self) -> list[str]:
        """Surface strings by id; ``<50257>`` for ids that the model has and the tokenizer has not."""
        if self._tokens is None:
            self._tokens = self._surfaces()
        return self._tokens

    def _surfaces(self) -> list[str]:
        raw = self._tokenizer.convert_ids_to_tokens(list(range(len(self._tokenizer))))
        surfaces = [f"<{i}>" if token is None else self._surface(i, token) for i, token in enumerate(raw)]
        return surfaces + [f"<{i}>" for i in range(len(surfaces), self._size)]

    def _surface(self, i: int, raw: str) -> str:
        if "\u2581" in raw:  # SentencePiece writes a space as this, and decoding a lone id would drop it
            return raw.replace("\u2581", " ")
        text = self._tokenizer.decode([i], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return raw if "\ufffd" in text or not text else text

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with the special tokens that the checkpoint adds."""
        ids = self._tokenizer(text)["input_ids"]
        if not text or not ids:
            raise UsageError("The text is empty; give the net at least one token to start from.")
        return [int(i) for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that these ids stand for."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def checkpoint_net(source: Path | str) -> Net:
    """The model and tokenizer of a checkpoint, in eval mode and in the dtype of its weights.

    Args:
        source: A directory (never looks further than that), or a hub name ``owner/name``, of which a copy in the hub's
            own cache is used before anything is fetched.

    Raises:
        UsageError: ``transformers`` is missing, the directory holds no checkpoint that can be loaded safely, or the hub
            cannot be reached.
    """
    name = str(source)
    if isinstance(source, Path):
        _check_directory(source)
    try:
        import transformers
    except ImportError:
        raise UsageError("Checkpoints of transformers need that library: pip install 'weightwalk[hf]'.") from None
    # Seeded for tensors that the checkpoint lacks, which the library makes up at random.
    with _quiet(transformers), seeded(0):
        try:
            model, tokenizer, missing = _loaded(transformers, name, local=True)
        except Exception as error:
            if isinstance(source, Path):
                raise UsageError(_why(name, error)) from error
            _check_hub(name)
            try:
                model, tokenizer, missing = _loaded(transformers, name, local=False)
            except Exception as again:
                raise UsageError(_why(name, again)) from again
    model.eval()
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # the cache serves a next token, and a walk has none
    return _net(name, model, tokenizer, missing)


def _loaded(transformers: Any, name: str, *, local: bool) -> tuple[Any, SurfaceTokenizer | None, list[str]]:
    """Model, tokenizer, and the names of tensors that the checkpoint lacks."""
    safe = {"trust_remote_code": False, "local_files_only": local}
    config = transformers.AutoConfig.from_pretrained(name, **safe)
    model, report = _model_class(transformers, config).from_pretrained(
        name, config=config, use_safetensors=True, dtype="auto", output_loading_info=True, **safe
    )
    tokenizer = None
    if not Path(name).is_dir() or any((Path(name) / file).is_file() for file in VOCABULARIES):
        tokenizer = _tokenizer(transformers, name, safe, config)
    return model, tokenizer, sorted(report.get("missing_keys") or ())


def _check_hub(name: str) -> None:
    """One request that fails at once, where the library would try again for half a minute."""
    import huggingface_hub

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:
        raise UsageError(
            f"{name!r} is no directory here and no checkpoint in the hub's cache, and the hub cannot be reached "
            f"({type(error).__name__}): go online, or give the directory of a checkpoint."
        ) from error


def _check_directory(path: Path) -> None:
    config = path / "config.json"
    if not config.is_file():
        raise UsageError(
            f"The directory {str(path)!r} holds no config.json, so it is no transformers checkpoint "
            "(one is made by model.save_pretrained(directory))."
        )
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(config)!r} cannot be read as JSON: {error}.") from None
    if not isinstance(settings, dict):
        raise UsageError(f"{str(config)!r} is no model configuration.")
    if not any(path.glob("*.safetensors")):
        pickled = next((p.name for kind in ("*.bin", "*.pt", "*.pth") for p in path.glob(kind)), None)
        held = f"only pickled ones ({pickled})" if pickled else "none"
        raise UsageError(
            f"The checkpoint {str(path)!r} has no safetensors weights, {held}; nothing is unpickled here. "
            "Convert it: model.save_pretrained(directory, safe_serialization=True)."
        )


def _model_class(transformers: Any, config: Any) -> Any:
    """The class that `config.architectures` names, if it is one of the library's own; else the bare model."""
    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    return transformers.AutoModel


def _tokenizer(transformers: Any, name: str, safe: dict[str, Any], config: Any) -> SurfaceTokenizer | None:
    """The checkpoint's tokenizer; None where it has none (ids then go in as numbers)."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **safe)
    except Exception:
        return None
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return SurfaceTokenizer(tokenizer, getattr(text, "vocab_size", 0) or 0) if len(tokenizer) else None


def _net(name: str, model: Any, tokenizer: SurfaceTokenizer | None, missing: list[str]) -> Net:
    key = model.main_input_name
    words = model.get_input_embeddings() if key == "input_ids" else None
    axes: dict[str, Any] = {}
    if isinstance(words, nn.Embedding):
        extra: dict[str, Any] = {}
        if getattr(model.config, "is_encoder_decoder", False):
            start = getattr(model.config, "decoder_start_token_id", None)
            extra["decoder_input_ids"] = torch.tensor([[0 if start is None else start]])
        expects = Expects(torch.int64, limit=words.num_embeddings, key=key, extra=extra, what="its vocabulary")
        expects = replace(expects, longest=getattr(model.config, "max_position_embeddings", None))
        if tokenizer is not None:
            axes = _axes(model, tokenizer.tokens, bool(extra))
    else:
        guess = expectation(model)
        dtype = guess.dtype if guess.dtype.is_floating_point else model.dtype
        expects = Expects(dtype, key=key)
        tokenizer = None
    if "Classification" in type(model).__name__ and (classes := getattr(model.config, "id2label", None)):
        axes["logits"] = {-1: [str(classes[i]) for i in sorted(classes)]}
    kind = type(model).__name__
    provenance: dict[str, Any] = {"kind": "checkpoint", "source": name, "class": kind, "torch": torch.__version__}
    description = f"{kind}, {model.num_parameters():,} parameters"
    if missing:
        provenance["missing"] = missing
        description += f"; {len(missing)} tensors are not in the checkpoint and are random, {missing[0]} for one"
    return Net(name, model, description, expects, axes, tokenizer, provenance)


def _axes(model: Any, vocab: list[str], decoder: bool) -> dict[str, Any]:
    """Names for the axes of embeddings and logits."""
    axes: dict[str, Any] = {"vocab": vocab}
    words, head = model.get_input_embeddings(), model.get_output_embeddings()
    for path, module in model.named_modules():
        if module is words:
            axes[f"{path}.weight"] = {0: vocab}
            axes[path] = {-2: "tokens"}
        if head is not None and module is head:
            positions = {} if decoder else {-2: "tokens"}
            axes[path] = {-1: vocab, **positions}
            axes["logits"] = {-1: vocab, **positions}
    return axes


def _why(name: str, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return (
            f"The checkpoint {name!r} brings its own code, which is never run: import the model yourself and name it "
            "as package.module:object."
        )
    text = text if len(text) < 300 else text[:297] + "..."
    return f"The checkpoint {name!r} cannot be loaded: {type(error).__name__}: {text}"


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no chatter on the user's terminal; the library's settings are put back."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
