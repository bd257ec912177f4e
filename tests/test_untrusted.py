"""Text from outside as people see it: it reorders no other text, no spreadsheet runs it, and blank text is noticed."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.untrusted import FORMULA_STARTS, as_cell, is_blank, strip_bidi_controls, strip_controls
from cogs.render import MARKUP

BIDI_CONTROLS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
BLANK = [
    "", " ", "\u200b", "\u200b \u200d", "\u2060\ufeff", "\u00a0\u3000\u2003", "\u2800\u2800", "\u3164", "\uffa0",
    "\u115f\u1160", "\u180e", "\u034f", "\ufe0f", "\U000e0100", "\U000e0041", "\u202e", "\u00ad", "\t\n\r\0\x7f",
    "\u2028",
]  # fmt: skip


@given(st.text(st.characters() | st.sampled_from(BIDI_CONTROLS)))
def test_text_that_is_shown_has_no_bidi_or_other_controls(text: str) -> None:
    """What is left are the letters that were there, in their order."""
    assert strip_bidi_controls(text) == re.sub(f"[{BIDI_CONTROLS}]", "", text)
    assert not set(BIDI_CONTROLS) & set(MARKUP.quote(text, 300))
    shown = strip_controls(text)
    assert all(letter in "\n\t" or unicodedata.category(letter) != "Cc" for letter in shown)
    assert len(shown) == len(strip_bidi_controls(text))


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_text_that_nobody_can_see_is_blank(text: str) -> None:
    """Spaces, format characters, fillers, variation selectors and tags, alone and together."""
    assert is_blank(text)
    assert is_blank(text * 3 + "\u200b")
    assert not is_blank(f"{text}狐")


@pytest.mark.parametrize(
    "text", ["a", ".", "狐", "🦊", "👨\u200d👩", "é", "\u0301", "שלום", "\u200bא", "\ue000", "1"], ids=ascii
)
def test_what_can_be_seen_is_not_blank(text: str) -> None:
    """Letters of any script, signs, emoji and lone accents."""
    assert not is_blank(text)


@given(
    st.text(st.characters() | st.sampled_from(' ";,|\t\r\n=+-@\uff1d\uff0b\uff0d\uff20' + BIDI_CONTROLS), max_size=12)
)
def test_no_cell_begins_a_formula_wherever_cells_are_split(text: str) -> None:
    """At commas, semicolons, tabs, bars or lines; nothing but apostrophes is added."""
    cell = as_cell(text)
    for piece in re.split(r"[;,|\t\r\n]", cell):
        assert not piece.lstrip('" ').startswith(FORMULA_STARTS)
    assert not cell.startswith(FORMULA_STARTS)
    assert cell.replace("'", "") == strip_bidi_controls(text).replace("'", "")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("Ann", "Ann"), ("Jean-Luc", "Jean-Luc"), ("a+b=c", "a+b=c"), ("1-2", "1-2"), ("=1+1", "'=1+1"),
        ("x;=1+1", "x;'=1+1"),
        ("x\t@A1", "x\t'@A1"), ("x\n-1", "x\n'-1"), ("x; =1", "x; '=1"), ('x;"=1"', "x;\"'=1\""),
        ("\uff1d1", "'\uff1d1"),
        ("\tBo", "'\tBo"), ("\u202e=1", "'=1"), ("x;\u200f=1", "x;'=1"),
    ],
    ids=ascii,
)  # fmt: skip
def test_only_what_would_be_run_is_marked(text: str, cell: str) -> None:
    """Names that merely have a sign in them stay as they are."""
    assert as_cell(text) == cell
