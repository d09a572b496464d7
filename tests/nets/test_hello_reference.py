"""The run printed in the source, replayed as far as its numbers go (CHECKLIST 185-188, 190).

The source prints the walk of "hello" through its trained net: embedding, both sums, both activations, the logits. It
does not print the weights, so each test completes them at random in every way that agrees with what is printed; what
holds for all completions follows from the printed numbers alone.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weightwalk.nets.modules import HelloNet

EMBEDDING = torch.tensor([1.2167829, -1.0983902], dtype=torch.float64)
Z1 = torch.tensor([-0.8196, -1.3902], dtype=torch.float64)
Z2 = torch.tensor([-0.00322088, 2.0367088], dtype=torch.float64)
LOGITS = torch.tensor([-0.9126, 5.2600, -1.6364, -3.1031, 2.5357], dtype=torch.float64)
TOKENS = ["hello", "world", "cat", "dog", "!"]


@pytest.fixture(params=range(5))
def net(request: pytest.FixtureRequest) -> HelloNet:
    """A net with random weights that gives the printed numbers for token 0."""
    torch.manual_seed(request.param)
    net = HelloNet().double()
    with torch.no_grad():
        net.embed.weight[0] = EMBEDDING
        net.fc1.bias.copy_(Z1 - net.fc1.weight @ EMBEDDING)
        net.fc2.bias.copy_(Z2)
        net.logits.bias.copy_(LOGITS - Z2[1] * net.logits.weight[:, 1])
    return net


def walk(net: HelloNet, token: int) -> dict[str, torch.Tensor]:
    z1 = net.fc1(net.embed(torch.tensor([token])))
    a1 = net.relu1(z1)
    z2 = net.fc2(a1)
    a2 = net.relu2(z2)
    return {"z1": z1[0], "a1": a1[0], "z2": z2[0], "a2": a2[0], "logits": net.logits(a2)[0]}


def test_the_printed_walk(net: HelloNet) -> None:
    seen = walk(net, 0)
    torch.testing.assert_close(seen["z1"], Z1, rtol=0, atol=1e-12)
    assert seen["a1"].tolist() == [0, 0] == Z1.clamp(min=0).tolist()
    assert seen["a2"].tolist() == [0, 2.0367088] == Z2.clamp(min=0).tolist()
    torch.testing.assert_close(seen["logits"], LOGITS, rtol=0, atol=1e-12)
    assert torch.equal(net(torch.tensor([0]))[0], seen["logits"]), "the module is these lines and nothing else"
    assert TOKENS[int(seen["logits"].argmax())] == "world"


def test_everything_hinged_on_the_second_bias(net: HelloNet) -> None:
    """CHECKLIST 186: a dead layer 1 leaves z2 = b2 exactly, and sends no gradient further down."""
    assert torch.equal(walk(net, 0)["z2"], net.fc2.bias)
    loss = torch.nn.functional.cross_entropy(net(torch.tensor([0])), torch.tensor([1]))
    loss.backward()
    assert not net.embed.weight.grad.any()
    assert not net.fc1.weight.grad.any()
    assert not net.fc1.bias.grad.any()
    assert not net.fc2.weight.grad.any()
    assert net.fc2.bias.grad[1] != 0, "the bias itself does learn"
    assert net.fc2.bias.grad[0] == 0, "but for the unit that is off"


def test_output_is_one_column_of_the_last_weight_and_its_bias(net: HelloNet) -> None:
    """CHECKLIST 187: logits = 2.0367 Wout[:, 1] + bout, for "hello" and for any other token that layer 1 is dead to."""
    expected = 2.0367088 * net.logits.weight[:, 1] + net.logits.bias
    torch.testing.assert_close(walk(net, 0)["logits"], expected, rtol=0, atol=1e-12)
    dead = next(
        e for e in torch.randn(10_000, 2, dtype=torch.float64) * 5
        if bool((net.fc1.weight @ e + net.fc1.bias < 0).all()) and not torch.equal(e, EMBEDDING)
    )  # fmt: skip
    with torch.no_grad():
        net.embed.weight[3] = dead
    assert torch.equal(net(torch.tensor([3])), net(torch.tensor([0])))


def test_softmax_of_the_printed_logits() -> None:
    """CHECKLIST 190, in plain NumPy and by torch."""
    exponentials = np.exp(LOGITS.numpy())
    p = exponentials / exponentials.sum()
    assert p == pytest.approx([0.00195, 0.93552, 0.00095, 0.00022, 0.06136], abs=5e-6)
    assert p.sum() == pytest.approx(1, abs=1e-15)
    assert LOGITS.softmax(0).numpy() == pytest.approx(p, abs=1e-15)
    loss = torch.nn.functional.cross_entropy(LOGITS[None], torch.tensor([1]))
    assert loss.item() == pytest.approx(0.0667, abs=5e-5)
    assert loss.item() == pytest.approx(-np.log(p[1]), abs=1e-14)
