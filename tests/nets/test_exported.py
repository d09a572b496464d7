"""Exported programs: honest ones load and compute what they did; hostile ones are refused before anything runs.

Each attack is made by changing an honest file the way an attacker would. What makes them more than words is `marker`: a
file that the payload would create. `test_the_attacks_are_real` hands some of them to ``torch.export.load`` itself, in a
process of its own, and sees the file appear.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightwalk.errors import UsageError
from weightwalk.nets import load_net
from weightwalk.nets.sieve import sieve_json


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]))
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.fc1(x))
        for block in self.blocks:
            y = y + self.drop(block(y)) * self.scale
        return y.reshape(x.shape[0] * 2, 2).softmax(dim=-1)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model().eval()


@pytest.fixture(scope="module")
def honest(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(5, 3),), dynamic_shapes={"x": {0: batch}})
    torch.export.save(program, path)
    return path


def changed(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A copy of the archive with its parts changed, written so that torch itself would read it."""
    with zipfile.ZipFile(source) as archive:
        parts = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    change(parts)
    out = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(out)
    for name, data in parts.items():
        if name not in ("byteorder", ".data/serialization_id", ".data/version", "version"):
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    target.write_bytes(out.getvalue())
    return target


def edit(name: str, change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(parts: dict[str, bytes]) -> None:
        tree = json.loads(parts[name])
        change(tree)
        parts[name] = json.dumps(tree).encode()

    return apply


GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def test_it_computes_what_the_model_did(model: Model, honest: Path) -> None:
    net = load_net(str(honest))
    for rows in (1, 2, 7):
        x = torch.randn(rows, 3)
        assert torch.equal(net.module(x), model(x))
    assert net.provenance["kind"] == "exported"
    assert net.dtype == "float32"


def test_it_keeps_the_names_of_parameters_and_modules(model: Model, honest: Path) -> None:
    module = load_net(str(honest)).module
    assert {n for n, _ in module.named_parameters()} == {n for n, _ in model.named_parameters()}
    assert {n for n, _ in module.named_modules()} >= {"fc1", "blocks.0", "blocks.1"}


def test_input_is_shaped_as_it_was_exported(honest: Path) -> None:
    net = load_net(str(honest))
    assert net.expects.shapes == ((-1, 3),)
    assert net.inputs("1,2,3").args[0].shape == (1, 3)
    assert net.inputs("1,2,3;4,5,6").args[0].shape == (2, 3)
    with pytest.raises(UsageError, match=r"The input has shape \(4,\); this program was exported for \(any, 3\)"):
        net.inputs("1,2,3,4")


def test_programs_on_token_ids_and_on_two_inputs(tmp_path: Path) -> None:
    program = torch.export.export(nn.Embedding(9, 2), (torch.zeros(4, dtype=torch.int64),))
    torch.export.save(program, tmp_path / "ids.pt2")
    assert load_net(str(tmp_path / "ids.pt2")).inputs("1,2,3,4").args[0].tolist() == [1, 2, 3, 4]

    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sum": a + b}

    program = torch.export.export(Sum(), (torch.ones(2), torch.ones(2)))
    torch.export.save(program, tmp_path / "two.pt2")
    net = load_net(str(tmp_path / "two.pt2"))
    assert net.module(torch.ones(2), torch.ones(2))["sum"].tolist() == [2, 2]
    with pytest.raises(UsageError, match=r"takes 2 inputs of shapes \(2,\), \(2,\): give them by name"):
        net.inputs("1,2")


def test_the_format_of_torch_2_6_loads_too(model: Model, honest: Path, tmp_path: Path) -> None:
    """Rebuilt here as that version wrote it: four files in the root of the zip."""
    from torch._export.serde.serialize import serialize

    artifact = serialize(torch.export.load(honest))
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.20")
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("serialized_example_inputs.pt", artifact.example_inputs)
    x = torch.randn(2, 3)
    try:
        net = load_net(str(path))
    except UsageError as error:
        # A torch that no longer reads it must say so in our words.
        assert "cannot load the exported program" in str(error)  # noqa: PT017
    else:
        assert torch.equal(net.module(x), model(x))


class Payload:
    """Creates a file when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def pickled(marker: Path) -> bytes:
    out = io.BytesIO()
    torch.save(Payload(marker), out)
    return out.getvalue()


def attacks(marker: Path) -> dict[str, tuple[Callable[[dict[str, bytes]], None], str]]:
    """Name -> how to make it, and what the refusal must say."""
    code = f"__import__('os').mkdir({str(marker)!r})"
    call = f"eval({'+'.join(f'chr({ord(c)})' for c in code)})"  # no quotes, no dots

    def node(key: str, value: Any) -> Callable[[dict[str, bytes]], None]:
        return edit(GRAPH, lambda tree: tree["graph_module"]["graph"]["nodes"][1].update({key: value}))

    def size(text: str) -> Callable[[dict[str, bytes]], None]:
        def change(tree: Any) -> None:
            tree["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text

        return edit(GRAPH, change)

    def spec(kind: str, context: str) -> Callable[[dict[str, bytes]], None]:
        def change(tree: Any) -> None:
            child = {"type": kind, "context": context, "children_spec": []}
            signature = tree["graph_module"]["module_call_graph"][0]["signature"]
            signature["out_spec"] = json.dumps([1, child])

        return edit(GRAPH, change)

    def rename(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
        return lambda parts: parts.update({GRAPH: parts[GRAPH].replace(f'"{old}"'.encode(), json.dumps(new).encode())})

    def pickle_weight(parts: dict[str, bytes]) -> None:
        parts["data/weights/weight_0"] = pickled(marker)
        edit(WEIGHTS, lambda tree: tree["config"]["fc1.weight"].update(use_pickle=True))(parts)

    def pickle_constant(prefix: str) -> Callable[[dict[str, bytes]], None]:
        def change(parts: dict[str, bytes]) -> None:
            parts[f"data/constants/{prefix}_0"] = pickled(marker)
            entry = {"path_name": f"{prefix}_0", "is_param": False, "use_pickle": False, "tensor_meta": None}
            edit(CONSTANTS, lambda tree: tree["config"].update(c=entry))(parts)

        return change

    enum = '{"\\u005f_enum__": true, "fqn": "os:path", "name": "x"}'
    factory = '{"default_factory_module": "os", "default_factory_name": "getcwd", "dict_context": []}'
    return {
        "pickled example inputs": (lambda p: p.update({"data/sample_inputs/model.pt": pickled(marker)}), "unpickling"),
        "pickled weights": (pickle_weight, "'weight_0' is stored as a pickle"),
        "opaque constant": (pickle_constant("opaque_obj"), "'opaque_obj_0' is not a tensor"),
        "script object": (pickle_constant("custom_obj"), "'custom_obj_0' is not a tensor"),
        "old weights": (lambda p: p.update({"data/weights/model.pt": pickled(marker)}), "unpickling"),
        "size as code": (size(code), "is not the expression of a size"),
        "size as code without quotes": (size(call), "is not the expression of a size"),
        "size as comprehension": (size(f"[{call} for s in ()]"), "is not the expression of a size"),
        "size by calling what a call gave": (size("Symbol('s0')(1)"), "is not the expression of a size"),
        "size by attribute": (size("Symbol('s0').__class__"), "is not the expression of a size"),
        "any function of torch": (node("target", "torch.os.mkdir"), "'torch.os.mkdir' is not one of PyTorch's own"),
        "an op that writes files": (node("target", "torch.ops.aten.save.default"), "aten.save.default' is not one of"),
        "an op that maps files": (node("target", "torch.ops.aten.from_file"), "aten.from_file' is not one of"),
        "an op of somebody's": (node("target", "torch.ops.mine.run.default"), "mine.run.default' is not one of"),
        "an extension": (node("target", "#pwn:x"), "'#pwn:x' is not one of"),
        "guards": (edit(GRAPH, lambda tree: tree.update(guards_code=[f"{code} is None"])), ""),
        "a name with code": (rename("linear", f"a=0;{code};b"), "is not an identifier"),
        "a parameter with code": (rename("fc1.bias", f'a",0);{code};("'), "does not belong under 'parameter_name'"),
        "an enum to import": (spec("builtins.dict", enum), "a key of its inputs or outputs is not a plain name"),
        "a factory to import": (spec("collections.defaultdict", factory), "takes or returns a collections.defaultdict"),
        "a broken spec": (spec("builtins.dict", "{"), "its nesting of inputs and outputs cannot be read"),
        "compiled code": (lambda p: p.update({"data/aotinductor/model/a.so": b"\x7fELF"}), "compiled code is not run"),
        "JSON that is none": (lambda p: p.update({GRAPH: b"{"}), "is not valid JSON"),
        "JSON too deep": (lambda p: p.update({GRAPH: b"[" * 100_000}), "is not valid JSON"),
        "a dictionary key with code": (
            edit(GRAPH, lambda tree: tree["graph_module"]["graph"]["sym_int_values"].update({code: {"as_int": 1}})),
            "is not a name",
        ),
        "an object": (
            edit(GRAPH, lambda tree: tree["graph_module"]["graph"].update(custom_obj_values={"a": {"name": "a"}})),
            "an object that is not a tensor",
        ),
        "a named tuple": (
            edit(GRAPH, lambda tree: tree["graph_module"].update(treespec_namedtuple_fields={"a": {}})),
            "a named tuple",
        ),
    }


@pytest.mark.parametrize("name", attacks(Path("x")))
def test_attacks_are_refused(honest: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "pwned"
    change, message = attacks(marker)[name]
    path = changed(honest, tmp_path / "evil.pt2", change)
    if message:
        with pytest.raises(UsageError) as caught:
            load_net(str(path))
        assert message in str(caught.value)
    else:  # what is dropped instead of refused
        load_net(str(path)).module(torch.ones(2, 3))
    assert not marker.exists()


@pytest.mark.slow
def test_the_attacks_are_real(honest: Path, tmp_path: Path) -> None:
    """Without the sieve these run code, or the tests above would prove nothing."""
    names = ["pickled example inputs", "pickled weights", "size as code", "guards"]
    for name in names:
        changed(honest, tmp_path / f"{name}.pt2", attacks(tmp_path / name)[name][0])
    script = """
import sys, torch
for path in sys.argv[1:]:
    try:
        torch.export.load(path).module()(torch.ones(2, 3))
    except Exception:
        pass
"""
    files = [str(tmp_path / f"{name}.pt2") for name in names]
    subprocess.run([sys.executable, "-c", script, *files], capture_output=True, check=True)
    ran = [name for name in names if (tmp_path / name).exists()]
    if torch.__version__.startswith("2.13."):
        assert ran == names
    assert ran, "this torch runs none of them: so much the better, and the sieve could do less"


def test_two_parts_of_one_name_are_refused(honest: Path, tmp_path: Path) -> None:
    """Two readers could each see another of the two."""
    path = tmp_path / "twice.pt2"
    path.write_bytes(honest.read_bytes())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    with pytest.raises(UsageError, match="it holds two files of one name"):
        load_net(str(path))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\x00" * 50])
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"is no exported program, or a damaged one.*torch\.export\.save"):
        load_net(str(path))


def test_every_cut_of_an_honest_file_is_refused(honest: Path, tmp_path: Path) -> None:
    data, path = honest.read_bytes(), tmp_path / "cut.pt2"
    for size in range(0, len(data), max(1, len(data) // 20)):
        path.write_bytes(data[:size])
        with pytest.raises(UsageError):
            load_net(str(path))


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "hello")
    with pytest.raises(UsageError, match="it holds no graph"):
        load_net(str(path))


def test_a_program_from_another_age(honest: Path, tmp_path: Path) -> None:
    path = changed(
        honest, tmp_path / "new.pt2", edit(GRAPH, lambda tree: tree.update(schema_version={"major": 999, "minor": 0}))
    )
    with pytest.raises(UsageError, match=r"cannot load the exported program .* export it anew with this version"):
        load_net(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s0', positive=True, integer=True)",
        "2*s0 + 1",
        "Max(1, s0)",
        "FloorDiv(s0, 2)",
        "Mod(s0 - 1, 4)",
        "u0",
        "7",
    ],
)
def test_real_sizes_pass(text: str) -> None:
    sieve_json(json.dumps({"expr_str": text}).encode(), "a")
