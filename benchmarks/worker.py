"""One process that runs the contenders of one group when it is told to: ``python -m benchmarks.worker SPEC``.

Reads one JSON command per line, answers with one JSON line. What libraries print goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender, Run, bare, quiet
from benchmarks.nets import Subject

SHORTEST = 0.05
"""Seconds that one measurement must last: shorter runs are repeated and the time divided."""


@dataclass
class _Seat:
    """A contender, ready to run."""

    contender: Contender
    run: Run
    model: Any
    repeats: int = 1


class Host:
    """The contenders of one group on one subject, and the bare forward that each is divided by."""

    def __init__(self, subject: Subject, group: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.subject = subject
        self.cuda = subject.device.startswith("cuda")
        self.inputs = subject.inputs()
        self.model = subject.model()
        self.bare = bare(subject, self.model, self.inputs)
        self.seats: list[_Seat] = []
        self.absent: dict[str, str] = {}
        self.bare_repeats = self._repeats(self.bare, None)
        for contender in CONTENDERS:
            if contender.group == group:
                self._seat(contender)

    def _seat(self, contender: Contender) -> None:
        try:
            model = self.subject.model() if contender.own_model else self.model
            seat = _Seat(contender, contender.setup(self.subject, model, self.inputs), model)
            for _ in range(2):  # first runs import, compile and cache
                seat.run(self._prepared(seat))
            seat.repeats = 1 if contender.prepare else self._repeats(seat.run, None)
        except Exception as error:  # a peer that is not installed, or does not take this network, is listed with why
            self.absent[contender.name] = (
                f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
            )
            return
        self.seats.append(seat)

    def _prepared(self, seat: _Seat) -> Any:
        prepare = seat.contender.prepare
        return prepare(self.subject, seat.model, self.inputs) if prepare else None

    def _repeats(self, run: Run, state: Any) -> int:
        run(state)
        start = time.perf_counter()
        run(state)
        self._wait()
        once = time.perf_counter() - start
        return max(1, round(SHORTEST / once))

    def _wait(self) -> None:
        if self.cuda:
            import torch

            torch.cuda.synchronize()

    def _time(self, run: Run, state: Any, repeats: int) -> list[float]:
        """CPU and wall seconds of one run."""
        gc.collect()
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        held = [run(state) for _ in range(repeats)]
        self._wait()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        del held  # letting go of the record is not part of making it
        return [cpu / repeats, wall / repeats]

    def round(self, first: int) -> dict[str, list[float]]:
        """Each contender once, right after a bare forward: bare CPU, bare wall, CPU, wall, in seconds."""
        times = {}
        for i in range(len(self.seats)):
            seat = self.seats[(first + i) % len(self.seats)]
            state = self._prepared(seat)
            times[seat.contender.name] = [
                *self._time(self.bare, None, self.bare_repeats),
                *self._time(seat.run, state, seat.repeats),
            ]
        return times


def main() -> None:
    """Serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library that prints must not spoil the answers
    spec = json.loads(sys.argv[1])
    with quiet():
        host = Host(Subject(**spec["subject"]), spec["group"], spec["threads"])
        seats = {s.contender.name: {"repeats": s.repeats, "holds": s.contender.holds} for s in host.seats}
        print(json.dumps({"seats": seats, "absent": host.absent}), file=answers)
        for line in sys.stdin:
            print(json.dumps(host.round(json.loads(line)["first"])), file=answers)


if __name__ == "__main__":
    main()
