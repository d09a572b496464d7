"""The tour: parts with their verification lines and sums that close, formulas with certificates, trainings counted."""

from __future__ import annotations

import json
import math
import re

import pytest
from click.testing import CliRunner
from readings.paper import check_on_paper

from weightwalk.cli import main


def demo(*words: str) -> str:
    result = CliRunner().invoke(main, ["demo", *words])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "\x1b" not in result.stdout
    return result.stdout


def test_part_1_reads_the_formula_off_the_weights() -> None:
    page = demo("--part", "1")
    formula = re.search(r"read off the weights:  y = ([\d.]+) x \+ ([\d.]+)", page)
    assert formula is not None
    assert float(formula[1]) == pytest.approx(2, abs=1e-3)
    assert float(formula[2]) == pytest.approx(3, abs=1e-3)
    assert "trained just now: 300 epochs" in page
    assert "✓ verified: 2 of 2 steps proven" in page
    assert check_on_paper(page) == 1


def test_part_4_accounts_for_a_logit_three_ways() -> None:
    page = demo("--part", "4")
    for words in ("cut at tokens", "cut at heads", "cut at neurons", "✓ verified: ", "q·k/√8 per head"):
        assert words in page
    assert page.count("closes: ") == 3
    assert "Done: " in page


def test_the_facts_of_the_tour_as_json() -> None:
    facts = json.loads(demo("--part", "4", "--json"))
    accounts = facts["gpt"]["accounts"]
    assert set(accounts) == {"tokens", "heads", "neurons"}
    numbers = {a["number"] for a in accounts.values()}
    assert len(numbers) == 1
    for account in accounts.values():
        total = math.fsum([*(r["value"] for r in account["rows"]), account["remainder"], *account["tail"]])
        assert total == account["number"]


@pytest.mark.slow
def test_part_5_reads_off_what_two_nets_compute() -> None:
    page = demo("--part", "5")
    heading = re.search(r"formula of sqrt: (\d+) kinks?, (\d+) pieces, on the whole real line", page)
    assert heading is not None
    assert int(heading[2]) == int(heading[1]) + 1
    assert page.count("exact: |formula - net| <= ") == 2
    assert "approximate" not in page
    far = re.search(r"^ +100 +never seen +10\.000000 +([\d.]+) +([+-][\d.e+-]+)", page, re.M)
    assert far is not None
    assert float(far[1]) - 10 == pytest.approx(float(far[2]), rel=0.06)
    assert "a sample at 64 x 32 points, in five shades" in page
    assert "Done: 2 formulas held to their nets, all exact." in page


@pytest.mark.slow
def test_part_6_walks_a_step_and_counts_trainings() -> None:
    facts = json.loads(demo("--part", "6", "--json"))["learning"]
    assert facts["nudge"]["ok"]
    cells = facts["census"]["cells"]
    solved = [cell["outcomes"]["solved"]["count"] for cell in cells]
    assert [cell["settings"]["width"] for cell in cells] == [2, 8]
    assert 30 < solved[0] < 100 and solved[1] > 280
    page = demo("--part", "6")
    assert "verified: 15 of 15 steps proven" in page and "600 trainings counted." in page
    assert check_on_paper(page) >= 2


@pytest.mark.slow
def test_the_whole_tour() -> None:
    page = demo()
    assert page.count("✓ verified: ") == 4
    assert page.count("exact: |formula - net| <= ") == 2
    assert "This layer is dead for 'hello'" in page
    assert "'hello' → 'world'" in page
    assert "The square root of 2 is 1.41421356" in page
    assert check_on_paper(page) >= 20
    assert max(len(line) for line in page.splitlines()) <= 120
