"""Trained too long: pairs, n-grams by recursion, recall by really going on, losses as `train` judges them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from weightwalk.errors import UsageError
from weightwalk.learning.fitting import epochs as room
from weightwalk.learning.fitting.epochs import PROMPT, _recalled, _stop, fit_epochs, pairs_of
from weightwalk.learning.fitting.lines import LINES
from weightwalk.learning.fitting.ngrams import NGrams
from weightwalk.learning.train import train

DOCUMENTS = [[0, 1, 0, 2, 1, 0, 1], [2, 1, 0, 0], [1, 0]]


def test_a_document_makes_one_pair_less_than_it_has_tokens() -> None:
    x, y = pairs_of(DOCUMENTS, 3, 4)
    assert len(x) == len(y) == sum(len(d) - 1 for d in DOCUMENTS)
    assert x[0].tolist() == [4, 4, 0] and y[0] == 1
    assert x[5].tolist() == [2, 1, 0] and y[5] == 1
    assert x[-1].tolist() == [4, 4, 1] and y[-1] == 0


def slow(documents: list[list[int]], before: Sequence[int], token: int, n: int, vocabulary: int, a: float) -> float:
    """The formula of the docstring as a recursion over a scan of the text."""
    if n == 0:
        return 1 / vocabulary
    h = list(before[len(before) - (n - 1) :])
    here = after = 0
    for d in documents:
        for i in range(max(1, n - 1), len(d)):
            if d[i - (n - 1) : i] == h:
                here += 1
                after += d[i] == token
    return (after + a * slow(documents, before, token, n - 1, vocabulary, a)) / (here + a)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_ngrams_are_the_recursion(order: int) -> None:
    model = NGrams(DOCUMENTS, order, 4, 1.5)
    for before in ([0], [1, 0], [2, 1, 0], [3, 3, 3], [0, 0, 0, 1]):
        n = min(order, len(before) + 1)
        said = [model.probability(before, t) for t in range(4)]
        assert sum(said) == pytest.approx(1)
        assert said == pytest.approx([slow(DOCUMENTS, before, t, n, 4, 1.5) for t in range(4)])
    losses = model.losses([[0, 1, 0, 3]])
    assert losses == pytest.approx([-np.log(slow(DOCUMENTS, [0, 1, 0][:i], [1, 0, 3][i - 1], min(order, i + 1), 4, 1.5))
                                    for i in (1, 2, 3)])  # fmt: skip


def test_one_stops_after_so_many_epochs_without_a_new_least() -> None:
    assert _stop(np.array([5.0, 3, 2, 2.5, 2.4, 1, 7, 8, 9]), 3) == 8
    assert _stop(np.array([5.0, 3, 2, 2.5, 2.4, 2.2, 1]), 3) == 5
    assert _stop(np.array([5.0, 4, 3]), 3) == 2


@pytest.fixture(scope="module")
def found():
    return fit_epochs(seeds=(0, 1), epochs=14, context=10, lr=0.01)


def test_the_held_out_loss_has_its_least_and_rises(found) -> None:
    assert (found.least < 8).all() and (found.rise > 0.3).all()
    assert found.train[:, -1].max() < 0.5 < found.judging[:, -1].min()
    assert (found.stopped == found.least + 5).all()
    chosen, last = found.moments
    assert last.gap > chosen.gap > 0 and last.recalled > chosen.recalled and last.recalled_unseen == 0
    assert last.judged == pytest.approx(found.judging[:, -1].mean())


def test_the_text_is_dealt_into_three_parts(found) -> None:
    assert len(LINES) == len(set(LINES)) == 60 and found.lines == (36, 12, 12)
    learned = [line for i, line in enumerate(LINES) if i % 5 in (0, 1, 3)]
    assert found.tokens == sum(len(line) + 1 for line in learned) and found.pairs == found.tokens - 36
    assert found.vocabulary == len(set("".join(LINES))) + 1
    assert found.flops == 6 * found.parameters * found.pairs * 14


def test_models_from_uniform_to_net(found) -> None:
    bits = {m.name: m.bits for m in found.models}
    assert bits["uniform"] == pytest.approx(np.log2(found.vocabulary))
    assert bits["uniform"] > bits["unigram"] > bits["bigram"] > bits["3-gram"]
    assert found.drops == all(m.gain > 0 for m in found.models[1:])
    at = np.mean([found.judging[i, e] for i, e in enumerate(found.least)]) / np.log(2)
    assert bits["net"] == pytest.approx(at), "the net is judged at the epoch chosen on other lines"
    assert all(m.interval[0] - 1e-9 <= m.bits <= m.interval[1] + 1e-9 for m in found.models)
    for a, b in zip(found.models, found.models[1:], strict=False):
        assert b.gain == pytest.approx(a.bits - b.bits)


def test_losses_are_those_that_train_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The curve of the choosing lines is what `train` says of them as held-out data."""
    seen = {}

    def spy(net, x, y, **settings):
        import copy

        seen["net"], seen["x"], seen["y"], seen["settings"] = copy.deepcopy(net), x, y, settings
        return train(net, x, y, **settings)

    monkeypatch.setattr(room, "train", spy)
    found = fit_epochs(seeds=(3,), epochs=3, width=8, context=4)
    ids = {c: i for i, c in enumerate(sorted(set("".join(LINES))))}
    choosing = [[ids[c] for c in line] + [len(ids)] for i, line in enumerate(LINES) if i % 5 == 2]
    again = train(seen["net"], seen["x"], seen["y"], **{**seen["settings"], "held_out": pairs_of(choosing, 4, 26)})
    np.testing.assert_allclose(found.choosing[0], again.held_losses, rtol=1e-5)
    assert len(seen["x"]) == found.pairs


def test_recall_is_going_on_to_the_letter() -> None:
    """A net that always says the successor: a document of successors is recalled, one with a jump is not."""

    class Successor(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot((x[:, -1] + 1) % 41, 42).double()

    straight = list(range(PROMPT + 6))
    jump_late, jump_early = [*straight[:-1], 0], [0, *straight[:-1]]
    jump_early[1] = 5
    documents = [straight, jump_late, jump_early[:2] + list(range(6, 6 + PROMPT + 3)), [1, 2]]
    assert _recalled(Successor(), {}, documents, 4, 40) == (2, 3), "what stands within the prompt is given"


def test_the_frame_has_a_row_per_seed_and_epoch(found) -> None:
    pytest.importorskip("pandas")
    assert len(found.frame()) == 2 * 15


@pytest.mark.parametrize(
    ("lines", "settings", "message"),
    [
        (["one", "two"], {}, "there are 2"),
        ([""] * 30, {}, "there are 0"),
        (["x" * 20_000] * 10, {}, "more than 100,000 characters"),
        (None, {"context": 0}, "context, width"),
        (None, {"orders": (0,)}, "orders 1 to 20"),
    ],
)
def test_what_cannot_be_learned_is_refused(lines: list | None, settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_epochs(lines, **settings)
