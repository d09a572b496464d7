"""``python -m benchmarks``: measure Weightwalk and its peers side by side, in one run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import census, landscapes, machine, memory, opening, regions, report, rounds
from benchmarks.contenders import PEERS
from benchmarks.nets import Subject

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("recording", "small", "readings", "memory", "opening", "regions", "landscapes", "census", "cuda")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, help="rounds per table (15; 3 with --quick)")
    parser.add_argument("--tokens", type=int, nargs="+", help="prompt lengths (128 512; 128 with --quick)")
    parser.add_argument("--attention", nargs="+", default=["eager"], choices=["eager", "sdpa"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few rounds, 128 tokens: to see that it runs")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--write", action="store_true", help="keep the results of a partial or quick run too")
    parser.add_argument(
        "--page", action="store_true", help="only write docs/benchmarks.md again, from the last results"
    )
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _recording(a: argparse.Namespace, subjects: list[Subject], count: int) -> dict[str, Any]:
    groups = ["home", *(() if a.no_peers else PEERS)]
    return {s.key: rounds.measure(s, groups, count, a.threads, _say) for s in subjects}


def _sections(a: argparse.Namespace) -> dict[str, Any]:
    import torch

    wanted = a.only or SECTIONS
    count = a.rounds or (3 if a.quick else 15)
    tokens = a.tokens or ([128] if a.quick else [128, 512])
    big = [Subject("gpt2", n, attention) for attention in a.attention for n in tokens]
    sections: dict[str, Any] = {"recording": {}}
    if "recording" in wanted:
        sections["recording"].update(_recording(a, big, count))
    if "small" in wanted:
        sections["recording"].update(_recording(a, [Subject("five")], count))
    if "cuda" in wanted and torch.cuda.is_available():
        on_gpu = [Subject("gpt2", n, attention, "cuda") for attention in a.attention for n in tokens]
        sections["recording"].update(_recording(a, on_gpu, count))
    if "readings" in wanted:
        fewer = max(2, count // 3)  # they are long runs, and so less noisy
        sections["readings"] = {s.key: rounds.measure(s, ["readings"], fewer, a.threads, _say) for s in big[:1]}
        for s in sections["readings"].values():
            s["title"] += ": readings"
    if "memory" in wanted:
        repeats = 1 if a.quick else 3
        sections["memory"] = {s.key: memory.measure(s, a.threads, repeats, _say) for s in big}
    if "opening" in wanted:
        sections["opening"] = opening.measure(2 if a.quick else 5, _say)
    if "regions" in wanted:
        sections["regions"] = regions.measure(2 if a.quick else max(5, count // 3), not a.no_peers, a.quick, _say)
    if "landscapes" in wanted:
        sections["landscapes"] = landscapes.measure(a.rounds or max(5, count // 2), not a.no_peers, a.quick, _say)
    if "census" in wanted:
        sections["census"] = census.measure(a.rounds or (2 if a.quick else 3), a.quick, _say)
    return sections


def _newest() -> Path | None:
    return max(RESULTS.glob("*.json"), default=None, key=lambda p: p.name)


def _renewed(old: dict[str, Any], new: dict[str, Any], sections: list[str]) -> dict[str, Any]:
    """The last results with some sections measured anew; the page says which, when and under what load."""
    for section in sections:
        if section in new["sections"]:
            old["sections"][section] = new["sections"][section]
            old["run"].setdefault("renewed", {})[section] = {"machine": new["machine"], "run": new["run"]}
    return old


def main() -> int:
    """Run, show, keep."""
    a = _arguments()
    if a.page:
        newest = _newest()
        if newest is None:
            _say(f"no results lie in {RESULTS.name}/ yet; run `make bench` first.")
            return 1
        _say(f"wrote {report.write_page(json.loads(newest.read_text())).name} from {newest.name}")
        return 0
    facts, before = machine.describe(a.threads), machine.load()
    run = {"rounds": a.rounds or (3 if a.quick else 15), "quick": a.quick, "load_before": before}
    results = {"machine": facts, "run": run, "sections": _sections(a)}
    run["load_after"] = machine.load()
    report.show(results)
    newest = _newest()
    if a.only and a.write and newest is not None:
        results = _renewed(json.loads(newest.read_text()), results, a.only)
    if a.write or not (a.only or a.quick or a.no_peers):
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{facts['date'][:16].replace(':', '').replace(' ', '-')}.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        _say(f"kept {path.relative_to(RESULTS.parent.parent)}, wrote {report.write_page(results).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
