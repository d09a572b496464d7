"""ONNX files: the file's own names, the file's own numbers; and what is damaged, hostile or unknown is refused."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.nets import load_net

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.external_data_helper import set_external_data  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "acasxu"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the ACAS Xu controller is not at {DATA}")


def array(*shape: int, kind: str = "f4") -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(kind)


def model_of(
    nodes: list[Any], constants: dict[str, np.ndarray], shape: list[Any] | None, opset: int = 17, **more: Any
) -> Any:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    del graph.output[0].type.tensor_type.shape.dim[:]
    graph.output[0].type.tensor_type.shape.SetInParent()
    opsets = more.pop("opsets", [helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def mlp(shape: list[Any]) -> Any:
    """Named as torch's own exporter does."""
    return model_of(
        [
            helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["a"], name="/fc1/Gemm", transB=1),
            helper.make_node("Relu", ["a"], ["h"], name="/act/Relu"),
            helper.make_node("Gemm", ["h", "fc2.weight", "fc2.bias"], ["y"], name="/fc2/Gemm", transB=1),
        ],
        {"fc1.weight": array(4, 3), "fc1.bias": array(4), "fc2.weight": array(2, 4), "fc2.bias": array(2)},
        shape,
        producer_name="pytorch",
        producer_version="2.13",
    )


def saved(model: Any, folder: Path) -> str:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def refusal(model: Any, folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_net(saved(model, folder))
    return str(caught.value)


def test_names_are_the_files_own(tmp_path: Path) -> None:
    net = load_net(saved(mlp(["batch", 3]), tmp_path))
    assert [n for n, _ in net.module.named_parameters()] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert all(p.requires_grad for p in net.module.parameters())
    assert {n for n, _ in net.module.named_modules()} >= {"fc1.Gemm", "act.Relu", "fc2.Gemm"}
    assert net.description == "ONNX graph of 3 nodes, 26 parameters"
    assert net.provenance["producer"] == "pytorch 2.13"
    given = net.inputs("1,2,3")
    assert given.args[0].shape == (1, 3)
    walk = ww.walk(net.module, *given.args)
    assert walk.verify().ok
    assert walk["fc1.Gemm"].shape == (1, 4)
    assert walk.calls[1].type == "Gemm"


def test_a_batch_of_any_length_where_the_file_says_so(tmp_path: Path) -> None:
    net = load_net(saved(mlp(["batch", 3]), tmp_path))
    assert net.expects.shapes == ((-1, 3),)
    assert net.inputs("1,2,3;4,5,6").args[0].shape == (2, 3)
    fixed = load_net(saved(mlp([1, 3]), tmp_path))
    with pytest.raises(UsageError, match=r"exported for \(1, 3\)"):
        fixed.inputs("1,2,3;4,5,6")


def test_a_net_computes_what_the_reference_does(tmp_path: Path) -> None:
    """A convolutional net with a residual sum, both branches of one value, and a shape computed from its input."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "s", "m", "v"], ["n"]),
        helper.make_node("Add", ["n", "x"], ["r"]),
        helper.make_node("Relu", ["r"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["all"]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("Gather", ["all", "zero"], ["n0"]),
        helper.make_node("Constant", [], ["axis"], value_ints=[0]),
        helper.make_node("Unsqueeze", ["n0", "axis"], ["rows"]),
        helper.make_node("Concat", ["rows", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["p", "wanted"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    constants = {
        "w1": array(2, 2, 3, 3), "b1": array(2), "g": array(2), "s": array(2), "m": array(2), "v": array(2) ** 2,
        "rest": np.array([-1]), "w2": array(3, 18), "b2": array(3),
    }  # fmt: skip
    model = model_of(nodes, constants, ["n", 2, 6, 6])
    module = load_net(saved(model, tmp_path)).module
    assert sorted(n for n, _ in module.named_buffers()) == ["m", "rest", "v", "zero"]
    x = array(3, 2, 6, 6)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    with torch.no_grad():
        assert np.abs(module(torch.from_numpy(x)).numpy() - wanted).max() < 1e-5
        assert np.abs(copy.deepcopy(module).double()(torch.from_numpy(x).double()).numpy() - wanted).max() < 1e-5


def test_an_output_that_other_nodes_read_too(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    model = model_of(nodes, {}, [1, 3])
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3]))
    y, z = load_net(saved(model, tmp_path)).module(torch.tensor([[1.0, -2.0, 3.0]]))
    assert (y.tolist(), z.tolist()) == ([[-1.0, 2.0, -3.0]], [[0.0, 2.0, 0.0]])


def test_names_that_clash_or_are_no_identifiers(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "training"], ["a"], name="same"),
        helper.make_node("Add", ["a", "forward.weird name!"], ["b"], name="same"),
        helper.make_node("Add", ["b", "same.w"], ["c"]),
        helper.make_node("Add", ["c", "a/b"], ["y"], name="../../a/b"),
    ]
    constants = {name: array(3) for name in ("training", "forward.weird name!", "same.w", "a/b")}
    module = load_net(saved(model_of(nodes, constants, [1, 3]), tmp_path)).module
    assert {n for n, _ in module.named_parameters()} == {"training_", "a.b", "forward_.weird_name_", "same.w"}
    assert {"same", "same_", "Add_3", "a.b_"} <= {n for n, _ in module.named_modules()}
    x = torch.zeros(1, 3)
    assert torch.allclose(module(x), torch.from_numpy(4 * array(3))[None])


def test_numbers_of_inputs_are_checked(tmp_path: Path) -> None:
    module = load_net(saved(mlp([1, 3]), tmp_path)).module
    x = torch.zeros(1, 3)
    assert torch.equal(module(x), module(x=x))
    for call in (lambda: module(), lambda: module(x, x), lambda: module(x, x=x), lambda: module(z=x)):
        with pytest.raises(UsageError, match=r"takes 1 inputs \(x\); got"):
            call()


def test_what_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"]),
        helper.make_node("FusedGemm", ["a"], ["y"], domain="com.microsoft"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    message = refusal(model_of(nodes, {}, [3, 3], opsets=opsets), tmp_path)
    assert "operators that are not run here: Det, com.microsoft:FusedGemm. Those that are: Abs, Add, Aver" in message


@pytest.mark.parametrize(
    ("node", "constants", "message"),
    [
        (("Cast", {"to": TensorProto.STRING}), {}, "casts to type 8"),
        (("AveragePool", {"kernel_shape": [2], "dilations": [2]}), {}, "has dilations (2,)"),
        (("BatchNormalization", {"training_mode": 1}), dict.fromkeys("gsmv", array(3)), "training mode"),
        (("Reshape", {}), {"s": np.array([7])}, "most often the file was exported for another batch size"),
        (("Pad", {}), {"p": np.array([1 << 30] * 6)}, "to more than 2,147,483,648 numbers"),
        (("Pad", {"mode": "mirror"}), {"p": np.array([0, 0, 1, 0, 0, 1])}, "pads by 'mirror'"),
        (("Dropout", {}), {"r": array(), "t": np.array(True)}, "drops at random"),
    ],
)
def test_settings_that_are_not_run(tmp_path: Path, node: Any, constants: dict[str, np.ndarray], message: str) -> None:
    op, settings = node
    outputs = ["y", "a", "b"] if settings.get("training_mode") else ["y"]
    one = helper.make_node(op, ["x", *constants], outputs, name="it", **settings)
    model = model_of([one], constants, [2, 3, 4], opset=19)
    with pytest.raises(UsageError) as caught:
        load_net(saved(model, tmp_path)).module(torch.zeros(2, 3, 4))
    assert f"The ONNX node 'it' ({op}) " in str(caught.value)
    assert message in str(caught.value)


def test_old_sparse_and_own_functions(tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    assert "operator set 6 of ONNX, and the oldest" in refusal(model_of([relu], {}, [1], opset=6), tmp_path)
    function = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [
        helper.make_opsetid("", 17)
    ])  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = model_of([helper.make_node("F", ["x"], ["y"], domain="own")], {}, [1], opsets=opsets, functions=[function])
    assert "functions of its own ('F')" in refusal(model, tmp_path)
    model = model_of([helper.make_node("Constant", [], ["y"], value_string=b"no")], {}, [1])
    assert "as value_string: it is no tensor" in refusal(model, tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    whole = Path(saved(mlp([1, 3]), tmp_path)).read_bytes()
    path = tmp_path / "net.onnx"
    for content in (b"", b"\x00\x01\x02 not a model", whole[: len(whole) // 2], whole[:-3]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"is no ONNX model, or a damaged one"):
            load_net(str(path))
    with pytest.raises(UsageError, match="There is no file"):
        load_net(str(tmp_path / "none.onnx"))


def test_numbers_that_are_fewer_than_the_shape_says(tmp_path: Path) -> None:
    model = mlp([1, 3])
    model.graph.initializer[0].dims[0] = 1 << 40
    assert "is no ONNX model, or a damaged one" in refusal(model, tmp_path)
    model = mlp([1, 3])
    model.graph.initializer[0].data_type = TensorProto.BFLOAT16
    assert "of type BFLOAT16, which is not read here" in refusal(model, tmp_path)
    model = mlp([1, 3])
    model.graph.node[0].input[1] = "nowhere"
    assert "nowhere" in refusal(model, tmp_path)


def outside(model: Any, where: str) -> Any:
    """The first weight kept in another file."""
    set_external_data(model.graph.initializer[0], where)
    model.graph.initializer[0].ClearField("raw_data")
    return model


def test_numbers_kept_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "w.bin").write_bytes(array(4, 3).tobytes())
    path = saved(outside(mlp([1, 3]), "more/w.bin"), tmp_path)
    assert np.array_equal(load_net(path).module.fc1.weight.detach().numpy(), array(4, 3))
    assert "'gone.bin', which is not there" in refusal(outside(mlp([1, 3]), "gone.bin"), tmp_path)
    (tmp_path / "more" / "w.bin").write_bytes(array(4, 3).tobytes()[:-1])
    assert "damaged" in refusal(outside(mlp([1, 3]), "more/w.bin"), tmp_path)


def test_numbers_are_never_read_from_outside_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(array(4, 3).tobytes())
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    for where in (
        "../secret.bin",
        str(secret),
        "link.bin",
        "linked/secret.bin",
        "a/../../s.bin",
        "..\\secret.bin",
    ):
        assert "outside the file's folder" in refusal(outside(mlp([1, 3]), where), folder)
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(array(4, 3), "hidden"))
    set_external_data(node.attribute[0].t, "../secret.bin")
    node.attribute[0].t.ClearField("raw_data")
    model = model_of([node, helper.make_node("Add", ["x", "c"], ["y"])], {}, [4, 3])
    assert "its tensor 'hidden' would be read from '../secret.bin'" in refusal(model, folder)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(mlp([1, 3]), tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install 'weightwalk\[onnx\]'"):
        load_net(path)


@needs_data
def test_the_real_controller_against_the_reference_and_its_text_form() -> None:
    """The ONNX weights are the text's decimals rounded to float32; it takes and gives normalised numbers."""
    path = DATA / "ACASXU_1_1.onnx"
    net, text = load_net(str(path)), load_net(str(DATA / "ACASXU_1_1.nnet"))
    low, high = np.array(text.expects.box).T
    x = torch.from_numpy(np.random.default_rng(0).uniform(low, high, (2000, 5)))
    with torch.no_grad():
        rows = text.module.normalise(x).float().reshape(-1, 1, 1, 5)
        wanted = ReferenceEvaluator(onnx.load(path)).run(None, {"input": rows.numpy()})[0]
        assert np.abs(net.module(rows).numpy() - wanted).max() < 5e-6
        y = (text.module(x) - text.module.denormalise.mean) / text.module.denormalise.range
        assert (net.module(rows).double() - y).abs().max() < 1e-5  # of numbers up to 0.77
        assert bool((net.module(rows).argmin(1) == y.argmin(1)).all()), "the same advisory everywhere"
    for k in range(1, 8):
        name = f"Operation_{k}_MatMul_W" if k < 7 else "linear_7_MatMul_W"
        stored = net.module.get_parameter(name).T
        assert torch.equal(stored, text.module.get_submodule(f"fc{k}").weight.float())
    given = net.inputs("0.1,0.2,0.3,0.4,-0.2")
    assert ww.walk(net.module, *given.args).verify().ok
