"""The gallery: networks that come with Weightwalk, trained on the spot in seconds from a recipe that is shown here.

This file is the catalogue and needs no torch, so it can be listed at once; `weightwalk.nets.training` does the work.

How a seed is chosen is part of the recipe and stated in each net's provenance: small nets often train badly, and a
gallery that hid this would mislead. ``"first"`` trains every seed of the list and takes the first that solves the task;
``"best"`` takes the one with the lowest error on held-out data. The outcomes of all seeds are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from weightwalk.language.tokenizers import PieceTokenizer, Tokenizer, WordTokenizer, ascii_pieces

if TYPE_CHECKING:
    from torch import Tensor, nn

HELLO_TOKENS = ("hello", "world", "cat", "dog", "!")
"""The five tokens of the tiny text net; a token's id is its place here."""

HELLO_PAIRS = (("hello", "world"), ("cat", "dog"), ("dog", "!"), ("world", "!"))
"""What follows what. Nothing follows "!", so what the net says after it was never trained."""

HELLO6_TOKENS = ("hello", "world", "cat", "dog", "silly", "cute", "!")
HELLO6_PAIRS = (
    ("hello", "world"),
    ("cat", "dog"),
    ("dog", "!"),
    ("silly", "dog"),
    ("cute", "cat"),
    ("world", "!"),
)
"""The second text net's seven tokens and six pairs: two of them lead to "dog", two to "!"."""

GPT_WORDS = """
the a an of to in is it on at by for and or not as was are be this that with from has have he she his her we you they
what who where when how why one two three four five first last new old big small good great very more most all some no
yes man woman king queen child dog cat house city country capital river world people time day year night water fire sun
moon red green blue white black Paris London Rome Berlin Madrid Tokyo France England Italy Germany Spain Japan Europe
said says went came made known called name hello Hello The A In It He She We You They What Who Where Once upon
""".split()  # noqa: SIM905
"""Words that are one token in the built-in tokenizer of ``gpt``; any other text is spelled in ASCII letters."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a gallery net is trained; together with the data, it decides the weights.

    Attributes:
        loss: Name of the loss, see `weightwalk.learning.losses.LOSSES`.
        optimizer: Name of the optimizer.
        lr: Learning rate.
        epochs: Full-batch epochs.
        seeds: Seeds tried.
        choose: ``"first"`` seed that solves the task, or ``"best"`` on held-out data.
    """

    loss: str
    optimizer: str
    lr: float
    epochs: int
    seeds: tuple[int, ...] = (0,)
    choose: str = "best"


@dataclass(frozen=True, slots=True)
class Entry:
    """One net of the gallery.

    Attributes:
        name: What ``weightwalk walk NAME INPUT`` takes.
        description: One line.
        example: An input to try.
        build: Makes the module with fresh weights, from torch's random state.
        data: Makes (inputs, targets, held-out inputs, held-out targets); None for a net that is not trained.
        recipe: How it is trained; None for a net that is not.
        tokenizer: For text nets.
        axes: Names on axes, by address; ``"vocab"`` and ``"tokens"`` stand for the tokenizer's.
        batched: Whether token ids get a batch axis in front.
        aliases: Other names.
    """

    name: str
    description: str
    example: str
    build: Callable[[], nn.Module]
    data: Callable[[], tuple[Tensor, Tensor, Tensor, Tensor]] | None = None
    recipe: Recipe | None = None
    tokenizer: Callable[[], Tokenizer] | None = None
    axes: tuple[tuple[str, tuple[tuple[int, str | tuple[str, ...]], ...]], ...] = ()
    batched: bool = True
    aliases: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """The recipe as plain data."""
        return {} if self.recipe is None else asdict(self.recipe)


def _linear() -> nn.Module:
    from weightwalk.nets.modules import LinearNet

    return LinearNet()


def _linear_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import torch

    x = torch.linspace(-2, 2, 41, dtype=torch.float32)[:, None]
    held = (x[1:] + x[:-1]) / 2
    return x, 2 * x + 3, held, 2 * held + 3


def _sqrt() -> nn.Module:
    from weightwalk.nets.modules import ReluNet

    return ReluNet(hidden=8)


def _sqrt_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import torch

    x = torch.linspace(0, 10, 101, dtype=torch.float32)[:, None]
    held = (x[1:] + x[:-1]) / 2
    return x, x.sqrt(), held, held.sqrt()


def _regions() -> nn.Module:
    from weightwalk.nets.modules import PlaneNet

    return PlaneNet(hidden=16)


def _regions_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import torch

    def surface(ticks: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cartesian_prod(ticks, ticks)
        return x, (4 * x[:, :1]).sin() * (4 * x[:, 1:]).cos()

    ticks = torch.linspace(-1, 1, 33, dtype=torch.float32)
    return *surface(ticks), *surface((ticks[1:] + ticks[:-1]) / 2)


def _hello() -> nn.Module:
    from weightwalk.nets.modules import HelloNet

    return HelloNet(tokens=len(HELLO_TOKENS), width=2)


def _hello_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _pairs(HELLO_TOKENS, HELLO_PAIRS)


def _hello6() -> nn.Module:
    from weightwalk.nets.modules import HelloNet

    return HelloNet(tokens=len(HELLO6_TOKENS), width=2)


def _hello6_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _pairs(HELLO6_TOKENS, HELLO6_PAIRS)


def _pairs(tokens: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    import torch

    ids = WordTokenizer(tokens).encode
    inputs = torch.tensor([ids(first)[0] for first, _ in pairs])
    targets = torch.tensor([ids(then)[0] for _, then in pairs])
    return inputs, targets, inputs, targets


def _gpt_tokenizer() -> PieceTokenizer:
    return ascii_pieces(GPT_WORDS)


def _gpt() -> nn.Module:
    from weightwalk.nets.gpt import GPT, GPTConfig

    return GPT(GPTConfig(vocab_size=len(_gpt_tokenizer().tokens)))


_HELLO_AXES: tuple[tuple[str, tuple[tuple[int, str | tuple[str, ...]], ...]], ...] = (
    ("embed.weight", ((0, "vocab"),)),
    ("logits.weight", ((0, "vocab"),)),
    ("logits.bias", ((0, "vocab"),)),
    ("logits", ((-1, "vocab"), (-2, "tokens"))),
)

GALLERY: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "linear",
            "y = 2x + 3 learned from 41 points by one weight and one bias",
            "2.0",
            _linear,
            _linear_data,
            Recipe("mse", "sgd", 0.1, 300),
        ),
        Entry(
            "sqrt",
            "the square root on [0, 10], learned from 101 points by 8 ReLU units (1-8-1)",
            "2.0",
            _sqrt,
            _sqrt_data,
            Recipe("mse", "adam", 0.02, 1000, seeds=tuple(range(8)), choose="best"),
        ),
        Entry(
            "regions",
            "sin(4x) cos(4y) on the square [-1, 1]², learned from 33 × 33 points by 16 + 16 ReLU units (2-16-16-1)",
            "0.3, -0.2",
            _regions,
            _regions_data,
            Recipe("mse", "adam", 0.01, 1000, seeds=tuple(range(4)), choose="best"),
        ),
        Entry(
            "hello",
            "five tokens and four pairs: embedding 2, ReLU 2, ReLU 2, five logits (37 parameters)",
            "hello",
            _hello,
            _hello_data,
            Recipe("cross_entropy", "sgd", 0.1, 300, seeds=tuple(range(20)), choose="first"),
            lambda: WordTokenizer(HELLO_TOKENS),
            axes=_HELLO_AXES,
            batched=False,
        ),
        Entry(
            "hello6",
            "seven tokens and six pairs: embedding 2, ReLU 2, ReLU 2, seven logits (47 parameters)",
            "hello",
            _hello6,
            _hello6_data,
            Recipe("cross_entropy", "sgd", 0.1, 501, seeds=tuple(range(20)), choose="first"),
            lambda: WordTokenizer(HELLO6_TOKENS),
            axes=_HELLO_AXES,
            batched=False,
        ),
        Entry(
            "gpt",
            "the GPT-2 architecture, tiny (2 layers, 4 heads, width 32) with random weights: it knows nothing, "
            "and walks as its big sisters do",
            "The capital of France is",
            _gpt,
            tokenizer=_gpt_tokenizer,
            axes=(
                ("transformer.wte.weight", ((0, "vocab"),)),
                ("transformer.wte", ((-2, "tokens"),)),
                ("lm_head", ((-1, "vocab"), (-2, "tokens"))),
            ),
            aliases=("gpt2-tiny",),
        ),
    )
}

NAMES: dict[str, str] = {alias: name for name, entry in GALLERY.items() for alias in (name, *entry.aliases)}
"""Every name and alias, with the name of its entry."""
