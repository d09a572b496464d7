"""Write docs/coverage.md: what Weightwalk makes of every architecture in the tests.

    python -m tools.coverage [NAME ...]

With names, only those are measured and the table is printed instead of written.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from zoo import ZOO  # noqa: E402 - the zoo lives with the tests
from zoo.measure import Measured, measure  # noqa: E402

HEADER = """\
# Coverage: what is walked, verified and accounted for

{count} architectures, built with random weights and walked on one input each. Written by `make coverage`; every number
was measured by it.

- **steps**: operations recorded. Where the net has a loss, a whole training step: forward, loss, backward, AdamW.
- **proven**: steps whose recorded numbers were computed again and lie within the proven rounding-error bound of their
  op, or are exactly what the op must give.
- **worst**: the greatest deviation met, as a fraction of its bound; over 1 would be a failure.
- **unproven**: steps that hold random draws or memory that was never set (*drawn*), and ops without a proven bound.
- **residual**: of the account of the output's largest number down to the inputs: what rounding left over, relative to
  the sum of the absolute contributions, in the net's own dtype and, for the same net run wholly in float64, there.
  *none*: one of its kernels has no float64.
- **opaque**: ops that the account could not see through; each is a row of its own, so the account closes all the same.

| architecture | family | steps | proven | worst | unproven | residual | in float64 | opaque |
| --- | --- | --: | --: | --: | --- | --: | --: | --- |
"""


def row(m: Measured) -> str:
    """One line of the table."""
    report, counts = m.report, m.report.counts
    unproven = [f"{counts['drawn']} drawn"] if counts["drawn"] else []
    unproven += [f"{counts['not kept']} nested"] if counts["not kept"] else []
    unproven += [f"{n} {short(op)}" for op, n in report.unproven.items()]
    verdict = "" if report.ok else " **FAILED**"
    worst = f"{report.worst.fraction:.2f}" if report.worst else "exact"
    wide = f"{m.account64.relative_residual:.1e}" if m.account64 else "none"
    opaque = Counter(r.address.rpartition("/")[2] for r in m.account.opaque)
    cells = [
        m.case.name,
        m.case.family,
        f"{m.steps:,}",
        f"{report.proven / m.steps:.1%}{verdict}",
        worst,
        ", ".join(unproven),
        f"{m.account.relative_residual:.1e}",
        wide,
        ", ".join(f"{n} {op}" for op, n in opaque.items()),
    ]
    return "| " + " | ".join(cells) + " |"


def short(op: str) -> str:
    """``adaptive_max_pool2d`` for ``aten.adaptive_max_pool2d.default``."""
    return op.removeprefix("aten.").removesuffix(".default")


def summary(all_: list[Measured]) -> str:
    """The lines below the table."""
    steps = sum(m.steps for m in all_)
    proven = sum(m.report.proven for m in all_)
    drawn = sum(m.report.counts["drawn"] for m in all_)
    worst = max((m.report.worst.fraction for m in all_ if m.report.worst), default=0.0)
    wide = max(m.account64.relative_residual for m in all_ if m.account64 is not None)
    failed = [m.case.name for m in all_ if not m.report.ok]
    return (
        f"\nIn all: {len(all_)} architectures, {steps:,} steps, {proven:,} proven ({proven / steps:.2%}), "
        f"{drawn:,} drawn or unset, {len(failed)} architectures with a failure. "
        f"Nearest to its bound: {worst:.5f} of it. "
        f"Largest residual in float64: {wide:.1e}.\n"
    )


def main(names: list[str]) -> int:
    """Measure, and write or print the table."""
    cases = [ZOO[name] for name in names] if names else list(ZOO.values())
    measured = []
    for i, case in enumerate(cases, 1):
        print(f"\r{i} of {len(cases)}: {case.name:<30}", end="", file=sys.stderr, flush=True)
        measured.append(measure(case, drift=False))
    print(file=sys.stderr)
    text = HEADER.format(count=len(cases)) + "\n".join(row(m) for m in measured) + "\n" + summary(measured)
    if names:
        print(text)
    else:
        (ROOT / "docs" / "coverage.md").write_text(text)
    return 0 if all(m.report.ok for m in measured) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
