"""Every net of the zoo can be told, shown and written as JSON and HTML; what is summed on the page adds up there."""

from __future__ import annotations

import json

import pytest
from zoo import ZOO, Case

import weightwalk as ww
from weightwalk.readings.narrate import Table, narrate
from weightwalk.show.html import walk_html
from weightwalk.show.json import text
from weightwalk.show.terminal import plain

LONGEST = 700  # lines; a small net of 512 products and its gradients takes most


# Every fourth net by default, all of them in `make test-all`.
CASES = [pytest.param(c, id=c.name, marks=() if i % 4 == 0 else pytest.mark.slow) for i, c in enumerate(ZOO.values())]


@pytest.mark.parametrize("case", CASES)
def test_a_net_of_the_zoo_is_told(case: Case) -> None:
    net = case.build()
    with ww.recording(net.model) as walk:
        out = case.run(net)
        if net.loss is not None:
            net.loss(out).backward()
    story = narrate(walk)
    page = plain(story, 100)
    assert page.count("\n") < LONGEST
    assert json.loads(text(story))["is"] == "Story"
    assert walk_html(walk).startswith("<div class='ww'>")
    for line in story.sums():
        if line.total.is_finite() and all(t.value.is_finite() for t in line.terms):
            assert sum(t.value for t in line.terms) == line.total, line.label
    for line in story.lines():
        if isinstance(line, Table):
            assert all(len(row) == len(line.columns) for row in line.rows), line.caption
