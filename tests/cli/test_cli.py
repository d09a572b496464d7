"""Every command with good and with bad input: what it prints, and the code it leaves with."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.commands import bad, good, run

from weightwalk import __version__
from weightwalk.cli.app import COMMANDS, _guarded


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("walks") / "linear.walk"
    good("walk", "linear", "2.0", "--save", str(path))
    return str(path)


# Help ----------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_shows_examples() -> None:
    page = good("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in page
    assert "weightwalk walk hello hello" in page


@pytest.mark.parametrize("command", list(COMMANDS))
def test_each_command_teaches_by_example(command: str) -> None:
    page = good(command, "--help")
    assert "Usage: " in page
    if command not in ("nets", "demo"):
        assert "Examples:" in page


def test_version() -> None:
    assert good("--version") == f"weightwalk {__version__}\n"


def test_no_command_shows_the_help_and_fails() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.output


# walk ----------------------------------------------------------------------------------------------------------------


def test_walk_linear() -> None:
    page = good("walk", "linear", "2.0")
    assert "fc · Linear · y = W x + b" in page
    assert "linear on 2.0: 2 parameters" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("given", ["-2.5", "-1e3", "-.5", "-inf", "nan", "1;2"])
def test_walk_takes_any_number(given: str) -> None:
    assert f"linear on {given}:" in good("walk", "linear", given)


def test_walk_verifies() -> None:
    assert "verified: 2 of 2 steps proven, none wrong" in good("walk", "linear", "2.0", "--verify")


def test_walk_writes_what_it_is_asked_to(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = [tmp_path / n for n in ("a.walk", "a.svg", "a.html")]
    result = run("walk", "linear", "2.0", "--save", str(names[0]), "--figure", str(names[1]), "--html", str(names[2]))
    assert result.exit_code == 0
    assert all(n.stat().st_size > 100 for n in names)
    assert f"saved {names[0]}" in result.stderr


def test_walk_as_json() -> None:
    facts = json.loads(good("walk", "linear", "2.0", "--json", "--verify"))
    assert facts["walk"]["steps"] == 2
    assert facts["story"]["small"] is True
    assert facts["verify"]["is"] == "Report"
    assert facts["walk"]["meta"]["input"] == "2.0"


def test_walk_patches_and_keeps() -> None:
    assert "out = 0" in good("walk", "sqrt", "2.0", "--patch", "fc2=0", "--seed", "0")
    assert "not kept" in good("walk", "sqrt", "2.0", "--keep", "fc2", "--seed", "0")


def test_walk_patches_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([[7.5]], dtype=np.float32))
    assert "fc = 7.5" in good("walk", "linear", "2.0", "--patch", f"fc=@{tmp_path}/p.npy").replace("out =", "fc =")


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_walk_in_another_dtype(dtype: str) -> None:
    facts = json.loads(good("walk", "linear", "2.0", "--dtype", dtype, "--json"))
    assert facts["story"]["sections"]


def test_walk_shows_more_or_fewer_digits() -> None:
    assert "fc = 7" in good("walk", "linear", "2.0", "--digits", "3").replace("out =", "fc =")


def test_walk_focus_and_depth() -> None:
    page = good("walk", "gpt", "The cat", "--focus", "transformer.h.0.attn", "--top", "3")
    assert "q·k/√8 per head" in page
    assert "transformer.h.0" in good("walk", "gpt", "The cat", "--depth", "1")


def test_a_seed_is_obeyed_and_recorded() -> None:
    pages = [good("walk", "linear", "2.0", "--seed", "5", "--json") for _ in range(2)]
    assert pages[0] == pages[1]
    assert json.loads(pages[0])["walk"]["meta"]["seed"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["walk"], "Missing argument 'NET'"),
        (["walk", "linear"], "Missing argument 'INPUT'"),
        (["walk", "liner", "2"], "did you mean linear"),
        (["walk", "linear", "two"], "'two' is not a number"),
        (["walk", "hello", "hi", "--seed", "1"], "The word 'hi' is unknown to this net"),
        (["walk", "linear", "2", "--depht", "1"], "No such option '--depht'"),
        (["walk", "linear", "2", "-q"], "No such option '-q'"),
        (["walk", "linear", "2", "--depth", "-1"], "Invalid value for '--depth'"),
        (["walk", "linear", "2", "--digits", "99"], "Invalid value for '--digits'"),
        (["walk", "linear", "2", "--focus", "fcc"], "no value has the address 'fcc'; did you mean fc"),
        (["walk", "linear", "2", "--patch", "fc"], "--patch 'fc' is not ADDRESS=VALUE"),
        (["walk", "linear", "2", "--patch", "fc=x"], "'x' is neither a number nor @file.npy"),
        (["walk", "linear", "2", "--patch", "nowhere=0"], "nowhere"),
        (["walk", "linear", "2", "--keep", "nowhere"], "nowhere"),
        (["walk", "linear", "2", "--save", "x.pt"], "'x.pt' must end in .walk"),
        (["walk", "linear", "2", "--save", "no/such/x.walk"], "there is no directory"),
        (["walk", "linear", "2", "--figure", "x.gif"], "'x.gif' must end in .svg or .png or .pdf"),
        (["walk", "linear", "2", "--dtype", "int8"], "Invalid value for '--dtype'"),
        (["walk", "x.walk", "2"], "x.walk is a recorded walk; `weightwalk show x.walk`"),
        (["walk", "model.pt", "2"], "'model.pt' is a pickle"),
        (["walk", "linear", "@nowhere.npy"], "There is no input file 'nowhere.npy'"),
        (["wlk"], "there is no command 'wlk'; did you mean 'walk'?"),
        (["frobnicate"], "there is no command 'frobnicate'; there are demo, walk"),
        (["verify"], "Missing argument 'FILE|NET'"),
        (["verify", "nowhere.walk"], "nowhere.walk does not exist"),
        (["verify", "linear"], "'linear' is a net, which needs an input, as in `linear 2.0`"),
        (["verify", "a.walk", "2.0"], "a.walk is a walk already, so it takes no input"),
        (["verify", "linear", "2", "--referee", "oracle"], "Invalid value for '--referee'"),
        (["account"], "Missing argument"),
        (["account", "linear", "2.0"], "a net takes an INPUT and an ADDRESS after it"),
        (["account", "a.walk"], "a walk file takes one ADDRESS after it"),
        (["account", "linear", "2.0", "fcc"], "did you mean fc"),
        (["account", "linear", "2.0", "out", "--cut", "nowhere"], "nowhere"),
        (["account", "linear", "2.0", "out", "--top", "0"], "Invalid value for '--top'"),
        (["compare", "linear"], "compare takes two .walk files"),
        (["compare", "a.walk", "b.walk"], "a.walk does not exist"),
        (["show", "linear"], "'linear' does not end in .walk; a net is told by `weightwalk walk linear 2.0`"),
        (["show", "nowhere.walk"], "nowhere.walk does not exist"),
        (["demo", "--part", "7"], "Invalid value for '--part'"),
    ],
)
def test_misuse_is_told_in_a_sentence(words: list[str], message: str) -> None:
    assert message in bad(*words)


def test_a_net_that_fails_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_net.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
        "        raise RuntimeError('no\\nway')\nnet = Net()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "'failing_net:net' could not be run on '1': RuntimeError: no" in bad("walk", "failing_net:net", "1")


def test_a_missing_torch_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = bad("walk", "linear", "2")
    assert 'PyTorch is needed to run a net, and is not installed: pip install "weightwalk[torch]"' in message
    assert "for the torch referee" in bad("verify", "a.walk", "--referee", "torch")


# verify, show, account, compare, nets --------------------------------------------------------------------------------


def test_verify_a_file(linear: str) -> None:
    assert good("verify", linear).startswith("verified: 2 of 2 steps proven")
    assert "steps judged by: numpy 2" in good("verify", linear, "--referee", "numpy")
    report = json.loads(good("verify", linear, "--json"))
    assert (report["is"], report["ok"], report["proven"], report["counts"]["FAILED"]) == ("Report", True, 2, 0)


def test_verify_a_net() -> None:
    assert good("verify", "hello", "cat", "--seed", "1").startswith("verified: 9 of 9 steps proven")


def test_verify_leaves_with_1_where_a_step_is_wrong(linear: str, tmp_path: Path) -> None:
    """A forger who changes a number and re-computes every digest is found by recomputation."""
    from weightwalk.walks.files import load

    walk = load(linear)
    forged = walk["out"].buffer

    class Forged:
        """The store of the walk, but for one buffer."""

        def __init__(self, store: Any) -> None:
            self.store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

        def data(self, index: int, start: int, stop: int) -> np.ndarray:
            data = np.array(self.store.data(index, start, stop))
            return (data.view(np.float32) + np.float32(0.01)).view(np.uint8) if index == forged else data

    walk.store = Forged(walk.store)
    path = walk.save(tmp_path / "forged.walk")
    page = good("verify", str(path), code=1)
    assert page.startswith("FAILED: 1 fault in 2 steps")
    assert "fc/addmm" in page


def test_verify_refuses_a_damaged_file(linear: str, tmp_path: Path) -> None:
    data = bytearray(Path(linear).read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.walk").write_bytes(data)
    message = run("verify", str(tmp_path / "bad.walk"))
    assert message.exit_code == 1
    assert message.stderr.startswith("FAILED: ")
    assert "do not match their SHA-256" in message.stderr
    (tmp_path / "short.walk").write_bytes(data[:100])
    assert "no walk, or a damaged or truncated one" in bad("show", str(tmp_path / "short.walk"))


def test_show(linear: str, tmp_path: Path) -> None:
    assert good("show", linear).startswith("walk of linear on 2.0")
    assert "fc · Linear" in good("show", linear, "--story")
    assert "fc · Linear" in good("show", linear, "--focus", "fc")
    assert json.loads(good("show", linear, "--json"))["steps"] == 2
    assert json.loads(good("show", linear, "--story", "--json"))["is"] == "Story"
    listed = good("show", linear, "--addresses", "fc.*")
    assert "fc.weight" in listed
    rows = json.loads(good("show", linear, "--addresses", "fc.*", "--json"))
    assert {"address": "fc.weight", "shape": [1, 1], "dtype": "float32", "kind": "parameter", "kept": True} in rows
    assert "no address matches 'zz*'" in bad("show", linear, "--addresses", "zz*")
    page = tmp_path / "a.html"
    good("show", linear, "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")


def test_account(linear: str) -> None:
    page = good("account", linear, "out", "--cut", "inputs")
    assert "account of out, cut at inputs" in page
    assert "closes: " in page
    assert "by token" not in page
    facts = json.loads(
        good("account", "hello", "hello", 'out[0, "world"]', "--cut", "neurons", "--json", "--seed", "1")
    )
    assert facts["is"] == "Account"
    assert sum(r["value"] for r in facts["rows"]) == pytest.approx(facts["number"], rel=1e-6)


def test_account_takes_several_places_as_a_cut() -> None:
    assert "closes: " in good("account", "sqrt", "2.0", "out", "--cut", "relu", "--cut", "fc2.bias", "--seed", "0")


def test_compare(linear: str, tmp_path: Path) -> None:
    assert good("compare", linear, linear).startswith("the same: all ")
    assert "they first part at" in good("compare", "sqrt", "2.0", "2.1", "--seed", "0", code=1)
    assert json.loads(good("compare", linear, linear, "--json"))["is"] == "Comparison"


def test_nets() -> None:
    page = good("nets")
    for words in ("linear", "weightwalk walk hello hello", "package.module:object"):
        assert words in page
    assert {n["name"] for n in json.loads(good("nets", "--json"))} >= {"linear", "sqrt", "hello", "gpt"}


# The process ----------------------------------------------------------------------------------------------------------


def process(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **options.pop("env", {})}  # type: ignore[dict-item]
    command = [sys.executable, "-m", "weightwalk", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, **options)  # type: ignore[call-overload]


def test_numpy_alone_verifies_and_tells_a_file(linear: str) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from weightwalk.cli import main\n"
        "f = sys.argv[1]\n"
        "for words in (['verify', f, '--referee', 'numpy'], ['verify', f], ['show', f, '--story']):\n"
        "    try: main(words)\n"
        "    except SystemExit as e: assert not e.code, (words, e.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, linear], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified: 2 of 2") == 2
    assert "fc · Linear" in done.stdout


def test_the_same_command_prints_the_same_bytes() -> None:
    pages = {process("walk", "gpt", "The cat").stdout for _ in range(2)}
    assert len(pages) == 1
    assert pages.pop()


def test_a_reader_that_leaves_gets_no_traceback(linear: str) -> None:
    command = f'"{sys.executable}" -m weightwalk show "{linear}" --story | head -c 10; exit ${{PIPESTATUS[0]}}'
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=env)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode in (0, 141)


def test_a_terminal_without_unicode_gets_replacements(linear: str) -> None:
    done = process("show", linear, "--story", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout
    assert "Linear" in done.stdout


def test_misuse_leaves_with_2() -> None:
    done = process("walk", "nowhere", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: There is no net 'nowhere'")
    assert not done.stdout


def test_an_interrupt_leaves_with_130(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "def net(x):\n    Path('running').touch()\n    time.sleep(60)\n    return x\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p] + [str(tmp_path)])}
    child = subprocess.Popen(
        [sys.executable, "-m", "weightwalk", "walk", "slow:net", "2.0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "running").exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, error = child.communicate(timeout=60)
    assert child.returncode == 130, (out, error)
    assert "interrupted" in error
    assert "Traceback" not in error


def test_what_an_interrupt_broke_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that is interrupted leaves a half-made module, and whoever uses it fails in some other way."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    def broken() -> None:
        raise AttributeError("module 'numpy' has no attribute 'multiply'")

    assert _guarded(broken, [signal.SIGINT]) == 130
    with pytest.raises(AttributeError):
        _guarded(broken, [])


# Training steps ------------------------------------------------------------------------------------------------------


def test_walk_a_training_step() -> None:
    page = good("walk", "linear", "2.0", "--target", "8", "--lr", "0.5", "--verify")
    for words in ("loss = mean of the squares", "gradient and nudge of each parameter", "none wrong"):
        assert words in page
    facts = json.loads(good("walk", "hello", "hello", "--target", "cat", "--seed", "1", "--json"))
    assert set(facts["walk"]["phases"]) == {"forward", "loss", "backward", "update"}
    assert facts["walk"]["meta"]["target"] == "cat"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["linear", "2", "--target", "x"], "--target 'x' is not numbers"),
        (["linear", "2", "--target", "1,2"], "--target '1,2' has 2 numbers; the net returns 1"),
        (["gpt", "a", "--target", "The cat is"], "has 3 tokens, and the input only 1"),
        (["linear", "2", "--target", "1", "--open-fused"], "--open-fused walks a forward pass"),
    ],
)
def test_a_training_step_that_cannot_be_taken(words: list[str], message: str) -> None:
    assert message in bad("walk", *words)
