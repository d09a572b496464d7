"""What each command writes beside its answer is refused early and in the same words, whichever command it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from weightwalk.cli import main

from .commands import bad, run

COMMANDS = {
    "train": ("train", "hello"),
    "diagnose": ("diagnose", "hello"),
    "nudge": ("nudge", "hello"),
    "neuron": ("neuron",),
    "ngrams": ("ngrams", "tinyworld"),
    "census": ("census", "hello6"),
    "landscape": ("landscape", "neuron"),
    "fit points": ("fit", "points"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("option", "name", "package"), [("--frame", "t.csv", "pandas"), ("--figure", "p.svg", "matplotlib")]
)
def test_what_cannot_be_written_is_refused_before_any_work(
    words: tuple[str, ...], option: str, name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    assert f"must end in {Path(name).suffix if option == '--frame' else '.svg'}" in bad(*words, option, "x.txt")
    assert "there is no directory 'nowhere'" in bad(*words, option, f"nowhere/{name}")
    assert "must end in" in bad(*words, option, "")

    def hidden(wanted: str, *rest: Any) -> Any:
        return None if wanted == package else there(wanted, *rest)

    for room in ("importlib.util", "weightwalk.cli.outputs"):
        monkeypatch.setattr(f"{room}.find_spec", hidden)
    monkeypatch.chdir(tmp_path)
    said = bad(*words, option, name)
    assert f"needs {package}, which is not installed: pip install" in said
    assert not list(tmp_path.iterdir())


def test_each_command_that_writes_a_table_or_a_picture_is_here() -> None:
    import click

    writers = set()
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        if any("--frame" in p.opts for p in command.params):
            writers.add(name)
    assert writers == {words[0] for words in COMMANDS.values()} - {"fit"}


def test_a_table_says_how_long_it_is(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    result = run("neuron", "--frame", str(tmp_path / "t.csv"))
    rows = len((tmp_path / "t.csv").read_text().splitlines()) - 1
    assert f"wrote {tmp_path}/t.csv: {rows:,} rows" in result.stderr
