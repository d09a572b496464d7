"""A run's folder: what is kept in it, what is gone on with, what is refused."""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weightwalk.errors import RecordError, UsageError
from weightwalk.learning.history import History, TrainingInterrupted
from weightwalk.learning.runs import files, folder
from weightwalk.learning.runs.files import read_tensors, write_tensors
from weightwalk.learning.runs.folder import run_weights
from weightwalk.learning.runs.plans import cadence_of
from weightwalk.learning.seeds import seeded
from weightwalk.learning.train import train

X = torch.linspace(-1, 1, 24)[:, None]
Y = X**2


class Tied(nn.Module):
    """Tied weights, a frozen parameter, an unsaved buffer, dropout and batch norm: each can be lost in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(1, 4), nn.Linear(4, 4)
        self.c = nn.Linear(4, 4)
        self.c.weight = self.b.weight
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.norm, self.drop, self.last = nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 1)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
        x = torch.tanh(self.c(torch.relu(self.b(self.a(x))))) * self.frozen
        return self.last(self.drop(self.norm(x))) + 1e-3 * torch.cos(self.calls)


def net(seed: int = 1) -> Tied:
    with seeded(seed):
        return Tied()


def same(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = dict(a.state_dict()), dict(b.state_dict())
    return all(torch.equal(t, theirs[name]) for name, t in mine.items())


PLAN: dict[str, Any] = {"optimizer": "adamw", "lr": 0.02, "batch": 5, "epochs": 8, "seed": 3, "held_out": 0.25}


@functools.cache
def left_alone() -> tuple[History, Tied]:
    """The training that nothing happens to."""
    module = net()
    return train(module, X, Y, **PLAN), module


def interrupted(path: Path, update: int, **more: Any) -> TrainingInterrupted:
    """A run that is stopped by Ctrl-C after so many updates."""

    def press(done: int, total: int, loss: float) -> None:
        if done == update:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted) as caught:
        train(net(), X, Y, **{**PLAN, **more}, run=path, each_update=press)
    return caught.value


@pytest.mark.parametrize("update", [1, 4, 6, 17])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, update: int) -> None:
    whole, alone = left_alone()
    stopped = interrupted(tmp_path / "run", update)
    assert f"its checkpoint is in {tmp_path / 'run'}, resume=True goes on" in str(stopped)
    assert stopped.history.updates == update
    again = net(seed=77)  # other weights, which the checkpoint replaces
    # what is not said again is the run's
    history = train(again, X, Y, run=tmp_path / "run", resume=True, held_out=0.25)
    assert history == whole, "losses, held-out losses, final, settings"
    assert history.rates == whole.rates and history.updates == whole.updates
    assert same(alone, again) and torch.equal(alone.calls, again.calls)
    assert [e.kind for e in history.events] == ["resumed"]
    assert f"(update {update})" in history.events[0].text


def test_a_finished_run_gives_its_outcome_again_and_may_be_made_longer(tmp_path: Path) -> None:
    plan = {k: v for k, v in PLAN.items() if k != "epochs"}
    short, long = net(), net()
    whole = train(long, X, Y, **plan, epochs=8)
    first = train(short, X, Y, **plan, epochs=3, run=tmp_path)
    assert train(net(), X, Y, **plan, run=tmp_path, resume=True) == first
    assert train(more := net(), X, Y, **plan, epochs=8, run=tmp_path, resume=True) == whole
    assert same(more, long)
    with pytest.raises(UsageError, match="has done 8 epochs already; epochs=4 is less"):
        train(net(), X, Y, **plan, epochs=4, run=tmp_path, resume=True)
    weights, _ = read_tensors(tmp_path / "weights.safetensors")
    assert all(torch.equal(t, long.state_dict()[n]) for n, t in weights.items())
    assert all(torch.equal(t, dict(long.named_parameters()).get(n, t)) for n, t in run_weights(tmp_path).items())


def test_a_task_goes_on_by_its_name(tmp_path: Path) -> None:
    whole = train("hello6", epochs=30, seed=4)
    calls: list[int] = []

    def press(done: int, total: int, loss: float) -> None:
        calls.append(done)
        if done == 11:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        train("hello6", epochs=30, seed=4, run=tmp_path, each_update=press)
    history = train("hello6", run=tmp_path, resume=True)
    assert history == whole and history.seed == 4 and calls == list(range(1, 12))
    assert history.module is not None and whole.module is not None
    assert same(history.module, whole.module)


def test_early_stopping_survives(tmp_path: Path) -> None:
    plan = {**PLAN, "epochs": 200, "patience": 4, "lr": 0.1}
    whole = train(alone := net(), X, Y, **plan)
    assert whole.stopped_by == "patience" and whole.best is not None and whole.epochs == whole.best + 4
    assert whole.watched == whole.held_losses and min(whole.watched) == whole.watched[whole.best]
    for update in (whole.best * 4 - 1, whole.best * 4 + 3):
        path = tmp_path / str(update)
        interrupted(path, update, **{k: plan[k] for k in ("epochs", "patience", "lr")})
        history = train(again := net(5), X, Y, held_out=0.25, run=path, resume=True)
        assert (history, history.best, history.watched) == (whole, whole.best, whole.watched)
        assert same(alone, again)
    assert "with the weights of epoch" in whole.events[-1].text


def test_snapshots_survive(tmp_path: Path) -> None:
    whole = train(net(), X, Y, **PLAN, snapshots=2)
    interrupted(tmp_path, 14, snapshots=2)
    history = train(net(), X, Y, held_out=0.25, run=tmp_path, resume=True)
    assert [s.epoch for s in history.snapshots] == [0, 2, 4, 6, 8]
    for a, b in zip(whole.snapshots, history.snapshots, strict=True):
        assert a.epoch == b.epoch and all(torch.equal(a.weights[n], b.weights[n]) for n in a.weights)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, schedule="cosine")
    again: dict[str, Any] = {"held_out": 0.25, "run": tmp_path, "resume": True}

    def refused(match: str, module: nn.Module, *data: torch.Tensor, **more: Any) -> None:
        before = sorted(p.name for p in tmp_path.iterdir())
        with pytest.raises(UsageError, match=match):
            train(module, *data, **{**again, **more})
        assert sorted(p.name for p in tmp_path.iterdir()) == before

    refused("trains another net: a Tied whose .* those of this Linear", nn.Linear(1, 1), X, Y)
    other = net()
    other.drop.p = 0.5
    refused("trains another net", other, X, Y)
    refused("has other data: their digests differ", net(), X, Y + 1)
    refused("has lr=0.02, and lr=0.5 was given; begin a new run", net(), X, Y, lr=0.5)
    refused("has batch=5, and batch=6", net(), X, Y, batch=6)
    refused("epochs=9 was given, which the schedule cosine depends on", net(), X, Y, epochs=9)
    refused("holds a run already: go on with it", net(), X, Y, resume=False)
    assert train(net(), X, Y, **again).epochs == 8


def test_misuse_is_refused() -> None:
    with pytest.raises(UsageError, match="say which, run=FOLDER"):
        train(net(), X, Y, resume=True)
    with pytest.raises(UsageError, match="say where to, run=FOLDER"):
        train(net(), X, Y, every=3)
    for every in ("often", 0, "-3", "2.5", "0 updates"):
        with pytest.raises(UsageError, match="such as 5 \\(epochs\\), '200 updates' or '30 s'"):
            cadence_of(every)
    with pytest.raises(UsageError, match="keep is how many"):
        train(net(), X, Y, run="/nonexistent", keep=0)


# Damage --------------------------------------------------------------------------------------------------------------


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        data[len(data) * 2 // 3] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "empty", "flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, how: str) -> None:
    whole, alone = left_alone()
    interrupted(tmp_path, 13, every="3 updates")
    newest = max(tmp_path.glob("checkpoint-*.safetensors"))
    damaged(newest, how)
    history = train(again := net(), X, Y, held_out=0.25, run=tmp_path, resume=True)
    assert history == whole and same(alone, again)
    assert [e.kind for e in history.events] == ["damaged", "resumed"]
    assert newest.name in history.events[0].text and "Went back to the one before" in history.events[0].text
    assert newest.with_suffix(".damaged").is_file(), "set aside, not thrown away"


def test_no_whole_checkpoint_at_all_is_said(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    for path in tmp_path.glob("checkpoint-*.safetensors"):
        damaged(path, "flipped")
    with pytest.raises(UsageError, match=r"No checkpoint in .* is whole"):
        train(net(), X, Y, held_out=0.25, run=tmp_path, resume=True)
    with pytest.raises(UsageError, match="holds no whole checkpoint"):
        run_weights(tmp_path)


def test_every_single_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "small"
    write_tensors(path, {"a": torch.arange(3.0), "b": torch.tensor([1], dtype=torch.bfloat16)}, {"x": 0.1})
    tensors, facts = read_tensors(path)
    assert torch.equal(tensors["a"], torch.arange(3.0)) and facts == {"x": 0.1}
    data = path.read_bytes()
    for i in range(len(data)):
        for bit in (1 << i % 8,):
            bad = bytearray(data)
            bad[i] ^= bit
            path.write_bytes(bad)
            try:
                found = read_tensors(path)
            except RecordError:
                continue
            # what still reads has the very same numbers and facts: padding, or the name of a key that nothing reads
            assert torch.equal(found[0]["a"], tensors["a"]) and found[1] == facts, (i, bit)


# A disk that is full, a folder that is not to be had -----------------------------------------------------------------


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_write_that_fails_loses_nothing(tmp_path: Path, failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC at each step of writing in turn, from there on for a while: the training goes on, and so does the run."""
    whole, alone = left_alone()
    calls = [0]

    def sometimes(function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if 7 + failing <= calls[0] < 11 + failing:
                raise OSError(28, "No space left on device")
            return function(*args, **kwargs)

        return called

    monkeypatch.setattr(files, "save_file", sometimes(files.save_file))
    monkeypatch.setattr(os, "fsync", sometimes(os.fsync))
    monkeypatch.setattr(Path, "replace", sometimes(Path.replace))
    history = train(again := net(), X, Y, **PLAN, run=tmp_path, every="2 updates")
    assert history == whole and same(alone, again)
    assert not list(tmp_path.glob(".*.part")), "nothing half-written stays"
    assert all(read_tensors(p) for p in tmp_path.glob("*.safetensors"))
    lost = [e for e in history.events if e.kind == "not saved"]
    assert len(lost) <= 2 and all("No space left on device" in e.text and "stands" in e.text for e in lost)
    monkeypatch.undo()
    assert train(net(), X, Y, **PLAN, run=tmp_path, resume=True) == whole


def test_a_disk_that_is_full_from_the_start_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(UsageError, match=r"No checkpoint can be written to .* \(No space left on device\); choose"):
        train(net(), X, Y, **PLAN, run=tmp_path)
    monkeypatch.undo()
    assert train(net(), X, Y, **PLAN, run=tmp_path, resume=True).epochs == 8, (
        "and can be begun again in the same folder"
    )


def test_a_real_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """Not a stand-in: the kernel refuses to let the file grow, in the middle of the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "checkpoint"
    write_tensors(path, {"a": torch.zeros(10)}, {})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        with pytest.raises(OSError, match="large"):
            write_tensors(path, {"a": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(read_tensors(path)[0]["a"], torch.zeros(10)), "what was there is as it was"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match=r"The run's folder .* cannot be written .*choose one that is writable"):
        train(net(), X, Y, **PLAN, run=tmp_path / "file" / "run")


# One process at a time -----------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    program = (  # what RunFolder does, without torch to be imported first
        f"import fcntl, os, time; f = os.open({str(tmp_path / 'lock')!r}, os.O_RDWR | os.O_CREAT); "
        "fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB); os.write(f, str(os.getpid()).encode()); "
        "print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=rf"Another process \(pid {other.pid}\) is training in"):
            train(net(), X, Y, **PLAN, run=tmp_path)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert (tmp_path / "lock").read_text() == str(other.pid), "it never let go of it by itself"
    assert train(net(), X, Y, **PLAN, run=tmp_path).epochs == 8


def test_the_same_process_cannot_train_in_it_twice(tmp_path: Path) -> None:
    held = folder.RunFolder(tmp_path)
    with pytest.raises(UsageError, match=f"pid {os.getpid()}"):
        folder.RunFolder(tmp_path)
    held.close()
    folder.RunFolder(tmp_path).close()


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "not the desc"), ("{}", "not the desc")])
def test_a_description_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        train(net(), X, Y, run=tmp_path, resume=True)


# What stays ----------------------------------------------------------------------------------------------------------


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    """Held-out data that contradict the training data: the very first checkpoint is the best."""
    module = nn.Linear(1, 1)
    with torch.no_grad():
        held = (X, module(X))
    train(module, X, Y + 3, lr=0.1, epochs=8, held_out=held, run=tmp_path, every=1, keep=3)
    found = sorted(int(p.stem.rpartition("-")[2]) for p in tmp_path.glob("checkpoint-*.safetensors"))
    assert found == [1, 7, 8, 9], "one at the start, one for each epoch; the first and the last three stay"
    assert files.read_facts(tmp_path / "checkpoint-000001.safetensors")["score"] == 0.0


def test_a_file_takes_its_name_only_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def logged(name: str, function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            log.append(name)
            assert (tmp_path / "new").exists() == (log.count("rename") > 0 and name != "rename")
            return function(*args, **kwargs)

        return called

    monkeypatch.setattr(files, "save_file", logged("write", files.save_file))
    monkeypatch.setattr(os, "fsync", logged("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", logged("rename", Path.replace))
    write_tensors(tmp_path / "new", {"a": torch.zeros(3)}, {})
    assert log == ["write", "sync", "rename", "sync"], "the file, then its name"


def test_cadence(tmp_path: Path) -> None:
    for every, written in ((1, 9), (3, 4), ("5 updates", 8), ("0 s", 33)):
        path = tmp_path / str(every)
        train(net(), X, Y, **PLAN, run=path, every=every)
        newest = max(path.glob("checkpoint-*.safetensors"))
        assert int(newest.stem.rpartition("-")[2]) == written, every


def test_the_description_says_what_is_trained(tmp_path: Path) -> None:
    history: History = train("xor", epochs=3, run=tmp_path, note={"why": "to see"})
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["plan"]["optimizer"] == "adam" and facts["plan"]["epochs"] == 3
    assert facts["note"] == {"why": "to see"}
    assert history.run == str(tmp_path)
