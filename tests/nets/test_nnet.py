""".nnet files: read whole and computed as the format's evaluators do, or refused in a sentence that names the line."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import weightwalk as ww
from weightwalk.errors import UsageError
from weightwalk.nets import load_net
from weightwalk.nets.nnet import ACASXU_OUTPUTS, nnet_net, read_nnet

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "acasxu" / "ACASXU_1_1.nnet"
needs_data = pytest.mark.skipif(not REAL.is_file(), reason=f"the ACAS Xu controller is not at {REAL}")

SMALL = """// a comment
// another, with numbers 1,2,3,
2,2,1,3,
2,3,1,
0,
-1.0,-2.0,
1.0,2.0,
0.5,-0.5,10.0,
2.0,4.0,100.0,
1.0,2.0,
-1.0,0.5,
0.1,0.2,
0.25,
-0.5,
1e-1,
1.0,-2.0,3.0,
0.125,
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "small.nnet"
    path.write_text(text)
    return path


def by_hand(x: list[float]) -> float:
    """The small network with pencil and paper: clip, normalise, three units, one output, denormalise."""
    a = (min(max(x[0], -1.0), 1.0) - 0.5) / 2.0
    b = (min(max(x[1], -2.0), 2.0) + 0.5) / 4.0
    h = [max(0.0, a + 2 * b + 0.25), max(0.0, -a + 0.5 * b - 0.5), max(0.0, 0.1 * a + 0.2 * b + 0.1)]
    return (h[0] - 2 * h[1] + 3 * h[2] + 0.125) * 100.0 + 10.0


@pytest.mark.parametrize("x", [[0.0, 0.0], [1.0, 2.0], [-1.0, -2.0], [0.3, -1.7], [5.0, 0.5], [-9.0, -9.0]])
def test_a_small_file_by_hand(tmp_path: Path, x: list[float]) -> None:
    net = load_net(str(written(tmp_path, SMALL)))
    with torch.no_grad():
        found = net.module(*net.inputs(x).args)
    assert found.dtype is torch.float64
    assert found.item() == pytest.approx(by_hand(x), rel=1e-15)


def test_what_a_net_tells_of_itself(tmp_path: Path) -> None:
    net = load_net(str(written(tmp_path, SMALL)))
    assert net.description == "2-3-1 ReLU network from a .nnet file, float64"
    assert net.expects.box == ((-1.0, 1.0), (-2.0, 2.0))
    assert net.expects.names == () and not net.labels, "two inputs and one output are not ACAS Xu's"
    assert [n for n, _ in net.module.named_children()] == [
        "clip", "normalise", "fc1", "relu1", "fc2", "denormalise",
    ]  # fmt: skip
    assert net.provenance["kind"] == "nnet"
    with pytest.raises(UsageError, match="takes 2 numbers at a time"):
        net.inputs("1,2,3")


def test_without_the_clip_the_network_goes_on_beyond_its_box(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    beyond, edge = torch.tensor([[5.0, 2.0]]).double(), torch.tensor([[1.0, 2.0]]).double()
    clipped, open_ = nnet_net(path).module, nnet_net(path, clip=False).module
    assert torch.equal(clipped(beyond), clipped(edge))
    assert not torch.equal(open_(beyond), open_(edge))
    assert torch.equal(open_(edge), clipped(edge))


def test_loading_draws_no_random_number(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    load_net(str(written(tmp_path, SMALL)))
    assert torch.equal(torch.get_rng_state(), before)


def test_decimals_are_read_to_the_last_bit(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL.replace("0.125,", "0.1234567890123456789,"))
    assert load_net(str(path)).module.fc2.bias.item() == 0.1234567890123456789


LINES = SMALL.splitlines()


def with_line(number: int, text: str) -> str:
    return "\n".join([*LINES[: number - 1], text, *LINES[number:]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected 4 numbers (number of layers, inputs and outputs, and the greatest width), but the file"),
        ("// only a header\n", "but the file ends here"),
        (with_line(3, "2,2,1,"), "line 3: expected 4 numbers"),
        (with_line(3, "two,2,1,3,"), "line 3: expected 4 numbers (number of layers, inputs and outputs, and the gr"),
        (with_line(3, "2.5,2,1,3,"), "line 3: 2.5 is not a whole number above 0"),
        (with_line(3, "0,2,1,3,"), "line 3: 0 is not a whole number above 0"),
        (with_line(3, "3,2,1,3,"), "line 4: expected 4 numbers (the inputs and the width of each of 3 lay"),
        (with_line(4, "3,3,1,"), "line 4: the widths go from 3 to 1, but 2 inputs and 1 outputs"),
        (with_line(6, "-1.0,"), "line 6: expected 2 numbers (the minimum of each input), found 1"),
        (with_line(7, "1.0,-2.5,"), "line 7: a maximum is below its minimum"),
        (with_line(8, "0.5,-0.5,"), "line 8: expected 3 numbers (the mean of each input and of the outputs), found 2"),
        (with_line(9, "2.0,0.0,100.0,"), "line 9: a range is 0, and inputs are divided by it"),
        (with_line(11, "-1.0,x,"), "line 11: expected 2 numbers (weights of layer 1, row 2), found 'x'"),
        (with_line(11, "-1.0,,"), "line 11: expected 2 numbers (weights of layer 1, row 2), found ''"),
        (with_line(11, "-1.0,nan,"), "line 11: expected 2 numbers (weights of layer 1, row 2), found 'nan', which"),
        (with_line(11, "-1.0,1e999,"), "line 11: expected 2 numbers (weights of layer 1, row 2), found '1e999'"),
        (with_line(11, "-1.0,1_0,"), "found '1_0'"),
        (with_line(15, "0.1,0.2,"), "line 15: expected 1 number (bias 3 of layer 1), found 2"),
        ("\n".join(LINES[:-1]), "line 17: expected 1 number (bias 1 of layer 2), but the file ends here"),
        ("\n".join(LINES[:11]), "line 12: expected 2 numbers (weights of layer 1, row 3), but the file ends here"),
        (SMALL + "1.0,\n", "line 18: the network is complete before this line; is the number of layers or a width too"),
        (with_line(4, "2,99999999999,1,"), "line 13: expected 2 numbers (weights of layer 1, row 4), found 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_net(str(path))
    assert f"{str(path)!r} is not a whole .nnet file: line " in str(caught.value)
    assert message in str(caught.value)


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        load_net(str(tmp_path / "none.nnet"))
    (tmp_path / "binary.nnet").write_bytes(b"\x93\xff\x00")
    with pytest.raises(UsageError, match=r"is not a .nnet file: it is not text \(byte 0\)"):
        load_net(str(tmp_path / "binary.nnet"))


def evaluated(path: Path, x: np.ndarray) -> np.ndarray:
    """The format's evaluation, from its description: own parser, NumPy, one input at a time."""
    rows = [line.strip().rstrip(",").split(",") for line in path.read_text().splitlines() if line[:2] != "//"]
    sizes = [int(v) for v in rows[1]]
    low, high, mean, span = (np.array(rows[i], float) for i in (3, 4, 5, 6))
    out = []
    for one in x:
        h, at = (np.minimum(np.maximum(one, low), high) - mean[:-1]) / span[:-1], 7
        for k, (before, after) in enumerate(pairwise(sizes)):
            w = np.array(rows[at : at + after], float)
            b = np.array(rows[at + after : at + 2 * after], float)[:, 0]
            assert w.shape == (after, before)
            h = w @ h + b
            h = np.maximum(h, 0) if k < len(sizes) - 2 else h
            at += 2 * after
        out.append(h * span[-1] + mean[-1])
    return np.array(out)


@needs_data
def test_the_real_controller_against_the_formats_evaluation() -> None:
    net = load_net(str(REAL))
    low, high = np.array(net.expects.box).T
    x = np.random.default_rng(0).uniform(low - (high - low) / 5, high + (high - low) / 5, (200, 5))
    with torch.no_grad():
        found = net.module(torch.from_numpy(x)).numpy()
    wanted = evaluated(REAL, x)
    assert np.abs(found - wanted).max() <= 1e-13 * np.abs(wanted).max()


@needs_data
def test_the_real_controller_is_what_its_makers_say() -> None:
    """5 inputs, 6 x 50 ReLU, 5 outputs, in the units of Julian et al. 2016; and its walk closes."""
    net = load_net(str(REAL))
    assert net.description.startswith("5-50-50-50-50-50-50-5 ReLU")
    assert net.expects.names == ("rho", "theta", "psi", "v_own", "v_int")
    assert net.expects.box[0] == (0.0, 60760.0) and net.expects.box[3] == (100.0, 1200.0)
    assert sum(m.numel() for m in net.module.parameters()) == 5 * 50 + 50 + 5 * (50 * 50 + 50) + 50 * 5 + 5
    given = net.inputs([55000.0, 0.0, math.pi / 2, 600.0, 500.0])
    walk = ww.walk(net.module, *given.args, axis_labels=given.labels)
    assert walk.verify().ok
    assert walk.account("denormalise[0, 'SR']").relative_residual < 1e-14
    costs = {name: float(walk[f"denormalise[0, '{name}']"]) for name in ACASXU_OUTPUTS}
    assert min(costs, key=costs.__getitem__) == "COC", "an intruder 17 km away calls for nothing"


def test_the_numbers_of_a_file_as_they_stand(tmp_path: Path) -> None:
    file = read_nnet(written(tmp_path, SMALL))
    assert file.weights == (((1.0, 2.0), (-1.0, 0.5), (0.1, 0.2)), ((1.0, -2.0, 3.0),))
    assert file.biases == ((0.25, -0.5, 0.1), (0.125,))
    assert (file.mean, file.span) == ((0.5, -0.5, 10.0), (2.0, 4.0, 100.0))
