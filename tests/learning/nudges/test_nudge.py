"""One training step, against formulas written out by hand and against torch itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from learning.nudges.small import X, Y, deep
from torch import Tensor, nn

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.learning.nudges.facts import Nudge
from weightwalk.readings.narrate_facts import Sum

W, B = [0.3, -0.7], 0.1


def linear() -> nn.Linear:
    """y = 0.3 x1 - 0.7 x2 + 0.1, in float64."""
    net = nn.Linear(2, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([W], dtype=torch.float64))
        net.bias.fill_(B)
    return net


def by_address(facts: Nudge) -> dict[str, tuple[float, float, float]]:
    return {b.address: (b.value, b.gradient, b.after) for b in facts.blames}


def hand_gradient(x: list[list[float]], y: list[float]) -> list[float]:
    """∂(mean square)/∂(w1, w2, b) in a loop over plain numbers."""
    out = [0.0, 0.0, 0.0]
    for (a, b), t in zip(x, y, strict=True):
        e = W[0] * a + W[1] * b + B - t
        for k, factor in enumerate((a, b, 1.0)):
            out[k] += 2 * e * factor / len(x)
    return out


# The loss and the blame -----------------------------------------------------------------------------------------------


def test_gradients_of_a_linear_net_are_those_of_the_formula() -> None:
    facts = ww.nudge(linear(), X, Y, lr=0.05)
    wanted = hand_gradient(X.tolist(), Y[:, 0].tolist())
    found = by_address(facts)
    for address, g, w in zip(("weight[0, 0]", "weight[0, 1]", "bias[0]"), wanted, (*W, B), strict=True):
        assert found[address][0] == w
        assert found[address][1] == pytest.approx(g, rel=1e-14)
        assert found[address][2] == pytest.approx(w - 0.05 * g, rel=1e-14)  # row 218: the rate is in the formula
    sizes = [abs(b.gradient) for b in facts.blames]
    assert sizes == sorted(sizes, reverse=True)
    assert facts.ok


def test_the_four_quantities_are_kept_apart() -> None:
    facts = ww.nudge(linear(), X, Y)
    for error, (a, b), t in zip(facts.compared.errors, X.tolist(), Y[:, 0].tolist(), strict=True):
        e = W[0] * a + W[1] * b + B - t
        assert (error.residual, error.absolute, error.squared) == pytest.approx((e, abs(e), e * e), rel=1e-14)
        assert error.cross_entropy is None
        assert error.slope == pytest.approx(2 * e / 3, rel=1e-14)
    assert facts.compared.mean["squared"] == pytest.approx(facts.compared.loss, rel=1e-15)
    assert facts.compared.trained == "squared"
    assert facts.compared.mean["residual"] != facts.compared.loss


@pytest.mark.parametrize("e", [0.25, 2.0, 10.0])
def test_errors_of_either_sign_have_one_loss_and_opposite_gradients(e: float) -> None:
    out = float(W[0] * 1.0 + W[1] * -2.0 + B)
    low, high = (ww.nudge(linear(), X[:1], torch.tensor([[out + s * e]], dtype=torch.float64)) for s in (1, -1))
    assert low.compared.loss == pytest.approx(high.compared.loss, rel=1e-12) == pytest.approx(e * e)
    for address, (_, g, _) in by_address(low).items():
        assert g == pytest.approx(-by_address(high)[address][1], rel=1e-12)


def test_cross_entropy_says_minus_ln_p_and_slope_p_minus_one() -> None:
    """Row 126: at p = 0.7 the loss is 0.3567 and the slope at the logit -0.30."""
    net = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[math.log(0.7)], [math.log(0.3)]], dtype=torch.float64))
    facts = ww.nudge(net, torch.ones(1, 1, dtype=torch.float64), torch.tensor([0]))
    (error,) = facts.compared.errors
    assert error.said == pytest.approx(0.7, rel=1e-12)
    assert error.cross_entropy == pytest.approx(0.35667494393873, rel=1e-12)
    assert error.slope == pytest.approx(-0.3, rel=1e-12)
    assert by_address(facts)["weight[0, 0]"][1] == pytest.approx(-0.3, rel=1e-12)
    assert facts.loss == "cross_entropy"


def test_bits_by_the_logistic_function() -> None:
    facts = ww.nudge("xor", seed=1)
    for error in facts.compared.errors:
        p, t = error.said, error.wanted
        assert error.cross_entropy == pytest.approx(-math.log(p if t else 1 - p), rel=1e-6)
        assert error.slope == pytest.approx((p - t) / 4, rel=1e-5)


def test_the_mean_of_batch_gradients_is_the_whole_gradient() -> None:
    whole = by_address(ww.nudge(deep(), X, Y, top=99))
    parts = [by_address(ww.nudge(deep(), X, Y, rows=[i], top=99)) for i in range(3)]
    for address, (_, g, _) in whole.items():
        assert np.mean([p.get(address, (0, 0, 0))[1] for p in parts]) == pytest.approx(g, rel=1e-12, abs=1e-15)


def test_text_is_learned_by_its_next_tokens() -> None:
    net = ww.load_net("gpt")
    given = net.inputs("The cat is")
    (ids,) = given.args
    assert isinstance(net.module, nn.Module)
    facts = ww.nudge(net.module, ids[:, :-1], ids[:, 1:], top=3)
    with torch.no_grad():
        logits = net.module(ids[:, :-1]).double()
    wanted = -torch.log_softmax(logits, -1)[0, torch.arange(2), ids[0, 1:]]
    assert [e.cross_entropy for e in facts.compared.errors] == pytest.approx(wanted.tolist(), rel=1e-6)
    assert facts.ok and len(facts.blames) == 3 and facts.share < 0.1


# Backpropagation is not the optimizer ---------------------------------------------------------------------------------


def test_same_gradients_different_optimizers() -> None:
    names = ("sgd", "momentum", "nesterov", "adam", "adamw")
    found = [ww.nudge(deep(), X, Y, optimizer=name, lr=0.01, top=99) for name in names]
    gradients = [[(b.address, b.gradient) for b in f.blames] for f in found]
    assert all(g == gradients[0] for g in gradients)
    steps = [tuple(b.nudge for b in f.blames) for f in found]
    assert steps[0] == steps[1]  # the first step of momentum is plain gradient descent
    assert len(set(steps)) == 4
    assert all(f.ok for f in found)


def test_the_five_phases_come_in_their_order() -> None:
    facts = ww.nudge(deep(), X, Y)
    assert list(facts.phases) == ["forward", "loss", "backward", "update"]
    assert facts.walk is not None
    phases = [s.phase for s in facts.walk.steps]
    assert phases == sorted(phases, key=list(facts.phases).index)


def reference(name: str, steps: int, lr: float, decay: float, mu: float = 0.9) -> list[np.ndarray]:
    """Weights after so many steps of the optimizer as its paper writes it, in NumPy; gradients by torch's autograd."""
    net = deep()
    values = [p.detach().numpy().copy() for p in net.parameters()]
    m = [np.zeros_like(v) for v in values]
    v2 = [np.zeros_like(v) for v in values]
    for t in range(1, steps + 1):
        with torch.no_grad():
            for p, value in zip(net.parameters(), values, strict=True):
                p.copy_(torch.from_numpy(value))
        loss = (net(X) - Y).square().mean()
        gradients = [g.numpy() for g in torch.autograd.grad(loss, list(net.parameters()))]
        for k, g in enumerate(gradients):
            w = values[k]
            if name in ("sgd", "momentum", "nesterov", "adam"):
                g = g + decay * w
            if name in ("adam", "adamw"):
                m[k] = 0.9 * m[k] + 0.1 * g
                v2[k] = 0.999 * v2[k] + 0.001 * g * g
                w = w * (1 - lr * decay) if name == "adamw" else w
                values[k] = w - lr * (m[k] / (1 - 0.9**t)) / (np.sqrt(v2[k] / (1 - 0.999**t)) + 1e-8)
                continue
            if name != "sgd":
                m[k] = g if t == 1 else mu * m[k] + g
                g = g + mu * m[k] if name == "nesterov" else m[k]
            values[k] = w - lr * g
    return values


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_optimizers_do_what_their_papers_say(name: str, decay: float) -> None:
    facts = ww.nudge(deep(), X, Y, optimizer=name, lr=0.03, steps=4, settings={"weight_decay": decay}, top=99)
    wanted = dict(zip((n for n, _ in deep().named_parameters()), reference(name, 4, 0.03, decay), strict=True))
    assert len(facts.blames) == 13
    for b in facts.blames:
        key, _, index = b.address.partition("[")
        at = tuple(int(i) for i in index.rstrip("]").split(","))
        assert b.after == pytest.approx(wanted[key][at], abs=1e-10)
    assert facts.ok and facts.step == 4


def test_adams_first_step_is_the_rate_against_the_sign() -> None:
    facts = ww.nudge(deep(), X, Y, optimizer="adam", lr=0.1, top=99)
    large = [b for b in facts.blames if abs(b.gradient) > 0.01]
    assert len(large) > 8
    for b in large:
        assert b.nudge == pytest.approx(-0.1 * math.copysign(1, b.gradient), abs=1e-6)


def test_a_loss_that_leaves_the_numbers_is_told() -> None:
    facts = ww.nudge(deep(), X, Y, lr=1e200, loss=lambda o, t: (o - t).pow(4).mean())
    assert not math.isfinite(facts.promise.after) and "no longer a finite number" in str(facts)
    with pytest.raises(UsageError, match="cannot take this step"):
        ww.nudge("hello", lr=1e300)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_every_line_of_arithmetic_closes_and_matches_the_record(name: str) -> None:
    facts = ww.nudge("hello", optimizer=name, lr=0.05, steps=3, top=6)
    kinds = {"sgd": ["w'"], "momentum": ["b", "w'"], "nesterov": ["b", "w'"], "adam": ["m", "v", "w'"]}
    for sheet, b in zip(facts.arithmetic, facts.blames, strict=True):
        assert [c.name for c in sheet.checks] == kinds.get(name, ["m", "v", "w'"])
        assert all(c.ok for c in sheet.checks)
        assert sheet.checks[-1].recorded == b.after
        for line in sheet.lines:
            if isinstance(line, Sum):
                assert sum(t.value for t in line.terms) == line.total
    labels = [t.label for line in facts.arithmetic[0].lines if isinstance(line, Sum) for t in line.terms]
    assert any("decoupled" in label for label in labels) == (name == "adamw")


def test_arithmetic_that_is_not_the_record_is_told() -> None:
    """The check can fail: with another rate, or a gradient's sign turned, no line may pass."""
    from weightwalk.learning.nudges import blaming
    from weightwalk.learning.nudges.arithmetic import arithmetic

    facts = ww.nudge("hello", optimizer="adam", lr=0.05, steps=2)
    assert facts.walk is not None
    found = list(blaming.parameters(facts.walk, [t.name for t in facts.tensors]))
    ((parameter, place),) = blaming.ranked(found, 1)
    good = {"lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    assert all(c.ok for c in arithmetic(facts.walk, parameter, place, "adam", good).checks)
    for wrong in ({"lr": 0.0501}, {"betas": (0.91, 0.999)}, {"betas": (0.9, 0.99)}):
        sheet = arithmetic(facts.walk, parameter, place, "adam", {**good, **wrong})
        assert not all(c.ok for c in sheet.checks)


def test_rivals_take_the_step_that_they_would_take_alone() -> None:
    names = ["momentum", "adam", "adamw"]
    facts = ww.nudge(deep(), X, Y, optimizer="sgd", lr=0.02, compare=names, top=99)
    assert [r.optimizer for r in facts.rivals] == ["sgd", *names]
    for rival in facts.rivals:
        alone = ww.nudge(deep(), X, Y, optimizer=rival.optimizer, lr=0.02, top=99)
        assert rival.nudges == pytest.approx([b.nudge for b in alone.blames], rel=1e-12)
        assert (rival.after, rival.first) == pytest.approx((alone.promise.after, alone.promise.first), rel=1e-12)
    assert facts.rivals[0].cosine == pytest.approx(1, rel=1e-12)
    later = ww.nudge(deep(), X, Y, optimizer="sgd", lr=0.02, compare=["momentum"], steps=3, top=99)
    assert later.rivals[0].nudges == pytest.approx([b.nudge for b in later.blames], rel=1e-12)
    assert later.rivals[1].norm > later.rivals[0].norm


# What came of it ------------------------------------------------------------------------------------------------------


def test_on_a_quadratic_loss_two_orders_are_all_there_is() -> None:
    promise = ww.nudge(linear(), X, Y, lr=0.3).promise
    assert promise.second is not None and promise.beyond is not None
    assert promise.changed == pytest.approx(promise.first + promise.second, rel=1e-12)
    assert abs(promise.beyond) < 1e-12
    assert sum(t.value for t in promise.told.terms) == promise.told.total


def test_the_sign_of_a_small_nudge_is_the_sign_of_the_gradient() -> None:
    """Rows 127 and 217: (loss(w + ε) - loss(w)) / ε ≈ ∂loss/∂w for each weight, by a loop of its own."""
    net = deep()
    facts = ww.nudge(net, X, Y, top=99)
    with torch.no_grad():
        base = float((net(X) - Y).square().mean())
        for b in facts.blames:
            key, _, index = b.address.partition("[")
            parameter = net.get_parameter(key)
            at = tuple(int(i) for i in index.rstrip("]").split(","))
            parameter[at] += 1e-6
            moved = float((net(X) - Y).square().mean())
            parameter[at] = b.value
            assert (moved - base) / 1e-6 == pytest.approx(b.gradient, rel=1e-3, abs=1e-6)


def test_all_weights_move_at_once_each_by_its_own_amount() -> None:
    movement = ww.nudge(deep(), X, Y).movement
    assert movement.moved == movement.weights == movement.distinct == 13
    assert movement.raised > 0 and movement.lowered > 0 and movement.raised + movement.lowered == 13
    dead = ww.nudge("hello").movement
    assert dead.moved + dead.resting + dead.swallowed == dead.weights == 37
    assert dead.resting == dead.without_gradient > 0


def test_steps_too_small_for_the_float_are_counted() -> None:
    movement = ww.nudge("hello", lr=1e-12).movement
    assert movement.swallowed > 20


def test_a_batch_by_the_order_of_its_seed() -> None:
    from weightwalk.learning.sampling import orders

    facts = ww.nudge("hello6", batch=2, steps=3, seed=5)
    assert facts.batch == 2 and facts.examples == 6
    rows = orders([5], 0, 6)[0][4:6]
    names = ("hello→world", "cat→dog", "dog→!", "silly→dog", "cute→cat", "world→!")
    assert facts.rows == tuple(names[i] for i in rows)
    assert ww.nudge("hello6", batch=2, steps=3, seed=5).blames == facts.blames


# Accounts and pictures ------------------------------------------------------------------------------------------------


def test_a_gradient_is_the_sum_of_its_paths() -> None:
    """Each row is ∂loss/∂output times ∂output/∂w, the latter by torch's own Jacobian."""
    net = deep()
    facts = ww.nudge(net, X, Y, account=["0.weight[1, 0]"])
    (account,) = facts.accounts
    names = dict(net.named_parameters())

    def outputs(weight: Tensor) -> Tensor:
        return torch.func.functional_call(net, {**names, "0.weight": weight}, (X,))

    jacobian = torch.autograd.functional.jacobian(outputs, names["0.weight"])
    slopes = 2 * (net(X) - Y).detach() / 3
    wanted = {f"∂loss/∂output, example {i}": float(slopes[i, 0] * jacobian[i, 0, 1, 0]) for i in range(3)}  # type: ignore[index]
    found = {r.label: r.value for r in account.rows}
    assert found == pytest.approx(wanted, rel=1e-12)
    assert sum(found.values()) == pytest.approx(account.number, rel=1e-12)


def test_accounts_name_examples_and_classes() -> None:
    (account,) = ww.nudge("hello", account=["logits.bias[2]"]).accounts
    assert {r.label for r in account.rows if r.value} == {
        f"∂loss/∂output, {row}['cat']" for row in ("hello→world", "cat→dog", "dog→!", "world→!")
    }


def test_the_picture_marks_the_guiltiest_by_the_data() -> None:
    from weightwalk.learning.nudges.pictures import picture

    facts = ww.nudge("hello", top=5)
    drawn = picture(facts)
    everything = np.concatenate([p.gradient.reshape(-1) for p in drawn.panels])
    marked = np.concatenate([p.guilty.reshape(-1) for p in drawn.panels])
    assert len(everything) == 37 and marked.sum() == 5
    assert np.abs(everything[marked]).min() == drawn.threshold == sorted(np.abs(everything))[-5]


def test_the_promise_is_the_sum_of_the_weights_shown_and_the_rest() -> None:
    facts = ww.nudge(deep(), X, Y, lr=0.1, top=4)
    everything = ww.nudge(deep(), X, Y, lr=0.1, top=99).blames
    assert facts.promise.first == pytest.approx(sum(b.gradient * b.nudge for b in everything), rel=1e-12)
    assert [b.promised for b in facts.blames] == [b.gradient * b.nudge for b in facts.blames]
    (rest,) = (t for t in facts.promise.told.terms if t.kind == "rest")
    assert float(rest.value) == pytest.approx(sum(b.gradient * b.nudge for b in everything[4:]), rel=1e-6)
    assert all(abs(t.value) < 1e-8 for t in facts.promise.told.terms if t.kind == "rounding")
