"""Checkpoints of transformers, made on the spot: loaded, labelled, and refused when they are not plainly data."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.nets import load_net

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

TEXT = "The capital of France is Paris."
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def byte_bpe() -> Any:
    """As GPT-2's: bytes, with the space before a word in the word's token."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def metaspace() -> Any:
    """As Llama's: U+2581 for the space."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=100, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT] * 20, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def word_piece() -> Any:
    """As BERT's: ## for the rest of a word, [CLS] before and [SEP] after."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "capital", "of", "fran", "##ce", "is", "paris", "."]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]")


def gpt2() -> Any:
    config = transformers.GPT2Config(
        vocab_size=310, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def llama() -> Any:
    config = transformers.LlamaConfig(vocab_size=100, num_key_value_heads=1, tie_word_embeddings=False, **SMALL)
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


def bert() -> Any:
    return transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=13, max_position_embeddings=32, **SMALL))


def bert_classes() -> Any:
    names = {0: "sad", 1: "glad", 2: "mad"}
    config = transformers.BertConfig(vocab_size=13, id2label=names, label2id={v: k for k, v in names.items()}, **SMALL)
    return transformers.BertForSequenceClassification(config)


def vit() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(image_size=8, patch_size=4, **SMALL))


def t5() -> Any:
    config = transformers.T5Config(
        vocab_size=300, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    return transformers.T5ForConditionalGeneration(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint directory by name, each made once."""
    makers = {
        "gpt2": (gpt2, byte_bpe),
        "llama": (llama, metaspace),
        "bert": (bert, word_piece),
        "bert-classes": (bert_classes, word_piece),
        "vit": (vit, None),
        "t5": (t5, byte_bpe),
        "gpt2-mute": (gpt2, None),
    }
    base = tmp_path_factory.mktemp("checkpoints")

    def made(name: str) -> Path:
        path = base / name
        if not path.exists():
            model, tokenizer = makers[name]
            torch.manual_seed(1)
            model().save_pretrained(path)
            if tokenizer is not None:
                tokenizer().save_pretrained(path)
        return path

    transformers.utils.logging.disable_progress_bar()
    yield made
    transformers.utils.logging.enable_progress_bar()


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5", "bert-classes"])
def test_text_models_compute_what_the_library_computes(folder: Callable[[str], Path], name: str) -> None:
    net = load_net(str(folder(name)))
    args, kwargs, labels = net.inputs(TEXT)
    with torch.no_grad():
        logits = net.module(*args, **kwargs).logits
    again = type(net.module).from_pretrained(folder(name), dtype="auto").eval()
    with torch.no_grad():
        assert torch.equal(again(**kwargs).logits, logits)
    assert net.provenance["class"] == type(again).__name__
    assert not any(m.training for m in net.module.modules())
    assert len(labels["tokens"]) == kwargs["input_ids"].shape[-1]
    assert list(labels["logits"][-1]) == (["sad", "glad", "mad"] if name == "bert-classes" else labels["vocab"])
    assert len(labels["logits"][-1]) == logits.shape[-1]


def test_labels_are_surfaces(folder: Callable[[str], Path]) -> None:
    words = ["The", " capital", " of", " France", " is", " Paris", "."]
    labels = load_net(str(folder("gpt2"))).inputs(TEXT).labels
    assert labels["tokens"] == words
    assert labels["lm_head"][-2] == words
    assert labels["vocab"][-1] == "<309>", "an id that the model has and the tokenizer has not"
    assert len(labels["vocab"]) == 310
    tokens = load_net(str(folder("llama"))).inputs(TEXT).labels["tokens"]
    assert tokens == [" The", " capital", " of", " France", " is", " Paris."]
    tokens = load_net(str(folder("bert"))).inputs(TEXT).labels["tokens"]
    assert tokens == ["[CLS]", "the", "capital", "of", "fran", "##ce", "is", "paris", ".", "[SEP]"]
    # A lone byte of a longer character is no text of its own, so it keeps its name; no two ids look alike.
    vocab = load_net(str(folder("gpt2"))).labels["vocab"]
    assert len(set(vocab)) == len(vocab)
    assert not [v for v in vocab if "\ufffd" in v]


def test_dtype_is_that_of_the_checkpoint(folder: Callable[[str], Path]) -> None:
    assert load_net(str(folder("llama"))).dtype == "bfloat16"
    assert load_net(str(folder("gpt2"))).dtype == "float32"


def test_encoder_decoders_start_with_their_start_token(folder: Callable[[str], Path]) -> None:
    kwargs = load_net(str(folder("t5"))).inputs(TEXT).kwargs
    assert kwargs["decoder_input_ids"].tolist() == [[0]]


def test_images_go_in_as_arrays(folder: Callable[[str], Path], tmp_path: Path) -> None:
    net = load_net(str(folder("vit")))
    np.save(tmp_path / "image.npy", np.zeros((1, 3, 8, 8)))
    args, kwargs, labels = net.inputs(f"@{tmp_path / 'image.npy'}")
    assert kwargs["pixel_values"].dtype is torch.float32
    assert net.module(*args, **kwargs).logits.shape == (1, 2)
    assert labels["logits"] == {-1: ["LABEL_0", "LABEL_1"]}


def test_without_a_tokenizer_ids_go_in(folder: Callable[[str], Path]) -> None:
    """The library would make up a tokenizer that knows no word, and every text would read [UNK] [UNK]."""
    net = load_net(str(folder("gpt2-mute")))
    assert net.tokenizer is None
    assert net.inputs("5,6").kwargs["input_ids"].tolist() == [[5, 6]]
    with pytest.raises(UsageError, match=r"came without a tokenizer that can be loaded.* the text 'hi'"):
        net.inputs("hi")


def test_bad_text_and_ids(folder: Callable[[str], Path]) -> None:
    net = load_net(str(folder("gpt2")))
    with pytest.raises(UsageError, match="The text is empty"):
        net.inputs("")
    with pytest.raises(UsageError, match="The token id 310 does not exist: its vocabulary knows ids from 0 to 309"):
        net.inputs([1, 310])
    with pytest.raises(UsageError, match="The input has 33 tokens, and this net has positions for 32"):
        net.inputs([1] * 33)


def test_nothing_else_changes(folder: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    path = str(folder("gpt2"))
    log = transformers.utils.logging
    before = torch.get_rng_state(), log.get_verbosity(), log.is_progress_bar_enabled(), torch.get_default_dtype()
    capfd.readouterr()
    net = load_net(path)
    net.inputs(TEXT)
    after = torch.get_rng_state(), log.get_verbosity(), log.is_progress_bar_enabled(), torch.get_default_dtype()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert capfd.readouterr() == ("", ""), "a library does not write on the user's terminal"


def test_tensors_that_are_missing_are_named_and_seeded(folder: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder("bert"), tmp_path / "part")
    file = tmp_path / "part" / "model.safetensors"
    tensors = load_file(file)
    gone = "cls.predictions.transform.dense.weight"
    save_file({k: v for k, v in tensors.items() if k != gone}, file, metadata={"format": "pt"})
    one, two = (load_net(str(tmp_path / "part")) for _ in range(2))
    assert one.provenance["missing"] == [gone]
    assert f"1 tensors are not in the checkpoint and are random, {gone} for one" in one.description
    assert one.sha256 == two.sha256
    assert "missing" not in load_net(str(folder("bert"))).provenance


def edit_config(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))


def foreign(path: Path) -> None:
    """A model type that only the checkpoint's own code knows; the code would leave a mark."""
    (path / "evil.py").write_text(f"open({str(path / 'ran')!r}, 'w')")
    edit_config(path, model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})


def pickled(path: Path) -> None:
    (path / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1)}, path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: (p / "config.json").unlink(), "holds no config.json, so it is no transformers checkpoint"),
        (lambda p: (p / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda p: (p / "config.json").write_text("[]"), "is no model configuration"),
        (foreign, "brings its own code, which is never run: import the model yourself"),
        (lambda p: edit_config(p, model_type="nonesuch", architectures=["Nonesuch"]), "cannot be loaded: ValueError"),
        (lambda p: edit_config(p, n_embd=32), "cannot be loaded: "),
        (pickled, r"no safetensors weights, only pickled ones \(pytorch_model.bin\); nothing is unpickled here"),
        (lambda p: (p / "model.safetensors").unlink(), "has no safetensors weights, none; nothing is unpickled"),
        (lambda p: (p / "model.safetensors").write_bytes(b"\x00" * 9), "cannot be loaded: "),
    ],
)
def test_directories_that_are_refused(
    folder: Callable[[str], Path], tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(folder("gpt2"), path)
    harm(path)
    with pytest.raises(UsageError, match=message):
        load_net(str(path))
    assert not (path / "ran").exists()


def test_code_that_is_not_needed_is_left_alone(folder: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(folder("gpt2"), path)
    foreign(path)
    edit_config(path, model_type="gpt2")
    assert load_net(str(path)).provenance["class"] == "GPT2LMHeadModel"
    assert not (path / "ran").exists()


def test_a_model_without_architectures_is_the_bare_model(folder: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(folder("gpt2"), path)
    edit_config(path, architectures=None)
    assert load_net(str(path)).provenance["class"] == "GPT2Model"


@pytest.mark.parametrize("name", ["pipeline", "TrainingArguments"])
def test_code_named_as_an_architecture_is_not_a_model(folder: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """`architectures` may only name a model of the library, not any attribute of it."""
    path = tmp_path / "copy"
    shutil.copytree(folder("gpt2"), path)
    edit_config(path, architectures=[name])
    assert load_net(str(path)).provenance["class"] == "GPT2Model"


def test_the_hub_out_of_reach() -> None:
    """With the tests' own guard in place of a cable that is pulled."""
    with pytest.raises(UsageError, match="is no directory here and no checkpoint in the hub's cache, and the hub"):
        load_net("weightwalk-nobody/nothing")


def test_without_transformers_the_extra_is_named(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(folder("gpt2"))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "transformers":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"need that library: pip install 'weightwalk\[hf\]'"):
        load_net(path)
    assert load_net("gpt").name == "gpt", "the gallery's own GPT needs none"
