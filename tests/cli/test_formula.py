"""`weightwalk formula`: what it finds, how it is written, and the code it leaves with."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.formula_nets import balanced, executed, good, net, run, tiny_nets  # noqa: F401
from torch import nn

import weightwalk as ww
from weightwalk.cli.formula import EPILOG, GROUPS

# The epilog ----------------------------------------------------------------------------------------------------------

EXAMPLES = [
    shlex.split(re.split(r"\s{3,}| > ", line.strip())[0])[2:]
    for line in EPILOG.splitlines()
    if "weightwalk formula" in line
]


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_runs(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "--figure" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    if words[0].endswith(".nnet"):
        words[0] = str(controller(tmp_path))
    words = [w.replace("my_package.nets:gelu_net", "tiny_nets:gelu") for w in words]
    page = good(*words)
    assert "--python" in words or "exact: |formula - net| <= " in page or "--surrogate" in words
    assert all((tmp_path / w).stat().st_size > 1000 for w in words if w.endswith((".svg", ".png")))


def controller(folder: Path) -> Path:
    """Five inputs, five outputs, one hidden layer of six, as an ACAS Xu controller is written."""
    rng = np.random.default_rng(0)
    rows = ["// made by a test", "2,5,5,6,", "5,6,5,", "0,", "0,-3.1,-3.1,100,0,", "60000,3.1,3.1,1200,1200,",
            "20000,0,0,650,600,7,", "60000,6.2,6.2,1100,1200,370,"]  # fmt: skip
    for n, m in ((5, 6), (6, 5)):
        rows += [",".join(map(repr, row)) + "," for row in rng.normal(size=(m, n)).round(3).tolist()]
        rows += [f"{b!r}," for b in rng.normal(size=m).round(3).tolist()]
    path = folder / "ACASXU_test.nnet"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_help_has_every_option_under_a_heading() -> None:
    page = good("--help")
    for title, names in GROUPS.items():
        assert f"\n{title}:\n" in page
        assert all(f"--{n.removeprefix('as_').replace('_', '-')}" in page for n in names)


# What is found --------------------------------------------------------------------------------------------------------


def test_a_linear_net_is_its_weights() -> None:
    page = good("linear", "--seed", "0")
    assert re.search(r"y = (1\.99|2\.0)\d* x \+ (2\.99|3\.0)", page)
    facts = json.loads(good("linear", "--seed", "0", "--exact", "--json"))
    assert facts["kind"] == "affine" and facts["certified"] is True
    a, b = facts["fractions"]
    assert float(np.float64(eval_fraction(a[0][0]))) == facts["A"][0][0]
    assert eval_fraction(b[0]) == facts["b"][0]


def eval_fraction(text: str) -> float:
    from fractions import Fraction

    return float(Fraction(text))


def test_a_net_of_one_number() -> None:
    page = good("tiny_nets:one", "--certificate")
    assert "on the whole real line" in page
    assert "greatest |formula - net| at 1,000 fresh points" in page
    facts = json.loads(good("tiny_nets:one", "--json"))
    x = np.linspace(-9, 9, 501)
    i = np.searchsorted(facts["kinks"], x)
    y = np.array(facts["slopes"])[i, 0] * x + np.array(facts["intercepts"])[i, 0]
    wanted = net("one")(torch.from_numpy(x)[:, None]).detach().numpy()[:, 0]
    np.testing.assert_allclose(y, wanted, atol=1e-12)
    assert facts["start"] == "-Infinity"
    assert len(facts["units"]) == len(facts["kinks"])


def test_fractions_are_printed() -> None:
    facts = json.loads(good("tiny_nets:one", "--exact", "--json"))
    assert all(re.fullmatch(r"-?\d+(/\d+)?", k) for k in facts["fractions"]["kinks"])
    np.testing.assert_allclose([eval_fraction(k) for k in facts["fractions"]["kinks"]], facts["kinks"], rtol=1e-12)
    assert "nothing rounded" in good("tiny_nets:one", "--exact")


def test_a_net_of_two_numbers() -> None:
    facts = json.loads(good("tiny_nets:two", "--box", "-2..2,0..1", "--json"))
    assert facts["box"] == [[-2.0, 2.0], [0.0, 1.0]]
    vertices = np.array(facts["vertices"])
    total = 0.0
    for ring, slope, offset in zip(facts["regions"], facts["slopes"], facts["offsets"], strict=True):
        corners = vertices[ring]
        x, y = corners.T
        total += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        middle = corners.mean(0)
        wanted = net("two")(torch.from_numpy(middle)[None]).detach().numpy()[0]
        np.testing.assert_allclose(np.array(slope) @ middle + offset, wanted, atol=1e-12)
    assert total == pytest.approx(4.0)
    assert all(e < 0 or str(e) in facts["units"] for edges in facts["edges"] for e in edges)


def test_around_one_input_and_with_it_as_the_second_word() -> None:
    words = ("--facets", "--minimal", "--budget", "2", "--direction", "1,0,0,0,0", "--box", "-9..9", "--json")
    facts = json.loads(good("tiny_nets:five", "--at", "0.1,-0.2,0.3,0,1", *words))
    assert facts == json.loads(good("tiny_nets:five", "0.1 -0.2 0.3 0 1", *words))
    x = np.array(facts["x"])
    assert facts["kind"] == "point" and x.tolist() == [0.1, -0.2, 0.3, 0.0, 1.0], "in float64, not float32"
    jacobian = torch.autograd.functional.jacobian(lambda v: net("five")(v[None])[0], torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(facts["A"], jacobian, atol=1e-14)
    region = facts["polytope"]
    assert (np.array(region["G"]) @ x <= np.array(region["g"])).all()
    assert [a["name"] for a in facts["along"]][-1] == "direction"
    assert facts["chebyshev"]["radius"] > 0


def test_an_input_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    (tmp_path / "x.txt").write_text("1, 2, 3, 4, 5")
    (tmp_path / "x.json").write_text("[1, 2, 3, 4, 5]")
    found = {good("tiny_nets:five", f"@{tmp_path}/x.{k}", "--json") for k in ("npy", "txt", "json")}
    assert len(found) == 1
    assert json.loads(found.pop())["x"] == [1, 2, 3, 4, 5]


def test_a_line_and_a_plane_through_more_inputs() -> None:
    facts = json.loads(good("tiny_nets:five", "--line", "0,0,0,0,0", "1,-1,1,-1,1", "--box", "-4..4", "--json"))
    assert facts["where"]["names"] == ["t"] and facts["start"] == -4.0
    facts = json.loads(good("tiny_nets:five", "--plane", "1,3", "--at", "9,9,9,9,9", "--json"))
    assert facts["where"]["origin"] == [9.0, 0.0, 9.0, 0.0, 9.0]
    assert facts["inputs"] == ["in[0, 1]", "in[0, 3]"]
    facts = json.loads(good("tiny_nets:five", "--plane", "0 0 0 0 0; 1 1 0 0 0; 0 0 1 0 0", "--box", "all", "--json"))
    assert facts["box"] is None and facts["infinite"]
    by_name = json.loads(good("tiny_nets:five", "--plane", "in[0, 1],in[0, 3]", "--at", "9,9,9,9,9", "--json"))
    assert by_name["where"]["origin"] == [9.0, 0.0, 9.0, 0.0, 9.0]


def test_a_controller_brings_its_box_and_names(tmp_path: Path) -> None:
    file = str(controller(tmp_path))
    facts = json.loads(good(file, "--plane", "rho,theta", "--decide", "min", "--json"))
    assert facts["inputs"] == ["rho", "theta"] and facts["outputs"] == ["COC", "WL", "WR", "SL", "SR"]
    assert facts["box"] == [[0.0, 60000.0], [-3.1, 3.1]]
    assert facts["where"]["origin"] == [0.0, 0.0, 0.0, 650.0, 600.0]
    (decided,) = facts["more"]
    assert decided["is"] == "Decisions" and decided["least"] is True
    page = good(file, "--plane", "rho,theta", "--decide", "min")
    assert "which of 5 outputs is least, where" in page
    shares = [float(s) for s in re.findall(r"([\d.]+) %$", page.partition("which of")[2], re.M)]
    assert sum(shares) == pytest.approx(100, abs=1e-3)


def test_an_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=s).astype(np.float32) for s in ((2, 5), (5,), (5, 1), (1,))]
    make, real = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("Gemm", ["x", "w0", "w1"], ["a"]),
        make.make_node("Relu", ["a"], ["b"]),
        make.make_node("Gemm", ["b", "w2", "w3"], ["y"]),
    ]
    graph = make.make_graph(
        nodes, "tiny", [make.make_tensor_value_info("x", real, [1, 2])],
        [make.make_tensor_value_info("y", real, [1, 1])],
        [onnx.numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )  # fmt: skip
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), tmp_path / "tiny.onnx")
    facts = json.loads(good(str(tmp_path / "tiny.onnx"), "--at", "0.5,-0.5", "--json"))
    a, b, c, d = (w.astype(np.float64) for w in weights)
    wanted = np.maximum(np.array([0.5, -0.5]) @ a + b, 0) @ c + d
    np.testing.assert_allclose(facts["y"], wanted, rtol=1e-12)
    assert "activation regions" in good(str(tmp_path / "tiny.onnx"))


def test_some_outputs_and_other_values() -> None:
    assert json.loads(good("tiny_nets:two", "--select", "2,0", "--json"))["outputs"] == ["2[0, 2]", "2[0, 0]"]
    assert json.loads(good("tiny_nets:two", "--output", "0", "--json"))["kind"] == "affine"


def test_a_recorded_walk(tmp_path: Path) -> None:
    file = str(tmp_path / "a.walk")
    with torch.no_grad():
        ww.walk(net("five"), torch.ones(1, 5, dtype=torch.float64)).save(file)
    facts = json.loads(good(file, "--json"))
    assert facts["kind"] == "point" and facts["x"] == [1.0] * 5
    assert json.loads(good(file, "--at", "2,2,2,2,2", "--json"))["x"] == [2.0] * 5
    assert json.loads(good(file, "--line", "0,0,0,0,0", "1,1,1,1,1", "--json"))["kind"] == "line"


# Text nets ------------------------------------------------------------------------------------------------------------


def logits(token: str) -> list[float]:
    hello = ww.load_net("hello", seed=1)
    given = hello.inputs(token)
    with torch.no_grad():
        return hello.module.double()(*given.args).reshape(-1).tolist()  # type: ignore[attr-defined]


def test_a_text_net_is_a_table_and_expressions_that_give_its_logits(tmp_path: Path) -> None:
    made = executed(good("hello", "cat", "--seed", "1", "--python"), tmp_path)
    assert set(made["E"]) == {"hello", "world", "cat", "dog", "!"}
    for token in made["E"]:
        np.testing.assert_allclose(made["f"](token), logits(token), rtol=1e-12)
    page = good("hello", "cat", "--seed", "1", "--certificate")
    assert page == good("hello", "--at", "cat", "--seed", "1", "--certificate")
    assert "after 'cat', where e0 = " in page and "relu(" in page
    assert "at 5 tokens, the net run on each" in page
    facts = json.loads(good("hello", "cat", "--seed", "1", "--json"))
    assert facts["is"] == "Lookup" and facts["tokens"][facts["token"]] == "cat"
    np.testing.assert_allclose(facts["values"][2], logits("cat"), rtol=1e-12)
    assert balanced(good("hello", "cat", "--seed", "1", "--latex"))


def test_the_plane_of_embeddings_with_the_tokens_on_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "e.svg"
    page = good("hello", "hello", "--plane", "0,1", "--box", "-3..3", "--seed", "1", "--figure", str(figure))
    assert "maximal affine regions" in page
    assert all(f">{token}</text>" in figure.read_text() for token in ("hello", "world", "cat", "dog", "!"))


def test_several_tokens_have_a_formula_around_them() -> None:
    assert "the affine map at one input" in good("hello", "hello cat", "--seed", "1")


# Beside the formula ---------------------------------------------------------------------------------------------------


def test_a_summary_and_a_polynomial_from_the_pieces() -> None:
    result = run("sqrt", "--seed", "0", "--summary", "--legendre", "2", "--json")
    assert "over the range of the net's own training data" in result.stderr
    summary, polynomial = json.loads(result.stdout)["more"]
    assert summary["is"] == "Summary" and summary["box"] == [[0.0, 10.0]]
    x = np.linspace(0, 10, 200_001)
    y = ww.load_net("sqrt", seed=0).module.double()(torch.from_numpy(x)[:, None]).detach().numpy()  # type: ignore[attr-defined]
    assert summary["mean"][0] == pytest.approx(y.mean(), rel=1e-4)
    assert polynomial["is"] == "Surrogate" and polynomial["degree"] == 2
    fit = np.polynomial.Polynomial.fit(x, y[:, 0], 2).convert().coef
    np.testing.assert_allclose(np.array(polynomial["coefficients"])[:, 0], np.real(fit), rtol=1e-2, atol=1e-3)
    assert "Lipschitz constant" in good("linear", "--seed", "0", "--summary", "--box", "-1..1")
    assert "Lipschitz constant" in good("tiny_nets:two", "--summary")
    summary, shares = json.loads(good("tiny_nets:two", "--summary", "--json"))["more"]
    assert shares["is"] == "Indices" and shares["variance"] == pytest.approx(summary["variance"])


def test_a_polynomial_for_any_net() -> None:
    page = good("tiny_nets:gelu", "--surrogate", "2", "--box", "-1..1", "--per-input", "--select", "1")
    assert "an approximation, not what the net computes" in page
    (facts,) = json.loads(good("tiny_nets:gelu", "--surrogate", "2", "--box", "-1..1", "--json"))["more"]
    assert facts["is"] == "Surrogate" and len(facts["outputs"]) == 2
    assert {s["where"] for s in facts["scores"]} == {"inside", "outside"}


def test_data_are_scored_against(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 40).reshape(20, 2)
    np.savez(tmp_path / "d.npz", x=x, y=np.stack([x.sum(1), x[:, 0]], 1))
    rows = np.hstack([x, x.sum(1, keepdims=True), x[:, :1]])
    np.save(tmp_path / "d.npy", rows)
    (tmp_path / "d.csv").write_text("a,b,c,d\n" + "\n".join(",".join(map(repr, r)) for r in rows.tolist()))
    pages = {
        good("tiny_nets:gelu", "--surrogate", "1", "--data", f"{tmp_path}/d.{kind}") for kind in ("npz", "npy", "csv")
    }
    assert len(pages) == 1
    assert "20 of 20 points of the data" in pages.pop()


def test_which_inputs_matter() -> None:
    pytest.importorskip("SALib")
    words = ("tiny_nets:gelu", "--sensitivity", "--box", "-1..1", "--select", "0", "--json")
    (facts,) = json.loads(good(*words, "--at", "0.5,0.5"))["more"]
    assert facts["is"] == "Sensitivity" and facts["point"] == [0.5, 0.5]
    assert facts["disagreement"] < 1e-5, "autograd's gradient against differences"


def test_the_loss_along_a_weight(tmp_path: Path) -> None:
    facts = json.loads(good("sqrt", "--seed", "0", "--weight", "fc1.weight[2, 0]", "--box", "-2..2", "--json"))
    assert facts["is"] == "LossLine" and facts["name"] == "fc1.weight[2, 0]" and facts["samples"] == 101
    sqrt = ww.load_net("sqrt", seed=0)
    x = torch.linspace(0, 10, 101)[:, None]
    wanted = nn.functional.mse_loss(sqrt.module.double()(x.double()), x.sqrt().double()).item()  # type: ignore[attr-defined]
    from weightwalk.formulas.losses.parameters import loss_along_parameter

    found = loss_along_parameter(sqrt.module, (x[:1].double(),), "fc1.weight[2, 0]", (x.numpy(), x.sqrt().numpy()))
    assert found.loss == pytest.approx(wanted, rel=1e-9)
    assert facts["at"] == found.at
    (tmp_path / "d.csv").write_text("\n".join(f"{v},{v * v}" for v in (-1.0, 0.0, 0.5, 2.0)))
    assert "4 samples" in good("tiny_nets:one", "--weight", "2.weight[0,1]", "--data", f"{tmp_path}/d.csv")


def test_the_loss_over_two_weights(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ("sqrt", "--seed", "0", "--weight", "fc1.weight[0,0]", "--weight", "fc1.weight[3,0]")
    page = good(*words, "--certificate", "--figure", f"{tmp_path}/w.svg")
    assert "loss over fc1.weight[0, 0] and fc1.weight[3, 0]: 101 samples" in page
    assert (tmp_path / "w.svg").stat().st_size > 1000
    facts = json.loads(good(*words, "--box", "-3..3", "--json"))
    assert facts["is"] == "LossPlane" and len(facts["partitions"]) == 101
