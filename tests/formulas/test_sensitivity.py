"""Rankings of inputs: known indices, exact gradients, what chance gives, and what is refused."""

from __future__ import annotations

import builtins
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from weightwalk.errors import UsageError
from weightwalk.formulas.fits.rank import sensitivity
from weightwalk.formulas.fits.rankings import chance, chance_correlation, in_order, rank_correlation
from weightwalk.formulas.piecewise import mlp

SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def ishigami(x: np.ndarray) -> np.ndarray:
    """Ishigami and Homma (1990): indices in closed form, and a third input that acts only together with the first."""
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_indices() -> tuple[np.ndarray, np.ndarray]:
    a, b, pi = 7.0, 0.1, math.pi
    alone = np.array([0.5 * (1 + b * pi**4 / 5) ** 2, a**2 / 8, 0.0])
    both = b**2 * pi**8 * (1 / 18 - 1 / 50)
    total = alone + np.array([both, 0.0, both])
    return alone / (alone.sum() + both), total / (alone.sum() + both)


def test_ishigami() -> None:
    """Within three times the 95 % confidence that SALib states (six standard errors; false alarm below 1e-7)."""
    found = sensitivity(ishigami, ((-math.pi, math.pi),) * 3, samples=2048, names=("a", "b", "c"))
    for measure, exact in zip(("first-order", "total"), ishigami_indices(), strict=True):
        ranking = found[measure]
        assert ranking.confidence is not None
        assert (np.abs(ranking.values - exact) <= 3 * ranking.confidence).all()
        assert (ranking.confidence < 0.1).all()
        assert ranking.stable and ranking.agreement == pytest.approx(1.0)
    np.testing.assert_allclose(found["total"].values, ishigami_indices()[1], atol=0.02)
    # the third input acts through the first alone: nothing of first order, but not nothing
    assert found["first-order"].above == (True, True, False)
    assert found["total"].above == (True, True, True)
    assert found.order("first-order") == ("b", "a", "c") and found.order("total") == ("a", "b", "c")
    assert found.certificate.ok
    assert found.evaluations == 2 * 2048 * 6 + (4 * 3 + 3) + 6 + 200


def test_a_linear_function_has_known_indices_gradients_and_effects() -> None:
    """S_i = T_i = c_i^2 w_i^2 / sum: here 36, 16 and 0 of 52; a move by a tenth of the range does c_i w_i / 10."""
    slopes = np.array([3.0, -1.0, 0.0])
    found = sensitivity(
        lambda x: x @ slopes + 5, ((0, 2), (-2, 2), (0, 9)), x=(0.1, 0.0, 1.0), gradient=slopes, samples=1024
    )
    for measure in ("first-order", "total"):
        np.testing.assert_allclose(found[measure].values, np.array([36, 16, 0]) / 52, atol=0.01)
        assert found[measure].above == (True, True, False)
    assert found.disagreement < 1e-9 and found.certificate.ok
    np.testing.assert_allclose(found["gradient"].sizes, [6, 4, 0])
    assert found["gradient"].values.tolist() == [3, -1, 0]
    np.testing.assert_allclose(found["perturbation"].sizes, [0.6, 0.4, 0], atol=1e-12)
    assert found.agreement("gradient", "perturbation") == 1.0
    assert found.value == pytest.approx(5.3)


def test_at_the_edge_of_the_box_only_the_move_into_it_is_made() -> None:
    seen = []

    def f(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return (x[:, 0] - 1) ** 2 + x[:, 1]

    found = sensitivity(f, ((0, 1), (0, 1)), x=(1, 0), samples=0, share=0.25, step=1e-6)
    np.testing.assert_allclose(found["perturbation"].values, [0.0625, 0.25])
    assert all(((x >= -1e-5) & (x <= 1 + 1e-5)).all() for x in seen)
    inner = sensitivity(f, ((0, 1), (0, 1)), x=(0.5, 0.5), samples=0, share=0.25)
    np.testing.assert_allclose(inner["perturbation"].values, [0.3125, 0.25])  # down is (-.75)^2 - .25, up -.1875


def test_exact_gradient_and_differences_of_a_net_agree() -> None:
    """CHECKLIST 255: to 1e-5, and both rank alike within one region."""
    draw = np.random.default_rng(0)
    net = mlp(
        [draw.normal(size=(16, 5)), draw.normal(size=(16, 16)) / 4, draw.normal(size=(2, 16))],
        [draw.normal(size=16), draw.normal(size=16), np.zeros(2)],
    )
    x = draw.uniform(-1, 1, 5)
    maps = net.maps(net.pattern(x[None]))[0][0]
    for output in (0, 1, -1):
        found = sensitivity(net, ((-1, 1),) * 5, x=x, gradient=maps, output=output, samples=0, share=1e-6)
        assert found.disagreement < 1e-5
        assert found["gradient"].values.tolist() == maps[output].tolist()
        assert found["gradient"].order == found["perturbation"].order
        assert not found.kinks
    wrong = sensitivity(net, ((-1, 1),) * 5, x=x, gradient=maps * 1.001, samples=0)
    assert not wrong.certificate.ok and wrong.disagreement == pytest.approx(1e-3, rel=0.1)


def test_kinks_are_told_from_bends() -> None:
    f = {
        "kink": lambda x: np.abs(x[:, 0]) + x[:, 1],
        "parabola": lambda x: x[:, 0] ** 2 + 0 * x[:, 1],
        "constant": lambda x: 0 * x[:, 0] + 0.1,
        "sine": lambda x: np.sin(9 * x[:, 0]) * np.exp(x[:, 1]),
    }
    at = {name: sensitivity(one, SQUARE, x=(0, 0), samples=0).kinks for name, one in f.items()}
    assert at == {"kink": (0,), "parabola": (), "constant": (), "sine": ()}


def test_a_float32_function_gets_a_step_that_its_rounding_does_not_drown() -> None:
    slopes = np.array([1.0, 2.0])

    def single(x: np.ndarray) -> np.ndarray:
        return (np.sin(x.astype(np.float32)) @ np.array([1, 2], np.float32)).astype(np.float64)

    found = sensitivity(single, SQUARE, x=(0, 0), gradient=slopes, samples=0)
    assert found.step == 4e-3 and found.disagreement < 1e-4 and not found.kinks
    assert sensitivity(lambda x: np.sin(x) @ slopes, SQUARE, x=(0, 0), gradient=slopes, samples=0).step == 1e-5


def test_an_ignored_input_measures_nothing_and_a_noisy_function_something() -> None:
    def plain(x: np.ndarray) -> np.ndarray:
        return np.sin(3 * x[:, 0]) + x[:, 1]

    found = sensitivity(plain, SQUARE, samples=256)
    assert [r.baseline("ignored input").quantile for r in found.rankings] == [0.0, 0.0, 0.0, 0.0]
    draw = np.random.default_rng(0)
    noisy = sensitivity(lambda x: plain(x) + draw.normal(size=len(x)), SQUARE, samples=256)
    for ranking in noisy.rankings:
        assert ranking.baseline("ignored input").quantile > 0.01
    assert not any(noisy["gradient"].above)


def test_chance_at_a_point_is_that_of_random_directions() -> None:
    """In 2 dimensions |g . u| = |g| |cos a| with a uniform: mean 2/pi, 95 % quantile cos(0.05 pi / 2)."""
    found = sensitivity(lambda x: 3 * x[:, 0] + 4 * x[:, 1], ((0, 1), (0, 1)), samples=0, repeats=20_000, share=0.5)
    for measure, size in (("gradient", 5.0), ("perturbation", 2.5)):
        chance = found[measure].baseline("chance")
        # standard error of the mean: 0.31 / sqrt(20,000); six of them
        assert chance.mean == pytest.approx(size * 2 / math.pi, rel=0.02)
        assert chance.quantile == pytest.approx(size * math.cos(0.025 * math.pi), rel=0.005)
        assert found[measure].above == (False, False)  # 4 of 5 is no special direction in the plane
    one = sensitivity(lambda x: 3 * x[:, 0] + 0.01 * x[:, 1], ((0, 1), (0, 1)), samples=0)
    assert one["gradient"].above == (True, False)


def test_permuted_outputs_have_no_first_order_and_a_total_index_of_one() -> None:
    found = sensitivity(lambda x: x[:, 0], SQUARE, samples=1024)
    first, total = (found[m].baseline("chance") for m in ("first-order", "total"))
    assert abs(first.mean) < 0.01 and 0.03 < first.quantile < 0.09  # about 1.96 / sqrt(1,024)
    assert total.mean == pytest.approx(1.0, abs=0.02)
    assert "ceiling" in total.how


def test_random_outputs_do_not_stand_above_chance() -> None:
    """A function that is noise, but always the same noise: 40 seeds, at most 5 % each by design, here none expected.

    A single hurdle is passed by chance in 5 % of the seeds, before the confidence is taken off as well; more than 8 of
    40 has a probability below 1e-3 even then.
    """

    def noise(x: np.ndarray) -> np.ndarray:
        return np.mod(np.sin(x @ np.array([12.9898, 78.233, 37.719])) * 43758.5453, 1.0)

    above = [any(sensitivity(noise, ((0, 9),) * 3, samples=128, seed=3 * s)["first-order"].above) for s in range(40)]
    assert sum(above) <= 8


def test_permutation_importance() -> None:
    """Of y = 3 a + b by a function that is right: growth 2 Var(part) = 2 x 9/12 and 2 x 1/12."""
    draw = np.random.default_rng(1)
    x = draw.random((3000, 3))
    y = 3 * x[:, 0] + x[:, 1]
    found = sensitivity(lambda x: 3 * x[:, 0] + x[:, 1], ((0, 1),) * 3, samples=0, data=(x, y))["permutation"]
    np.testing.assert_allclose(found.values, [1.5, 1 / 6, 0], rtol=0.1, atol=1e-9)
    assert found.above == (True, True, False) and found.stable
    assert found.again is not None and found.confidence is not None
    # two runs that share nothing: apart, but by no more than their noise
    assert 0 < abs(found.again[0] - found.values[0]) < 4 * found.confidence[0]
    chance = found.baseline("chance")
    assert chance.quantile < 0.5
    assert found.baseline("ignored input").mean == 0
    shuffled = sensitivity(
        lambda x: 3 * x[:, 0] + x[:, 1], ((0, 1),) * 3, samples=0, data=(x, draw.permutation(y))
    )["permutation"]  # fmt: skip
    assert not any(shuffled.above)


def test_the_same_seed_gives_the_same_numbers_and_the_global_state_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b, c = (sensitivity(ishigami, ((-3, 3),) * 3, samples=64, seed=s) for s in (0, 0, 5))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    for one, other, third in zip(a.rankings, b.rankings, c.rankings, strict=True):
        assert one.values.tobytes() == other.values.tobytes()
        assert one.baselines == other.baselines
        if one.confidence is not None:
            assert one.confidence.tobytes() == other.confidence.tobytes()
            assert one.values.tobytes() != third.values.tobytes()


def test_a_constant_function_has_no_indices() -> None:
    found = sensitivity(lambda x: np.full(len(x), 0.1), SQUARE, samples=64)
    for ranking in found.rankings:
        assert ranking.sizes.tolist() == [0.0, 0.0] and ranking.above == (False, False)


def test_rank_correlation_is_spearmans() -> None:
    draw = np.random.default_rng(0)
    for n in (2, 5, 9):
        a, b = draw.integers(0, 4, (2, n)).astype(float)
        if len(set(a)) > 1 and len(set(b)) > 1:
            assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert math.isnan(rank_correlation(np.ones(3), np.arange(3.0)))
    assert in_order(np.array([1.0, 3.0, 1.0])) == (1, 0, 2)


def test_agreement_by_chance() -> None:
    assert chance_correlation(3) == (1.0, pytest.approx(1 / 6))
    every = sorted(rank_correlation(np.arange(5.0), np.array(p, float)) for p in itertools.permutations(range(5)))
    assert chance_correlation(5)[0] == pytest.approx(every[math.ceil(0.95 * 119)])
    # for many inputs Spearman's coefficient is about normal with deviation 1 / sqrt(n - 1)
    assert chance_correlation(50)[0] == pytest.approx(1.645 / 7, abs=0.03)
    assert math.isnan(chance_correlation(1)[0])


def test_one_input_has_nothing_to_rank_but_is_measured() -> None:
    found = sensitivity(lambda x: np.sin(x[:, 0]), ((0, 3),), samples=256)
    assert found["gradient"].above == (True,) and len(found["gradient"].baselines) == 1
    np.testing.assert_allclose(found["first-order"].values, [1.0], atol=0.05)
    assert found.same_by_chance == 1.0


def test_without_salib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def absent(name: str, *rest, **more):
        if name.startswith("SALib"):
            raise ImportError(name)
        return load(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"need SALib, which is not installed: pip install 'weightwalk\[formulas\]'"):
        sensitivity(ishigami, ((-3, 3),) * 3, samples=64)
    assert len(sensitivity(ishigami, ((-3, 3),) * 3, samples=0).rankings) == 2


REFUSED = {
    "an empty box": ({"box": ((2, 2), (0, 1))}, "Side 0 of the box runs from 2 to 2: it is empty"),
    "a point of another size": ({"x": (1, 2, 3)}, "The point has 3 numbers; expected 2, finite"),
    "a point outside": ({"x": (0, 5)}, "The point's input 1 is 5, outside of its side of the box, -1 to 1"),
    "a nan point": ({"x": (0, math.nan)}, "expected 2, finite"),
    "a gradient of another size": ({"gradient": np.ones(3)}, r"The gradient has shape \(3,\); expected \(2,\)"),
    "no such output": ({"output": 1}, "There is no output 1: the function has 1"),
    "share 0": ({"share": 0.0}, "share=0, but each input is moved by more than 0 and at most 0.5"),
    "share 1": ({"share": 1.0}, "share=1, but"),
    "a step of nothing": ({"step": -1.0}, "step=-1, but central differences take a share of the range"),
    "few samples": ({"samples": 4}, "samples=4: Sobol' indices take at least 16"),
    "few repeats": ({"repeats": 3}, "repeats=3: a 95 % quantile takes at least 20"),
    "a negative seed": ({"seed": -1}, "seed=-1, but a seed is 0 or more"),
    "names": ({"names": ("a",)}, "There are 1 names for the 2 sides"),
    "a pole": ({"f": lambda x: 1 / np.where(x[:, 0] > 0.5, 0.0, 1.0)}, r"The function is inf at x\[0\] = 0\."),
    "data of another width": ({"data": (np.zeros((4, 3)), np.zeros(4))}, "2 columns of x"),
    "data without that output": (
        {"data": (np.zeros((4, 2)), np.zeros((4, 2))), "output": 2, "f": lambda x: np.tile(x, (1, 2))},
        "The data has 2 columns of y, but output 2 was asked for",
    ),
    "an image": ({"box": ((0, 1),) * 9000}, "Moving each of 9,000 inputs by itself would take 3.0 GiB: rank fewer"),
    "too many inputs": (
        {"box": ((0, 1),) * 784},
        "Sobol' indices of 784 inputs by 1,024 samples each would take 1,611,776 runs.*1,024 samples serve up to 137",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_refused_in_one_sentence(case: str) -> None:
    changed, message = REFUSED[case]
    request = {"f": lambda x: x.sum(1), "box": SQUARE} | changed
    with pytest.raises(UsageError, match=message):
        sensitivity(request.pop("f"), request.pop("box"), **request)


def test_a_baseline_of_several_inputs_counts_the_greatest_of_each_repeat() -> None:
    """One uniform number: 95 % lie below .95. The greatest of three: below .95 to the power 1/3."""
    sizes = np.random.default_rng(0).random((200_000, 3))
    assert chance("", sizes).quantile == pytest.approx(0.95 ** (1 / 3), abs=1e-3)
    assert chance("", sizes[:, 0]).quantile == pytest.approx(0.95, abs=2e-3)
    assert chance("", sizes).mean == pytest.approx(0.5, abs=2e-3) and chance("", sizes).repeats == 200_000
