"""Numbers and tables as text: aligned, whole, and never broken by what a token holds."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightwalk.show.layout import aligned, columns, number, shown, wrapped


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-1e12, max_value=1e12), st.booleans())
def test_a_number_reads_back_as_itself(value: Decimal, signed: bool) -> None:
    text = number(value, signed=signed)
    assert Decimal(text) == value
    assert text[0] == "+" or value <= 0 or not signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("NaN"), "NaN"),
        (float("inf"), "inf"),
        (Decimal("-Infinity"), "-inf"),
        (Decimal("1E+40"), "1e40"),
        (Decimal("-0"), "0"),
        (3, "3"),
        (0.1, "0.1"),
    ],
)
def test_numbers_that_are_not_ordinary(value: Decimal | float, text: str) -> None:
    assert number(value) == text


def test_decimal_points_stand_under_each_other() -> None:
    lines = aligned(["+1.5", "-10.25", "3", "NaN", "1e40"])
    assert len({len(line) for line in lines}) == 1
    assert lines[0].index(".") == lines[1].index(".")


def test_control_characters_are_made_visible() -> None:
    assert shown("a\nb\x1b[31m\tc") == "a\\nb\\x1b[31m\\tc"
    assert shown("日本 é 🙂") == "日本 é 🙂"


def test_a_table_keeps_its_width_and_its_numbers() -> None:
    rows = [("日本", Decimal("1.25"), "word " * 30), ("x[0]", Decimal("-100.5"), "short"), ("none", None, "")]
    lines = [t.plain for t in columns(("unit", "value", "text"), rows, 60)]
    assert max(len(line) for line in lines) <= 60
    page = "\n".join(lines)
    assert "1.25" in page
    assert "-100.5" in page
    assert page.count("word") == 30, "text is wrapped, not cut"


def test_numbers_are_never_cut_however_narrow() -> None:
    rows = [(Decimal("123456.789012345"), Decimal("-0.000012345"), "a name that has to give way")]
    page = "\n".join(t.plain for t in columns(("a", "b", "c"), rows, 20))
    assert "123456.789012345" in page
    assert "-0.000012345" in page


def test_markup_is_text() -> None:
    lines = [t.plain for t in columns(("unit",), [("[bold]x[/bold]",), ("fc1[0]",)], 60)]
    assert "[bold]x[/bold]" in lines[1]
    assert "fc1[0]" in lines[2]


def test_sentences_are_wrapped() -> None:
    lines = [t.plain for t in wrapped("one two three " * 20, 50, "  ")]
    assert all(len(line) <= 50 for line in lines)
    assert " ".join(line.strip() for line in lines).split() == ("one two three " * 20).split()
